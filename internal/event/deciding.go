package event

import (
	"cmp"
	"fmt"
	"time"

	"grace"
	"grace/internal/explain"
)

// Decided is a decision, with the run that it makes.
type Decided struct {
	Decision grace.Decision
	Snapshot grace.Recorded // what it rests on; its parts are kept before
	Run      *grace.Run
	// Answer is until when a person may answer, of a run that waits for one.
	Answer time.Time
	// Actor wanted the run, and why; "" when GRACE decided by itself.
	Actor, Why string
}

func (e Decided) derive(r *Rows) {
	dec, run, why := e.Decision, e.Run, Summary(e.Decision)
	r.Decisions = append(r.Decisions, dec)
	r.Snapshots = append(r.Snapshots, e.Snapshot)
	note := func(action, object, reason string, detail any) {
		if e.Actor != "" {
			reason = e.Why + "; " + reason
		}
		w := word{dec.At, e.Actor, action, object, dec.Service, reason, Encode(detail)}
		r.record(w)
		r.send("self_heal."+action, "loop", w, w.detail)
	}
	if run != nil {
		note("run."+string(grace.RunProposed), "run/"+string(run.ID), "", map[string]any{
			"run": run.ID, "service": run.Service, "playbook": run.Playbook.ID, "code": run.Code, "status": grace.RunProposed, "decision": dec.ID,
		})
	}
	note("decision."+string(dec.Verdict), "decision/"+string(dec.ID), why, map[string]any{
		"id": dec.ID, "decision": dec.Verdict, "service": dec.Service, "code": dec.Diagnosis.Code, "run": dec.Run,
		"likelihood": dec.Diagnosis.Likelihood, "playbook": PlaybookOf(dec), "mode": dec.Mode, "failed": dec.Failed(),
		"victims": dec.Diagnosis.Victims, "triggers": dec.Triggers,
	})
	if run == nil {
		return
	}
	r.Runs = append(r.Runs, *run)
	note("run."+string(run.Status), "run/"+string(run.ID), why, map[string]any{
		"run": run.ID, "service": run.Service, "playbook": run.Playbook.ID, "code": run.Code, "status": run.Status,
		"decision": dec.ID, "reason": why,
	})
	if run.Status == grace.RunAwaitingApproval {
		r.Approvals = append(r.Approvals, grace.Approval{
			ID: grace.ApprovalID(run.ID), Run: run.ID, Service: run.Service, Playbook: run.Playbook.ID,
			State: grace.ApprovalPending, Revision: 1, Expires: e.Answer, At: dec.At,
		})
	}
}

// PlaybookOf gives the playbook that a decision is about, "" for none.
func PlaybookOf(dec grace.Decision) grace.PlaybookID {
	if dec.Proposal == nil {
		return ""
	}
	return dec.Proposal.Playbook
}

// Summary is a decision in one line that an operator can read.
func Summary(dec grace.Decision) string {
	s := fmt.Sprintf("%s on %s (%.0f %%)", dec.Diagnosis.Code, dec.Service, 100*dec.Diagnosis.Likelihood)
	if dec.Diagnosis.Code == grace.CodeManual {
		s = fmt.Sprintf("by hand on %s", dec.Service)
	}
	if dec.Proposal != nil {
		s += ": " + string(dec.Proposal.Playbook)
	}
	if failed := dec.Failed(); len(failed) > 0 {
		s += "; " + explain.Lines(failed)
	}
	return s
}

// TriggersAnswered says that triggers do not wait for a decision any more. What
// answers them has an entry of its own.
type TriggersAnswered struct {
	Triggers []grace.Trigger
	State    grace.TriggerState
	At       time.Time
}

func (e TriggersAnswered) derive(r *Rows) {
	for _, t := range e.Triggers {
		t.State = e.State
		r.Triggers = append(r.Triggers, t)
		r.operation(word{at: e.At, action: "trigger." + string(t.State), object: "trigger/" + string(t.ID), service: t.Service})
	}
}

// Admitted is the answer to whether a run may start, when it says something new.
type Admitted struct{ Snapshot grace.Recorded }

func (e Admitted) derive(r *Rows) {
	r.Snapshots = append(r.Snapshots, e.Snapshot)
	r.operation(word{at: e.Snapshot.At, action: "admission.recorded", object: "admission/" + e.Snapshot.ID, service: e.Snapshot.Service})
}

// Move is one thing that happened to a run.
type Move struct {
	Action string // after "run."
	Actor  string // "" for GRACE itself
	Reason string
	Detail any
}

// RunMoved says that a run is not what it was: its row, and what has happened.
// Without a move its row was brought up to date while it waits.
type RunMoved struct {
	Run     grace.Run
	Moves   []Move
	Learned *grace.LearningEntry
	Abort   *grace.AbortRequest // of a message that had no row
	At      time.Time
}

func (e RunMoved) derive(r *Rows) {
	run, object := e.Run, "run/"+string(e.Run.ID)
	r.Runs = append(r.Runs, run)
	if e.Abort != nil {
		r.Aborts = append(r.Aborts, *e.Abort)
	}
	if e.Learned != nil {
		r.Learning = append(r.Learning, *e.Learned)
		r.send(TypeLearned, "heal", word{at: e.At, object: object}, e.Learned)
	}
	for _, m := range e.Moves {
		w := word{e.At, m.Actor, "run." + m.Action, object, run.Service, m.Reason, m.Detail}
		r.record(w)
		r.send("self_heal."+w.action, "heal", w, map[string]any{
			"run": run.ID, "service": run.Service, "playbook": run.Playbook.ID, "code": run.Code, "status": run.Status, "reason": m.Reason,
		})
	}
	if len(e.Moves) == 0 {
		r.operation(word{at: e.At, action: "run.refreshed", object: object, service: run.Service})
	}
}

// ApprovalAnswered is what became of a question to a person.
type ApprovalAnswered struct {
	Approval grace.Approval
	At       time.Time
}

func (e ApprovalAnswered) derive(r *Rows) {
	a := e.Approval
	w := word{e.At, cmp.Or(a.Actor, grace.Self), "approval." + string(a.State), "approval/" + string(a.ID), a.Service, a.Reason, nil}
	r.Approvals = append(r.Approvals, a)
	r.record(w)
	r.send("self_heal."+w.action, "governance", w, a)
}

// AbortRequested says that a person wants a run to stop.
type AbortRequested struct {
	Request grace.AbortRequest
	Service grace.ServiceID
}

func (e AbortRequested) derive(r *Rows) {
	a := e.Request
	w := word{at: a.At, actor: a.Actor, action: "run.abort_requested", object: "run/" + string(a.Run), service: e.Service, reason: a.Reason}
	r.Aborts = append(r.Aborts, a)
	r.record(w)
	r.send(TypeAbort, "api", w, map[string]any{"run": a.Run, "reason": a.Reason})
}
