package heal_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grace"
	"grace/internal/heal"
)

func TestHealsAndLearns(t *testing.T) {
	w := newWorld(t)
	run := w.drive(w.start(aRun(w, undoable("one"), undoable("two"))))
	if run.Status != grace.RunSucceeded {
		t.Fatalf("state %s, want succeeded: %s", run.Status, run.Error)
	}
	want := []string{"run.running", "run.step_succeeded", "run.verifying", "run.succeeded"}
	if diff := cmp.Diff(want, w.actions()); diff != "" {
		t.Error(diff)
	}
	if got := w.learned(); len(got) != 1 || got[0].Result != grace.ResultSuccess {
		t.Errorf("learned %+v, want one success", got)
	}
	// The checks pass from the first second on; the soak does not count.
	if got := run.RecoveredIn.D(); got != 10*time.Second {
		t.Errorf("recovered in %s, want 10s", got)
	}
	if w.incidents() != 0 {
		t.Error("a success opened an incident")
	}
}

func TestRemedyThatDoesNotHelpIsUndoneInReverse(t *testing.T) {
	w := newWorld(t)
	w.onCall = func(grace.ActionRequest) grace.Outcome { return grace.Outcome{Status: grace.OutcomeSucceeded} }
	run := w.drive(w.start(aRun(w, undoable("one"), undoable("two"))))
	if run.Status != grace.RunRolledBack {
		t.Fatalf("state %s, want rolled_back", run.Status)
	}
	want := []string{"do/one#r-1/do/one", "do/two#r-1/do/two", "undo/two#r-1/undo/two", "undo/one#r-1/undo/one"}
	if diff := cmp.Diff(want, w.calls); diff != "" {
		t.Error(diff)
	}
	if w.incidents() != 1 {
		t.Errorf("%d incidents, want 1", w.incidents())
	}
	if got := w.learned()[0].Result; got != grace.ResultFailure {
		t.Errorf("learned %s, want failure", got)
	}
	if !strings.Contains(run.Error, "wanted") {
		t.Errorf("error %q does not say what was wanted", run.Error)
	}
}

func TestFailingStepUndoesTheOnesBefore(t *testing.T) {
	for _, tc := range []struct {
		name   string
		status grace.OutcomeStatus
		calls  []string
	}{
		{"failed for sure: it is not undone itself", grace.OutcomeFailed, []string{"undo/one"}},
		{"may have taken effect: it is undone too", grace.OutcomeUnknown, []string{"undo/two", "undo/one"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.onCall = func(req grace.ActionRequest) grace.Outcome {
				if req.Phase == grace.PhaseDo && req.Step == "two" {
					return grace.Outcome{Status: tc.status, Error: "no"}
				}
				return grace.Outcome{Status: grace.OutcomeSucceeded}
			}
			run := w.drive(w.start(aRun(w, undoable("one"), undoable("two"), undoable("three"))))
			if run.Status != grace.RunRolledBack {
				t.Fatalf("state %s, want rolled_back", run.Status)
			}
			var undone []string
			for _, c := range w.calls {
				if name, _, _ := strings.Cut(c, "#"); strings.HasPrefix(name, "undo/") {
					undone = append(undone, name)
				}
			}
			if diff := cmp.Diff(tc.calls, undone); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRetriesOnlyWhatMayPass(t *testing.T) {
	for _, tc := range []struct {
		name      string
		retryable bool
		want      int
	}{{"passing trouble", true, 3}, {"final", false, 1}} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.onCall = func(grace.ActionRequest) grace.Outcome {
				return grace.Outcome{Status: grace.OutcomeFailed, Retryable: tc.retryable, Error: "busy"}
			}
			s := undoable("one")
			s.Retries = 2
			run := w.drive(w.start(aRun(w, s)))
			if len(w.calls) != tc.want || run.Steps[0].Attempts != tc.want {
				t.Errorf("%d calls, %d attempts on record, want %d", len(w.calls), run.Steps[0].Attempts, tc.want)
			}
			if run.Status != grace.RunEscalated {
				t.Errorf("state %s, want escalated: there is nothing to undo and it is still sick", run.Status)
			}
		})
	}
}

// TestOneIncident: runs that do not help the same condition are one incident, and
// who looks after it goes on doing so.
func TestOneIncident(t *testing.T) {
	w := newWorld(t)
	w.open = &grace.Incident{
		ID: "i-9", Kind: grace.IncidentRun, State: grace.IncidentOpen, Service: "web", Run: "r-9", Severity: grace.SeverityWarning,
		Title: "restart on web did not help", Acknowledged: &grace.Note{Actor: "ann"},
	}
	w.onCall = func(grace.ActionRequest) grace.Outcome {
		return grace.Outcome{Status: grace.OutcomeFailed, Error: "no"}
	}
	run := w.drive(w.start(aRun(w, undoable("one"))))
	if inc := w.open; run.Incident != "i-9" || inc.ID != "i-9" || inc.Run != "r-9" || inc.Acknowledged == nil || inc.Detail != run.Error ||
		inc.News != "restart_service failed, too (run r-1)" || inc.Severity != grace.SeverityCritical {
		t.Errorf("run %s (%s), incident %+v", run.Status, run.Incident, inc)
	}
	last := w.changes[len(w.changes)-1]
	if e := last.Outbox[len(last.Outbox)-1]; e.Type != "incident.updated" || e.Resource != "incident/i-9" {
		t.Errorf("told as %s of %s", e.Type, e.Resource)
	}
}

// TestFirstRemedyOfIncident: the first run of an incident that a lasting condition
// opened is not said to have failed too; the next one is.
func TestFirstRemedyOfIncident(t *testing.T) {
	open := grace.Incident{
		ID: "i-9", Kind: grace.IncidentUnhealed, State: grace.IncidentOpen, Service: "web", Severity: grace.SeverityWarning,
		Title: "web is sick", News: "it also hurts cart", Detail: "up failed 3 times; GRACE does not act: mode: ask_always",
	}
	for _, want := range []string{"restart_service failed (run r-1)", "restart_service failed, too (run r-1)"} {
		w := newWorld(t)
		w.open = &open
		w.onCall = func(grace.ActionRequest) grace.Outcome {
			return grace.Outcome{Status: grace.OutcomeFailed, Error: "no"}
		}
		w.drive(w.start(aRun(w, undoable("one"))))
		if open = *w.open; open.News != want {
			t.Errorf("%q, want %q", open.News, want)
		}
	}
}

func TestIrreversibleIsIneffective(t *testing.T) {
	w := newWorld(t)
	w.onCall = func(grace.ActionRequest) grace.Outcome { return grace.Outcome{Status: grace.OutcomeSucceeded} }
	run := w.drive(w.start(aRun(w, undoable("one"), grace.Step{Name: "restart", Action: "fake", Irreversible: true})))
	if run.Status != grace.RunIneffective {
		t.Fatalf("state %s, want ineffective", run.Status)
	}
	if !slices.Contains(w.calls, "undo/one#r-1/undo/one") {
		t.Errorf("what could be undone was not: %v", w.calls)
	}
}

func TestUndoThatFailsEscalates(t *testing.T) {
	w := newWorld(t)
	w.onCall = func(req grace.ActionRequest) grace.Outcome {
		if req.Phase == grace.PhaseUndo {
			return grace.Outcome{Status: grace.OutcomeFailed, Error: "stuck"}
		}
		return grace.Outcome{Status: grace.OutcomeSucceeded}
	}
	run := w.drive(w.start(aRun(w, undoable("one"))))
	if run.Status != grace.RunEscalated || !slices.Contains(w.actions(), "run.rollback_failed") {
		t.Fatalf("state %s by %v, want rollback_failed and then escalated", run.Status, w.actions())
	}
	if n := len(w.calls); n != 4 {
		t.Errorf("%d calls %v, want 1 and 3 tries of the undo", n, w.calls)
	}
}

func TestUndoIsVerifiedAgainstTheSnapshot(t *testing.T) {
	w := newWorld(t)
	instances := "2"
	lie := true
	w.onCall = func(req grace.ActionRequest) grace.Outcome {
		switch {
		case req.With["look"] == true:
			return grace.Outcome{Status: grace.OutcomeSucceeded, Data: map[string]string{"instances": instances}}
		case req.Phase == grace.PhaseDo:
			instances = "3"
		case lie:
			lie = false // says it succeeded, and did nothing
		default:
			if req.With["to"] != "2" {
				t.Errorf("undo got %v, want the snapshot's 2", req.With)
			}
			instances = "2"
		}
		return grace.Outcome{Status: grace.OutcomeSucceeded}
	}
	s := undoable("scale")
	s.Snapshot = &grace.Call{Action: "fake", With: map[string]any{"look": true}}
	s.Undo.With = map[string]any{"to": "${snapshot.instances}"}
	run := w.drive(w.start(aRun(w, s)))
	if run.Status != grace.RunRolledBack || instances != "2" {
		t.Fatalf("state %s with %s instances, want rolled_back with 2", run.Status, instances)
	}
}

func TestApproval(t *testing.T) {
	approve := func(w *world, state grace.ApprovalState) {
		a := w.appr["r-1"]
		a.State, a.Actor, a.Reason = state, "token:ann", "looks right"
		w.appr["r-1"] = a
		w.inbox = []message{{at: w.now.Add(10 * time.Minute), m: grace.ControlMessage{Kind: grace.ControlApprove}}}
	}
	for _, tc := range []struct {
		name  string
		given func(w *world)
		want  grace.RunStatus
		appr  grace.ApprovalState
	}{
		{"approved", func(w *world) { approve(w, grace.ApprovalApproved) }, grace.RunSucceeded, grace.ApprovalApproved},
		{"denied", func(w *world) { approve(w, grace.ApprovalDenied) }, grace.RunDenied, grace.ApprovalDenied},
		{"nobody", func(*world) {}, grace.RunExpired, grace.ApprovalExpired},
		{"aborted", func(w *world) {
			w.aborts["r-1"] = &grace.AbortRequest{Run: "r-1", Actor: "token:bob", Reason: "no"}
			w.inbox = []message{{at: w.now.Add(time.Minute), m: grace.ControlMessage{Kind: grace.ControlAbort}}}
		}, grace.RunCancelled, grace.ApprovalCancelled},
		{"a message before its time decides nothing", func(w *world) {
			w.inbox = []message{{at: w.now.Add(time.Minute), m: grace.ControlMessage{Kind: grace.ControlApprove}}}
		}, grace.RunExpired, grace.ApprovalExpired},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			run := aRun(w, undoable("one"))
			run.Status, run.Auto = grace.RunAwaitingApproval, false
			w.appr["r-1"] = grace.Approval{ID: "r-1", Run: "r-1", State: grace.ApprovalPending, Expires: w.now.Add(30 * time.Minute), Revision: 1}
			tc.given(w)
			got := w.drive(w.start(run))
			if got.Status != tc.want || w.appr["r-1"].State != tc.appr {
				t.Errorf("run %s, approval %s; want %s, %s", got.Status, w.appr["r-1"].State, tc.want, tc.appr)
			}
			// Who answers says so; what nobody answered, the run tells of, once.
			var told []string
			for _, c := range w.changes {
				for _, e := range c.Outbox {
					if e.Resource == "approval/r-1" {
						told = append(told, e.Type)
					}
				}
			}
			var wanted []string
			if tc.appr == grace.ApprovalExpired || tc.appr == grace.ApprovalCancelled {
				wanted = []string{"self_heal.approval." + string(tc.appr)}
			}
			if onRecord := slices.Contains(w.actions(), "approval."+string(tc.appr)); !slices.Equal(told, wanted) || onRecord != (wanted != nil) {
				t.Errorf("told %q, on record %v; want %q", told, w.actions(), wanted)
			}
			if acted := len(w.calls) > 0; acted != (tc.want == grace.RunSucceeded) {
				t.Errorf("actions %v", w.calls)
			}
		})
	}
}

// A run that waited for a person for days has its own time to wait for what else it needs.
func TestPatienceBeginsWithTheApproval(t *testing.T) {
	w := newWorld(t)
	run := aRun(w, undoable("one"))
	run.Status, run.Auto = grace.RunAwaitingApproval, false
	approved := w.now.Add(2 * grace.AdmissionPatience)
	w.appr["r-1"] = grace.Approval{ID: "r-1", Run: "r-1", State: grace.ApprovalApproved, Actor: "token:ann", Expires: w.now.Add(3 * grace.AdmissionPatience), Revision: 1}
	w.inbox = []message{{at: approved, m: grace.ControlMessage{Kind: grace.ControlApprove}}}
	w.admit = func(grace.Run) heal.Admission {
		if opens := approved.Add(time.Hour); w.now.Before(opens) {
			return heal.Admission{Wait: opens, Reasons: []grace.Reason{{Gate: "evidence", Code: grace.ReasonUnconfirmed}}}
		}
		return heal.Admission{}
	}
	got := w.drive(w.start(run))
	if got.Status != grace.RunSucceeded || got.ApprovedAt == nil || !got.ApprovedAt.Equal(approved) || got.StartedAt.Before(approved.Add(time.Hour)) {
		t.Errorf("%s (%s), approved %v, started %v", got.Status, got.Error, got.ApprovedAt, got.StartedAt)
	}
}

func TestAdmission(t *testing.T) {
	w := newWorld(t)
	opens := w.now.Add(2 * time.Hour)
	w.admit = func(grace.Run) heal.Admission {
		if w.now.Before(opens) {
			return heal.Admission{Wait: opens, Reasons: []grace.Reason{{Gate: "change_window", Code: grace.ReasonOutsideWindow}}}
		}
		return heal.Admission{}
	}
	run := w.drive(w.start(aRun(w, undoable("one"))))
	if run.Status != grace.RunSucceeded || run.StartedAt.Before(opens) {
		t.Fatalf("state %s, started %v; want a start after %v", run.Status, run.StartedAt, opens)
	}

	w = newWorld(t)
	w.admit = func(grace.Run) heal.Admission {
		return heal.Admission{Wait: w.now.Add(time.Hour), Reasons: []grace.Reason{{Gate: "change_window", Code: grace.ReasonOutsideWindow}}}
	}
	if run := w.drive(w.start(aRun(w, undoable("one")))); run.Status != grace.RunExpired {
		t.Errorf("a window that never opens: state %s, want expired", run.Status)
	}
	if got, want := strings.Join(w.actions(), " "), "run.waiting run.expired"; got != want {
		t.Errorf("on record is %q, want %q: the same wait is told once", got, want)
	}

	w = newWorld(t)
	w.admit = func(grace.Run) heal.Admission {
		return heal.Admission{End: grace.RunCancelled, Reasons: []grace.Reason{{Gate: "trigger", Code: grace.ReasonCleared}}}
	}
	if run := w.drive(w.start(aRun(w, undoable("one")))); run.Status != grace.RunCancelled || len(w.calls) > 0 {
		t.Errorf("state %s after %v, want cancelled and nothing done", run.Status, w.calls)
	}
}

func TestUnknownActionStartsNothing(t *testing.T) {
	w := newWorld(t)
	run := w.drive(w.start(aRun(w, undoable("one"), grace.Step{Name: "two", Action: "teleport", Irreversible: true})))
	if run.Status != grace.RunEscalated || len(w.calls) > 0 || !strings.Contains(run.Error, "teleport") {
		t.Errorf("state %s, calls %v, error %q", run.Status, w.calls, run.Error)
	}
}

func TestWithoutAnyCheckNothingSucceeds(t *testing.T) {
	w := newWorld(t)
	run := aRun(w, undoable("one"))
	run.Playbook.Verify = nil
	if got := w.drive(w.start(run)); got.Status != grace.RunRolledBack {
		t.Errorf("state %s, want rolled_back", got.Status)
	}
}

func TestNoDataIsNotAPass(t *testing.T) {
	w := newWorld(t)
	run := aRun(w, undoable("one"))
	run.Playbook.Verify = []grace.Check{{Name: "errors", Type: grace.CheckExpr, Expr: "error_ratio < 0.1"}}
	w.metric = func(time.Time) (float64, bool) { return 0, false }
	if got := w.drive(w.start(run)); got.Status != grace.RunRolledBack {
		t.Errorf("state %s, want rolled_back", got.Status)
	}
}

func TestAbortUndoes(t *testing.T) {
	w := newWorld(t)
	w.onCall = func(req grace.ActionRequest) grace.Outcome {
		if req.Step == "two" && req.Phase == grace.PhaseDo {
			w.aborts["r-1"] = &grace.AbortRequest{Run: "r-1", Actor: "token:bob", Reason: "wrong service"}
		}
		return grace.Outcome{Status: grace.OutcomeSucceeded}
	}
	run := w.drive(w.start(aRun(w, undoable("one"), undoable("two"), undoable("three"))))
	if run.Status != grace.RunRolledBack || run.Abort == nil {
		t.Fatalf("state %s, want rolled_back by an abort", run.Status)
	}
	if slices.ContainsFunc(w.calls, func(c string) bool { return strings.HasPrefix(c, "do/three") }) {
		t.Error("went on after the abort")
	}
	if w.incidents() != 0 || w.learned()[0].Result != grace.ResultNeutral {
		t.Error("a person's abort is neither an incident nor a failure of the remedy")
	}
}

func TestInterruptEndsVerification(t *testing.T) {
	w := newWorld(t)
	runner := w.runner("p")
	run := w.start(aRun(w, undoable("one")))
	run.Playbook.Soak = grace.Duration(time.Hour)
	run.Playbook.Watchdog = grace.Duration(2 * time.Hour)
	began := w.now
	w.healthy = true
	clock := &interruptingClock{world: w, at: began.Add(time.Minute), do: func() {
		w.aborts[run.ID] = &grace.AbortRequest{Run: run.ID, Actor: "token:bob", Reason: "enough"}
		runner.Interrupt(run.ID)
	}}
	runner.Clock = clock
	if err := runner.Run(replayFlow{w}, run); err != nil {
		t.Fatal(err)
	}
	if got := w.runs[run.ID]; got.Status != grace.RunRolledBack || w.now.Sub(began) > 2*time.Minute {
		t.Errorf("state %s after %s, want rolled_back soon after the abort", got.Status, w.now.Sub(began))
	}
}

type interruptingClock struct {
	*world
	at time.Time
	do func()
}

func (c *interruptingClock) Sleep(ctx context.Context, d time.Duration) {
	c.world.Sleep(ctx, d)
	if c.do != nil && !c.now.Before(c.at) {
		c.do()
		c.do = nil
	}
}

func TestWatchdog(t *testing.T) {
	w := newWorld(t)
	w.onCall = func(grace.ActionRequest) grace.Outcome {
		w.now = w.now.Add(11 * time.Minute)
		return grace.Outcome{Status: grace.OutcomeSucceeded}
	}
	run := w.drive(w.start(aRun(w, undoable("one"), undoable("two"))))
	if run.Status != grace.RunAborted || w.incidents() != 1 {
		t.Fatalf("state %s with %d incidents, want aborted with one", run.Status, w.incidents())
	}
	if !slices.Contains(w.calls, "undo/one#r-1/undo/one") {
		t.Errorf("not undone: %v", w.calls)
	}
}

// A clock that is set, while a step runs or while it is verified, neither ends
// what helps nor stretches it.
func TestClockStep(t *testing.T) {
	for _, step := range []time.Duration{time.Hour, -time.Hour, 100 * 24 * time.Hour, -5 * time.Minute} {
		for _, during := range []string{"action", "verification"} {
			t.Run(during+" "+step.String(), func(t *testing.T) {
				w := newWorld(t)
				runner := w.runner("p")
				began := w.Elapsed()
				if during == "action" {
					w.onCall = func(grace.ActionRequest) grace.Outcome {
						w.healthy = true
						w.step(step)
						return grace.Outcome{Status: grace.OutcomeSucceeded}
					}
				} else {
					runner.Clock = &interruptingClock{world: w, at: w.now, do: func() { w.step(step) }}
				}
				run := w.start(aRun(w, undoable("one")))
				if err := runner.Run(replayFlow{w}, run); err != nil {
					t.Fatal(err)
				}
				if got := w.runs[run.ID]; got.Status != grace.RunSucceeded {
					t.Errorf("state %s, want succeeded: %s", got.Status, got.Error)
				}
				if took := w.Elapsed() - began; took > time.Minute {
					t.Errorf("it took %s", took)
				}
			})
		}
	}
}

func TestCapacityMustNotShrink(t *testing.T) {
	w := newWorld(t)
	run := aRun(w, undoable("one"))
	run.Playbook.Verify = []grace.Check{{Name: "serving", Type: grace.CheckCapacity, Expr: `instances{service="${service}"}`}}
	serving := 3.0
	w.metric = func(time.Time) (float64, bool) { return serving, true }
	w.onCall = func(req grace.ActionRequest) grace.Outcome {
		serving = map[grace.Phase]float64{grace.PhaseDo: 2, grace.PhaseUndo: 3}[req.Phase]
		return grace.Outcome{Status: grace.OutcomeSucceeded}
	}
	if got := w.drive(w.start(run)); got.Status != grace.RunRolledBack {
		t.Errorf("state %s, want rolled_back: it serves with fewer instances than before", got.Status)
	}
}

// bySource counts the instances that a source has.
type bySource struct {
	*world
	serving map[string]float64
}

func (b bySource) Probe(_ context.Context, _ grace.ServiceID, c grace.Check, _ time.Time) grace.Reading {
	return grace.Reading{At: b.now, Value: b.serving[c.Source], OK: true}
}

// Two sources that are asked the same have their own numbers from before.
func TestCapacityOfSources(t *testing.T) {
	for us, want := range map[float64]grace.RunStatus{3: grace.RunSucceeded, 2: grace.RunRolledBack} {
		w := newWorld(t)
		r := w.runner("p")
		b := bySource{w, map[string]float64{"": 1, "eu": 9, "us": 3}}
		r.Prober = b
		run := aRun(w, undoable("one"))
		run.Playbook.Verify = nil
		for source := range b.serving {
			run.Playbook.Verify = append(run.Playbook.Verify, grace.Check{Type: grace.CheckCapacity, Source: source, Expr: "sum(up)"})
		}
		w.onCall = func(grace.ActionRequest) grace.Outcome {
			b.serving["us"] = us
			return grace.Outcome{Status: grace.OutcomeSucceeded}
		}
		if err := r.Run(replayFlow{w}, w.start(run)); err != nil {
			t.Fatal(err)
		}
		if got := w.runs[run.ID]; got.Status != want {
			t.Errorf("%v of 3: state %s (%s), want %s", us, got.Status, got.Error, want)
		}
	}
}

// Evidence that ends while the checks are watched is none, however often they held before.
func TestEvidenceThatEnds(t *testing.T) {
	for name, back := range map[string]time.Duration{"for good": time.Hour, "for a while": 20 * time.Second} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			run := aRun(w, undoable("one"))
			run.Playbook.Verify, run.Playbook.Soak = []grace.Check{{Name: "queue", Type: grace.CheckExpr, Expr: "queue < 5"}}, grace.Duration(10*time.Second)
			run.Playbook.Settle = grace.Duration(30 * time.Second)
			began := w.now
			w.metric = func(now time.Time) (float64, bool) {
				after := now.Sub(began)
				return 1, after < 5*time.Second || after > back
			}
			want := grace.RunSucceeded
			if back > time.Minute {
				want = grace.RunRolledBack
			}
			if got := w.drive(w.start(run)); got.Status != want {
				t.Errorf("state %s (%s), want %s", got.Status, got.Error, want)
			}
		})
	}
}

// A process that is not scheduled for a minute has not seen that there is no
// data: it looks as often as it must before it gives up on a remedy.
func TestVerificationSurvivesAPause(t *testing.T) {
	w := newWorld(t)
	runner := w.runner("p")
	run := w.start(aRun(w, undoable("one")))
	runner.Clock = &interruptingClock{world: w, at: w.now, do: func() { w.now = w.now.Add(time.Minute) }}
	if err := runner.Run(replayFlow{w}, run); err != nil {
		t.Fatal(err)
	}
	if got := w.runs[run.ID]; got.Status != grace.RunSucceeded {
		t.Errorf("state %s, want succeeded: %s", got.Status, got.Error)
	}
}
