package loop

import (
	"context"
	"fmt"
	"slices"
	"time"

	"grace"
	"grace/internal/content"
	"grace/internal/decide"
	"grace/internal/event"
	"grace/internal/explain"
	"grace/internal/store"
)

const stormPrefix = "storm-"

// storm opens one incident when the storm breaker opens, and resolves it when
// it closes: one for all replicas, and the same one after a restart. That what was
// sick is not seen any more does not close it.
func (d *decider) storm(ctx context.Context, st *stages, sc *decide.Scene) error {
	sick := sc.Sick
	reason, open := st.rules.Storm(sick)
	if !open && (d.stormOpen || !d.stormTold) {
		inc, isOpen, err := d.stormIncident(ctx, d.Store.Q())
		if err != nil {
			return err
		}
		unseen := slices.DeleteFunc(unseenSick(inc, sc.Signals), func(id grace.ServiceID) bool { return slices.Contains(sick, id) })
		sick = slices.Concat(sick, unseen)
		if r, lasts := st.rules.Storm(sick); isOpen && lasts {
			reason, open, sc.Unseen = r, true, unseen // for the decisions, too
		}
	}
	if open {
		d.stormNow.Store(&reason)
	} else {
		d.stormNow.Store(nil)
	}
	if d.stormTold && open == d.stormOpen {
		return nil
	}
	err := d.deciding(ctx, func(ctx context.Context, tx store.Tx) error {
		inc, isOpen, err := d.stormIncident(ctx, tx)
		if err != nil || isOpen == open {
			return err
		}
		if open {
			return d.Store.Append(ctx, tx, stormOpened(sick, reason, sc.At))
		}
		return d.Store.Append(ctx, tx, stormClosed(inc, reason, sc.At))
	})
	if err != nil {
		return fmt.Errorf("record the storm breaker: %w", err)
	}
	d.stormTold, d.stormOpen = true, open
	return nil
}

// stormIncident finds the open incident of a storm.
func (d *decider) stormIncident(ctx context.Context, tx store.Querier) (inc grace.Incident, found bool, err error) {
	incidents, err := d.Store.OpenIncidents(ctx, tx)
	if err != nil {
		return inc, false, fmt.Errorf("read the open incidents: %w", err)
	}
	i := slices.IndexFunc(incidents, isStorm)
	if i < 0 {
		return inc, false, nil
	}
	return incidents[i], true, nil
}

// unseenSick gives the services of a storm that were sick when they were seen last:
// there is no data of them any more, or none yet since the start.
func unseenSick(storm grace.Incident, signals []grace.Signal) (out []grace.ServiceID) {
	for i := range signals {
		if s := signals[i]; (wasSick(s) || s.Unconfirmed && s.Sick()) && s.Severity.Serious() && storm.Covers(s.Service) && !slices.Contains(out, s.Service) {
			out = append(out, s.Service)
		}
	}
	return out
}

func stormOpened(sick []grace.ServiceID, reason grace.Reason, now time.Time) event.IncidentChanged {
	inc := grace.Incident{
		ID: grace.IncidentID(stormPrefix + content.ID(now)), Kind: grace.IncidentStorm, Since: now, State: grace.IncidentOpen, Services: sick, Severity: grace.SeverityCritical,
		Title:  fmt.Sprintf("%d services are sick at once: nothing is done automatically", len(sick)),
		Detail: explain.Line(reason), OpenedAt: now,
	}
	return stormChange(inc, "storm.opened", event.IncidentOpened, explain.Line(reason), now)
}

func stormClosed(inc grace.Incident, reason grace.Reason, now time.Time) event.IncidentChanged {
	inc.State, inc.ResolvedAt = grace.IncidentResolved, &now
	return stormChange(inc, "storm.closed", event.IncidentResolved, explain.Actual(reason), now)
}

// gather is for how long services that become sick in a storm are gathered: it
// grows by many in seconds.
const gather = 10 * time.Second

// widenStorm adds to the incident of a storm what has become sick since it was
// told, and lasts: whoever looks after that has heard nothing of it.
func (d *decider) widenStorm(ctx context.Context, st *stages, incidents []grace.Incident, due []lasting, now time.Time) error {
	i := slices.IndexFunc(incidents, isStorm)
	told := later(incidents[i].OpenedAt, d.stormGrew)
	if len(untold(incidents, due)) == 0 || now.Sub(told).Abs() < gather {
		return nil
	}
	err := d.deciding(ctx, func(ctx context.Context, tx store.Tx) error {
		incidents, err := d.Store.OpenIncidents(ctx, tx)
		if err != nil {
			return fmt.Errorf("read the open incidents: %w", err)
		}
		i := slices.IndexFunc(incidents, isStorm)
		if i < 0 {
			return nil
		}
		due, err := d.helpless(ctx, tx, st, due, now)
		if err != nil {
			return err
		}
		more := untold(incidents, due)
		if len(more) == 0 { // another replica was faster
			return nil
		}
		why := incidents[i].Detail
		if reason := d.stormNow.Load(); reason != nil {
			why = explain.Line(*reason)
		}
		return d.Store.Append(ctx, tx, stormWidened(incidents[i], more, why, now))
	})
	if err != nil {
		return fmt.Errorf("tell what became sick in a storm: %w", err)
	}
	d.stormGrew = now
	return nil
}

func isStorm(i grace.Incident) bool { return i.Kind == grace.IncidentStorm }

// helpless leaves out what is silenced, and what a run acts on that had begun
// before the storm.
func (d *decider) helpless(ctx context.Context, tx store.Tx, st *stages, due []lasting, now time.Time) (out []lasting, err error) {
	open, err := d.Store.OpenRunHeads(ctx, tx)
	if err != nil {
		return nil, fmt.Errorf("read open runs: %w", err)
	}
	silences, err := d.Store.Silences(ctx, tx, now)
	if err != nil {
		return nil, fmt.Errorf("read the silences: %w", err)
	}
	for _, c := range due {
		if slices.ContainsFunc(open, func(h store.RunHead) bool {
			return h.Service == c.service && h.State.Acting() && h.Code != grace.CodeManual
		}) {
			continue
		}
		c, _ := c.unsilenced(st, silences, now)
		if c.service != "" {
			out = append(out, c)
		}
	}
	return out, nil
}

// untold gives the services of conditions that no open incident names.
func untold(incidents []grace.Incident, due []lasting) (more []grace.ServiceID) {
	for _, c := range due {
		for _, id := range append([]grace.ServiceID{c.service}, c.victims...) {
			named := func(i grace.Incident) bool { return (isStorm(i) || about(&i, c.since)) && i.Covers(id) }
			if !slices.ContainsFunc(incidents, named) && !slices.Contains(more, id) {
				more = append(more, id)
			}
		}
	}
	return more
}

func stormWidened(inc grace.Incident, more []grace.ServiceID, why string, now time.Time) event.IncidentChanged {
	inc.News = "sick too: " + explain.Some(more, 20)
	inc = covering(inc, more)
	inc.Title = fmt.Sprintf("%d more services are sick while the circuit breaker is open: nothing is done automatically", len(more))
	if len(more) == 1 {
		inc.Title = string(more[0]) + " is sick too while the circuit breaker is open: nothing is done automatically"
	}
	inc.Detail = inc.News + "; " + why
	return stormChange(inc, "storm.widened", event.IncidentUpdated, inc.News, now)
}

func stormChange(inc grace.Incident, cause, what, reason string, now time.Time) event.IncidentChanged {
	return event.IncidentChanged{Incident: inc, What: what, Cause: cause, Reason: reason, At: now}
}
