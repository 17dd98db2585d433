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
func (d *decider) shiftClocks() {
	step := time.Duration(d.shifted.Swap(0))
	if step == 0 {
		return
	}
	for _, c := range d.conditions {
		c.since = c.since.Add(step)
		if !c.clear.IsZero() {
			c.clear = c.clear.Add(step)
		}
	}
	for _, times := range []map[grace.SignalKey]time.Time{d.unseen, d.hushed} {
		for key, t := range times {
			times[key] = t.Add(step)
		}
	}
	for id, t := range d.well {
		d.well[id] = t.Add(step)
	}
	for key, c := range d.considered {
		c.at = c.at.Add(step)
		d.considered[key] = c
	}
	d.looks = d.looks.Add(step)
}

// noticeStep looks whether the wall clock was set, and takes what is known to the
// new time: else samples were late for as long as it had been ahead, and nobody
// would see anything. That is before the first sample by the new time is judged.
// The caller holds in.mu.
func (in *ingest) noticeStep(now time.Time) {
	var elapsed time.Duration
	if in.Elapsed != nil {
		elapsed = in.Elapsed()
	}
	step := in.drift.Moved(now, elapsed)
	if in.Elapsed == nil {
		step = min(0, step) // a step ahead cannot be told from time that passed
	}
	if step.Abs() < heal.ClockStep {
		return
	}
	in.enqueue(in.sense.ClockStepped(now, step)) // another process, after a crash, knows how long it has lasted
	if step < 0 {
		in.Series.ClockSetBack(now)
	}
	for _, w := range in.watches {
		w.at = earlier(w.at, now)
	}
	in.forecaster.clockStepped(now, step)
	in.mirror.clockStepped(now, step)
	in.shifted.Add(int64(step))
	in.setBack.Store(min(0, in.setBack.Load()+int64(step)))
	in.epoch.Add(min(0, step.Milliseconds()))
	in.looking.Add(min(0, step.Milliseconds()))
	in.stepped += step
}

// setBackToo takes a word that was on its way while the clock was set back to the
// new time: else all that is said after it was taken for older.
func (co *common) setBackToo(s *grace.Signal) {
	back, now := time.Duration(co.setBack.Load()), co.Now()
	if back >= 0 {
		return
	}
	for _, t := range []*time.Time{&s.At, &s.Since, &s.Fired, &s.FailingSince, &s.Repeated} {
		if t.After(now.Add(farAhead)) {
			*t = earlier(t.Add(back), now)
		}
	}
}

// recordsAhead gives by how much the clock was set back, at least, since GRACE
// wrote last: how far ahead its newest record is dated. What lasts has lasted all
// the same.
func (co *common) recordsAhead(ctx context.Context, now time.Time) (time.Duration, error) {
	newest, err := co.Store.LastEntryAt(ctx, co.Store.Q())
	if ahead := newest.Sub(now); err == nil && ahead >= farAhead {
		return ahead, nil
	}
	return 0, err
}

// watchClock says that the wall clock was set.
func (in *ingest) watchClock(ctx context.Context, now time.Time) error {
	in.mu.Lock()
	in.noticeStep(now)
	step := in.stepped
	in.stepped = 0
	in.mu.Unlock()
	if step == 0 {
		return nil
	}
	in.Log.Warn("the wall clock was set", "by", step.String())
	return in.Store.Do(ctx, func(ctx context.Context, tx store.Tx) error {
		return in.Store.Append(ctx, tx, event.ClockSet{By: step, Owner: in.Owner, At: now})
	})
}
