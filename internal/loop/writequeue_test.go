package loop

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"grace"
	"grace/internal/event"
	"grace/internal/heal"
	"grace/internal/mesh"
	"grace/internal/stage/sense"
	"grace/internal/store"
)

func alertOf(service grace.ServiceID, fingerprint string, at time.Time, resolved bool) grace.Sample {
	return grace.Sample{
		Service: service, Sensor: "alertmanager", Metric: "Down", Kind: grace.SampleAlert, Code: grace.CodeServiceDown,
		Severity: grace.SeverityCritical, Fingerprint: fingerprint, At: at, Resolved: resolved,
	}
}

// steppedLoop is a loop over n services, without an engine: nothing may be
// done. Its owner has the clock.
func steppedLoop(t testing.TB, n int, change func(*Config)) *Loop {
	t.Helper()
	cfg := benchConfig(n)
	cfg.Mode = grace.ModeObserveOnly
	if change != nil {
		change(&cfg)
	}
	s, err := store.Open(t.Context(), store.Options{URL: "sqlite:" + filepath.Join(t.TempDir(), "grace.db"), AuditKey: []byte("a key for tests, 32 bytes long..")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	l, err := New(cfg, Deps{Store: s, Bus: mesh.New(), Runner: &heal.Runner{}, Engine: idle{}, Log: slog.New(slog.DiscardHandler), Now: time.Now, Owner: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return l
}

// idle is an engine that must not be asked for a run.
type idle struct{ Engine }

func (idle) Failed([]grace.RunID) (map[grace.RunID]string, error) { return nil, nil }

// away is a context in which the store does not answer.
func away(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// TestStoreAway: while the store is away what waits is bounded, and nothing is
// accepted; when it is back, everything that is still so becomes a trigger.
func TestStoreAway(t *testing.T) {
	t.Parallel()
	l := steppedLoop(t, 3, func(cfg *Config) { cfg.Sense.MaxSeries = 2 * backlogFull })
	now := l.Now()
	gone := away(t)
	for i := range 3 * backlogLong {
		// One alert that comes and goes again and again.
		if err := l.Observe(gone, alertOf(benchService(0), "flapping", now.Add(time.Duration(i)*time.Millisecond), i%2 == 1)); err == nil {
			t.Fatal("accepted while the store is away")
		}
	}
	if n := len(l.unsaved.waiting); n > backlogLong+1 {
		t.Fatalf("%d changes of one signal wait", n)
	}
	refused := 0
	for i := range backlogFull + 1000 {
		err := l.Observe(gone, alertOf(benchService(1), fmt.Sprint(i), now, false))
		if err == nil {
			t.Fatal("accepted while the store is away")
		}
		if errors.Is(err, ErrBusy) {
			refused++
		}
	}
	if n := l.unsaved.pending(); n > backlogFull || refused < 1000 {
		t.Fatalf("%d changes wait, %d samples were refused", n, refused)
	}
	if err := l.Observe(t.Context(), alertOf(benchService(2), "new", now, false)); err != nil {
		if !errors.Is(err, ErrBusy) {
			t.Fatal(err)
		}
	}
	if err := l.Observe(t.Context(), alertOf(benchService(2), "new", now, false)); err != nil {
		t.Fatal("not accepted though the store is back: ", err)
	}
	if n := l.unsaved.pending(); n != 0 {
		t.Errorf("%d changes still wait", n)
	}
	c, err := l.Store.Count(t.Context(), l.Store.Q(), now.Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if want := backlogFull - 1; c.PendingTriggers < want {
		t.Errorf("%d triggers, want at least %d", c.PendingTriggers, want)
	}
	report, err := l.Store.VerifyAudit(t.Context())
	if err != nil || !report.OK {
		t.Errorf("audit: %+v %v", report, err)
	}
}

// TestPastMakesRoom: what is rehearsed waits for the store and leaves the queue to what
// happens now.
func TestPastMakesRoom(t *testing.T) {
	t.Parallel()
	l := steppedLoop(t, 1, func(cfg *Config) {
		cfg.Limits = append(cfg.Limits, sense.Limit{Name: "disk", Service: benchService(0), Expr: "disk > 95", Code: grace.CodeCapacity})
	})
	queue := func(n int) {
		l.mu.Lock()
		defer l.mu.Unlock()
		for i := range n {
			l.enqueue(nil, pendingWrite{prediction: &predictionWrite{Prediction: grace.Prediction{
				ID: fmt.Sprint(i), Service: benchService(0), Key: "disk", Rule: "trend", Made: l.Now(), Rehearsed: true,
			}, state: event.InShadow}})
		}
	}
	list, done := l.Rehearsals()
	defer done()
	labels, hour := map[string]string{}, time.Hour
	for name, show := range map[string]func(context.Context) error{
		"telemetry": func(ctx context.Context) error { return list[0].Observe(ctx, labels, l.Now().Add(-hour), 20) },
		"sensor":    func(ctx context.Context) error { return l.Backfill(ctx, "disk", l.Now().Add(-hour)) },
	} {
		queue(flushBatch)
		if err := show(away(t)); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v while the store is away", name, err)
		}
		if err := show(t.Context()); err != nil || l.unsaved.pending() != 0 {
			t.Errorf("%s: %v, %d wait though the store is there", name, err, l.unsaved.pending())
		}
	}
}

// TestRepeatedWhileWriting: a sample that changes nothing is not accepted
// while the change that it repeats may still be lost.
func TestRepeatedWhileWriting(t *testing.T) {
	l := steppedLoop(t, 1, nil)
	alert := alertOf(benchService(0), "a", l.Now(), false)
	if err := l.Observe(away(t), alert); err == nil {
		t.Fatal("accepted while the store is away")
	}
	l.mu.Lock()
	l.unsaved.takeFront(flushBatch) // another one writes it just now
	l.mu.Unlock()
	l.flushing.Lock()
	answered := make(chan error, 1)
	go func() { answered <- l.Observe(t.Context(), alert) }()
	select {
	case err := <-answered:
		t.Fatalf("answered (%v) before the change was durable", err)
	case <-time.After(20 * time.Millisecond):
	}
	l.mu.Lock()
	l.unsaved.back() // and fails
	l.mu.Unlock()
	l.flushing.Unlock()
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
	if pending, err := l.Store.PendingTriggers(t.Context(), l.Store.Q(), 10); err != nil || len(pending) != 1 {
		t.Errorf("triggers: %+v %v", pending, err)
	}
}

// TestNoRoom: an alert that is not taken is not said to be.
func TestNoRoom(t *testing.T) {
	l := steppedLoop(t, 1, func(cfg *Config) { cfg.Sense.MaxSeries = 10 })
	var err error
	for i := range 11 {
		err = l.Observe(t.Context(), alertOf(benchService(0), fmt.Sprint(i), l.Now(), false))
		if i < 10 && err != nil {
			t.Fatal(i, err)
		}
	}
	if !errors.Is(err, ErrNoRoom) {
		t.Errorf("the alert too many: %v", err)
	}
}

// TestDayOfSeries: a day of 200 series, with alerts that come and go, does not
// make the loop grow: what a sample left behind would be 30 MB.
func TestDayOfSeries(t *testing.T) {
	const services, series = 40, 5
	clock := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	l := steppedLoop(t, services, func(cfg *Config) {
		for i := range services {
			cfg.Objectives = append(cfg.Objectives, sense.Objective{
				Name: "slow", Service: benchService(i), Expr: fmt.Sprintf(`avg_over_time(m0{service=%q}[5m]) > 1000`, benchService(i)),
				Code: grace.CodeLatencySpike, Severity: grace.SeverityWarning,
			})
		}
		cfg.Mode = grace.ModeObserveOnly
		cfg.PredictEvery = 5 * time.Minute
	})
	l.Now = func() time.Time { return clock }
	var early, late uint64
	for minute := 0; minute < 24*60; minute += 2 {
		clock = clock.Add(2 * time.Minute)
		var samples []grace.Sample
		for i := range services {
			for m := range series {
				samples = append(samples, grace.Sample{
					Service: benchService(i), Sensor: "scrape", Metric: fmt.Sprintf("m%d", m), Kind: grace.SampleMetric,
					Value: 100 + float64((minute*7+i*3+m)%23), At: clock,
				})
			}
		}
		if minute%10 == 0 {
			samples = append(samples, alertOf(benchService(minute%services), fmt.Sprint(minute), clock, false))
		}
		if minute%10 == 6 {
			samples = append(samples, alertOf(benchService((minute-6)%services), fmt.Sprint(minute-6), clock, true))
		}
		if err := l.Observe(t.Context(), samples...); err != nil {
			t.Fatal(err)
		}
		l.Relay(t.Context())
		if err := l.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
		switch minute {
		case 2 * 60:
			early = heap()
		case 24*60 - 2:
			late = heap()
		}
	}
	t.Logf("heap after 2 h %.1f MB, after 24 h %.1f MB", float64(early)/1e6, float64(late)/1e6)
	if late > early+early/4+2e6 {
		t.Errorf("the heap grew from %d to %d bytes", early, late)
	}
	if late > 20e6 {
		t.Errorf("the heap is %d bytes", late)
	}
	pending, err := l.Store.PendingTriggers(t.Context(), l.Store.Q(), 10)
	if err != nil || len(pending) > 1 {
		t.Errorf("triggers left: %+v %v", pending, err)
	}
	decisions, _, err := l.Store.Decisions(t.Context(), l.Store.Q(), store.DecisionFilter{}, store.Page{Limit: 200})
	if err != nil || len(decisions) < 100 {
		t.Errorf("%d decisions, want one for nearly every alert: %v", len(decisions), err)
	}
}

// heap is what is in use after a collection.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
