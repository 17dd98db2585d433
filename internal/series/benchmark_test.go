package series

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"testing"
	"time"

	"grace"
)

func newBenchmark(b *testing.B, watched ...string) *DB {
	b.Helper()
	cfg := DefaultConfig()
	cfg.Limits.SamplesPerRequest = math.MaxInt // one batch has them all
	db, err := New(cfg, Options{Known: func(grace.ServiceID) bool { return true }, Now: func() time.Time { return start }})
	if err != nil {
		b.Fatal(err)
	}
	var list []*Expr
	for _, text := range watched {
		list = append(list, compiled(b, text))
	}
	db.Watch(list)
	return db
}

// fill appends samples, 15 s apart, of n series named by a format.
func fill(db *DB, format string, n, samples int) {
	batch := db.Begin(From{Source: "x", History: true})
	defer func() {
		if r := batch.End(); r.Count(Taken) != n*samples {
			panic(reasonsOf(&r))
		}
	}()
	for i := range n {
		k := key(fmt.Sprintf(format, i))
		for j := range samples {
			batch.Append(k, Meta{}, at(float64(15*(j-samples)), float64(i%40+j%3)))
		}
	}
}

func benchmarkAppend(b *testing.B, watched ...string) {
	db := newBenchmark(b, watched...)
	const n = 1000
	var keys [][]byte
	for i := range n {
		keys = append(keys, key(fmt.Sprintf("jobs_pending{id=%d,job=cart}", i)))
	}
	batch := db.Begin(From{Source: "x", History: true})
	defer func() {
		if r := batch.End(); r.Count(Taken) != r.Samples {
			b.Fatal(reasonsOf(&r))
		}
	}()
	samples := make([]Sample, 1)
	clock := start.Add(-100_000 * time.Hour).UnixMilli()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%n == 0 {
			clock += 15_000
		}
		samples[0] = Sample{At: clock, Value: float64(i % 97)}
		batch.Append(keys[i%n], Meta{}, samples...)
	}
}

func BenchmarkAppend(b *testing.B)     { benchmarkAppend(b) }
func BenchmarkAppendKept(b *testing.B) { benchmarkAppend(b, `jobs_pending > 5`) }

func benchmarkEvaluate(b *testing.B, db *DB, list []*Expr, elements int) {
	b.Helper()
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for _, e := range list {
			r, err := db.Evaluate(context.Background(), e, start)
			if err != nil {
				b.Fatal(err)
			}
			n += len(r.Elements)
		}
		if n != elements {
			b.Fatalf("%d elements, want %d", n, elements)
		}
	}
}

// 200 buckets of 60 samples.
func BenchmarkQuantile(b *testing.B) {
	const text = `histogram_quantile(0.99, sum by (le) (rate(h_bucket[5m]))) > 0.5`
	db := newBenchmark(b, text)
	batch := db.Begin(From{Source: "x", History: true})
	for i := range 200 {
		le, inst := []string{"0.1", "0.25", "0.5", "1", "+Inf"}[i%5], i/5
		k := key(fmt.Sprintf("h_bucket{inst=%d,job=cart,le=%s}", inst, le))
		for j := range 60 {
			batch.Append(k, Meta{}, at(float64(15*(j-60)), float64(j*(i%5+1))))
		}
	}
	batch.End()
	benchmarkEvaluate(b, db, []*Expr{compiled(b, text)}, 1)
}

// 500 objectives over 20 series each.
func BenchmarkObjectives(b *testing.B) {
	var texts []string
	for i := range 500 {
		texts = append(texts, fmt.Sprintf(`jobs_pending{service="s%03d"} > 5`, i))
	}
	db := newBenchmark(b, texts...)
	for i := range 500 {
		fill(db, fmt.Sprintf("jobs_pending{id=%%d,service=s%03d}", i), 20, 40)
	}
	var list []*Expr
	for _, text := range texts {
		list = append(list, compiled(b, text))
	}
	benchmarkEvaluate(b, db, list, 10_000)
}

// What a series costs in memory, with its 40 samples and without.
func BenchmarkMemory(b *testing.B) {
	for _, watched := range []string{`other > 5`, `max_over_time(jobs_pending[1h]) > 5`} {
		b.Run(watched, func(b *testing.B) {
			const n = 10_000
			for b.Loop() {
				before := heap()
				db := newBenchmark(b, watched)
				fill(db, "jobs_pending{id=%d,job=cart,instance=localhost:9090}", n, 40)
				b.ReportMetric(float64(heap()-before)/n, "B/series")
				runtime.KeepAlive(db)
			}
		})
	}
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
