package forecast

import (
	"math"
	"slices"
	"time"
)

const (
	// tooLarge: a value beyond it is no measurement, and squares would overflow.
	tooLarge = 1e100
	// minPoints: fewer say nothing that a person could not see better.
	minPoints = 8
	// minSeen is the share of points that must be there.
	minSeen = 0.5
	// maxOrigins bounds the cost of a refit; two weeks hold each weekday twice.
	maxOrigins = 14
	// seasonsNeeded is how often a season must have been seen to be used.
	seasonsNeeded = 2
)

// Problem is what a Model gets: one series, cleaned and scaled, and the origins
// it forecasts from. A model must not look at Values[origin:] when it
// forecasts from an origin, parameters apart, which may come from all of them.
type Problem struct {
	// Values are without gaps, with median 0 and a median absolute deviation
	// of about 1. Seen is false where a value was missing and has been filled.
	Values []float64
	Seen   []bool
	// Day and Week are the seasons in steps, 0 where the history is too short
	// to know one. Week is a multiple of Day when both are there.
	Day, Week int
	// Origins ascend; the last is len(Values), the others lie at least one
	// horizon before it where there are enough points.
	Origins []int
	Horizon int

	centre, scale float64
}

func (p *Problem) unscale(v float64) float64 { return p.centre + v*p.scale }

// Season gives the longest known season, at least 1.
func (p *Problem) Season() int { return max(p.Week, p.Day, 1) }

// prepare cleans and scales a history. It is false when there is too little to
// go by.
func (w *Workspace) prepare(h History, horizon int) (*Problem, bool) {
	p := &w.problem
	values := h.Values
	for len(values) > 0 && !usable(values[0]) {
		values = values[1:]
	}
	n := len(values)
	if n < minPoints || horizon < 1 || h.Step <= 0 {
		return nil, false
	}
	p.Values = resize(p.Values, n)
	p.Seen = resize(p.Seen, n)
	seen := w.Floats(n)[:0]
	for i, v := range values {
		p.Seen[i] = usable(v)
		if p.Seen[i] {
			seen = append(seen, v)
		}
	}
	if len(seen) < minPoints || float64(len(seen)) < minSeen*float64(n) {
		return nil, false
	}
	p.centre, p.scale = spread(seen)
	for i, v := range values {
		if p.Seen[i] {
			p.Values[i] = (v - p.centre) / p.scale
		}
	}
	p.Day, p.Week = seasons(n, h.Step)
	p.fill()
	p.Horizon = horizon
	p.origins()
	return p, true
}

func usable(v float64) bool { return math.Abs(v) <= tooLarge } // false for NaN

// spread gives the median and a scale that is never 0. It sorts its argument.
func spread(values []float64) (centre, scale float64) {
	slices.Sort(values)
	centre = middle(values)
	mean := 0.0
	for i, v := range values {
		values[i] = math.Abs(v - centre)
		mean += values[i] / float64(len(values))
	}
	slices.Sort(values)
	// The mean deviation stands in where most values are the same.
	scale = max(1.4826*middle(values), 0.5*mean)
	if scale <= 1e-12*math.Abs(centre) || scale < 1e-300 {
		scale = max(math.Abs(centre), 1) // constant as far as float64 can tell
	}
	return centre, scale
}

// middle is the median of sorted values.
func middle(sorted []float64) float64 {
	n := len(sorted)
	return sorted[(n-1)/2]/2 + sorted[n/2]/2
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// seasons gives a day and a week in steps where they are whole and have been
// seen often enough.
func seasons(n int, step time.Duration) (day, week int) {
	const d = 24 * time.Hour
	if d%step == 0 && n >= seasonsNeeded*int(d/step) && d/step > 1 {
		day = int(d / step)
	}
	if (7*d)%step == 0 && n >= seasonsNeeded*int(7*d/step) && 7*d/step > 1 {
		week = int(7 * d / step)
	}
	return day, week
}

// fill bridges each gap by what the series did over the same hours a week before, or a
// day, moved to meet the value at its beginning; by that value where neither is known.
// Nothing is taken from after the gap: a past origin would know of its future.
func (p *Problem) fill() {
	left := 0 // the first value is always seen
	for t, seen := range p.Seen {
		if seen {
			left = t
			continue
		}
		p.Values[t] = p.Values[left]
		for _, season := range [...]int{p.Week, p.Day} {
			if season != 0 && left >= season {
				p.Values[t] += p.Values[t-season] - p.Values[left-season]
				break
			}
		}
	}
}

// origins lays the rolling origins one day apart (so that each sees the same
// hours ahead as the forecast does), the newest one horizon back, and keeps
// half of the history, and two of each season, before the oldest.
func (p *Problem) origins() {
	n := len(p.Values)
	apart := p.Day
	if apart == 0 {
		apart = max(1, p.Horizon/4)
	}
	least := max(n/2, minPoints/2)
	p.Origins = p.Origins[:0]
	for origin := n - p.Horizon; origin >= least && len(p.Origins) < maxOrigins; origin -= apart {
		p.Origins = append(p.Origins, origin)
	}
	slices.Reverse(p.Origins)
	p.Origins = append(p.Origins, n)
}
