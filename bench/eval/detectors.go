package main

import (
	"math"
	"slices"

	"grace/internal/detect"
)

// nabDetector turns a series into one score a row; a score that reaches the
// threshold is a detection. It must be causal: the score of a row depends on
// that row and those before it.
type nabDetector struct {
	name      string
	ours      bool
	threshold float64
	scores    func(at []int64, values []float64) []float64
}

// detector runs one detector of GRACE, with the threshold that the code has.
func detector(name string, use detect.Kind) nabDetector {
	return nabDetector{name: name, threshold: detect.Threshold, scores: func(at []int64, values []float64) []float64 {
		var s detect.State
		out := make([]float64, len(at))
		for i := range at {
			out[i] = s.ObserveWith(use, at[i], values[i]).Score
		}
		return out
	}}
}

// nabOurs is what GRACE runs on every series whose threshold is learned: package
// predict gives its samples to the same State (TestAnomalyIsTheDetector there).
func nabOurs() nabDetector {
	return nabDetector{name: "default: record, odd hour or run", ours: true, threshold: detect.Threshold, scores: func(at []int64, values []float64) []float64 {
		var s detect.State
		out := make([]float64, len(at))
		for i := range at {
			out[i] = s.Observe(at[i], values[i]).Score
		}
		return out
	}}
}

func nabDetectors() []nabDetector {
	return slices.Concat(nabBaselines(), []nabDetector{
		detector("record", detect.Record),
		detector("odd hour", detect.OddHour),
		detector("run", detect.Run),
		nabOurs(),
	})
}

// nabBaselines are what is usual elsewhere. Each says by how many standard
// deviations a value is off what it expects; the threshold is 3. They rest as long
// after a detection as ours do at least: else one event counts as many false
// detections as it has rows.
func nabBaselines() []nabDetector {
	const sigmas = 3
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
	return []nabDetector{rested("EWMA, 3 sigma", ewma), rested("seasonal naive residual, 3 sigma", seasonalResidual)}
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

// seasonalResidual is the same chart on the difference from the last value that
// is a day old.
func seasonalResidual(at []int64, values []float64) []float64 {
	var d deviation
	out := make([]float64, len(values))
	yesterday := -1
	for i := range values {
		for yesterday+1 < i && at[yesterday+1] <= at[i]-dayMillis {
			yesterday++
		}
		if yesterday >= 0 {
			out[i] = d.sigmas(values[i] - values[yesterday])
		}
	}
	return out
}
