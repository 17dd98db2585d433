package detect

import "math"

const (
	runFactor = 2    // a run is odd from so many times the longest before
	runEarly  = 800  // ticks, as early is for the envelope
	runLeast  = 20   // runs that must have ended before one can be odd
	runTicks  = 2000 // memory of the centre

	holtLevel = 0.3  // per tick
	holtTrend = 0.05 // of the level's correction, per tick
	holtDamp  = 0.98 // of the trend, per tick
	holtScale = 1.0 / 200
	deadBand  = 6 // mean absolute residuals that are no news, however rare

	shiftAllowance = 2 // in mean absolute deviations: what a drift may have
	shiftScale     = 1.0 / 500

	clipScales = 4 // a deviation counts so many scales at most when scales are learned
)

// run measures how long the series stays on one side of its centre.
type run struct {
	centre  float64
	length  float32    // ticks, of the present run
	longest [2]float32 // ticks, of the runs below and above that have ended
	ended   [2]uint32
	above   bool
	said    bool // of the present run
}

func (r *run) step(v, ticks float64, t tick) (excess float64, up bool) {
	above := v > r.centre
	r.centre += max(t.weight/runTicks, t.share) * (v - r.centre)
	if above != r.above {
		i := side(r.above)
		r.longest[i] = max(r.longest[i], r.length)
		r.ended[i]++
		r.above, r.length, r.said = above, 0, false
	}
	r.length += float32(t.weight)
	i := side(above)
	if r.length <= r.longest[i] || r.said || r.ended[i] < runLeast || ticks < 2*warmUp {
		return 0, above
	}
	excess = float64(r.length) / (runFactor * (1 + runEarly/ticks) * float64(r.longest[i]))
	r.said = excess >= 1
	return excess, above
}

func side(above bool) int {
	if above {
		return 1
	}
	return 0
}

// holt is level and damped trend; its residuals have an envelope.
type holt struct {
	level, trend float64
	scale        float64 // mean absolute residual
	seen         envelope
}

func (h *holt) step(v, ticks float64, t tick) (excess float64, up bool) {
	forecast := h.level + h.trend
	residual := v - forecast
	excess, up = h.seen.meet(residual, ticks)
	if math.Abs(residual) <= deadBand*h.scale {
		excess = 0
	}
	clipped := clamp(residual, h.scale, t)
	h.scale += max(holtScale*t.weight, t.share) * (math.Abs(clipped) - h.scale)
	h.level = forecast + holtLevel*t.weight*residual
	h.trend = h.trend*(1-(1-holtDamp)*t.weight) + holtTrend*holtLevel*t.weight*clipped
	return excess, up
}

// shift sums deviations beyond an allowance, upwards and downwards; the sums
// have envelopes.
type shift struct {
	centre, scale    float64
	up, down         float64
	seenUp, seenDown envelope
}

func (s *shift) step(v, ticks float64, t tick) (excess float64, up bool) {
	d := v - s.centre
	z := 0.0
	if s.scale > 0 {
		z = max(-clipScales, min(clipScales, d/s.scale))
	}
	d = clamp(d, s.scale, t)
	rate := max(shiftScale*t.weight, t.share)
	s.centre += rate * d
	s.scale += rate * (math.Abs(d) - s.scale)
	s.up = max(0, s.up+(z-shiftAllowance)*t.weight)
	s.down = max(0, s.down+(-z-shiftAllowance)*t.weight)
	above, _ := s.seenUp.meet(s.up, ticks)
	below, _ := s.seenDown.meet(s.down, ticks)
	return max(above, below), above > below
}

// clamp holds a deviation to a few scales, once the scale is worth something.
func clamp(d, scale float64, t tick) float64 {
	if t.share > 1.0/50 || scale <= 0 {
		return d
	}
	return max(-clipScales*scale, min(clipScales*scale, d))
}
