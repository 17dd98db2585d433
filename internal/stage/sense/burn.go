package sense

import (
	"time"

	"grace"
)

// An error budget is the share of bad events that an objective allows, and the
// burn rate is how many times faster than that it is used up:
//
//	burn rate = (bad events / all events) / budget
//
// At 1 the budget lasts exactly as long as the objective's period. A burn rate
// is judged over two windows, and counts only while both are above the
// threshold: the long one says that it matters, the short one, a twelfth of it,
// that it is still going on. (Beyer et al., The Site Reliability Workbook,
// chapter 5, "Multiwindow, Multi-Burn-Rate Alerts".)

const (
	burnShort   = 6              // buckets of the short window
	burnBuckets = 12 * burnShort // of the long one
)

// standardBurns are the workbook's windows for a budget of 30 days: 2 % of it
// gone in 1 h, 5 % in 6 h, 10 % in 3 days.
func standardBurns() []Objective {
	return []Objective{
		{Name: "1h", Window: grace.Duration(time.Hour), Threshold: 14.4, Severity: grace.SeverityCritical},
		{Name: "6h", Window: grace.Duration(6 * time.Hour), Threshold: 6, Severity: grace.SeverityCritical},
		{Name: "3d", Window: grace.Duration(72 * time.Hour), Threshold: 1, Severity: grace.SeverityWarning},
	}
}

// Expand gives the objective itself, or the three that stand for an error
// budget without a window. Their names are NAME-1h, NAME-6h and NAME-3d; a
// severity that was given is that of all three.
func (o Objective) Expand() []Objective {
	if o.Aggregation != aggregateBurn || o.Window != 0 {
		return []Objective{o}
	}
	out := standardBurns()
	for i, standard := range out {
		one := o
		one.Name += "-" + standard.Name
		one.Window, one.Threshold = standard.Window, standard.Threshold
		if one.Severity == "" {
			one.Severity = standard.Severity
		}
		out[i] = one
	}
	return out
}

// burn counts the events of the long window in a ring of buckets. The buckets
// start at multiples of their width, so that the window is up to one of them
// shorter than it says.
type burn struct {
	width    time.Duration
	buckets  [burnBuckets]events
	newest   int64     // number of the newest bucket since 1970
	since    time.Time // of the first event
	counters []counted // the newest value of every counter
}

type events struct{ bad, all float64 }

// counted is a counter as one sensor saw it last. Two sensors that read the
// same counter both count: the share of bad events stays the same.
type counted struct {
	sensor string
	total  bool
	value  float64
}

func newBurn(window time.Duration) *burn { return &burn{width: max(window/burnBuckets, 1)} }

// take adds a sample: of the objective's metric, or of its total.
func (b *burn) take(o *Objective, s *grace.Sample, total bool) {
	switch {
	case o.Total == "":
		b.add(s.At, events{bad: s.Value, all: 1})
	case total:
		b.add(s.At, events{all: b.increase(s, true)})
	default:
		b.add(s.At, events{bad: b.increase(s, false)})
	}
}

// increase is a counter's rise since its sample before. A value lower than that
// is a restart from zero.
func (b *burn) increase(s *grace.Sample, total bool) float64 {
	for i := range b.counters {
		c := &b.counters[i]
		if c.sensor != s.Sensor || c.total != total {
			continue
		}
		rise := s.Value - c.value
		if rise < 0 {
			rise = s.Value
		}
		c.value = s.Value
		return max(rise, 0)
	}
	b.counters = append(b.counters, counted{s.Sensor, total, s.Value})
	return 0
}

func (b *burn) add(at time.Time, e events) {
	if b.since.IsZero() {
		b.since = at
	}
	n := at.UnixNano() / int64(b.width)
	if n > b.newest { // what lies between had no events
		for i := max(b.newest+1, n-burnBuckets+1); i <= n; i++ {
			b.buckets[i%burnBuckets] = events{}
		}
		b.newest = n
	}
	if n <= b.newest-burnBuckets {
		return // before the window
	}
	bucket := &b.buckets[n%burnBuckets]
	bucket.bad += e.bad
	bucket.all += e.all
}

// rate gives the lower of the two windows' burn rates. It is not known before
// the events of one short window were seen: two errors in the first three
// requests after a start are no outage.
func (b *burn) rate(o *Objective, at time.Time) (v float64, ok bool) {
	if b.since.IsZero() || at.Sub(b.since) < burnShort*b.width {
		return 0, false
	}
	var long, brief events
	newest := at.UnixNano() / int64(b.width)
	for i := max(newest-burnBuckets+1, b.newest-burnBuckets+1, 0); i <= b.newest; i++ {
		e := b.buckets[i%burnBuckets]
		long.bad += e.bad
		long.all += e.all
		if i > newest-burnShort {
			brief.bad += e.bad
			brief.all += e.all
		}
	}
	return min(long.share(), brief.share()) / o.Budget, true
}

// share of no events is zero: who is not asked breaks no promise. Bad events
// that were counted before their total are at most all of them.
func (e events) share() float64 {
	if e.all <= 0 {
		return 0
	}
	return min(e.bad/e.all, 1)
}
