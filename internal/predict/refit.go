package predict

import (
	"math"
	"time"

	"grace/internal/forecast"
)

const (
	// refitAfter hours of history a series is forecast.
	refitAfter = 14 * 24
	// refitAhead is how far, in hours; refitBlock the grain of what is said.
	refitAhead = 48
	refitBlock = 6
	// outlookFresh is how long a forecast holds that is not renewed.
	outlookFresh = 3 * hourLength
	// enough: a block that is less likely beyond the threshold is no claim.
	enough = 0.6
)

// outlook is what the newest forecast says of one threshold.
type outlook struct {
	at         int64 // unix ms; 0: there is none
	breachAt   int64
	likelihood float32
	low, high  float32 // the 80 % band at breachAt
}

// lookCapacity says what the forecast of the next two days says.
func lookCapacity(v *view) (raw, bool) {
	o := v.outlook
	if o.at == 0 || v.now-o.at > outlookFresh || o.likelihood < enough {
		return raw{}, false
	}
	horizon := refitAhead * time.Hour
	edge := float64(o.low)
	if !v.target.upward() {
		edge = float64(o.high)
	}
	return raw{
		score: min(float64(o.likelihood), maxLikelihood), horizon: horizon,
		breach: time.Duration(max(o.breachAt-v.now, 0)) * time.Millisecond,
		low:    float64(o.low), high: float64(o.high), would: v.target.breached(edge, v.threshold),
		n: int(v.hours.known),
	}, true
}

// Refit is the work of forecasting one series from its hours. It takes
// milliseconds, so it is not done under the agent's lock: NextRefit takes what
// it needs out, Run does it, Refitted puts the outcome back.
type Refit struct {
	handle  Handle
	name    identity
	hour    int64
	history forecast.History
	limits  []limit
	buffer  []float64
}

type limit struct {
	threshold float64
	above     bool
	outlook   outlook
}

// NextRefit gives the next of the series whose forecast is older than the hour
// under way, and false when there is none among the next budget places. The
// memory of r is used again.
func (a *Agent) NextRefit(r *Refit, budget int) bool {
	for range min(budget, a.places) {
		h := a.refit
		if a.refit++; int(a.refit) >= a.places {
			a.refit = 0
		}
		s := a.at(h)
		if s == nil || s.hours.known < refitAfter || s.fitted == s.hours.hour {
			continue
		}
		r.limits = r.limits[:0]
		for i := range s.watches {
			if w := &s.watches[i]; !w.learned {
				r.limits = append(r.limits, limit{threshold: w.threshold, above: w.target.upward()})
			}
		}
		if len(r.limits) == 0 {
			continue
		}
		s.fitted = s.hours.hour
		if r.buffer == nil {
			r.buffer = make([]float64, hourlyPoints)
		}
		values, first := s.hours.history(r.buffer)
		r.handle, r.name, r.hour = h, s.name.identity(), s.hours.hour
		r.history = forecast.History{Start: instant(first), Step: time.Hour, Values: values}
		return true
	}
	return false
}

// Run forecasts. The workspace is the caller's, one for each goroutine.
func (r *Refit) Run(w *forecast.Workspace, m forecast.Model) {
	for i := range r.limits {
		r.limits[i].outlook = outlook{}
	}
	fitted, ok := forecast.Fit(w, m, r.history, refitAhead)
	if !ok {
		return
	}
	ahead := fitted.Forecast()
	var blocks []float64
	for i := range r.limits {
		l := &r.limits[i]
		blocks = fitted.Breach(l.threshold, l.above, refitBlock, blocks[:0])
		for b, p := range blocks {
			if p < enough && b < len(blocks)-1 {
				continue
			}
			step := min((b*refitBlock)+refitBlock/2, len(ahead.Points)-1)
			l.outlook = outlook{
				at: r.hour * hourLength, breachAt: ahead.Start.UnixMilli() + int64(step)*hourLength, likelihood: float32(p),
				low: narrow(ahead.Low80[step]), high: narrow(ahead.High80[step]),
			}
			break // the first block that is likely, or the last
		}
	}
}

// Refitted takes what Run found, unless the series is another one by now.
func (a *Agent) Refitted(r *Refit) {
	s := a.at(r.handle)
	if s == nil || s.name.identity() != r.name {
		return
	}
	for i := range s.watches {
		w := &s.watches[i]
		for _, l := range r.limits {
			if !w.learned && w.threshold == l.threshold && w.target.upward() == l.above && !math.IsNaN(l.threshold) {
				w.outlook = l.outlook
			}
		}
	}
}
