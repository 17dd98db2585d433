package notify

import (
	"context"
	"time"

	"grace"
	"grace/internal/store"
)

// passOnAfter is how long a receiver may fail, or say that it is busy, before
// others are told what it was to be told.
const passOnAfter = 30 * time.Second

// passOn has others told what needs a person while this receiver fails.
func (w *worker) passOn(ctx context.Context, row *store.Receiver) error {
	now := w.n.Now()
	if row.Retry == nil || !w.failingFor(row, passOnAfter) {
		return nil
	}
	waiting, err := w.n.Store.Events(ctx, w.n.Store.Q(), max(row.PassedOn, row.Cursor), patterns(), batch)
	if err != nil || len(waiting) == 0 {
		return err
	}
	var c grace.Change
	for _, e := range waiting {
		row.PassedOn = e.ID
		m, err := w.mine(ctx, e)
		if err != nil {
			return err
		}
		if m == nil || m.held {
			continue
		}
		others, err := w.forOthers(ctx, m, e, now)
		if err != nil {
			return err
		}
		c.Events = append(c.Events, others...)
	}
	return w.record(ctx, *row, func(ctx context.Context, tx store.Tx) error { return w.n.Store.Apply(ctx, tx, c) })
}

// tellOpen has a new receiver told what is open: it may be an old one by another
// name, or the only one.
func (w *worker) tellOpen(ctx context.Context, row *store.Receiver) error {
	err := w.n.eachSubject(ctx, func(s store.OpenSubject) error {
		if s.Event.ID > row.Cursor {
			return nil // that is still to come
		}
		m, err := w.n.about(ctx, s.Event, true)
		if err != nil || m == nil {
			return err
		}
		if gets, err := w.gets(ctx, m, w.name); err != nil || !gets {
			return err
		}
		now := w.n.Now()
		return w.n.tell(ctx, s.Subject, nil, []grace.Event{ladderEvent(eventReminder, s, grace.Duration(now.Sub(s.At)), []Name{Name(w.name)}, now)})
	})
	if err != nil {
		return err
	}
	row.New = false
	return w.record(ctx, *row, nil)
}

// forOthers is the event by which the receivers that do not get a message
// anyway are told it; none when it needs no person, or was passed on before.
func (w *worker) forOthers(ctx context.Context, m *Message, e grace.Event, now time.Time) ([]grace.Event, error) {
	if !m.Kind.needsPerson() || m.over() || m.stale || e.Type == eventPassedOn || e.Type == eventReminder {
		return nil, nil
	}
	var others []string
	for _, name := range w.set.router.receivers {
		if gets, err := w.gets(ctx, m, name); err != nil {
			return nil, err
		} else if !gets {
			others = append(others, name)
		}
	}
	if len(others) == 0 {
		return nil, nil
	}
	if p, ok := ladderOf(e); ok {
		e = p.Event
	}
	return []grace.Event{{
		Type: eventPassedOn, Source: "notify", Actor: grace.Self, Resource: m.Subject, Timestamp: now,
		Payload: encode(ladderPayload{Event: e, Receivers: others, Failed: w.name}),
	}}, nil
}
