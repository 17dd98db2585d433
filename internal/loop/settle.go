package loop

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"grace"
	"grace/internal/content"
	"grace/internal/decide"
	"grace/internal/event"
	"grace/internal/explain"
	"grace/internal/gate"
	"grace/internal/store"
)

// settleAfter is how long a trigger may wait for a diagnosis that takes it up.
const settleAfter = 15 * time.Second

// settle gives a decision to the triggers that no diagnosis took up: the
// condition went away, or what is there is too little to act on.
func (d *decider) settle(ctx context.Context, st *stages, pending []grace.Trigger, sc *decide.Scene) error {
	left := map[grace.ServiceID][]grace.Trigger{}
	taken := map[grace.ServiceID]bool{}
	for _, dia := range sc.Diagnoses {
		taken[dia.Cause] = true
		for _, v := range dia.Victims {
			taken[v] = true
		}
	}
	for _, t := range pending {
		if !taken[t.Service] && sc.At.Sub(t.At) >= settleAfter {
			left[t.Service] = append(left[t.Service], t)
		}
	}
	for _, service := range slices.Sorted(maps.Keys(left)) {
		if err := d.settleOne(ctx, st, sc, service, left[service]); err != nil {
			return fmt.Errorf("settle %d triggers of %s: %w", len(left[service]), service, err)
		}
	}
	return nil
}

func (d *decider) settleOne(ctx context.Context, st *stages, sc *decide.Scene, service grace.ServiceID, triggers []grace.Trigger) error {
	return d.decidingOn(ctx, sc, func(ctx context.Context, tx store.Tx, p present) error {
		s, k, err := d.snapshot(ctx, tx, st, p, service)
		if err != nil {
			return err
		}
		s.Trigger = &triggers[0]
		dec, _ := st.rules.Decide(s, k)
		dec.Triggers = idsOf(triggers)
		state := grace.TriggerDecided
		if dec.Reasons[0].Code == grace.ReasonCleared {
			state = grace.TriggerCleared
		}
		return d.Store.Record(ctx, tx, []content.Parts{k.Parts}, decisionEvent(s, dec, nil, st.ApprovalTTL), event.TriggersAnswered{Triggers: triggers, State: state, At: dec.At})
	})
}

func idsOf(triggers []grace.Trigger) (ids []grace.TriggerID) {
	for _, t := range triggers {
		ids = append(ids, t.ID)
	}
	return ids
}

// reconcile finds runs that are open in the store though the engine gave up on
// them, and ends them where a person sees it. It is the net under the engine:
// a run may not stay open for ever and hold its cone.
func (d *decider) reconcile(ctx context.Context) error {
	open, err := d.Store.OpenRunHeads(ctx, d.Store.Q())
	if err != nil {
		return fmt.Errorf("read open runs: %w", err)
	}
	ids := make([]grace.RunID, len(open))
	for i, h := range open {
		ids[i] = h.ID
	}
	failed, err := d.Engine.Failed(ids)
	if err != nil {
		return err
	}
	for id, why := range failed {
		if err := d.failOrphan(ctx, id, why); err != nil {
			return err
		}
	}
	return nil
}

func (d *decider) failOrphan(ctx context.Context, id grace.RunID, why string) error {
	now := d.Now()
	err := d.Store.Do(ctx, func(ctx context.Context, tx store.Tx) error {
		run, err := d.Store.Run(ctx, tx, id)
		if err != nil || run.Status.Terminal() {
			return err
		}
		asked := run.Status == grace.RunAwaitingApproval
		run.Status, run.Error, run.EndedAt = grace.RunEscalated, "the run could not go on: "+why, &now
		run.Incident = grace.IncidentID("i-" + string(id))
		run.Revision++
		inc := grace.Incident{
			ID: run.Incident, Kind: grace.IncidentRun, State: grace.IncidentOpen, Service: run.Service, Run: id, Severity: grace.SeverityCritical, Faults: []string{string(run.Code)},
			Since: run.SickSince, OpenedAt: now, Manual: run.StartedAt != nil,
			Title: fmt.Sprintf("%s on %s was stranded; look at %s yourself", run.Playbook.ID, run.Service, run.Service), Detail: run.Error,
		}
		list := []event.Event{
			event.RunMoved{
				Run: run, At: now, Moves: []event.Move{{Action: string(run.Status), Reason: run.Error}},
				Learned: &grace.LearningEntry{ // neutral: it says nothing of the remedy
					ID: "l-" + string(id), Service: run.Service, Diagnosis: run.Code, Playbook: run.Playbook.ID, Kind: run.Kind, Run: id,
					Result: grace.ResultNeutral, State: run.Status, Auto: run.Auto, At: now,
				},
			},
			event.IncidentChanged{Incident: inc, What: event.IncidentOpened, Reason: inc.Detail, At: now},
		}
		if asked {
			withdrawn, err := d.withdraw(ctx, tx, run, now)
			if err != nil {
				return err
			}
			list = append(list, withdrawn...)
		}
		return d.Store.Append(ctx, tx, list...)
	})
	if err != nil {
		return fmt.Errorf("end the stranded run %s: %w", id, err)
	}
	return nil
}

func (d *decider) foreseenNoMore(ctx context.Context, h store.RunHead, turned []grace.ServiceID) (over bool, why string, err error) {
	if !slices.Contains(turned, h.Service) {
		return false, "", nil
	}
	signals, err := d.signalsNow(ctx, d.Store.Q(), h.Service)
	come := decide.Come(signals, h.Code)
	return err == nil && come.State != gate.EvidenceFresh, explain.Actual(decide.TrendTurned(h.Service).Reason()), err
}

// passed tells whether what began a run is over: its service has no condition any
// more, and something has shown that.
func (d *decider) passed(ctx context.Context, h store.RunHead) (over bool, why string, err error) {
	if d.conditions[h.Service] != nil {
		return false, "", nil
	}
	run, err := d.Store.Run(ctx, d.Store.Q(), h.ID)
	if err != nil {
		return false, "", err
	}
	return d.runs.condition(ctx, run).Clear, "what began it has passed", nil
}

// unfounded tells whether nothing is left of what a run rests on.
func (d *decider) unfounded(ctx context.Context, h store.RunHead) (over bool, why string, err error) {
	run, err := d.Store.Run(ctx, d.Store.Q(), h.ID)
	if err != nil {
		return false, "", err
	}
	signals, err := d.signalsNow(ctx, d.Store.Q(), h.Service)
	if err != nil {
		return false, "", err
	}
	left := slices.ContainsFunc(signals, func(s grace.Signal) bool { return slices.Contains(run.Condition, s.Key) })
	return !left, explain.Actual(decide.Evidence(run.Condition, nil).Reason()) + ": what is still wrong is decided anew", nil
}

func (d *decider) callOffRun(ctx context.Context, h store.RunHead, why string) error {
	return d.Store.Do(ctx, func(ctx context.Context, tx store.Tx) error {
		a, err := d.Store.Approval(ctx, tx, grace.ApprovalID(h.ID))
		if err != nil || a.State != grace.ApprovalPending {
			return err
		}
		now := d.Now()
		a = cancelled(a, why, now)
		m := grace.ControlMessage{Kind: grace.ControlReject, Actor: a.Actor, Reason: a.Reason, At: now}
		if err := d.Engine.Send(ctx, tx, h.ID, "call off/"+string(a.ID), m); err != nil {
			return err
		}
		return d.Store.Append(ctx, tx, event.ApprovalAnswered{Approval: a, At: now})
	})
}

// withdraw takes back the question to a person that a run has waited for which
// could not go on: its answer would start nothing.
func (d *decider) withdraw(ctx context.Context, tx store.Tx, run grace.Run, now time.Time) ([]event.Event, error) {
	a, err := d.Store.Approval(ctx, tx, grace.ApprovalID(run.ID))
	if errors.Is(err, store.ErrForged) {
		return nil, nil // nobody acts on it; the run must end all the same
	}
	if err != nil {
		return nil, fmt.Errorf("read the approval: %w", err)
	}
	if a.State != grace.ApprovalPending {
		return nil, nil
	}
	return []event.Event{event.ApprovalAnswered{Approval: cancelled(a, run.Error, now), At: now}}, nil
}

// cancelled gives a question that GRACE itself takes back.
func cancelled(a grace.Approval, why string, now time.Time) grace.Approval {
	a.State, a.Revision, a.DecidedAt = grace.ApprovalCancelled, a.Revision+1, &now
	a.Actor, a.Reason = grace.Self, why
	return a
}
