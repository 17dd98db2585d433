package predict

import (
	"math"
	"slices"
	"time"
)

type point struct {
	at    time.Time
	value float64
}

// line is a robust fit of points. Times are seconds from its origin, the
// newest point.
type line struct {
	level    float64 // at the origin
	slope    float64 // per second
	noise    float64 // standard deviation of the points about it
	spread   float64 // standard deviation of the points about their median
	middle   float64 // mean time of the points, in seconds
	momentum float64 // sum of squared distances of the times from the middle
	span     time.Duration
	z        float64 // Mann-Kendall: beyond 2.5 the trend is hardly chance
	n        int
}

// madToSigma makes a median absolute deviation a standard deviation, were the
// values normally distributed.
const madToSigma = 1.4826

// fit draws the line; points are in order of time, at least two, no two at the
// same time.
func fit(points []point) line {
	n := len(points)
	origin := points[n-1].at
	times := make([]float64, n)
	values := make([]float64, n)
	for i, p := range points {
		times[i], values[i] = p.at.Sub(origin).Seconds(), p.value
	}
	l := line{n: n, span: origin.Sub(points[0].at)}

	slopes := make([]float64, 0, n*(n-1)/2)
	concordance := 0
	for i := range n {
		for j := i + 1; j < n; j++ {
			step := values[j] - values[i]
			slopes = append(slopes, step/(times[j]-times[i]))
			switch {
			case step > 0:
				concordance++
			case step < 0:
				concordance--
			}
		}
	}
	l.slope = median(slopes)
	l.z = float64(concordance) / math.Sqrt(float64(n*(n-1)*(2*n+5))/18)

	residuals := make([]float64, n)
	for i := range n {
		residuals[i] = values[i] - l.slope*times[i]
		l.middle += times[i] / float64(n)
	}
	for _, t := range times {
		l.momentum += (t - l.middle) * (t - l.middle)
	}
	l.level = median(slices.Clone(residuals))
	l.noise = deviation(residuals, l.level)
	l.spread = deviation(values, median(slices.Clone(values)))
	return l
}

// at gives the line's value and its standard deviation some time ahead.
func (l *line) at(ahead time.Duration) (value, sigma float64) {
	t := ahead.Seconds()
	distance := t - l.middle
	// As for a least-squares line, which Theil-Sen nearly equals in efficiency.
	sigma = l.noise * math.Sqrt(1+1/float64(l.n)+distance*distance/l.momentum)
	return l.level + l.slope*t, sigma
}

// fitness is the share of the points' spread that the line accounts for.
func (l *line) fitness() float64 {
	if l.spread == 0 {
		return 0
	}
	return 1 - l.noise/l.spread
}

// deviation is the robust standard deviation of values about a center. It
// changes values.
func deviation(values []float64, center float64) float64 {
	for i, v := range values {
		values[i] = math.Abs(v - center)
	}
	return madToSigma * median(values)
}

// median changes the order of values.
func median(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	if n%2 == 1 {
		return values[n/2]
	}
	return values[n/2-1]/2 + values[n/2]/2
}

// phi is the chance that a standard normal value is below x.
func phi(x float64) float64 { return 0.5 * math.Erfc(-x/math.Sqrt2) }
