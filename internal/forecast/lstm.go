package forecast

import "math"

// LSTM is one small recurrent net for all series of hours (Hochreiter and
// Schmidhuber, 1997; one net over many scaled series as in Smyl, 2020). It goes
// from day to day: a step takes the day that ended and the two days a week ago
// that are alike to those ahead, on the level and in the spread of the newest
// week, and gives the 48 hours ahead as a correction to their mean:
//
//	z = W [x; h] + b;  c = s(f) c + s(i) tanh(g);  h = s(o) tanh(c)
//	ahead = (day before + week before)/2 + V [h; x] + d
//
// It speaks on hourly grains with two weeks or more, up to 48 steps ahead.
// Train makes one; it is read-only afterwards.
type LSTM struct {
	weights []float64 // W, b, V, d
}

const (
	lstmDay    = 24
	lstmWeek   = 7 * lstmDay
	lstmAhead  = 2 * lstmDay
	lstmIn     = lstmDay + lstmAhead
	lstmHidden = 32
	lstmJoint  = lstmIn + lstmHidden

	lstmGates   = 4 * lstmHidden * lstmJoint
	lstmBias    = lstmGates + 4*lstmHidden
	lstmOut     = lstmBias + lstmAhead*lstmJoint
	lstmWeights = lstmOut + lstmAhead
)

// Name gives lstm.
func (*LSTM) Name() string { return "lstm" }

// Paths goes over all days once and forecasts at the origins.
func (m *LSTM) Paths(w *Workspace, p *Problem, paths [][]float64) bool {
	if p.Day != lstmDay || p.Week != lstmWeek || p.Horizon > lstmAhead || len(m.weights) != lstmWeights {
		return false
	}
	n := len(p.Values)
	s := cell{
		joint: w.Floats(lstmJoint), gates: w.Floats(4 * lstmHidden), hidden: w.Floats(lstmHidden), memory: w.Floats(lstmHidden),
		out: w.Floats(lstmAhead),
	}
	next := 0
	for at := lstmWeek + n%lstmDay; at <= n; at += lstmDay {
		for next < len(p.Origins) && p.Origins[next] < at {
			// An origin between days, or before the first week is over.
			repeat(p.Values[:p.Origins[next]], lstmDay, paths[next])
			next++
		}
		if next == len(p.Origins) {
			break
		}
		level, spread := look(p.Values[:at], s.joint[:lstmIn])
		m.step(&s)
		if p.Origins[next] != at {
			continue
		}
		m.ahead(&s)
		for h := range paths[next] {
			paths[next][h] = level + spread*(s.out[h]+base(s.joint, h))
		}
		next++
	}
	return next == len(p.Origins)
}

// look writes what the net sees at the end of a day, and gives the level and
// spread of the newest week, in which it is written.
func look(past, in []float64) (level, spread float64) {
	n := len(past)
	week := past[n-lstmWeek:]
	level = mean(week)
	for _, v := range week {
		spread += math.Abs(v-level) / lstmWeek
	}
	spread += 1e-3 // of the problem's unit: a constant week is no infinite one
	for i, v := range past[n-lstmDay:] {
		in[i] = (v - level) / spread
	}
	for i, v := range week[:lstmAhead] {
		in[lstmDay+i] = (v - level) / spread
	}
	return level, spread
}

// base is what the net corrects.
func base(in []float64, h int) float64 { return (in[h%lstmDay] + in[lstmDay+h]) / 2 }

// cell is the state of the net: joint is the input and, behind it, what was
// hidden after the step before.
type cell struct {
	joint, gates, hidden, memory, out []float64
}

// step takes the input in joint into the state. Gates are kept after their
// nonlinearity: input, forget, candidate, output.
func (m *LSTM) step(s *cell) {
	copy(s.joint[lstmIn:], s.hidden)
	for g := range s.gates {
		z := m.weights[lstmGates+g] + dot(m.weights[g*lstmJoint:(g+1)*lstmJoint], s.joint)
		if g/lstmHidden == 2 {
			s.gates[g] = math.Tanh(z)
		} else {
			s.gates[g] = 1 / (1 + math.Exp(-z))
		}
	}
	for j := range s.hidden {
		s.memory[j] = s.gates[lstmHidden+j]*s.memory[j] + s.gates[j]*s.gates[2*lstmHidden+j]
		s.hidden[j] = s.gates[3*lstmHidden+j] * math.Tanh(s.memory[j])
	}
}

// ahead writes the corrections.
func (m *LSTM) ahead(s *cell) {
	for h := range s.out {
		row := m.weights[lstmBias+h*lstmJoint : lstmBias+(h+1)*lstmJoint]
		s.out[h] = m.weights[lstmOut+h] + dot(row[:lstmHidden], s.hidden) + dot(row[lstmHidden:], s.joint[:lstmIn])
	}
}
