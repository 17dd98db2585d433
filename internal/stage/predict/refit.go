package predict

import (
	"math"
	"time"

	"grace"
	"grace/internal/explain"
	"grace/internal/forecast"
)

const (
	// refitAfter hours of history a series is forecast.
	refitAfter = 14 * 24
	// fillAfter hours what is used up steadily can be told from a day's rhythm.
	fillAfter = 72
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
	low, high  float32 // the 80 % interval at breachAt
	full       full
}

// full is when what is used up steadily is at the threshold, in unix ms; at is 0
// where that is not known.
type full struct {
	at, earliest, latest int64   // the band holds 80 %
	slope                float64 // an hour
}

// lookCapacity says what the forecast of the next two days says. Where the
// series is used up steadily the time is known better than a block of hours.
func lookCapacity(v *view) (raw, bool) {
	o := v.outlook
	if o == nil || v.now-o.at > outlookFresh || o.likelihood < enough {
		return raw{}, false
	}
	horizon := refitAhead * time.Hour
	edge := float64(o.low)
	if !v.target.upward() {
		edge = float64(o.high)
	}
	r := raw{
		score: min(float64(o.likelihood), maxLikelihood), horizon: horizon, breach: until(o.breachAt, v.now),
		low: float64(o.low), high: float64(o.high), would: v.target.breached(edge, v.threshold), n: int(v.hours.known),
	}
	if at := until(o.full.at, v.now); o.full.at != 0 && at <= horizon {
		r.breach, r.note = at, o.full.text(v)
		r.low, r.high = o.full.predictionInterval(v.threshold)
	}
	return r, true
}

// lookFill says when what is used up steadily is used up, if that is within two
// days with enough.
func lookFill(v *view) (raw, bool) {
	o := v.outlook
	if o == nil || v.now-o.at > outlookFresh || o.full.at == 0 {
		return raw{}, false
	}
	horizon := refitAhead * time.Hour
	spread := max(float64(o.full.latest-o.full.earliest)/(2*band80), float64(hourLength))
	score := phi((float64(v.now+horizon.Milliseconds()) - float64(o.full.at)) / spread)
	if score < enough {
		return raw{}, false
	}
	low, high := o.full.predictionInterval(v.threshold)
	return raw{
		score: min(score, maxLikelihood), horizon: horizon, breach: until(o.full.at, v.now), low: low, high: high,
		would: until(o.full.latest, v.now) <= 2*horizon, n: int(v.hours.known), note: o.full.text(v),
	}, true
}

func until(at, now int64) time.Duration { return time.Duration(max(at-now, 0)) * time.Millisecond }

// predictionInterval is where the value is at that time: as far from the threshold as it goes
// in the time by which it may be early or late.
func (f *full) predictionInterval(threshold float64) (low, high float64) {
	by := func(ms int64) float64 { return threshold + f.slope*float64(ms)/float64(hourLength) }
	late, early := by(f.at-f.latest), by(f.at-f.earliest)
	return min(late, early), max(late, early)
}

func (f *full) text(v *view) string {
	clock := func(at int64) string { return instant(at).Format("2006-01-02 15:04") }
	return "changes by " + explain.Quantity(f.slope, v.target.Unit) + " an hour: at the limit " + clock(f.at) +
		" UTC, with 80 % between " + clock(f.earliest) + " and " + clock(f.latest)
}

// fills tells whether a threshold is one of something that may be used up.
func fills(s *series, w *watch) bool {
	return s.name.Role == grace.RoleCapacity || s.name.Role == grace.RoleSaturation || w.target.Code == grace.CodeCapacity
}

// Refit is the work of forecasting one series from its hours. It takes
// milliseconds, so it is not done under the agent's lock: NextRefit takes what
// it needs out, Run does it, Refitted puts the outcome back.
type Refit struct {
	handle  Handle
	name    identity
	hour    int64
	long    bool // long enough for a forecast
	history forecast.History
	limits  []limit
	buffer  []float64
}

type limit struct {
	threshold float64
	above     bool
	fills     bool // it may be used up
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
		if s == nil || s.hours.known < fillAfter || s.fitted == s.hours.hour {
			continue
		}
		r.limits = r.limits[:0]
		for i := range s.watches {
			w := &s.watches[i]
			if l := (limit{threshold: w.threshold, above: w.target.upward(), fills: fills(s, w)}); !w.learned && (l.fills || s.hours.known >= refitAfter) {
				r.limits = append(r.limits, l)
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
		r.long = s.hours.known >= refitAfter
		r.handle, r.name, r.hour = h, s.name.identity(), s.hours.hour
		r.history = forecast.History{Start: instant(first), Step: time.Hour, Values: values}
		return true
	}
	return false
}

// Run forecasts. The workspace is the caller's, one for each goroutine.
func (r *Refit) Run(w *forecast.Workspace, m forecast.Model) {
	for i := range r.limits {
		l := &r.limits[i]
		l.outlook = outlook{at: r.hour * hourLength}
		if !l.fills {
			continue
		}
		if f, ok := forecast.Fill(w, r.history, l.threshold); ok && f.Slope > 0 == l.above {
			l.outlook.full = full{at: f.At.UnixMilli(), earliest: f.Earliest.UnixMilli(), latest: f.Latest.UnixMilli(), slope: f.Slope}
		}
	}
	if !r.long {
		return
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
			l.outlook.breachAt, l.outlook.likelihood = ahead.Start.UnixMilli()+int64(step)*hourLength, float32(p)
			l.outlook.low, l.outlook.high = narrow(ahead.Low80[step]), narrow(ahead.High80[step])
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
	s.looked = s.ring.count - 1 // to be looked at anew
	for i := range s.watches {
		w := &s.watches[i]
		for _, l := range r.limits {
			if !w.learned && w.threshold == l.threshold && w.target.upward() == l.above && !math.IsNaN(l.threshold) {
				if w.outlook == nil {
					w.outlook = &outlook{}
				}
				*w.outlook = l.outlook
			}
		}
	}
}
