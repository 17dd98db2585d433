package decide

import (
	"slices"
	"time"

	"grace"
	"grace/internal/content"
	"grace/internal/gate"
	"grace/internal/stage/govern"
	"grace/internal/stage/propose"
)

// Decide gives the answer to what a snapshot is about and, where there is something
// to do or to ask, its run.
func (r *Rules) Decide(s grace.Snapshot, k Known) (grace.Decision, *grace.Run) {
	dec := grace.Decision{ID: decisionID(s), Verdict: grace.VerdictNone, Mode: s.Mode, Service: s.Service, At: s.At}
	in := propose.Input{Now: s.At, Playbooks: r.Playbooks, State: r.state(&s, &k), Posteriors: s.Posteriors}
	switch d, found := k.about(s.Service); {
	case s.Wanted != nil:
		in.Diagnosis = r.Wanted(s, k.Scene)
		in.Playbooks = r.wantedPlaybook(s.Wanted, in.Diagnosis.Code)
		in.Evidence = gate.Evidence{State: gate.EvidenceFresh, Text: in.Diagnosis.Evidence[0].Text}
		in.Arguments = s.Wanted.Parameters
		if s.Wanted.Override {
			in.Override = s.Wanted.Actor
		}
	case found:
		in.Diagnosis = d
		in.Evidence = r.ofDiagnosis(&s, &k, &d)
	default:
		dec.Diagnosis, dec.Reasons = untaken(s, k.Scene)
		return dec, nil
	}
	dec.Diagnosis, in.Seed = in.Diagnosis, seed(in.Diagnosis)
	said := r.propose.Propose(in)
	dec.Reasons, dec.Candidates, dec.Proposal = said.Reasons, said.Candidates, said.Proposal
	if dec.Proposal == nil {
		return dec, nil
	}
	verdict, policy, gates := r.Trust.Decide(govern.Input{Now: s.At, Mode: s.Mode, Proposal: *dec.Proposal})
	dec.Verdict, dec.Policy = verdict, policy
	dec.Reasons = append(dec.Reasons, gates...)
	if s.Mode == grace.ModeStopped {
		// Not even a denied run: as a past proposal it would stand in the way
		// of the remedy when somebody resumes.
		return dec, nil
	}
	run := r.newRun(dec, *dec.Proposal, s.At)
	dec.Run = run.ID
	if w := s.Wanted; w != nil {
		run.Asked = &grace.Note{Actor: w.Actor, Text: w.Reason, At: s.At}
	}
	return dec, &run
}

// about gives the diagnosis whose cause is a service.
func (sc *Scene) about(id grace.ServiceID) (grace.Diagnosis, bool) {
	i := slices.IndexFunc(sc.Diagnoses, func(d grace.Diagnosis) bool { return d.Cause == id })
	if i < 0 {
		return grace.Diagnosis{}, false
	}
	return sc.Diagnoses[i], true
}

// untaken answers a trigger that no diagnosis took up: the condition went away, or
// what is there is too little to act on.
func untaken(s grace.Snapshot, sc *Scene) (grace.Diagnosis, []grace.Reason) {
	d := grace.Diagnosis{Cause: s.Service, At: s.At}
	if t := s.Trigger; t != nil {
		d.Code, d.Kind, d.Since = t.Code, t.Kind, t.At
	}
	reasons := []grace.Reason{{Gate: "trigger", Code: grace.ReasonCleared}}
	for i := range sc.Signals {
		switch one := &sc.Signals[i]; {
		case one.Service != s.Service:
		case one.State == grace.SignalFiring && !one.Passing && !one.Flapping:
			return d, []grace.Reason{{Gate: "diagnosis", Code: grace.ReasonLowConfidence}}
		case one.State == grace.SignalFiring:
			reasons = []grace.Reason{gate.Evidence{State: gate.EvidencePassing, Text: one.Message, Source: "signal/" + string(one.Key)}.Reason()}
		}
	}
	return d, reasons
}

// Wanted is the diagnosis of a run that a person wants: what the service suffers
// from that the playbook is for and, where there is nothing, no condition.
func (r *Rules) Wanted(s grace.Snapshot, sc *Scene) grace.Diagnosis {
	w := s.Wanted
	code, since := grace.CodeManual, s.At
	for _, d := range sc.Diagnoses {
		if d.Cause == s.Service && d.Kind == grace.TriggerReactive && slices.Contains(r.Suited(d.Code), w.Playbook) {
			code, since = d.Code, d.Since
			break
		}
	}
	return grace.Diagnosis{
		ID: grace.DiagnosisID("d-" + content.ID(w.Actor, s.Service, w.Playbook, s.At)), Code: code, Cause: s.Service,
		Kind: grace.TriggerManual, Likelihood: 1, Since: since, At: s.At, Impact: grace.ImpactUnknown,
		Evidence: []grace.Evidence{{Service: s.Service, Code: code, Weight: 1, Text: "asked for by " + w.Actor + ": " + w.Reason}},
	}
}

// wantedPlaybook gives the one playbook that a person wants, whatever it is for.
func (r *Rules) wantedPlaybook(w *grace.Wanted, code grace.Code) []grace.Playbook {
	i := slices.IndexFunc(r.Playbooks, func(p grace.Playbook) bool { return p.ID == w.Playbook })
	if i < 0 {
		return nil
	}
	p := r.Playbooks[i]
	p.Triggers = []grace.Code{code}
	return []grace.Playbook{p}
}

// newRun makes the run of a decision, in the state its verdict puts it.
func (r *Rules) newRun(dec grace.Decision, p grace.Proposal, now time.Time) grace.Run {
	service, _ := r.Graph.Service(p.Service)
	run := grace.Run{
		ID: grace.RunID("r-" + content.ID(p.ID, now)), Service: p.Service, Code: p.Code, Kind: p.Kind, Parameters: p.Parameters,
		Decision: dec.ID, Proposal: p.ID, Cone: p.Cone, Revision: 1, SickSince: dec.Diagnosis.Since, CreatedAt: now,
		Playbook: r.Bound(p.Playbook, service), Condition: dec.Diagnosis.Condition(),
		HoldDown: grace.Duration(r.HoldDown), RecoverIn: grace.Duration(r.RecoverWithin),
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

// decisionID is the snapshot's: who looks at the same makes the same decision.
func decisionID(s grace.Snapshot) grace.DecisionID {
	return grace.DecisionID(recordID(grace.RecordDecision, content.Blob(s)))
}

// seed gives the jitter of a diagnosis the same value on every replica.
func seed(d grace.Diagnosis) uint64 {
	var n uint64
	for _, c := range []byte(content.ID(d.Cause, d.Code)) {
		n = n*31 + uint64(c)
	}
	return n
}
