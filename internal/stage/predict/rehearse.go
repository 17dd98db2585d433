package predict

import (
	"maps"
	"slices"
	"time"

	"grace"
)

// Rehearse takes a value of the past of a series that is there for its targets, oldest
// first, and looks at the series as it was then. What the rules would have claimed is held
// to what came and teaches the gate, so that it has a record on the first day; nothing of
// it is said. fit makes the forecasts. It gives what was resolved, for the ledger, and
// what that suspended.
//
// What the ledger knows already is not gone through again: of a series with entries only
// the values after the newest are looked at.
func (a *Agent) Rehearse(name Series, at time.Time, value float64, fit func(*Refit)) Result {
	a.rehearsing = true
	defer func() { a.rehearsing = false }()
	r := a.relive(name, at, value, fit)
	for i := range r.Resolved {
		r.Resolved[i].Rehearsed = true
	}
	return Result{Resolved: r.Resolved, Suspended: r.Suspended}
}

// relive takes a value of the past, and looks at its series as it was then.
func (a *Agent) relive(name Series, at time.Time, value float64, fit func(*Refit)) (r Result) {
	h, ok := a.judged(name)
	if !ok {
		return r
	}
	s, millis, before := a.at(h), at.UnixMilli(), a.at(h).ring.count
	a.Append(h, millis, value)
	s.past = true
	if s.ring.count == before || millis <= a.taught[s.name().identity()] || s.claimedAfter(millis) {
		return r
	}
	if s.hours.hour%refitBlock == 0 && s.refit(&a.rehearsal) {
		fit(&a.rehearsal)
		a.refitted(s, &a.rehearsal)
	}
	a.look(s, millis, &r)
	return r
}

// Aside gives an agent to rehearse in while this one watches: it has the same limits,
// targets, zones and gate, and knows what the ledger knows. Adopt takes over what it has learned.
func (a *Agent) Aside() *Agent {
	r := New(a.cfg, a.targets, a.gate)
	r.Localize(a.zones)
	r.taught = maps.Clone(a.taught)
	return r
}

// Adopt gives the series the past that was rehearsed aside. What is watched by now goes on:
// of a series that is, the newest points come after that past, and its claims stand. Series
// that ended long before the others are of no use.
func (a *Agent) Adopt(aside *Agent) {
	newest := int64(0)
	for h := range Handle(aside.places) {
		if past := aside.at(h); past != nil {
			newest = max(newest, past.ring.last())
		}
	}
	for h := range Handle(aside.places) {
		past := aside.at(h)
		if past == nil || newest-past.ring.last() > ended {
			continue
		}
		if live, ok := a.judged(past.name()); ok {
			a.adopt(a.at(live), past, aside, h)
		}
	}
	for id, at := range aside.lately {
		a.taught[id] = max(a.taught[id], at)
	}
}

// ended is after what time without a point a series is no more, in ms.
const ended = 24 * hourLength

func (a *Agent) adopt(live, past *series, aside *Agent, h Handle) {
	times, values := live.ring.unpack(finePoints, a.work.times[:], a.work.values[:])
	for i, t := range times {
		aside.Append(h, live.ring.last()+int64(t*1000), values[i])
	}
	if past.hours.known < live.hours.known {
		return // it knows more already
	}
	live.ring, live.hours, live.fitted = past.ring, past.hours, past.fitted
	for i := range live.watches {
		w := &live.watches[i]
		at := slices.IndexFunc(past.watches, func(p watch) bool { return p.same(w) })
		if at < 0 {
			continue
		}
		p := &past.watches[at]
		w.breach, w.early, w.outlook = w.breach.after(p.breach, w.open), p.early, p.outlook
		for j := range w.open {
			w.open[j].samples = w.breach.count
		}
		for _, o := range p.open {
			if w.claim(o.rule) == nil && w.breach.began < o.Made {
				w.open = append(w.open, o)
			}
		}
	}
}

// after gives the state of a breach with the past that was rehearsed. A breach that was seen
// live has been told; one of the past that a claim foresaw is news to it.
func (b *breachState) after(past breachState, claims []open) breachState {
	seen := b.began
	past.calm, past.news = b.calm, b.news
	if past.began == 0 || seen != 0 {
		past.began, past.ended = max(past.began, seen), max(past.ended, b.ended)
		return past
	}
	past.news = slices.ContainsFunc(claims, func(o open) bool { return o.Made <= past.began && past.began <= o.Until })
	return past
}

// claimedAfter tells whether there is a claim, from before a restart, that is newer.
func (s *series) claimedAfter(millis int64) bool {
	return slices.ContainsFunc(s.watches, func(w watch) bool {
		return slices.ContainsFunc(w.open, func(o open) bool { return o.Made > millis })
	})
}

// Prune forgets what is kept for series that have not come since a restart: claims whose
// time was over long ago, and what the ledger knew before the time given; and series that
// are there for targets alone and have no more points, such as of a pod that is gone.
func (a *Agent) Prune(before, overdue time.Time) {
	for h := range Handle(a.places) {
		s := a.at(h)
		if s != nil && s.name().Judged && s.ring.last() < overdue.UnixMilli() && !slices.ContainsFunc(s.watches, func(w watch) bool { return len(w.open) > 0 }) {
			a.Close(h)
		}
	}
	old := before.UnixMilli()
	maps.DeleteFunc(a.taught, func(_ identity, at int64) bool { return at < old })
	maps.DeleteFunc(a.breaches, func(_ breached, at int64) bool { return at < old })
	maps.DeleteFunc(a.pending, func(_ identity, waiting []grace.Prediction) bool {
		return !slices.ContainsFunc(waiting, func(p grace.Prediction) bool { return p.Until.After(overdue) })
	})
}
