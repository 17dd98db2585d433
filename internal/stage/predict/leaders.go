package predict

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"grace"
)

const (
	// mostLeaders of a follower.
	mostLeaders = 8
	// mostRelated pairs of series in all, of a kilobyte each.
	mostRelated = 4096
	// leadClip: a value counts at most so many widths from usual.
	leadClip = 8
	// leadGrows: so much a width grows with a value beyond that, so that a spike counts
	// little and a level that stays is followed.
	leadGrows = 1.5
	// leadAbsurd is a distance from usual that nobody can square twice.
	leadAbsurd = 1e60
)

// leads are the series whose thresholds may be foretold from others, and these.
type leads struct {
	near      func(grace.ServiceID) []grace.ServiceID
	changed   bool // series, thresholds or dependencies are other ones
	followers map[*series]*follower
	peers     map[*series]*peer
}

// follower is a series with a threshold that somebody set.
type follower struct {
	*peer

	step    int64 // ms; the lags are multiples of it
	leaders []leader
}

// leader is one of the same service, or of one that it depends on.
type leader struct {
	*peer

	relations [leadLags]relation // by lag
}

// peer is a series that leads or follows: what is usual of it at each hour of a day, from
// Monday to Friday and on the other days, and how far from that it goes.
type peer struct {
	series *series
	clock  *clock // by which it was learned what is usual
	hour   int64  // in which, and shift: not all peers in the same
	shift  int64  // ms
	seen   int64  // the newest point, unix ms
	usual  days
	swing  float64 // of what is usual
	width  float64
}

// Depend tells which services a service depends on, directly or through others, itself left
// out and the nearest first. Without it nothing is foretold from other series.
func (a *Agent) Depend(near func(grace.ServiceID) []grace.ServiceID) {
	if near == nil {
		a.leads = leads{}
	}
	a.leads.near, a.leads.changed = near, true
}

// follow gives a series what it is foretold from, and has that learn from a fresh point.
func (a *Agent) follow(s *series, fresh bool) {
	if a.leads.near == nil || s.ring.len() < a.cfg.MinSamples {
		return
	}
	if a.leads.changed {
		a.relate()
	}
	if f := a.leads.followers[s]; f != nil && fresh {
		a.learnLeads(f)
	}
}

// forgetLeads forgets a series that is closed.
func (a *Agent) forgetLeads(s *series) {
	a.leads.changed = a.leads.changed || !s.joint
	if a.leads.peers[s] == nil {
		return
	}
	delete(a.leads.peers, s)
	delete(a.leads.followers, s)
	for _, f := range a.leads.followers {
		f.leaders = slices.DeleteFunc(f.leaders, func(l leader) bool { return l.series == s })
	}
}

// relate finds the leaders of every follower. What is known of those that it had stays.
func (a *Agent) relate() {
	a.leads.changed = false
	old := a.leads
	a.leads.followers, a.leads.peers = map[*series]*follower{}, map[*series]*peer{}
	join := func(s *series) *peer {
		p := a.leads.peers[s]
		if p == nil {
			if p = old.peers[s]; p == nil {
				p = &peer{series: s, shift: int64(len(a.leads.peers)) % 120 * hourLength / 120}
			}
			a.leads.peers[s] = p
		}
		return p
	}
	followers, leaders := a.related()
	room := mostRelated
	for rank := range mostLeaders { // each gets one before any gets a second
		for i, s := range followers {
			if rank >= len(leaders[i]) || room == 0 {
				continue
			}
			room--
			before := old.followers[s]
			f := a.leads.followers[s]
			if f == nil {
				f = &follower{peer: join(s)}
				a.leads.followers[s] = f
				if before != nil {
					f.step = before.step
				}
			}
			l := leader{peer: join(leaders[i][rank])}
			if before != nil {
				if at := slices.IndexFunc(before.leaders, func(b leader) bool { return b.series == l.series }); at >= 0 {
					l.relations = before.leaders[at].relations
				}
			}
			f.leaders = append(f.leaders, l)
		}
	}
}

// candidate is a series that may lead others of its service, and of those that depend on it.
type candidate struct {
	*series

	place int // among those of its service with the same metric
}

// related gives the series with a threshold that somebody set, and the leaders of each: in an
// order that does not depend on when they came.
func (a *Agent) related() (followers []*series, leaders [][]*series) {
	var all []*series
	for h := range Handle(a.places) {
		if s := a.at(h); s != nil && !s.joint {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(x, y *series) int {
		return cmp.Or(strings.Compare(string(x.name().Service), string(y.name().Service)), strings.Compare(x.name().Metric, y.name().Metric), strings.Compare(x.name().Labels, y.name().Labels))
	})
	of := map[grace.ServiceID][]candidate{}
	for i, s := range all {
		c := candidate{series: s}
		if list := of[s.name().Service]; i > 0 && len(list) > 0 && list[len(list)-1].name().Metric == s.name().Metric {
			c.place = list[len(list)-1].place + 1
		}
		if c.place <= mostLeaders {
			of[s.name().Service] = append(of[s.name().Service], c)
		}
	}
	near := map[grace.ServiceID][]grace.ServiceID{}
	for _, s := range all {
		if !slices.ContainsFunc(s.watches, func(w watch) bool { return !w.learned }) {
			continue
		}
		id := s.name().Service
		if _, known := near[id]; !known {
			near[id] = a.leads.near(id)
		}
		followers, leaders = append(followers, s), append(leaders, leadersOf(s, near[id], of))
	}
	return followers, leaders
}

// leadersOf gives the leaders of a series, of the services that its own depends on and of
// that in turn: what is sick together must not keep out what made it so.
func leadersOf(s *series, near []grace.ServiceID, of map[grace.ServiceID][]candidate) (out []*series) {
	others, own := pick(s, near, of), pick(s, []grace.ServiceID{s.name().Service}, of)
	for i := range mostLeaders {
		for _, list := range [][]*series{others, own} {
			if i < len(list) && len(out) < mostLeaders {
				out = append(out, list[i])
			}
		}
	}
	return out
}

// pick gives at most mostLeaders series of services: of every metric one before a second,
// those of the first services first.
func pick(s *series, services []grace.ServiceID, of map[grace.ServiceID][]candidate) (out []*series) {
	for place := range mostLeaders + 1 {
		for _, id := range services {
			for _, c := range of[id] {
				if c.place != place || c.series == s {
					continue
				}
				if out = append(out, c.series); len(out) == mostLeaders {
					return out
				}
			}
		}
	}
	return out
}

// refresh learns what is usual, once an hour, and how far from that the newest point is.
func (p *peer) refresh(work *scratch) {
	s := p.series
	if hour := (s.ring.last() + p.shift) / hourLength; p.hour != hour || p.clock != s.clock {
		p.hour, p.clock = hour, s.clock
		p.learnUsual(work)
	}
	if p.seen == s.ring.last() || s.ring.count == 0 {
		return
	}
	newest := s.ring.newest()
	if p.seen == 0 {
		_, values := s.ring.unpack(finePoints, work.times[:], work.values[:])
		p.width = deviation(values, median(values))
	} else {
		p.width *= leadKeep(s.ring.last() - p.seen)
	}
	p.width = max(p.width, leastWidth(newest))
	p.seen = s.ring.last()
	if math.Abs(newest-p.usualAt(p.seen)) > leadClip*p.width {
		p.width *= leadGrows
	}
}

// learnUsual takes the middle of the days, by hour; NaN where there is none. Before
// daysApart, what is far from all other hours is no middle.
func (p *peer) learnUsual(work *scratch) {
	if work.hours == nil {
		work.hours = make([]float64, hourlyPoints)
	}
	history, first := p.series.hours.history(work.hours)
	var seen [2][24]int
	p.usual, seen = medianDays(history, first/hourLength, p.clock)
	all := work.slopes[:0]
	for i := range p.usual {
		all = append(all, p.usual[i][:]...)
	}
	all = slices.DeleteFunc(all, math.IsNaN)
	work.slopes = all
	if len(all) == 0 {
		return
	}
	middle := median(all)
	width := leadClip * max(deviation(all, middle), leastWidth(middle))
	least, most := middle, middle
	for i := range p.usual {
		for hour := range p.usual[i] {
			switch u := &p.usual[i][hour]; {
			case math.Abs(*u-middle) > width && seen[i][hour] < daysApart:
				*u = math.NaN()
			case !math.IsNaN(*u):
				least, most = min(least, *u), max(most, *u)
			}
		}
	}
	p.swing = most - least
}

// usualAt is what is usual at a time, between the middles of two hours.
func (p *peer) usualAt(at int64) float64 {
	at -= hourLength / 2
	hour := floorDiv(at, hourLength)
	part := float64(at-hour*hourLength) / float64(hourLength)
	return (1-part)*p.usual.in(hour, p.clock) + part*p.usual.in(hour+1, p.clock)
}

// away is how far a value is from what is usual then; NaN where that is not known.
func (p *peer) away(v float64, at int64) float64 {
	d := v - p.usualAt(at)
	if !(math.Abs(d) <= leadAbsurd) {
		return math.NaN()
	}
	return min(max(d, -leadClip*p.width), leadClip*p.width)
}

// recent is how far the series was from usual at a time, by the middle of the three newest
// points of then, so that one alone counts for nothing; NaN where these are too old.
func (p *peer) recent(at, patience int64) float64 {
	r := &p.series.ring
	n := r.upTo(at)
	if n < 3 {
		return math.NaN()
	}
	x, xAt := r.point(n - 3)
	y, _ := r.point(n - 2)
	z, zAt := r.point(n - 1)
	if at-zAt > patience || at-xAt > patience+2*int64(r.step) {
		return math.NaN()
	}
	return p.away(max(min(x, y), min(max(x, y), z)), at)
}
