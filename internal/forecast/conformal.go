package forecast

import (
	"math"
	"slices"
)

const (
	// smooth: the usual error of a step is the mean over so many on each side,
	smooth = 2
	// and leans so far to the mean over all of them.
	shrinkage = 0.15
	// independent errors there are in one path: neighbours err alike.
	independent = 3
)

// conform measures the errors of the past paths. It is false when none is known.
func (f *Fitted) conform(w *Workspace) bool {
	p := f.problem
	raw, count := w.Floats(p.Horizon), w.Floats(p.Horizon)
	all, seen := 0.0, 0.0
	f.eachError(func(_, h int, e float64) {
		raw[h] += math.Abs(e)
		count[h]++
		all += math.Abs(e)
		seen++
	})
	if seen == 0 {
		return false
	}
	all /= seen
	f.errors = w.Floats(p.Horizon)
	for h := range f.errors {
		sum, n := 0.0, 0.0
		for k := max(0, h-smooth); k <= min(p.Horizon-1, h+smooth); k++ {
			sum += raw[k]
			n += count[k]
		}
		mean := all
		if n > 0 {
			mean = sum / n
		}
		f.errors[h] = (1-shrinkage)*mean + shrinkage*all
	}
	f.ranks = w.Floats(int(seen))[:0]
	f.eachError(func(_, h int, e float64) {
		if f.errors[h] > 0 {
			e /= f.errors[h]
		}
		f.ranks = append(f.ranks, math.Abs(e))
	})
	slices.Sort(f.ranks)
	return true
}

// eachError calls with every known error (value minus forecast) of past paths.
func (f *Fitted) eachError(call func(origin, h int, e float64)) {
	p := f.problem
	for r, origin := range p.Origins[:len(p.Origins)-1] {
		for h, v := range f.paths[r] {
			if origin+h < len(p.Values) && p.Seen[origin+h] {
				call(r, h, p.Values[origin+h]-v)
			}
		}
	}
}

// quantile is the conformal one: of m errors that count as independent, the
// share (m+1)/m of the wanted one, so that the next error is covered too. Where
// that passes 1 no number of errors would do, and the largest is stretched. Few
// paths say little of the scale either, which widens every band by 1/paths^2.
func (f *Fitted) quantile(share float64) float64 {
	paths := float64(len(f.paths) - 1)
	m := independent * paths
	share *= (m + 1) / m
	n := len(f.ranks)
	at := min(share, 1) * float64(n-1)
	i := int(at)
	q := f.ranks[i]
	if i+1 < n {
		q += (at - float64(i)) * (f.ranks[i+1] - q)
	}
	return q * max(share, 1) * (1 + 1/(paths*paths))
}
