package loop

import (
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"grace"
	"grace/internal/heal"
	"grace/internal/series"
	"grace/internal/stage/predict"
	"grace/internal/stage/sense"
)

// ingest takes samples and lets time pass: what changes by either it keeps, writes and
// shows to all. It notices when the clock was set, or the process stood still.
type ingest struct {
	*common
	work

	forecaster *forecaster // which is asked under mu, so that its word comes in order

	mu         sync.Mutex // guards the agent and what waits to be written
	sense      *sense.Agent
	watches    []*watch
	kept       []*series.Expr       // that the configuration looks at
	runChecks  map[checkID]runCheck // what open runs look at besides, by its text
	recorder   *series.Recorder
	recordings []series.Group                // of the configuration
	lost       []grace.Signal                // what was sick when last seen, and is forgotten: until that is on record
	unsaved    writeQueue                    // changes of signals that are to be written, in order
	published  map[grace.SignalKey]published // what was said last of each signal
	drift      heal.Drift                    // of the wall clock
	stepped    time.Duration                 // by how much the clock was set since it was said last
	wasAt      time.Time                     // the latest that the clock read before it was set back
	ahead      map[aheadKey]ahead            // what is dated ahead of the clock
	seed       maphash.Seed                  // of its keys

	flushing sync.Mutex // held while unsaved is being written

	made  time.Time
	still sync.Mutex    // guards beat
	beat  time.Duration // when this process was last known to run
}

func newIngest(co *common, f *forecaster, st *stages) *ingest {
	in := &ingest{
		common: co, forecaster: f, made: time.Now(), sense: sense.New(st.Sense, st.Objectives), published: map[grace.SignalKey]published{},
		runChecks: map[checkID]runCheck{}, ahead: map[aheadKey]ahead{}, seed: maphash.MakeSeed(),
	}
	in.recorder = in.Series.NewRecorder()
	in.watch(&st.Config)
	f.reconfigure(st, targetsOf(in.watches))
	return in
}

// Start begins to let time pass.
func (in *ingest) Start(ctx context.Context) { in.begin(ctx, in.tick, in.beats) }

// load restores the signals of before the restart, and gives those that are gone.
func (in *ingest) load(ctx context.Context) (gone []grace.Signal, err error) {
	in.still.Lock()
	if in.Elapsed != nil {
		in.beat = in.Elapsed()
	}
	in.still.Unlock()
	signals, err := in.Store.Signals(ctx, in.Store.Q(), "")
	if err != nil {
		return nil, fmt.Errorf("load signals: %w", err)
	}
	now := in.Now()
	in.forecaster.since(now) // what history shows is no reason to speak
	in.mu.Lock()
	in.noticeStep(now) // from here on
	in.mu.Unlock()
	ahead, err := in.recordsAhead(ctx, now)
	if err != nil {
		return nil, err
	}
	in.setBack.Store(int64(-ahead))
	in.mu.Lock()
	in.wasAt = now.Add(ahead)
	in.mu.Unlock()
	for i := range signals {
		// What is dated ahead would keep every new sample out until the clock has
		// caught up.
		for _, t := range []*time.Time{&signals[i].At, &signals[i].Since, &signals[i].Fired, &signals[i].FailingSince, &signals[i].Repeated} {
			if !t.IsZero() {
				*t = earlier(t.Add(-ahead), now)
			}
		}
		if e := &signals[i].Expires; !e.IsZero() {
			*e = e.Add(-ahead)
		}
	}
	in.epoch.Store(now.UnixMilli())
	in.looking.Store(now.UnixMilli())
	in.reloaded.Store(true)
	in.mirror.foreseeAnew(now)
	in.mu.Lock()
	in.sense.Expect(in.stages.Load().Probes)
	gone = in.sense.Restore(signals, now)
	known := in.sense.Signals()
	for _, s := range signals {
		in.published[s.Key] = published{s.State, s.Severity, s.Flapping}
	}
	in.mu.Unlock()
	in.mirror.unconfirm(signals, now)
	in.mirror.signals(unknown(known)) // also what never had data is there to be seen
	return gone, nil
}

// unknown gives the signals that never had data.
func unknown(list []grace.Signal) []grace.Signal {
	return slices.DeleteFunc(list, func(s grace.Signal) bool { return s.State != grace.SignalUnknown })
}

// tick lets time pass in sense and predict, and has it looked at what waits for
// time. One clock for both: what a second brings is decided in that second.
func (in *ingest) tick(ctx context.Context) {
	eachSecond(ctx, func() {
		if err := in.elapse(ctx); err != nil && ctx.Err() == nil {
			in.Log.Warn("signals not written; they are kept and written later", "error", err)
		}
		in.wakeDecider()
	})
}

// elapse is one tick.
func (in *ingest) elapse(ctx context.Context) error {
	now := in.Now()
	st := in.stages.Load()
	if err := in.watchClock(ctx, now); err != nil && ctx.Err() == nil {
		in.Log.Warn("a step of the clock is not on record", "error", err)
	}
	in.mu.Lock()
	in.forgetAhead(now)
	in.record(ctx)
	changed := append(in.evaluate(ctx, now), in.sense.Tick(now)...)
	in.enqueue(changed, in.forecaster.evaluate(st, now)...)
	in.lostSick(changed)
	asks := in.sense.Ask(now)
	in.mu.Unlock()
	if err := in.ask(ctx, asks, now); err != nil && ctx.Err() == nil {
		in.Log.Warn("other replicas are asked later what they see", "signals", len(asks), "error", err)
	}
	in.lookAtShards(st, now)
	late, err := in.forecaster.sweep(ctx, now)
	if err != nil && ctx.Err() == nil {
		in.Log.Warn("the ledger of predictions is looked through again later", "error", err)
	}
	return in.persist(ctx, nil, late...)
}

// lookAtShards keeps what the agents of shards find.
func (in *ingest) lookAtShards(st *stages, now time.Time) {
	in.forecaster.stepShards(st, now, func(r predict.Result) {
		in.mu.Lock()
		defer in.mu.Unlock()
		in.enqueue(nil, in.forecaster.foresee(st, r)...)
	})
}

// failing gives the services of which something serious failed when seen last.
func (in *ingest) failing() map[grace.ServiceID]bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.sense.Failing()
}

// forget drops a signal, and tells whether there was one.
func (in *ingest) forget(key grace.SignalKey) (s grace.Signal, found bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if s, found = in.sense.Forget(key); found {
		in.enqueue([]grace.Signal{s})
	}
	return s, found
}

// lostSick keeps which signals were sick when last seen and are forgotten, since
// nothing is heard of them any more. The caller holds in.mu.
func (in *ingest) lostSick(changed []grace.Signal) {
	for _, s := range changed {
		if s.Lost && s.Severity.Serious() {
			in.lost = append(in.lost, s)
		}
	}
}

// takeLost gives what was sick when it was last seen, and is forgotten; what could not
// be put on record is to be given back.
func (in *ingest) takeLost() []grace.Signal {
	in.mu.Lock()
	defer in.mu.Unlock()
	lost := in.lost
	in.lost = nil
	return lost
}

func (in *ingest) giveBackLost(lost []grace.Signal) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.lost = append(lost, in.lost...)
}
