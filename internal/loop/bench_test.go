package loop

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"grace"
	"grace/internal/decide"
	"grace/internal/flow"
	"grace/internal/heal"
	"grace/internal/mesh"
	"grace/internal/pgtest"
	"grace/internal/stage/diagnose"
	"grace/internal/stage/govern"
	"grace/internal/stage/learn"
	"grace/internal/stage/predict"
	"grace/internal/stage/propose"
	"grace/internal/stage/sense"
	"grace/internal/store"
)

// Both databases write durably: SQLite with synchronous FULL, PostgreSQL with
// fsync. Everything is measured in one run, because machines are noisy:
// BenchmarkEngineAlone is what the runs are to be compared with.
func benchDatabases(b *testing.B, bench func(b *testing.B, url string)) {
	b.Run("sqlite", func(b *testing.B) { bench(b, "sqlite:"+filepath.Join(b.TempDir(), "grace.db")) })
	b.Run("postgresql", func(b *testing.B) {
		bench(b, pgtest.StartCluster(b, "fsync=on", "synchronous_commit=on", "full_page_writes=on").URL(b, "bench"))
	})
}

const benchSteps = 5

// noop is an action and a prober that cost nothing.
type noop struct {
	first chan time.Time
	heal  func(grace.ServiceID) // after the last step
}

func (noop) Name() string                  { return "noop" }
func (noop) Validate(map[string]any) error { return nil }

func (n noop) Do(_ context.Context, req grace.ActionRequest) grace.Outcome {
	if n.first != nil && req.Step == "step-0" {
		n.first <- time.Now()
	}
	if req.Step == fmt.Sprintf("step-%d", benchSteps-1) {
		n.heal(req.Service)
	}
	return grace.Outcome{Status: grace.OutcomeSucceeded}
}

func (noop) Probe(context.Context, grace.ServiceID, grace.Check, time.Time) grace.Reading {
	return grace.Reading{At: time.Now(), Value: 1, OK: true}
}

// benchConfig is n services that do not depend on each other, with a restart of
// no-op steps and no limit that matters.
func benchConfig(n int) Config {
	binding := grace.Binding{
		Verify: []grace.Check{{Name: "up", Type: grace.CheckHTTPHealth, URL: "http://127.0.0.1/", MinSamples: 1, Interval: 1}},
		Settle: 1, Soak: 1,
	}
	for i := range benchSteps {
		binding.Steps = append(binding.Steps, grace.Step{Name: fmt.Sprintf("step-%d", i), Action: "noop", ReadOnly: true})
	}
	cfg := Config{
		Config: decide.Config{
			Playbooks: []grace.Playbook{{
				ID: "restart_service", Risk: grace.RiskLow, Impact: grace.ImpactLow, Auto: true, Triggers: []grace.Code{grace.CodeServiceDown}, Binding: binding,
			}}, Diagnose: diagnose.DefaultConfig(), Propose: propose.DefaultConfig(), Govern: govern.DefaultConfig(),
		},
		Sense: sense.DefaultConfig(), Predict: predict.DefaultConfig(), Learn: learn.DefaultConfig(), Mode: grace.ModeAutonomous,
	}
	cfg.Propose.MaxConcurrent, cfg.Propose.StormServices, cfg.Propose.StormShare = 1<<20, 1<<20, 1
	for i := range n {
		cfg.Services = append(cfg.Services, grace.Service{ID: benchService(i), Criticality: grace.CriticalityLow})
	}
	return cfg
}

// benchRig is a whole loop over n services that do not depend on each other.
type benchRig struct {
	*Loop
	engine *flow.Engine
	ended  chan grace.RunID
}

func newBenchRig(b *testing.B, url string, n int, act noop) *benchRig {
	b.Helper()
	ctx := context.Background()
	cfg := benchConfig(n)
	s, err := store.Open(ctx, store.Options{URL: url, AuditKey: []byte("a key for tests, 32 bytes long..")})
	if err != nil {
		b.Fatal(err)
	}
	r := &benchRig{ended: make(chan grace.RunID, n)}
	act.heal = func(id grace.ServiceID) {
		if err := r.persist(ctx, []grace.Signal{r.signal(id, grace.SignalOK)}); err != nil {
			b.Error(err)
		}
	}
	log := slog.New(slog.DiscardHandler)
	bus := mesh.New()
	runner := &heal.Runner{Actions: map[string]grace.Action{"noop": act}, Prober: act, Clock: heal.NewWallClock(), Owner: "bench"}
	run := func(f *flow.Run) error {
		err := r.Execute(f)
		r.ended <- f.ID()
		return err
	}
	r.engine, err = flow.New(ctx, flow.Config{SQL: s.SQL(), PG: s.PG(), Executor: "local", Logger: log, Run: run, Lost: func(err error) { b.Error(err) }})
	if err != nil {
		b.Fatal(err)
	}
	if r.Loop, err = New(cfg, Deps{Store: s, Bus: bus, Runner: runner, Engine: r.engine, Log: log, Now: time.Now, Owner: "bench"}); err != nil {
		b.Fatal(err)
	}
	if err := r.Load(ctx); err != nil {
		b.Fatal(err)
	}
	if err := r.engine.Start(ctx); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := r.engine.Stop(5 * time.Second); err != nil {
			b.Error(err)
		}
		s.Close()
	})
	return r
}

func benchService(i int) grace.ServiceID { return grace.ServiceID(fmt.Sprintf("service-%06d", i)) }

func (r *benchRig) signal(id grace.ServiceID, state grace.SignalState) grace.Signal {
	now := time.Now()
	return grace.Signal{
		Key: grace.SignalKey(id + "/probe/http_health"), Service: id, Sensor: "probe", Metric: "http_health", Code: grace.CodeServiceDown,
		State: state, Severity: grace.SeverityCritical, Since: now, At: now, Message: "down",
	}
}

// decideFor decides a clear case of a service: the whole deciding transaction.
func (r *benchRig) decideFor(b *testing.B, i int) {
	b.Helper()
	sig := r.signal(benchService(i), grace.SignalFiring)
	if err := r.persist(b.Context(), []grace.Signal{sig}); err != nil {
		b.Fatal(err)
	}
	st := r.stages.Load()
	sc := st.rules.Look(sig.At, []grace.Signal{sig}, nil)
	if _, err := r.decideTogether(b.Context(), st, sc, []workItem{{sc.Diagnoses[0], []grace.Trigger{reactive(sig, sig.At)}}}); err != nil {
		b.Fatal(err)
	}
}

func (r *benchRig) wait(b *testing.B, n int) {
	b.Helper()
	timeout := time.After(2 * time.Minute)
	for range n {
		select {
		case <-r.ended:
		case <-timeout:
			b.Fatal("not every run ended")
		}
	}
}

func (r *benchRig) allSucceeded(b *testing.B, n int) {
	b.Helper()
	c, err := r.Store.Count(b.Context(), r.Store.Q(), time.Now().Add(-time.Hour))
	if err != nil {
		b.Fatal(err)
	}
	if got := c.Runs[grace.RunSucceeded]; got != n {
		b.Fatalf("%d runs succeeded, want %d: %v", got, n, c.Runs)
	}
}

// BenchmarkDecide is one deciding transaction, from the trigger to the enqueued
// run, with its signal, decision, audit entries and events.
func BenchmarkDecide(b *testing.B) {
	benchDatabases(b, func(b *testing.B, url string) {
		r := newBenchRig(b, url, b.N, noop{})
		b.ReportAllocs()
		b.ResetTimer()
		for i := range b.N {
			r.decideFor(b, i)
		}
		b.StopTimer()
		r.wait(b, b.N)
		r.allSucceeded(b, b.N)
	})
}

// BenchmarkRuns is everything from the trigger to the end of a run of 5 no-op
// steps with its verification, many at once.
func BenchmarkRuns(b *testing.B) {
	benchDatabases(b, func(b *testing.B, url string) {
		r := newBenchRig(b, url, b.N, noop{})
		b.ReportAllocs()
		b.ResetTimer()
		for i := range b.N {
			r.decideFor(b, i)
		}
		r.wait(b, b.N)
		b.StopTimer()
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "runs/s")
		r.allSucceeded(b, b.N)
	})
}

// BenchmarkFirstAction is the time from a trigger to the first action of its
// run when nothing else happens.
func BenchmarkFirstAction(b *testing.B) {
	benchDatabases(b, func(b *testing.B, url string) {
		act := noop{first: make(chan time.Time, 1)}
		r := newBenchRig(b, url, b.N, act)
		took := make([]time.Duration, 0, b.N)
		b.ResetTimer()
		for i := range b.N {
			began := time.Now()
			r.decideFor(b, i)
			took = append(took, (<-act.first).Sub(began))
			<-r.ended
		}
		b.StopTimer()
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2].Microseconds())/1e3, "p50-ms")
		b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1e3, "p99-ms")
	})
}

// BenchmarkEngineAlone is the engine with 5 empty steps and nothing of ours:
// what BenchmarkRuns is to be held against.
func BenchmarkEngineAlone(b *testing.B) {
	benchDatabases(b, func(b *testing.B, url string) {
		s, err := store.Open(b.Context(), store.Options{URL: url, AuditKey: []byte("a key for tests, 32 bytes long..")})
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		var ended sync.WaitGroup
		engine, err := flow.New(context.Background(), flow.Config{
			SQL: s.SQL(), PG: s.PG(), Executor: "local", Logger: slog.New(slog.DiscardHandler), Lost: func(error) {},
			Run: func(r *flow.Run) error {
				defer ended.Done()
				for i := range benchSteps {
					_, _, err := flow.Step(r, fmt.Sprint(i),
						func(context.Context) grace.Outcome { return grace.Outcome{Status: grace.OutcomeSucceeded} },
						func(context.Context, store.Tx, grace.Outcome) (bool, error) { return true, nil })
					if err != nil {
						return err
					}
				}
				return nil
			},
		})
		if err != nil {
			b.Fatal(err)
		}
		if err := engine.Start(b.Context()); err != nil {
			b.Fatal(err)
		}
		defer engine.Stop(5 * time.Second) //nolint:errcheck // a benchmark that is over
		b.ReportAllocs()
		b.ResetTimer()
		for i := range b.N {
			ended.Add(1)
			err := s.Do(b.Context(), func(ctx context.Context, tx store.Tx) error {
				return engine.Enqueue(ctx, tx, grace.RunID(fmt.Sprintf("r-%d", i)), i)
			})
			if err != nil {
				b.Fatal(err)
			}
		}
		ended.Wait()
		b.StopTimer()
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "runs/s")
	})
}
