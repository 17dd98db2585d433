package notify

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"grace"
	"grace/internal/event"
	"grace/internal/store"
)

// asksAttention tells whether such messages are held back from who silenced all
// that they are about.
func (k Kind) asksAttention() bool { return k.needsPerson() || k == Ineffective || k == Undone }

// silences reads those that are in force.
func (n *Notifier) silences(ctx context.Context) ([]grace.Silence, error) {
	now := n.Now()
	list, err := n.Store.Silences(ctx, n.Store.Q(), now)
	if err != nil {
		return nil, fmt.Errorf("look at the silences: %w", err)
	}
	return slices.DeleteFunc(list, func(s grace.Silence) bool { return !s.Active(now) }), nil
}

// holds tells whether a message asks for attention to services that are all
// silenced. An end is told whatever is silenced.
func (set *setup) holds(m *Message, silences []grace.Silence) bool {
	if !m.Kind.asksAttention() || m.over() || len(m.Services) == 0 {
		return false
	}
	sick := slices.DeleteFunc(slices.Clone(m.Services), func(id grace.ServiceID) bool { return slices.Contains(m.recovered, id) })
	if len(sick) == 0 {
		sick = m.Services // a person has not looked at it yet
	}
	return !slices.ContainsFunc(sick, func(id grace.ServiceID) bool {
		service, known := set.services[id]
		if !known {
			service.ID = id
		}
		return !slices.ContainsFunc(silences, func(s grace.Silence) bool { return s.Matches(service) })
	})
}

// hold passes a message over whose services are silenced. The ladder hears of it
// by an event, and tells what is open still when the silence ends: whether a
// silence was seen here must not depend on whether another replica saw it, too.
func (w *worker) hold(ctx context.Context, row *store.Receiver, e grace.Event, m *Message) error {
	if err := w.claim(ctx); err != nil {
		return err
	}
	now := w.n.Now()
	dealtWith(row, e)
	w.n.Log.InfoContext(ctx, "notification held back: what it is about is silenced", "receiver", w.name, "kind", m.Kind, "title", m.Title,
		"event", strconv.FormatInt(e.ID, 10))
	return w.record(ctx, *row, func(ctx context.Context, tx store.Tx) error {
		if !m.open() {
			return nil // nothing of it is left to be told later
		}
		if p, ok := ladderOf(e); ok {
			e = p.Event
		}
		return w.n.Store.Append(ctx, tx, event.NotifyStep{Type: eventHeld, Subject: m.Subject, Payload: ladderPayload{Event: e, Receivers: []string{w.name}}, At: now})
	})
}
