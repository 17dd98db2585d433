package loop

import (
	"context"
	"fmt"
	"time"

	"grace"
	"grace/internal/content"
	"grace/internal/event"
	"grace/internal/store"
)

// Observe takes samples from a sensor or the API. When it returns nil, every
// change of a signal that they caused is durable. It wraps ErrBusy or ErrNoRoom
// when samples were not taken.
func (in *ingest) Observe(ctx context.Context, samples ...grace.Sample) error {
	lost, queued, full := in.sensed(ctx, samples)
	if full {
		// Perhaps the store is back; if not, its error says what is wrong.
		if err := in.flush(ctx); err != nil {
			return fmt.Errorf("%w, %d samples were not taken: %w", ErrBusy, len(samples), err)
		}
		return fmt.Errorf("%w, %d samples were not taken", ErrBusy, len(samples))
	}
	in.stats.samples.Add(int64(len(samples)))
	if queued {
		if err := in.flush(ctx); err != nil {
			return err
		}
	}
	if lost > 0 {
		return fmt.Errorf("%d of %d samples were not taken: %w", lost, len(samples), ErrNoRoom)
	}
	return nil
}

// sensed shows samples to the agents, and queues what they change. The lock is
// given back whatever a sample does: a panic must not end all intake.
func (in *ingest) sensed(ctx context.Context, samples []grace.Sample) (lost int, queued, full bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.unsaved.full() {
		return 0, false, true
	}
	var changed []grace.Signal
	now := in.Now()
	in.noticeStep(now)
	for i, s := range samples {
		if s.At.Unix() < 0 {
			continue // no clock says so
		}
		s.At = in.date(&s, now)
		s.Code = s.Code.Canonical()
		dropped := in.sense.Dropped()
		changed = append(changed, in.sense.Observe(s)...)
		if s.Kind == grace.SampleAlert {
			lost += in.sense.Dropped() - dropped
		}
		in.Series.Observe(s)
		if i == len(samples)-1 || !samples[i+1].At.Equal(samples[i].At) { // what was measured at once is judged at once
			changed = append(changed, in.evaluate(ctx, s.At)...)
		}
	}
	in.enqueue(changed)
	// Also what others could not write, or are writing: a peer that was told
	// so sends its samples again, and they change nothing the second time.
	return lost, in.unsaved.pending() > 0, false
}

// Post records events from outside with what was read from them.
func (in *ingest) Post(ctx context.Context, events []grace.Event, samples []grace.Sample, predictions []grace.Prediction) error {
	if len(events) > 0 {
		err := in.Store.Do(ctx, func(ctx context.Context, tx store.Tx) error {
			return in.Store.Append(ctx, tx, event.Posted{Events: events})
		})
		if err != nil {
			return fmt.Errorf("record events: %w", err)
		}
	}
	if err := in.Observe(ctx, samples...); err != nil {
		return err
	}
	in.mu.Lock()
	in.enqueue(nil, in.forecaster.posted(predictions)...)
	in.mu.Unlock()
	return in.flush(ctx)
}

// persist writes signal changes with the triggers they are, and what else was
// said.
func (in *ingest) persist(ctx context.Context, changed []grace.Signal, more ...pendingWrite) error {
	in.mu.Lock()
	in.enqueue(changed, more...)
	in.mu.Unlock()
	return in.flush(ctx)
}

// changed says that a signal changed, and which trigger that is. A quiet change, whose
// state is what it was, is none.
func changed(s grace.Signal, quiet bool, owner string, now time.Time) event.SignalChanged {
	e := event.SignalChanged{Signal: s, Quiet: quiet, Owner: owner, At: now}
	if !quiet && s.State == grace.SignalFiring && !s.Unconfirmed {
		t := reactive(s, now)
		e.Trigger = &t
	}
	return e
}

// reactive makes the trigger of a firing signal. Its id is made from the
// condition, so the same one, seen again or by another replica, is the same.
func reactive(s grace.Signal, now time.Time) grace.Trigger {
	fingerprint := string(s.Key)
	return grace.Trigger{
		ID: grace.TriggerID("t-" + content.ID(fingerprint, s.Since, s.Severity)), Kind: grace.TriggerReactive, State: grace.TriggerPending,
		Service: s.Service, Code: s.Code, Severity: s.Severity, Signal: s.Key, Source: s.Sensor,
		Fingerprint: fingerprint, Message: s.Message, At: now,
	}
}
