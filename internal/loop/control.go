package loop

import (
	"context"
	"fmt"
	"time"

	"grace"
	"grace/internal/heal"
	"grace/internal/store"
)

// DecidedError says that an approval is no longer open because somebody
// decided it, or the run went away.
type DecidedError struct{ Approval grace.Approval }

func (e *DecidedError) Error() string {
	return fmt.Sprintf("approval %s is already %s by %s", e.Approval.ID, e.Approval.State, e.Approval.Actor)
}

// ExpiredError says that nobody decided in time.
type ExpiredError struct{ Approval grace.Approval }

func (e *ExpiredError) Error() string {
	return fmt.Sprintf("approval %s expired at %s", e.Approval.ID, e.Approval.Expires.UTC().Format(time.RFC3339))
}

// EndedError says that a run has ended already.
type EndedError struct{ Run grace.Run }

func (e *EndedError) Error() string {
	return fmt.Sprintf("run %s has ended: %s", e.Run.ID, e.Run.State)
}

// DecideApproval records a person's answer and tells the run, in one
// transaction. revision 0 means any.
func (l *Loop) DecideApproval(ctx context.Context, id grace.ApprovalID, approve bool, reason, actor string, revision int) (grace.Approval, error) {
	var a grace.Approval
	err := l.Store.Do(ctx, func(ctx context.Context, tx store.Tx) error {
		now := l.Now()
		var err error
		if a, err = l.Store.Approval(ctx, tx, id); err != nil {
			return err
		}
		switch {
		case a.State == grace.ApprovalExpired, a.State == grace.ApprovalPending && !now.Before(a.Expires):
			return &ExpiredError{a}
		case a.State != grace.ApprovalPending:
			return &DecidedError{a}
		case revision != 0 && revision != a.Revision:
			return fmt.Errorf("approval %s is at revision %d, not %d: %w", id, a.Revision, revision, store.ErrConflict)
		}
		kind := grace.ControlReject
		a.State = grace.ApprovalDenied
		if approve {
			kind, a.State = grace.ControlApprove, grace.ApprovalApproved
		}
		a.Revision++
		a.Actor, a.Reason, a.DecidedAt = actor, reason, &now
		m := grace.ControlMessage{Kind: kind, Actor: actor, Reason: reason, At: now}
		if err := l.engine.Send(ctx, tx, a.Run, "approval/"+string(id), m); err != nil {
			return err
		}
		object := "approval/" + string(id)
		return l.Store.Apply(ctx, tx, grace.Change{
			Approvals: []grace.Approval{a},
			Audit:     []grace.AuditEntry{{At: now, Actor: actor, Action: "approval." + string(a.State), Object: object, Service: a.Service, Reason: reason}},
			Events:    []grace.Event{{Type: "self_heal.approval." + string(a.State), Source: "api", Actor: actor, Resource: object, Payload: heal.Encode(a), Timestamp: now}},
		})
	})
	return a, err
}

// Abort asks a run to stop and undo. It is recorded when this returns.
func (l *Loop) Abort(ctx context.Context, id grace.RunID, actor, reason string) error {
	err := l.Store.Do(ctx, func(ctx context.Context, tx store.Tx) error {
		now := l.Now()
		run, err := l.Store.Run(ctx, tx, id)
		if err != nil {
			return err
		}
		if run.State.Terminal() {
			return &EndedError{run}
		}
		m := grace.ControlMessage{Kind: grace.ControlAbort, Actor: actor, Reason: reason, At: now}
		if err := l.engine.Send(ctx, tx, id, "abort/"+string(id), m); err != nil {
			return err
		}
		object := "run/" + string(id)
		return l.Store.Apply(ctx, tx, grace.Change{
			Aborts: []grace.AbortRequest{{Run: id, Actor: actor, Reason: reason, At: now}},
			Audit:  []grace.AuditEntry{{At: now, Actor: actor, Action: "run.abort_requested", Object: object, Service: run.Service, Reason: reason}},
			Events: []grace.Event{{Type: eventAbort, Source: "api", Actor: actor, Resource: object, Payload: heal.Encode(map[string]any{"run": id, "reason": reason}), Timestamp: now}},
		})
	})
	if err == nil {
		l.Runner.Interrupt(id)
	}
	return err
}

// SetMode puts a mode in force. Running work goes on; Admit stops what has not
// started yet.
func (l *Loop) SetMode(ctx context.Context, set grace.ModeSetting, actor string) (grace.ModeSetting, error) {
	err := l.Store.Do(ctx, func(ctx context.Context, tx store.Tx) error {
		now := l.Now()
		old, err := l.Store.Mode(ctx, tx)
		if err != nil {
			return fmt.Errorf("read the mode: %w", err)
		}
		if set.Revision != 0 && set.Revision != old.Revision {
			return fmt.Errorf("the mode is at revision %d, not %d: %w", old.Revision, set.Revision, store.ErrConflict)
		}
		set.Actor, set.Since, set.Revision = actor, now, old.Revision+1
		if set.Expires != nil && set.Fallback == "" {
			set.Fallback = old.At(now)
		}
		return l.Store.Apply(ctx, tx, modeChange(set))
	})
	l.nudge()
	return set, err
}

func modeChange(set grace.ModeSetting) grace.Change {
	return grace.Change{
		Mode:   &set,
		Audit:  []grace.AuditEntry{{At: set.Since, Actor: set.Actor, Action: "mode." + string(set.Mode), Object: "mode", Reason: set.Reason, Detail: heal.Encode(set)}},
		Events: []grace.Event{{Type: "self_heal.mode", Source: "loop", Actor: set.Actor, Resource: "mode", Payload: heal.Encode(set), Timestamp: set.Since}},
	}
}

// ResolveIncident closes an incident.
func (l *Loop) ResolveIncident(ctx context.Context, id grace.IncidentID, actor, reason string) (grace.Incident, error) {
	var inc grace.Incident
	err := l.Store.Do(ctx, func(ctx context.Context, tx store.Tx) error {
		now := l.Now()
		var err error
		if inc, err = l.Store.Incident(ctx, tx, id); err != nil {
			return err
		}
		if inc.State == grace.IncidentResolved {
			return fmt.Errorf("incident %s is resolved already: %w", id, store.ErrConflict)
		}
		inc.State, inc.ResolvedAt = grace.IncidentResolved, &now
		object := "incident/" + string(id)
		return l.Store.Apply(ctx, tx, grace.Change{
			Incidents: []grace.Incident{inc},
			Audit:     []grace.AuditEntry{{At: now, Actor: actor, Action: "incident.resolved", Object: object, Service: inc.Service, Reason: reason}},
			Events:    []grace.Event{{Type: "incident.resolved", Source: "api", Actor: actor, Resource: object, Payload: heal.Encode(inc), Timestamp: now}},
		})
	})
	return inc, err
}
