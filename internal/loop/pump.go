package loop

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"grace"
	"grace/internal/event"
	"grace/internal/store"
)

const (
	pumpBatch = 500
	askBatch  = 500 // signals in one event
)

// pump carries committed events from the outbox to the mesh, and takes from
// them what other replicas saw. A wake-up makes it quick, the poll sure.
func (l *Loop) pump(ctx context.Context) {
	wake := l.Store.Wake(ctx)
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for cursor := l.carried.Load(); ; {
		cursor = l.carry(ctx, cursor)
		select {
		case <-ctx.Done():
			return
		case <-wake:
		case <-second.C:
		}
	}
}

func (l *Loop) carry(ctx context.Context, cursor int64) int64 {
	for {
		events, err := l.Store.Events(ctx, l.Store.Q(), cursor, nil, pumpBatch)
		if err != nil {
			if ctx.Err() == nil {
				l.Log.Warn("outbox not read; live updates wait", "error", err)
			}
			return cursor
		}
		for _, e := range events {
			l.hear(e)
			cursor = e.ID
			l.carried.Store(cursor)
		}
		if len(events) > 0 {
			l.Bus.Publish(events...)
		}
		if len(events) < pumpBatch {
			return cursor
		}
	}
}

// hear takes what matters here from an event of any replica.
func (l *Loop) hear(e grace.Event) {
	switch e.Type {
	case event.TypeAbort:
		l.Runner.Interrupt(grace.RunID(strings.TrimPrefix(e.Resource, "run/")))
	case event.TypeSignal:
		var s grace.Signal
		if json.Unmarshal(e.Payload, &s) == nil && s.Key != "" {
			l.heard(s, e.Actor == l.Owner)
		}
	case event.TypeAsked:
		var keys []grace.SignalKey
		if e.Actor != l.Owner && json.Unmarshal(e.Payload, &keys) == nil {
			l.asked(keys)
		}
	case event.TypeLearned:
		var entry grace.LearningEntry
		if json.Unmarshal(e.Payload, &entry) == nil && entry.ID != "" {
			l.memory.add(entry)
		}
	default:
		l.hearPrediction(e)
	}
}

// heard compares what another replica says of a signal with what this one sees:
// that it has no data, or older, says nothing of the service. Its own words come
// back as well.
func (l *Loop) heard(s grace.Signal, own bool) {
	l.setBackToo(&s)
	l.mu.Lock()
	defer l.mu.Unlock()
	if !own {
		l.doubt(s)
	}
	l.mirror.signals([]grace.Signal{s})
	l.lostSick([]grace.Signal{s})
	if own {
		l.sense.Echoed(s)
		return
	}
	l.keep(l.sense.Heard(s)) // the next tick writes it
}

// doubt takes a word for no evidence that another replica gave of what it saw before
// this process began, or its configuration changed, unless newer data has shown it
// here. An alert that is known, and that no change touched, stands. The caller holds
// l.mu.
func (l *Loop) doubt(s grace.Signal) {
	epoch := l.epoch.Load()
	if s.Gone || s.At.UnixMilli() > epoch {
		return
	}
	held, known := l.sense.Signal(s.Key)
	if !known || s.Kind != grace.SignalAlert && (held.Unconfirmed || held.At.IsZero()) {
		l.mirror.unconfirm([]grace.Signal{s}, time.UnixMilli(epoch))
	}
}

// ask asks the other replicas what they see of signals. A question that is lost
// is asked again.
func (l *Loop) ask(ctx context.Context, keys []grace.SignalKey, now time.Time) error {
	var questions []event.Event
	for some := range slices.Chunk(keys, askBatch) {
		questions = append(questions, event.SignalsAsked{Keys: some, Owner: l.Owner, At: now})
	}
	if len(questions) == 0 {
		return nil
	}
	return l.Store.Do(ctx, func(ctx context.Context, tx store.Tx) error { return l.Store.Append(ctx, tx, questions...) })
}

func (l *Loop) asked(keys []grace.SignalKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sense.Asked(keys)
}

// EventLag counts committed events that this process has not carried yet.
func (l *Loop) EventLag(ctx context.Context) (int64, error) {
	last, err := l.Store.LastEventID(ctx, l.Store.Q())
	if err != nil {
		return 0, err
	}
	return max(0, last-l.carried.Load()), nil
}
