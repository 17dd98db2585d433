package heal

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"grace"
	"grace/internal/stage/learn"
)

// outcome is what one change of a run brings along besides the run itself.
type outcome struct {
	notes        []note
	approval     *grace.Approval
	abort        *grace.AbortRequest // that nobody sent
	openIncident bool
	manual       bool // of the incident: something may have been left half done
}

// copyRun gives a run whose steps can be changed without the original's
// noticing.
func copyRun(run grace.Run) grace.Run {
	run.Steps = slices.Clone(run.Steps)
	run.Reasons = slices.Clone(run.Reasons)
	return run
}

func markStarted(run *grace.Run, i int, m Mark) {
	if i < len(run.Steps) {
		run.Steps[i].State = grace.StepStarted
		run.Steps[i].StartedAt = &m.At
	}
}

// stepEnded records one step and the start of what follows: the next step, or
// verification. A following step with a snapshot starts after that.
func stepEnded(run *grace.Run, m Mark, i int, o grace.Outcome) outcome {
	rec := &run.Steps[i]
	rec.Attempts = attempts(o)
	rec.Resumed = o.Data[resumedKey] != ""
	rec.Output, rec.Error = o.Output, o.Error
	rec.EndedAt = &m.At
	n := note{detail: map[string]any{"step": rec.Name, "attempts": rec.Attempts, "resumed": rec.Resumed}}
	switch o.Status {
	case grace.OutcomeSucceeded:
		rec.State, n.action, n.reason = grace.StepSucceeded, "step_succeeded", rec.Name
	case grace.OutcomeUnknown:
		rec.State, n.action, n.reason = grace.StepUnknown, "step_unknown", rec.Name+": "+o.Error
	case grace.OutcomeFailed:
		rec.State, n.action, n.reason = grace.StepFailed, "step_failed", rec.Name+": "+o.Error
	default:
		rec.State, n.action, n.reason = grace.StepUnknown, "step_unknown", rec.Name+": the action gave no status"
	}
	if rec.State != grace.StepSucceeded || m.Abort != nil {
		return outcome{notes: []note{n}}
	}
	switch next := i + 1; {
	case next == len(run.Steps):
		run.Status = grace.RunVerifying
		n.action = "verifying"
		n.reason = "after step " + rec.Name
	case run.Playbook.Steps[next].Snapshot == nil:
		markStarted(run, next, m)
	}
	return outcome{notes: []note{n}}
}

func attempts(o grace.Outcome) int {
	n, err := strconv.Atoi(o.Data[attemptsKey])
	if err != nil {
		return 1
	}
	return n
}

func undoEnded(run *grace.Run, m Mark, s grace.Step, o grace.Outcome) outcome {
	rec := grace.StepRecord{
		Name: s.Name, Phase: grace.PhaseUndo, Action: s.Undo.Action, Attempts: attempts(o),
		Output: o.Output, Error: o.Error, StartedAt: &o.Started, EndedAt: &m.At, State: grace.StepFailed,
	}
	n := note{action: "undo_failed", reason: s.Name + ": " + o.Error}
	if o.Status == grace.OutcomeSucceeded {
		rec.State = grace.StepSucceeded
		n = note{action: "step_undone", reason: s.Name}
	}
	run.Steps = append(run.Steps, rec)
	return outcome{notes: []note{n}}
}

func succeeded(run *grace.Run, m Mark, recovered time.Time) outcome {
	if !recovered.IsZero() && run.Code != grace.CodeManual {
		run.RecoveredIn = grace.Duration(max(0, recovered.Sub(run.SickSince)))
	}
	why := "every check held for the soak period"
	if len(run.Condition) > 0 {
		why += ", and what began it stayed clear for " + run.HoldDown.String()
	}
	return end(run, m, grace.RunSucceeded, why)
}

func end(run *grace.Run, m Mark, state grace.RunStatus, why string) outcome {
	run.Status = state
	run.EndedAt = &m.At
	if run.Error == "" && state != grace.RunSucceeded {
		run.Error = why
	}
	return outcome{notes: []note{{action: string(state), reason: why}}}
}

// change makes the rows of one transition. open is the incident that is open
// about what the run was for.
func change(run grace.Run, m Mark, out outcome, open *grace.Incident) grace.Change {
	c := grace.Change{}
	if out.approval != nil {
		Answered(&c, *out.approval, "heal", m.At)
	}
	if out.abort != nil {
		c.Aborts = []grace.AbortRequest{*out.abort}
	}
	if run.Status.Terminal() {
		e := learning(run, m)
		c.Learning = []grace.LearningEntry{e}
		c.Events = append(c.Events, grace.Event{
			Type: "self_heal.learned", Source: "heal", Actor: grace.Self, Resource: "run/" + string(run.ID), Payload: Encode(e), Timestamp: m.At,
		})
		if out.openIncident {
			if run.Incident = grace.IncidentID("i-" + string(run.ID)); open != nil {
				run.Incident = open.ID
			}
		}
	}
	for _, n := range out.notes {
		actor := n.actor
		if actor == "" {
			actor = grace.Self
		}
		c.Audit = append(c.Audit, grace.AuditEntry{
			At: m.At, Actor: actor, Action: "run." + n.action, Object: "run/" + string(run.ID),
			Service: run.Service, Reason: n.reason, Detail: Encode(n.detail),
		})
		c.Events = append(c.Events, event("self_heal.run."+n.action, run, m, actor, n.reason))
	}
	if run.Incident != "" {
		tellPerson(&c, run, m, out.manual, open)
	}
	c.Runs = []grace.Run{run}
	return c
}

// Answered adds what became of a question to a change: its row, its entry in the
// audit log, and the event by which people hear that it is over.
func Answered(c *grace.Change, a grace.Approval, source string, at time.Time) {
	actor, what, object := cmp.Or(a.Actor, grace.Self), "approval."+string(a.State), "approval/"+string(a.ID)
	c.Approvals = append(c.Approvals, a)
	c.Audit = append(c.Audit, grace.AuditEntry{At: at, Actor: actor, Action: what, Object: object, Service: a.Service, Reason: a.Reason})
	c.Events = append(c.Events, grace.Event{
		Type: "self_heal." + what, Source: source, Actor: actor, Resource: object, Payload: Encode(a), Timestamp: at,
	})
}

func event(kind string, run grace.Run, m Mark, actor, reason string) grace.Event {
	return grace.Event{
		Type: kind, Source: "heal", Actor: actor, Resource: "run/" + string(run.ID), Timestamp: m.At,
		Payload: Encode(map[string]any{
			"run": run.ID, "service": run.Service, "playbook": run.Playbook.ID, "code": run.Code,
			"status": run.Status, "reason": reason,
		}),
	}
}

// tellPerson opens the incident of a run that did not help, or adds the run to the
// one that is open: who looks after that one is not called again.
func tellPerson(c *grace.Change, run grace.Run, m Mark, manual bool, open *grace.Incident) {
	severity := grace.SeverityWarning
	if run.Status == grace.RunEscalated || run.Status == grace.RunAborted {
		severity = grace.SeverityCritical
	}
	for _, s := range run.Before { // as severe as what lasts: it is not told twice
		if s.Severity.Rank() > severity.Rank() {
			severity = s.Severity
		}
	}
	action, reason := "incident.opened", run.Error
	inc := grace.Incident{
		ID: run.Incident, Kind: grace.IncidentRun, State: grace.IncidentOpen, Service: run.Service, Run: run.ID, Severity: severity, Codes: []grace.Code{run.Code},
		Since: run.SickSince, OpenedAt: m.At, Title: fmt.Sprintf("%s on %s %s", run.Playbook.ID, run.Service, ending(run.Status)),
	}
	if open != nil {
		inc = *open
		inc.News = fmt.Sprintf("%s %s, too (run %s)", run.Playbook.ID, ending(run.Status), run.ID)
		if severity.Rank() > inc.Severity.Rank() {
			inc.Severity = severity
		}
		action, reason = "incident.updated", inc.News+": "+run.Error
	}
	inc.Detail, inc.Manual = run.Error, inc.Manual || manual
	object := "incident/" + string(inc.ID)
	c.Incidents = []grace.Incident{inc}
	c.Audit = append(c.Audit, grace.AuditEntry{At: m.At, Actor: grace.Self, Action: action, Object: object, Service: run.Service, Reason: reason})
	c.Events = append(c.Events, grace.Event{Type: action, Source: "heal", Actor: grace.Self, Resource: object, Payload: Encode(inc), Timestamp: m.At})
}

// ending words the end of a run that did not succeed.
func ending(s grace.RunStatus) string {
	switch s { //nolint:exhaustive // the others open no incident
	case grace.RunIneffective:
		return "did not help"
	case grace.RunRolledBack:
		return "was undone"
	case grace.RunAborted:
		return "was aborted"
	case grace.RunEscalated:
		return "failed"
	}
	return "ended " + string(s)
}

func learning(run grace.Run, m Mark) grace.LearningEntry {
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
// acted, that a person stopped, or that a person wanted where nothing was wrong,
// says nothing.
func resultOf(run grace.Run) grace.Result {
	if run.Abort != nil || run.StartedAt == nil || run.Code == grace.CodeManual {
		return grace.ResultNeutral
	}
	return learn.ResultOf(run.Status)
}

// Encode gives the JSON of an event or an audit entry. The values are our own
// maps and structs, so an error can only be a programming mistake: it is put where it will be read.
func Encode(v any) json.RawMessage {
	if v == nil {
		return nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return json.RawMessage(strconv.Quote("not encodable: " + err.Error()))
	}
	return b
}

func recordOf(run grace.Run, step string) grace.StepRecord {
	for _, r := range run.Steps {
		if r.Name == step && r.Phase == grace.PhaseDo {
			return r
		}
	}
	return grace.StepRecord{}
}
