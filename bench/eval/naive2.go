package main

import "math"

// naive2 is the yardstick of the M4 competition: the newest value, after the
// season has been taken out by the classical multiplicative decomposition where
// a test of the autocorrelation finds one, and with the season put on again.
func naive2(y []float64, season, horizon int) []float64 {
	index := make([]float64, season)
	for i := range index {
		index[i] = 1
	}
	if seasonal(y, season) {
		decompose(y, index)
	}
	n := len(y)
	level := y[n-1] / index[(n-1)%season]
	out := make([]float64, horizon)
	for h := range out {
		out[h] = level * index[(n+h)%season]
	}
	return out
}

// seasonal tests the autocorrelation at one season at 90 %, as the competition
// did.
func seasonal(y []float64, season int) bool {
	const critical = 1.645
	if len(y) < 3*season {
		return false
	}
	squares := 1.0
	for lag := 1; lag < season; lag++ {
		r := autocorrelation(y, lag)
		squares += 2 * r * r
	}
	return math.Abs(autocorrelation(y, season)) > critical*math.Sqrt(squares/float64(len(y)))
}

func autocorrelation(y []float64, lag int) float64 {
	mean := 0.0
	for _, v := range y {
		mean += v / float64(len(y))
	}
	both, one := 0.0, 0.0
	for t, v := range y {
		one += (v - mean) * (v - mean)
		if t >= lag {
			both += (v - mean) * (y[t-lag] - mean)
		}
	}
	if one == 0 {
		return 0
	}
	return both / one
}

// decompose gives each step of the season its mean share of the centred moving
// mean; the shares have mean 1. The season must be even.
func decompose(y, index []float64) {
	season := len(index)
	half := season / 2
	sums, counts := make([]float64, season), make([]float64, season)
	for t := half; t+half < len(y); t++ {
		middle := (y[t-half] + y[t+half]) / 2
		for _, v := range y[t-half+1 : t+half] {
			middle += v
		}
		middle /= float64(season)
		if middle != 0 {
			sums[t%season] += y[t] / middle
			counts[t%season]++
		}
	}
	total := 0.0
	for i := range index {
		index[i] = sums[i] / max(counts[i], 1)
		total += index[i] / float64(season)
	}
	for i := range index {
		if index[i] /= total; math.IsNaN(index[i]) || index[i] == 0 {
			index[i] = 1
		}
	}
}
