package heal_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"grace"
)

// TestDoubtIsUndone: what may have taken effect is undone, whatever the newest
// try says.
func TestDoubtIsUndone(t *testing.T) {
	failed := grace.Outcome{Status: grace.OutcomeFailed, Error: "no"}
	unknown := grace.Outcome{Status: grace.OutcomeUnknown, Retryable: true, Error: "no answer"}
	for _, tc := range []struct {
		name    string
		tries   []grace.Outcome
		crashAt string
		want    bool
	}{
		{"one clear failure", []grace.Outcome{failed}, "", false},
		{"an unknown try before a clear failure", []grace.Outcome{unknown, failed}, "", true},
		{"found started, and then a clear failure", []grace.Outcome{{Status: grace.OutcomeSucceeded}, failed}, "do/0/one", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.crashAt = tc.crashAt
			tries := tc.tries
			w.onCall = func(req grace.ActionRequest) grace.Outcome {
				if req.Phase == grace.PhaseUndo {
					return grace.Outcome{Status: grace.OutcomeSucceeded}
				}
				o := tries[0]
				tries = tries[1:]
				return o
			}
			s := undoable("one")
			s.Retries = 1
			run := w.drive(w.start(aRun(w, s)))
			if undone := slices.Contains(w.calls, "undo/one#r-1/undo/one"); undone != tc.want {
				t.Errorf("undone %v, want %v; state %s after %v", undone, tc.want, run.Status, w.calls)
			}
		})
	}
}

func TestActionThatPanicsIsUndone(t *testing.T) {
	w := newWorld(t)
	w.onCall = func(req grace.ActionRequest) grace.Outcome {
		if req.Phase == grace.PhaseDo && req.Step == "two" {
			panic("a bug in an extension")
		}
		return grace.Outcome{Status: grace.OutcomeSucceeded}
	}
	run := w.drive(w.start(aRun(w, undoable("one"), undoable("two"))))
	if run.Status != grace.RunRolledBack || !strings.Contains(run.Error, "panicked") {
		t.Errorf("state %s (%s), want rolled_back because of a panic", run.Status, run.Error)
	}
}

// TestAbortBetweenSteps: an abort that is heard while nothing is under way ends
// the next step before it begins.
func TestAbortBetweenSteps(t *testing.T) {
	w := newWorld(t)
	runner := w.runner("p")
	run := w.start(aRun(w, undoable("one"), undoable("two")))
	runner.Clock = &abortingClock{world: w, do: func() {
		// The last look at the clock of a step is after its action.
		if w.aborts[run.ID] == nil && slices.Contains(w.actions(), "run.step_succeeded") {
			w.aborts[run.ID] = &grace.AbortRequest{Run: run.ID, Actor: "token:bob", Reason: "stop"}
			runner.Interrupt(run.ID)
		}
	}}
	if err := runner.Run(replayFlow{w}, run); err != nil {
		t.Fatal(err)
	}
	if got := w.runs[run.ID]; got.Status != grace.RunRolledBack || got.Abort == nil {
		t.Errorf("state %s, want rolled_back by the abort", got.Status)
	}
	if slices.ContainsFunc(w.calls, func(c string) bool { return strings.HasPrefix(c, "do/two") }) {
		t.Errorf("the second step was done after the abort: %v", w.calls)
	}
}

type abortingClock struct {
	*world
	do func()
}

func (c *abortingClock) Now() time.Time {
	c.do()
	return c.world.Now()
}

// TestUndoFoundUnfinished: an undo whose record was lost is not done twice when
// the snapshot shows that it took effect.
func TestUndoFoundUnfinished(t *testing.T) {
	w := newWorld(t)
	w.crashAt = "undo/0/scale"
	instances, undos := "2", 0
	w.onCall = func(req grace.ActionRequest) grace.Outcome {
		switch {
		case req.With["look"] == true:
			return grace.Outcome{Status: grace.OutcomeSucceeded, Data: map[string]string{"instances": instances}}
		case req.Phase == grace.PhaseDo:
			instances = "3"
		default:
			undos++
			instances = "2"
		}
		return grace.Outcome{Status: grace.OutcomeSucceeded}
	}
	s := undoable("scale")
	s.Snapshot = &grace.Call{Action: "fake", With: map[string]any{"look": true}}
	run := w.drive(w.start(aRun(w, s)))
	if run.Status != grace.RunRolledBack || undos != 1 {
		t.Errorf("state %s after %d undos, want rolled_back after 1", run.Status, undos)
	}
}

// TestSnapshotThatCannotBeUndone: that an undo cannot be made is found before
// the step. A target must not get at this host's secrets through it either.
func TestSnapshotThatCannotBeUndone(t *testing.T) {
	for name, data := range map[string]map[string]string{
		"what the undo needs is missing": {"other": "1"},
		"the target names a secret":      {"flag": "${file:/etc/passwd}"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.onCall = func(req grace.ActionRequest) grace.Outcome {
				return grace.Outcome{Status: grace.OutcomeSucceeded, Data: data}
			}
			s := undoable("flag")
			s.Snapshot = &grace.Call{Action: "fake", With: map[string]any{"look": true}}
			s.Undo.With = map[string]any{"to": "${snapshot.flag}"}
			run := w.drive(w.start(aRun(w, s)))
			if run.Status != grace.RunEscalated || len(w.calls) != 1 {
				t.Errorf("state %s after %v, want escalated after the snapshot alone", run.Status, w.calls)
			}
		})
	}
}

// TestNoAnswerIsLookedAfter: a step that gave no answer and helped is not undone for
// want of the answer; one that did not help is.
func TestNoAnswerIsLookedAfter(t *testing.T) {
	for name, helps := range map[string]bool{"it helped": true, "it did not": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.onCall = func(req grace.ActionRequest) grace.Outcome {
				w.healthy = helps
				if req.Phase == grace.PhaseUndo {
					return grace.Outcome{Status: grace.OutcomeSucceeded}
				}
				return grace.Outcome{Status: grace.OutcomeUnknown, Error: "no answer within 20s"}
			}
			run := w.drive(w.start(aRun(w, undoable("one"))))
			undone := slices.Contains(w.calls, "undo/one#r-1/undo/one")
			if undone == helps || helps != (run.Status == grace.RunSucceeded) {
				t.Errorf("undone %v, state %s (%s) after %v", undone, run.Status, run.Error, w.calls)
			}
			if helps && run.Steps[0].State != grace.StepSucceeded {
				t.Errorf("the step: %+v", run.Steps[0])
			}
		})
	}
}
