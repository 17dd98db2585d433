package loop

import (
	"context"
	"time"

	"grace"
)

// stoodStill is how long this process may do nothing at all before what it knew is
// taken for old.
const stoodStill = 10 * time.Second

// noticeStill looks whether this process has stood still: it was stopped, or its
// machine was. What was seen before is no evidence then, as after a start. Whoever
// looks first after it has woken finds out, and the others wait for that.
func (in *ingest) noticeStill() {
	in.still.Lock()
	defer in.still.Unlock()
	var elapsed time.Duration
	if in.Elapsed != nil {
		elapsed = in.Elapsed()
	} else {
		elapsed = time.Since(in.made)
	}
	stood := elapsed - in.beat
	in.beat = elapsed
	if stood < stoodStill {
		return
	}
	in.Log.Warn("this process stood still; what it saw before counts no more", "for", stood.String())
	in.mu.Lock()
	defer in.mu.Unlock()
	now := in.Now()
	in.noticeStep(now)
	in.sense.Woke(now, stood)
	in.mirror.unconfirm(in.mirror.allSignals(), now)
	in.looking.Store(min(now.UnixMilli(), in.looking.Load()+stood.Milliseconds())) // it may have been reloaded since
	in.countFrom(now)
	in.woke.Store(true)
}

// countFrom has evidence count from now on: nothing is foretold from what was
// measured before either. The caller holds in.mu.
func (in *ingest) countFrom(now time.Time) {
	in.epoch.Store(now.UnixMilli())
	in.mirror.foreseeAnew(now)
	in.forecaster.since(now)
}

// beats has it noticed within a second that the process stood still, whatever the
// other goroutines wait for.
func (in *ingest) beats(ctx context.Context) {
	eachSecond(ctx, in.noticeStill)
}

// eachSecond does something once a second until ctx ends.
func eachSecond(ctx context.Context, do func()) {
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-second.C:
			do()
		}
	}
}

// doubtConditions has what was sick when the process stood still shown anew before
// somebody is told of it.
func (d *decider) doubtConditions(signals []grace.Signal) {
	if !d.woke.Swap(false) {
		return
	}
	d.looks = d.Now().Add(confirmGrace)
	for _, c := range d.conditions {
		c.confirmed = false
	}
	for _, s := range signals {
		if c := d.conditions[s.Service]; c != nil && s.Sick() {
			c.stored[s.Key] = true
		}
	}
}
