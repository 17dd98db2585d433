package predict

import (
	"math"
	"slices"
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
	enough = 0.5
)

// outlook is what the newest forecast says of one threshold.
type outlook struct {
	at         int64 // unix ms; 0: there is none
	breachAt   int64
	likelihood float32
	low, high  float32 // the 80 % interval at breachAt
	full       *full   // nil: it is not used up steadily
	said       []block // of the blocks to come, oldest first
}

// ends tells when the block is over that breachAt is in.
func (o *outlook) ends() int64 { return o.at + ((o.breachAt-o.at)/blockLength+1)*blockLength }

// block is what was first said of a block of hours, when that was likely: it is held to
// what came, whether it was a claim or not.
type block struct {
	number     int64   // since 1970
	made       int64   // unix ms
	score      float32 // of a breach in it
	likelihood float32 // as the gate saw it then
}

const blockLength = refitBlock * hourLength

// full is when what is used up steadily is at the threshold, in unix ms.
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
	edge := float64(o.low)
	if !v.target.upward() {
		edge = float64(o.high)
	}
	r := raw{
		score: min(float64(o.likelihood), maxLikelihood), until: until(o.ends(), v.now), breach: until(o.breachAt, v.now),
		low: float64(o.low), high: float64(o.high), would: v.target.breached(edge, v.threshold), n: int(v.hours.known),
	}
	if f := o.full; f != nil && until(f.at, v.now) <= refitAhead*time.Hour {
		r.breach, r.until, r.note = until(f.at, v.now), max(r.until, f.until(v.now)), f.text(v)
		r.low, r.high = f.predictionInterval(v.threshold)
	}
	return r, true
}

// lookFill says when what is used up steadily is used up, if that is within two
// days with enough.
func lookFill(v *view) (raw, bool) {
	o := v.outlook
	if o == nil || v.now-o.at > outlookFresh || o.full == nil {
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
		score: min(score, maxLikelihood), until: o.full.until(v.now), breach: until(o.full.at, v.now), low: low, high: high,
		would: until(o.full.latest, v.now) <= 2*horizon, n: int(v.hours.known), note: o.full.text(v),
	}, true
}

func until(at, now int64) time.Duration { return time.Duration(max(at-now, 0)) * time.Millisecond }

// until gives by when it is full: by the end of the band, or of six hours about the time.
func (f *full) until(now int64) time.Duration { return until(max(f.latest, f.at+blockLength/2), now) }

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
	return s.name().Role == grace.RoleCapacity || s.name().Role == grace.RoleSaturation || w.target.Code == grace.CodeCapacity
}

// Refit is the work of forecasting one series from its hours. It takes
// milliseconds, so it is not done under the agent's lock: NextRefit takes what
// it needs out, Run does it, Refitted puts the outcome back.
type Refit struct {
	handle  Handle
	name    identity
	hour    int64
	long    bool             // long enough for a forecast
	run     int              // hours beyond that are a breach
	history forecast.History // of the hours as they passed
	clock   clock
	limits  []limit
	buffer  []float64
	local   []float64 // the history by the clock
	ahead   []int     // which of its steps each hour to come is
}

type limit struct {
	threshold float64
	above     bool
	fills     bool // it may be used up
	outlook   outlook
	blocks    []float64 // likelihood of a breach, by block
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
		if s != nil && s.refit(r) {
			r.handle = h
			return true
		}
	}
	return false
}

// refit takes out what the next forecast of a series needs, if there is to be one.
func (s *series) refit(r *Refit) bool {
	if s.hours.known < fillAfter || s.fitted == int32(s.hours.hour) {
		return false
	}
	r.limits = r.limits[:0]
	for i := range s.watches {
		w := &s.watches[i]
		if l := (limit{threshold: w.threshold, above: w.target.upward(), fills: fills(s, w)}); !w.learned && (l.fills || s.hours.known >= refitAfter) {
			r.limits = append(r.limits, l)
		}
	}
	if len(r.limits) == 0 {
		return false
	}
	s.fitted = int32(s.hours.hour)
	if r.buffer == nil {
		r.buffer = make([]float64, hourlyPoints)
	}
	values, first := s.hours.history(r.buffer)
	r.long, r.run = s.hours.known >= refitAfter, 1
	if int64(s.ring.step) > hourLength/breachSamples { // the mean of an hour is no breach by itself
		r.run = breachSamples
	}
	r.name, r.hour, r.clock = s.name().identity(), s.hours.hour, *s.clock
	r.history = forecast.History{Start: instant(first), Step: time.Hour, Values: values}
	return true
}

// byClock lays the history out by the hours of the clock, and gives which step of its
// forecast each hour to come is. An hour that the clock passes over has no value, and one
// that it shows twice the mean of both. What is used up steadily does so by no clock.
func (r *Refit) byClock() (forecast.History, []int) {
	now, hour := r.clock.local(r.hour), r.history.Start.UnixMilli()/hourLength
	first := r.clock.local(hour)
	n := max(now-first, 0)
	r.local = slices.Grow(r.local[:0], int(n))[:n]
	for i := range r.local {
		r.local[i] = math.NaN()
	}
	for _, v := range r.history.Values {
		// What the clock will show again is not over.
		if i := r.clock.local(hour) - first; i >= 0 && i < n {
			if before := r.local[i]; !math.IsNaN(before) && !math.IsNaN(v) {
				v = (before + v) / 2
			} else if math.IsNaN(v) {
				v = before
			}
			r.local[i] = v
		}
		hour++
	}
	r.ahead = r.ahead[:0]
	for h := range int64(refitAhead) {
		if step := r.clock.local(r.hour+h) - now; step < refitAhead {
			r.ahead = append(r.ahead, int(max(step, 0)))
		}
	}
	return forecast.History{Start: instant((r.hour - n) * hourLength), Step: time.Hour, Values: r.local}, r.ahead
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
			l.outlook.full = &full{at: f.At.UnixMilli(), earliest: f.Earliest.UnixMilli(), latest: f.Latest.UnixMilli(), slope: f.Slope}
		}
	}
	if !r.long {
		return
	}
	history, steps := r.byClock()
	fitted, ok := forecast.Fit(w, m, history, refitAhead)
	if !ok {
		return
	}
	fitted.Along(steps)
	ahead := fitted.Forecast()
	for i := range r.limits {
		l := &r.limits[i]
		l.blocks = fitted.Breach(l.threshold, l.above, refitBlock, r.run, l.blocks[:0])
		for b, p := range l.blocks {
			if p < enough && b < len(l.blocks)-1 {
				continue
			}
			// It has begun run - 1 hours before it is a breach.
			step := min(max(b*refitBlock+refitBlock/2-(r.run-1), 0), len(ahead.Points)-1)
			l.outlook.breachAt, l.outlook.likelihood = ahead.Start.UnixMilli()+int64(step)*hourLength, float32(p)
			l.outlook.low, l.outlook.high = narrow(ahead.Low80[step]), narrow(ahead.High80[step])
			break // the first block that is likely, or the last
		}
	}
}

// Refitted takes what Run found, unless the series is another one by now.
func (a *Agent) Refitted(r *Refit) {
	if s := a.at(r.handle); s != nil && s.name().identity() == r.name {
		a.refitted(s, r)
	}
}

func (a *Agent) refitted(s *series, r *Refit) {
	s.looked = s.ring.count - 1 // to be looked at anew
	for i := range s.watches {
		w := &s.watches[i]
		for _, l := range r.limits {
			if !w.learned && w.threshold == l.threshold && w.target.upward() == l.above && !math.IsNaN(l.threshold) {
				if w.outlook == nil {
					w.outlook = &outlook{}
				}
				l.outlook.said = w.outlook.said
				*w.outlook = l.outlook
				a.noteBlocks(s, w, r.hour, l.blocks)
			}
		}
	}
}

// noteBlocks keeps what a forecast says of the blocks of hours to come, four times a day,
// while a breach could begin in them.
func (a *Agent) noteBlocks(s *series, w *watch, hour int64, blocks []float64) {
	if hour%refitBlock != 0 || w.breach.lasts(s.ring.last(), a.merge) || w.breach.near() {
		return
	}
	o, name := w.outlook, s.name()
	for i, p := range blocks {
		n := hour/refitBlock + int64(i)
		if p < enough || slices.ContainsFunc(o.said, func(b block) bool { return b.number == n }) {
			continue
		}
		score, at := min(p, maxLikelihood), hour*hourLength
		j := a.gate.Judge(capacity, &name, score, at)
		o.said = append(o.said, block{number: n, made: at, score: float32(score), likelihood: float32(j.Likelihood)})
	}
}

// settleBlocks holds what was said of a block that is over to what came.
func (a *Agent) settleBlocks(s *series, w *watch, r *Result) {
	o := w.outlook
	if o == nil {
		return
	}
	o.said = slices.DeleteFunc(o.said, func(b block) bool {
		from := b.number * blockLength
		to := from + blockLength
		begins := w.breach.near() && !w.breach.on && s.ring.last() < to+breachWindow*int64(s.ring.step)
		if s.ring.last() < to || begins {
			return false
		}
		came := w.breach.began >= b.made && w.breach.began < to && w.breach.ended >= from
		if w.breach.began < b.made && w.breach.ended >= from || !came && s.hours.seen(from/hourLength, refitBlock) < refitBlock/2 {
			return true // it was on already, or nobody saw
		}
		v := verdict{rule: capacity, score: float64(b.score), came: came, likely: float64(b.likelihood) >= a.gate.sure(), at: s.ring.last()}
		name := s.name()
		a.teach(&name, v, r)
		r.Resolved = append(r.Resolved, a.blockEntry(s, w, &b, &v))
		return true
	})
}

// blockEntry is a block that is over, for the ledger.
func (a *Agent) blockEntry(s *series, w *watch, b *block, v *verdict) grace.Prediction {
	end := (b.number + 1) * blockLength
	res := resolved{rule: v.rule, outcome: grace.PredictionFalsePositive, at: v.at, claim: Claim{
		Made: b.made, Renewed: b.made, Until: end, BreachAt: end - blockLength/2, Score: v.score, Likelihood: float64(b.likelihood),
		id: a.entryID(s, w, "block", end), value: s.ring.newest(),
	}}
	if v.came {
		res.outcome, res.began = grace.PredictionTruePositive, w.breach.began
	}
	res.claim.title = title(s.name().Metric, w.target, w.threshold, res.claim.value)
	p := a.entry(s, w, res)
	p.Block, p.Likely = true, v.likely
	return p
}
