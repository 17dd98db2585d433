package main

import (
	"math"
	"testing"
)

func near(a, b float64) bool { return math.Abs(a-b) < 1e-9 }

// TestNaive2 puts on a season of shares, which the decomposition must find.
func TestNaive2(t *testing.T) {
	const season = 4
	shares := []float64{0.5, 1, 1.5, 1}
	var y []float64
	for i := range 40 {
		y = append(y, 10*shares[i%season])
	}
	got := naive2(y, season, 6)
	for h, v := range got {
		if want := 10 * shares[(40+h)%season]; !near(v, want) {
			t.Errorf("step %d: %v, want %v", h, v, want)
		}
	}
	flat := naive2([]float64{3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9}, season, 2)
	if flat[0] != 9 || flat[1] != 9 {
		t.Errorf("without a season: %v, want the newest value", flat)
	}
	for _, v := range naive2(make([]float64, 50), season, 3) {
		if v != 0 {
			t.Errorf("zeros: %v", v)
		}
	}
}

func TestM4Measures(t *testing.T) {
	s := m4Series{test: []float64{10, 30}, scale: 2, limit: 20}
	p := s.points([]float64{10, 10})
	if !near(p.smape, 50) || !near(p.mase, 5) { // (0 + 200*20/40)/2; (0 + 20/2)/2
		t.Errorf("sMAPE %v MASE %v, want 50 and 5", p.smape, p.mase)
	}
	msis, inside := s.interval([]float64{8, 8}, []float64{12, 12})
	if want := (4.0/2 + (4+40*18.0)/2) / 2; !near(msis, want) || !near(inside, 0.5) {
		t.Errorf("MSIS %v inside %v, want %v and 0.5", msis, inside, want)
	}
}

func TestBreachRow(t *testing.T) {
	s := m4Series{limit: 1, test: make([]float64, m4Horizon)}
	s.test[0], s.test[m4Block], s.test[3*m4Block-1] = 2, 2, 2 // blocks 0, 1 and 2
	score := m4Score{claims: []float64{1, 0.1, 0, 0.9, 0, 0, 0, 0}}
	r := m4BreachRow(m4Method{}, []m4Series{s}, []m4Score{score})
	if p, rec := r.Cells[0].V, r.Cells[1].V; !near(p, 0.5) || !near(rec, 1.0/3) {
		t.Errorf("precision %v recall %v, want 1/2 and 1/3", p, rec)
	}
}

func TestPredictLinear(t *testing.T) {
	var s m4Series
	for i := range 400 {
		s.train = append(s.train, float64(3*i))
	}
	f, _, err := m4PredictLinear(s)
	if err != nil || !near(f.Points[0], 1200) || !near(f.Points[47], 1341) {
		t.Errorf("%v and %v (%v), want the line", f.Points[0], f.Points[47], err)
	}
}
