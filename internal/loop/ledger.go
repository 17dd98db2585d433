package loop

import (
	"context"
	"fmt"
	"time"

	"grace"
	"grace/internal/event"
	"grace/internal/stage/predict"
	"grace/internal/store"
)

const (
	// ledgerWindow is how far back resolved predictions teach after a restart: at
	// a half-life of 30 days older ones count little.
	ledgerWindow = 90 * 24 * time.Hour
	// overdue is how long after its time an open prediction waits for its series
	// to come back.
	overdue = 24 * time.Hour
	// sweepEvery is the time between two looks for entries that nobody resolves.
	sweepEvery = time.Hour
)

// orphaned tells whether an entry is open though an agent that had its series
// would have resolved it long ago, or it was made by a clock that was set back.
func orphaned(p grace.Prediction, now time.Time) bool {
	return p.Outcome == grace.PredictionOpen && (now.Sub(p.Until) > overdue || p.Made.Sub(now) > farAhead)
}

// unresolved ends an entry for lack of data.
func (f *forecaster) unresolved(p grace.Prediction, now time.Time) pendingWrite {
	p.Outcome, p.Resolved = grace.PredictionUnresolved, &now
	return pendingWrite{prediction: &predictionWrite{Prediction: p, state: event.Resolved, owner: f.Owner}}
}

// load teaches the agents what was resolved before the restart, and lets open
// predictions go on. It gives those that nobody resolves any more.
func (f *forecaster) load(ctx context.Context) (late []pendingWrite, err error) {
	now := f.Now()
	entries, err := f.Store.Ledger(ctx, f.Store.Q(), now.Add(-ledgerWindow))
	if err != nil {
		return nil, fmt.Errorf("load the ledger of predictions: %w", err)
	}
	kept := entries[:0]
	for _, p := range entries {
		if orphaned(p, now) {
			late = append(late, f.unresolved(p, now))
			continue
		}
		kept = append(kept, p)
	}
	f.agents.Lock()
	defer f.agents.Unlock()
	f.swept = now
	for i := range kept {
		f.Gate.Learn(kept[i])
	}
	f.Gate.ClockSetBack(now) // what is on record may be from ahead
	f.eachAgent(func(a *predict.Agent) {
		a.Restore(kept)
		a.ClockSetBack(now)
	})
	return late, nil
}

// sweep closes, once an hour, what is open though its series has long gone: one that
// never came back after a restart, or was another replica's, which is no more.
func (f *forecaster) sweep(ctx context.Context, now time.Time) (late []pendingWrite, err error) {
	if !f.sweepDue(now) {
		return nil, nil
	}
	filter := store.PredictionFilter{Outcome: grace.PredictionOpen, To: now.Add(-overdue)}
	for page := (store.Page{Limit: store.MaxLimit}); ; {
		open, next, err := f.Store.Predictions(ctx, f.Store.Q(), filter, page)
		if err != nil {
			return nil, fmt.Errorf("look for predictions that nobody resolves: %w", err)
		}
		for _, p := range open {
			if orphaned(p, now) {
				late = append(late, f.unresolved(p, now))
			}
		}
		if page.Cursor = next; next == "" {
			break
		}
	}
	f.agents.Lock()
	defer f.agents.Unlock()
	f.Gate.Prune(now)
	f.eachAgent(func(a *predict.Agent) { a.Prune(now.Add(-ledgerWindow), now.Add(-overdue)) })
	return late, nil
}

// sweepDue tells whether it is time for a look, which then begins.
func (f *forecaster) sweepDue(now time.Time) bool {
	f.agents.Lock()
	defer f.agents.Unlock()
	due := now.Sub(f.swept) >= sweepEvery
	if due {
		f.swept = now
	}
	return due
}

// eachAgent does something with the own agent and those of all shards, one after
// the other. The caller holds f.agents.
func (f *forecaster) eachAgent(do func(*predict.Agent)) {
	do(f.predict)
	if f.Shards == nil {
		return
	}
	for i := range f.Shards.Shards() {
		f.Shards.Do(i, do)
	}
}
