package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// watch measures on the engine's own tables how long the runs of a killed
// process are without an owner.
type watch struct {
	pool *pgxpool.Pool

	mu     sync.Mutex
	killed map[string]time.Time // a killed process's mark in the executor's name
	orphan map[string]orphan    // by run and mark
	took   []time.Duration
}

type orphan struct {
	run, mark string
	since     time.Time
}

func newWatch(ctx context.Context, url string) (*watch, error) {
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return nil, err
	}
	return &watch{pool: pool, killed: map[string]time.Time{}, orphan: map[string]orphan{}}, nil
}

// kill is told of every killed process.
func (w *watch) kill(pid int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.killed[fmt.Sprintf("-%d-", pid)] = time.Now()
}

// back is told that the database is back: while it was away nobody could take
// over, so what is without an owner is counted from now.
func (w *watch) back() {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	for mark := range w.killed {
		w.killed[mark] = now
	}
	for key, o := range w.orphan {
		o.since = now
		w.orphan[key] = o
	}
}

// takeoverBound is what an operator is told to expect.
const takeoverBound = 15 * time.Second

const watchEvery = 100 * time.Millisecond

func (w *watch) run(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		w.mu.Lock()
		known := len(w.killed)
		w.mu.Unlock()
		owners, err := w.owners(ctx)
		if err != nil {
			continue // the database is away: nobody takes over either
		}
		w.judge(owners, known)
	}
}

// owners gives the executor of every open run that was ever started.
func (w *watch) owners(ctx context.Context) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	rows, err := w.pool.Query(ctx, `SELECT workflow_uuid, coalesce(executor_id, '') FROM dbos.workflow_status WHERE status IN ('PENDING', 'ENQUEUED')`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := map[string]string{}
	for rows.Next() {
		var run, owner string
		if err := rows.Scan(&run, &owner); err != nil {
			return nil, err
		}
		out[run] = owner
	}
	return out, rows.Err()
}

// judge compares what is with what was. Kills that came after the owners were
// asked for (known) are left for the next time.
func (w *watch) judge(owners map[string]string, known int) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	for run, owner := range owners {
		for mark, at := range w.killed {
			if key := run + mark; strings.Contains(owner, mark) && len(w.killed) == known {
				if _, seen := w.orphan[key]; !seen {
					w.orphan[key] = orphan{run, mark, at}
				}
			}
		}
	}
	for key, o := range w.orphan {
		if strings.Contains(owners[o.run], o.mark) {
			continue
		}
		w.took = append(w.took, now.Sub(o.since))
		if took := now.Sub(o.since); took > takeoverBound {
			fmt.Fprintf(os.Stderr, "  run %s was without an owner for %s until %s\n", o.run, took.Round(time.Millisecond), now.Format(time.TimeOnly))
		}
		delete(w.orphan, key)
	}
}

func (w *watch) times() times {
	w.mu.Lock()
	defer w.mu.Unlock()
	return percentiles(w.took)
}

func percentiles(all []time.Duration) times {
	if len(all) == 0 {
		return times{}
	}
	sorted := slices.Sorted(slices.Values(all))
	at := func(share float64) float64 {
		return sorted[min(len(sorted)-1, int(share*float64(len(sorted))))].Seconds()
	}
	return times{Count: len(sorted), P50: at(.5), P95: at(.95), Max: sorted[len(sorted)-1].Seconds()}
}
