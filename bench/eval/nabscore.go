package main

import "math"

// profile weighs what a detector does, as NAB's application profiles do. (NAB's
// fourth weight, of true negatives, is 1 in each and used nowhere.)
type profile struct{ tp, fp, fn float64 }

func standardProfile() profile { return profile{tp: 1, fp: 0.11, fn: 1} }
func lowFPProfile() profile    { return profile{tp: 1, fp: 0.22, fn: 1} }

// window is one labelled anomaly, as row numbers, both inclusive.
type window struct{ left, right int }

// probation is the number of first rows that are not scored.
func probation(rows int) int {
	return int(math.Min(math.Floor(0.15*float64(rows)), 0.15*5000))
}

// scaledSigmoid is worth 1 at far left, 0 at the right edge of a window (0), and
// -1 far behind it.
func scaledSigmoid(position float64) float64 {
	if position >= 3 {
		return -1
	}
	return 2/(1+math.Exp(5*position)) - 1
}

// rowScore is what a detection on a row scores, in the window with the number
// that is returned, or in none (-1). The windows are in order.
func rowScore(p profile, windows []window, row int) (score float64, in int) {
	previous := -1
	for i, w := range windows {
		switch {
		case row < w.left:
		case row <= w.right:
			width := float64(w.right - w.left + 1)
			position := -float64(w.right-row+1) / width
			return p.tp * scaledSigmoid(position) / scaledSigmoid(-1), i
		default:
			previous = i
		}
	}
	if previous < 0 {
		return -p.fp, -1
	}
	w := windows[previous]
	return p.fp * scaledSigmoid(float64(row-w.right)/float64(w.right-w.left)), -1
}

// score is what NAB gives one file: the best detection of each window, or the
// cost of a missed one, and the sum of the false ones, from the row first on. base is what a detector
// that is always silent gets. A window that ends before the scored rows begin
// counts in neither.
func score(p profile, first, rows int, windows []window, fired func(row int) bool) (got, base float64) {
	best := make([]float64, len(windows))
	for i, w := range windows {
		if w.right >= first {
			best[i] = -p.fn
			base -= p.fn
		}
	}
	for row := first; row < rows; row++ {
		if !fired(row) {
			continue
		}
		s, in := rowScore(p, windows, row)
		if in < 0 {
			got += s
			continue
		}
		best[in] = max(best[in], s)
	}
	for _, b := range best {
		got += b
	}
	return got, base
}

// normalised is NAB's figure: 0 for silence and 100 for a detection on the first
// row of every window and no other.
func normalised(p profile, got, base float64, windows int) float64 {
	perfect := p.tp * float64(windows)
	return 100 * (got - base) / (perfect - base)
}
