package predict

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"time"

	"grace"
)

const (
	// maxLikelihood: the future is never certain.
	maxLikelihood = 0.95
	// chance: a Mann-Kendall score below it may be no trend at all (1 %).
	chance = 2.5
	// band80 standard deviations about the line hold 80 %.
	band80 = 1.2816
	// keepUp: the newest third must go on with at least this share of the slope.
	keepUp = 1.0 / 3
)

type seriesID struct {
	service grace.ServiceID
	metric  string
}

// Agent predicts. It is not safe for concurrent use.
type Agent struct {
	cfg     Config
	targets []Target
	series  map[seriesID][]point // oldest first; only of targets
}

// New makes an agent. It expects what Validate passed.
func New(cfg Config, targets []Target) *Agent {
	a := &Agent{series: map[seriesID][]point{}}
	a.Reconfigure(cfg, targets)
	return a
}

// Reconfigure changes limits and targets; the points of series that still are
// targets are kept.
func (a *Agent) Reconfigure(cfg Config, targets []Target) {
	a.cfg = cfg
	a.targets = slices.Clone(targets)
	series := make(map[seriesID][]point, len(targets))
	for i := range targets {
		id := seriesID{targets[i].Service, targets[i].Metric}
		series[id] = newest(a.series[id], cfg.MaxSamples)
	}
	a.series = series
}

// Observe takes one value. Series without a target are passed over, and so is
// a value that is not a finite number or not newer than the newest.
func (a *Agent) Observe(service grace.ServiceID, metric string, at time.Time, value float64) {
	id := seriesID{service, metric}
	points, wanted := a.series[id]
	if !wanted || math.IsNaN(value) || math.IsInf(value, 0) {
		return
	}
	if n := len(points); n > 0 && !at.After(points[n-1].at) {
		return
	}
	if len(points) >= a.cfg.MaxSamples {
		copy(points, points[len(points)-a.cfg.MaxSamples+1:])
		points = points[:a.cfg.MaxSamples-1]
	}
	a.series[id] = append(points, point{at, value})
}

// Evaluate gives the breaches that lie ahead at a time, the likeliest first.
func (a *Agent) Evaluate(now time.Time) []grace.Prediction {
	var out []grace.Prediction
	fits := make(map[seriesID]line, len(a.series))
	for i := range a.targets {
		t := &a.targets[i]
		id := seriesID{t.Service, t.Metric}
		points := a.series[id]
		if !a.usable(points, now) {
			continue
		}
		l, done := fits[id]
		if !done {
			l = fit(points)
			fits[id] = l
		}
		if p, ok := a.extend(t, points, l, now); ok {
			out = append(out, p)
		}
	}
	slices.SortStableFunc(out, func(x, y grace.Prediction) int {
		return cmp.Or(cmp.Compare(y.Likelihood, x.Likelihood), x.BreachAt.Compare(y.BreachAt), cmp.Compare(x.Key, y.Key))
	})
	return out
}

func (a *Agent) usable(points []point, now time.Time) bool {
	n := len(points)
	return n >= a.cfg.MinSamples && now.Sub(points[n-1].at) <= a.cfg.StaleAfter.D()
}

// extend follows the line to the threshold.
func (a *Agent) extend(t *Target, points []point, l line, now time.Time) (grace.Prediction, bool) {
	last := points[len(points)-1]
	toward := 1.0
	if !t.upward() {
		toward = -1
	}
	if t.breached(last.value) || l.slope*toward <= 0 || l.z*toward < chance || l.fitness() < a.cfg.MinFit {
		return grace.Prediction{}, false
	}
	recent := fit(points[len(points)-len(points)/3:])
	if recent.slope/l.slope < keepUp {
		return grace.Prediction{}, false
	}

	age := now.Sub(last.at)
	ahead := min(a.cfg.Horizon.D(), time.Duration(a.cfg.Reach*float64(l.span)))
	likelihood := a.likelihood(t, &l, age+ahead, toward)
	if likelihood < a.cfg.MinLikelihood {
		return grace.Prediction{}, false
	}
	breach := a.breach(t, &l, age, ahead)
	value, sigma := l.at(age + breach)
	code := cmp.Or(t.Code, grace.CodeDegradation)
	return grace.Prediction{
		Key:     grace.SignalKey(string(t.Service) + "/predict/" + t.Metric + "/" + string(code)),
		Service: t.Service, Metric: t.Metric, Code: code,
		Title:      title(t, last.value),
		Likelihood: likelihood, Value: last.value, Threshold: t.Threshold,
		BreachAt: now.Add(breach), Low: value - band80*sigma, High: value + band80*sigma,
		Impact: t.Impact, At: now,
	}, true
}

func (a *Agent) likelihood(t *Target, l *line, ahead time.Duration, toward float64) float64 {
	value, sigma := l.at(ahead)
	margin := (value - t.Threshold) * toward
	if sigma == 0 { // points exactly on a line: the direction decides
		if margin <= 0 {
			return 0
		}
		return maxLikelihood
	}
	return min(phi(margin/sigma), maxLikelihood)
}

// breach gives the time from now, in whole steps, at which the line is past
// the threshold. A likelihood above one half says that it is by the end.
func (a *Agent) breach(t *Target, l *line, age, ahead time.Duration) time.Duration {
	for d := time.Duration(0); d < ahead; d += a.cfg.Step.D() {
		if v, _ := l.at(age + d); t.breached(v) {
			return d
		}
	}
	return ahead
}

func title(t *Target, value float64) string {
	unit := ""
	if t.Unit != "" {
		unit = " " + t.Unit
	}
	direction := "rising"
	if !t.upward() {
		direction = "falling"
	}
	number := func(v float64) string { return strconv.FormatFloat(v, 'g', 4, 64) + unit }
	return t.Metric + " " + number(value) + ", " + direction + " towards " + number(t.Threshold)
}

func newest(points []point, n int) []point {
	if len(points) > n {
		points = points[len(points)-n:]
	}
	return slices.Clone(points)
}
