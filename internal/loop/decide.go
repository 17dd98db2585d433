package loop

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"grace"
	"grace/internal/explain"
	"grace/internal/gate"
	"grace/internal/govern"
	"grace/internal/heal"
	"grace/internal/propose"
)

// view is what one decision looks at besides the diagnosis: read in the
// deciding transaction, under its lock, but for what ranking remembers.
type view struct {
	now      time.Time
	owner    string // who decides
	mode     grace.Mode
	state    propose.State
	ranker   propose.Ranker
	triggers []grace.TriggerID
	evidence gate.Evidence // of the condition
	// Of a run that a person wants: its one playbook, its arguments, and who
	// lets limits pass.
	playbooks []grace.Playbook
	arguments map[string]any
	override  string
}

// decide is the whole way from a diagnosis to a decision and, where there is
// something to do or to ask, its run. Pure: the same arguments, the same
// answer.
func (st *stages) decide(d grace.Diagnosis, v view) (grace.Decision, *grace.Run) {
	dec := grace.Decision{
		ID:      grace.DecisionID("dec-" + hash(d.ID, v.now, v.owner)), // two replicas may look at it in the same moment
		Verdict: grace.VerdictNone, Mode: v.mode, Service: d.Cause, Triggers: v.triggers, Diagnosis: d, At: v.now,
	}
	agent := propose.New(st.Propose, st.graph, v.ranker)
	in := propose.Input{
		Now: v.now, Seed: seed(d), Diagnosis: d, Playbooks: st.Playbooks, State: v.state, Evidence: v.evidence,
		Arguments: v.arguments, Override: v.override,
	}
	if v.playbooks != nil {
		in.Playbooks = v.playbooks
	}
	said := agent.Propose(in)
	dec.Reasons, dec.Candidates, dec.Proposal = said.Reasons, said.Candidates, said.Proposal
	if dec.Proposal == nil {
		return dec, nil
	}
	p := *dec.Proposal
	verdict, policy, gates := st.govern.Decide(govern.Input{Now: v.now, Mode: v.mode, Proposal: p})
	dec.Verdict, dec.Policy = verdict, policy
	dec.Reasons = append(dec.Reasons, gates...)
	if v.mode == grace.ModeStopped {
		// Not even a denied run: as a past proposal it would stand in the way
		// of the remedy when somebody resumes.
		return dec, nil
	}
	run := st.newRun(dec, p, v.now)
	dec.Run = run.ID
	return dec, &run
}

// newRun makes the run of a decision, in the state its verdict puts it.
func (st *stages) newRun(dec grace.Decision, p grace.Proposal, now time.Time) grace.Run {
	service, _ := st.graph.Service(p.Service)
	run := grace.Run{
		ID: grace.RunID("r-" + hash(p.ID, now)), Service: p.Service, Code: p.Code, Kind: p.Kind, Parameters: p.Parameters,
		Decision: dec.ID, Proposal: p.ID, Cone: p.Cone, Revision: 1, SickSince: dec.Diagnosis.Since, CreatedAt: now,
		Playbook: st.bound(p.Playbook, service), Condition: dec.Diagnosis.Condition(),
		HoldDown: grace.Duration(st.HoldDown), RecoverIn: grace.Duration(st.RecoverWithin),
	}
	if run.SickSince.IsZero() || run.SickSince.After(now) {
		run.SickSince = now
	}
	switch dec.Verdict {
	case grace.VerdictAllow:
		run.Status, run.Auto = grace.RunApproved, true
	case grace.VerdictRequireApproval:
		run.Status = grace.RunAwaitingApproval
	case grace.VerdictObserve:
		run.Status = grace.RunObservedOnly
	case grace.VerdictDeny, grace.VerdictNone:
		run.Status = grace.RunDenied
	default:
		run.Status = grace.RunDenied
	}
	if run.Status.Terminal() {
		run.EndedAt = &now
		run.Reasons = dec.Failed()
	}
	return run
}

// bound gives a playbook as it runs on a service.
func (st *stages) bound(id grace.PlaybookID, s grace.Service) grace.Playbook {
	i := slices.IndexFunc(st.Playbooks, func(p grace.Playbook) bool { return p.ID == id })
	if i < 0 {
		return grace.Playbook{ID: id}
	}
	b, _ := st.Playbooks[i].Bind(s)
	return b
}

// seed gives the jitter of a diagnosis the same value on every replica.
func seed(d grace.Diagnosis) uint64 {
	var n uint64
	for _, c := range []byte(hash(d.Cause, d.Code)) {
		n = n*31 + uint64(c)
	}
	return n
}

// signature tells whether a "no" is the one that was said before.
func signature(d grace.Decision) string {
	codes := []string{string(d.Verdict)}
	for _, r := range d.Failed() {
		codes = append(codes, string(r.Code))
	}
	return strings.Join(codes, ",")
}

// decisionChange makes the rows of a decision.
func decisionChange(dec grace.Decision, run *grace.Run, ttl time.Duration) grace.Change {
	c := grace.Change{Decisions: []grace.Decision{dec}}
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
