package loop

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"grace"
	"grace/internal/store"
)

// condition is what is wrong with a service, from the first sign until it has
// been clear for the hold-down.
type condition struct {
	since time.Time
	worst grace.Signal       // the one to be named
	clear time.Time          // since when nothing is wrong any more; zero while something is
	told  []grace.IncidentID // the open incidents that cover it, as last seen
	// stored are the signals that were known from before the start only. One that
	// is confirmed counts from when it began: else restarts would put off for ever
	// that somebody is told.
	stored    map[grace.SignalKey]bool
	confirmed bool      // something is
	renewed   time.Time // when its clock was started anew last
	kinds     []kindOf  // what it is called now, the first first
}

// kindOf is one of the faults that a service has.
type kindOf struct {
	fault string
	since time.Time
	text  string // what the worst signal of it says
	lasts bool   // for longer than people may be left in the dark
}

// faultOf names the fault that a signal is of: its code. Where that says no more than that
// somebody should look, each rule or alert is a fault of its own.
func faultOf(s grace.Signal) string {
	if s.Code == grace.CodeInvestigation {
		return string(s.Code) + ": " + s.Metric
	}
	return string(s.Code)
}

// call notes what the signals of a condition, the worst first, call it now.
func (c *condition) call(signals []grace.Signal, began map[grace.SignalKey]time.Time, begins bool, now time.Time) {
	var kinds []kindOf
	for _, s := range signals {
		fault := faultOf(s)
		if slices.ContainsFunc(kinds, func(k kindOf) bool { return k.fault == fault }) {
			continue
		}
		k := kindOf{fault: fault, since: now, text: s.Message}
		if i := slices.IndexFunc(c.kinds, func(was kindOf) bool { return was.fault == fault }); i >= 0 {
			k.since = c.kinds[i].since
		} else if begins {
			k.since = began[s.Key]
		}
		kinds = append(kinds, k)
	}
	slices.SortStableFunc(kinds, func(a, b kindOf) int { return a.since.Compare(b.since) })
	c.kinds = kinds
}

// lasting gives what a condition is called, and marks what has been so for long.
func (c *condition) lasting(patience time.Duration, now time.Time) []kindOf {
	out := slices.Clone(c.kinds)
	for i := range out {
		out[i].lasts = now.Sub(later(out[i].since, c.renewed)) >= patience
	}
	return out
}

// watchConditions keeps account of what is sick and for how long. What is only
// known from before a restart, or a change of the configuration, counts from
// then on where GRACE looks itself: it is confirmed or cleared within moments. An
// alert may be repeated hours later: it counts from when it began, see stored.
func (d *decider) watchConditions(st *stages, signals []grace.Signal, now time.Time) {
	d.doubtConditions(signals)
	sick := map[grace.ServiceID][]grace.Signal{}
	began := map[grace.SignalKey]time.Time{} // when GRACE saw it begin, before a start or not
	hushed := map[grace.SignalKey]time.Time{}
	for _, s := range signals {
		switch until, was := d.hushed[s.Key]; {
		case s.SilencedAtSource():
			hushed[s.Key] = now
		case was && s.State == grace.SignalFiring: // it counts from then, as when a silence of GRACE's own ends
			hushed[s.Key] = until
			s.Since = later(s.Since, until)
		}
		if !s.Sick() || s.Passing && !s.Flapping && !s.SeenFailing() {
			continue
		}
		began[s.Key] = s.Since
		if s.Unconfirmed && s.Configured {
			s.Since = later(s.Since, time.UnixMilli(d.epoch.Load()))
		}
		sick[s.Service] = append(sick[s.Service], s)
	}
	d.hushed = hushed
	for id, list := range sick {
		c := d.conditions[id]
		begins := c == nil
		if begins {
			c = &condition{since: now, stored: map[grace.SignalKey]bool{}}
			d.conditions[id] = c
		}
		slices.SortStableFunc(list, worstFirst)
		c.worst, c.clear = list[0], time.Time{}
		for _, s := range list {
			if begins || !s.Unconfirmed && c.stored[s.Key] {
				c.since = earlier(c.since, later(s.Since, c.renewed))
			}
			switch {
			case !s.Unconfirmed:
				c.confirmed = true
				delete(c.stored, s.Key)
			case begins:
				c.stored[s.Key] = true
			}
		}
		c.call(list, began, begins, now)
	}
	for id, c := range d.conditions {
		if len(sick[id]) > 0 {
			continue
		}
		if c.clear.IsZero() {
			c.clear = now
		}
		if now.Sub(c.clear) >= st.HoldDown {
			delete(d.conditions, id)
		}
	}
}

// worstFirst orders the signals of a condition as people are told of them: the graver
// first, and of those that are as grave what does not come and go.
func worstFirst(a, b grace.Signal) int {
	fickle := func(s grace.Signal) int {
		if s.Flapping || s.Passing || s.State == grace.SignalUnstable {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(b.Severity.Rank(), a.Severity.Rank()), cmp.Compare(fickle(a), fickle(b)))
}

// anew starts the clock of a condition anew.
func (c *condition) anew(now time.Time) {
	c.since, c.renewed = now, now
	clear(c.stored)
}

// holdSilenced starts the clock of silenced services anew: when the silence
// ends there is as much time to heal them as ever.
func (d *decider) holdSilenced(ctx context.Context, st *stages, now time.Time) error {
	if len(d.conditions) == 0 {
		return nil
	}
	silences, err := d.Store.Silences(ctx, d.Store.Q(), now)
	if err != nil {
		return fmt.Errorf("read the silences: %w", err)
	}
	for id, c := range d.conditions {
		if _, silenced := st.rules.SilencedBy(id, silences, now); silenced {
			c.anew(now)
		}
	}
	return nil
}

// escalateAfter is how long a condition of a service may last before a person is
// told.
func (st *stages) escalateAfter(id grace.ServiceID) time.Duration {
	if st.critical(id) {
		return st.EscalateCritical
	}
	return st.EscalateAfter
}

// critical tells whether a service is, or may be.
func (st *stages) critical(id grace.ServiceID) bool {
	s, _ := st.rules.Graph.Service(id)
	return s.Criticality == grace.CriticalityCritical || s.Criticality == grace.CriticalityUnknown
}

// noteTold starts the clock of a condition anew when a person resolved its
// incident although it lasts. That an incident resolved itself, as a storm that
// is over does, puts nothing off.
func (d *decider) noteTold(ctx context.Context, incidents []grace.Incident, now time.Time) error {
	for id, c := range d.conditions {
		var told []grace.IncidentID
		for _, i := range incidents {
			if i.Covers(id) && (isStorm(i) || about(&i, c.since)) {
				told = append(told, i.ID)
			}
		}
		gone := slices.DeleteFunc(slices.Clone(c.told), func(id grace.IncidentID) bool { return slices.Contains(told, id) })
		byHand, err := d.anyResolvedByHand(ctx, gone)
		switch {
		case err != nil:
			return err
		case byHand && len(told) == 0:
			c.anew(now)
		case byHand: // what else it is called has its time, too
			c.renewed = now
		}
		c.told = told
	}
	return nil
}

// anyResolvedByHand tells whether a person resolved one of the incidents.
func (d *decider) anyResolvedByHand(ctx context.Context, ids []grace.IncidentID) (bool, error) {
	for _, id := range ids {
		inc, err := d.Store.Incident(ctx, d.Store.Q(), id)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return false, fmt.Errorf("read incident %s: %w", id, err)
		}
		if inc.ResolvedBy != "" {
			return true, nil
		}
	}
	return false, nil
}
