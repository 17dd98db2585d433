package forecast

import "math"

// HoltWinters is exponential smoothing with a level, a damped trend, the season
// of a day and that of a week, and the newest error carried on (Taylor, 2003:
// double seasonal exponential smoothing; additive):
//
//	f(t+h) = l + b (d + d^2 + ... + d^h) + D(t+h) + W(t+h) + c^h e(t)
//
// Its parameters are those of a coarse grid, taken one by one in two rounds,
// that forecast the past horizons best: those for one step ahead are not.
type HoltWinters struct{}

// Name gives holt_winters.
func (HoltWinters) Name() string { return "holt_winters" }

// smoothing holds the parameters, each at its place.
type smoothing [parameters]float64

const (
	levelRate = iota // how fast the level follows an error
	carryOn          // what is left of the newest error after a step
	dayRate          // how fast the seasons follow
	weekRate
	trendRate // how fast the trend follows, as a share of the level's rate
	damping   // what is left of the trend after a step
	parameters
)

// tried are the values of each parameter.
func tried() [parameters][5]float64 {
	return [parameters][5]float64{
		levelRate: {0.005, 0.03, 0.1, 0.25, 0.5},
		carryOn:   {0, 0.3, 0.6, 0.8, 0.95},
		dayRate:   {0, 0.05, 0.15, 0.3, 0.5},
		weekRate:  {0, 0.05, 0.15, 0.3, 0.5},
		trendRate: {0, 0.003, 0.02, 0.1, 0.3},
		damping:   {0.9, 0.97, 0.985, 0.995, 1},
	}
}

// Paths searches the parameters, then smooths once more with the best.
func (HoltWinters) Paths(w *Workspace, p *Problem, paths [][]float64) bool {
	s := newSmoother(w, p)
	best := smoothing{levelRate: 0.1, carryOn: 0.5, dayRate: 0.1, weekRate: 0.2, damping: 0.98}
	least := s.run(best, paths)
	for range 2 {
		for i, values := range tried() {
			if i == dayRate && p.Day == 0 || i == weekRate && p.Week == 0 {
				continue
			}
			next := best
			for _, v := range values {
				if next[i] = v; v == best[i] {
					continue
				}
				if loss := s.run(next, paths); loss < least {
					least, best = loss, next
				}
			}
		}
	}
	s.run(best, paths)
	return true
}

// smoother holds where smoothing starts and the seasons as they go.
type smoother struct {
	p            *Problem
	level, trend float64
	day0, week0  []float64
	day, week    []float64
}

// newSmoother starts from a line and mean seasons over the first two seasons, or
// over one season, level, where the first origin comes before two are over.
func newSmoother(w *Workspace, p *Problem) smoother {
	days, weeks := max(p.Day, 1), max(p.Week, 1)
	s := smoother{p: p, day0: w.Floats(days), week0: w.Floats(weeks), day: w.Floats(days), week: w.Floats(weeks)}
	first := p.Values[:max(p.Season(), minPoints/2)]
	centre := mean(first)
	if both := 2 * len(first); both <= p.Origins[0] {
		half := len(first)
		first = p.Values[:both]
		s.trend = (mean(first[half:]) - centre) / float64(half)
		centre = mean(first)
	}
	line := func(t int) float64 { return centre + s.trend*(float64(t)-float64(len(first)-1)/2) }
	if p.Day > 0 {
		whole := len(first) / days * days
		for t, v := range first[:whole] {
			s.day0[t%days] += (v - line(t)) * float64(days) / float64(whole)
		}
	}
	if p.Week > 0 {
		whole := len(first) / weeks * weeks
		for t, v := range first[:whole] {
			s.week0[t%weeks] += (v - line(t) - s.day0[t%days]) * float64(weeks) / float64(whole)
		}
	}
	s.level = line(-1)
	return s
}

// run smooths the series, writes a path at every origin, and gives their mean
// absolute error.
func (s *smoother) run(c smoothing, paths [][]float64) float64 {
	values, origins := s.p.Values, s.p.Origins
	copy(s.day, s.day0)
	copy(s.week, s.week0)
	level, trend, newest := s.level, s.trend, 0.0
	d, w, next := 0, 0, 0
	for t, v := range values {
		if t == origins[next] {
			s.path(c, paths[next], level, trend, newest, d, w)
			next++
		}
		level += c[damping] * trend
		trend *= c[damping]
		far := v - level - s.day[d] - s.week[w]
		e := far - c[carryOn]*newest
		level += c[levelRate] * e
		trend += c[trendRate] * c[levelRate] * e
		s.day[d] += c[dayRate] * e
		s.week[w] += c[weekRate] * e
		newest = far
		if d++; d == len(s.day) {
			d = 0
		}
		if w++; w == len(s.week) {
			w = 0
		}
	}
	s.path(c, paths[next], level, trend, newest, d, w)
	loss := pathError(s.p, paths)
	if math.IsNaN(loss) {
		return math.Inf(1)
	}
	return loss
}

func (s *smoother) path(c smoothing, path []float64, level, trend, newest float64, d, w int) {
	carry := c[carryOn] * newest
	for h := range path {
		trend *= c[damping]
		level += trend
		path[h] = level + s.day[d] + s.week[w] + carry
		carry *= c[carryOn]
		if d++; d == len(s.day) {
			d = 0
		}
		if w++; w == len(s.week) {
			w = 0
		}
	}
}
