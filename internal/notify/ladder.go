package notify

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"grace"
	"grace/internal/event"
	"grace/internal/store"
)

// ladderName is the ladder's row among the receivers; no receiver can have it.
const ladderName = "#ladder"

// climb keeps what nobody has answered, and tells the next rung in time. One
// replica does it.
func (n *Notifier) climb(ctx context.Context) {
	tick := time.NewTicker(idle)
	defer tick.Stop()
	for away := false; ; {
		err := n.ladder(ctx)
		if err != nil && !away && ctx.Err() == nil {
			n.Log.WarnContext(ctx, "escalation waits: the store does not answer", "error", err)
		}
		away = err != nil
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// ladder takes in what happened and does what is due.
func (n *Notifier) ladder(ctx context.Context) error {
	if mine, err := n.Store.Claim(ctx, "notify/"+ladderName, n.Owner, claimFor); err != nil || !mine {
		return err
	}
	for {
		row, err := n.Store.Receiver(ctx, n.Store.Q(), ladderName)
		if err != nil {
			return err
		}
		last, err := n.Store.LastEventID(ctx, n.Store.Q())
		if err != nil {
			return err
		}
		n.scanned = max(n.scanned, row.Cursor)
		events, err := n.Store.Events(ctx, n.Store.Q(), n.scanned, []string{"self_heal.run.*", "self_heal.approval.*", "self_heal.storm.*", "incident.*", eventHeld}, batch)
		if err != nil {
			return err
		}
		if len(events) == batch {
			last = events[batch-1].ID
		}
		if len(events) > 0 || last-row.Cursor >= scannedLag {
			row.Cursor = last
			if err := n.track(ctx, row, events); err != nil {
				return err
			}
		}
		if n.scanned = last; len(events) < batch {
			return n.due(ctx)
		}
	}
}

// track keeps the subjects that the events open, starts the clocks of the routes
// that match them, and drops the subjects that they end.
func (n *Notifier) track(ctx context.Context, row store.Receiver, events []grace.Event) error {
	silences, err := n.silences(ctx)
	if err != nil {
		return err
	}
	messages := make([]*Message, len(events))
	for i, e := range events {
		if _, _, ends := subjectOf(e); ends {
			continue
		}
		if messages[i], err = n.message(ctx, e, false); err != nil {
			return err
		}
	}
	return n.Store.Do(ctx, func(ctx context.Context, tx store.Tx) error {
		for i, e := range events {
			if err := n.follow(ctx, tx, e, messages[i], silences); err != nil {
				return err
			}
		}
		return n.Store.SaveReceiver(ctx, tx, row)
	})
}

// follow takes in what an event says of its subject; m is what people are told
// of it, nil for nothing.
func (n *Notifier) follow(ctx context.Context, tx store.Tx, e grace.Event, m *Message, silences []grace.Silence) error {
	subject, opens, ends := subjectOf(e)
	switch {
	case ends:
		return n.Store.DropSubject(ctx, tx, subject)
	case m == nil:
		return nil
	}
	s, err := n.Store.Subject(ctx, tx, subject)
	unknown := errors.Is(err, store.ErrNotFound)
	if err != nil && !unknown {
		return err
	}
	held, isHeld := ladderOf(e)
	_, first, _ := subjectOf(held.Event)
	switch {
	case opens:
		s = store.OpenSubject{Subject: subject, Event: e, At: e.Timestamp}
	case unknown && isHeld && !first: // an update of what somebody looks after
		s = store.OpenSubject{Subject: subject, Event: held.Event, At: held.Event.Timestamp}
	case unknown:
		return nil
	}
	set := n.current()
	if isHeld {
		s.Held = true
		return n.Store.PutSubject(ctx, tx, s)
	}
	if s.Held && !set.holds(m, silences) { // what happened tells of it
		s.Held, s.Clocks = false, anew(s.Clocks, e.Timestamp)
	}
	set.router.start(&s, m, e.Timestamp)
	return n.Store.PutSubject(ctx, tx, s)
}

// start begins the clock of each route that matches for the first time.
func (r *Router) start(s *store.OpenSubject, m *Message, at time.Time) {
	clocks := maps.Clone(s.Clocks)
	for _, one := range r.matching(m) {
		if _, runs := clocks[one.key]; !runs {
			if clocks == nil {
				clocks = map[string]store.Clock{}
			}
			clocks[one.key] = store.Clock{Since: at}
		}
	}
	s.Clocks = clocks
}

// subjectOf tells what an event opens or ends for a person.
func subjectOf(e grace.Event) (subject string, open, ends bool) {
	_, id, _ := strings.Cut(e.Resource, "/")
	switch kind := kinds()[e.Type]; {
	case e.Type == event.IncidentUpdated: // which is open since it was opened, or acknowledged
		return e.Resource, false, false
	case kind == Asked, kind == Unhealed, e.Type == "self_heal.storm.opened":
		return e.Resource, true, false
	case kind == Acknowledged, kind == Resolved && strings.HasPrefix(e.Type, "incident."), e.Type == "self_heal.storm.closed":
		return e.Resource, false, true
	case strings.HasPrefix(e.Type, "self_heal.approval."):
		return "run/" + id, false, true
	}
	state, isRun := strings.CutPrefix(e.Type, "self_heal.run.")
	s := grace.RunStatus(state)
	return e.Resource, false, isRun && (s.Mutating() || s.Terminal())
}

// due walks through the open subjects.
func (n *Notifier) due(ctx context.Context) error {
	set := n.current()
	silences, err := n.silences(ctx)
	if err != nil {
		return err
	}
	idle := len(silences) == 0 && !slices.ContainsFunc(set.Routes, func(r Route) bool { return len(r.Escalate) > 0 || r.RepeatInterval > 0 })
	return n.eachSubject(ctx, func(s store.OpenSubject) error {
		if idle && !s.Held {
			return nil
		}
		return n.dueOf(ctx, set, s, silences)
	})
}

// eachSubject does something with every open subject. An error about one keeps
// nothing from the others.
func (n *Notifier) eachSubject(ctx context.Context, do func(store.OpenSubject) error) error {
	var bad error
	for after := ""; ; {
		subjects, err := n.Store.OpenSubjects(ctx, n.Store.Q(), after, batch)
		if err != nil {
			return err
		}
		for _, s := range subjects {
			if err := do(s); err != nil {
				bad = errors.Join(bad, fmt.Errorf("%s: %w", s.Subject, err))
			}
			after = s.Subject
		}
		if len(subjects) < batch {
			return bad
		}
	}
}

// dueOf tells of one subject what is due. All clocks stand still while it is
// silenced, and begin anew after that.
func (n *Notifier) dueOf(ctx context.Context, set *setup, s store.OpenSubject, silences []grace.Silence) error {
	now := n.Now()
	m, err := n.about(ctx, s.Event, true)
	if err != nil || m == nil {
		return err
	}
	next := s
	next.At = earlier(s.At, now) // the clock was set back
	if next.Held = set.holds(m, silences); next.Held {
		if s.Held {
			return nil
		}
		return n.tell(ctx, s.Subject, &next, nil)
	}
	if s.Held {
		next.Clocks = anew(s.Clocks, now)
		return n.tell(ctx, s.Subject, &next, []event.NotifyStep{ladderEvent(eventUnsilenced, next, 0, nil, now)})
	}
	set.router.start(&next, m, now) // the routes have changed
	events := set.router.advance(&next, now)
	if len(events) == 0 && next.At.Equal(s.At) && maps.Equal(next.Clocks, s.Clocks) {
		return nil
	}
	return n.tell(ctx, s.Subject, &next, events)
}

// anew gives clocks that begin at a time.
func anew(clocks map[string]store.Clock, at time.Time) map[string]store.Clock {
	out := map[string]store.Clock{}
	for key := range clocks {
		out[key] = store.Clock{Since: at}
	}
	return out
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// advance moves the clocks of a subject, and gives the events of the rungs and
// reminders that are due.
func (r *Router) advance(s *store.OpenSubject, now time.Time) []event.NotifyStep {
	rungs := map[grace.Duration][]Name{}
	var again []Name
	for _, one := range r.routes {
		c, runs := s.Clocks[one.key]
		if !runs {
			continue
		}
		c.Since, c.Reminded = earlier(c.Since, now), earlier(c.Reminded, now)
		top := c.Escalated
		for _, rung := range one.Escalate {
			if rung.After > c.Escalated && now.Sub(c.Since) >= rung.After.D() {
				rungs[rung.After] = append(rungs[rung.After], rung.Receivers...)
				top = max(top, rung.After)
			}
		}
		c.Escalated = top
		last := c.Reminded
		if last.IsZero() {
			last = c.Since
		}
		if every := one.RepeatInterval.D(); every > 0 && now.Sub(last) >= every {
			again = append(again, one.Receivers...)
			c.Reminded = now
		}
		s.Clocks[one.key] = c
	}
	var events []event.NotifyStep
	for _, after := range slices.Sorted(maps.Keys(rungs)) {
		events = append(events, ladderEvent(eventLadder, *s, after, rungs[after], now))
	}
	if len(again) > 0 {
		events = append(events, ladderEvent(eventReminder, *s, grace.Duration(now.Sub(s.At)), again, now))
	}
	return events
}

func ladderEvent(kind string, s store.OpenSubject, after grace.Duration, to []Name, now time.Time) event.NotifyStep {
	p := ladderPayload{Event: s.Event, After: after}
	for _, name := range to {
		if !slices.Contains(p.Receivers, string(name)) {
			p.Receivers = append(p.Receivers, string(name))
		}
	}
	why := "nobody has answered since " + s.Event.Timestamp.UTC().Format(time.RFC3339)
	if kind == eventUnsilenced {
		why = "it is not silenced any more, and still open"
	}
	return event.NotifyStep{Type: kind, Subject: s.Subject, Payload: p, Reason: why, At: now}
}

// tell writes the ladder's events and, unless it is nil, how the subject stands,
// but not of what is over by now: what is answered is read in the transaction that
// would call the next one. Who looks after an incident hears only what was held.
func (n *Notifier) tell(ctx context.Context, subject string, next *store.OpenSubject, steps []event.NotifyStep) error {
	err := n.Store.Do(ctx, func(ctx context.Context, tx store.Tx) error {
		open, lookedAfter, err := n.stillOpen(ctx, tx, subject)
		if err != nil {
			return err
		}
		var told []event.Event
		for _, e := range steps {
			if open && (!lookedAfter || e.Type == eventUnsilenced) {
				told = append(told, e)
			}
		}
		switch {
		case !open || lookedAfter:
			err = n.Store.DropSubject(ctx, tx, subject)
		case next != nil:
			err = n.Store.PutSubject(ctx, tx, *next)
		}
		if err != nil {
			return err
		}
		return n.Store.Append(ctx, tx, told...)
	})
	if err != nil {
		return fmt.Errorf("escalate %s: %w", subject, err)
	}
	return nil
}

// stillOpen tells whether a question waits or an incident is open, and whether
// somebody looks after that.
func (n *Notifier) stillOpen(ctx context.Context, tx store.Tx, subject string) (open, lookedAfter bool, err error) {
	kind, id, _ := strings.Cut(subject, "/")
	if kind == "incident" {
		inc, err := n.Store.Incident(ctx, tx, grace.IncidentID(id))
		if errors.Is(err, store.ErrNotFound) {
			return false, false, nil
		}
		return inc.State == grace.IncidentOpen, inc.Acknowledged != nil, err
	}
	a, err := n.Store.Approval(ctx, tx, grace.ApprovalID(id))
	if errors.Is(err, store.ErrNotFound) {
		return false, false, nil
	}
	return a.State == grace.ApprovalPending, false, err
}
