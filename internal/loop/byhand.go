package loop

import (
	"context"
	"fmt"
	"slices"
	"time"

	"grace"
	"grace/internal/gate"
	"grace/internal/store"
)

// ByHand is a run that a person wants.
type ByHand struct {
	Playbook   grace.PlaybookID
	Service    grace.ServiceID
	Parameters map[string]any
	Reason     string
	// Override lets the limits of time pass: rate, backoff, duplicate, circuit
	// breaker. Guardrails and policies hold.
	Override bool
}

// RunByHand decides a run that a person wants through the same gates as any
// other, but for the evidence: the person has seen it. It is recorded as theirs.
func (l *Loop) RunByHand(ctx context.Context, want ByHand, actor string) (grace.Decision, error) {
	st := l.stages.Load()
	playbook, err := st.playbookFor(want)
	if err != nil {
		return grace.Decision{}, err
	}
	began := time.Now()
	var dec grace.Decision
	err = l.deciding(ctx, func(ctx context.Context, tx store.Tx) error {
		p, err := l.present(ctx, tx)
		if err != nil {
			return err
		}
		diagnoses := st.diagnoseAll(p.now, l.mirror.allSignals(), nil)
		code, since := ails(diagnoses, want.Service, playbook.Triggers, p.now)
		d := grace.Diagnosis{
			ID: grace.DiagnosisID("d-" + hash(actor, want.Service, want.Playbook, p.now)), Code: code, Cause: want.Service,
			Kind: grace.TriggerManual, Likelihood: 1, Since: since, At: p.now, Impact: grace.ImpactUnknown,
			Evidence: []grace.Evidence{{Service: want.Service, Code: code, Weight: 1, Text: "asked for by " + actor + ": " + want.Reason}},
		}
		v, err := l.view(ctx, tx, st, p, due{diagnosis: d}, st.storming(diagnoses))
		if err != nil {
			return err
		}
		v.evidence = gate.Evidence{State: gate.EvidenceFresh, Text: d.Evidence[0].Text}
		playbook.Triggers = []grace.Code{code} // whatever it is for: this one is wanted
		v.playbooks, v.arguments = []grace.Playbook{playbook}, want.Parameters
		if want.Override {
			v.override = actor
		}
		var run *grace.Run
		dec, run = st.decide(d, v)
		if run != nil {
			run.Asked = &grace.Note{Actor: actor, Text: want.Reason, At: p.now}
		}
		if run != nil && !run.Status.Terminal() {
			if err := l.engine.Enqueue(ctx, tx, run.ID, run); err != nil {
				return err
			}
		}
		c := decisionChange(dec, run, st.ApprovalTTL)
		for i := range c.Audit {
			c.Audit[i].Actor, c.Events[i].Actor = actor, actor
			c.Audit[i].Reason = want.Reason + "; " + c.Audit[i].Reason
		}
		return l.Store.Apply(ctx, tx, c)
	})
	if err != nil {
		return dec, fmt.Errorf("decide a run of %s on %s: %w", want.Playbook, want.Service, err)
	}
	l.tell(dec, time.Since(began))
	l.nudge()
	return dec, nil
}

// ails gives what a service is diagnosed to suffer from that a playbook is for,
// and since when; where there is nothing, the code of a run that rests on no
// condition.
func ails(diagnoses []grace.Diagnosis, service grace.ServiceID, triggers []grace.Code, now time.Time) (grace.Code, time.Time) {
	for _, d := range diagnoses {
		if d.Cause == service && slices.Contains(triggers, d.Code) {
			return d.Code, d.Since
		}
	}
	return grace.CodeManual, now
}

// playbookFor gives the playbook that a person wants.
func (st *stages) playbookFor(want ByHand) (grace.Playbook, error) {
	service, ok := st.graph.Service(want.Service)
	if !ok {
		return grace.Playbook{}, &ErrTrial{fmt.Sprintf("unknown service %q", want.Service)}
	}
	i := slices.IndexFunc(st.Playbooks, func(p grace.Playbook) bool { return p.ID == want.Playbook })
	if i < 0 {
		return grace.Playbook{}, &ErrTrial{fmt.Sprintf("unknown playbook %q", want.Playbook)}
	}
	p := st.Playbooks[i]
	if _, ok := p.Bind(service); !ok {
		return p, &ErrTrial{unbound(p, want.Service)}
	}
	return p, nil
}
