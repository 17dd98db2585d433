package notify

import (
	"context"
	"errors"
	"time"

	"grace/internal/store"
)

// toEnd is how long an attempt goes on when its worker is stopped: what is broken off
// while the receiver takes it comes twice.
const toEnd = time.Second

// attempt sends a message once, if the receiver is this replica's still. refused is the
// receiver's answer; err says that the message was not tried, or not to its end, which
// says nothing of the receiver. It is no failure that some did not get it.
func (w *worker) attempt(ctx context.Context, row *store.Receiver, m *Message) (t Thread, refused, err error) {
	if err := w.claim(ctx); err != nil {
		return t, nil, err
	}
	if t.Root, err = w.n.Store.Ref(ctx, w.n.Store.Q(), w.name, m.Thread); err != nil {
		return t, nil, err
	}
	if t.Question, err = w.n.Store.Ref(ctx, w.n.Store.Q(), w.name, m.Subject+questionSuffix); err != nil {
		return t, nil, err
	}
	timed, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.timeout)
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(toEnd, cancel) })()
	w.meanwhile(ctx, row, m, func() { t, refused = w.out.send(timed, m, t) })
	if left, ok := errors.AsType[*partly](refused); ok {
		t.left, refused = left, nil
		w.n.Log.WarnContext(ctx, "notification not delivered to all", "receiver", w.name, "title", m.Title, "error", left)
	}
	if refused != nil && timed.Err() != nil {
		refused, err = &silent{refused}, ctx.Err() // which is an error when the worker is stopped
	}
	return t, refused, err
}

// meanwhile sends, and does until that has ended what cannot wait for its end.
func (w *worker) meanwhile(ctx context.Context, row *store.Receiver, m *Message, send func()) {
	began, noted := w.n.Now(), m.letter // which tells nothing new of the receiver
	if since := row.FailingSince; since != nil {
		defer func() { row.FailingSince = since }()
	}
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		send()
	}()
	tick := time.NewTicker(w.n.during)
	defer tick.Stop()
	for {
		select {
		case <-answered:
			return
		case <-tick.C:
		}
		if !noted {
			noted = w.unanswered(ctx, row, began) == nil
		}
		_ = w.passOnMeanwhile(ctx, row) // in a second it is looked at again
	}
}

// unanswered keeps that the attempt under way has no answer: a worker that ends before
// the attempt does would leave nothing of it, however often that happens.
func (w *worker) unanswered(ctx context.Context, row *store.Receiver, began time.Time) error {
	if err := w.claim(ctx); err != nil {
		return err
	}
	next, now := *row, w.n.Now()
	if next.Retry == nil {
		next.FailingSince = nil // that was about other messages
	}
	failing(&next, began)
	if next.Retry == nil || unseen(&next) {
		next.Retry, next.Wait, next.Error = &now, 0, "no answer yet"
	}
	err := w.record(ctx, next, nil)
	if err == nil {
		*row = next
	}
	return err
}

// unseen tells whether all that is known of the message that is next is that an attempt
// had no answer yet.
func unseen(row *store.Receiver) bool { return row.Retry != nil && row.Wait == 0 }

// passOnMeanwhile has others told while an attempt is under way.
func (w *worker) passOnMeanwhile(ctx context.Context, row *store.Receiver) error {
	if w.behind.IsZero() { // a dead letter is tried
		events, err := w.n.Store.Events(ctx, w.n.Store.Q(), w.scanned, patterns(), 1)
		if err != nil {
			return err
		}
		w.noteBehind(events)
	}
	return w.passOn(ctx, row)
}
