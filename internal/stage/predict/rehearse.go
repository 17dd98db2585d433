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
	if s.ring.count == before || millis <= a.taught[s.name.identity()] || s.claimedAfter(millis) {
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
// targets and gate, and knows what the ledger knows. Adopt takes over what it has learned.
func (a *Agent) Aside() *Agent {
	r := New(a.cfg, a.targets, a.gate)
	r.taught = maps.Clone(a.taught)
	return r
}

// Adopt gives the series the past that was rehearsed aside. What is watched by now goes on:
// of a series that is, the newest points come after that past, and its claims stand.
func (a *Agent) Adopt(aside *Agent) {
	for h := range Handle(aside.places) {
		past := aside.at(h)
		if past == nil || len(a.targetsOf(&past.name)) == 0 {
			continue
		}
		live, ok := a.judged(past.name)
		if !ok {
			continue
		}
		a.adopt(a.at(live), past, aside, h)
	}
}

func (a *Agent) adopt(live, past *series, aside *Agent, h Handle) {
	times, values := live.ring.unpack(finePoints, a.work.times[:], a.work.values[:])
	for i, t := range times {
		aside.Append(h, live.ring.last+int64(t*1000), values[i])
	}
	live.ring, live.hours, live.fitted = past.ring, past.hours, past.fitted
	for i := range live.watches {
		w := &live.watches[i]
		at := slices.IndexFunc(past.watches, func(p watch) bool { return p.same(w) })
		if at < 0 {
			continue
		}
		p := &past.watches[at]
		w.breach, w.early, w.outlook = p.breach, p.early, p.outlook
		for j := range w.open {
			w.open[j].samples = w.breach.count
		}
		for _, o := range p.open {
			if w.claim(o.rule) == nil {
				w.open = append(w.open, o)
			}
		}
	}
}

// claimedAfter tells whether there is a claim, from before a restart, that is newer.
func (s *series) claimedAfter(millis int64) bool {
	return slices.ContainsFunc(s.watches, func(w watch) bool {
		return slices.ContainsFunc(w.open, func(o open) bool { return o.Made > millis })
	})
}

// Prune forgets what is kept for series that have not come since a restart: claims whose
// time was over long ago, and what the ledger knew before the time given.
func (a *Agent) Prune(before, overdue time.Time) {
	old := before.UnixMilli()
	maps.DeleteFunc(a.taught, func(_ identity, at int64) bool { return at < old })
	maps.DeleteFunc(a.breaches, func(_ breached, at int64) bool { return at < old })
	maps.DeleteFunc(a.pending, func(_ identity, waiting []grace.Prediction) bool {
		return !slices.ContainsFunc(waiting, func(p grace.Prediction) bool { return p.Until.After(overdue) })
	})
}
