package loop

import (
	"context"
	"time"

	"grace"
	"grace/internal/event"
	"grace/internal/heal"
	"grace/internal/store"
)

// farAhead is how far ahead of the clock a sample may be. The clocks of two hosts
// are never quite the same.
const farAhead = 10 * time.Second

// shiftClocks takes the times that the deciding goroutine remembers to a clock
// that was set: else what lasts was told later, or a "no" stood longer, by as
// much as the clock was set back.
func (l *Loop) shiftClocks() {
	step := time.Duration(l.shifted.Swap(0))
	if step == 0 {
		return
	}
	for _, c := range l.conditions {
		c.since = c.since.Add(step)
		if !c.clear.IsZero() {
			c.clear = c.clear.Add(step)
		}
	}
	for _, times := range []map[grace.SignalKey]time.Time{l.unseen, l.hushed} {
		for key, t := range times {
			times[key] = t.Add(step)
		}
	}
	for id, t := range l.well {
		l.well[id] = t.Add(step)
	}
	for key, c := range l.considered {
		c.at = c.at.Add(step)
		l.considered[key] = c
	}
	l.looks = l.looks.Add(step)
}

// noticeStep looks whether the wall clock was set, and takes what is known to the
// new time: else samples were late for as long as it had been ahead, and nobody
// would see anything. That is before the first sample by the new time is judged.
// The caller holds l.mu.
func (l *Loop) noticeStep(now time.Time) {
	var elapsed time.Duration
	if l.Elapsed != nil {
		elapsed = l.Elapsed()
	}
	step := l.drift.Moved(now, elapsed)
	if l.Elapsed == nil {
		step = min(0, step) // a step ahead cannot be told from time that passed
	}
	if step.Abs() < heal.ClockStep {
		return
	}
	l.keep(l.sense.ClockStepped(now, step)) // another process, after a crash, knows how long it has lasted
	l.forecast, l.swept = earlier(l.forecast, now), earlier(l.swept, now)
	l.mirror.clockStepped(now, step)
	l.shifted.Add(int64(step))
	l.setBack.Store(min(0, l.setBack.Load()+int64(step)))
	l.epoch.Add(min(0, step.Milliseconds()))
	l.looking.Add(min(0, step.Milliseconds()))
	l.stepped += step
}

// setBackToo takes a word that was on its way while the clock was set back to the
// new time: else all that is said after it was taken for older.
func (l *Loop) setBackToo(s *grace.Signal) {
	back, now := time.Duration(l.setBack.Load()), l.Now()
	if back >= 0 {
		return
	}
	for _, t := range []*time.Time{&s.At, &s.Since, &s.Fired, &s.FailingSince} {
		if t.After(now.Add(farAhead)) {
			*t = earlier(t.Add(back), now)
		}
	}
}

// recordsAhead gives by how much the clock was set back, at least, since GRACE
// wrote last: how far ahead its newest record is dated. What lasts has lasted all
// the same.
func (l *Loop) recordsAhead(ctx context.Context, now time.Time) (time.Duration, error) {
	newest, err := l.Store.LastEntryAt(ctx, l.Store.Q())
	if ahead := newest.Sub(now); err == nil && ahead >= farAhead {
		return ahead, nil
	}
	return 0, err
}

// watchClock says that the wall clock was set.
func (l *Loop) watchClock(ctx context.Context, now time.Time) error {
	l.mu.Lock()
	l.noticeStep(now)
	step := l.stepped
	l.stepped = 0
	l.mu.Unlock()
	if step == 0 {
		return nil
	}
	l.Log.Warn("the wall clock was set", "by", step.String())
	return l.Store.Do(ctx, func(ctx context.Context, tx store.Tx) error {
		return l.Store.Append(ctx, tx, event.ClockSet{By: step, Owner: l.Owner, At: now})
	})
}
