package heal_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"grace"
	"grace/internal/heal"
)

// recovering gives a run that an alert began, and drives it with a condition.
func recovering(w *world, look func(run grace.Run) heal.Condition) grace.Run {
	run := aRun(w, undoable("one"))
	run.Kind, run.Condition = grace.TriggerReactive, []grace.SignalKey{"web/alerts/Down"}
	run.HoldDown, run.RecoverIn = grace.Duration(30*time.Second), grace.Duration(2*time.Minute)
	r := w.runner("p")
	r.Condition = func(_ context.Context, run grace.Run) heal.Condition { return look(run) }
	if err := r.Run(replayFlow{w}, w.start(run)); err != nil {
		w.t.Fatal(err)
	}
	return w.runs[run.ID]
}

func TestRecovery(t *testing.T) {
	for _, tc := range []struct {
		name   string
		look   func(after time.Duration) heal.Condition
		want   grace.RunStatus
		within time.Duration // of the end, after the start; 0 is not asked
		says   string
	}{
		{"clears and stays clear", func(time.Duration) heal.Condition { return heal.Condition{Clear: true} }, grace.RunSucceeded, 45 * time.Second, ""},
		{
			"clears late", func(after time.Duration) heal.Condition {
				return heal.Condition{Clear: after > time.Minute, Text: "still firing"}
			},
			grace.RunSucceeded, 100 * time.Second, "",
		},
		{
			"never clears", func(time.Duration) heal.Condition { return heal.Condition{Text: "still firing"} },
			grace.RunRolledBack, 0, "every check held, but what began it has not cleared: still firing",
		},
		{
			"clears and comes back", func(after time.Duration) heal.Condition {
				return heal.Condition{Clear: after%(20*time.Second) < 15*time.Second, Text: "firing again"}
			},
			grace.RunRolledBack, 0, "firing again",
		},
		{
			"is not seen when it should have cleared, and is clear", func(after time.Duration) heal.Condition {
				return heal.Condition{Open: after < 3*time.Minute, Clear: after >= 3*time.Minute, Text: "no data"}
			},
			grace.RunSucceeded, 4 * time.Minute, "",
		},
		{
			"is not seen for long: what may have helped is not undone", func(time.Duration) heal.Condition {
				return heal.Condition{Open: true, Text: "no data"}
			},
			grace.RunAborted, 5 * time.Minute, "every check held, but nothing shows whether what began it has cleared: no data; what was done is as it was left",
		},
		{
			"gets worse", func(after time.Duration) heal.Condition {
				if after > 3*time.Second {
					return heal.Condition{Text: "slow", Worse: "down"}
				}
				return heal.Condition{Text: "slow"}
			},
			grace.RunRolledBack, 30 * time.Second, "it got worse: down",
		},
		{
			"is disturbed for a moment", func(after time.Duration) heal.Condition {
				if after < 5*time.Second {
					return heal.Condition{Worse: "down"}
				}
				return heal.Condition{Clear: true}
			},
			grace.RunSucceeded, 0, "",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			began := w.now
			run := recovering(w, func(grace.Run) heal.Condition { return tc.look(w.now.Sub(began)) })
			if run.Status != tc.want || !strings.Contains(run.Error, tc.says) {
				t.Errorf("%s (%s), want %s (%s)", run.Status, run.Error, tc.want, tc.says)
			}
			if took := run.EndedAt.Sub(began); tc.within > 0 && took > tc.within {
				t.Errorf("it took %s, want at most %s", took, tc.within)
			}
		})
	}
}

// TestForbidden: who stops GRACE stops a run that has begun: nothing more is
// done, and nothing undone.
func TestForbidden(t *testing.T) {
	w := newWorld(t)
	r := w.runner("p")
	asked := 0
	r.Permit = func(context.Context, grace.Run, bool) error {
		if asked++; asked > 1 {
			return errors.New("stopped: the mode is stopped")
		}
		return nil
	}
	run := w.start(aRun(w, undoable("one"), undoable("two")))
	if err := r.Run(replayFlow{w}, run); err != nil {
		t.Fatal(err)
	}
	run = w.runs[run.ID]
	if want := []string{"do/one#r-1/do/one"}; run.Status != grace.RunAborted || !slices.Equal(w.calls, want) || w.incidents() != 1 {
		t.Errorf("%s (%s) after %v, %d incidents; want aborted after %v, one incident", run.Status, run.Error, w.calls, w.incidents(), want)
	}
	if learned := w.learned(); len(learned) != 1 || learned[0].Result != grace.ResultNeutral {
		t.Errorf("it says nothing of the remedy, but was learned as %+v", learned)
	}
}

// TestClearedBeforeTheFirstStep: what a snapshot took its time for may be over.
func TestClearedBeforeTheFirstStep(t *testing.T) {
	w := newWorld(t)
	r := w.runner("p")
	r.Permit = func(_ context.Context, _ grace.Run, first bool) error {
		if first {
			return &heal.ClearedError{Text: "not begun: it passes again"}
		}
		return nil
	}
	look := undoable("look")
	look.ReadOnly, look.Undo = true, nil
	run := w.start(aRun(w, look, undoable("one")))
	if err := r.Run(replayFlow{w}, run); err != nil {
		t.Fatal(err)
	}
	run = w.runs[run.ID]
	if want := []string{"do/look#r-1/do/look"}; run.Status != grace.RunCancelled || !slices.Equal(w.calls, want) || w.incidents() != 0 {
		t.Errorf("%s (%s) after %v, %d incidents; want cancelled after %v", run.Status, run.Error, w.calls, w.incidents(), want)
	}
}

// TestLeftUnfinished: a step that a dead process left is done when its effect is
// there or comes, done again when its own check says to the end that it is missing,
// and otherwise neither.
func TestLeftUnfinished(t *testing.T) {
	missing := grace.Check{Type: grace.CheckExpr, Expr: "m > 1"}
	late := func(after time.Duration) (float64, bool) { // what was begun takes its time
		if after < 8*time.Second {
			return 0, true
		}
		return 1, true
	}
	trend := grace.Check{Type: grace.CheckTrend, Expr: "m", Direction: "falling", MinSamples: 3}
	for _, tc := range []struct {
		name   string
		check  *grace.Check // of the step
		verify grace.Check
		metric func(after time.Duration) (float64, bool)
		calls  int // of the step
		want   grace.RunStatus
	}{
		{"its check holds", &missing, missing, func(time.Duration) (float64, bool) { return 1, true }, 1, grace.RunSucceeded},
		{"its check does not hold", &missing, missing, func(time.Duration) (float64, bool) { return 0, true }, 2, grace.RunRolledBack},
		{"its check holds late", &missing, missing, late, 1, grace.RunSucceeded},
		{"none of its own, and verification holds late", nil, missing, late, 1, grace.RunSucceeded},
		{"none of its own, and verification does not hold", nil, missing, func(time.Duration) (float64, bool) { return 0, true }, 1, grace.RunRolledBack},
		{"no data", &missing, missing, func(time.Duration) (float64, bool) { return 0, false }, 1, grace.RunRolledBack},
		{"a trend that shows", nil, trend, func(after time.Duration) (float64, bool) { return 100 - after.Seconds(), true }, 1, grace.RunSucceeded},
		{"a trend that does not", nil, trend, func(after time.Duration) (float64, bool) { return after.Seconds(), true }, 1, grace.RunRolledBack},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.crashAt = "do/0/one"
			began := w.now
			w.metric = func(now time.Time) (float64, bool) { return tc.metric(now.Sub(began)) }
			s := undoable("one")
			s.Check = tc.check
			run := aRun(w, s)
			run.Playbook.Verify, run.Playbook.Settle = []grace.Check{tc.verify}, grace.Duration(15*time.Second)
			run = w.drive(w.start(run))
			calls := 0
			for _, c := range w.calls {
				if c == "do/one#r-1/do/one" {
					calls++
				}
			}
			if run.Status != tc.want || calls != tc.calls {
				t.Errorf("%s (%s), done %d times; want %s, %d times", run.Status, run.Error, calls, tc.want, tc.calls)
			}
		})
	}
}

// TestLeftUnfinishedAndCleared: what another process left, and is missing, is
// not done when what began it is gone; what may be there in part is undone.
func TestLeftUnfinishedAndCleared(t *testing.T) {
	w := newWorld(t)
	w.crashAt = "do/0/one"
	run := aRun(w, undoable("one"))
	run.Playbook.Steps[0].Check = &grace.Check{Type: grace.CheckExpr, Expr: "m > 1"}
	w.metric = func(time.Time) (float64, bool) { return 0, true }
	w.permit = func(_ context.Context, _ grace.Run, first bool) error {
		if first && len(w.calls) > 0 {
			return &heal.ClearedError{Text: "it passes again"}
		}
		return nil
	}
	run = w.drive(w.start(run))
	if want := []string{"do/one#r-1/do/one", "undo/one#r-1/undo/one"}; run.Status != grace.RunRolledBack || !slices.Equal(w.calls, want) {
		t.Errorf("%s (%s) after %v, want rolled_back after %v", run.Status, run.Error, w.calls, want)
	}
}

// slowMetric is a world whose metric comes once a minute.
type slowMetric struct{ *world }

func (s slowMetric) Probe(_ context.Context, _ grace.ServiceID, _ grace.Check, since time.Time) grace.Reading {
	at := s.now.Truncate(time.Minute)
	if at.Before(since) {
		return grace.Reading{Every: time.Minute, Detail: "no sample"}
	}
	return grace.Reading{At: at, Value: 1, OK: true, Every: time.Minute}
}

// TestSlowMetric: a remedy is not undone because its metric comes slowly.
func TestSlowMetric(t *testing.T) {
	w := newWorld(t)
	r := w.runner("p")
	r.Prober = slowMetric{w}
	run := aRun(w, undoable("one"))
	run.Playbook.Verify = []grace.Check{{Type: grace.CheckExpr, Expr: "m > 1"}}
	if err := r.Run(replayFlow{w}, w.start(run)); err != nil {
		t.Fatal(err)
	}
	if run = w.runs[run.ID]; run.Status != grace.RunSucceeded {
		t.Errorf("%s: %s", run.Status, run.Error)
	}
}
