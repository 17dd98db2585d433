package heal_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"grace"
	"grace/internal/heal"
)

// TestCrashAnywhere loses the process at every checkpoint in turn. The run must
// end as it would have, and a step whose effect is there is not done again.
func TestCrashAnywhere(t *testing.T) {
	stories := map[string]func(w *world) grace.Run{
		"heals": func(w *world) grace.Run { return aRun(w, undoable("one"), undoable("two")) },
		"does not help": func(w *world) grace.Run {
			w.onCall = func(grace.ActionRequest) grace.Outcome { return grace.Outcome{Status: grace.OutcomeSucceeded} }
			return aRun(w, undoable("one"), undoable("two"))
		},
		"approved": func(w *world) grace.Run {
			run := aRun(w, undoable("one"))
			run.Status, run.Auto = grace.RunAwaitingApproval, false
			w.appr["r-1"] = grace.Approval{ID: "r-1", State: grace.ApprovalApproved, Expires: w.now.Add(1), Revision: 2}
			return run
		},
		"snapshot": func(w *world) grace.Run {
			s := undoable("one")
			s.Snapshot = &grace.Call{Action: "fake", With: map[string]any{"look": true}}
			return aRun(w, s, undoable("two"))
		},
	}
	for name, story := range stories {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			want := w.drive(w.start(story(w)))
			for _, at := range slices.Sorted(maps.Keys(w.done)) {
				crashed := newWorld(t)
				run := crashed.start(story(crashed))
				crashed.crashAt = at
				got := crashed.drive(run)
				if got.Status != want.Status {
					t.Errorf("crash at %q: ended %s, want %s", at, got.Status, want.Status)
				}
				checkCalls(t, at, crashed.calls)
			}
		})
	}
}

// checkCalls allows a second call only for the step whose record was lost, and
// only with the same idempotency key.
func checkCalls(t *testing.T, crashAt string, calls []string) {
	t.Helper()
	seen := map[string]int{}
	for _, c := range calls {
		seen[c]++
	}
	for call, n := range seen {
		name, _, _ := strings.Cut(call, "#")
		phase, step, _ := strings.Cut(name, "/")
		lost := strings.HasPrefix(crashAt, phase+"/") && strings.HasSuffix(crashAt, "/"+step) || strings.HasPrefix(crashAt, "snapshot/")
		if n > 2 || (n == 2 && !lost) {
			t.Errorf("crash at %q: %s was called %d times", crashAt, call, n)
		}
	}
}

// TestFoundStartedIsVerifiedFirst shows the rule at the one place where it
// matters: the action took effect and its record was lost.
func TestFoundStartedIsVerifiedFirst(t *testing.T) {
	w := newWorld(t)
	w.crashAt = "do/0/one"
	run := w.drive(w.start(aRun(w, undoable("one"))))
	if run.Status != grace.RunSucceeded || len(w.calls) != 1 {
		t.Errorf("state %s after %v, want succeeded after one call", run.Status, w.calls)
	}
	if !run.Steps[0].Resumed {
		t.Error("the record does not say that the step was resumed")
	}
}

// TestNoCreditForWhatWasFound: that the service is well does not show that the step did
// it: a person may have, while GRACE was gone. The step's own check shows it.
func TestNoCreditForWhatWasFound(t *testing.T) {
	for _, checked := range []bool{false, true} {
		w := newWorld(t)
		w.crashAt = "do/0/one"
		s := undoable("one")
		want := grace.ResultNeutral
		if checked {
			s.Check, want = new(aRun(w).Playbook.Verify[0]), grace.ResultSuccess
		}
		run := w.drive(w.start(aRun(w, s)))
		if run.Status != grace.RunSucceeded || run.Unsure() == checked || run.RecoveredIn > 0 != checked {
			t.Errorf("own check %v: %s, unsure %v, recovered in %s", checked, run.Status, run.Unsure(), run.RecoveredIn)
		}
		if got := w.learned(); len(got) != 1 || got[0].Result != want {
			t.Errorf("own check %v: learned %+v, want one that is %s", checked, got, want)
		}
	}
}

// TestFoundDoneIsNoProof: a step whose checks hold may never have been tried,
// for the service may be well by itself; the next one needs fresh evidence, and
// without it what may have been done is undone.
func TestFoundDoneIsNoProof(t *testing.T) {
	w := newWorld(t)
	w.crashAt = "do/0/one"
	asked := 0
	w.permit = func(_ context.Context, _ grace.Run, first bool) error {
		if asked++; first && asked > 1 {
			return &heal.ClearedError{Text: "not begun: it passes"}
		}
		return nil
	}
	run := w.drive(w.start(aRun(w, undoable("one"), undoable("two"))))
	if run.Status != grace.RunRolledBack || slices.ContainsFunc(w.calls, func(c string) bool { return strings.HasPrefix(c, "do/two") }) {
		t.Errorf("%s (%s) after %v, want rolled back without step two", run.Status, run.Error, w.calls)
	}
}
