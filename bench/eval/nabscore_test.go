package main

import (
	"math"
	"slices"
	"testing"
)

func TestProbation(t *testing.T) {
	for rows, want := range map[int]int{0: 0, 100: 15, 1127: 169, 4032: 604, 5000: 750, 22695: 750} {
		if got := probation(rows); got != want {
			t.Errorf("probation(%d) = %d, want %d", rows, got, want)
		}
	}
}

// The values are those of NAB's own documentation of its scaled sigmoid.
func TestScaledSigmoid(t *testing.T) {
	for position, want := range map[float64]float64{-1: 0.98661, -0.5: 0.84828, 0: 0, 1: -0.98661, 3: -1, 7: -1} {
		if got := scaledSigmoid(position); math.Abs(got-want) > 5e-6 {
			t.Errorf("scaledSigmoid(%v) = %.5f, want %.5f", position, got, want)
		}
	}
}

// Each want is worked out by hand from NAB's definition; s is the sigmoid.
func TestScore(t *testing.T) {
	const rows = 100 // the first 15 are not scored
	s := func(x float64) float64 { return 2/(1+math.Exp(5*x)) - 1 }
	one := []window{{40, 49}}
	two := []window{{40, 49}, {70, 79}}
	tests := []struct {
		name    string
		windows []window
		fired   []int
		want    float64 // standard profile
		low     float64 // low-FP profile
		percent float64 // normalised, standard
	}{
		{"silent", one, nil, -1, -1, 0},
		{"first row of the window", one, []int{40}, 1, 1, 100},
		{"last row of the window", one, []int{49}, s(-0.1) / s(-1), s(-0.1) / s(-1), 100 * (s(-0.1)/s(-1) + 1) / 2},
		{"the best of two", one, []int{45, 49}, s(-0.5) / s(-1), s(-0.5) / s(-1), 100 * (s(-0.5)/s(-1) + 1) / 2},
		{"before any window", one, []int{20}, -1 - 0.11, -1 - 0.22, 100 * -0.11 / 2},
		{"just after it", one, []int{40, 50}, 1 + 0.11*s(1.0/9), 1 + 0.22*s(1.0/9), 100 * (2 + 0.11*s(1.0/9)) / 2},
		{"far after it", one, []int{40, 90}, 1 - 0.11, 1 - 0.22, 100 * (2 - 0.11) / 2},
		{"in the probation", one, []int{3, 14, 40}, 1, 1, 100},
		{"one of two, and a false one between", two, []int{40, 60}, 0.11 * s(11.0/9), 0.22 * s(11.0/9), 100 * (2 + 0.11*s(11.0/9)) / 4},
		{"a window in the probation", []window{{2, 9}, {40, 49}}, []int{40}, 1, 1, 100 * 2.0 / 3},
	}
	for _, tt := range tests {
		fired := func(row int) bool { return slices.Contains(tt.fired, row) }
		got, base := score(standardProfile(), probation(rows), rows, tt.windows, fired)
		low, _ := score(lowFPProfile(), probation(rows), rows, tt.windows, fired)
		percent := normalised(standardProfile(), got, base, len(tt.windows))
		if math.Abs(got-tt.want) > 1e-12 || math.Abs(low-tt.low) > 1e-12 || math.Abs(percent-tt.percent) > 1e-9 {
			t.Errorf("%s: %v, low-FP %v, %v %%; want %v, %v, %v %%", tt.name, got, low, percent, tt.want, tt.low, tt.percent)
		}
	}
}
