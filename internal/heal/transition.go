package heal

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"grace"
	"grace/internal/event"
	"grace/internal/explain"
	"grace/internal/stage/learn"
)

// outcome is what one change of a run brings along besides the run itself.
type outcome struct {
	moves        []event.Move
	approval     *grace.Approval
	abort        *grace.AbortRequest // that nobody sent
	openIncident bool
	manual       bool              // of the incident: something may have been left half done
	stopped      []grace.SignalKey // of the incident: what lasts, though a person stopped the run for it
}

// copyRun gives a run whose steps can be changed without the original's
// noticing.
func copyRun(run grace.Run) grace.Run {
	run.Steps = slices.Clone(run.Steps)
	run.Reasons = slices.Clone(run.Reasons)
	return run
}

func markStarted(run *grace.Run, i int, m Checkpoint) {
	if i < len(run.Steps) {
		run.Steps[i].State = grace.StepStarted
		run.Steps[i].StartedAt = &m.At
	}
}

// stepEnded records one step and the start of what follows: the next step, or
// verification. A following step with a snapshot starts after that.
func stepEnded(run *grace.Run, m Checkpoint, i int, o grace.Outcome) outcome {
	rec := &run.Steps[i]
	rec.Attempts = attempts(o)
	rec.Resumed = o.Data[resumedKey] != ""
	rec.Output, rec.Error = o.Output, o.Error
	rec.EndedAt = &m.At
	n := event.Move{Detail: map[string]any{"step": rec.Name, "attempts": rec.Attempts, "resumed": rec.Resumed}}
	switch o.Status {
	case grace.OutcomeSucceeded:
		rec.State, n.Action, n.Reason = grace.StepSucceeded, "step_succeeded", rec.Name
	case grace.OutcomeUnknown:
		rec.State, n.Action, n.Reason = grace.StepUnknown, "step_unknown", rec.Name+": "+o.Error
	case grace.OutcomeFailed:
		rec.State, n.Action, n.Reason = grace.StepFailed, "step_failed", rec.Name+": "+o.Error
	default:
		rec.State, n.Action, n.Reason = grace.StepUnknown, "step_unknown", rec.Name+": the action gave no status"
	}
	if rec.State != grace.StepSucceeded || m.Abort != nil {
		return outcome{moves: []event.Move{n}}
	}
	switch next := i + 1; {
	case next == len(run.Steps):
		run.Status = grace.RunVerifying
		n.Action = "verifying"
		n.Reason = "after step " + rec.Name
	case run.Playbook.Steps[next].Snapshot == nil:
		markStarted(run, next, m)
	}
	return outcome{moves: []event.Move{n}}
}

func attempts(o grace.Outcome) int {
	n, err := strconv.Atoi(o.Data[attemptsKey])
	if err != nil {
		return 1
	}
	return n
}

func undoEnded(run *grace.Run, m Checkpoint, s grace.Step, o grace.Outcome) outcome {
	rec := grace.StepRecord{
		Name: s.Name, Phase: grace.PhaseUndo, Action: s.Undo.Action, Attempts: attempts(o),
		Output: o.Output, Error: o.Error, StartedAt: &o.Started, EndedAt: &m.At, State: grace.StepFailed,
	}
	n := event.Move{Action: "undo_failed", Reason: s.Name + ": " + o.Error}
	if o.Status == grace.OutcomeSucceeded {
		rec.State = grace.StepSucceeded
		n = event.Move{Action: "step_undone", Reason: s.Name}
	}
	run.Steps = append(run.Steps, rec)
	return outcome{moves: []event.Move{n}}
}

func succeeded(run *grace.Run, m Checkpoint, recovered time.Time) outcome {
	why := "every check held for the soak period"
	if len(run.Condition) > 0 {
		why += ", and what began it stayed clear for " + run.HoldDown.String()
	}
	switch {
	case run.Unsure():
		why += "; " + explain.Unsure
	case !recovered.IsZero() && run.Code != grace.CodeManual:
		run.RecoveredIn = grace.Duration(max(time.Millisecond, recovered.Sub(run.SickSince))) // 0 is none
	}
	return end(run, m, grace.RunSucceeded, why)
}

func end(run *grace.Run, m Checkpoint, state grace.RunStatus, why string) outcome {
	run.Status = state
	run.EndedAt = &m.At
	if run.Error == "" && state != grace.RunSucceeded {
		run.Error = why
	}
	return outcome{moves: []event.Move{{Action: string(state), Reason: why}}}
}

// events gives what one transition is. open is the incident that is open about what the
// run was for.
func events(run grace.Run, m Checkpoint, out outcome, open *grace.Incident) []event.Event {
	moved := event.RunMoved{Moves: out.moves, Abort: out.abort, At: m.At}
	if run.Status.Terminal() {
		e := learning(run, m)
		moved.Learned = &e
		if out.openIncident {
			if run.Incident = grace.IncidentID("i-" + string(run.ID)); open != nil {
				run.Incident = open.ID
			}
		}
	}
	moved.Run = run
	var list []event.Event
	if out.approval != nil { // first: the rest follows from it
		list = append(list, event.ApprovalAnswered{Approval: *out.approval, At: m.At})
	}
	list = append(list, moved)
	if run.Incident != "" {
		list = append(list, tellPerson(run, m, out, open))
	}
	return list
}

// tellPerson opens the incident of a run that did not help, or adds the run to the
// one that is open: who looks after that one is not called again.
func tellPerson(run grace.Run, m Checkpoint, out outcome, open *grace.Incident) event.IncidentChanged {
	severity := grace.SeverityWarning
	if run.Status == grace.RunEscalated || run.Status == grace.RunAborted {
		severity = grace.SeverityCritical
	}
	for _, s := range run.Before { // as severe as what lasts: it is not told twice
		if s.Severity.Rank() > severity.Rank() {
			severity = s.Severity
		}
	}
	what, reason := event.IncidentOpened, run.Error
	title := fmt.Sprintf("%s on %s %s", run.Playbook.ID, run.Service, ending(run.Status))
	inc := grace.Incident{
		ID: run.Incident, Kind: grace.IncidentRun, State: grace.IncidentOpen, Service: run.Service, Run: run.ID, Severity: severity, Faults: []string{string(run.Code)},
		Since: run.SickSince, OpenedAt: m.At, Title: title,
	}
	if open != nil {
		inc = *open
		if inc.Kind == grace.IncidentRun {
			inc.Title = title
		}
		too := ""
		if ofRun(open) {
			too = ", too"
		}
		inc.News = fmt.Sprintf("%s %s%s (run %s)", run.Playbook.ID, ending(run.Status), too, run.ID)
		if severity.Rank() > inc.Severity.Rank() {
			inc.Severity = severity
		}
		what, reason = event.IncidentUpdated, inc.News+": "+run.Error
	}
	inc.Detail, inc.Manual = run.Error, inc.Manual || out.manual
	if len(out.stopped) > 0 {
		inc.Stopped = union(inc.Stopped, out.stopped)
		if !inc.Manual {
			inc.Detail += fmt.Sprintf("; GRACE does nothing more to %s by itself until this is over", run.Service)
		}
	}
	return event.IncidentChanged{Incident: inc, What: what, Reason: reason, At: m.At}
}

func union(a, b []grace.SignalKey) []grace.SignalKey {
	out := slices.Concat(a, b)
	slices.Sort(out)
	return slices.Compact(out)
}

// ofRun tells whether an open incident tells of an earlier run: it is that run's, or
// that run's end was what its last update said. One that a lasting condition opened
// tells of none.
func ofRun(open *grace.Incident) bool {
	return open.Run != "" || strings.Contains(open.News, "(run ") || strings.Contains(open.Detail, "did not help")
}

// ending words the end of a run that did not succeed.
func ending(s grace.RunStatus) string {
	switch s { //nolint:exhaustive // the others open no incident
	case grace.RunIneffective:
		return "did not help"
	case grace.RunRolledBack:
		return "was undone"
	case grace.RunAborted, grace.RunCancelled:
		return "was aborted"
	case grace.RunEscalated:
		return "failed"
	}
	return "ended " + string(s)
}

func learning(run grace.Run, m Checkpoint) grace.LearningEntry {
	e := grace.LearningEntry{
		ID: "l-" + string(run.ID), Service: run.Service, Diagnosis: run.Code, Playbook: run.Playbook.ID, Kind: run.Kind,
		Run: run.ID, State: run.Status, Result: resultOf(run), TimeToRecover: run.RecoveredIn, Auto: run.Auto, At: m.At,
		Context: map[string]string{},
	}
	for k, v := range run.Parameters {
		e.Context["param."+k] = text(v)
	}
	maps.DeleteFunc(e.Context, func(_, v string) bool { return v == "" })
	return e
}

// resultOf tells what the end of a run says about its remedy. A run that never
// acted, that a person stopped, that a person wanted where nothing was wrong, or of which
// it cannot be told whether it did anything, says nothing.
func resultOf(run grace.Run) grace.Result {
	if run.Abort != nil || run.StartedAt == nil || run.Code == grace.CodeManual || run.Status == grace.RunSucceeded && run.Unsure() {
		return grace.ResultNeutral
	}
	return learn.ResultOf(run.Status)
}

func recordOf(run grace.Run, step string) grace.StepRecord {
	for _, r := range run.Steps {
		if r.Name == step && r.Phase == grace.PhaseDo {
			return r
		}
	}
	return grace.StepRecord{}
}
