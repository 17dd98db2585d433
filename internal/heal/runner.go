package heal

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"grace"
)

// Defaults of a playbook that does not say.
const (
	DefaultStepTimeout = 30 * time.Second
	DefaultSettle      = 30 * time.Second
	DefaultSoak        = 10 * time.Second
	DefaultWatchdog    = 10 * time.Minute
)

// Runner drives runs. It is safe for concurrent use.
type Runner struct {
	// Actions by name.
	Actions map[string]grace.Action
	Prober  grace.Prober
	Clock   Clock
	// Owner names this process; it tells a step left by another one.
	Owner string
	// Condition looks at what began a run. Without it a run succeeds by its
	// checks alone.
	Condition func(ctx context.Context, run grace.Run) Condition
	// Permit is asked before every try of a step or an undo: nil lets it go on.
	// Its error says what forbids it, as text for people. first is the first try
	// of the first step that changes anything; a *ClearedError then says that what
	// began the run is not there any more.
	Permit func(ctx context.Context, run grace.Run, first bool) error

	mu     sync.Mutex
	active map[grace.RunID]*activeRun
}

// activeRun is what Interrupt reaches of a run that this process drives.
type activeRun struct {
	aborted bool                    // also what is begun from now on ends at once
	cancel  context.CancelCauseFunc // of what is under way, nil between
}

var errAborted = errors.New("abort requested")

// Run drives one run to its end. An error means that it has not ended: the
// flow stopped (another process goes on) or the store refused a change.
func (r *Runner) Run(f Flow, run grace.Run) error {
	defer r.begin(run.ID)()
	x := &execution{Runner: r, flow: f, run: run}
	admitted, err := x.admit()
	if err != nil || !admitted {
		return err
	}
	failed, err := x.act()
	if err != nil {
		return err
	}
	if failed == nil {
		failed, err = x.verify() // which ends the run when every check holds
	}
	if failed == nil || err != nil {
		return err
	}
	if failed.cleared {
		return x.commit("cleared", nil, func(run *grace.Run, m Checkpoint) outcome { return end(run, m, grace.RunCancelled, failed.reason) })
	}
	switch {
	case failed.forbidden:
		return x.standDown(*failed)
	case failed.unseen: // undoing what may have helped is no better than the fault
		return x.leave("unseen", *failed, false)
	}
	return x.rollBack(*failed)
}

// begin makes a run known to Interrupt until the function it gives is called.
func (r *Runner) begin(id grace.RunID) func() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.active == nil {
		r.active = map[grace.RunID]*activeRun{}
	}
	d := &activeRun{}
	r.active[id] = d
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.active[id] == d {
			delete(r.active, id)
		}
	}
}

// Interrupt ends the action or the verification that the run is at or comes to
// next, if it is driven by this process. The abort request itself must be in
// the store first.
func (r *Runner) Interrupt(id grace.RunID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.active[id]
	if d == nil {
		return
	}
	d.aborted = true
	if d.cancel != nil {
		d.cancel(errAborted)
	}
}

// interruptible gives a context that Interrupt and the watchdog end.
func (x *execution) interruptible(ctx context.Context, left time.Duration) (context.Context, func()) {
	ctx, cancelWatchdog := x.withTimeout(ctx, left, fmt.Errorf("watchdog: no time left"))
	ctx, cancel := context.WithCancelCause(ctx)
	x.mu.Lock()
	defer x.mu.Unlock()
	d := x.active[x.run.ID]
	d.cancel = cancel
	if d.aborted {
		cancel(errAborted)
	}
	return ctx, func() {
		x.mu.Lock()
		d.cancel = nil
		x.mu.Unlock()
		cancel(nil)
		cancelWatchdog()
	}
}

// execution is one drive of a run, live or replayed.
type execution struct {
	*Runner
	flow Flow
	run  grace.Run     // as the last transaction left it
	mark Checkpoint    // of the last transaction
	took time.Duration // from the first step to the mark; no step of the wall clock counts
}

// failure is why a run does not succeed.
type failure struct {
	reason string
	abort  *grace.AbortRequest // a person asked
	expiry bool                // the watchdog asked
	// ineffective: it was done and did not help. forbidden: nothing more may be
	// done, not even undone. cleared: nothing was done, since nothing is wrong. unseen:
	// it was done, and nothing shows whether it helped.
	ineffective, forbidden, cleared, unseen bool
}

// ClearedError says that what began a run is not there any more, or that it may
// not be done any more, before anything was done.
type ClearedError struct{ Text string }

// NotBegun begins the text of a ClearedError.
const NotBegun = "not begun: "

func (e *ClearedError) Error() string { return e.Text }

// commit changes the run in one transaction. apply is called on what will be
// stored and, also on a replay, on the run in memory: it may use nothing but
// its arguments.
func (x *execution) commit(name string, look func(j Journal, m *Checkpoint) error, apply func(run *grace.Run, m Checkpoint) outcome) error {
	mark, err := x.flow.Tx(name, func(j Journal) (Checkpoint, error) { return x.save(j, look, apply) })
	if err != nil {
		return err
	}
	x.advance(mark, apply)
	return nil
}

// step does something outside and changes the run by its outcome.
func (x *execution) step(name string, do func(ctx context.Context) grace.Outcome,
	apply func(run *grace.Run, m Checkpoint, o grace.Outcome) outcome,
) (grace.Outcome, error) {
	o, mark, err := x.flow.Step(name, do, func(j Journal, o grace.Outcome) (Checkpoint, error) {
		return x.save(j, nil, func(run *grace.Run, m Checkpoint) outcome { return apply(run, m, o) })
	})
	if err != nil {
		return o, err
	}
	x.advance(mark, func(run *grace.Run, m Checkpoint) outcome { return apply(run, m, o) })
	return o, nil
}

func (x *execution) save(j Journal, look func(Journal, *Checkpoint) error, apply func(*grace.Run, Checkpoint) outcome) (Checkpoint, error) {
	m := Checkpoint{At: j.Now(), Owner: x.Owner, Elapsed: x.Clock.Elapsed()}
	abort, err := j.Abort(x.run.ID)
	if err != nil {
		return m, fmt.Errorf("look for an abort request: %w", err)
	}
	m.Abort = abort
	if look != nil {
		if err := look(j, &m); err != nil {
			return m, err
		}
	}
	next := copyRun(x.run)
	out := apply(&next, m)
	next.Revision++
	next.Owner = m.Owner
	if abortedByPerson(next, m) {
		if out.stopped, err = j.Lasting(next); err != nil {
			return m, fmt.Errorf("look at what it was for: %w", err)
		}
		out.openIncident = out.openIncident || len(out.stopped) > 0
	}
	var open *grace.Incident
	if out.openIncident {
		if open, err = j.OpenIncident(next); err != nil {
			return m, fmt.Errorf("look for an open incident: %w", err)
		}
	}
	return m, j.Save(events(next, m, out, open)...)
}

// abortedByPerson tells whether a person has stopped a run for what is wrong.
func abortedByPerson(run grace.Run, m Checkpoint) bool {
	switch run.Status { //nolint:exhaustive // the others ended by themselves, or go on
	case grace.RunRolledBack, grace.RunCancelled, grace.RunAborted:
		return m.Abort != nil && run.Code != grace.CodeManual
	}
	return false
}

func (x *execution) advance(m Checkpoint, apply func(*grace.Run, Checkpoint) outcome) {
	next := copyRun(x.run)
	apply(&next, m)
	next.Revision++
	next.Owner = m.Owner
	if x.run.StartedAt != nil {
		x.took += x.mark.until(m)
	}
	x.run, x.mark = next, m
}

// interrupted tells whether the last transaction saw an abort request, or the
// watchdog's time was over by then.
func (x *execution) interrupted() *failure {
	if a := x.mark.Abort; a != nil {
		return &failure{reason: fmt.Sprintf("aborted by %s: %s", a.Actor, a.Reason), abort: a}
	}
	if x.took >= x.watchdog() {
		return &failure{reason: fmt.Sprintf("watchdog: not done within %s", x.watchdog()), expiry: true}
	}
	return nil
}

func (x *execution) watchdog() time.Duration { return or(x.run.Playbook.Watchdog, DefaultWatchdog) }

// watchdogLeft is the time that is left now.
func (x *execution) watchdogLeft() time.Duration {
	if x.run.StartedAt == nil {
		return x.watchdog()
	}
	return x.watchdog() - x.took - x.mark.until(Checkpoint{At: x.Clock.Now(), Owner: x.Owner, Elapsed: x.Clock.Elapsed()})
}

// until is the time between two marks. From one process to the next only the
// wall clock is known to both.
func (m Checkpoint) until(next Checkpoint) time.Duration {
	if m.Owner == next.Owner {
		return next.Elapsed - m.Elapsed
	}
	return max(0, next.At.Sub(m.At))
}

func or(d grace.Duration, def time.Duration) time.Duration {
	if d > 0 {
		return d.D()
	}
	return def
}
