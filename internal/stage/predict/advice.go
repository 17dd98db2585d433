package predict

import (
	"math"
	"time"
)

const (
	// adviseAgain is after what time advice that stands is told again, in ms: what shows
	// it counts it for some times as long.
	adviseAgain = int64(5 * time.Minute / time.Millisecond)
	// adviseStep is a change of the likelihood that is worth telling.
	adviseStep = 0.1
)

// advice is what was told of a claim last.
type advice struct {
	at         int64
	likelihood float64
}

// advises tells whether a claim is to be told as advice now: it is likely enough, and
// that is new. What is published is more than advice; what would be, were not everything
// kept silent, is advice as long as it is said.
func (c *Claim) advises(least float64, now int64) bool {
	switch {
	case least == 0 || c.Published != 0 && !c.Silent || c.Likelihood < least:
		return false
	case c.Advised != 0 && c.Ended == 0 && now-c.told.at < adviseAgain && math.Abs(c.Likelihood-c.told.likelihood) < adviseStep:
		return false
	case c.Advised == 0:
		c.Advised = now
	}
	c.told, c.Ended = advice{now, c.Likelihood}, 0
	return true
}

// withdraws tells whether a claim was advice and is not likely enough any more.
func (c *Claim) withdraws(least float64, now int64) bool {
	if c.Advised == 0 || c.Ended != 0 || c.Published != 0 || c.Likelihood >= least-adviseStep {
		return false
	}
	c.Ended = now
	return true
}

// ended notes that a claim is not said any more, and tells that of one that was told.
// seen is whether its series has data: if not, nobody knows whether it has turned.
func (a *Agent) ended(s *series, w *watch, rule int, c *Claim, seen bool, now int64, r *Result) {
	published := c.Scored && c.Published != 0
	if c.Ended != 0 || !published && c.Advised == 0 {
		return
	}
	c.Ended = now
	switch p := a.published(s, w, rule, c); {
	case !published:
		r.Withdrawn = append(r.Withdrawn, p)
	case seen:
		r.Retracted = append(r.Retracted, p)
	default:
		r.Lost = append(r.Lost, p)
	}
}
