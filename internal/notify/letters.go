package notify

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"grace"
	"grace/internal/event"
	"grace/internal/store"
)

// dead gives a message up.
func (w *worker) dead(ctx context.Context, row *store.Receiver, e grace.Event, m *Message, why error) error {
	now := w.n.Now()
	d := store.DeadLetter{
		ID: store.DeadLetterID(w.name, e.ID), Receiver: w.name, Event: e, Title: m.Title,
		Error: clean(why.Error(), maxText), Attempts: max(row.Attempts, 1), At: now,
	}
	dealtWith(row, e)
	if e.ID <= row.PassedOn {
		return w.bury(ctx, row, d, m, nil)
	}
	others, err := w.forOthers(ctx, m, e, now)
	if err != nil {
		return err
	}
	return w.bury(ctx, row, d, m, others)
}

// bury keeps a dead letter, and tells others of it.
func (w *worker) bury(ctx context.Context, row *store.Receiver, d store.DeadLetter, m *Message, others *event.NotifyStep) error {
	row.Dead++
	row.Error = d.Error
	w.n.Log.ErrorContext(ctx, "notification refused; it is a dead letter", "receiver", w.name, "title", m.Title, "error", d.Error,
		"hint", "mend the receiver, then: grace notify retry "+d.ID)
	return w.record(ctx, *row, func(ctx context.Context, tx store.Tx) error {
		if err := w.setRefs(ctx, tx, d.Event, m, Thread{}); err != nil { // it can be sent again, and then has an end
			return err
		}
		if others != nil {
			if err := w.tellOthers(ctx, tx, *others); err != nil {
				return err
			}
		}
		return w.n.Store.Append(ctx, tx, event.LetterChanged{Letter: d, At: d.At})
	})
}

// greylisted attempts are made to reach those who did not get a message that others
// of the receiver got, before it is given up: minutes, after which a server that
// greylists takes it. That others get the next message is no sign that it will not.
const greylisted = 12

// keepLeft keeps a message as a dead letter for those who did not get it, though
// others of the receiver did. It is sent to them again by itself unless they were
// refused for good. Nobody else is told of it: somebody was told of what it says.
func (w *worker) keepLeft(ctx context.Context, tx store.Tx, e grace.Event, m *Message, left *partly) error {
	if left == nil {
		return nil
	}
	d := store.DeadLetter{
		ID: store.DeadLetterID(w.name, e.ID), Receiver: w.name, Event: e, Title: m.Title,
		Error: clean(left.Error(), maxText), Attempts: 1, At: w.n.Now(), Retry: !left.final,
	}
	if err := w.n.Store.SetRef(ctx, tx, w.name, m.Key+hadSuffix, strings.Join(left.had, "\n"), d.At); err != nil {
		return err
	}
	return w.n.Store.Append(ctx, tx, event.LetterChanged{Letter: d, Quiet: d.Retry, At: d.At})
}

// retryLetter sends one dead letter again that somebody asked for, or that some of
// the receiver may get yet: the one that was tried longest ago. It gives how long to
// wait before the next look: a letter comes after new messages, and one that is not
// taken holds up none of them. What was given up once was passed on then, and tells
// nothing new of the receiver.
func (w *worker) retryLetter(ctx context.Context, row *store.Receiver) (wait time.Duration, err error) {
	letters, err := w.n.Store.RetryLetters(ctx, w.n.Store.Q(), w.name, batch)
	next := slices.IndexFunc(letters, w.due)
	if err != nil || next < 0 {
		return idle, err
	}
	d := letters[next]
	m, err := w.again(ctx, d)
	if err != nil {
		return idle, err
	}
	if m == nil {
		w.n.Log.InfoContext(ctx, "dead letter not sent again: it tells nothing any more", "receiver", w.name, "title", d.Title, "letter", d.ID)
		return 0, w.record(ctx, *row, func(ctx context.Context, tx store.Tx) error {
			return w.n.Store.Append(ctx, tx, event.LetterDelivered{ID: d.ID, At: w.n.Now()})
		})
	}
	m.Key, m.letter = "grace/"+w.name+"/"+strconv.FormatInt(d.Event.ID, 10), true
	had, err := w.n.Store.Ref(ctx, w.n.Store.Q(), w.name, m.Key+hadSuffix)
	if err != nil {
		return idle, err
	}
	limit := suspicious
	if had != "" {
		m.had, limit = strings.Split(had, "\n"), greylisted
	}
	thread, refused, err := w.attempt(ctx, row, m)
	if err != nil {
		return idle, err
	}
	if refused == nil {
		row.Retry = nil
		return 0, w.delivered(ctx, row, d.Event, m, thread, d.ID)
	}
	// Something else was taken since it was refused last: it is what is wrong.
	proven := row.LastSuccess != nil && row.LastSuccess.After(d.At)
	busy, isBusy := errors.AsType[*later](refused)
	if isBusy && !proven && !w.failingFor(row, busyFor) {
		return idle, w.failed(ctx, row, refused, busy.wait())
	}
	_, final := errors.AsType[*refusal](refused)
	d.Attempts++
	d.At, d.Error = w.n.Now(), clean(refused.Error(), maxText)
	if final || proven && d.Attempts >= limit {
		d.Retry = false
		return 0, w.bury(ctx, row, d, m, nil)
	}
	row.Error = d.Error
	w.n.Log.WarnContext(ctx, "dead letter not delivered; it is tried again", "receiver", w.name, "title", m.Title, "error", d.Error, "attempts", d.Attempts)
	err = w.record(ctx, *row, func(ctx context.Context, tx store.Tx) error {
		return w.n.Store.Append(ctx, tx, event.LetterChanged{Letter: d, Quiet: true, At: w.n.Now()})
	})
	if err != nil || !isBusy {
		return idle, err
	}
	return idle, w.failed(ctx, row, refused, busy.wait())
}

// again makes the message of a dead letter as things are now, nil when there is nothing
// to tell any more. What is over meanwhile is told as that: its end was told before,
// and nothing that is sent later would close what this opened.
func (w *worker) again(ctx context.Context, d store.DeadLetter) (*Message, error) {
	m, err := w.n.message(ctx, d.Event, true)
	if m == nil || err != nil || !m.stale {
		return m, err
	}
	m.Kind, m.Ended, m.Title, m.Do, m.Question = Resolved, true, "Over meanwhile: "+m.Title, "", nil
	return m, nil
}

// due tells whether a letter has waited for long enough since it was tried last;
// it is also when the clock was set back.
func (w *worker) due(d store.DeadLetter) bool {
	since := w.n.Now().Sub(d.At)
	return d.Attempts == 0 || since < 0 || since >= w.backoff(d.Attempts)
}
