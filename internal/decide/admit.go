package decide

import (
	"cmp"

	"grace"
	"grace/internal/gate"
	"grace/internal/stage/admit"
	"grace/internal/stage/govern"
)

// Admit tells whether the run of a snapshot may start, right before its first step:
// whether what was decided, dec, still holds.
func (r *Rules) Admit(s grace.Snapshot, k Known, dec grace.Decision) admit.Answer {
	run := *s.Run
	in := admit.Input{Now: s.At, Mode: s.Mode, Run: run, Since: s.Since, Window: r.Trust.Window(s.At)}
	in.Verdict, in.Trust = r.trustNow(s, k, dec)
	in.Person = gate.Person("", "")
	if run.Kind != grace.TriggerManual {
		in.Evidence, in.Person = r.ofRun(&s, &k), gate.Person(s.Manual, s.Stopped)
	}
	before := ahead(k.Open, run)
	_, declared := r.Graph.Service(run.Service)
	in.Declared = gate.Declared(run.Service, declared)
	kind := run.Kind
	if kind == grace.TriggerProactive && Come(k.Own, run.Code).State == gate.EvidenceFresh {
		kind = grace.TriggerReactive // what was foreseen is there
	}
	in.Redundancy = gate.Redundancy(r.Graph, run.Service, run.Code, kind, k.Well, gate.Busy(before))
	in.Storm = gate.New("storm", true, "", nil, nil)
	if s.Storm != nil {
		in.Storm = *s.Storm
	}
	cone := append(r.Graph.Cone(run.Service), run.Cone...) // the graph may have grown since the decision
	in.Cone = gate.Cone(run.Service, cone, before)
	acting := 0
	for _, o := range before {
		if o.Status.Acting() {
			acting++
		}
	}
	in.Concurrency = gate.Concurrency(acting, r.Propose.MaxConcurrent)
	return admit.Admit(in)
}

// trustNow asks the trust core again about what was decided.
func (r *Rules) trustNow(s grace.Snapshot, k Known, dec grace.Decision) (grace.Verdict, []grace.Reason) {
	p := *dec.Proposal
	service, known := r.Graph.Service(p.Service)
	if !known {
		service.ID = p.Service
	}
	p.Criticality = service.Criticality
	p.BlastRadius = max(p.BlastRadius, r.BlastRadius(p.Service, k.Well))
	now := r.Bound(p.Playbook, service)
	p.Auto = p.Auto && now.Auto
	p.Risk, p.Impact = cmp.Or(now.Risk, p.Risk), cmp.Or(now.Impact, p.Impact)
	v, _, gates := r.Trust.Decide(govern.Input{Now: s.At, Mode: s.Mode, Proposal: p})
	return v, gates
}

// ahead gives the other runs that have begun or, approved as this one still is, go
// before it because they are older.
func ahead(open []grace.OpenRun, run grace.Run) (before []grace.OpenRun) {
	for _, o := range open {
		older := o.CreatedAt.Before(run.CreatedAt) || o.CreatedAt.Equal(run.CreatedAt) && o.Run < run.ID
		if o.Run != run.ID && o.Status.Mutating() && (o.Status != grace.RunApproved || older && run.Status == grace.RunApproved) {
			before = append(before, o)
		}
	}
	return before
}
