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
// would have resolved it long ago.
func orphaned(p grace.Prediction, now time.Time) bool {
	from := p.Made
	if p.Spoken != nil {
		from = *p.Spoken
	}
	return p.Outcome == grace.PredictionOpen && now.Sub(from) > 2*p.Horizon.D()+overdue
}

// unresolved ends an entry for lack of data.
func (l *Loop) unresolved(p grace.Prediction, now time.Time) said {
	p.Outcome, p.Resolved = grace.PredictionUnresolved, &now
	return said{foreseen: &foreseen{Prediction: p, state: event.Resolved, owner: l.Owner}}
}

// loadLedger teaches the agents what was resolved before the restart, and lets
// open predictions go on.
func (l *Loop) loadLedger(ctx context.Context) error {
	now := l.Now()
	entries, err := l.Store.Ledger(ctx, l.Store.Q(), now.Add(-ledgerWindow))
	if err != nil {
		return fmt.Errorf("load the ledger of predictions: %w", err)
	}
	var late []said
	kept := entries[:0]
	for _, p := range entries {
		if orphaned(p, now) {
			late = append(late, l.unresolved(p, now))
			continue
		}
		kept = append(kept, p)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.swept = now
	l.eachAgent(func(a *predict.Agent) { a.Restore(kept) })
	l.keep(nil, late...)
	return nil
}

// sweep closes what is open though its series has long gone: one that never came
// back after a restart, or was another replica's, which is no more.
func (l *Loop) sweep(ctx context.Context, now time.Time) error {
	filter := store.PredictionFilter{Outcome: grace.PredictionOpen, To: now.Add(-overdue)}
	var late []said
	for page := (store.Page{Limit: store.MaxLimit}); ; {
		open, next, err := l.Store.Predictions(ctx, l.Store.Q(), filter, page)
		if err != nil {
			return fmt.Errorf("look for predictions that nobody resolves: %w", err)
		}
		for _, p := range open {
			if orphaned(p, now) {
				late = append(late, l.unresolved(p, now))
			}
		}
		if page.Cursor = next; next == "" {
			break
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.eachAgent(func(a *predict.Agent) { a.Forget(func(p grace.Prediction) bool { return orphaned(p, now) }) })
	l.keep(nil, late...)
	return nil
}

// eachAgent does something with the own agent and those of all shards, one after
// the other. The caller holds l.mu.
func (l *Loop) eachAgent(do func(*predict.Agent)) {
	do(l.predict)
	if l.Shards == nil {
		return
	}
	for i := range l.Shards.Shards() {
		l.Shards.Do(i, do)
	}
}
