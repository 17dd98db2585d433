package predict

import (
	"slices"
	"time"
)

// ClockSetBack takes what is known to a clock that was set back. Samples that were dated
// ahead are gone, since all that come would be older until the clock has caught up; what is
// claimed stands, as said now. Nothing is of the future.
func (a *Agent) ClockSetBack(to time.Time) {
	now := to.UnixMilli()
	a.since = min(a.since, now)
	for _, at := range []map[identity]int64{a.taught, a.lately} {
		for k, t := range at {
			at[k] = min(t, now)
		}
	}
	for k, t := range a.breaches {
		a.breaches[k] = min(t, now)
	}
	for h := range Handle(a.places) {
		if s := a.at(h); s != nil && s.ring.last() > now {
			s.setBack(now, &a.work)
		}
	}
	a.leads.setBack(now)
}

func (s *series) setBack(now int64, work *scratch) {
	s.ring.setBack(now, work)
	s.hours.setBack(now / hourLength)
	s.looked, s.fitted = s.ring.count-1, 0
	if s.odd != nil {
		s.odd.SetBack(now)
		s.odd.at = min(s.odd.at, now)
	}
	for i := range s.watches {
		w := &s.watches[i]
		w.breach.setBack(now)
		for j := range w.open {
			w.open[j].setBack(now)
		}
		if w.early != nil {
			w.early.SetBack(now)
		}
		if w.outlook != nil {
			*w.outlook = outlook{said: slices.DeleteFunc(w.outlook.said, func(b block) bool { return b.made > now })}
		}
	}
}

// setBack drops the points that are newer.
func (r *ring) setBack(now int64, work *scratch) {
	times, values := r.unpack(finePoints, work.times[:], work.values[:])
	old := *r
	*r = ring{step: old.step, origin: now}
	for i, t := range times {
		if at := old.last() + int64(t*1000); at <= now {
			r.append(at, values[i])
			r.step = old.step
		}
	}
}

// setBack drops the hours that are newer, and that one, which is under way again.
func (h *hours) setBack(hour int64) {
	if hour >= h.hour {
		return
	}
	for i := max(hour, h.hour-hourlyPoints+1); i <= h.hour; i++ {
		if q := &h.values[i%hourlyPoints]; *q != 0 {
			*q = 0
			h.known--
		}
	}
	h.hour, h.sum, h.count = hour, 0, 0
}

// setBack has what was seen ahead be seen now.
func (b *breachState) setBack(now int64) {
	b.began, b.ended, b.calm = min(b.began, now), min(b.ended, now), min(b.calm, now)
}

// setBack has what was said ahead be said now, with as long to come true.
func (c *Claim) setBack(now int64) {
	late := max(c.From()-now, 0)
	c.Until, c.firstUntil, c.BreachAt = c.Until-late, c.firstUntil-late, c.BreachAt-late
	for _, at := range []*int64{&c.Made, &c.Published, &c.Advised, &c.Ended, &c.Likely, &c.Renewed, &c.told.at} {
		*at = min(*at, now)
	}
}

// ClockSetBack has what was learned ahead be learned now: else what is learned from now on
// counted for old beside it.
func (g *Gate) ClockSetBack(to time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := seconds(to.UnixMilli())
	for i := range g.rules {
		r := &g.rules[i]
		r.tally.setBack(now)
		r.curve.made = 0
		for b := range r.curve.bins {
			r.curve.bins[b].setBack(now)
		}
	}
	for _, t := range g.series {
		t.setBack(now)
	}
	for _, t := range g.groups {
		t.setBack(now)
	}
}

func (t *tally) setBack(now uint32) { t.seconds = min(t.seconds, now) }

// setBack has what was learned ahead be learned now.
func (l *leads) setBack(now int64) {
	for _, p := range l.peers {
		p.seen = min(p.seen, now)
	}
	for _, f := range l.followers {
		for i := range f.leaders {
			for lag := range f.leaders[i].relations {
				r := &f.leaders[i].relations[lag]
				r.at, r.blocks.began = min(r.at, now), min(r.blocks.began, now)
			}
		}
	}
}
