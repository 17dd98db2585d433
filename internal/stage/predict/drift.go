package predict

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"grace"
	"grace/internal/explain"
)

const (
	// Joint names the joint series of a service in the place of a metric, which no metric is
	// named like.
	Joint = "several metrics"
	// together is how many metrics of a service must drift before it is said to degrade.
	together = 3
	// knownDays of a time of the day must be known before it is held against them.
	knownDays = 3
	// mostDays is the share of the days that what is usual at a time of the day covers.
	mostDays = 0.9
	// titleNames metrics are named in a title at most.
	titleNames = 4
)

// note is what an agent saw of a series that has a threshold and recent data.
type note struct {
	member

	service      grace.ServiceID
	until        int64 // unix ms, by when it must have a newer point
	looked       int64
	newest       int64  // its newest point
	began, ended int64  // its newest breach
	near, on     bool   // it is beyond a threshold, or a breach lasts
	drift        *drift // the one that is there soonest; nil: it goes towards no threshold
}

// member names a series of a service.
type member struct{ metric, labels string }

// drift is a steady way towards a threshold, however far that is.
type drift struct {
	of        string // what is measured, the same for all expressions that look at it
	text      string // for people
	labels    string
	unit      string
	up        bool
	value     float64 // of the line, at the newest point
	change    float64 // over the span
	span      float64 // seconds
	threshold float64
	arrives   float64 // unix ms, when the line is there
	impact    grace.Impact
}

// noteSeries notes what a look at a series found: what drifts, and what is beyond its
// threshold. Only what is recent is noted.
func (a *Agent) noteSeries(s *series, now int64, n *note, r *Result) {
	if len(s.watches) == 0 || s.joint || !a.seen(s, now) {
		return
	}
	n.service, n.member = s.name().Service, member{s.name().Metric, s.name().Labels}
	n.until, n.looked, n.newest = s.ring.last()+a.cfg.stale(&s.ring), now, s.ring.last()
	r.notes = append(r.notes, *n)
}

// noteWatch notes what a look at one threshold found; l is the line that the rule trend
// found to go towards it, nil if there is none.
func (n *note) noteWatch(s *series, w *watch, l *line) {
	n.near, n.on = n.near || w.breach.near(), n.on || w.breach.on
	if w.breach.ended > n.ended {
		n.began, n.ended = w.breach.began, w.breach.ended
	}
	// Half of the way must be further than what is usual.
	if l == nil || s.hours.usual(l.level-l.slope*l.span/2, w.target.upward()) {
		return
	}
	d := &drift{
		of: strings.Join(w.target.Metrics, " "), text: cmp.Or(w.target.Text, s.name().Metric), labels: s.name().Labels, unit: w.target.Unit,
		up: w.target.upward(), value: l.level, change: l.slope * l.span, span: l.span, threshold: w.threshold,
		arrives: float64(s.ring.last()) + 1000*(w.threshold-l.level)/l.slope, impact: w.target.impact(s.name().Service),
	}
	d.of = cmp.Or(d.of, s.name().Metric)
	finite := func(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
	if !finite(d.value) || !finite(d.change) || !finite(d.arrives) || n.drift != nil && n.drift.arrives <= d.arrives {
		return
	}
	n.drift = d
}

// usual tells whether a value is no further up, or down, than on nearly all days at this
// time, as far as they are known. Within the hour the series goes from where it was to where
// it will be, and about a quarter of that way beyond the means of the hours.
func (h *hours) usual(v float64, up bool) bool {
	toward := -1.0
	if up {
		toward = 1
	}
	var days [hourlyPoints / 24]float64
	least, most := math.Inf(1), math.Inf(-1)
	for near := int64(-1); near <= 1; near++ {
		known := days[:0]
		for hour := h.hour + near - 24; hour > h.hour-hourlyPoints && hour >= 0; hour -= 24 {
			if q := h.values[hour%hourlyPoints]; q != 0 {
				known = append(known, toward*h.decode(q))
			}
		}
		slices.Sort(known)
		if n := len(known); n >= knownDays {
			at := known[min(int(mostDays*float64(n)), n-1)]
			least, most = min(least, at), max(most, at)
		}
	}
	return toward*v <= most+(most-least)/4
}

// Drifts puts together, by service, what agents noted of its series, for the joint series
// of the service. Whoever has several agents gives it what each look brought (Take), and
// once a round to one of them (Agent.Drift). The zero value is ready.
type Drifts struct {
	services map[grace.ServiceID]*condition
	since    int64 // unix ms
}

// condition is what is known of all series of a service.
type condition struct {
	born    int64 // unix ms, when the first was noted
	newest  int64 // of all points
	until   int64 // by when one must have a newer point
	ended   int64 // the newest sample of a breach
	settled int64 // the same, at the end of the last round
	began   int64 // the first breach that began since then; 0: none
	lost    bool  // too few drift, and of one there is no data: nobody knows whether it has turned
	// members are those that drift or are beyond their threshold.
	members map[member]note
}

// Take takes what agents noted at a look.
func (d *Drifts) Take(r *Result) {
	for i := range r.notes {
		n := &r.notes[i]
		c := d.services[n.service]
		if c == nil {
			if d.services == nil {
				d.services = map[grace.ServiceID]*condition{}
			}
			c = &condition{born: n.looked, members: map[member]note{}}
			d.services[n.service] = c
		}
		c.newest, c.until, c.ended = max(c.newest, n.newest), max(c.until, n.until), max(c.ended, n.ended)
		// Nobody can foresee what is there when the service is first seen.
		if n.began >= c.born && n.began > c.settled && (c.began == 0 || n.began < c.began) {
			c.began = n.began
		}
		if n.drift != nil || n.near || n.on {
			c.members[n.member] = *n
		} else {
			delete(c.members, n.member)
		}
	}
}

// Since tells that the process was reconfigured, or woke: what drifted by then is seen anew
// before anything is said of it, or said no more.
func (d *Drifts) Since(t time.Time) {
	d.since = t.UnixMilli()
	for _, c := range d.services {
		clear(c.members)
	}
}

// expire forgets what has had no point for too long.
func (c *condition) expire(at int64) {
	c.lost = false
	maps.DeleteFunc(c.members, func(_ member, n note) bool {
		over := at > n.until
		c.lost = c.lost || over && n.drift != nil
		return over
	})
	c.lost = c.lost && len(c.drifting()) < together
}

// breached tells whether one of the newest samples of the service is beyond a threshold,
// and whether a breach lasts.
func (c *condition) breached() (near, on bool) {
	for _, n := range c.members {
		near, on = near || n.near, on || n.on
	}
	return near, on
}

// drifting gives one series of each metric that drifts, the one that is there soonest.
func (c *condition) drifting() []*drift {
	of := map[string]*drift{}
	for _, n := range c.members {
		if n.drift != nil && (of[n.drift.of] == nil || n.drift.before(of[n.drift.of])) {
			of[n.drift.of] = n.drift
		}
	}
	return slices.SortedFunc(maps.Values(of), func(x, y *drift) int { return cmp.Or(cmp.Compare(x.text, y.text), cmp.Compare(x.of, y.of)) })
}

func (d *drift) before(other *drift) bool {
	return cmp.Or(cmp.Compare(d.arrives, other.arrives), cmp.Compare(d.labels, other.labels), cmp.Compare(d.text, other.text)) < 0
}

// jointOf is the joint series of a service: whether a threshold of any of its series is
// breached.
func jointOf(service grace.ServiceID) Series {
	return Series{Service: service, Metric: Joint, joint: true}
}

// jointWatches are those of a joint series, which no configuration changes.
func jointWatches(s *series, before []watch) []watch {
	if len(before) > 0 {
		return before
	}
	return []watch{{target: &Target{Service: s.name().Service, Metric: Joint, Op: ">", Code: grace.CodeDegradation}}}
}

// Drift ends a round: it looks at the joint series of the services whose metrics drift
// together, or of which that was claimed. A joint series is there while something is claimed
// of it. Looks that the round should have had are two: for so long after Since none is
// looked at.
func (a *Agent) Drift(d *Drifts, now time.Time, r *Result) {
	at := now.UnixMilli()
	if at-d.since < 2*a.cfg.Every.D().Milliseconds() {
		return
	}
	var wanted []grace.ServiceID
	for id, c := range d.services {
		c.expire(at)
		name := jointOf(id)
		_, open := a.find(name.identity())
		if open || len(a.pending[name.identity()]) > 0 || len(c.members) >= together && len(c.drifting()) >= together {
			wanted = append(wanted, id)
		} else if at > c.until+max(a.merge, a.cfg.StaleAfter.D().Milliseconds()) {
			delete(d.services, id)
		}
	}
	slices.Sort(wanted)
	for _, id := range wanted {
		a.lookJointly(id, d.services[id], at, r)
	}
	for _, c := range d.services {
		c.settled, c.began = c.ended, 0
	}
	sortPublished(r)
}

func (a *Agent) lookJointly(service grace.ServiceID, c *condition, at int64, r *Result) {
	name := jointOf(service)
	waiting := a.pending[name.identity()]
	h := a.Open(name)
	s := a.at(h)
	if !s.joint {
		return // somebody has a metric of that name
	}
	w := &s.watches[0]
	for i := range waiting { // from before a restart
		w.target.Impact = waiting[i].Impact
	}
	for _, one := range c.drifting() {
		if one.impact.Rank() > w.target.Impact.Rank() {
			w.target.Impact = one.impact
		}
	}
	near, on := c.breached()
	if c.newest > s.ring.last() || s.ring.count == 0 {
		value := 0.0
		if near || on {
			value = 1
		}
		s.ring.append(c.newest, value)
		w.breach.count++
	}
	w.breach.join(c, near, on, a.merge)
	a.joined = c
	a.look(s, at, r)
	if len(w.open) == 0 {
		a.Close(h)
	}
}

// join takes the breaches of the series of a service: one of any is one of the service, and
// began when that did.
func (b *breachState) join(c *condition, near, on bool, merge int64) {
	b.mask, b.on = 0, on
	if near {
		b.mask = 1
	}
	switch {
	case b.calm != 0 && c.ended > b.calm:
		b.began, b.news, b.calm = max(c.began, b.calm), true, 0
	case c.began != 0 && (b.ended == 0 || c.began-b.ended >= merge):
		b.began, b.news = c.began, true
	}
	b.ended = max(b.ended, c.ended)
}

// lookDrift claims that a service degrades when several of its metrics drift together. What
// one drift says is worth little, and of two that is still so.
func lookDrift(v *view) (raw, bool) {
	found := v.joined.drifting()
	n := len(found)
	if n < together {
		return raw{}, false
	}
	reach := 2 * v.cfg.Horizon.D()
	r := raw{score: float64(n-1) / float64(n+1), until: reach, breach: reach, high: 1, n: n}
	names := make([]string, n)
	rise, fall := true, true
	for i, d := range found {
		names[i] = d.text
		rise, fall = rise && d.up, fall && !d.up
		r.breach = min(r.breach, inSeconds(min(max(d.arrives-float64(v.now), 0)/1000, reach.Seconds())))
		r.also = append(r.also, d.evidence())
	}
	how := "drift"
	if rise {
		how = "rise"
	} else if fall {
		how = "fall"
	}
	list := explain.Some(names, titleNames)
	if n <= titleNames {
		list = explain.List(names[:n-1]) + " and " + names[n-1]
	}
	r.title = string(v.target.Service) + " degrades: " + list + " " + how + " together"
	return r, true
}

func (d *drift) evidence() string {
	way := "rose"
	if !d.up {
		way = "fell"
	}
	return d.text + d.labels + " " + way + " by " + explain.Quantity(math.Abs(d.change), d.unit) + " in " + explain.Quantity(d.span, "s") +
		" to " + explain.Quantity(d.value, d.unit) + "; its threshold is " + explain.Quantity(d.threshold, d.unit)
}
