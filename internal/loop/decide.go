package loop

import (
	"fmt"
	"strings"
	"time"

	"grace"
	"grace/internal/decide"
	"grace/internal/explain"
	"grace/internal/heal"
)

// signature tells whether a "no" is the one that was said before.
func signature(d grace.Decision) string {
	codes := []string{string(d.Verdict)}
	for _, r := range d.Failed() {
		codes = append(codes, string(r.Code))
	}
	return strings.Join(codes, ",")
}

// decisionChange makes the rows of a decision.
func decisionChange(s grace.Snapshot, dec grace.Decision, run *grace.Run, ttl time.Duration) grace.Change {
	c := grace.Change{Decisions: []grace.Decision{dec}, Snapshots: []grace.Recorded{decide.RecordDecision(s, dec)}}
	note := func(action, object, reason string, detail any) {
		c.Audit = append(c.Audit, grace.AuditEntry{
			At: dec.At, Actor: grace.Self, Action: action, Object: object, Service: dec.Service, Reason: reason, Detail: heal.Encode(detail),
		})
		c.Events = append(c.Events, grace.Event{
			Type: "self_heal." + action, Source: "loop", Actor: grace.Self, Resource: object, Payload: heal.Encode(detail), Timestamp: dec.At,
		})
	}
	if run != nil {
		note("run."+string(grace.RunProposed), "run/"+string(run.ID), "", map[string]any{
			"run": run.ID, "service": run.Service, "playbook": run.Playbook.ID, "code": run.Code, "status": grace.RunProposed, "decision": dec.ID,
		})
	}
	note("decision."+string(dec.Verdict), "decision/"+string(dec.ID), summary(dec), map[string]any{
		"id": dec.ID, "decision": dec.Verdict, "service": dec.Service, "code": dec.Diagnosis.Code, "run": dec.Run,
		"likelihood": dec.Diagnosis.Likelihood, "playbook": playbookOf(dec), "mode": dec.Mode, "failed": dec.Failed(),
		"victims": dec.Diagnosis.Victims, "triggers": dec.Triggers,
	})
	if run == nil {
		return c
	}
	c.Runs = []grace.Run{*run}
	note("run."+string(run.Status), "run/"+string(run.ID), summary(dec), map[string]any{
		"run": run.ID, "service": run.Service, "playbook": run.Playbook.ID, "code": run.Code, "status": run.Status,
		"decision": dec.ID, "reason": summary(dec),
	})
	if run.Status == grace.RunAwaitingApproval {
		a := grace.Approval{
			ID: grace.ApprovalID(run.ID), Run: run.ID, Service: run.Service, Playbook: run.Playbook.ID,
			State: grace.ApprovalPending, Revision: 1, Expires: dec.At.Add(ttl), At: dec.At,
		}
		c.Approvals = []grace.Approval{a}
	}
	return c
}

func playbookOf(dec grace.Decision) grace.PlaybookID {
	if dec.Proposal == nil {
		return ""
	}
	return dec.Proposal.Playbook
}

// summary is one line an operator can read.
func summary(dec grace.Decision) string {
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
