package detect

import "math"

const (
	// margin: how far beyond all that was seen a statistic has to be, as a share
	// of the width of all that was seen.
	margin = .04
	// early ticks: records are cheap while little was seen (the n-th of n
	// independent values is a record once in n), so the margin is
	// margin * (1 + early/n).
	early = 1000
	// blockTicks is how long a block of memory is: what was seen is what was seen
	// in this block and the one before it, so in the last two to four weeks (of
	// ticks).
	blockTicks = 14 * 288
	// resolution of a float64 after some sums and differences, as a share of the
	// value: what is less is rounding.
	resolution = 1e-9
	// most is the largest excess: what is more is as odd.
	most = 1e9
)

// Envelope is the range that a statistic has been in: its extremes in the last
// block and this one. (An envelope that shrinks steadily towards a centre calls
// light-tailed noise odd several times as often.)
type Envelope struct {
	lo, hi       float64 // of both blocks
	newLo, newHi float64 // of this block
}

// Meet returns how far v is beyond the envelope, in margins (1 and more is odd),
// and takes v into it. n is how many ticks the envelope has seen. Without a
// width there is no unit to measure in, and nothing is odd.
func (e *Envelope) Meet(v, n float64) (excess float64, up bool) {
	if v >= e.newLo && v <= e.newHi { // nearly always
		return 0, false
	}
	return e.widen(v, n)
}

func (e *Envelope) widen(v, n float64) (excess float64, up bool) {
	up = v > e.hi
	if beyond := max(v-e.hi, e.lo-v); beyond > 0 && e.hi > e.lo {
		excess = min(most, beyond/max(margin*(1+early/n)*(e.hi-e.lo), resolution*math.Abs(v)))
	}
	e.newLo, e.newHi = min(e.newLo, v), max(e.newHi, v)
	e.lo, e.hi = min(e.lo, v), max(e.hi, v)
	return excess, up
}

// Turn ends a block: what was before it is forgotten.
func (e *Envelope) Turn() {
	e.lo, e.hi = e.newLo, e.newHi
	e.newLo, e.newHi = math.Inf(1), math.Inf(-1)
}

// Start begins at v.
func (e *Envelope) Start(v float64) { *e = Envelope{v, v, v, v} }

// channel is a statistic that is smoothed (an exponentially weighted mean) and
// has an envelope.
type channel struct {
	mean float64
	seen Envelope
}

// step smooths v with the given rate (one over ticks) and returns by how much
// the mean leaves its envelope, which has seen n ticks.
func (c *channel) step(v, rate, n float64, t Tick) (excess float64, up bool) {
	c.mean += max(rate*t.Weight, t.Share) * (v - c.mean)
	return c.seen.Meet(c.mean, n)
}

func (c *channel) start(v float64) {
	c.mean = v
	c.seen.Start(v)
}
