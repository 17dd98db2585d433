package main

import (
	"math"

	"grace/internal/detect"
)

// Statistics that were tried and are not in the default: on real series they add
// false alarms and next to nothing else.

const (
	holtLevel = 0.3  // per tick
	holtTrend = 0.05 // of the level's correction, per tick
	holtDamp  = 0.98 // of the trend, per tick
	holtScale = 1.0 / 200
	deadBand  = 6 // mean absolute residuals that are no news, however rare

	shiftAllowance = 2 // in mean absolute deviations: what a drift may have
	shiftScale     = 1.0 / 500

	clipScales = 4 // a deviation counts so many scales at most when scales are learned
)

// holt is level and damped trend (Holt 1957): its one-step residual is beyond all
// that it has been, and outside a dead band of its scale.
type holt struct {
	level, trend float64
	scale        float64 // mean absolute residual
	seen         detect.Envelope
}

func (h *holt) Start(v float64) { *h = holt{level: v} }

func (h *holt) Turn() { h.seen.Turn() }

func (h *holt) Step(v, _ float64, t detect.Tick) (excess float64, up bool) {
	forecast := h.level + h.trend
	residual := v - forecast
	excess, up = h.seen.Meet(residual, t.Ticks)
	if math.Abs(residual) <= deadBand*h.scale {
		excess = 0
	}
	clipped := clamp(residual, h.scale, t)
	h.scale += max(holtScale*t.Weight, t.Share) * (math.Abs(clipped) - h.scale)
	h.level = forecast + holtLevel*t.Weight*residual
	h.trend = h.trend*(1-(1-holtDamp)*t.Weight) + holtTrend*holtLevel*t.Weight*clipped
	return excess, up
}

// shift is a two-sided cumulative sum (Page 1954): deviations of the hour's residual
// beyond an allowance, upwards and downwards; the sums have envelopes.
type shift struct {
	centre, scale    float64
	up, down         float64
	seenUp, seenDown detect.Envelope
}

func (s *shift) Start(float64) { *s = shift{} }

func (s *shift) Turn() {
	s.seenUp.Turn()
	s.seenDown.Turn()
}

func (s *shift) Step(_, residual float64, t detect.Tick) (excess float64, up bool) {
	d := residual - s.centre
	z := 0.0
	if s.scale > 0 {
		z = max(-clipScales, min(clipScales, d/s.scale))
	}
	d = clamp(d, s.scale, t)
	rate := max(shiftScale*t.Weight, t.Share)
	s.centre += rate * d
	s.scale += rate * (math.Abs(d) - s.scale)
	s.up = max(0, s.up+(z-shiftAllowance)*t.Weight)
	s.down = max(0, s.down+(-z-shiftAllowance)*t.Weight)
	above, _ := s.seenUp.Meet(s.up, t.Ticks)
	below, _ := s.seenDown.Meet(s.down, t.Ticks)
	return max(above, below), above > below
}

// clamp holds a deviation to a few scales, once the scale is worth something.
func clamp(d, scale float64, t detect.Tick) float64 {
	if t.Share > 1.0/50 || scale <= 0 {
		return d
	}
	return max(-clipScales*scale, min(clipScales*scale, d))
}
