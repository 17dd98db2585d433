package main

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"grace/internal/detect"
)

// TestTried: what was tried sees what it is for, which begins in row 2900, whatever
// the unit, level and sign.
func TestTried(t *testing.T) {
	const from, n = 2900, 3200
	random := rand.New(rand.NewPCG(7, 7)) //nolint:gosec // a test's stream
	at, jump, drift, wild := make([]int64, n), make([]float64, n), make([]float64, n), make([]float64, n)
	for i := range at {
		z, day := random.NormFloat64(), 10*math.Sin(2*math.Pi*float64(i)/288)
		at[i], jump[i], drift[i], wild[i] = int64(i)*5*60*1000, day+z/2, z, 1e145*z*z*z
		if i >= from {
			jump[i], drift[i] = day+12, z+4
		}
	}
	for _, tt := range []struct {
		name   string
		d      nabDetector
		values []float64
		early  int
	}{
		{"Holt's residual", detector("", 0, &holt{}), jump, 3},
		{"shift", detector("", 0, &shift{}), drift, 3},
		{"all five", detector("", detect.Default, &holt{}, &shift{}), jump, 5},
	} {
		fired := func(unit, level float64) (rows []int) {
			values := slices.Clone(tt.values)
			for i, v := range values {
				values[i] = unit*v + level
			}
			for row, score := range tt.d.scores(at, values) {
				if score >= tt.d.threshold {
					rows = append(rows, row)
				}
			}
			return rows
		}
		plain := fired(1, 0)
		if first := slices.IndexFunc(plain, func(row int) bool { return row >= from }); first < 0 || first > tt.early {
			t.Errorf("%s: detections in rows %v, want some from %d and few before", tt.name, plain, from)
		}
		for _, change := range [][2]float64{{4096, 0}, {1.0 / (1 << 30), 0}, {-1, 0}, {1, 1 << 16}} {
			if got := fired(change[0], change[1]); !slices.Equal(got, plain) {
				t.Errorf("%s: times %v plus %v: detections in rows %v, want %v", tt.name, change[0], change[1], got, plain)
			}
		}
		for row, score := range tt.d.scores(at, wild) {
			if !(score >= 0 && score <= 1) {
				t.Fatalf("%s, row %d: score %v", tt.name, row, score)
			}
		}
	}
}
