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

// widenStorm adds to the incident of a storm what has become sick since it was
// told, and lasts: whoever looks after that has heard nothing of it. A storm
// grows by many services in seconds, so they are gathered for a while.
func (l *Loop) widenStorm(ctx context.Context, st *stages, storm grace.Incident, due []lasting, now time.Time) error {
	if len(notIn(&storm, due)) == 0 {
		l.stormGrows = time.Time{}
		return nil
	}
	if l.stormGrows.IsZero() || l.stormGrows.After(now) {
		l.stormGrows = now
	}
	if now.Sub(l.stormGrows) < st.EscalateCritical/gatherShare {
		return nil
	}
	err := l.Store.Do(ctx, func(ctx context.Context, tx store.Tx) error {
		if err := l.Store.LockDeciding(ctx, tx); err != nil {
			return err
		}
		inc, isOpen, err := l.stormIncident(ctx, tx)
		if err != nil || !isOpen {
			return err
		}
		open, err := l.Store.OpenRunHeads(ctx, tx)
		if err != nil {
			return fmt.Errorf("read open runs: %w", err)
		}
		acting := func(c lasting) bool { // a run that had begun before the storm
			return slices.ContainsFunc(open, func(h store.RunHead) bool {
				return h.Service == c.service && h.State != grace.RunApproved && h.State.Mutating()
			})
		}
		more := notIn(&inc, slices.DeleteFunc(slices.Clone(due), acting))
		if len(more) == 0 { // another replica was faster
			return nil
		}
		why := inc.Detail
		if reason := l.stormNow.Load(); reason != nil {
			why = reason.String()
		}
		return l.Store.Apply(ctx, tx, stormWidened(inc, more, why, now))
	})
	if err != nil {
		return fmt.Errorf("tell of %d more services in a storm: %w", len(due), err)
	}
	l.stormGrows = time.Time{}
	return nil
}

// gatherShare of the patience with critical services is how long services that
// become sick in a storm are gathered.
const gatherShare = 5

// notIn gives the services of conditions that an incident does not name.
func notIn(inc *grace.Incident, due []lasting) (more []grace.ServiceID) {
	for _, c := range due {
		for _, id := range append([]grace.ServiceID{c.service}, c.victims...) {
			if !inc.Covers(id) && !slices.Contains(more, id) {
				more = append(more, id)
			}
		}
	}
	return more
}

func stormWidened(inc grace.Incident, more []grace.ServiceID, why string, now time.Time) grace.Change {
	const named = 20
	text := join(more[:min(len(more), named)])
	if len(more) > named {
		text += fmt.Sprintf(" and %d more", len(more)-named)
	}
	inc.News = "sick too, since the circuit breaker opened: " + text
	inc.Services = slices.Concat(inc.Services, more)
	inc.Title = fmt.Sprintf("%d more services are sick while the circuit breaker is open: nothing is done automatically", len(more))
	if len(more) == 1 {
		inc.Title = string(more[0]) + " is sick too while the circuit breaker is open: nothing is done automatically"
	}
	inc.Detail = inc.News + "; " + why
	return stormChange(inc, "storm.widened", "incident.updated", inc.News, now)
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
