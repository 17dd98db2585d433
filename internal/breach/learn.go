package breach

import (
	"math"
	"math/bits"
)

const (
	waitingSlots = 8
	// How much the prior weights count, in the evidence's unit: a step of which
	// the truth is wholly open counts a quarter.
	priorOne, priorOther = 3, 4
	forget               = 60 * dayMillis // the evidence's age counts half
)

// waiting are steps whose truth is not known yet.
type waiting struct {
	at [waitingSlots]uint32 // unix s, which may wrap; 0: free
	x  [waitingSlots][Quantities - 1]int8
}

// chance is the regression's likelihood.
func (m *Model) chance(s *State, x *[Quantities]float64) float64 {
	z := 0.0
	for i, v := range x {
		z += (m.prior[i] + float64(s.learned[i])) * v
	}
	return 1 / (1 + math.Exp(-z))
}

// bound is the greatest size of a quantity.
func bound(i int) float64 {
	switch i {
	case farMid, farHours:
		return 5
	case rising, jumped:
		return 3
	}
	return 1
}

// remember lets a step wait for its truth; every second one is enough, since
// neighbours say nearly the same.
func (m *Model) remember(s *State, x *[Quantities]float64) {
	if s.waited != 0 && float64(s.seconds()-s.waited) < 1.8*m.step/1000 {
		return
	}
	for i, at := range s.waiting.at {
		if at != 0 {
			continue
		}
		s.waited = max(1, s.seconds())
		s.waiting.at[i] = s.waited
		for k := range s.waiting.x[i] {
			s.waiting.x[i][k] = int8(math.Round(x[k+1] * (127 / bound(k+1))))
		}
		return
	}
}

// learn notes a breach that begins with the last step, and resolves what waits:
// right as soon as a breach begins, wrong when two horizons passed.
func (m *Model) learn(s *State) {
	reach, sinceIn := uint32(m.reach/1000), s.seconds()-uint32(s.lastIn/1000)
	begins, goesOn := false, false
	if s.steps >= 4 && s.breached() {
		if s.lastIn != 0 && float64(s.at-s.lastIn) < m.reach || bits.OnesCount8(s.beyond>>1&0b1111) >= 3 {
			goesOn = true
		} else {
			begins = true
			m.begin(s)
		}
	}
	for i, at := range s.waiting.at {
		switch age := s.seconds() - at; {
		case at == 0:
		case goesOn && age < sinceIn:
			s.waiting.at[i] = 0 // between two parts of one breach
		case begins && age <= reach:
			m.teach(s, i, 1)
		case age >= reach:
			m.teach(s, i, 0)
		}
	}
	if begins || goesOn {
		s.lastIn = s.at
	}
}

func (m *Model) begin(s *State) {
	if s.began != 0 {
		copy(s.between[1:], s.between[:])
		s.between[0] = uint16(min(max(1, (s.at-s.began)/60e3), math.MaxUint16))
	}
	s.began = s.at
	s.breaches++
}

// teach moves the series' weights by one truth: a step of Newton's method with a
// diagonal curvature.
func (m *Model) teach(s *State, slot int, truth float64) {
	s.waiting.at[slot] = 0
	var x [Quantities]float64
	x[one] = 1
	for k, q := range s.waiting.x[slot] {
		x[k+1] = float64(q) * (bound(k+1) / 127)
	}
	p := m.chance(s, &x)
	gap := max(float64(s.gaps[0]), 2*m.step)
	weight := min(1, gap/m.reach)
	keep := 1 - min(0.5, gap/forget)
	for k, v := range x {
		e := float64(s.evidence[k])*keep + weight*p*(1-p)*v*v
		s.evidence[k] = float32(e)
		held := priorOther + e
		if k == one {
			held = priorOne + e
		}
		s.learned[k] = float32(within(float64(s.learned[k])+weight*(truth-p)*v/held, 8))
	}
}
