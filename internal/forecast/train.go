package forecast

import (
	"errors"
	"math"
	"time"
)

// Training says how a net is trained. The zero value of a field stands for its
// default.
type Training struct {
	Seed   uint64
	Rounds int // over all series; default 100
}

const (
	trainRounds = 100
	trainRate   = 2e-3 // of Adam, falling to a twentieth
	trainBatch  = 8    // series a step
	trainClip   = 1.0  // norm of a gradient
	trainRim    = 0.5  // Huber's loss is linear beyond it
	trainDecay  = 1e-4 // of the weights, each step, in shares of the rate
	// trainDays of a series are seen at a time, as many as a forecast sees.
	trainDays = 28
)

// ErrTooLittle says that no series is long enough to learn from: nine days of
// hours and the two ahead.
var ErrTooLittle = errors.New("no series of eleven days of hours to learn from")

// Train makes an LSTM from the past of many hourly series, by backpropagation
// through time and Adam. In every round each series is taken at another hour of
// the day and of the week. The same arguments give the same net, on one kind of
// processor.
func Train(t Training, series ...[]float64) (*LSTM, error) {
	if t.Rounds <= 0 {
		t.Rounds = trainRounds
	}
	var problems [][]float64
	for _, values := range series {
		w := Workspace{} // the scaled values are kept
		p, ok := w.prepare(History{Step: time.Hour, Values: values}, lstmAhead)
		if ok && p.Week == lstmWeek && len(p.Values) >= lstmWeek+lstmDay*2+lstmAhead {
			problems = append(problems, p.Values)
		}
	}
	if len(problems) == 0 {
		return nil, ErrTooLittle
	}
	tr := newTrainer(t.Seed)
	steps := t.Rounds * ((len(problems) + trainBatch - 1) / trainBatch)
	done := 0
	for range t.Rounds {
		tr.random.shuffle(problems)
		for from := 0; from < len(problems); from += trainBatch {
			clear(tr.gradient)
			targets := 0
			for _, values := range problems[from:min(from+trainBatch, len(problems))] {
				_, n := tr.learn(tr.window(values))
				targets += n
			}
			done++
			rate := trainRate * (0.05 + 0.95*(1+math.Cos(math.Pi*float64(done)/float64(steps)))/2)
			tr.descend(rate, float64(targets))
		}
	}
	for i, v := range tr.net.weights {
		tr.net.weights[i] = float64(float32(v)) // as in a file
	}
	return tr.net, nil
}

// trainer holds a net while it learns.
type trainer struct {
	net      *LSTM
	random   random
	gradient []float64
	first    []float64 // Adam's moments
	second   []float64
	steps    int

	trace []moment // one a day
	back  moment
}

// moment is all that the way back needs of one step, or the errors at it.
type moment struct {
	cell
	before     []float64 // memory before the step
	target     []float64 // what the output should have been; nil where unknown
	room       []float64
	dHid, dMem []float64
}

func newMoment() moment {
	return moment{
		cell: cell{
			joint: make([]float64, lstmJoint), gates: make([]float64, 4*lstmHidden), hidden: make([]float64, lstmHidden),
			memory: make([]float64, lstmHidden), out: make([]float64, lstmAhead),
		},
		before: make([]float64, lstmHidden), room: make([]float64, lstmAhead),
		dHid: make([]float64, lstmHidden), dMem: make([]float64, lstmHidden),
	}
}

func newTrainer(seed uint64) *trainer {
	t := &trainer{
		net: &LSTM{weights: make([]float64, lstmWeights)}, random: random(seed),
		gradient: make([]float64, lstmWeights), first: make([]float64, lstmWeights), second: make([]float64, lstmWeights),
		back: newMoment(),
	}
	for range trainDays + 1 {
		t.trace = append(t.trace, newMoment())
	}
	width := 1 / math.Sqrt(lstmJoint)
	for i := range t.net.weights[:lstmGates] {
		t.net.weights[i] = width * t.random.signed()
	}
	for j := range lstmHidden {
		t.net.weights[lstmGates+lstmHidden+j] = 1 // remember at first
	}
	// The corrections start at 0: untrained, the net is its base.
	return t
}

// window takes up to trainDays and the hours ahead from somewhere in a series.
func (t *trainer) window(values []float64) []float64 {
	const most = trainDays*lstmDay + lstmAhead
	if len(values) <= most {
		// The start moves within a day, so that the days begin at another hour.
		return values[t.random.below(min(lstmDay, len(values)-lstmWeek-lstmDay-lstmAhead)):]
	}
	from := t.random.below(len(values) - most + 1)
	return values[from : from+most]
}

// learn adds the gradient of one window, and gives its loss and the number of
// targets.
func (t *trainer) learn(values []float64) (loss float64, targets int) {
	days := t.forward(values)
	clear(t.back.dHid)
	clear(t.back.dMem)
	for d := days - 1; d >= 0; d-- {
		m := &t.trace[d]
		if m.target != nil {
			loss += t.outward(m)
			targets += lstmAhead
		}
		t.backward(m)
	}
	return loss, targets
}

// forward goes over the days of a window and keeps a trace.
func (t *trainer) forward(values []float64) (days int) {
	hidden, memory := t.back.hidden, t.back.memory
	clear(hidden)
	clear(memory)
	for at := lstmWeek; at+lstmAhead <= len(values) && days < len(t.trace); at += lstmDay {
		m := &t.trace[days]
		copy(m.hidden, hidden)
		copy(m.memory, memory)
		copy(m.before, memory)
		level, spread := look(values[:at], m.joint[:lstmIn])
		t.net.step(&m.cell)
		t.net.ahead(&m.cell)
		m.target = nil
		if at > lstmWeek { // the first days warm up
			m.target = m.room
			for h := range m.target {
				m.target[h] = (values[at+h]-level)/spread - base(m.joint, h)
			}
		}
		hidden, memory = m.hidden, m.memory
		days++
	}
	return days
}

// outward gives the loss of one step's output and its gradients.
func (t *trainer) outward(m *moment) (loss float64) {
	w, g := t.net.weights, t.gradient
	for h, out := range m.out {
		e := out - m.target[h]
		if far := math.Abs(e); far <= trainRim {
			loss += e * e / (2 * trainRim)
			e /= trainRim
		} else {
			loss += far - trainRim/2
			e = math.Copysign(1, e)
		}
		g[lstmOut+h] += e
		row, grow := w[lstmBias+h*lstmJoint:lstmBias+(h+1)*lstmJoint], g[lstmBias+h*lstmJoint:lstmBias+(h+1)*lstmJoint]
		for j, v := range m.hidden {
			grow[j] += e * v
			t.back.dHid[j] += e * row[j]
		}
		for j, v := range m.joint[:lstmIn] {
			grow[lstmHidden+j] += e * v
		}
	}
	return loss
}

// backward takes the errors at the end of a step to its start.
func (t *trainer) backward(m *moment) {
	w, g := t.net.weights, t.gradient
	dz, dHid, dMem := t.back.gates, t.back.dHid, t.back.dMem
	for j := range lstmHidden {
		in, forget, candidate, out := m.gates[j], m.gates[lstmHidden+j], m.gates[2*lstmHidden+j], m.gates[3*lstmHidden+j]
		bent := math.Tanh(m.memory[j])
		dOut := dHid[j] * bent
		dMem[j] += dHid[j] * out * (1 - bent*bent)
		dz[j] = dMem[j] * candidate * in * (1 - in)
		dz[lstmHidden+j] = dMem[j] * m.before[j] * forget * (1 - forget)
		dz[2*lstmHidden+j] = dMem[j] * in * (1 - candidate*candidate)
		dz[3*lstmHidden+j] = dOut * out * (1 - out)
		dMem[j] *= forget
	}
	clear(dHid)
	for k, e := range dz {
		g[lstmGates+k] += e
		row, grow := w[k*lstmJoint:(k+1)*lstmJoint], g[k*lstmJoint:(k+1)*lstmJoint]
		for j, v := range m.joint {
			grow[j] += e * v
		}
		for j, v := range row[lstmIn:] {
			dHid[j] += e * v
		}
	}
}

// descend takes one step of Adam (Kingma and Ba, 2015) with decayed weights.
func (t *trainer) descend(rate, targets float64) {
	const keep1, keep2, tiny = 0.9, 0.999, 1e-8
	if targets == 0 {
		return
	}
	norm := 0.0
	for i, g := range t.gradient {
		g *= lstmAhead / targets // mean over days of the sum over hours
		t.gradient[i] = g
		norm += g * g
	}
	shrink := 1 / max(1, math.Sqrt(norm)/trainClip)
	t.steps++
	fix1, fix2 := 1-math.Pow(keep1, float64(t.steps)), 1-math.Pow(keep2, float64(t.steps))
	for i, g := range t.gradient {
		g *= shrink
		t.first[i] = keep1*t.first[i] + (1-keep1)*g
		t.second[i] = keep2*t.second[i] + (1-keep2)*g*g
		t.net.weights[i] -= rate * (t.first[i]/fix1/(math.Sqrt(t.second[i]/fix2)+tiny) + trainDecay*t.net.weights[i])
	}
}

// random is splitmix64, so that a seed gives the same net everywhere.
type random uint64

func (r *random) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	z := uint64(*r)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// below gives a number from 0 to n-1; 0 for n < 1.
func (r *random) below(n int) int {
	if n < 1 {
		return 0
	}
	return int(r.next() % uint64(n))
}

// signed gives a number in [-1, 1).
func (r *random) signed() float64 { return float64(r.next()>>11)/(1<<52) - 1 }

func (r *random) shuffle(s [][]float64) {
	for i := len(s) - 1; i > 0; i-- {
		j := r.below(i + 1)
		s[i], s[j] = s[j], s[i]
	}
}
