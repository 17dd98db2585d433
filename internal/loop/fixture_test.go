package loop_test

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
	"grace/internal/loop"
	"grace/internal/mesh"
	"grace/internal/patience"
	"grace/internal/pgtest"
	"grace/internal/stage/diagnose"
	"grace/internal/stage/govern"
	"grace/internal/stage/learn"
	"grace/internal/stage/predict"
	"grace/internal/stage/propose"
	"grace/internal/stage/sense"
	"grace/internal/store"
)

// eachDatabase runs a test on both databases.
func eachDatabase(t *testing.T, test func(t *testing.T, url string)) {
	t.Run("sqlite", func(t *testing.T) { test(t, "sqlite:"+filepath.Join(t.TempDir(), "grace.db")) })
	t.Run("postgresql", func(t *testing.T) { test(t, pgtest.Start(t)) })
}

// rig is a loop with its store and engine, and a thing to heal.
type rig struct {
	tb     testing.TB
	url    string
	owner  string
	store  *store.Store
	engine *flow.Engine
	loop   *loop.Loop
	bus    *mesh.Bus
	thing  *thing
}

// thing is healed by its action.
type thing struct {
	mu      sync.Mutex
	healthy bool
	calls   []string
	block   chan struct{} // not nil: an action waits until it is closed
	entered chan struct{}
	useless bool
	pass    func(grace.ServiceID) // a sensor sees that a service is well
}

func (t *thing) Name() string { return "fake" }

func (t *thing) Validate(map[string]any) error { return nil }

func (t *thing) Do(ctx context.Context, req grace.ActionRequest) grace.Outcome {
	t.mu.Lock()
	t.calls = append(t.calls, req.IdempotencyKey)
	block, entered := t.block, t.entered
	t.mu.Unlock()
	if entered != nil {
		select {
		case entered <- struct{}{}:
		default:
		}
	}
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
			return grace.Outcome{Status: grace.OutcomeUnknown, Error: context.Cause(ctx).Error()}
		}
	}
	t.mu.Lock()
	t.healthy = req.Phase == grace.PhaseDo && !t.useless
	healthy, pass := t.healthy, t.pass
	t.mu.Unlock()
	if healthy && pass != nil {
		pass(req.Service)
	}
	return grace.Outcome{Status: grace.OutcomeSucceeded}
}

func (t *thing) Probe(context.Context, grace.ServiceID, grace.Check, time.Time) grace.Reading {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := grace.Reading{At: time.Now(), OK: true}
	if t.healthy {
		r.Value = 1
	}
	return r
}

func (t *thing) called() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.calls)
}

// shop: frontend -> catalog -> cache, all of medium criticality, with a
// restart of one step (or more) that the thing does.
func shop(steps int) loop.Config {
	binding := grace.Binding{
		Verify: []grace.Check{{Name: "up", Type: grace.CheckHTTPHealth, URL: "http://127.0.0.1/", MinSamples: 1, Interval: grace.Duration(time.Millisecond)}},
		Settle: grace.Duration(20 * time.Millisecond), Soak: grace.Duration(time.Millisecond),
	}
	for i := range steps {
		name := fmt.Sprintf("step-%d", i)
		binding.Steps = append(binding.Steps, grace.Step{
			Name: name, Action: "fake", With: map[string]any{"i": i}, Undo: &grace.Call{Action: "fake", With: map[string]any{}}, Check: &binding.Verify[0],
		})
	}
	service := func(id grace.ServiceID, deps ...grace.ServiceID) grace.Service {
		return grace.Service{ID: id, Criticality: grace.CriticalityMedium, DependsOn: deps}
	}
	restart := grace.Playbook{
		ID: "restart_service", Title: "Restart", Risk: grace.RiskMedium, Impact: grace.ImpactLow, Auto: true,
		Triggers: []grace.Code{grace.CodeServiceDown}, Binding: binding,
	}
	return loop.Config{
		Config: decide.Config{
			Services: []grace.Service{service("frontend", "catalog"), service("catalog", "cache"), service("cache")}, Playbooks: []grace.Playbook{restart}, Diagnose: diagnose.DefaultConfig(), Propose: propose.DefaultConfig(), Govern: govern.DefaultConfig(),
		},
		Sense: sense.DefaultConfig(), Predict: predict.DefaultConfig(), Learn: learn.DefaultConfig(), Mode: grace.ModeAutonomous, Reconsider: 50 * time.Millisecond,
	}
}

func newRig(tb testing.TB, url string, cfg loop.Config) *rig {
	r := &rig{tb: tb, url: url, thing: &thing{}}
	r.start(cfg)
	tb.Cleanup(func() { r.stop() })
	return r
}

func (r *rig) start(cfg loop.Config) {
	r.tb.Helper()
	ctx := context.Background()
	log := slog.New(slog.DiscardHandler)
	if testing.Verbose() {
		log = slog.New(slog.NewTextHandler(r.tb.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	var err error
	r.store, err = store.Open(ctx, store.Options{URL: r.url, AuditKey: []byte("a key for tests, 32 bytes long..")})
	if err != nil {
		r.tb.Fatal(err)
	}
	r.owner = fmt.Sprintf("process-%d", time.Now().UnixNano())
	executor := "local"
	if r.store.Postgres() {
		executor = r.owner
	}
	r.bus = mesh.New()
	runner := &heal.Runner{Actions: map[string]grace.Action{"fake": r.thing}, Prober: r.thing, Clock: heal.NewWallClock(), Owner: r.owner}
	r.thing.pass = func(id grace.ServiceID) { r.probe(id, 1) }
	r.engine, err = flow.New(ctx, flow.Config{
		SQL: r.store.SQL(), PG: r.store.PG(), Executor: executor, Logger: log, Run: func(f *flow.Run) error { return r.loop.Execute(f) }, Lost: func(err error) { r.tb.Error(err) },
	})
	if err != nil {
		r.tb.Fatal(err)
	}
	r.loop, err = loop.New(cfg, loop.Deps{Store: r.store, Bus: r.bus, Runner: runner, Engine: r.engine, Log: log, Now: func() time.Time { return time.Now().UTC() }, Owner: r.owner})
	if err != nil {
		r.tb.Fatal(err)
	}
	if err := r.loop.Start(ctx); err != nil {
		r.tb.Fatal(err)
	}
	if err := r.engine.Start(ctx); err != nil {
		r.tb.Fatal(err)
	}
}

func (r *rig) stop() {
	r.loop.Stop()
	if err := r.engine.Stop(5 * time.Second); err != nil {
		r.tb.Error(err)
	}
	r.store.Close()
}

// down makes a service's probe fail twice.
func (r *rig) down(service grace.ServiceID) {
	r.tb.Helper()
	r.probe(service, 0)
}

// probe makes a service's probe pass or fail twice.
func (r *rig) probe(service grace.ServiceID, value float64) {
	at := time.Now().UTC()
	for i := range 2 {
		err := r.loop.Observe(context.Background(), grace.Sample{
			Service: service, Sensor: "probe", Metric: "http_health", Kind: grace.SampleProbe, Value: value, At: at.Add(time.Duration(i) * time.Millisecond),
			Code: grace.CodeServiceDown, Severity: grace.SeverityCritical, Message: "connection refused",
		})
		if err != nil {
			r.tb.Error(err)
		}
	}
}

// entered waits until an action has begun.
func (r *rig) entered() {
	r.tb.Helper()
	patience.Until(r.tb, func() error {
		select {
		case <-r.thing.entered:
			return nil
		default:
			return fmt.Errorf("no action has begun; decisions %s", r.decisions())
		}
	})
}

// wait polls until the service's newest run is in one of the states.
func (r *rig) wait(service grace.ServiceID, states ...grace.RunStatus) grace.Run {
	r.tb.Helper()
	var run grace.Run
	patience.Until(r.tb, func() error {
		runs, _, err := r.store.Runs(context.Background(), r.store.Q(), store.RunFilter{Service: service}, store.Page{Limit: 1})
		if err != nil {
			r.tb.Fatal(err)
		}
		if len(runs) > 0 && slices.Contains(states, runs[0].Status) {
			run = runs[0]
			return nil
		}
		return fmt.Errorf("no run of %s reaches %v: %+v; decisions %s", service, states, runs, r.decisions())
	})
	return run
}

func (r *rig) decisions() string {
	list, _, err := r.store.Decisions(context.Background(), r.store.Q(), store.DecisionFilter{}, store.Page{Limit: 5})
	if err != nil {
		return err.Error()
	}
	out := ""
	for _, d := range list {
		out += fmt.Sprintf("\n%s %s %s: %v", d.Service, d.Diagnosis.Code, d.Verdict, d.Failed())
	}
	return out
}
