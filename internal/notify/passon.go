package notify

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"grace"
	"grace/internal/event"
	"grace/internal/store"
)

// passOnAfter is how long a receiver may fail, or say that it is busy, before
// others are told what it was to be told, and how long that may wait behind what
// the receiver takes one after the other.
const passOnAfter = 30 * time.Second

// passOn has others told what needs a person while this receiver fails, and what
// has waited for long while it is behind.
func (w *worker) passOn(ctx context.Context, row *store.Receiver) error {
	fails := row.Retry != nil && w.failingFor(row, passOnAfter)
	if !fails && !w.behindFor(passOnAfter) {
		return nil
	}
	for {
		if err := w.claim(ctx); err != nil {
			return err
		}
		stored, err := w.n.Store.Receiver(ctx, w.n.Store.Q(), w.name)
		if err != nil {
			return err
		}
		row.PassedOn = max(row.PassedOn, stored.PassedOn) // by who served it meanwhile
		waiting, err := w.n.Store.Events(ctx, w.n.Store.Q(), max(row.PassedOn, row.Cursor, w.scanned), patterns(), batch)
		if err != nil {
			return err
		}
		due := waiting
		if i := slices.IndexFunc(waiting, w.young); i >= 0 && !fails {
			due = waiting[:i]
		}
		if err := w.passOnAll(ctx, row, due); err != nil || len(due) < batch {
			return err
		}
	}
}

// young tells whether an event has not waited for long. One that lies further ahead is
// of a clock that was set back.
func (w *worker) young(e grace.Event) bool { return w.n.Now().Sub(e.Timestamp).Abs() < passOnAfter }

// passOnAll has others told of those events that are messages for this receiver: of
// each subject once, for they are told how it stands by then, and what becomes of it.
func (w *worker) passOnAll(ctx context.Context, row *store.Receiver, events []grace.Event) error {
	if len(events) == 0 {
		return nil
	}
	told := map[string]event.NotifyStep{} // by subject: of two updates the newer one
	next, now := *row, w.n.Now()
	for _, e := range events {
		next.PassedOn = e.ID
		if w.ahead[e.ID].passed {
			continue
		}
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
		if others != nil {
			told[m.Subject] = *others
		}
	}
	err := w.record(ctx, next, func(ctx context.Context, tx store.Tx) error {
		for _, subject := range slices.Sorted(maps.Keys(told)) {
			if err := w.tellOthers(ctx, tx, told[subject]); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		*row = next
	}
	return err
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
		return w.n.tell(ctx, s.Subject, nil, []event.NotifyStep{ladderEvent(eventReminder, s, grace.Duration(now.Sub(s.At)), []Name{Name(w.name)}, now)})
	})
	if err != nil {
		return err
	}
	row.New = false
	return w.record(ctx, *row, nil)
}

// tellOthers passes a message on, and keeps to whom.
func (w *worker) tellOthers(ctx context.Context, tx store.Tx, step event.NotifyStep) error {
	before, err := w.n.Store.Ref(ctx, tx, w.name, step.Subject+passedSuffix)
	if err != nil {
		return err
	}
	others, _ := step.Payload.(ladderPayload)
	all := append(strings.Fields(before), others.Receivers...)
	slices.Sort(all)
	if err := w.n.Store.SetRef(ctx, tx, w.name, step.Subject+passedSuffix, strings.Join(slices.Compact(all), " "), step.At); err != nil {
		return err
	}
	return w.n.Store.Append(ctx, tx, step)
}

// forOthers is the event by which the receivers that do not get a message anyway are
// told it; nil when it needs no person, or all of them were told of its subject.
func (w *worker) forOthers(ctx context.Context, m *Message, e grace.Event, now time.Time) (*event.NotifyStep, error) {
	if !m.Kind.needsPerson() || m.over() || m.stale || e.Type == eventPassedOn || e.Type == eventReminder {
		return nil, nil //nolint:nilnil // absent is an answer
	}
	told := ""
	if m.open() && !own(e) { // who was told gets what follows without this
		var err error
		if told, err = w.n.Store.Ref(ctx, w.n.Store.Q(), w.name, m.Subject+passedSuffix); err != nil {
			return nil, err
		}
	}
	var others []string
	for _, name := range w.set.router.receivers {
		gets, err := w.gets(ctx, m, name)
		if err != nil {
			return nil, err
		}
		if !gets && !slices.Contains(strings.Fields(told), name) {
			others = append(others, name)
		}
	}
	if len(others) == 0 {
		return nil, nil //nolint:nilnil // likewise
	}
	if p, ok := ladderOf(e); ok {
		e = p.Event
	}
	p := ladderPayload{Event: e, Receivers: others, Failed: w.name}
	return &event.NotifyStep{Type: eventPassedOn, Subject: m.Subject, Payload: p, At: now}, nil
}
