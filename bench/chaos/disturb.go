package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"time"
)

// Shares of what happens next, of 100.
const (
	shareEarly = 8  // killed while it starts
	shareShort = 10 // stopped for a moment first
	shareLong  = 8  // PostgreSQL: stopped for longer than its lease
	// outageEvery kills PostgreSQL goes away; once in the middle for long.
	outageEvery = 20
	longOutage  = 30 * time.Second
)

// disturb strikes until there were enough kills, and leaves every replica
// alive.
func (w *world) disturb(ctx context.Context) error {
	random := rand.New(rand.NewPCG(w.Seed, 0)) //nolint:gosec // a plan, not a secret
	if w.cluster == nil {
		return w.disturbOne(ctx, random)
	}
	return w.disturbCluster(ctx, random)
}

func between(random *rand.Rand, from, to time.Duration) time.Duration {
	return from + time.Duration(random.Int64N(int64(to-from)))
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// disturbOne kills the only process, which must go on with its runs at once.
func (w *world) disturbOne(ctx context.Context, random *rand.Rand) error {
	r := w.replicas[0]
	var took []time.Duration
	for w.result.Kills < w.Kills && ctx.Err() == nil {
		sleep(ctx, between(random, 50*time.Millisecond, 1200*time.Millisecond))
		if random.IntN(100) < shareShort {
			w.result.Stops++
			r.signal(syscall.SIGSTOP)
			sleep(ctx, between(random, 50*time.Millisecond, time.Second))
			r.signal(syscall.SIGCONT)
			sleep(ctx, between(random, 0, 100*time.Millisecond))
		}
		if gone, _ := r.gone(); gone {
			w.result.violate("the process ended by itself: %v", w.lastWords(r))
		}
		r.kill()
		killed := time.Now()
		w.result.Kills++
		if random.IntN(100) < shareEarly && w.result.Kills < w.Kills {
			early, cancel := context.WithTimeout(ctx, between(random, 10*time.Millisecond, 300*time.Millisecond))
			_ = r.start(early) // whether it served or not
			cancel()
			r.kill()
			w.result.Kills++
		}
		if err := r.start(ctx); err != nil {
			return errors.Join(fmt.Errorf("start again after kill %d: %w", w.result.Kills, err), w.lastWords(r))
		}
		took = append(took, time.Since(killed))
		progress(w.result.Kills, w.Kills)
	}
	w.result.Takeover = percentiles(took)
	return ctx.Err()
}

func progress(n, of int) {
	if n%20 == 0 {
		fmt.Fprintf(os.Stderr, "  %d of %d kills\n", n, of)
	}
}

// disturbCluster strikes one of the replicas about once a second.
func (w *world) disturbCluster(ctx context.Context, random *rand.Rand) error {
	busy := make([]sync.Mutex, len(w.replicas)) // held by what strikes a replica
	var still sync.Mutex                        // held while one is stopped
	var strikes sync.WaitGroup
	defer strikes.Wait()
	long, outages := longOutage, 0
	for ctx.Err() == nil {
		sleep(ctx, between(random, 300*time.Millisecond, 1500*time.Millisecond))
		w.mu.Lock()
		kills := w.result.Kills
		w.mu.Unlock()
		if kills >= w.Kills {
			break
		}
		if kills/outageEvery > outages {
			outages = kills / outageEvery
			away := between(random, 200*time.Millisecond, 5*time.Second)
			if kills >= w.Kills/2 && long > 0 {
				away, long = long, 0
			}
			if err := w.outage(ctx, away); err != nil {
				return err
			}
		}
		i, what := random.IntN(len(w.replicas)), random.IntN(100)
		pause := between(random, 50*time.Millisecond, 2*time.Second)
		if what < shareLong {
			pause = between(random, 11*time.Second, 16*time.Second)
		}
		if !busy[i].TryLock() {
			continue
		}
		// One stands still at a time: when all do, nobody can take over.
		if what < shareLong+shareShort && !still.TryLock() {
			busy[i].Unlock()
			continue
		}
		strikes.Go(func() {
			defer busy[i].Unlock()
			if what < shareLong+shareShort {
				defer still.Unlock()
			}
			w.strike(ctx, w.replicas[i], what, pause)
		})
	}
	strikes.Wait()
	for i := range w.replicas { // one that ended by itself after the last look
		w.revive(ctx, w.replicas[i])
	}
	return ctx.Err()
}

func (w *world) outage(ctx context.Context, away time.Duration) error {
	w.cluster.Stop()
	sleep(ctx, away)
	w.mu.Lock()
	w.result.Outages++
	w.mu.Unlock()
	defer w.watch.back()
	return w.cluster.Again()
}

// strike stops or kills one replica, and starts it again when it has ended.
func (w *world) strike(ctx context.Context, r *replica, what int, pause time.Duration) {
	w.revive(ctx, r)
	if what < shareLong+shareShort {
		r.mu.Lock()
		// A process whose lease is short of time while the database is away
		// may lose it by a short stop, too.
		r.stopped = true
		r.mu.Unlock()
		r.signal(syscall.SIGSTOP)
		sleep(ctx, pause)
		r.signal(syscall.SIGCONT)
		w.mu.Lock()
		w.result.Stops++
		w.mu.Unlock()
		if what < shareLong {
			sleep(ctx, 6*time.Second) // in which it finds out that it was taken over
			w.revive(ctx, r)
		}
		return
	}
	pid := r.kill()
	w.watch.kill(pid)
	w.mu.Lock()
	w.result.Kills++
	progress(w.result.Kills, w.Kills)
	w.mu.Unlock()
	if what >= 100-shareEarly {
		early, cancel := context.WithTimeout(ctx, pause/4)
		_ = r.start(early) // whether it served or not
		cancel()
		w.watch.kill(r.kill())
		w.mu.Lock()
		w.result.Kills++
		w.mu.Unlock()
	}
	w.restart(ctx, r)
}

// revive starts a replica again that has ended by itself, which only one that
// had been stopped may.
func (w *world) revive(ctx context.Context, r *replica) {
	gone, stopped := r.gone()
	if !gone {
		return
	}
	w.mu.Lock()
	if stopped {
		w.result.Fenced++
	} else {
		w.result.violate("%s ended by itself: %v", r.name, w.lastWords(r))
	}
	w.mu.Unlock()
	w.restart(ctx, r)
}

// restart tries until the process serves: as long as the database is away it
// cannot start.
func (w *world) restart(ctx context.Context, r *replica) {
	for ctx.Err() == nil {
		if err := r.start(ctx); err == nil {
			return
		}
		sleep(ctx, 200*time.Millisecond)
	}
}
