package detect

import "math"

// Threshold is the score from which on a sample is a detection: the same for
// all series.
const Threshold = 0.5

const (
	shortestTick = 60 * 1000
	longestTick  = 5 * 60 * 1000
	hourMillis   = 3600 * 1000
	dayMillis    = 24 * hourMillis
	warmUp       = 144            // ticks without a verdict: half a day of five minutes
	restTicks    = 72             // ticks of rest after a detection: six hours of five minutes
	forgetMillis = 14 * dayMillis // of silence, after which a series starts anew
	largest      = 1e150          // beyond it squares and sums overflow
	clipWidths   = 0.5            // a sample counts at most so many widths beyond the envelope
	quiet        = 1 - 0x1p-10    // of Threshold: the most that a resting series scores
	profileTicks = 100            // memory of an hour's mean: about 8 days
	driftRate    = 1.0 / 288      // of the mean difference from the profile, per tick: a day
	driftShare   = 0.6            // of a difference has to be new since then
	recordFast   = 1.0 / 2        // one over ticks
	recordSlow   = 1.0 / 12       //
	oddFast      = 1.0            //
	oddMiddle    = 1.0 / 6        //
	oddSlow      = 1.0 / 36       //
	profileHours = dayMillis / hourMillis
)

// Kind is a detector, or a set of them.
type Kind uint8

// The detectors.
const (
	// Record: the series, smoothed over 2 and 12 ticks, is beyond all it has
	// been (extreme values with slow forgetting).
	Record Kind = 1 << iota
	// OddHour: the same for what is left after the mean of the hour of day is
	// taken off, smoothed over 1, 6 and 36 ticks.
	OddHour
	// Run: the series has been on one side of its centre far longer than ever
	// (a runs test: Wald and Wolfowitz 1940): a lost rhythm, a work that has
	// stopped, a new level.
	Run

	// Default is what earns its place on real series.
	Default = Record | OddHour | Run
)

// String names one detector; a set has no name.
func (k Kind) String() string {
	switch k {
	case Record:
		return "record"
	case OddHour:
		return "odd_hour"
	case Run:
		return "run"
	default:
		return ""
	}
}

// Verdict is what is said of one sample.
type Verdict struct {
	// Score is x/(1+x) where x is the excess over the envelope in margins, of the
	// detector that has most of it; below Threshold while the series rests.
	Score float64
	// Fired: Score reached Threshold. The next detection is at least a rest
	// away.
	Fired bool
	// Up: it was above, not below, what it should be.
	Up bool
	// By is the detector that has most to say; 0 when none has, or a Statistic.
	By Kind
	// Ignored: the sample was not used (see the package's Silence).
	Ignored bool
}

// Tick is what one sample is worth to everything that learns.
type Tick struct {
	Ticks  float64 // so far
	Weight float64 // ticks since the sample before
	Share  float64 // of all ticks so far: while they are few, means are plain means
}

// Statistic is asked beside the detectors: what is tried out, in the evaluation.
type Statistic interface {
	// Start forgets everything but this value.
	Start(v float64)
	// Turn ends a block of memory, see [Envelope.Turn].
	Turn()
	// Step takes the next value, and what the mean of its hour of day leaves of it. It
	// returns by how much the statistic leaves its envelope, see [Envelope.Meet].
	Step(v, residual float64, t Tick) (excess float64, up bool)
}

// State is one series, as the default detectors see it. The zero value is ready.
// It is not safe for concurrent use.
type State struct {
	// Ahead is by how many hours the clock by which the series has its days is ahead of
	// UTC. Whoever observes sets it.
	Ahead   int8
	tick    float32 // milliseconds: the usual time between two samples, within bounds
	newest  int64   // unix milliseconds
	first   int64   // unix milliseconds
	ticks   float64 // so far
	oddFrom float64 // ticks at which the profile had seen a day; 0 before
	restEnd float64 // in ticks
	turnAt  float64 // ticks at which the block of memory ends
	bounds  Envelope
	record  [2]channel
	odd     [3]channel
	run     run
	drift   float64 // mean difference from the profile, of a day
	profile profile
}

// profile is what the series has been in each hour of the day.
type profile struct {
	mean  [profileHours]float64
	ticks [profileHours]float32 // seen of it, at most profileTicks
}

// Observe takes the next sample, at a time in unix milliseconds, and returns
// what the default detectors say.
func (s *State) Observe(atMillis int64, v float64) Verdict {
	return s.ObserveWith(Default, atMillis, v)
}

// SetBack takes the series to a clock that was set back, in unix milliseconds.
func (s *State) SetBack(to int64) { s.newest, s.first = min(s.newest, to), min(s.first, to) }

// Band is the range that the series has been in, of its last two to four weeks;
// one sample widens it by half its width at most.
func (s *State) Band() (low, high float64) { return s.bounds.lo, s.bounds.hi }

// ObserveWith is Observe with some of the detectors, and with more. One State is to
// be used with one set: what is not in the set does not learn.
func (s *State) ObserveWith(use Kind, atMillis int64, v float64, more ...Statistic) Verdict {
	if !(math.Abs(v) <= largest) || s.ticks > 0 && atMillis <= s.newest {
		return Verdict{Ignored: true}
	}
	gap := atMillis - s.newest
	if s.ticks == 0 || gap > forgetMillis || gap < 0 { // < 0: the difference has no int64
		s.start(atMillis, v)
		for _, m := range more {
			m.Start(v)
		}
		return Verdict{}
	}
	s.pace(gap)
	weight := min(1, float64(gap)/float64(s.tick))
	s.newest = atMillis
	s.ticks += weight
	t := Tick{s.ticks, weight, weight / s.ticks}
	if s.ticks >= s.turnAt {
		s.turn()
		for _, m := range more {
			m.Turn()
		}
	}
	v = s.clip(v)

	var most opinion
	if use&Record != 0 {
		x, up := s.record[0].step(v, recordFast, s.ticks, t)
		most.hear(Record, x, up)
		x, up = s.record[1].step(v, recordSlow, s.ticks, t)
		most.hear(Record, x, up)
	}
	if use&OddHour != 0 || len(more) > 0 {
		residual := s.hour(use, atMillis, v, t, &most)
		for _, m := range more {
			x, up := m.Step(v, residual, t)
			most.hear(0, x, up)
		}
	}
	if use&Run != 0 {
		x, up := s.run.step(v, t)
		most.hear(Run, x, up)
	}
	return s.judge(most)
}

// pace follows the usual time between two samples; a gap moves it little.
func (s *State) pace(gap int64) {
	g := min(max(float32(gap), shortestTick), longestTick)
	if s.tick == 0 {
		s.tick = g
	}
	s.tick += (min(g, 3*s.tick) - s.tick) / 8
}

// start forgets everything but this sample.
func (s *State) start(atMillis int64, v float64) {
	*s = State{Ahead: s.Ahead, newest: atMillis, first: atMillis, ticks: 1, turnAt: blockTicks}
	s.bounds.Start(v)
	for i := range s.record {
		s.record[i].start(v)
	}
	s.run.centre = v
	h := s.hourOf(atMillis)
	s.profile.mean[h], s.profile.ticks[h] = v, 1
}

// turn ends a block of memory everywhere.
func (s *State) turn() {
	s.turnAt = s.ticks + blockTicks
	s.bounds.Turn()
	for i := range s.record {
		s.record[i].seen.Turn()
	}
	for i := range s.odd {
		s.odd[i].seen.Turn()
	}
}

// clip holds a sample to the neighbourhood of what was seen. One absurd value
// would otherwise widen every envelope for months; a new level that stays is
// followed at a geometric pace.
func (s *State) clip(v float64) float64 {
	if width := s.bounds.hi - s.bounds.lo; width > 0 && s.ticks > warmUp/2 {
		v = max(s.bounds.lo-clipWidths*width, min(s.bounds.hi+clipWidths*width, v))
	}
	s.bounds.Meet(v, s.ticks)
	return v
}

// hour asks what looks at the difference from the mean of this hour of day. The
// profile has to have seen a day. A trend, or a level that has come to stay, is a
// difference that was there all the last day too: it is no news. It returns the
// difference.
func (s *State) hour(use Kind, atMillis int64, v float64, t Tick, most *opinion) (residual float64) {
	h := s.hourOf(atMillis)
	mean, ticks := &s.profile.mean[h], &s.profile.ticks[h]
	if *ticks > 0 {
		residual = v - *mean
	}
	seen := min(float64(*ticks)+t.Weight, profileTicks)
	*ticks = float32(seen)
	*mean += t.Weight / seen * (v - *mean)
	s.drift += max(driftRate*t.Weight, t.Share) * (residual - s.drift)
	if use&OddHour == 0 {
		return residual
	}
	learned := atMillis-s.first > dayMillis
	if learned && s.oddFrom == 0 {
		s.oddFrom = s.ticks
	}
	known := s.ticks - s.oddFrom + 1
	rates := [len(s.odd)]float64{oddFast, oddMiddle, oddSlow}
	for i := range s.odd {
		c := &s.odd[i]
		if !learned {
			c.mean += max(rates[i]*t.Weight, t.Share) * (residual - c.mean)
			c.seen.Start(c.mean)
			continue
		}
		x, up := c.step(residual, rates[i], known, t)
		if x > 0 && known > warmUp && math.Abs(c.mean-s.drift) >= driftShare*math.Abs(c.mean) {
			most.hear(OddHour, x, up)
		}
	}
	return residual
}

// judge turns the strongest opinion into a verdict.
func (s *State) judge(most opinion) Verdict {
	if most.excess == 0 || s.ticks < warmUp {
		return Verdict{}
	}
	v := Verdict{Score: most.excess / (1 + most.excess), Up: most.up, By: most.by}
	if v.Score < Threshold {
		return v
	}
	if s.ticks < s.restEnd {
		v.Score = Threshold * quiet
		return v
	}
	s.restEnd = s.ticks + restTicks
	v.Fired = true
	return v
}

// opinion is the strongest that was heard.
type opinion struct {
	excess float64
	by     Kind
	up     bool
}

func (o *opinion) hear(by Kind, excess float64, up bool) {
	if excess > o.excess {
		*o = opinion{excess, by, up}
	}
}

// hourOf is the hour of day, also before 1970.
func (s *State) hourOf(atMillis int64) int {
	inDay := (atMillis + int64(s.Ahead)*hourMillis) % dayMillis
	if inDay < 0 {
		inDay += dayMillis
	}
	return int(inDay / hourMillis)
}
