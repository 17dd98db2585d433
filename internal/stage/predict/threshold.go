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
	// daysApart are as many days as an hour of weekdays, and of weekends, must have been
	// seen for the two to be told apart: after two weeks.
	daysApart = 3
)

// learnThreshold gives a series without a threshold one of its own, and keeps
// it up to date: the usual value of this hour of the day, and on top of it what
// nearly no hour was away from it in four weeks. All of it is made of quantiles,
// which single bad days do not move.
func (a *Agent) learnThreshold(s *series) {
	if s.odd == nil || s.hours.known < learnAfter {
		return
	}
	first := len(s.watches) == 0
	if first {
		s.watches = []watch{{learned: true, target: a.learnedTarget(s.name())}}
	}
	w := &s.watches[0]
	if !first && (s.fitted == int32(s.hours.hour) || len(w.open) > 0) {
		return // what is claimed of a threshold is held to that threshold
	}
	s.fitted = int32(s.hours.hour)
	w.threshold = a.unusualValue(s)
	if first {
		a.reopen(s)
	}
}

// kindOfLearned is what learned targets differ by.
type kindOfLearned struct {
	role  grace.Role
	unit  string
	falls bool
}

// learnedTarget gives what the learned thresholds of series of a kind have in common.
func (a *Agent) learnedTarget(of Series) *Target {
	k := kindOfLearned{of.Role, of.Unit, of.Falls}
	t := a.learned[k]
	if t == nil {
		t = &Target{Op: ">", Unit: of.Unit, Impact: grace.ImpactLow}
		if of.Falls {
			t.Op = "<"
		}
		switch of.Role {
		case grace.RoleLatency:
			t.Code = grace.CodeLatencySpike
		case grace.RoleErrors:
			t.Code = grace.CodeElevatedErrors
		default:
			t.Code = grace.CodeCapacity
		}
		a.learned[k] = t
	}
	return t
}

func (a *Agent) unusualValue(s *series) float64 {
	if a.work.hours == nil {
		a.work.hours = make([]float64, hourlyPoints)
	}
	history, first := s.hours.history(a.work.hours)
	first /= hourLength
	toward := 1.0
	if s.name().Falls {
		toward = -1
	}
	usual := usualDays(history, first, s.clock, toward)
	away := history[:0]
	for i, v := range history {
		if d := (v - usual.in(first+int64(i), s.clock)) * toward; !math.IsNaN(d) {
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
	for near := s.hours.hour - 1; near <= s.hours.hour+1; near++ {
		if u := usual.in(near, s.clock); !math.IsNaN(u) && !(now*toward >= u*toward) {
			now = u
		}
	}
	if math.IsNaN(now) {
		now = s.ring.newest()
	}
	return now + toward*(margin+scatter*noise)
}

// days holds the usual value of each hour of the day, of weekdays and of weekends; NaN where
// there is none.
type days [2][24]float64

// placeOf gives the place of an hour of UTC in days, by the clock.
func placeOf(hour int64, c *clock) (weekend, hourOfDay int64) {
	local := c.local(hour)
	day := floorDiv(local, 24) // 0 was a Thursday
	if of := day - 7*floorDiv(day, 7); of == 2 || of == 3 {
		weekend = 1
	}
	return weekend, local - 24*day
}

func (d *days) in(hour int64, c *clock) float64 {
	weekend, hourOfDay := placeOf(hour, c)
	return d[weekend][hourOfDay]
}

// medianDays gives the medians of hours, the first of which is first, and of how many hours
// each is.
func medianDays(history []float64, first int64, c *clock) (usual days, n [2][24]int) {
	var values [2][24][hourlyPoints/24 + 2]float64 // an hour may come twice a day
	for i, v := range history {
		if !math.IsNaN(v) {
			weekend, hourOfDay := placeOf(first+int64(i), c)
			k := &n[weekend][hourOfDay]
			values[weekend][hourOfDay][*k] = v
			*k++
		}
	}
	for i := range usual {
		for h := range usual[i] {
			usual[i][h] = math.NaN()
			if k := n[i][h]; k > 0 {
				usual[i][h] = median(values[i][h][:k])
			}
		}
	}
	return usual, n
}

// usualDays gives the medians of hours, the first of which is first. Until weekdays and
// weekends have been seen often enough, the one that is worse stands for both: what begins
// on a weekend is not odd on its first Monday.
func usualDays(history []float64, first int64, c *clock, toward float64) days {
	usual, n := medianDays(history, first, c)
	for h := range 24 {
		if min(n[0][h], n[1][h]) >= daysApart {
			continue
		}
		work, rest := &usual[0][h], &usual[1][h]
		if math.IsNaN(*work) || *rest*toward > *work*toward {
			*work = *rest
		}
		*rest = *work
	}
	return usual
}
