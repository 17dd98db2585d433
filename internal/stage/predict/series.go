package predict

import (
	"math"
	"slices"
	"unique"

	"grace"
	"grace/internal/breach"
)

// Series names a series of numbers about a service.
type Series struct {
	Service grace.ServiceID
	Metric  string
	Labels  string // the other labels, written in one way only; "" for none
	Role    grace.Role
	Unit    string
	Falls   bool // it gets worse downwards; a learned threshold is a lower one
	Judged  bool // it is there for a target alone
	joint   bool // of all series of a service; see Drifts
}

// Handle stands for an open series.
type Handle uint32

// seriesID is what a target names.
type seriesID struct {
	service grace.ServiceID
	metric  string
}

// identity is what makes two series the same one.
type identity struct {
	seriesID

	labels string
}

func (s Series) identity() identity {
	return identity{seriesID{s.Service, s.Metric}, s.Labels}
}

// series is all that is kept of one, in one piece of memory.
type series struct {
	like    unique.Handle[Series] // its name without the labels, which others share
	labels  string
	watches []watch
	used    bool
	joint   bool     // see Series
	past    bool     // the newest point was rehearsed: it is looked at as of then, not as of now
	looked  uint32   // count of points when it was last looked at
	next    Handle   // with the same hash; see index
	fitted  int32    // the hour of its newest forecast (NextRefit), or in which its threshold was learned
	odd     *oddness // of a series whose threshold is learned
	clock   *clock   // of its service
	ring    ring
	hours   hours
}

func (s *series) name() Series {
	name := s.like.Value()
	name.Labels = s.labels
	return name
}

// Open makes a series known, or gives the handle of the one that is. A series
// without a target is remembered too: a threshold may be learned for it.
func (a *Agent) Open(name Series) Handle {
	id := name.identity()
	if h, ok := a.find(id); ok {
		return h
	}
	h := a.place()
	s := &a.series[h/slab][h%slab]
	like := name
	like.Labels = ""
	*s = series{like: unique.Make(like), labels: name.Labels, used: true, joint: name.joint, clock: a.clockOf(name.Service)}
	a.register(id, h)
	a.open++
	s.watches = a.watchesOf(s, nil)
	a.attend(s)
	a.leads.changed = a.leads.changed || !name.joint
	a.recallBreaches(s)
	a.reopen(s)
	return h
}

// place finds room for a series.
func (a *Agent) place() Handle {
	if n := len(a.free); n > 0 {
		h := a.free[n-1]
		a.free = a.free[:n-1]
		return h
	}
	if a.places%slab == 0 {
		a.series = append(a.series, new([slab]series))
	}
	h := Handle(a.places)
	a.places++
	return h
}

// Close forgets a series. What was claimed of it stays unresolved; how right
// the rules were on it the gate remembers.
func (a *Agent) Close(h Handle) {
	s := a.at(h)
	if s == nil {
		return
	}
	a.forgetLeads(s)
	for i := range s.watches {
		a.abandon(s, &s.watches[i])
	}
	a.unregister(h)
	*s = series{}
	a.free = append(a.free, h)
	a.open--
}

// abandon leaves the claims on a watch without a verdict.
func (a *Agent) abandon(s *series, w *watch) {
	for _, o := range w.open {
		a.left = append(a.left, a.entry(s, w, resolved{rule: o.rule, claim: o.Claim, outcome: grace.PredictionUnresolved, at: s.ring.last()}))
	}
	w.open = nil
}

func (a *Agent) at(h Handle) *series {
	if int(h) >= a.places {
		return nil
	}
	if s := &a.series[h/slab][h%slab]; s.used {
		return s
	}
	return nil
}

// Append takes a value. A value that is not a finite number is passed over, and
// so is one that is not newer than the newest. It does not allocate.
func (a *Agent) Append(h Handle, atMillis int64, v float64) {
	s := a.at(h)
	if s == nil || math.IsNaN(v) || math.IsInf(v, 0) || atMillis <= s.ring.last() && s.ring.count > 0 {
		return
	}
	s.past = false
	s.ring.append(atMillis, v)
	s.hours.append(atMillis, v)
	ahead := int8(s.clock.offset(atMillis))
	if s.odd != nil {
		s.odd.Ahead = ahead
		s.odd.append(atMillis, v, s.name().Falls)
	}
	for i := range s.watches {
		w := &s.watches[i]
		w.breach.append(&s.ring, w.target.breached(v, w.threshold), a.merge)
		if w.early != nil {
			w.early.Ahead = ahead
			a.model.Append(w.early, atMillis, v, w.threshold, !w.target.upward())
		}
	}
}

// targetsOf gives the places of the targets of a series.
func (a *Agent) targetsOf(s Series) []int {
	return append(slices.Clip(a.byID[seriesID{s.Service, s.Metric}]), a.byID[seriesID{"", s.Metric}]...)
}

// same tells whether two watches hold a series against the same threshold, which somebody
// set.
func (w *watch) same(as *watch) bool {
	return !w.learned && !as.learned && w.target.Op == as.target.Op && w.threshold == as.threshold && w.target.Code == as.target.Code
}

// watchesOf gives a watch for every target of a series, and keeps what is known
// of those it had.
func (a *Agent) watchesOf(s *series, before []watch) []watch {
	if s.joint {
		return jointWatches(s, before)
	}
	var out []watch
	for _, i := range a.targetsOf(s.name()) {
		t := &a.targets[i]
		w := watch{target: t, threshold: t.Threshold}
		old := slices.IndexFunc(before, func(b watch) bool { return b.same(&w) })
		if old >= 0 {
			w = before[old]
			w.target = t
			if a.remodelled {
				w.early = &breach.State{}
			}
			before[old].open = nil
		} else {
			w.early = &breach.State{}
		}
		out = append(out, w)
	}
	for i := range before {
		if before[i].learned && len(out) == 0 && a.cfg.Learn {
			out = append(out, before[i])
			continue
		}
		a.abandon(s, &before[i])
	}
	return out
}
