package loop

import (
	"context"
	"hash/maphash"
	"maps"
	"slices"
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
	}
	for key, a := range in.ahead {
		a.shift(step)
		in.ahead[key] = a
	}
	for _, w := range in.watches {
		w.at, w.since = earlier(w.at, now), w.since.Add(step)
	}
	in.forecaster.clockStepped(now, step)
	in.mirror.clockStepped(now, step)
	in.shifted.Add(int64(step))
	in.setBack.Store(min(0, in.setBack.Load()+int64(step)))
	in.epoch.Add(min(0, step.Milliseconds()))
	in.looking.Add(min(0, step.Milliseconds()))
	in.stepped += step
}

// ahead is what was dated ahead of the clock here: the newest that was said, and when it
// was said last. It is forgotten once nothing of it was said again for aheadFor.
type ahead struct {
	stamps [stampsKept]stamp // the newest first
	said   time.Time
}

// stamp is one date ahead of the clock, when it was taken to have been, and when it was said
// first.
type stamp struct{ dated, taken, first time.Time }

const (
	// stampsKept is how many dates are known again: of sources that speak by one name.
	stampsKept = 4
	aheadFor   = time.Hour
	// maxAhead bounds what is kept of what is ahead. Beyond it any one gives its place.
	maxAhead = 1 << 14
	// inFlight is how long what was measured before the clock was set back may be under way
	// and still come at the pace of the clock.
	inFlight = 30 * time.Second
	// paceSlack is by how much what comes at the pace of the clock may be off it.
	paceSlack = time.Second
	// startFor is how long after a start what is ahead and new here may be what was said before.
	startFor = 10 * time.Minute
)

// aheadKey names what a sample measures.
type aheadKey struct {
	sensor, metric, fingerprint string
	service                     grace.ServiceID
	labels                      uint64
}

// aheadKeyOf does not allocate: once one source is ahead, every sample is looked up.
func (in *ingest) aheadKeyOf(s *grace.Sample) aheadKey {
	key := aheadKey{s.Sensor, s.Metric, s.Fingerprint, s.Service, 0}
	for name, value := range s.Labels { // in any order
		key.labels += maphash.Comparable(in.seed, [2]string{name, value})
	}
	return key
}

// date gives when a sample was by the clock here. Of what is dated ahead of it that goes back
// with it which was before it was set back; all else is of now, but once: what says the same
// time again, as a source that is frozen does, also when the clock has got there, shows
// nothing new. The caller holds in.mu.
func (in *ingest) date(s *grace.Sample, now time.Time) time.Time {
	isAhead := s.At.After(now.Add(farAhead))
	if !isAhead && len(in.ahead) == 0 {
		return s.At
	}
	key := in.aheadKeyOf(s)
	a, known := in.ahead[key]
	if !isAhead && !known {
		return s.At
	}
	i := slices.IndexFunc(a.stamps[:], func(t stamp) bool { return t.dated.Equal(s.At) })
	switch {
	case i >= 0:
	case !isAhead:
		if !slices.ContainsFunc(a.stamps[:], func(t stamp) bool { return t.dated.After(s.At) }) {
			delete(in.ahead, key) // else another source of that name may say it again
		}
		return s.At
	default:
		taken := in.take(s, now, &a, known)
		copy(a.stamps[1:], a.stamps[:])
		a.stamps[0] = stamp{dated: s.At, taken: taken, first: now}
		i = 0
	}
	if isAhead {
		in.stats.clamped.Add(1)
	}
	if !known && len(in.ahead) >= maxAhead {
		for other := range in.ahead {
			delete(in.ahead, other)
			break
		}
	}
	a.said = now
	in.ahead[key] = a
	return a.stamps[i].taken
}

// take gives when a sample was that is dated ahead and not as one before.
func (in *ingest) take(s *grace.Sample, now time.Time, a *ahead, known bool) time.Time {
	back, began := time.Duration(in.setBack.Load()), time.UnixMilli(in.epoch.Load())
	if before := s.At.Add(back); back < 0 && !s.At.After(in.wasAt) && (now.Sub(before) <= inFlight || !a.paced(s.At, now)) {
		return earlier(before, now)
	}
	if !known && s.Kind != grace.SampleAlert && now.Sub(began) < startFor {
		return earlier(began, now) // the process before may have seen it; what is alive says another time next
	}
	return now
}

// paced tells whether a date goes on from those before no faster than time here: the clock
// of its source is ahead, as what was under way when the clock here was set back is not for
// long.
func (a *ahead) paced(at, now time.Time) bool {
	return slices.ContainsFunc(a.stamps[:], func(t stamp) bool {
		return !t.dated.IsZero() && at.After(t.dated) && now.After(t.first) && at.Sub(t.dated) <= now.Sub(t.first)+paceSlack
	})
}

// shift takes what is kept to a clock that was set: when it was taken to have been is of the
// past, and stays what it was when the clock is set ahead.
func (a *ahead) shift(step time.Duration) {
	a.said = a.said.Add(step)
	for i := range a.stamps {
		if t := &a.stamps[i]; !t.dated.IsZero() {
			t.first, t.taken = t.first.Add(step), t.taken.Add(min(0, step))
		}
	}
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
