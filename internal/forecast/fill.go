package forecast

import (
	"math"
	"slices"
	"time"
)

// TimeToFull says when a resource that is used up steadily (a disk, a quota, a
// pool) reaches its limit. The band holds 80 %.
type TimeToFull struct {
	At               time.Time
	Earliest, Latest time.Time
	// Slope is the change a step, in the units of the history.
	Slope float64
}

const (
	fillBlocks = 48 // means that the line is drawn through, at most
	fillLeast  = 6  // and at least
	// fillReach: it says nothing of times further ahead than so many times what
	// it has seen.
	fillReach = 3.0
	// fillReset: a change the other way over one step, of at least this share of
	// the range, is no noise: somebody made room.
	fillReset = 0.25
	// fillKeepUp: the newest third goes on with at least this share of the slope.
	fillKeepUp = 1.0 / 3
	// fillScore is the normal quantile of an 80 % interval.
	fillScore = 1.2816
	// fillFurthest in nanoseconds (thirty years) keeps within time's range.
	fillFurthest = 1e18
)

// Fill draws a robust line through the means of the newest blocks of a history
// (Sen, 1968: the median slope of all pairs) and follows it to a limit above or
// below the newest values. The band comes from Sen's interval of the slope,
// widened as the errors depend on each other, and from the spread about the line.
//
// What was before somebody made room is not looked at. It is false where nothing
// can be said: too little history, no certain slope, a slope away from the limit
// or one that has ended, a limit that is far away or passed, and a resource that
// is emptied again and again.
func Fill(w *Workspace, h History, limit float64) (TimeToFull, bool) {
	if cut := len(h.Values) - maxPoints; cut > 0 {
		h.Start, h.Values = h.Start.Add(time.Duration(cut)*h.Step), h.Values[cut:]
	}
	w.reset()
	p, ok := w.prepare(h, 1)
	if !ok || !usable(limit) {
		return TimeToFull{}, false
	}
	level := (limit - p.centre) / p.scale
	sign := 1.0
	if p.Values[len(p.Values)-1] > level {
		sign = -1
	}
	values := w.Floats(len(p.Values))
	for t, v := range p.Values {
		values[t] = sign * v
	}
	values, ok = sinceReset(values)
	if !ok {
		return TimeToFull{}, false
	}
	s, ok := steadily(w, values, p.Day)
	if !ok {
		return TimeToFull{}, false
	}
	left := sign*level - s.level
	at := left / s.slope
	if left <= s.spread || at > fillReach*float64(len(values)) {
		return TimeToFull{}, false
	}
	newest := h.Start.Add(time.Duration(len(h.Values)-1) * h.Step)
	when := func(steps float64) time.Time {
		return newest.Add(time.Duration(min(max(steps, 0)*float64(h.Step), fillFurthest)))
	}
	// The slope's error and the spread are independent of each other.
	early := at - math.Hypot(at-left/s.high, s.spread/s.slope)
	late := at + math.Hypot(min(left/s.low, 10*fillReach*float64(len(values)))-at, s.spread/s.slope)
	return TimeToFull{At: when(at), Earliest: when(early), Latest: when(late), Slope: sign * s.slope * p.scale}, true
}

// sinceReset cuts off what was before room was made; false where that happens
// again and again.
func sinceReset(values []float64) ([]float64, bool) {
	low, high := slices.Min(values), slices.Max(values)
	resets, last := 0, 0
	for t := 1; t < len(values); t++ {
		if values[t-1]-values[t] > fillReset*(high-low) {
			resets, last = resets+1, t
		}
	}
	return values[last:], resets < 2
}

// steady is a line that grows.
type steady struct {
	level            float64 // at the newest value
	slope, low, high float64 // a step, with its 80 % interval; all above 0
	spread           float64 // half the 80 % interval of values about the line
}

func steadily(w *Workspace, values []float64, day int) (steady, bool) {
	block := max(1, (len(values)+fillBlocks-1)/fillBlocks)
	if day > 0 && len(values) >= fillLeast*day {
		block = (block + day - 1) / day * day // whole days have no season
	}
	m := len(values) / block
	if m < fillLeast {
		return steady{}, false
	}
	first := len(values) - m*block
	means := w.Floats(m)
	for i := range means {
		means[i] = mean(values[first+i*block : first+(i+1)*block])
	}
	slopes := pairs(w, means)
	slope := middle(slopes)
	level, left := about(w, means, slope)
	// Kendall's variance of the number of rising pairs, and what neighbours that
	// depend on each other add.
	n := float64(m)
	together := min(carried(left, w.Floats(m)), 0.8)
	width := fillScore * math.Sqrt(n*(n-1)*(2*n+5)/18*(1+together)/(1-together))
	all := float64(len(slopes))
	low, high := ranked(slopes, (all-width)/2), ranked(slopes, (all+width)/2)
	recent := middle(pairs(w, means[m-max(m/3, 3):]))
	if low <= 0 || recent < fillKeepUp*slope {
		return steady{}, false
	}
	perStep := 1 / float64(block)
	s := steady{slope: slope * perStep, low: low * perStep, high: high * perStep}
	s.level = level + s.slope*float64(block-1)/2 // the newest mean stands half a block back
	off := w.Floats(len(values))
	for t, v := range values {
		off[t] = math.Abs(v - s.level + s.slope*float64(len(values)-1-t))
	}
	slices.Sort(off)
	s.spread = ranked(off, 0.8*float64(len(off)))
	return s, true
}

// pairs gives the slopes between all pairs, ascending.
func pairs(w *Workspace, means []float64) []float64 {
	slopes := w.Floats(len(means) * (len(means) - 1) / 2)[:0]
	for i, v := range means {
		for j := range i {
			slopes = append(slopes, (v-means[j])/float64(i-j))
		}
	}
	slices.Sort(slopes)
	return slopes
}

// about gives the line's value at the newest mean and how far each is from it.
func about(w *Workspace, means []float64, slope float64) (level float64, left []float64) {
	left = w.Floats(len(means))
	for i, v := range means {
		left[i] = v + slope*float64(len(means)-1-i)
	}
	sorted := append(w.Floats(len(means))[:0], left...)
	slices.Sort(sorted)
	level = middle(sorted)
	for i := range left {
		left[i] -= level
	}
	return level, left
}

// ranked gives the value at a rank, the first or the last beyond.
func ranked(sorted []float64, rank float64) float64 {
	return sorted[min(max(int(rank), 0), len(sorted)-1)]
}
