package forecast

import (
	"math"
	"slices"
)

// Autoregression is least squares on lagged values, forecast step by step:
// z(t) = c + sum b(l) z(t-l), with a trace of ridge (Hoerl and Kennard, 1970). It
// is fitted anew for each origin on what was known then.
type Autoregression struct {
	// Variant chooses the lags and what is regressed.
	Variant Variant
}

// Variant is a kind of Autoregression.
type Variant int

const (
	// Plain regresses the value on the newest three and those about a day and
	// about a week before.
	Plain Variant = iota
	// Wide takes more neighbours of those, of two days and of six and eight.
	Wide
	// OverDay regresses the change over a day, with every day of the week.
	OverDay
	// OverWeek regresses the change over a week.
	OverWeek
)

const (
	// ridge in shares of the variance keeps the equations solvable; more of it
	// costs accuracy.
	ridge = 1e-5
	// ridgeOverDay is larger: a day's change depends on the days' changes before,
	// which are alike.
	ridgeOverDay = 1e-3
	maxLags      = 24
)

// Name gives autoregression, with the variant behind it.
func (a Autoregression) Name() string {
	switch a.Variant {
	case Wide:
		return "autoregression_wide"
	case OverDay:
		return "autoregression_day"
	case OverWeek:
		return "autoregression_week"
	default:
		return "autoregression"
	}
}

// Paths forecasts from each origin. OverDay and OverWeek need their season.
func (a Autoregression) Paths(w *Workspace, p *Problem, paths [][]float64) bool {
	apart, ridge := 0, ridge
	switch {
	case a.Variant == OverDay && p.Day > 0:
		apart, ridge = p.Day, ridgeOverDay
	case a.Variant == OverWeek && p.Week > 0:
		apart = p.Week
	case a.Variant == OverDay, a.Variant == OverWeek:
		return false
	}
	z := w.Floats(len(p.Values) - apart)
	for t := range z {
		z[t] = p.Values[t+apart]
		if apart > 0 {
			z[t] -= p.Values[t]
		}
	}
	var room [maxLags]int
	r := regression{lags: a.lags(p, room[:0])}
	r.init(w, len(z)+p.Horizon)
	for i, origin := range p.Origins {
		r.grow(z[:origin-apart])
		if r.rows < 2*len(r.beta) || !r.solve(ridge) {
			if i == len(paths)-1 {
				return false
			}
			repeat(p.Values[:origin], max(apart, p.Day, 1), paths[i])
			continue
		}
		r.forecast(z[:origin-apart], paths[i])
		if apart > 0 {
			integrate(p.Values[:origin], apart, paths[i])
		}
	}
	return true
}

// integrate adds the value of one season before to each change.
func integrate(past []float64, season int, path []float64) {
	for h := range path {
		if h < season {
			path[h] += past[len(past)-season+h]
		} else {
			path[h] += path[h-season]
		}
	}
}

// lags ascend, each once; those of a season that is not known are left out.
func (a Autoregression) lags(p *Problem, lags []int) []int {
	day, week := p.Day, p.Week
	lags = append(lags, 1, 2, 3)
	if day > 0 {
		lags = append(lags, day-1, day, day+1)
	}
	if week > 0 {
		lags = append(lags, week-1, week, week+1)
	}
	switch {
	case a.Variant == Wide && day > 0:
		lags = append(lags, day-2, day+2, 2*day-1, 2*day, 2*day+1)
		if week > 0 {
			lags = append(lags, week-day, week-2, week+2, week+day)
		}
	case a.Variant == OverDay && week > 0:
		lags = append(lags, 2*day, 3*day, 4*day, 5*day, 6*day)
	case a.Variant == OverWeek:
		lags = append(lags, 2*day)
	}
	slices.Sort(lags)
	lags = slices.Compact(lags)
	for len(lags) > 0 && lags[0] < 1 {
		lags = lags[1:]
	}
	return lags
}

// regression keeps the normal equations, which grow with the origin.
type regression struct {
	lags []int
	next int // first value that is not yet in the equations
	rows int

	products, targets []float64 // X'X lower triangle, X'z
	factor, beta      []float64
	row, ahead        []float64
	low, high         float64
}

func (r *regression) init(w *Workspace, room int) {
	k := len(r.lags) + 1
	r.products, r.targets = w.Floats(k*k), w.Floats(k)
	r.factor, r.beta, r.row = w.Floats(k*k), w.Floats(k), w.Floats(k)
	r.ahead = w.Floats(room)
	r.next = r.lags[len(r.lags)-1]
	r.low, r.high = math.Inf(1), math.Inf(-1)
}

// grow takes the values that became known.
func (r *regression) grow(z []float64) {
	k := len(r.beta)
	for ; r.next < len(z); r.next++ {
		v := z[r.next]
		r.row[0] = 1
		for j, lag := range r.lags {
			r.row[j+1] = z[r.next-lag]
		}
		for i, x := range r.row {
			products := r.products[i*k : i*k+i+1]
			for j := range products {
				products[j] += x * r.row[j]
			}
			r.targets[i] += x * v
		}
		r.low, r.high = min(r.low, v), max(r.high, v)
		r.rows++
	}
}

func (r *regression) solve(ridge float64) bool {
	k := len(r.beta)
	copy(r.factor, r.products)
	for i := 1; i < k; i++ {
		r.factor[i*k+i] += ridge * float64(r.rows)
	}
	if !cholesky(r.factor, k) {
		return false
	}
	copy(r.beta, r.targets)
	substitute(r.factor, k, r.beta)
	return true
}

// forecast goes step by step and stays within twice the range that was seen, so
// that an unstable fit does not run away.
func (r *regression) forecast(z, path []float64) {
	copy(r.ahead, z)
	room := (r.high - r.low) / 2
	for h := range path {
		v, at := r.beta[0], len(z)+h
		for j, lag := range r.lags {
			v += r.beta[j+1] * r.ahead[at-lag]
		}
		v = min(max(v, r.low-room), r.high+room)
		r.ahead[at], path[h] = v, v
	}
}
