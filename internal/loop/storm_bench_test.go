package loop

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"grace"
	"grace/internal/heal"
	"grace/internal/mesh"
	"grace/internal/store"
)

// BenchmarkStormPass is one pass of the decider in a storm of 50 alerts on each
// of 1,000 services, when all of it was decided before.
func BenchmarkStormPass(b *testing.B) {
	const services, alerts = 1000, 50
	cfg := benchConfig(services)
	cfg.Sense.MaxSeries = 2 * services * alerts
	cfg.Propose.StormServices, cfg.Propose.StormShare = 5, 0.5
	s, err := store.Open(b.Context(), store.Options{URL: "sqlite:" + filepath.Join(b.TempDir(), "grace.db"), AuditKey: []byte("a key for tests, 32 bytes long..")})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	clock := time.Now()
	l, err := New(cfg, Deps{Store: s, Bus: mesh.New(), Runner: &heal.Runner{}, Engine: idle{}, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return clock }, Owner: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	if err := l.Load(b.Context()); err != nil {
		b.Fatal(err)
	}
	clock = clock.Add(time.Second)
	began := time.Now()
	for i := range services {
		var samples []grace.Sample
		for a := range alerts {
			samples = append(samples, alertOf(benchService(i), fmt.Sprint(a), clock, false))
		}
		if err := l.Observe(b.Context(), samples...); err != nil {
			b.Fatal(err)
		}
	}
	b.Logf("taken: %.0f alerts/s", services*alerts/time.Since(began).Seconds())
	began = time.Now()
	for passes := 1; ; passes++ {
		clock = clock.Add(time.Second)
		if err := l.decideAll(b.Context()); err != nil {
			b.Fatal(err)
		}
		pending, err := s.PendingTriggers(b.Context(), s.Q(), 1)
		if err != nil {
			b.Fatal(err)
		}
		if len(pending) == 0 {
			b.Logf("decided in %d passes, %.1f s", passes, time.Since(began).Seconds())
			break
		}
	}
	b.Run("again", func(b *testing.B) {
		for b.Loop() {
			if err := l.decideAll(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("reconsider", func(b *testing.B) {
		for b.Loop() {
			clock = clock.Add(6 * time.Second)
			if err := l.decideAll(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("health", func(b *testing.B) {
		for b.Loop() {
			l.Health()
		}
	})
}
