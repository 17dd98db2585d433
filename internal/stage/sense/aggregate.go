package sense

import (
	"math"
	"slices"
	"time"
)

const (
	aggregateLast     = "last"
	aggregateAvg      = "avg"
	aggregateMin      = "min"
	aggregateMax      = "max"
	aggregateSum      = "sum"
	aggregateCount    = "count"
	aggregateP50      = "p50"
	aggregateP90      = "p90"
	aggregateP95      = "p95"
	aggregateP99      = "p99"
	aggregateRate     = "rate"
	aggregateIncrease = "increase"
	aggregateBurn     = "burn_rate"
)

// Aggregations lists what an objective may do with a window.
func Aggregations() []string {
	return []string{
		aggregateLast, aggregateAvg, aggregateMin, aggregateMax, aggregateSum, aggregateCount,
		aggregateP50, aggregateP90, aggregateP95, aggregateP99, aggregateRate, aggregateIncrease, aggregateBurn,
	}
}

// aggregate gives an objective's value at a time; ok is false while there are
// too few points. The window is (at-Window, at]. scratch is reused between
// calls and returned.
//
// Over several feeds, last is the worst of their newest values, rate and
// increase are sums, and everything else treats the points as one heap. What was
// seen before since is no evidence, see worstLast.
func (s *series) aggregate(o *Objective, at, since time.Time, freshFor time.Duration, scratch []float64) (v float64, ok bool, _ []float64) {
	switch o.Aggregation {
	case aggregateLast:
		v, ok = s.worstLast(o, at.Add(-freshFor), since)
		return v, ok, scratch
	case aggregateRate, aggregateIncrease:
		v, ok = s.counter(o.Aggregation, at.Add(-o.Window.D()))
		return v, ok, scratch
	}
	scratch = scratch[:0]
	from := at.Add(-o.Window.D()).Add(1)
	for _, f := range s.feeds {
		points := f.points()
		for _, p := range points[firstAt(points, from):] {
			scratch = append(scratch, p.Value)
		}
	}
	if len(scratch) == 0 {
		return 0, false, scratch
	}
	v = reduce(o.Aggregation, scratch)
	return v, !math.IsInf(v, 0), scratch
}

// reduce may change the order of values, of which there is at least one.
func reduce(aggregation string, values []float64) float64 {
	switch aggregation {
	case aggregateMin:
		return slices.Min(values)
	case aggregateMax:
		return slices.Max(values)
	case aggregateSum:
		return sum(values)
	case aggregateCount:
		return float64(len(values))
	case aggregateP50:
		return quantile(values, 50)
	case aggregateP90:
		return quantile(values, 90)
	case aggregateP95:
		return quantile(values, 95)
	case aggregateP99:
		return quantile(values, 99)
	default:
		return sum(values) / float64(len(values))
	}
}

func sum(values []float64) float64 {
	var total float64
	for _, v := range values {
		total += v
	}
	return total
}

// quantile is the nearest-rank percentile: a value that was really seen.
func quantile(values []float64, percent int) float64 {
	slices.Sort(values)
	rank := (percent*len(values) + 99) / 100
	return values[max(rank, 1)-1]
}

// worstLast gives the worst of the newest values. Where one from before since is
// bad and none from after it is, there is no verdict: that sensor has not looked
// again, and the others do not see what it saw.
func (s *series) worstLast(o *Objective, from, since time.Time) (worst float64, ok bool) {
	upward := o.Op == ">" || o.Op == ">="
	now, shown := 0.0, false // the worst of those from after since
	worse := func(v, than float64) bool { return upward && v > than || !upward && v < than }
	for _, f := range s.feeds {
		points := f.points()
		if len(points) == 0 || points[len(points)-1].At.Before(from) {
			continue // a sensor that was taken away has no say
		}
		p := points[len(points)-1]
		if !ok || worse(p.Value, worst) {
			worst, ok = p.Value, true
		}
		if p.At.After(since) && (!shown || worse(p.Value, now)) {
			now, shown = p.Value, true
		}
	}
	if shown && o.breached(worst) && !o.breached(now) {
		return 0, false
	}
	return worst, ok
}

// counter gives the increase of a counter, or its rate per second, since from.
// A value lower than the one before it is a restart from zero. With fewer than
// two points in the window, the one before it is the base, so that a window
// shorter than the sensor's interval still works.
func (s *series) counter(aggregation string, from time.Time) (v float64, ok bool) {
	for _, f := range s.feeds {
		points := f.points()
		i := firstAt(points, from.Add(1))
		if i == len(points) {
			continue // nothing new in the window
		}
		if len(points)-i < 2 && i > 0 {
			i--
		}
		points = points[i:]
		if len(points) < 2 {
			continue
		}
		increase := 0.0
		for j := 1; j < len(points); j++ {
			step := points[j].Value - points[j-1].Value
			if step < 0 {
				step = points[j].Value
			}
			increase += step
		}
		ok = true
		if aggregation == aggregateIncrease {
			v += increase
			continue
		}
		v += increase / points[len(points)-1].At.Sub(points[0].At).Seconds()
	}
	return v, ok
}
