package loop

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"grace"
	"grace/internal/event"
	"grace/internal/store"
)

const (
	pumpBatch = 500
	askBatch  = 500 // signals in one event
)

// relay carries what is committed to the mesh, and what other replicas saw to the rooms.
type relay struct {
	*common
	work

	in         *ingest
	forecaster *forecaster

	carried atomic.Int64 // id of the newest event that went to the mesh
}

// Start begins to carry.
func (r *relay) Start(ctx context.Context) { r.begin(ctx, r.relayOutbox) }

// load begins behind what is committed.
func (r *relay) load(ctx context.Context) error {
	last, err := r.Store.LastEventID(ctx, r.Store.Q())
	if err != nil {
		return fmt.Errorf("read the newest event: %w", err)
	}
	r.carried.Store(last)
	return nil
}

// relayOutbox carries committed events from the outbox to the mesh, and takes from
// them what other replicas saw. A wake-up makes it quick, the poll sure.
func (r *relay) relayOutbox(ctx context.Context) {
	wake := r.Store.Wake(ctx)
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for cursor := r.carried.Load(); ; {
		cursor = r.relayBatch(ctx, cursor)
		select {
		case <-ctx.Done():
			return
		case <-wake:
		case <-second.C:
		}
	}
}

func (r *relay) relayBatch(ctx context.Context, cursor int64) int64 {
	for {
		events, err := r.Store.Events(ctx, r.Store.Q(), cursor, nil, pumpBatch)
		if err != nil {
			if ctx.Err() == nil {
				r.Log.Warn("outbox not read; live updates wait", "error", err)
			}
			return cursor
		}
		for _, e := range events {
			r.handleEvent(e)
			cursor = e.ID
			r.carried.Store(cursor)
		}
		if len(events) > 0 {
			r.Bus.Publish(events...)
		}
		if len(events) < pumpBatch {
			return cursor
		}
	}
}

// handleEvent takes what matters here from an event of any replica.
func (r *relay) handleEvent(e grace.Event) {
	switch e.Type {
	case event.TypeAbort:
		r.Runner.Interrupt(grace.RunID(strings.TrimPrefix(e.Resource, "run/")))
	case event.TypeSignal:
		var s grace.Signal
		if json.Unmarshal(e.Payload, &s) == nil && s.Key != "" {
			r.in.heard(s, e.Actor == r.Owner)
		}
	case event.TypeAsked:
		var keys []grace.SignalKey
		if e.Actor != r.Owner && json.Unmarshal(e.Payload, &keys) == nil {
			r.in.asked(keys)
		}
	case event.TypeLearned:
		var entry grace.LearningEntry
		if json.Unmarshal(e.Payload, &entry) == nil && entry.ID != "" {
			r.memory.add(entry)
		}
	default:
		r.forecaster.hearPrediction(e)
	}
}

// heard compares what another replica says of a signal with what this one sees:
// that it has no data, or older, says nothing of the service. Its own words come
// back as well.
func (in *ingest) heard(s grace.Signal, own bool) {
	in.setBackToo(&s)
	in.mu.Lock()
	defer in.mu.Unlock()
	if !own {
		in.unconfirm(s)
	}
	in.mirror.signals([]grace.Signal{s})
	in.lostSick([]grace.Signal{s})
	if own {
		in.sense.Echoed(s)
		return
	}
	in.enqueue(in.sense.Heard(s)) // the next tick writes it
}

// unconfirm takes a word for no evidence that another replica gave of what it saw before
// this process began, or its configuration changed, unless newer data has shown it
// here. An alert that is known, and that no change touched, stands. The caller holds
// in.mu.
func (in *ingest) unconfirm(s grace.Signal) {
	epoch := in.epoch.Load()
	if s.Gone || s.At.UnixMilli() > epoch {
		return
	}
	held, known := in.sense.Signal(s.Key)
	if !known || s.Kind != grace.SignalAlert && (held.Unconfirmed || held.At.IsZero()) {
		in.mirror.unconfirm([]grace.Signal{s}, time.UnixMilli(epoch))
	}
}

// ask asks the other replicas what they see of signals. A question that is lost
// is asked again.
func (in *ingest) ask(ctx context.Context, keys []grace.SignalKey, now time.Time) error {
	var questions []event.Event
	for some := range slices.Chunk(keys, askBatch) {
		questions = append(questions, event.SignalsAsked{Keys: some, Owner: in.Owner, At: now})
	}
	if len(questions) == 0 {
		return nil
	}
	return in.Store.Do(ctx, func(ctx context.Context, tx store.Tx) error { return in.Store.Append(ctx, tx, questions...) })
}

func (in *ingest) asked(keys []grace.SignalKey) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.sense.Asked(keys)
}

// EventLag counts committed events that this process has not carried yet.
func (r *relay) EventLag(ctx context.Context) (int64, error) {
	last, err := r.Store.LastEventID(ctx, r.Store.Q())
	if err != nil {
		return 0, err
	}
	return max(0, last-r.carried.Load()), nil
}
