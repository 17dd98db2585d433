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
func (l *Loop) settle(ctx context.Context, st *stages, pending []grace.Trigger, sc *decide.Scene) error {
	left := map[grace.ServiceID][]grace.Trigger{}
	taken := map[grace.ServiceID]bool{}
	for _, d := range sc.Diagnoses {
		taken[d.Cause] = true
		for _, v := range d.Victims {
			taken[v] = true
		}
	}
	for _, t := range pending {
		if !taken[t.Service] && sc.At.Sub(t.At) >= settleAfter {
			left[t.Service] = append(left[t.Service], t)
		}
	}
	for _, service := range slices.Sorted(maps.Keys(left)) {
		if err := l.settleOne(ctx, st, sc, service, left[service]); err != nil {
			return fmt.Errorf("settle %d triggers of %s: %w", len(left[service]), service, err)
		}
	}
	return nil
}

func (l *Loop) settleOne(ctx context.Context, st *stages, sc *decide.Scene, service grace.ServiceID, triggers []grace.Trigger) error {
	return l.deciding(ctx, func(ctx context.Context, tx store.Tx) error {
		p, err := l.present(ctx, tx, sc)
		if err != nil {
			return err
		}
		s, k, err := l.snapshot(ctx, tx, st, p, service)
		if err != nil {
			return err
		}
		s.Trigger = &triggers[0]
		for _, t := range triggers {
			s.Triggers = append(s.Triggers, t.ID)
		}
		dec, _ := st.rules.Decide(s, k)
		state := grace.TriggerDecided
		if dec.Reasons[0].Code == grace.ReasonCleared {
			state = grace.TriggerCleared
		}
		return l.record(ctx, tx, string(dec.ID), []content.Parts{k.Parts}, decisionEvent(s, dec, nil, st.ApprovalTTL), event.TriggersAnswered{Triggers: triggers, State: state, At: dec.At})
	})
}

// reconcile finds runs that are open in the store though the engine gave up on
// them, and ends them where a person sees it. It is the net under the engine:
// a run may not stay open for ever and hold its cone.
func (l *Loop) reconcile(ctx context.Context) error {
	open, err := l.Store.OpenRunHeads(ctx, l.Store.Q())
	if err != nil {
		return fmt.Errorf("read open runs: %w", err)
	}
	ids := make([]grace.RunID, len(open))
	for i, h := range open {
		ids[i] = h.ID
	}
	failed, err := l.Engine.Failed(ids)
	if err != nil {
		return err
	}
	for id, why := range failed {
		if err := l.strand(ctx, id, why); err != nil {
			return err
		}
	}
	return nil
}

func (l *Loop) strand(ctx context.Context, id grace.RunID, why string) error {
	now := l.Now()
	err := l.Store.Do(ctx, func(ctx context.Context, tx store.Tx) error {
		run, err := l.Store.Run(ctx, tx, id)
		if err != nil || run.Status.Terminal() {
			return err
		}
		asked := run.Status == grace.RunAwaitingApproval
		run.Status, run.Error, run.EndedAt = grace.RunEscalated, "the run could not go on: "+why, &now
		run.Incident = grace.IncidentID("i-" + string(id))
		run.Revision++
		inc := grace.Incident{
			ID: run.Incident, Kind: grace.IncidentRun, State: grace.IncidentOpen, Service: run.Service, Run: id, Severity: grace.SeverityCritical, Codes: []grace.Code{run.Code},
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
			withdrawn, err := l.withdraw(ctx, tx, run, now)
			if err != nil {
				return err
			}
			list = append(list, withdrawn...)
		}
		return l.Store.Append(ctx, tx, list...)
	})
	if err != nil {
		return fmt.Errorf("end the stranded run %s: %w", id, err)
	}
	return nil
}

func (l *Loop) foreseenNoMore(ctx context.Context, h store.RunHead, turned []grace.ServiceID) (over bool, why string, err error) {
	if !slices.Contains(turned, h.Service) {
		return false, "", nil
	}
	signals, err := l.signalsNow(ctx, l.Store.Q(), h.Service)
	come := decide.Come(signals, h.Code)
	return err == nil && come.State != gate.EvidenceFresh, explain.Actual(decide.TrendTurned(h.Service).Reason()), err
}

// passed tells whether what began a run is over: its service has no condition any
// more, and something has shown that.
func (l *Loop) passed(ctx context.Context, h store.RunHead) (over bool, why string, err error) {
	if l.conditions[h.Service] != nil {
		return false, "", nil
	}
	run, err := l.Store.Run(ctx, l.Store.Q(), h.ID)
	if err != nil {
		return false, "", err
	}
	return l.condition(ctx, run).Clear, "what began it has passed", nil
}

// unfounded tells whether nothing is left of what a run rests on.
func (l *Loop) unfounded(ctx context.Context, h store.RunHead) (over bool, why string, err error) {
	run, err := l.Store.Run(ctx, l.Store.Q(), h.ID)
	if err != nil {
		return false, "", err
	}
	signals, err := l.signalsNow(ctx, l.Store.Q(), h.Service)
	if err != nil {
		return false, "", err
	}
	left := slices.ContainsFunc(signals, func(s grace.Signal) bool { return slices.Contains(run.Condition, s.Key) })
	return !left, explain.Actual(decide.Evidence(run.Condition, nil).Reason()) + ": what is still wrong is decided anew", nil
}

func (l *Loop) callOffRun(ctx context.Context, h store.RunHead, why string) error {
	return l.Store.Do(ctx, func(ctx context.Context, tx store.Tx) error {
		a, err := l.Store.Approval(ctx, tx, grace.ApprovalID(h.ID))
		if err != nil || a.State != grace.ApprovalPending {
			return err
		}
		now := l.Now()
		a = cancelled(a, why, now)
		m := grace.ControlMessage{Kind: grace.ControlReject, Actor: a.Actor, Reason: a.Reason, At: now}
		if err := l.Engine.Send(ctx, tx, h.ID, "call off/"+string(a.ID), m); err != nil {
			return err
		}
		return l.Store.Append(ctx, tx, event.ApprovalAnswered{Approval: a, At: now})
	})
}

// withdraw takes back the question to a person that a run has waited for which
// could not go on: its answer would start nothing.
func (l *Loop) withdraw(ctx context.Context, tx store.Tx, run grace.Run, now time.Time) ([]event.Event, error) {
	a, err := l.Store.Approval(ctx, tx, grace.ApprovalID(run.ID))
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
