package main

import (
	"math"
	"testing"
	"time"

	"grace/internal/forecast"
)

// TestLinearTrend: of a day's sine with a weekend, a slope and noise; in any unit;
// without a season; and of short, constant and broken series it says numbers only.
func TestLinearTrend(t *testing.T) {
	const n, ahead = 672, 48
	random := uint64(1)
	all := make([]float64, n+ahead)
	for i := range all {
		random = random*6364136223846793005 + 1442695040888963407
		all[i] = 100 + 20*math.Sin(2*math.Pi*float64(i)/24) + 2*float64(i)/24 + float64(int64(random))/math.MaxInt64
		if i/24%7 >= 5 {
			all[i] -= 15
		}
	}
	fit := func(step time.Duration, values []float64) []float64 {
		f, ok := forecast.Fit(&forecast.Workspace{}, linearTrend{}, forecast.History{Step: step, Values: values}, ahead)
		if !ok {
			return nil
		}
		return f.Forecast().Points
	}
	plain := fit(time.Hour, all[:n])
	sum := 0.0
	for h, v := range plain {
		sum += math.Abs(v-all[n+h]) / ahead
	}
	if len(plain) != ahead || sum > 1.6 {
		t.Errorf("mean absolute error %.2f of %d points", sum, len(plain))
	}
	moved, line, holes := make([]float64, n), make([]float64, n), make([]float64, n)
	for i := range moved {
		moved[i], line[i], holes[i] = -1000*all[i]+7, float64(3*i), all[i]
		if i%3 == 0 {
			holes[i] = math.NaN()
		}
	}
	for h, v := range fit(time.Hour, moved) {
		if want := -1000*plain[h] + 7; math.Abs(v-want) > 0.1 {
			t.Fatalf("in another unit, step %d: %v, want %v", h, v, want)
		}
	}
	for h, v := range fit(7*time.Hour, line) {
		if want := float64(3 * (n + h)); math.Abs(v-want) > 1e-6 {
			t.Fatalf("of a line, step %d: %v, want %v", h, v, want)
		}
	}
	for name, values := range map[string][]float64{
		"gaps": holes, "short": all[:60], "two days": all[:120], "ten days": all[:240], "zero": make([]float64, n),
	} {
		for _, step := range []time.Duration{time.Hour, time.Minute, 24 * time.Hour} {
			for h, v := range fit(step, values) {
				if math.IsNaN(v) || math.IsInf(v, 0) {
					t.Fatalf("%s, every %v, step %d: %v", name, step, h, v)
				}
			}
		}
	}
}
