package heal

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"grace"
	"grace/internal/event"
)

// undoTries of one undo before the run escalates.
const undoTries = 3

// rollBack undoes in reverse order what took effect or may have.
func (x *execution) rollBack(why failure) error {
	undo, stuck := x.effects()
	if err := x.commit("rolling_back", nil, func(run *grace.Run, m Checkpoint) outcome {
		run.Status = grace.RunRollingBack
		run.Error = why.reason
		run.Abort = why.abort
		return outcome{moves: []event.Move{{Action: "rolling_back", Reason: why.reason, Detail: map[string]any{"undo": undo, "irreversible": stuck}}}}
	}); err != nil {
		return err
	}
	undone, left := true, ""
	for _, i := range undo {
		s := x.run.Playbook.Steps[i]
		o, err := x.step(fmt.Sprintf(undoPrefix+"%d/%s", i, s.Name),
			func(ctx context.Context) grace.Outcome { return x.undo(ctx, s) },
			func(run *grace.Run, m Checkpoint, o grace.Outcome) outcome { return undoEnded(run, m, s, o) })
		if err != nil {
			return err
		}
		if o.Data[forbiddenKey] != "" {
			if o.Error != why.reason {
				why.reason += "; " + o.Error
			}
			return x.standDown(failure{reason: why.reason})
		}
		if o.Status != grace.OutcomeSucceeded {
			undone, left = false, left+"; "+s.Name+" could not be undone: "+o.Error
		}
	}
	if !undone {
		if err := x.commit("rollback_failed", nil, func(run *grace.Run, _ Checkpoint) outcome {
			run.Status = grace.RunRollbackFailed
			run.Error += left
			return outcome{moves: []event.Move{{Action: "rollback_failed", Reason: "not every step could be undone"}}}
		}); err != nil {
			return err
		}
	}
	return x.commit("ended", nil, func(run *grace.Run, m Checkpoint) outcome {
		state := endState(why, undone, len(undo), len(stuck))
		out := end(run, m, state, why.reason)
		out.openIncident = why.abort == nil || !undone || len(stuck) > 0
		out.manual = !undone || !why.ineffective && len(stuck) > 0
		return out
	})
}

// standDown ends a run at once when nothing more may be done: neither the steps
// that are left nor the undoing of those that were done. A person takes over.
func (x *execution) standDown(why failure) error { return x.leave("stood_down", why, true) }

// leave ends a run and leaves what was done as it is.
func (x *execution) leave(name string, why failure, manual bool) error {
	return x.commit(name, nil, func(run *grace.Run, m Checkpoint) outcome {
		run.Error = ""
		run.Abort = &grace.AbortRequest{Run: run.ID, Actor: grace.Self, Reason: why.reason, At: m.At} // it says nothing of the remedy
		out := end(run, m, grace.RunAborted, why.reason+"; what was done is as it was left")
		out.openIncident, out.manual, out.abort = true, manual, run.Abort
		return out
	})
}

// endState names the end of a run that did not succeed.
func endState(why failure, undone bool, undos, stuck int) grace.RunStatus {
	switch {
	case !undone:
		return grace.RunEscalated
	case why.expiry:
		return grace.RunAborted
	case why.abort != nil && undos+stuck == 0:
		return grace.RunCancelled
	case why.abort != nil && stuck > 0:
		return grace.RunAborted
	case undos > 0 && stuck == 0:
		return grace.RunRolledBack
	case why.ineffective:
		return grace.RunIneffective
	default:
		return grace.RunEscalated // nothing could be undone, and it is still sick
	}
}

// effects lists, newest first, the steps to undo, and names those that changed
// something that cannot be undone.
func (x *execution) effects() (undo []int, stuck []string) {
	for i, rec := range slices.Backward(x.run.Steps) {
		s := x.run.Playbook.Steps[i]
		switch st := rec.State; {
		case s.ReadOnly, st == grace.StepPending, st == grace.StepSkipped, st == grace.StepFailed:
		case st == grace.StepStarted && x.neverReached(i):
		case s.Undo != nil:
			undo = append(undo, i)
		default:
			stuck = append(stuck, s.Name)
		}
	}
	return undo, stuck
}

// neverReached tells whether a step is on record as started only because the
// step before it ended, and the run turned back there.
func (x *execution) neverReached(i int) bool { return x.run.Steps[i].Attempts == 0 }

// undo calls the step's undo and verifies that it took effect. An undo that
// another process left unfinished is not done again when the snapshot shows
// that it has taken effect.
func (x *execution) undo(ctx context.Context, s grace.Step) grace.Outcome {
	undone := x.undone(ctx, s)
	if x.mark.Owner != x.Owner && s.Undo.Check == nil && s.Snapshot != nil {
		started := x.Clock.Now()
		if ok, _ := undone(started); ok {
			return grace.Outcome{
				Status: grace.OutcomeSucceeded, Output: "left unfinished by another process; it has taken effect",
				Data: map[string]string{attemptsKey: "0"}, Started: started, Ended: x.Clock.Now(),
			}
		}
	}
	var o grace.Outcome
	pause := retryPause
	for attempt := 1; attempt <= undoTries; attempt++ {
		if err := x.permit(ctx, false); err != nil {
			return forbidden(err, attempt-1, x.Clock.Now(), x.Clock.Now())
		}
		o = x.call(ctx, *s.Undo, s.Name, grace.PhaseUndo, "", attempt)
		if o.Status == grace.OutcomeSucceeded && undone != nil {
			o = x.verifyUndo(ctx, undone, o)
		}
		if o.Data == nil {
			o.Data = map[string]string{}
		}
		o.Data[attemptsKey] = fmt.Sprint(attempt)
		if o.Status == grace.OutcomeSucceeded || ctx.Err() != nil {
			return o
		}
		x.Clock.Sleep(ctx, pause)
		pause *= 2
	}
	return o
}

// undone gives the look that tells whether a step's undo has taken effect: its
// check, or the snapshot as it was before the step. Without either the action's
// word is all there is, and it is nil; lint says so.
func (x *execution) undone(ctx context.Context, s grace.Step) func(since time.Time) (bool, string) {
	before := recordOf(x.run, s.Name).Snapshot
	switch {
	case s.Undo.Check != nil:
		c := expandCheck(*s.Undo.Check, x.vars(snapshotVars(before)...))
		return func(since time.Time) (bool, string) {
			r := x.Prober.Probe(ctx, x.run.Service, c, since)
			return r.OK && holds(c, r.Value), r.Detail
		}
	case s.Snapshot != nil:
		look := 0
		return func(time.Time) (bool, string) {
			look++
			// Every look needs an answer of its own, so a key of its own: also
			// from those of a process that looked before this one.
			now := x.call(ctx, *s.Snapshot, s.Name, grace.PhaseUndo, fmt.Sprintf("look/%s/%d", x.Owner, look), look)
			return now.Status == grace.OutcomeSucceeded && maps.Equal(now.Data, before), fmt.Sprintf("%v, before the step %v", now.Data, before)
		}
	default:
		return nil
	}
}

// verifyUndo wants the undo to have taken effect within the settle time.
func (x *execution) verifyUndo(ctx context.Context, undone func(time.Time) (bool, string), o grace.Outcome) grace.Outcome {
	since := x.Clock.Now()
	deadline := since.Add(or(x.run.Playbook.Settle, DefaultSettle))
	for {
		ok, detail := undone(since)
		if ok {
			return o
		}
		if !x.Clock.Now().Before(deadline) || ctx.Err() != nil {
			o.Status, o.Error = grace.OutcomeFailed, "the undo did not take effect: "+detail
			return o
		}
		x.Clock.Sleep(ctx, time.Second)
	}
}
