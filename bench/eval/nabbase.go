package main

import "math"

// nabBaselines are what is usual elsewhere. Each says by how many standard
// deviations a value is off what it expects; the threshold is 3. With rest, they
// too are silent for as many rows after a detection as our detectors are at
// least: without it, one event counts as many false detections as it has rows.
func nabBaselines() []nabDetector {
	const sigmas = 3
	raw := func(scores func([]int64, []float64) []float64) nabDetector {
		return nabDetector{name: "EWMA, 3 sigma", threshold: sigmas, scores: scores}
	}
	rested := func(name string, scores func([]int64, []float64) []float64) nabDetector {
		return nabDetector{name: name + ", with rest", threshold: sigmas, scores: func(at []int64, values []float64) []float64 {
			out, end := scores(at, values), 0
			for i, x := range out {
				switch {
				case x < sigmas:
				case i < end:
					out[i] = 0
				default:
					end = i + 72
				}
			}
			return out
		}}
	}
	return []nabDetector{
		raw(ewma),
		rested("EWMA, 3 sigma", ewma),
		rested("predict_linear residual, 3 sigma", linearResidual),
		rested("seasonal naive residual, 3 sigma", seasonalResidual),
	}
}

// deviation is an exponentially weighted mean and variance over about 100
// values.
type deviation struct {
	mean, variance float64
	n              int
}

// sigmas says how far off v is, and then learns it.
func (d *deviation) sigmas(v float64) float64 {
	d.n++
	off := v - d.mean
	out := 0.0
	if d.n > 1 && d.variance > 0 {
		out = math.Abs(off) / math.Sqrt(d.variance)
	}
	a := max(0.02, 1/float64(d.n))
	d.mean += a * off
	d.variance = (1 - a) * (d.variance + a*off*off)
	return out
}

// ewma is a control chart on the values (Roberts 1959).
func ewma(_ []int64, values []float64) []float64 {
	var d deviation
	out := make([]float64, len(values))
	for i, v := range values {
		out[i] = d.sigmas(v)
	}
	return out
}

// linearResidual is the same chart on what predict_linear's least squares over
// the last hour (12 rows at least) misses the next value by.
func linearResidual(at []int64, values []float64) []float64 {
	const hour, rows = 3600 * 1000, 12
	var d deviation
	out := make([]float64, len(values))
	for i := range values {
		from := i
		for from > 0 && (i-from < rows || at[i]-at[from-1] <= hour) {
			from--
		}
		if i-from < 2 {
			continue
		}
		var n, sx, sy, sxx, sxy float64
		for j := from; j < i; j++ {
			x := float64(at[j]-at[i]) / 1000
			n, sx, sy, sxx, sxy = n+1, sx+x, sy+values[j], sxx+x*x, sxy+x*values[j]
		}
		expected := sy / n
		if det := n*sxx - sx*sx; det > 0 {
			slope := (n*sxy - sx*sy) / det
			expected = (sy - slope*sx) / n // at x = 0: now
		}
		out[i] = d.sigmas(values[i] - expected)
	}
	return out
}

// seasonalResidual is the same chart on the difference from the last value that
// is a day old.
func seasonalResidual(at []int64, values []float64) []float64 {
	const day = 24 * 3600 * 1000
	var d deviation
	out := make([]float64, len(values))
	yesterday := -1
	for i := range values {
		for yesterday+1 < i && at[yesterday+1] <= at[i]-day {
			yesterday++
		}
		if yesterday >= 0 {
			out[i] = d.sigmas(values[i] - values[yesterday])
		}
	}
	return out
}
