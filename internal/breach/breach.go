// Package breach says how likely a series is to begin to be beyond its
// threshold soon: early breach.
//
//	samples of one (series, threshold) -> steps of horizon/6 -> what precedes a breach -> likelihood
//	                                             breaches that begin, or do not  -> what this series' own past teaches
//
// # Contract
//
// A breach begins when three of the last four steps are beyond the threshold; one
// that follows within two horizons of the last is the same. Likelihood is the
// chance that a breach begins within two horizons. A step is a sixth of the
// horizon, or one sample of a series that is slower; faster samples are averaged
// into steps.
//
// A Model is a few numbers and read-only: any number of goroutines may share it.
// A State is a fixed-size value, whose zero value is a series not yet seen; its
// owner locks. Nothing is allocated. Samples come in order of time: one that is
// not newer than the last step, not a number, or not finite is ignored, as is one
// without a finite threshold. Two models never share a State.
//
// # How
//
// Thirteen quantities without unit, level or clock (see observe) enter a logistic
// regression. Its weights start from a fixed prior, and each series learns its
// own from each of its steps of which the truth is known, so that a series
// whose breaches follow no pattern falls silent and one that breaches at nine
// every working day is known after two weeks. Where a breach cannot begin in
// time, because too few samples come before, the likelihood is 0.
//
// A warning that leaves no time is worth little. Worth is the likelihood, less
// where the breach could begin within half a horizon; a caller that speaks when
// Worth is at least Balanced or Strict gets the operating points that the
// evaluation measures.
package breach

import (
	"math"
	"math/bits"
	"time"
)

// Operating points: the least Worth at which to speak.
const (
	Balanced = 0.20 // half of the breaches, nearly half of the warnings right
	Strict   = 0.55 // a fifth of the breaches or more, seven warnings in ten right
)

// Model is what all series share. Its zero value is not usable: see New.
type Model struct {
	horizon, reach, step float64 // ms
	prior                [Quantities]float64
}

// New gives the model for a horizon, which is not below a minute.
func New(horizon time.Duration) *Model {
	h := float64(max(horizon, time.Minute).Milliseconds())
	return &Model{horizon: h, reach: 2 * h, step: h / 6, prior: Prior()}
}

// State is what is known of one series and its threshold. There is one for each of up to a
// million series: its fields are in the order that leaves no holes.
type State struct {
	// At the last step; values are turned so that beyond is above.
	at           int64 // unix ms
	value        float64
	mean, spread float64 // over a day
	short, mid   float64 // means over half a horizon and two
	hours        float64 // mean over twelve horizons
	sum          float64 // of the samples since

	// Breaches.
	began, lastIn int64 // unix ms; 0: never
	breaches      float32

	lately, week float32 // share of time beyond: over four horizons, over a week
	samples      uint32
	gaps         [3]uint32 // ms between the last steps
	steps        uint16    // so many at most
	beyond       uint8     // bit 0: the last step was beyond the threshold, bit 1: the one before ...

	// Ahead is by how many hours the clock by which the series has its weeks is ahead of
	// UTC. Whoever appends sets it.
	Ahead int8

	// Share of time beyond, by hour of the week: six bits of share, two of how often the
	// hour was seen.
	profile             [168]uint8
	hour                uint8
	hourSteps, hourOver uint16
	seasonOf            uint16     // the half-hour of the week that ahead is of
	between             [8]uint16  // minutes between the last begins of breaches; 0: none
	ahead               [4]float32 // dayAhead, dayNow, weekAhead, weekNow; -1: not known

	// What was learned, and what waits for its truth.
	learned, evidence [Quantities]float32
	waiting           waiting
	waited            uint32 // unix s of the newest that waits

	likelihood float32
}

// Outlook is what the last step of a series says.
type Outlook struct {
	Likelihood float64 // that a breach begins within two horizons; 0 while in breach
	Worth      float64 // Likelihood, less where it leaves no time
	Earliest   int64   // unix ms before which a breach cannot begin; 0: not known
	Expected   int64   // unix ms; the middle of the time in which it would begin
	Breached   bool    // in breach now
}

// Append adds a sample of a series whose threshold is limit: a value above is
// beyond it, with below one under it.
func (m *Model) Append(s *State, atMillis int64, value, limit float64, below bool) {
	const most = 1e150 // squares and sums of values stay finite
	if !(math.Abs(value) <= most) || !(math.Abs(limit) <= most) {
		return
	}
	if below {
		value, limit = -value, -limit
	}
	if s.steps > 0 && float64(atMillis-s.at) < 0.9*m.step {
		if atMillis > s.at {
			s.sum += value
			s.samples++
		}
		return
	}
	value = s.clip((s.sum+value)/float64(s.samples+1), limit)
	s.sum, s.samples = 0, 0
	m.advance(s, atMillis, value, limit)
}

// SetBack takes the series to a clock that was set back: what waits for its truth is given
// up, and what was seen ahead has been seen at that time, in unix ms.
func (s *State) SetBack(to int64) {
	s.at, s.began, s.lastIn = min(s.at, to), min(s.began, to), min(s.lastIn, to)
	s.waiting, s.waited = waiting{}, 0
}

// Outlook is constant between steps.
func (m *Model) Outlook(s *State) Outlook {
	o := Outlook{Breached: s.breached()}
	if s.steps < 4 {
		return o
	}
	earliest := m.earliest(s)
	o.Earliest = s.at + int64(earliest)
	o.Expected = s.at + int64((earliest+max(earliest, m.reach))/2)
	o.Likelihood = float64(s.likelihood)
	time := min(1, earliest/(m.horizon/2))
	o.Worth = o.Likelihood * time * time
	return o
}

// clip holds a step to the neighbourhood of what the series has been and of the limit: one
// absurd value would otherwise be in the means of a day for weeks.
func (s *State) clip(value, limit float64) float64 {
	if s.steps < clipAfter {
		return value
	}
	far := clipSpreads * max(s.spread, math.Abs(limit-s.mean), math.Abs(limit)/1000, 1e-9)
	return min(max(value, s.mean-far), s.mean+far)
}

const (
	clipAfter   = 24 // steps
	clipSpreads = 8
)

func (m *Model) advance(s *State, at int64, value, limit float64) {
	dt := 0.0
	if s.steps == 0 {
		s.mean, s.short, s.mid, s.hours = value, value, value, value
		s.hour = s.hourOfWeek(at)
	} else {
		dt = float64(at - s.at)
		s.gaps[2], s.gaps[1], s.gaps[0] = s.gaps[1], s.gaps[0], uint32(min(dt, 1e9))
	}
	over := value > limit
	s.beyond <<= 1
	if over {
		s.beyond |= 1
	}
	s.value = value
	m.average(s, dt, over)
	s.season(at, over)
	s.at = at
	if s.steps < math.MaxUint16 {
		s.steps++
	}
	s.breaches -= s.breaches * float32(dt/(dt+weekMillis))
	m.learn(s)
	s.likelihood = 0
	if s.steps < 4 || s.breached() || m.earliest(s) > 1.1*m.reach {
		return
	}
	x := m.observe(s, limit)
	s.likelihood = float32(m.chance(s, &x))
	m.remember(s, &x)
}

// seconds is the time of the last step, enough for what waits an hour.
func (s *State) seconds() uint32 { return uint32(s.at / 1000) }

const (
	hourMillis = 3600e3
	dayMillis  = 24 * hourMillis
	weekMillis = 7 * dayMillis
)

// average moves the means by a step that took dt ms.
func (m *Model) average(s *State, dt float64, over bool) {
	young := 1 / (float64(s.steps) + 1)
	share := func(period float64) float64 { return dt / (dt + period) }
	day := max(share(dayMillis), young)
	s.mean += day * (s.value - s.mean)
	s.spread += day * (math.Abs(s.value-s.mean) - s.spread)
	s.short += share(m.horizon/2) * (s.value - s.short)
	s.mid += share(2*m.horizon) * (s.value - s.mid)
	s.hours += max(share(12*m.horizon), young) * (s.value - s.hours)
	o := 0.0
	if over {
		o = 1
	}
	s.lately += float32(share(4*m.horizon) * (o - float64(s.lately)))
	s.week += float32(max(share(weekMillis), young) * (o - float64(s.week)))
}

// breached says that three of the last four steps were beyond the threshold.
func (s *State) breached() bool { return bits.OnesCount8(s.beyond&0b1111) >= 3 }

// earliest is the time in ms that has to pass before a breach can begin: as many
// steps beyond the threshold as are missing, at the pace of the last ones.
func (m *Model) earliest(s *State) float64 {
	missing := 3.0
	switch last := s.beyond & 0b111; {
	case bits.OnesCount8(last) >= 2:
		missing = 1
	case last&0b11 != 0:
		missing = 2
	}
	a, b, c := s.gaps[0], s.gaps[1], s.gaps[2]
	return missing * float64(max(min(a, b), min(max(a, b), c)))
}
