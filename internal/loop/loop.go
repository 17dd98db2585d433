package loop

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"grace"
	"grace/internal/decide"
	"grace/internal/forecast"
	"grace/internal/heal"
	"grace/internal/mesh"
	"grace/internal/series"
	"grace/internal/stage/learn"
	"grace/internal/stage/predict"
	"grace/internal/stage/sense"
	"grace/internal/store"
)

// Config is everything the stages are told.
type Config struct {
	decide.Config // what decisions look at

	Objectives  []sense.Objective
	Limits      []sense.Limit
	Recordings  []series.Group // made before what looks at them is evaluated
	RuleMap     RuleMap        // of objectives that are rules
	Probes      []sense.Probe  // known before their first sample
	AlertSource string         // how alerts are read: when it changes they must be shown anew
	// Sources is what makes each sensor, by its name: when it changes, all that the
	// sensor shows must be shown anew. Under "" is what may make any other. Nil:
	// nobody can tell, so that every change touches everything.
	Sources     map[string]any
	Sense       sense.Config
	Predict     predict.Config
	TimeZone    string // of services that name none, an IANA name; empty is UTC
	Learn       learn.Config
	ApprovalTTL time.Duration // how long a person has to answer (default 30m)
	Mode        grace.Mode    // of a store where none was ever set
	// GroupWait is how long the loop waits after the first symptom for others
	// that would change the diagnosis. Reconsider is how often a "no" that time
	// may turn into a "yes" is looked at again.
	GroupWait, Reconsider time.Duration
	// EscalateAfter is how long a condition may last without an effective run
	// before a person is told; EscalateCritical is the same for critical services.
	EscalateAfter, EscalateCritical time.Duration
}

// Engine starts runs and talks to them.
type Engine interface {
	Enqueue(ctx context.Context, tx store.Tx, id grace.RunID, input any) error
	Send(ctx context.Context, tx store.Tx, id grace.RunID, key string, m grace.ControlMessage) error
	Failed(ids []grace.RunID) (map[grace.RunID]string, error)
}

// Deps are the parts that the loop joins.
type Deps struct {
	Store  *store.Store
	Bus    *mesh.Bus
	Runner *heal.Runner
	Engine Engine // its run function is [Loop.Execute]
	// Series keeps what is measured; nil: the loop makes its own.
	Series *series.DB
	// Shards has agents beside the loop's own, for series that others send; nil for none.
	Shards Predictors
	// Gate is that of the agents of Shards and the loop's own; nil: the loop makes its own.
	Gate   *predict.Gate
	Models []forecast.Model // trained ones, which take part in the forecasts
	Log    *slog.Logger
	Now    func() time.Time
	// Elapsed is the time since some moment as no step of the wall clock moves
	// it; nil: the wall clock is never set.
	Elapsed func() time.Duration
	// Owner names this process in audit entries and traces.
	Owner string
}

// Loop is the agent core. Make it with New, then Start it. Each of its rooms has its
// own state, and knows the rooms below it alone:
//
//	relay   decider   commands   views
//	          runs
//	          basis
//	          ingest
//	        forecaster
//	          common
type Loop struct {
	*common
	*forecaster
	*ingest
	*basis
	*runs
	*decider
	*commands
	*views
	*relay
}

// New builds a loop.
func New(cfg Config, deps Deps) (*Loop, error) {
	st, err := buildStages(cfg)
	if err != nil {
		return nil, err
	}
	l := &Loop{common: &common{Deps: deps, wake: make(chan struct{}, 1)}}
	if deps.Series == nil {
		if l.Series, err = series.New(series.DefaultConfig(), series.Options{Now: func() time.Time { return l.Now() }}); err != nil {
			return nil, err
		}
	}
	if deps.Gate == nil {
		l.Gate = predict.NewGate(st.Predict.Gate, &sync.Mutex{})
	}
	l.stages.Store(st)
	l.forecaster = newForecaster(l.common, st)
	l.ingest = newIngest(l.common, l.forecaster, st)
	l.basis = &basis{common: l.common, in: l.ingest}
	l.runs = &runs{basis: l.basis}
	l.decider = newDecider(l.basis, l.runs)
	l.commands = &commands{basis: l.basis}
	l.views = &views{common: l.common, in: l.ingest, forecaster: l.forecaster}
	l.relay = &relay{common: l.common, in: l.ingest, forecaster: l.forecaster}
	if deps.Runner != nil { // some tests only sense
		deps.Runner.Condition, deps.Runner.Permit = l.condition, l.permit
	}
	return l, nil
}

// room has goroutines.
type room interface {
	Start(ctx context.Context)
	Stop()
}

// rooms are those that have, in the order in which they start.
func (l *Loop) rooms() []room { return []room{l.relay, l.ingest, l.decider, l.views, l.forecaster} }

// Start loads what the store knows and begins to decide.
func (l *Loop) Start(ctx context.Context) error {
	if err := l.Load(ctx); err != nil {
		return err
	}
	for _, r := range l.rooms() {
		r.Start(context.WithoutCancel(ctx))
	}
	return nil
}

// Stop ends the loop's goroutines and waits for them. Runs are the engine's.
func (l *Loop) Stop() {
	for _, r := range l.rooms() {
		r.Stop()
	}
}

// work is the goroutines of a room.
type work struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// begin does jobs until Stop.
func (w *work) begin(ctx context.Context, jobs ...func(context.Context)) {
	ctx, w.cancel = context.WithCancel(ctx)
	for _, job := range jobs {
		w.done.Go(func() { job(ctx) })
	}
}

// Stop ends the room's goroutines and waits for them.
func (w *work) Stop() {
	if w.cancel != nil {
		w.cancel()
	}
	w.done.Wait()
}

// spawn does something beside, if the room has begun.
func (w *work) spawn(f func()) {
	if w.cancel == nil {
		f()
		return
	}
	w.done.Go(f)
}

// Load, Relay and Step are Start for those who own the clock: after Load, every
// Relay and Step does once, in order and on the caller's goroutine, what Start's
// goroutines do when woken or once a second; of forecasts so many as it may,
// however long they take.
//
// Load restores what was known before the restart, and makes the first mode.
func (l *Loop) Load(ctx context.Context) error {
	// The cursor first: what is committed while the rest is read comes as events.
	if err := l.relay.load(ctx); err != nil {
		return err
	}
	if err := l.memory.load(ctx, l.common, l.stages.Load().Learn); err != nil {
		return err
	}
	gone, err := l.ingest.load(ctx)
	if err != nil {
		return err
	}
	late, err := l.forecaster.load(ctx)
	if err != nil {
		return err
	}
	if err := l.persist(ctx, gone, late...); err != nil {
		return err
	}
	return l.firstMode(ctx)
}

// Relay lets the loop catch up with the outbox.
func (l *Loop) Relay(ctx context.Context) { l.relayBatch(ctx, l.carried.Load()) }

// Step lets the loop catch up with its clock and its store.
func (l *Loop) Step(ctx context.Context) error {
	l.noticeStill()
	if err := l.elapse(ctx); err != nil {
		return err
	}
	l.refitSome()
	return l.decideOnce(ctx)
}
