package loop

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"grace"
	"grace/internal/store"
)

// TestCulpritIsDropped: one change that the store cannot take must not keep the
// others from being written, as it did for good: dropped, audited, counted.
func TestCulpritIsDropped(t *testing.T) {
	t.Parallel()
	l := steppedLoop(t, 3, nil)
	now := l.Now()
	l.mu.Lock()
	for i := range 5 {
		s := grace.Signal{
			Key: grace.SignalKey(fmt.Sprintf("svc/x/m%d", i)), Service: benchService(0), Sensor: "x", Metric: fmt.Sprintf("m%d", i),
			State: grace.SignalOK, At: now, Since: now,
		}
		if i == 2 {
			s.Value = math.Inf(1) // JSON has no word for it
		}
		l.unsaved.add(pendingWrite{at: now, signal: s})
	}
	l.mu.Unlock()
	if err := l.flush(t.Context()); err != nil {
		t.Fatalf("the others were not written: %v", err)
	}
	signals, err := l.Store.Signals(t.Context(), l.Store.Q(), benchService(0))
	if err != nil {
		t.Fatal(err)
	}
	if len(signals) != 4 {
		t.Errorf("%d signals were written, want the 4 good ones", len(signals))
	}
	if n, stuck, refused := l.WriteQueue(); n != 0 || !stuck.IsZero() || refused != 1 {
		t.Errorf("pending %d, stuck %v, refused %d", n, stuck, refused)
	}
	entries, _, err := l.Store.AuditEntries(t.Context(), l.Store.Q(), store.AuditFilter{Object: "queue"}, store.Page{})
	if err != nil || len(entries) != 1 || entries[0].Action != "write.refused" || !strings.Contains(string(entries[0].Detail), "m2") {
		t.Errorf("audit %+v, %v", entries, err)
	}
}

// TestStuckIsTold: while the store is away nothing is dropped, and since when is
// told.
func TestStuckIsTold(t *testing.T) {
	t.Parallel()
	l := steppedLoop(t, 3, nil)
	now := l.Now()
	if err := l.Observe(away(t), alertOf(benchService(0), "a", now, false)); err == nil {
		t.Fatal("accepted while the store is away")
	}
	if n, stuck, refused := l.WriteQueue(); n == 0 || stuck.IsZero() || refused != 0 {
		t.Errorf("pending %d, stuck %v, refused %d", n, stuck, refused)
	}
	if err := l.Observe(t.Context(), alertOf(benchService(1), "b", now.Add(time.Millisecond), false)); err != nil {
		t.Fatal(err)
	}
	if n, stuck, _ := l.WriteQueue(); n != 0 || !stuck.IsZero() {
		t.Errorf("pending %d, stuck %v after the store came back", n, stuck)
	}
}
