package loop

import (
	"context"
	"time"

	"grace"
	"grace/internal/stage/predict"
)

// stoodStill is how long this process may do nothing at all before what it knew is
// taken for old.
const stoodStill = 10 * time.Second

// noticeStill looks whether this process has stood still: it was stopped, or its
// machine was. What was seen before is no evidence then, as after a start. Whoever
// looks first after it has woken finds out, and the others wait for that.
func (l *Loop) noticeStill() {
	l.still.Lock()
	defer l.still.Unlock()
	var elapsed time.Duration
	if l.Elapsed != nil {
		elapsed = l.Elapsed()
	} else {
		elapsed = time.Since(l.made)
	}
	stood := elapsed - l.beat
	l.beat = elapsed
	if stood < stoodStill {
		return
	}
	l.Log.Warn("this process stood still; what it saw before counts no more", "for", stood.String())
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.Now()
	l.noticeStep(now)
	l.sense.Woke(now, stood)
	l.mirror.unconfirm(l.mirror.allSignals(), now)
	l.looking.Add(stood.Milliseconds())
	l.countFrom(now)
	l.woke.Store(true)
}

// countFrom has evidence count from now on: nothing is foretold from what was
// measured before either. The caller holds l.mu.
func (l *Loop) countFrom(now time.Time) {
	l.epoch.Store(now.UnixMilli())
	l.mirror.foreseeAnew(now)
	l.eachAgent(func(a *predict.Agent) { a.Since(now) })
}

// beats has it noticed within a second that the process stood still, whatever the
// other goroutines wait for.
func (l *Loop) beats(ctx context.Context) {
	eachSecond(ctx, l.noticeStill)
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
func (l *Loop) doubtConditions(signals []grace.Signal) {
	if !l.woke.Swap(false) {
		return
	}
	l.looks = l.Now().Add(confirmGrace)
	for _, c := range l.conditions {
		c.confirmed = false
	}
	for _, s := range signals {
		if c := l.conditions[s.Service]; c != nil && s.Sick() {
			c.stored[s.Key] = true
		}
	}
}
