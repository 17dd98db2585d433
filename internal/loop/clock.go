package loop

import (
	"context"
	"fmt"
	"maps"
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
		in.wasAt = later(in.wasAt, now.Add(-step))
		in.Series.ClockSetBack(now)
		for key, a := range in.ahead {
			in.ahead[key] = ahead{a.dated, a.taken.Add(step), a.said.Add(step)}
		}
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

// ahead is what was dated ahead of the clock here, and when it was taken to have been. It
// is forgotten once it was not said again for aheadFor.
type ahead struct{ dated, taken, said time.Time }

const aheadFor = time.Hour

// aheadKey names what a sample measures.
type aheadKey struct {
	sensor, metric, fingerprint, labels string
	service                             grace.ServiceID
}

// date gives when a sample was by the clock here. Of what is dated ahead of it that goes back
// with it which was before it was set back; all else is of now, but once: what says the same
// time again, as a source that is frozen does, also when the clock has got there, shows
// nothing new. The caller holds in.mu.
func (in *ingest) date(s grace.Sample, now time.Time) time.Time {
	isAhead := s.At.After(now.Add(farAhead))
	if !isAhead && len(in.ahead) == 0 {
		return s.At
	}
	key := aheadKey{s.Sensor, s.Metric, s.Fingerprint, fmt.Sprint(s.Labels), s.Service}
	a, known := in.ahead[key]
	switch back := time.Duration(in.setBack.Load()); {
	case known && s.At.Equal(a.dated):
	case !isAhead:
		delete(in.ahead, key)
		return s.At
	case !s.At.After(in.wasAt) && back < 0:
		a = ahead{dated: s.At, taken: earlier(s.At.Add(back), now)}
	default:
		a = ahead{dated: s.At, taken: now}
	}
	if isAhead {
		in.stats.clamped.Add(1)
	}
	a.said = now
	in.ahead[key] = a
	return a.taken
}

// forgetAhead drops what is not said any more. The caller holds in.mu.
func (in *ingest) forgetAhead(now time.Time) {
	maps.DeleteFunc(in.ahead, func(_ aheadKey, a ahead) bool { return now.Sub(a.said).Abs() > aheadFor })
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
