package loop

import (
	"context"
	"fmt"
	"slices"
	"time"

	"grace"
	"grace/internal/heal"
	"grace/internal/propose"
	"grace/internal/store"
)

const stormPrefix = "storm-"

// storm opens one incident when the storm breaker opens, and resolves it when
// it closes: one for all replicas, and the same one after a restart.
func (l *Loop) storm(ctx context.Context, st *stages, state propose.State, now time.Time) error {
	reason, open := propose.New(st.Propose, st.graph, nil).Storm(state)
	if open {
		l.stormNow.Store(&reason)
	} else {
		l.stormNow.Store(nil)
	}
	if l.stormTold && open == l.stormOpen {
		return nil
	}
	err := l.Store.Do(ctx, func(ctx context.Context, tx store.Tx) error {
		if err := l.Store.LockDeciding(ctx, tx); err != nil {
			return err
		}
		inc, isOpen, err := l.stormIncident(ctx, tx)
		if err != nil || isOpen == open {
			return err
		}
		if open {
			return l.Store.Apply(ctx, tx, stormOpened(state.Sick, reason, now))
		}
		return l.Store.Apply(ctx, tx, stormClosed(inc, reason, now))
	})
	if err != nil {
		return fmt.Errorf("record the storm breaker: %w", err)
	}
	l.stormTold, l.stormOpen = true, open
	return nil
}

// stormIncident finds the open incident of a storm.
func (l *Loop) stormIncident(ctx context.Context, tx store.Tx) (inc grace.Incident, found bool, err error) {
	incidents, err := l.Store.OpenIncidents(ctx, tx)
	if err != nil {
		return inc, false, fmt.Errorf("read the open incidents: %w", err)
	}
	i := slices.IndexFunc(incidents, func(i grace.Incident) bool { return i.Kind == grace.IncidentStorm })
	if i < 0 {
		return inc, false, nil
	}
	return incidents[i], true, nil
}

func stormOpened(sick []grace.ServiceID, reason grace.Reason, now time.Time) grace.Change {
	inc := grace.Incident{
		ID: grace.IncidentID(stormPrefix + hash(now)), Kind: grace.IncidentStorm, Since: now, State: grace.IncidentOpen, Services: sick, Severity: grace.SeverityCritical,
		Title:  fmt.Sprintf("%d services are sick at once: nothing is done automatically", len(sick)),
		Detail: reason.String(), OpenedAt: now,
	}
	return stormChange(inc, "storm.opened", "incident.opened", reason.String(), now)
}

func stormClosed(inc grace.Incident, reason grace.Reason, now time.Time) grace.Change {
	inc.State, inc.ResolvedAt = grace.IncidentResolved, &now
	return stormChange(inc, "storm.closed", "incident.resolved", reason.Actual, now)
}

func stormChange(inc grace.Incident, action, event, reason string, now time.Time) grace.Change {
	object := "incident/" + string(inc.ID)
	return grace.Change{
		Incidents: []grace.Incident{inc},
		Audit:     []grace.AuditEntry{{At: now, Actor: "grace", Action: action, Object: object, Reason: reason}},
		Events: []grace.Event{
			{Type: event, Source: "loop", Actor: "grace", Resource: object, Payload: heal.Encode(inc), Timestamp: now},
			{Type: "self_heal." + action, Source: "loop", Actor: "grace", Resource: object, Payload: heal.Encode(inc), Timestamp: now},
		},
	}
}
