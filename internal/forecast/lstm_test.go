package forecast

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"slices"
	"testing"
)

func learned(tb testing.TB, seed uint64, rounds int) *LSTM {
	tb.Helper()
	var series [][]float64
	for i := range 8 {
		series = append(series, made(720, uint64(i+1), float64(i%3), 1))
	}
	m, err := Train(Training{Seed: seed, Rounds: rounds}, series...)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// TestLSTMLearns: the net is better than what it corrects, on a series that it
// has not seen.
func TestLSTMLearns(t *testing.T) {
	all := made(720, 99, 1, 1)
	untrained := mustFit(t, newTrainer(1).net, hourly(all[:672]), 48)
	trained := mustFit(t, learned(t, 1, 25), hourly(all[:672]), 48)
	before, after := meanError(untrained.Points, all[672:]), meanError(trained.Points, all[672:])
	if after > 0.8*before {
		t.Errorf("mean absolute error %.2f, untrained %.2f: want less", after, before)
	}
}

func TestLSTMSameSeedSameNet(t *testing.T) {
	a, err := learned(t, 7, 1).MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	b, _ := learned(t, 7, 1).MarshalBinary()
	c, _ := learned(t, 8, 1).MarshalBinary()
	if !bytes.Equal(a, b) || bytes.Equal(a, c) {
		t.Error("a seed does not decide the net")
	}
}

// TestLSTMGradient compares backpropagation with differences.
func TestLSTMGradient(t *testing.T) {
	values := made(lstmWeek+6*lstmDay+lstmAhead, 5, 1, 2)
	tr := newTrainer(3)
	for i := range tr.net.weights[lstmBias:] { // outputs that are not 0, so that errors flow back
		tr.net.weights[lstmBias+i] = 0.1 * tr.random.signed()
	}
	clear(tr.gradient)
	_, targets := tr.learn(values)
	if targets != 6*lstmAhead {
		t.Fatalf("%d targets", targets)
	}
	got := slices.Clone(tr.gradient)
	loss := func() float64 { l, _ := tr.learn(values); return l }
	const nudge = 1e-6
	for range 60 {
		i := tr.random.below(lstmWeights)
		w := tr.net.weights[i]
		tr.net.weights[i] = w + nudge
		up := loss()
		tr.net.weights[i] = w - nudge
		down := loss()
		tr.net.weights[i] = w
		want := (up - down) / (2 * nudge)
		if math.Abs(got[i]-want) > 1e-3*max(1, math.Abs(want)) {
			t.Fatalf("weight %d: gradient %.6f, by differences %.6f", i, got[i], want)
		}
	}
}

func TestLSTMTooLittle(t *testing.T) {
	if _, err := Train(Training{}, made(200, 1, 0, 1), nil); !errors.Is(err, ErrTooLittle) {
		t.Errorf("%v, want ErrTooLittle", err)
	}
	// The shortest that is enough.
	if _, err := Train(Training{Rounds: 1}, made(2*lstmWeek, 1, 0, 1)); err != nil {
		t.Error(err)
	}
}

func TestLSTMFile(t *testing.T) {
	m := learned(t, 1, 1)
	data, err := m.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	var read LSTM
	if err := read.UnmarshalBinary(data); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(m.weights, read.weights) {
		t.Error("another net comes back")
	}
	sealed := func(change func(b []byte)) []byte {
		b := slices.Clone(data[:len(data)-4])
		change(b)
		return binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	}
	for name, bad := range map[string][]byte{
		"nothing":    nil,
		"no model":   []byte("GRACELSTN and more"),
		"cut":        data[:len(data)-5],
		"longer":     append(slices.Clone(data), 0),
		"version":    sealed(func(b []byte) { b[len(lstmMark)]++ }),
		"size":       sealed(func(b []byte) { b[len(lstmMark)+3]++ }),
		"not number": sealed(func(b []byte) { copy(b[lstmHead:], []byte{0, 0, 0xc0, 0x7f}) }),
		"huge":       sealed(func(b []byte) { copy(b[lstmHead:], []byte{0, 0, 0x7f, 0x7f}) }),
		"bit": func() []byte {
			b := slices.Clone(data)
			b[len(b)/2] ^= 1
			return b
		}(),
	} {
		if err := read.UnmarshalBinary(bad); !errors.Is(err, ErrNotLSTM) {
			t.Errorf("%s: %v, want ErrNotLSTM", name, err)
		}
	}
	if !slices.Equal(m.weights, read.weights) {
		t.Error("a bad file changed the net")
	}
	if _, err := new(LSTM).MarshalBinary(); err == nil {
		t.Error("an untrained net is written")
	}
}

func FuzzLSTMFile(f *testing.F) {
	good, err := scattered().MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:lstmHead])
	f.Add([]byte(nil))
	values := made(672, 1, 1, 1)
	f.Fuzz(func(t *testing.T, data []byte) {
		var m LSTM
		if m.UnmarshalBinary(data) != nil {
			// The same with a right checksum, so that weights are reached.
			if len(data) != lstmFile {
				return
			}
			data = binary.LittleEndian.AppendUint32(slices.Clone(data[:lstmFile-4]), crc32.ChecksumIEEE(data[:lstmFile-4]))
			if m.UnmarshalBinary(data) != nil {
				return
			}
		}
		again, err := m.MarshalBinary()
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("a file does not come back as it was (%v)", err)
		}
		var w Workspace
		if fitted, ok := Fit(&w, &m, hourly(values), 48); ok {
			finite(t, fitted)
		}
	})
}
