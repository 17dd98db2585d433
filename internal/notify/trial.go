package notify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"grace"
	"grace/internal/store"
)

// A message that is refused again and again may be bad, or its receiver may be down.
// What is behind it tells which:
//
//	refused 6 times -> with each attempt those behind it are tried, in their order:
//	                   the first one of each thread, and all of them in the next turn
//	another passes  -> it is tried once more, and is a dead letter if it is refused. Those
//	                   refused on the way are bad after 6 attempts of their own, and the
//	                   others of such threads that wait by then after 10
//	                -> or, if that was one of its own thread, it is a dead letter at
//	                   once, for it must not come after that
//	none passes     -> the receiver is down, and everything waits

// alike is how often a message is refused before it is bad because another one of its
// thread was: 9 minutes, in which its receiver may be down.
const alike = 10

// fate is what became of a message before its turn.
type fate struct {
	passed bool  // it was delivered
	bad    bool  // it was refused just before another one passed
	busy   bool  // because the receiver was busy, as it said
	late   error // how it was refused just before one of its own thread passed
}

// trial is how far what is behind a message was tried.
type trial struct {
	after int64   // up to this event
	tried []tried // what was refused, from the message itself on
	all   bool    // not only the first one of each thread
}

type tried struct {
	event  int64
	thread string
	why    error
}

// refused deals with a message that was not taken: either it is tried again later, or
// it is what is wrong. It may be what a receiver is busy with, too: that counts once
// nothing else was taken for busyFor, and when another one passed since.
func (w *worker) refused(ctx context.Context, row *store.Receiver, e grace.Event, m *Message, why error) (bool, error) {
	was := w.ahead[e.ID]
	busy, isBusy := errors.AsType[*later](why)
	if isBusy && !was.busy {
		delete(w.ahead, e.ID) // busy with what passed, or with all that has waited
		if !w.failingFor(row, busyFor) {
			return false, w.failed(ctx, row, why, busy.wait())
		}
	}
	row.Attempts++
	wait := w.backoff(row.Attempts)
	if isBusy {
		wait = busy.wait()
	}
	if row.Attempts >= suspicious {
		if w.ahead[e.ID].bad || row.Attempts >= alike && e.ID <= w.bad[m.Thread] {
			row.FailingSince = nil // the receiver is well
			return true, w.dead(ctx, row, e, m, fmt.Errorf("refused %d times, at last after another message passed: %w", row.Attempts, why))
		}
		passed, pause, err := w.tryBehind(ctx, row, e, m, why)
		if err != nil {
			return false, err
		}
		if passed && (!isBusy || w.ahead[e.ID].late != nil) {
			return w.event(ctx, row, e) // at once: the receiver may have come back
		}
		wait = max(wait, pause)
	}
	return false, w.failed(ctx, row, why, wait)
}

// tryBehind tries what is behind a message that was refused, until one passes, the
// receiver is busy, for pause, or silent, or a batch was tried. The next time it goes
// on from there.
func (w *worker) tryBehind(ctx context.Context, row *store.Receiver, bad grace.Event, m *Message, why error) (passed bool, pause time.Duration, err error) {
	t := &w.trial
	if len(t.tried) == 0 {
		t.tried = make([]tried, 1)
	}
	t.tried[0] = tried{bad.ID, m.Thread, why}
	events, err := w.n.Store.Events(ctx, w.n.Store.Q(), max(t.after, bad.ID), patterns(), batch)
	if err != nil {
		return false, 0, err
	}
	for _, e := range events {
		next, err := w.mine(ctx, e)
		if err != nil {
			return false, 0, err
		}
		if next == nil || next.held || next.superseded || w.ahead[e.ID].passed || t.waits(next) {
			t.after = e.ID
			continue
		}
		thread, refused, err := w.attempt(ctx, row, next)
		if err != nil {
			return false, 0, err
		}
		t.after = e.ID
		if thread.unsent {
			continue
		}
		if refused == nil {
			return true, 0, w.passed(ctx, row, e, next, thread)
		}
		t.tried = append(t.tried, tried{e.ID, next.Thread, refused})
		if busy, ok := errors.AsType[*later](refused); ok {
			return false, busy.wait(), nil
		}
		if isSilent(refused) {
			return false, 0, nil
		}
		if err := w.passOn(ctx, row); err != nil {
			return false, 0, err
		}
	}
	if len(events) < batch {
		*t = trial{all: !t.all}
	}
	return false, 0, nil
}

// passed records that a message was delivered before its turn, and what that says of
// those that were not.
func (w *worker) passed(ctx context.Context, row *store.Receiver, e grace.Event, m *Message, thread Thread) error {
	last, err := w.n.Store.LastEventID(ctx, w.n.Store.Q())
	if err != nil {
		return err
	}
	if err := w.delivered(ctx, row, e, m, thread, ""); err != nil {
		return err
	}
	w.ahead[e.ID] = fate{passed: true}
	for _, one := range w.trial.tried {
		_, busy := errors.AsType[*later](one.why)
		was := fate{bad: true, busy: busy}
		if one.thread == m.Thread {
			was.late = one.why
		}
		w.ahead[one.event], w.bad[one.thread] = was, last
	}
	return nil
}

// waits tells whether a message is not tried before another one of its thread. It may
// be when that was refused, but not after a silence: the receiver may be back by then.
func (t *trial) waits(m *Message) bool {
	return slices.ContainsFunc(t.tried, func(one tried) bool { return one.thread == m.Thread && (!t.all || isSilent(one.why)) })
}

func isSilent(err error) bool {
	_, ok := errors.AsType[*silent](err)
	return ok
}
