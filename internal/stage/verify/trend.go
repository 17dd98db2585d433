package verify

import (
	"fmt"
	"math"
	"slices"
)

// Directions of a trend.
const (
	falling = "falling"
	rising  = "rising"
	steady  = "steady"
)

// Shares of the level. A series always moves a little: less than moveBand is
// no movement, and up to steadyBand is still steady.
const (
	moveBand   = 0.02
	steadyBand = 0.10
)

// maxTrendPoints bounds the work on a long series: what is beyond it is
// thinned out evenly, first and last point kept.
const maxTrendPoints = 500

// trend tells whether a series moves in a direction. data is in order and has
// at least two points.
func trend(direction string, data []Sample, baseline *float64) (moves bool, text string) {
	data = thin(data)
	values := make([]float64, len(data))
	level := make([]float64, len(data))
	for i, s := range data {
		values[i], level[i] = s.Value, math.Abs(s.Value)
	}
	scale := median(level)
	change := slope(data) * data[len(data)-1].At.Sub(data[0].At).Seconds()
	half := len(values) / 2
	early, late := median(values[:half]), median(values[len(values)-half:])
	middle := median(values)
	text = fmt.Sprintf("change %s at a level of %s", number(change), number(middle))
	if baseline != nil {
		text += ", before the run " + number(*baseline)
	}
	switch direction {
	case rising: // the mirror image of falling
		change, early, late, middle = -change, -early, -late, -middle
		if baseline != nil {
			mirrored := -*baseline
			baseline = &mirrored
		}
	case steady:
		return math.Abs(change) <= steadyBand*scale, text
	}
	moves = change < -moveBand*scale && late < early
	if baseline != nil && middle < *baseline-moveBand*math.Abs(*baseline) && change <= moveBand*scale {
		moves = true
	}
	return moves, text
}

// slope is the Theil-Sen estimate, in units a second; 0 when all points have
// the same time.
func slope(data []Sample) float64 {
	var slopes []float64
	for i, a := range data {
		for _, b := range data[i+1:] {
			if dt := b.At.Sub(a.At).Seconds(); dt > 0 {
				slopes = append(slopes, (b.Value-a.Value)/dt)
			}
		}
	}
	if len(slopes) == 0 {
		return 0
	}
	return median(slopes)
}

func thin(data []Sample) []Sample {
	if len(data) <= maxTrendPoints {
		return data
	}
	out := make([]Sample, maxTrendPoints)
	for i := range out {
		out[i] = data[i*(len(data)-1)/(maxTrendPoints-1)]
	}
	return out
}

// median of a series that is not empty; the mean of the middle two.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	if n%2 == 1 {
		return sorted[n/2]
	}
	return sorted[n/2-1]/2 + sorted[n/2]/2
}
