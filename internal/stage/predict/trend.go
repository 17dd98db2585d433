package predict

import (
	"math"
	"slices"
	"time"
)

// line is a robust fit of points. Times are seconds from its origin, the
// newest point.
type line struct {
	level    float64 // at the origin
	slope    float64 // per second
	noise    float64 // standard deviation of the points about it
	spread   float64 // standard deviation of the points about their median
	middle   float64 // mean time of the points, in seconds
	momentum float64 // sum of squared distances of the times from the middle
	span     float64 // seconds
	n        int
}

const (
	// chance: a Mann-Kendall score below it may be no trend at all (1 %).
	chance = 2.5
	// keepUp: the newest third must go on with at least this share of the slope.
	keepUp = 1.0 / 3
	// stepPlaces: a step is looked for at every so many-th part of the points.
	stepPlaces = 9
	// mostAlike is how alike two neighbours count at most: beyond, a line is its own noise.
	mostAlike = 0.8
	// shortest is the least number of points that a trend is looked for in where
	// there are more.
	shortest = 18
	// madToSigma makes a median absolute deviation a standard deviation, were the
	// values normally distributed.
	madToSigma = 1.4826
)

// scratch is what a look at a series needs and the next one uses again.
type scratch struct {
	times, values [finePoints]float64
	slopes        []float64
	residuals     []float64
	hours         []float64
	towards       *line // that the newest look at a trend found to go towards the threshold, through as many points as it could
	drawn         line
}

// lookTrend follows a robust line to the threshold. The line is drawn through
// the newest points: all of them, the newest two thirds and so on, and the
// surest counts. So a rise after a long calm is seen while it is new, and a
// long slow one in spite of its noise.
func lookTrend(v *view) (raw, bool) {
	best, found := raw{}, false
	for n := min(v.ring.len(), v.cfg.MaxSamples); ; n = n * 2 / 3 {
		if r, ok := v.follow(n); ok && (!found || r.score > best.score) {
			best, found = r, true
		}
		if n*2/3 < shortest {
			break
		}
	}
	return best, found
}

// follow looks at the newest n points.
func (v *view) follow(n int) (raw, bool) {
	times, values := v.ring.unpack(n, v.work.times[:], v.work.values[:])
	age := v.age()
	ahead := v.cfg.Horizon.D().Seconds()
	reaches, drifts := v.mayReach(times, values, age+ahead)
	if !reaches && !drifts || gapped(times) {
		return raw{}, false
	}
	l, ok := v.draw(times, values)
	if ok && v.work.towards == nil {
		v.work.drawn = l
		v.work.towards = &v.work.drawn
	}
	if !ok || !reaches {
		return raw{}, false
	}
	ahead = min(ahead, v.cfg.Reach*l.span)
	score := v.beyond(&l, age+ahead)
	if score < v.cfg.MinLikelihood {
		return raw{}, false
	}
	breach := v.arrival(&l, age, ahead)
	value, sigma := l.at(age + breach)
	return raw{
		score: score, until: v.cfg.Horizon.D(), breach: inSeconds(breach),
		low: value - band80*sigma, high: value + band80*sigma,
		would: score >= wouldBreach,
		n:     n, slope: l.slope, fit: l.fitness(),
	}, true
}

// draw gives the line through points, and whether they go towards the threshold along it:
// not by chance, not in one step, and still.
func (v *view) draw(times, values []float64) (l line, ok bool) {
	n, toward := len(values), v.toward()
	// Most series end here: their line need not be drawn.
	sure := mannKendall(values) * toward
	if sure < chance {
		return l, false
	}
	l = v.work.fit(times, values)
	if l.slope*toward <= 0 || l.fitness() < v.cfg.MinFit || sure < chance*l.carried(times, values) || v.work.stepped(&l, times, values) {
		return l, false
	}
	recent := v.work.fit(times[n-n/3:], values[n-n/3:])
	return l, recent.slope/l.slope >= keepUp && !v.fell(&l, values[n-2:])
}

// fell tells whether the newest values, of which one may be an outlier, have
// left the line away from the threshold: a process was restarted, a disk
// cleaned. A robust line would follow the old trend for a third of its points.
func (v *view) fell(l *line, newest []float64) bool {
	for _, y := range newest {
		if (l.level-y)*v.toward() <= scatter*l.noise+math.Abs(l.slope)*l.span/4 {
			return false
		}
	}
	return true
}

// mayReach is a cheap look before the expensive one: a least-squares line, with a
// wide allowance, says whether the threshold is within reach at all. drifts is whether that
// line goes towards it and accounts for enough of the variance, wherever the threshold is.
func (v *view) mayReach(times, values []float64, ahead float64) (reaches, drifts bool) {
	n := float64(len(times))
	var st, sv, stt, stv, svv float64
	for i, t := range times {
		y := values[i] - v.value
		st, sv = st+t, sv+y
		stt, stv, svv = stt+t*t, stv+t*y, svv+y*y
	}
	mt, my := st/n, sv/n
	vt := stt/n - mt*mt
	slope := (stv/n - mt*my) / vt
	variance := max(svv/n-my*my, 0)
	sigma := math.Sqrt(variance)
	reach := my + slope*(ahead-mt)
	distance := (v.threshold - v.value) * v.toward()
	if !(slope*v.toward() > 0) {
		return false, false
	}
	return reach*v.toward()+6*sigma > distance, slope*slope*vt >= v.cfg.MinFit*variance
}

// beyond is the probability that the line is past the threshold some seconds
// after its origin.
func (v *view) beyond(l *line, after float64) float64 {
	value, sigma := l.at(after)
	margin := (value - v.threshold) * v.toward()
	if sigma == 0 { // points exactly on a line: the direction decides
		if margin <= 0 {
			return 0
		}
		return maxLikelihood
	}
	return min(phi(margin/sigma), maxLikelihood)
}

// arrival gives the seconds from now, in whole steps, after which the line is
// past the threshold. A likelihood above one half says that it is by the end.
func (v *view) arrival(l *line, age, ahead float64) float64 {
	step := v.cfg.Step.D().Seconds()
	for d := 0.0; d < ahead; d += step {
		if y, _ := l.at(age + d); v.target.breached(y, v.threshold) {
			return d
		}
	}
	return ahead
}

// carried gives by how much chance moves the points more than it would independent ones:
// what is left of them about the line is alike from one to the next (an autoregression of
// the first order), so that they are worth fewer.
func (l *line) carried(times, values []float64) float64 {
	var all, next, before float64
	for i, t := range times {
		left := values[i] - l.level - l.slope*t
		all += left * left
		next += left * before
		before = left
	}
	if all == 0 {
		return 1
	}
	alike := min(max(next/all, 0), mostAlike)
	return math.Sqrt((1 + alike) / (1 - alike))
}

// gapped tells whether more than half of the time passed between two points: a line would
// be drawn from one to the other, whatever was in between.
func gapped(times []float64) bool {
	half := (times[len(times)-1] - times[0]) / 2
	for i := 1; i < len(times); i++ {
		if times[i]-times[i-1] > half {
			return true
		}
	}
	return false
}

// stepped tells whether the points are told better by one step than by the line: by two
// medians in turn. What counts is the sum of distances, which single outliers do not bend.
func (w *scratch) stepped(l *line, times, values []float64) bool {
	n, left := len(values), 0.0
	for i, y := range values {
		left += math.Abs(y - l.level - l.slope*times[i])
	}
	part := func(values []float64) (sum float64) {
		w.residuals = append(w.residuals[:0], values...)
		middle := median(w.residuals)
		for _, y := range values {
			sum += math.Abs(y - middle)
		}
		return sum
	}
	for at := n / stepPlaces; at <= n-n/stepPlaces; at += n / stepPlaces {
		if part(values[:at])+part(values[at:]) < left {
			return true
		}
	}
	return false
}

// mannKendall gives the score of a trend: in how many more pairs the later value
// is the higher one, in standard deviations of what chance would give.
func mannKendall(values []float64) float64 {
	n, rising, falling := len(values), 0, 0
	for i, x := range values {
		for _, y := range values[i+1:] {
			if y > x {
				rising++
			}
			if y < x {
				falling++
			}
		}
	}
	return float64(rising-falling) / math.Sqrt(float64(n*(n-1)*(2*n+5))/18)
}

// fit draws the line; points are in order of time, at least two, no two at the
// same time.
func (w *scratch) fit(times, values []float64) line {
	n := len(times)
	l := line{n: n, span: times[n-1] - times[0]}
	slopes := w.slopes[:0]
	for i := range n {
		for j := i + 1; j < n; j++ {
			slopes = append(slopes, (values[j]-values[i])/(times[j]-times[i]))
		}
	}
	w.slopes = slopes
	l.slope = median(slopes)

	residuals := w.residuals[:0]
	for i := range n {
		residuals = append(residuals, values[i]-l.slope*times[i])
		l.middle += times[i] / float64(n)
	}
	for _, t := range times {
		l.momentum += (t - l.middle) * (t - l.middle)
	}
	l.level = median(residuals)
	l.noise = deviation(residuals, l.level)
	residuals = append(residuals[:0], values...)
	l.spread = deviation(residuals, median(residuals))
	w.residuals = residuals
	return l
}

// at gives the line's value and its standard deviation some seconds after the
// origin.
func (l *line) at(t float64) (value, sigma float64) {
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

// median changes the order of values, of which there is at least one.
func median(values []float64) float64 {
	n := len(values)
	upper := nth(values, n/2)
	if n%2 == 1 {
		return upper
	}
	return slices.Max(values[:n/2])/2 + upper/2
}

// nth gives the value that would be at place k were the values sorted, and puts
// none that is higher before it (Hoare's quickselect; the pivot is the median of
// three, so that rising and falling values are no bad case).
func nth(values []float64, k int) float64 {
	low, high := 0, len(values)-1
	for low < high {
		a, b, c := values[low], values[low+(high-low)/2], values[high]
		pivot := max(min(a, b), min(max(a, b), c))
		i, j := low, high
		for i <= j {
			for values[i] < pivot {
				i++
			}
			for values[j] > pivot {
				j--
			}
			if i <= j {
				values[i], values[j] = values[j], values[i]
				i++
				j--
			}
		}
		switch {
		case k <= j:
			high = j
		case k >= i:
			low = i
		default:
			return values[k]
		}
	}
	return values[k]
}

// phi is the chance that a standard normal value is below x.
func phi(x float64) float64 { return 0.5 * math.Erfc(-x/math.Sqrt2) }

func inSeconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
