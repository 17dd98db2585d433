package daemon

import (
	"context"
	"fmt"
	"sync"
	"time"

	"grace/internal/heal"
)

const (
	// clockInterval is how often the wall clock is held against the monotonic one.
	clockInterval = 5 * time.Second
	// clockStep is the difference from which the wall clock counts as set.
	clockStep = 30 * time.Second
	// clockHold is for how long, by the monotonic clock, nothing is pruned after
	// the clock was set: a clock that is ahead by months makes all records look
	// old, and what is removed is gone.
	clockHold = 24 * time.Hour
	// clockGap is the time without an entry in the audit log after which, at a
	// start, nobody can say whether GRACE was off or the clock was set.
	clockGap = 7 * 24 * time.Hour
)

// clock notices that the wall clock was set. The times come from outside, so that
// it can be tested.
type clock struct {
	mu    sync.Mutex
	drift heal.Drift    // since the last look
	held  time.Duration // on the monotonic clock: nothing is pruned before
	why   string
	steps int
	last  time.Duration // of the last step
}

// look compares the two clocks and gives by how much the wall clock was set since
// the last look; 0 when it was not.
func (c *clock) look(wall time.Time, mono time.Duration) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	step := c.drift.Moved(wall, mono)
	if step.Abs() < clockStep {
		return 0
	}
	c.steps++
	c.last = step
	c.hold(mono, fmt.Sprintf("the clock was set by %s", step.Round(time.Second)))
	return step
}

// hold keeps records for a while. The caller holds c.mu.
func (c *clock) hold(mono time.Duration, why string) { c.held, c.why = mono+clockHold, why }

// begin compares the clock at a start with the newest record.
func (c *clock) begin(wall time.Time, mono time.Duration, newest time.Time) {
	c.look(wall, mono)
	if newest.IsZero() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch gap := wall.Sub(newest); {
	case gap < -clockStep:
		c.hold(mono, fmt.Sprintf("the newest record is of %s, which is to come yet", newest.UTC().Format(time.RFC3339)))
	case gap > clockGap:
		c.hold(mono, fmt.Sprintf("the newest record is of %s, %s ago: either GRACE was off for that long, or the clock was set", newest.UTC().Format(time.RFC3339), gap.Round(time.Hour)))
	}
}

// mayPrune tells whether old records may be removed, and otherwise why not.
func (c *clock) mayPrune(mono time.Duration) (ok bool, why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.why == "" || mono >= c.held, c.why
}

// stepped gives how often the clock was set since the start, and by how much
// the last time.
func (c *clock) stepped() (n int, last time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.steps, c.last
}

// sinceStart reads the monotonic clock.
func (d *Daemon) sinceStart() time.Duration { return time.Since(d.born) }

// watchClock keeps records for a while when the wall clock was set; the loop says
// that it was.
func (d *Daemon) watchClock(ctx context.Context) {
	newest, _ := d.store.LastEntryAt(ctx, d.store.Q()) // without an answer it is as in a new store
	d.clock.begin(time.Now().Round(0), d.sinceStart(), newest)
	if ok, why := d.clock.mayPrune(d.sinceStart()); !ok {
		d.log.Warn("nothing is pruned for a day", "why", why)
	}
	tick := time.NewTicker(clockInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if step := d.clock.look(time.Now().Round(0), d.sinceStart()); step != 0 {
			d.log.Warn("nothing is pruned for a day", "why", "the clock was set by "+step.Round(time.Millisecond).String())
		}
	}
}
