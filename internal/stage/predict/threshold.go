package predict

import (
	"math"
	"slices"

	"grace"
)

const (
	// learnAfter hours a threshold may be learned.
	learnAfter = 72
	// unusual is the share of the hours that a learned threshold leaves beyond
	// it, before the allowance for what a sample scatters about its hour.
	unusual = 0.01
	// scatter is that allowance, in standard deviations.
	scatter = 4
)

// learnThreshold gives a series without a threshold one of its own, and keeps
// it up to date: the usual value of this time of the day, and on top of it what
// nearly no hour was away from it in four weeks. All of it is made of quantiles,
// which single bad days do not move.
func (a *Agent) learnThreshold(s *series) {
	if s.odd == nil || s.hours.known < learnAfter {
		return
	}
	if len(s.watches) == 0 {
		op := ">"
		if s.name.Falls {
			op = "<"
		}
		what := map[grace.Role]grace.Code{
			grace.RoleLatency: grace.CodeLatencySpike, grace.RoleErrors: grace.CodeElevatedErrors, grace.RoleSaturation: grace.CodeCapacity,
		}[s.name.Role]
		s.watches = []watch{{learned: true, target: &Target{
			Service: s.name.Service, Metric: s.name.Metric, Op: op, Code: what, Unit: s.name.Unit, Impact: grace.ImpactLow,
		}}}
	}
	w := &s.watches[0]
	if w.hour == s.hours.hour || len(w.open) > 0 {
		return // what is claimed of a threshold is held to that threshold
	}
	first := w.hour == 0
	w.hour = s.hours.hour
	w.threshold = a.unusualValue(s)
	if first {
		a.reopen(s)
	}
}

func (a *Agent) unusualValue(s *series) float64 {
	if a.work.hours == nil {
		a.work.hours = make([]float64, hourlyPoints)
	}
	history, first := s.hours.history(a.work.hours)
	var usual [24]float64
	var day []float64
	for h := range usual {
		day = day[:0]
		for i, v := range history {
			if at := int(first/hourLength) + i; !math.IsNaN(v) && at%24 == h {
				day = append(day, v)
			}
		}
		if len(day) == 0 {
			usual[h] = math.NaN()
			continue
		}
		usual[h] = median(day)
	}
	toward := 1.0
	if s.name.Falls {
		toward = -1
	}
	away := history[:0]
	for i, v := range history {
		if d := (v - usual[(int(first/hourLength)+i)%24]) * toward; !math.IsNaN(d) {
			away = append(away, d)
		}
	}
	slices.Sort(away)
	margin := max(away[int(float64(len(away)-1)*(1-unusual))], 0)

	times, values := s.ring.unpack(finePoints, a.work.times[:], a.work.values[:])
	moves := times[:0]
	for i := 1; i < len(values); i++ {
		moves = append(moves, math.Abs(values[i]-values[i-1]))
	}
	noise := 0.0
	if len(moves) > 0 {
		noise = madToSigma * median(moves) / math.Sqrt2
	}
	// Within the hour the series goes from where it was to where it will be.
	now := math.NaN()
	for _, near := range []int64{23, 24, 25} {
		if u := usual[(s.hours.hour+near)%24]; !math.IsNaN(u) && !(now*toward >= u*toward) {
			now = u
		}
	}
	if math.IsNaN(now) {
		now = s.ring.newest()
	}
	return now + toward*(margin+scatter*noise)
}
