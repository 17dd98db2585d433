package notify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"grace"
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
		events, err := n.Store.Events(ctx, n.Store.Q(), n.scanned, []string{"self_heal.run.*", "self_heal.approval.*", "self_heal.storm.*", "incident.*"}, batch)
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

// track keeps the subjects that the events open and drops those they end.
func (n *Notifier) track(ctx context.Context, row store.Receiver, events []grace.Event) error {
	return n.Store.Do(ctx, func(ctx context.Context, tx store.Tx) error {
		for _, e := range events {
			subject, open, ends := subjectOf(e)
			var err error
			switch {
			case open:
				err = n.Store.PutSubject(ctx, tx, store.OpenSubject{Subject: subject, Event: e, At: e.Timestamp})
			case ends:
				err = n.Store.DropSubject(ctx, tx, subject)
			}
			if err != nil {
				return err
			}
		}
		return n.Store.SaveReceiver(ctx, tx, row)
	})
}

// subjectOf tells what an event opens or ends for a person.
func subjectOf(e grace.Event) (subject string, open, ends bool) {
	_, id, _ := strings.Cut(e.Resource, "/")
	switch kind := kinds()[e.Type]; {
	case e.Type == "incident.updated": // which is open since it was opened, or acknowledged
		return e.Resource, false, false
	case kind == Asked, kind == Unhealed, e.Type == "self_heal.storm.opened":
		return e.Resource, true, false
	case kind == Acknowledged, kind == Resolved && strings.HasPrefix(e.Type, "incident."), e.Type == "self_heal.storm.closed":
		return e.Resource, false, true
	case strings.HasPrefix(e.Type, "self_heal.approval."):
		return "run/" + id, false, true
	}
	state, isRun := strings.CutPrefix(e.Type, "self_heal.run.")
	s := grace.RunState(state)
	return e.Resource, false, isRun && (s.Mutating() || s.Terminal())
}

// due walks through the open subjects.
func (n *Notifier) due(ctx context.Context) error {
	set := n.current()
	if !slices.ContainsFunc(set.Routes, func(r Route) bool { return len(r.Escalate) > 0 || r.RepeatInterval > 0 }) {
		return nil
	}
	return n.eachSubject(ctx, func(s store.OpenSubject) error { return n.dueOf(ctx, set, s) })
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

func (n *Notifier) dueOf(ctx context.Context, set *setup, s store.OpenSubject) error {
	now := n.Now()
	m, err := n.message(ctx, s.Event)
	if err != nil || m == nil {
		return err
	}
	routes := set.router.matching(m)
	next := s
	if s.At.After(now) || s.Reminded.After(now) { // the clock was set back
		next.At, next.Reminded = earlier(s.At, now), earlier(s.Reminded, now)
		return n.tell(ctx, next, nil)
	}
	var events []grace.Event
	for _, rung := range rungs(routes) {
		if rung.After <= s.Escalated || now.Sub(s.At) < rung.After.D() {
			continue
		}
		next.Escalated = rung.After
		events = append(events, ladderEvent(eventLadder, s, rung.After, rung.Receivers, now))
	}
	var repeat []Name
	last := s.Reminded
	if last.IsZero() {
		last = s.At
	}
	for _, r := range routes {
		if every := r.RepeatInterval.D(); every > 0 && now.Sub(last) >= every {
			repeat = append(repeat, r.Receivers...)
		}
	}
	if len(repeat) > 0 {
		next.Reminded = now
		events = append(events, ladderEvent(eventReminder, s, grace.Duration(now.Sub(s.At)), repeat, now))
	}
	if len(events) == 0 {
		return nil
	}
	return n.tell(ctx, next, events)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// rungs joins the ladders of routes, lowest first.
func rungs(routes []route) []Rung {
	var out []Rung
	for _, r := range routes {
		out = append(out, r.Escalate...)
	}
	slices.SortStableFunc(out, func(a, b Rung) int {
		return int(a.After/grace.Duration(time.Millisecond)) - int(b.After/grace.Duration(time.Millisecond))
	})
	var joined []Rung
	for _, r := range out {
		if last := len(joined) - 1; last >= 0 && joined[last].After == r.After {
			joined[last].Receivers = append(slices.Clone(joined[last].Receivers), r.Receivers...)
			continue
		}
		joined = append(joined, r)
	}
	return joined
}

func ladderEvent(kind string, s store.OpenSubject, after grace.Duration, to []Name, now time.Time) grace.Event {
	p := ladderPayload{Event: s.Event, After: after}
	for _, name := range to {
		if !slices.Contains(p.Receivers, string(name)) {
			p.Receivers = append(p.Receivers, string(name))
		}
	}
	return grace.Event{Type: kind, Source: "notify", Actor: "grace", Resource: s.Subject, Payload: encode(p), Timestamp: now}
}

// tell writes the ladder's events, unless the subject is over by now: what is
// answered is read in the transaction that would call the next one.
func (n *Notifier) tell(ctx context.Context, s store.OpenSubject, events []grace.Event) error {
	err := n.Store.Do(ctx, func(ctx context.Context, tx store.Tx) error {
		open, err := n.stillOpen(ctx, tx, s.Subject)
		if err != nil {
			return err
		}
		if !open {
			return n.Store.DropSubject(ctx, tx, s.Subject)
		}
		if err := n.Store.PutSubject(ctx, tx, s); err != nil {
			return err
		}
		var c grace.Change
		for _, e := range events {
			c.Audit = append(c.Audit, grace.AuditEntry{
				At: e.Timestamp, Actor: "grace", Action: strings.TrimPrefix(e.Type, "self_heal."), Object: e.Resource,
				Reason: fmt.Sprintf("nobody has answered since %s", s.At.UTC().Format(time.RFC3339)), Detail: e.Payload,
			})
		}
		c.Events = events
		return n.Store.Apply(ctx, tx, c)
	})
	if err != nil {
		return fmt.Errorf("escalate %s: %w", s.Subject, err)
	}
	return nil
}

func (n *Notifier) stillOpen(ctx context.Context, tx store.Tx, subject string) (bool, error) {
	kind, id, _ := strings.Cut(subject, "/")
	if kind == "incident" {
		inc, err := n.Store.Incident(ctx, tx, grace.IncidentID(id))
		if errors.Is(err, store.ErrNotFound) {
			return false, nil
		}
		return inc.State == grace.IncidentOpen && inc.Acknowledged == nil, err
	}
	a, err := n.Store.Approval(ctx, tx, grace.ApprovalID(id))
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return a.State == grace.ApprovalPending, err
}
