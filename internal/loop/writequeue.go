package loop

import (
	"context"
	"errors"
	"fmt"
	"time"

	"grace"
	"grace/internal/event"
	"grace/internal/stage/predict"
	"grace/internal/store"
)

const (
	// flushBatch is how many changes are written in one transaction: a storm
	// must not keep other writers waiting for seconds.
	flushBatch = 500
	// backlogLong is the length above which the backlog keeps only the last
	// word on every signal and forecast. Nobody was told that the earlier ones
	// were accepted.
	backlogLong = 5000
	// backlogFull is the length at which new samples are refused.
	backlogFull = 20000
)

// ErrBusy: the samples were not taken, because so much waits to be written
// already, or so much is known already. Whoever has them sends them again.
var ErrBusy = errors.New("too much waits to be written")

// ErrNoRoom: an alert was not taken, because as many series and alerts are
// known as sense.max_series allows.
var ErrNoRoom = errors.New("as many series and alerts are known as sense.max_series allows")

// pendingWrite is one thing that sense or predict pendingWrite and that is not durable yet.
type pendingWrite struct {
	number     int64 // in the order in which it was said, from 1
	at         time.Time
	signal     grace.Signal
	quiet      bool                // of a signal: it changed, but not its state
	prediction *predictionWrite    // instead of a signal
	suspension *predict.Suspension // likewise
}

// key is what a later word replaces.
func (s *pendingWrite) key() string {
	switch {
	case s.prediction != nil:
		return "prediction/" + s.prediction.ID
	case s.suspension != nil:
		return "rule/" + s.suspension.Rule + "/" + string(s.suspension.Service) + "/" + string(s.suspension.Role)
	}
	return "signal/" + string(s.signal.Key)
}

// service is whom it is about.
func (s *pendingWrite) service() grace.ServiceID {
	if s.prediction != nil {
		return s.prediction.Service
	}
	if s.suspension != nil {
		return s.suspension.Service
	}
	return s.signal.Service
}

// writeQueue is what waits to be written, in the order in which it was said. It is
// bounded while the store is away. The zero value is empty; its owner locks.
type writeQueue struct {
	waiting []pendingWrite
	// writing is how many of them, from the front, a transaction under way is
	// writing.
	writing int
	// shortest is the length at which nothing more could be left out.
	shortest int
	// last is the number of what was said last, durable that up to which all is
	// durable. It stands still until leftOut, the last number when something was
	// left out: what stands for that may be anywhere before it.
	last, durable, leftOut int64
	// stuck is since when nothing could be written, zero while it can; refused
	// counts what was dropped because the store would never take it.
	stuck   time.Time
	refused int64
}

// add puts something behind what waits.
func (b *writeQueue) add(s pendingWrite) {
	b.last++
	s.number = b.last
	b.waiting = append(b.waiting, s)
}

// pending counts what is not durable.
func (b *writeQueue) pending() int { return len(b.waiting) }

func (b *writeQueue) full() bool { return len(b.waiting) >= backlogFull }

// takeFront gives the oldest n for writing; done or back must follow.
func (b *writeQueue) takeFront(n int) []pendingWrite {
	b.writing = min(n, len(b.waiting))
	return b.waiting[:b.writing:b.writing]
}

// done removes what was written.
func (b *writeQueue) done() {
	if b.writing > 0 && b.waiting[b.writing-1].number >= b.leftOut {
		b.durable = b.waiting[b.writing-1].number
	}
	b.waiting = b.waiting[b.writing:]
	b.writing, b.shortest = 0, 0
	if len(b.waiting) == 0 {
		b.waiting = nil
	}
}

// back leaves what could not be written in its place, and makes room if there
// is too much.
func (b *writeQueue) back() {
	b.writing = 0
	if len(b.waiting) <= max(backlogLong, 2*b.shortest) && !b.full() || len(b.waiting) == b.shortest {
		return
	}
	last := make(map[string]int, len(b.waiting))
	for i := range b.waiting {
		last[b.waiting[i].key()] = i
	}
	kept := make([]pendingWrite, 0, len(last))
	for i := range b.waiting {
		if last[b.waiting[i].key()] == i {
			kept = append(kept, b.waiting[i])
		}
	}
	b.waiting, b.shortest, b.leftOut = kept, len(kept), b.last
}

// event gives what was said.
func (s *pendingWrite) event(owner string) event.Event {
	switch {
	case s.prediction != nil:
		return s.prediction.event(s.at)
	case s.suspension != nil:
		d := *s.suspension
		return event.RuleJudged{Rule: d.Rule, Service: d.Service, Back: d.Back, False: d.False, Of: d.Of, Detail: d, At: s.at}
	}
	return changed(s.signal, s.quiet, owner, s.at)
}

// published is what was last said of a signal that people read in the log.
type published struct {
	state    grace.SignalState
	severity grace.Severity
	flapping bool
}

// enqueue queues changes to be written. The caller holds in.mu since it made them,
// so they are queued in the order in which they happened.
func (in *ingest) enqueue(changed []grace.Signal, more ...pendingWrite) {
	if len(changed)+len(more) == 0 {
		return
	}
	now := in.Now()
	for _, s := range changed {
		if s.Unconfirmed {
			in.mirror.doubt(s.Key, in.sense.After(s.Key))
		}
		word := published{s.State, s.Severity, s.Flapping}
		before, known := in.published[s.Key]
		// What another replica has said first is no entry of the log again.
		quiet := !s.Gone && (known && before == word || in.mirror.says(s.Key, word))
		in.unsaved.add(pendingWrite{at: now, signal: s, quiet: quiet})
		if in.published[s.Key] = word; s.Gone {
			delete(in.published, s.Key)
		}
	}
	for _, s := range more {
		s.at = now
		in.unsaved.add(s)
	}
}

// flush writes what is queued, by whomever. One at a time: an older state of a
// signal must never be written over a newer one. What fails stays queued. When
// it returns nil, all that was queued when it was called is durable.
//
// Many callers share a transaction: while one is written the others queue up,
// the first of them writes for all, and those behind it find it done.
func (in *ingest) flush(ctx context.Context) error {
	in.mu.Lock()
	last := in.unsaved.last
	in.mu.Unlock()
	in.flushing.Lock()
	defer in.flushing.Unlock()
	for {
		in.mu.Lock()
		if in.unsaved.durable >= last {
			in.mu.Unlock()
			return nil
		}
		batch := in.unsaved.takeFront(flushBatch)
		in.mu.Unlock()
		if err := in.writeQueued(ctx, batch); err != nil {
			return fmt.Errorf("write %d signal changes: %w", len(batch), err)
		}
	}
}

// room waits until little enough is queued that the past may add to it: while the store
// is away what is left of the queue is for what happens now.
func (in *ingest) room(ctx context.Context) error {
	for ctx.Err() == nil {
		in.mu.Lock()
		pending := in.unsaved.pending()
		in.mu.Unlock()
		if pending < flushBatch {
			return nil
		}
		if in.flush(ctx) != nil {
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}
	return ctx.Err()
}

// writeQueued writes the oldest of what is queued, what the store would never
// take left out. The caller holds l.flushing.
func (in *ingest) writeQueued(ctx context.Context, batch []pendingWrite) error {
	refused, err := in.writeOrDrop(ctx, batch)
	in.mu.Lock()
	defer in.mu.Unlock()
	in.unsaved.refused += int64(refused)
	if err != nil {
		if in.unsaved.stuck.IsZero() {
			in.unsaved.stuck = in.Now()
		}
		in.unsaved.back()
		return err
	}
	in.unsaved.stuck = time.Time{}
	in.unsaved.done()
	return nil
}

// writeOrDrop writes a batch. When the store refuses it, and not because it is
// away, the batch is halved until the culprit stands alone. That one is dropped
// and the audit log says so; if even this cannot be written, the fault is the
// store's after all and nothing is dropped. Without it one value that cannot be
// stored would keep every later one from being written, for good.
func (in *ingest) writeOrDrop(ctx context.Context, batch []pendingWrite) (refused int, err error) {
	err = in.writeBatch(ctx, batch)
	switch {
	case err == nil:
		return 0, nil
	case ctx.Err() != nil || store.Away(err):
		return 0, err
	case len(batch) > 1:
		half := len(batch) / 2
		for _, part := range [][]pendingWrite{batch[:half], batch[half:]} {
			n, err := in.writeOrDrop(ctx, part)
			refused += n
			if err != nil {
				return refused, err
			}
		}
		return refused, nil
	}
	entry := event.WriteRefused{Key: batch[0].key(), Service: batch[0].service(), Reason: err.Error(), At: in.Now()}
	if logged := in.Store.Do(ctx, func(ctx context.Context, tx store.Tx) error {
		return in.Store.Append(ctx, tx, entry)
	}); logged != nil {
		return 0, errors.Join(err, logged)
	}
	in.Log.ErrorContext(ctx, "a change was dropped: the store does not take it", "change", batch[0].key(), "service", batch[0].service(), "error", err)
	return 1, nil
}

// WriteQueue tells how much waits to be written, since when nothing could be
// (zero while it can), and how much was dropped because the store refused it.
func (in *ingest) WriteQueue() (pending int, stuck time.Time, refused int64) {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.unsaved.pending(), in.unsaved.stuck, in.unsaved.refused
}

// writeBatch writes a batch in one transaction.
func (in *ingest) writeBatch(ctx context.Context, batch []pendingWrite) error {
	standing := standingOf(batch)
	events := make([]event.Event, len(batch))
	err := in.Store.Do(ctx, func(ctx context.Context, tx store.Tx) error {
		for i := range batch { // here: where the store is away it costs nothing
			in.setBackToo(&batch[i].signal) // it may have waited while the clock was set
			events[i] = batch[i].event(in.Owner)
		}
		return in.Store.Append(ctx, tx, events...)
	})
	if err != nil {
		return err
	}
	var signals []grace.Signal
	triggers := int64(0)
	for _, e := range events {
		switch e := e.(type) {
		case event.SignalChanged:
			in.setBackToo(&e.Signal)
			signals = append(signals, e.Signal)
			if e.Trigger != nil {
				triggers++
			}
		case event.Predicted:
			if e.Trigger != nil {
				triggers++
			}
		}
	}
	in.mirror.signals(signals)
	in.mirror.predictions(standing)
	in.stats.triggers.Add(triggers)
	in.wakeDecider()
	return nil
}
