package store_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	"grace"
	"grace/internal/event"
	"grace/internal/pgtest"
)

// durable are the databases with everything on that protects data: what the
// benchmarks are about.
var durable = []struct {
	name string
	url  func(testing.TB) string
}{
	{"sqlite", func(tb testing.TB) string { return "sqlite:" + filepath.Join(tb.TempDir(), "grace.db") }},
	{"postgres", func(tb testing.TB) string {
		c := pgtest.StartCluster(tb, "fsync=on", "synchronous_commit=on", "full_page_writes=on")
		return c.URL(tb, "bench")
	}},
}

// BenchmarkApply is the transaction of one step of a run: the run's next
// revision with its audit entry and its event.
func BenchmarkApply(b *testing.B) {
	for _, d := range durable {
		b.Run(d.name, func(b *testing.B) {
			s := open(b, d.url(b))
			r := run("r-1", 1, grace.RunRunning)
			step := func() {
				err := tryApply(b.Context(), s, event.Given{
					Runs:  []grace.Run{r},
					Audit: []grace.AuditEntry{entry("run/r-1")}, Outbox: []grace.Event{message("self_heal.run")},
				})
				if err != nil {
					b.Fatal(err)
				}
				r.Revision++
			}
			step()
			b.ReportAllocs()
			for b.Loop() {
				step()
			}
		})
	}
}

// BenchmarkApplyParallel is the same by eight runs at a time.
func BenchmarkApplyParallel(b *testing.B) {
	for _, d := range durable {
		b.Run(d.name, func(b *testing.B) {
			s := open(b, d.url(b))
			var ids atomic.Int64
			b.ReportAllocs()
			b.SetParallelism(4)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				id := fmt.Sprintf("r-%d", ids.Add(1))
				for revision := 1; pb.Next(); revision++ {
					err := tryApply(context.Background(), s, event.Given{
						Runs:  []grace.Run{run(id, revision, grace.RunRunning)},
						Audit: []grace.AuditEntry{entry("run/" + id)}, Outbox: []grace.Event{message("self_heal.run")},
					})
					if err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
