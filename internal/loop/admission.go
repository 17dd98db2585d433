package loop

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"grace"
	"grace/internal/admit"
	"grace/internal/gate"
	"grace/internal/govern"
	"grace/internal/heal"
	"grace/internal/store"
)

// Admit asks once more what may have changed since the decision: mode, trust,
// silences, the evidence, the change window, the circuit breaker, other runs.
func (j journal) Admit(run grace.Run) (heal.Admission, error) {
	st := j.l.stages.Load()
	if err := j.l.Store.LockDeciding(j.ctx, j.tx); err != nil {
		return heal.Admission{}, err
	}
	j.l.noticeStill()
	open, err := j.l.Store.OpenRunHeads(j.ctx, j.tx)
	if err != nil {
		return heal.Admission{}, fmt.Errorf("read open runs: %w", err)
	}
	in, err := j.l.admission(j.ctx, j.tx, st, run, open, j.now)
	if err != nil {
		return heal.Admission{}, err
	}
	a := admit.Admit(in)
	out := heal.Admission{End: a.End, Wait: a.Wait, Reasons: a.Reasons}
	if a.End == "" && a.Wait.IsZero() {
		out.Before, err = j.symptoms(run.Service)
	}
	return out, err
}

// admission reads what an admission looks at; open are the runs that have not ended.
func (l *Loop) admission(ctx context.Context, q store.Querier, st *stages, run grace.Run, open []store.RunHead, now time.Time) (in admit.Input, err error) {
	set, err := l.Store.Mode(ctx, q)
	if err != nil {
		return in, fmt.Errorf("read the mode: %w", err)
	}
	in = admit.Input{Now: now, Mode: set.At(now), Run: run, Since: time.UnixMilli(l.epoch.Load()), Window: st.govern.Window(now)}
	if in.Verdict, in.Trust, err = l.trustNow(ctx, q, st, in.Mode, run, now); err != nil {
		return in, err
	}
	if run.Kind != grace.TriggerManual {
		if in.Evidence, err = l.evidenceNow(ctx, q, st, &run, now); err != nil {
			return in, err
		}
	}
	before := opens(ahead(open, run))
	_, declared := st.graph.Service(run.Service)
	in.Declared = gate.Declared(run.Service, declared)
	in.Redundancy = gate.Redundancy(st.graph, run.Service, run.Code, shownWell(l.mirror.allSignals()), gate.Busy(before))
	in.Storm = gate.New("storm", true, "", nil, nil)
	if storm := l.stormNow.Load(); storm != nil {
		in.Storm = *storm
	}
	cone := append(st.graph.Cone(run.Service), run.Cone...) // the graph may have grown since the decision
	in.Cone = gate.Cone(run.Service, cone, before)
	acting := 0
	for _, o := range before {
		if o.State.Acting() {
			acting++
		}
	}
	in.Concurrency = gate.Concurrency(acting, st.Propose.MaxConcurrent)
	return in, nil
}

// trustNow asks the trust core again about what was decided.
func (l *Loop) trustNow(ctx context.Context, q store.Querier, st *stages, mode grace.Mode, run grace.Run, now time.Time) (grace.Verdict, []grace.Reason, error) {
	dec, err := l.Store.Decision(ctx, q, run.Decision)
	if err != nil {
		return "", nil, fmt.Errorf("read the decision again: %w", err)
	}
	if dec.Proposal == nil {
		return "", nil, fmt.Errorf("decision %s has no proposal: %w", dec.ID, store.ErrNotFound)
	}
	p := st.proposedNow(*dec.Proposal, shownWell(l.mirror.allSignals()))
	v, _, gates := st.govern.Decide(govern.Input{Now: now, Mode: mode, Proposal: p})
	return v, gates, nil
}

// proposedNow gives a proposal as the configuration in force would make it.
func (st *stages) proposedNow(p grace.Proposal, well map[grace.ServiceID]bool) grace.Proposal {
	service, known := st.graph.Service(p.Service)
	if !known {
		service.ID = p.Service
	}
	p.Criticality = service.Criticality
	p.BlastRadius = max(p.BlastRadius, st.graph.BlastRadius(p.Service, illIn(well)))
	now := st.bound(p.Playbook, service)
	p.Auto = p.Auto && now.Auto
	p.Risk, p.Impact = cmp.Or(now.Risk, p.Risk), cmp.Or(now.Impact, p.Impact)
	return p
}

// symptoms gives what is wrong with a service now.
func (j journal) symptoms(id grace.ServiceID) ([]grace.Symptom, error) {
	signals, err := j.l.signalsNow(j.ctx, j.tx, id)
	if err != nil {
		return nil, err
	}
	var out []grace.Symptom
	for _, s := range signals {
		if s.Sick() {
			out = append(out, grace.Symptom{Signal: s.Key, Code: s.Code, Severity: s.Severity})
		}
	}
	return out, nil
}

// ahead gives the other runs that have begun or, approved as this one is, go
// before it because they are older.
func ahead(open []store.RunHead, run grace.Run) (before []store.RunHead) {
	for _, o := range open {
		younger := o.CreatedAt.After(run.CreatedAt) || o.CreatedAt.Equal(run.CreatedAt) && o.ID > run.ID
		if o.ID != run.ID && o.State.Mutating() && (o.State != grace.RunApproved || !younger) {
			before = append(before, o)
		}
	}
	return before
}
