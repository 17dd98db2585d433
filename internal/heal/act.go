package heal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"grace"
	"grace/internal/event"
)

// retryPause between tries of one step; it doubles.
const retryPause = 500 * time.Millisecond

// act does the steps in order until one fails or somebody wants it to stop.
func (x *execution) act() (*failure, error) {
	if f := x.interrupted(); f != nil {
		return f, nil
	}
	if err := x.takeBaseline(); err != nil {
		return nil, err
	}
	for i, s := range x.run.Playbook.Steps {
		if s.Snapshot != nil {
			if f, err := x.snapshot(i, s); f != nil || err != nil {
				return f, err
			}
		}
		o, err := x.step(fmt.Sprintf(doPrefix+"%d/%s", i, s.Name),
			func(ctx context.Context) grace.Outcome { return x.do(ctx, i, s) },
			func(run *grace.Run, m Checkpoint, o grace.Outcome) outcome { return stepEnded(run, m, i, o) })
		if err != nil {
			return nil, err
		}
		if f := x.interrupted(); f != nil {
			return f, nil
		}
		if o.Status != grace.OutcomeSucceeded {
			// What may have been done in part is undone, though nothing is wrong any more.
			why := o.Data[forbiddenKey]
			return &failure{
				reason: fmt.Sprintf("step %q: %s", s.Name, o.Error), forbidden: why != "" && why != clearedValue,
				cleared: why == clearedValue && o.Status == grace.OutcomeFailed && !slices.ContainsFunc(x.run.Playbook.Steps[:i], mutates),
			}, nil
		}
	}
	return nil, nil
}

// snapshot reads what an undo will need. It is on record before the step.
func (x *execution) snapshot(i int, s grace.Step) (*failure, error) {
	o, err := x.step(fmt.Sprintf("snapshot/%d/%s", i, s.Name),
		func(ctx context.Context) grace.Outcome {
			ctx, done := x.interruptible(ctx, x.watchdogLeft())
			defer done()
			return x.undoable(s, x.call(ctx, *s.Snapshot, s.Name, grace.PhaseDo, "snapshot", 1))
		},
		func(run *grace.Run, m Checkpoint, o grace.Outcome) outcome {
			run.Steps[i].Snapshot = o.Data
			if o.Status == grace.OutcomeSucceeded {
				markStarted(run, i, m)
				return outcome{moves: []event.Move{{Action: "snapshot", Reason: "before step " + s.Name, Detail: o.Data}}}
			}
			run.Steps[i].State, run.Steps[i].Error = grace.StepFailed, o.Error
			run.Steps[i].EndedAt = &m.At
			return outcome{moves: []event.Move{{Action: "step_failed", Reason: "snapshot of " + s.Name + ": " + o.Error}}}
		})
	if err != nil {
		return nil, err
	}
	if f := x.interrupted(); f != nil {
		return f, nil
	}
	if o.Status != grace.OutcomeSucceeded {
		return &failure{reason: fmt.Sprintf("snapshot before step %q: %s", s.Name, o.Error)}, nil
	}
	return nil, nil
}

// undoable fails a snapshot from which the undo could not be made: that is to
// be found before the step, not after it.
func (x *execution) undoable(s grace.Step, o grace.Outcome) grace.Outcome {
	if o.Status != grace.OutcomeSucceeded || s.Undo == nil {
		return o
	}
	if _, err := expandMap(s.Undo.With, x.vars(snapshotVars(o.Data)...)); err != nil {
		o.Status, o.Error = grace.OutcomeFailed, fmt.Sprintf("the undo cannot be made from it: %v", err)
	}
	return o
}

// do tries one step until it succeeds, may not be tried again, or time is up.
func (x *execution) do(ctx context.Context, i int, s grace.Step) grace.Outcome {
	ctx, done := x.interruptible(ctx, x.watchdogLeft())
	defer done()
	started := x.Clock.Now()
	resumed := x.mark.Owner != x.Owner
	if resumed && !s.ReadOnly {
		if o, settled := x.resume(ctx, s); settled {
			o.Data = map[string]string{attemptsKey: "0", resumedKey: "true"}
			o.Started, o.Ended = started, x.Clock.Now()
			return o
		}
	}
	if ctx.Err() != nil { // an abort that came between two steps
		return certain(grace.Outcome{
			Status: grace.OutcomeFailed, Error: fmt.Sprintf("not started: %v", context.Cause(ctx)),
			Data: map[string]string{attemptsKey: "0"}, Started: started, Ended: x.Clock.Now(),
		}, resumed)
	}
	var o grace.Outcome
	maybe := resumed // whether an earlier try may have taken effect
	pause := retryPause
	for attempt := 1; ; attempt++ {
		// What another process left, and is certainly missing, begins anew.
		first := x.nothingDone(i) && (!maybe || resumed && attempt == 1)
		if err := x.permit(ctx, first); err != nil {
			return certain(forbidden(err, attempt-1, started, x.Clock.Now()), maybe)
		}
		o = x.call(ctx, grace.Call{Action: s.Action, With: s.With, Timeout: s.Timeout}, s.Name, grace.PhaseDo, "", attempt)
		o.Started = started
		if o.Data == nil {
			o.Data = map[string]string{}
		}
		o.Data[attemptsKey] = fmt.Sprint(attempt)
		if resumed {
			o.Data[resumedKey] = "true"
		}
		if o.Status == grace.OutcomeSucceeded || !o.Retryable || attempt > s.Retries {
			return x.lookAfter(ctx, i, s, certain(o, maybe))
		}
		maybe = maybe || o.Status != grace.OutcomeFailed
		x.Clock.Sleep(ctx, pause)
		pause *= 2
		if ctx.Err() != nil {
			return certain(o, maybe)
		}
	}
}

// lookAfter looks once at what became of a step of which nobody can say whether it took
// effect: one that helped is not undone for want of an answer. That the service is well
// says so of the last step alone.
func (x *execution) lookAfter(ctx context.Context, i int, s grace.Step, o grace.Outcome) grace.Outcome {
	if o.Status != grace.OutcomeUnknown || s.ReadOnly || ctx.Err() != nil ||
		s.Check == nil && slices.ContainsFunc(x.run.Playbook.Steps[i+1:], mutates) {
		return o
	}
	checks, what := x.checksOf(s)
	if found, _ := x.effectOf(ctx, checks); found == effectThere {
		o.Status, o.Output, o.Error = grace.OutcomeSucceeded, o.Error+"; "+what, ""
	}
	return o
}

// checksOf gives what tells whether a step took effect, and how that is said: its own
// check, else the playbook's verification.
func (x *execution) checksOf(s grace.Step) (checks []grace.Check, what string) {
	if s.Check != nil {
		return []grace.Check{*s.Check}, "its effect is there"
	}
	return x.run.Playbook.Verify, "the service is well, by this step or without it"
}

// certain makes a failure unknown when an earlier try may have taken effect:
// that the last one did not says nothing about it, and it is to be undone.
func certain(o grace.Outcome, maybe bool) grace.Outcome {
	if maybe && o.Status == grace.OutcomeFailed {
		o.Status, o.Error = grace.OutcomeUnknown, o.Error+"; an earlier try may have taken effect"
	}
	return o
}

// permit asks whether anything may be done now. first: nothing has been yet.
func (x *execution) permit(ctx context.Context, first bool) error {
	if err := x.flow.Owned(ctx); err != nil {
		return fmt.Errorf("not done: %w", err)
	}
	if x.Permit == nil {
		return nil
	}
	return x.Permit(ctx, x.run, first)
}

// nothingDone tells whether no step before one has changed anything, as far as
// is known: a step that was found done, though no try of it is on record, may be
// well without it.
func (x *execution) nothingDone(i int) bool {
	steps := x.run.Playbook.Steps
	for j, s := range steps[:i] {
		if mutates(s) && !x.run.FoundDone(j) {
			return false
		}
	}
	return mutates(steps[i])
}

func mutates(s grace.Step) bool { return !s.ReadOnly }

// forbidden is the outcome of what may not be done.
func forbidden(err error, attempts int, started, ended time.Time) grace.Outcome {
	why, text := "true", err.Error()
	if _, cleared := errors.AsType[*ClearedError](err); cleared {
		why = clearedValue
		if attempts > 0 {
			text = fmt.Sprintf("stopped after try %d, which failed: %s", attempts, strings.TrimPrefix(text, NotBegun))
		}
	}
	return grace.Outcome{
		Status: grace.OutcomeFailed, Error: text, Started: started, Ended: ended,
		Data: map[string]string{attemptsKey: fmt.Sprint(attempts), forbiddenKey: why},
	}
}

// Keys in an outcome's data that are the runner's own.
const (
	attemptsKey  = "_attempts"
	resumedKey   = "_resumed"
	forbiddenKey = "_forbidden"
	clearedValue = "cleared" // of it: nothing is wrong any more
)

// effect of a step that another process left unfinished.
type effect int

const (
	effectUnknown effect = iota
	effectThere
	effectMissing // as far as one reading tells
)

// resume finds out what became of a step that another process started and did
// not finish, by the step's own check, else by the playbook's verification. It
// gives the effect until the end of the settle time to show: what restarts may be
// on its way. settled is false when the step's own check says in the end that the
// effect is missing: the step is to be done. What cannot be told is unknown, which
// is neither "done" nor "do it again": the run is undone, or a person looks at it.
func (x *execution) resume(ctx context.Context, s grace.Step) (o grace.Outcome, settled bool) {
	checks, what := x.checksOf(s)
	deadline := x.Clock.Now().Add(or(x.run.Playbook.Settle, DefaultSettle))
	for {
		found, detail := x.effectOf(ctx, checks)
		if found == effectUnknown && slices.ContainsFunc(checks, needsSeveral) && ctx.Err() == nil {
			if whole := x.watch(ctx); whole.Status == grace.OutcomeSucceeded {
				found = effectThere
			} else {
				detail, deadline = whole.Error, x.Clock.Now()
			}
		}
		late := !x.Clock.Now().Before(deadline)
		switch {
		case found == effectThere:
			return grace.Outcome{Status: grace.OutcomeSucceeded, Output: "left unfinished by another process; " + what}, true
		case ctx.Err() != nil: // an abort is looked at next
			return o, false
		case late && found == effectMissing && s.Check != nil:
			return o, false
		case late:
			return grace.Outcome{
				Status: grace.OutcomeUnknown,
				Error:  "left unfinished by another process, and whether it took effect cannot be told: " + detail,
			}, true
		}
		x.Clock.Sleep(ctx, time.Second)
	}
}

// needsSeveral tells whether one reading of a check says nothing.
func needsSeveral(c grace.Check) bool {
	return c.Type == grace.CheckTrend || c.Type == grace.CheckCapacity
}

// effectOf judges checks by one reading each: the effect is there when all of
// them hold, and missing when one of them does not. A check that has no data, or
// cannot be judged by one reading, leaves it unknown.
func (x *execution) effectOf(ctx context.Context, checks []grace.Check) (found effect, detail string) {
	found = effectThere
	if len(checks) == 0 {
		return effectUnknown, "there is no check"
	}
	for _, c := range checks {
		if needsSeveral(c) {
			found, detail = effectUnknown, fmt.Sprintf("a %s cannot be judged by one reading", c.Type)
			continue
		}
		c = expandCheck(c, x.vars())
		// Metrics must be newer than the start of the interrupted step.
		r := x.Prober.Probe(ctx, x.run.Service, c, x.mark.At)
		switch {
		case !r.OK:
			found, detail = effectUnknown, "no data: "+r.Detail
		case !holds(c, r.Value):
			return effectMissing, cmp.Or(r.Detail, cmp.Or(c.Name, string(c.Type))+" does not hold")
		}
	}
	return found, detail
}

// call calls one action with its timeout, its settings resolved.
func (x *execution) call(ctx context.Context, c grace.Call, step string, phase grace.Phase, suffix string, attempt int) grace.Outcome {
	started := x.Clock.Now()
	failed := func(format string, args ...any) grace.Outcome {
		return grace.Outcome{Status: grace.OutcomeFailed, Error: fmt.Sprintf(format, args...), Started: started, Ended: x.Clock.Now()}
	}
	action, ok := x.Actions[c.Action]
	if !ok {
		return failed("unknown action %q", c.Action)
	}
	with, err := expandMap(c.With, x.vars(snapshotVars(recordOf(x.run, step).Snapshot)...))
	if err != nil {
		return failed("%v", err)
	}
	ctx, cancel := x.withTimeout(ctx, or(c.Timeout, DefaultStepTimeout),
		fmt.Errorf("no answer within %s", or(c.Timeout, DefaultStepTimeout)))
	defer cancel()
	key := string(x.run.ID) + "/" + string(phase) + "/" + step
	if suffix != "" {
		key += "/" + suffix
	}
	o := safely(ctx, action, grace.ActionRequest{
		Run: x.run.ID, Step: step, Service: x.run.Service, Phase: phase,
		IdempotencyKey: key, Attempt: attempt, With: with,
	})
	if o.Started.IsZero() {
		o.Started = started
	}
	if o.Ended.IsZero() {
		o.Ended = x.Clock.Now()
	}
	if o.Status != grace.OutcomeSucceeded {
		if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
			o.Error = fmt.Sprintf("%v: %s", cause, o.Error)
		}
		if o.Error == "" {
			o.Error = "the action did not say that it succeeded"
		}
	}
	return o
}

// safely calls an action. One that panics may have acted; what was done before
// is to be undone all the same.
func safely(ctx context.Context, action grace.Action, req grace.ActionRequest) (o grace.Outcome) {
	defer func() {
		if r := recover(); r != nil {
			o = grace.Outcome{
				Status: grace.OutcomeUnknown, Error: fmt.Sprintf("the action %s panicked: %v", action.Name(), r), Output: string(debug.Stack()),
			}
		}
	}()
	return action.Do(ctx, req)
}
