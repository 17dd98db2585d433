package loop

import (
	"context"
	"fmt"
	"slices"
	"time"

	"grace"
	"grace/internal/content"
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
func (c *commands) RunByHand(ctx context.Context, want ByHand, actor string) (grace.Decision, error) {
	st := c.stages.Load()
	if err := st.wants(want); err != nil {
		return grace.Decision{}, err
	}
	began := time.Now()
	var dec grace.Decision
	err := c.deciding(ctx, func(ctx context.Context, tx store.Tx) error {
		p, err := c.present(ctx, tx, c.look(st))
		if err != nil {
			return err
		}
		s, k, err := c.snapshot(ctx, tx, st, p, want.Service)
		if err != nil {
			return err
		}
		s.Wanted = &grace.Wanted{Actor: actor, Playbook: want.Playbook, Parameters: want.Parameters, Reason: want.Reason, Override: want.Override}
		if err := c.remember(ctx, tx, st, &s, grace.TriggerManual, st.rules.Wanted(s, k.Scene).Code); err != nil {
			return err
		}
		var run *grace.Run
		dec, run = st.rules.Decide(s, k)
		if run != nil && !run.Status.Terminal() {
			if err := c.Engine.Enqueue(ctx, tx, run.ID, run); err != nil {
				return err
			}
		}
		e := decisionEvent(s, dec, run, st.ApprovalTTL)
		e.Actor, e.Why = actor, want.Reason
		return c.Store.Record(ctx, tx, []content.Parts{k.Parts}, e)
	})
	if err != nil {
		return dec, fmt.Errorf("decide a run of %s on %s: %w", want.Playbook, want.Service, err)
	}
	c.announce(dec, time.Since(began))
	c.wakeDecider()
	return dec, nil
}

// wants refuses what no configuration knows.
func (st *stages) wants(want ByHand) error {
	service, ok := st.rules.Graph.Service(want.Service)
	if !ok {
		return &InvalidError{fmt.Errorf("unknown service %q", want.Service)}
	}
	i := slices.IndexFunc(st.Playbooks, func(p grace.Playbook) bool { return p.ID == want.Playbook })
	if i < 0 {
		return &InvalidError{fmt.Errorf("unknown playbook %q", want.Playbook)}
	}
	bound, ok := st.Playbooks[i].Bind(service)
	if !ok {
		return &InvalidError{unbound(st.Playbooks[i], want.Service)}
	}
	return unasked(bound, want.Service, want.Parameters)
}
