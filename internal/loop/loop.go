package loop

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"grace"
	"grace/internal/decide"
	"grace/internal/event"
	"grace/internal/forecast"
	"grace/internal/heal"
	"grace/internal/mesh"
	"grace/internal/stage/learn"
	"grace/internal/stage/predict"
	"grace/internal/stage/sense"
	"grace/internal/store"
)

// Config is everything the stages are told.
type Config struct {
	decide.Config // what decisions look at

	Objectives  []sense.Objective
	Limits      []predict.Target // what must not run out: forecast, and no symptom by itself
	Probes      []sense.Probe    // known before their first sample
	AlertSource string           // how alerts are read: when it changes they must be shown anew
	// Sources is what makes each sensor, by its name: when it changes, all that the
	// sensor shows must be shown anew. Under "" is what may make any other. Nil:
	// nobody can tell, so that every change touches everything.
	Sources     map[string]any
	Sense       sense.Config
	Predict     predict.Config
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
	// Shards has agents beside the loop's own, for series that others send; nil for none.
	Shards Predictors
	Models []forecast.Model // trained ones, which take part in the forecasts
	Log    *slog.Logger
	Now    func() time.Time
	// Elapsed is the time since some moment as no step of the wall clock moves
	// it; nil: the wall clock is never set.
	Elapsed func() time.Duration
	// Owner names this process in audit entries and traces.
	Owner string
}

// Loop is the agent core. Make it with New, then Start it.
type Loop struct {
	Deps

	stages atomic.Pointer[stages]

	mu         sync.Mutex // guards sensing: the agents and what they wait to write
	sense      *sense.Agent
	predict    *predict.Agent
	lost       []grace.Signal // what was sick when last seen, and is forgotten: until that is on record
	forecast   time.Time      // when predict was last asked
	swept      time.Time      // when the ledger was last looked through for what nobody resolves
	stepRefits *refitter      // of Step; Start's has its own
	unsaved    backlog        // changes of signals that are to be written, in order

	published map[grace.SignalKey]published // what was said last of each signal
	drift     heal.Drift                    // of the wall clock
	stepped   time.Duration                 // by how much the clock was set since it was said last
	setBack   atomic.Int64                  // by how much the clock is behind where it was, in ns, at most 0
	shifted   atomic.Int64                  // by how much the clock was set, in ns, since the deciding goroutine asked

	flushing sync.Mutex // held while unsaved is being written

	memory   memory // what ranking remembers
	openRuns openMap
	mirror   mirror   // what every replica's signals and predictions say
	assessed assessed // what was made of it
	kpis     lazy[learn.KPIs]
	rates    lazy[[]learn.Row] // over all time

	conditions map[grace.ServiceID]*condition // what is sick, and since when; the deciding goroutine's own
	hushed     map[grace.SignalKey]time.Time  // until when it was silenced at its source; likewise
	looks      time.Time                      // until then what is not seen may come, after the process stood still; likewise
	unseen     map[grace.SignalKey]time.Time  // since when there is no data of it; the deciding goroutine's own
	well       map[grace.ServiceID]time.Time  // the services that are shown to be well, since when; likewise
	considered map[string]consideration       // by considered(); likewise
	reworded   map[grace.IncidentID]time.Time // when the reason of an incident was looked at last; likewise
	passes     int                            // likewise
	windowOpen bool                           // when it was asked last; likewise
	roused     int                            // likewise: of the runs that wait to start, which was looked at last
	stormOpen  bool                           // likewise, as it was told last
	stormTold  bool                           // likewise: false until it was told once
	stormGrew  time.Time                      // likewise: when its incident was widened last

	stormNow atomic.Pointer[grace.Reason] // of the storm that lasts, for runs that wait to start

	// looking is since when, in ms, this process should see what it is told to look at:
	// the start, the last change of the configuration. Time that it stood still does not
	// count.
	looking atomic.Int64

	reloaded atomic.Bool // the configuration says something new, and what waits was not looked at since

	epoch atomic.Int64 // since when, in ms, evidence counts: the start, the last change of the configuration, or that it woke

	made  time.Time
	still sync.Mutex    // guards beat
	beat  time.Duration // when this process was last known to run
	woke  atomic.Bool   // it stood still, and the deciding goroutine has not heard of it

	carried atomic.Int64 // id of the newest event that went to the mesh

	reconciled atomic.Pointer[time.Time] // end of the last reconcile cycle without an error

	wake   chan struct{}
	cancel context.CancelFunc
	done   sync.WaitGroup
	stats  Stats
}

// stages is one configuration's pure part. It is never changed, only swapped.
type stages struct {
	Config

	rules *decide.Rules
}

func buildStages(cfg Config) (*stages, error) {
	if cfg.ApprovalTTL <= 0 {
		cfg.ApprovalTTL = 30 * time.Minute
	}
	if cfg.Reconsider <= 0 {
		cfg.Reconsider = 5 * time.Second
	}
	if cfg.EscalateAfter <= 0 {
		cfg.EscalateAfter = 5 * time.Minute
	}
	if cfg.EscalateCritical <= 0 {
		cfg.EscalateCritical = time.Minute
	}
	if cfg.Mode == "" {
		cfg.Mode = grace.ModeObserveOnly
	}
	rules, err := decide.NewRules(cfg.Config)
	if err != nil {
		return nil, err
	}
	cfg.Config = rules.Config
	return &stages{Config: cfg, rules: rules}, nil
}

// New builds a loop.
func New(cfg Config, deps Deps) (*Loop, error) {
	st, err := buildStages(cfg)
	if err != nil {
		return nil, err
	}
	l := &Loop{
		Deps: deps, made: time.Now(), wake: make(chan struct{}, 1), considered: map[string]consideration{}, reworded: map[grace.IncidentID]time.Time{},
		published: map[grace.SignalKey]published{}, conditions: map[grace.ServiceID]*condition{}, unseen: map[grace.SignalKey]time.Time{},
		sense:   sense.New(st.Sense, st.Objectives),
		predict: predict.New(st.Predict, Targets(&st.Config)),
	}
	l.predict.Silence(st.Govern.PredictiveShadow)
	l.stages.Store(st)
	if deps.Runner != nil { // some tests only sense
		deps.Runner.Condition, deps.Runner.Permit = l.condition, l.permit
	}
	return l, nil
}

// Start loads what the store knows and begins to decide.
func (l *Loop) Start(ctx context.Context) error {
	if err := l.load(ctx); err != nil {
		return err
	}
	ctx, l.cancel = context.WithCancel(context.WithoutCancel(ctx))
	l.done.Go(func() { l.pump(ctx) })
	l.done.Go(func() { l.tick(ctx) })
	l.done.Go(func() { l.beats(ctx) })
	l.done.Go(func() { l.decider(ctx) })
	l.done.Go(func() { l.warm(ctx) })
	l.done.Go(func() { l.refits(ctx) })
	return nil
}

// warm makes the answers that are dear to make before anybody asks.
func (l *Loop) warm(ctx context.Context) {
	if _, err := l.KPIs(ctx); err != nil && ctx.Err() == nil {
		l.Log.Warn("key figures not measured; they are when they are asked for", "error", err)
	}
	l.Rates(l.Now(), 0)
}

// Stop ends the loop's goroutines and waits for them. Runs are the engine's.
func (l *Loop) Stop() {
	if l.cancel != nil {
		l.cancel()
	}
	l.done.Wait()
}

// load restores the signals of before the restart, and makes the first mode.
func (l *Loop) load(ctx context.Context) error {
	l.still.Lock()
	if l.Elapsed != nil {
		l.beat = l.Elapsed()
	}
	l.still.Unlock()
	// The cursor first: what is committed while the rest is read comes as
	// events.
	last, err := l.Store.LastEventID(ctx, l.Store.Q())
	if err != nil {
		return fmt.Errorf("read the newest event: %w", err)
	}
	l.carried.Store(last)
	if err := l.memory.load(ctx, l, l.stages.Load().Learn); err != nil {
		return err
	}
	signals, err := l.Store.Signals(ctx, l.Store.Q(), "")
	if err != nil {
		return fmt.Errorf("load signals: %w", err)
	}
	now := l.Now()
	l.mu.Lock()
	l.noticeStep(now) // from here on
	l.mu.Unlock()
	ahead, err := l.recordsAhead(ctx, now)
	if err != nil {
		return err
	}
	l.setBack.Store(int64(-ahead))
	for i := range signals {
		// What is dated ahead would keep every new sample out until the clock has
		// caught up.
		for _, t := range []*time.Time{&signals[i].At, &signals[i].Since, &signals[i].Fired, &signals[i].FailingSince} {
			if !t.IsZero() {
				*t = earlier(t.Add(-ahead), now)
			}
		}
	}
	l.epoch.Store(now.UnixMilli())
	l.looking.Store(now.UnixMilli())
	l.reloaded.Store(true)
	l.mirror.foreseeAnew(now)
	l.mu.Lock()
	l.sense.Expect(l.stages.Load().Probes)
	gone := l.sense.Restore(signals, now)
	known := l.sense.Signals()
	for _, s := range signals {
		l.published[s.Key] = published{s.State, s.Severity, s.Flapping}
	}
	l.mu.Unlock()
	l.mirror.unconfirm(signals, now)
	l.mirror.signals(unknown(known)) // also what never had data is there to be seen
	if err := l.loadLedger(ctx); err != nil {
		return err
	}
	if err := l.persist(ctx, gone); err != nil {
		return err
	}
	return l.Store.Do(ctx, func(ctx context.Context, tx store.Tx) error {
		mode, err := l.Store.Mode(ctx, tx)
		if err != nil {
			return fmt.Errorf("read the mode: %w", err)
		}
		if mode.Revision > 0 {
			return nil
		}
		set := grace.ModeSetting{
			Mode: l.stages.Load().Mode, Reason: "first start, from the configuration", Actor: grace.Self, Since: l.Now(), Revision: 1,
		}
		return l.Store.Append(ctx, tx, event.ModeSet{Mode: set})
	})
}

// unknown gives the signals that never had data.
func unknown(list []grace.Signal) []grace.Signal {
	return slices.DeleteFunc(list, func(s grace.Signal) bool { return s.State != grace.SignalUnknown })
}

// tick lets time pass in sense and predict, and has it looked at what waits for
// time. One clock for both: what a second brings is decided in that second.
func (l *Loop) tick(ctx context.Context) {
	eachSecond(ctx, func() {
		if err := l.elapse(ctx); err != nil && ctx.Err() == nil {
			l.Log.Warn("signals not written; they are kept and written later", "error", err)
		}
		l.nudge()
	})
}

// elapse is one tick.
func (l *Loop) elapse(ctx context.Context) error {
	now := l.Now()
	st := l.stages.Load()
	if err := l.watchClock(ctx, now); err != nil && ctx.Err() == nil {
		l.Log.Warn("a step of the clock is not on record", "error", err)
	}
	l.mu.Lock()
	changed := l.sense.Tick(now)
	var more []said
	if now.Sub(l.forecast) >= st.PredictEvery {
		l.forecast = now
		more = l.foresee(st, l.predict.Evaluate(now), nil)
	}
	sweep := now.Sub(l.swept) >= sweepEvery
	if sweep {
		l.swept = now
	}
	l.keep(changed, more...)
	l.lostSick(changed)
	asks := l.sense.Ask(now)
	l.mu.Unlock()
	if err := l.ask(ctx, asks, now); err != nil && ctx.Err() == nil {
		l.Log.Warn("other replicas are asked later what they see", "signals", len(asks), "error", err)
	}
	l.lookAtShards(st, now)
	if sweep {
		if err := l.sweep(ctx, now); err != nil && ctx.Err() == nil {
			l.Log.Warn("the ledger of predictions is looked through again later", "error", err)
		}
	}
	return l.flush(ctx)
}

// decider decides when woken: by what is new, and by tick every second for what
// waits for time.
func (l *Loop) decider(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.wake:
		}
		began := time.Now()
		if err := l.decideOnce(ctx); err != nil && ctx.Err() == nil {
			l.Log.Error("deciding failed; triggers stay pending", "error", err)
		}
		// In a storm every alert wakes: what is taken in must not starve.
		if took := time.Since(began); took > longPass {
			select {
			case <-ctx.Done():
				return
			case <-time.After(min(took, time.Second)):
			}
		}
	}
}

// longPass is how long a pass may take without a rest after it.
const longPass = 50 * time.Millisecond

// reconcileEvery passes of the decider, stranded runs are looked for.
const reconcileEvery = 10

func (l *Loop) decideOnce(ctx context.Context) error {
	l.noticeStill()
	err := errors.Join(l.endMode(ctx), l.decideAll(ctx), l.lookAfter(ctx))
	if l.passes%reconcileEvery == 0 {
		err = errors.Join(err, l.reconcile(ctx))
	}
	l.passes++
	if err == nil {
		at := time.Now() // with the monotonic clock, whatever the loop's own clock is
		l.reconciled.Store(&at)
	}
	return err
}

// Reconciled tells when the last reconcile cycle ended without an error; zero
// is never.
func (l *Loop) Reconciled() time.Time {
	if at := l.reconciled.Load(); at != nil {
		return *at
	}
	return time.Time{}
}

// Load, Relay and Step are Start for those who own the clock: after Load, every
// Relay and Step does once, in order and on the caller's goroutine, what Start's
// goroutines do when woken or once a second; of forecasts so many as it may,
// however long they take.
func (l *Loop) Load(ctx context.Context) error { return l.load(ctx) }

// Relay lets the loop catch up with the outbox.
func (l *Loop) Relay(ctx context.Context) { l.carry(ctx, l.carried.Load()) }

// Step lets the loop catch up with its clock and its store.
func (l *Loop) Step(ctx context.Context) error {
	l.noticeStill()
	if err := l.elapse(ctx); err != nil {
		return err
	}
	l.refitSome()
	return l.decideOnce(ctx)
}

func (l *Loop) nudge() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}
