package main

import (
	"math"
	"slices"
	"testing"
)

// What is said from an origin depends on nothing after it: of any future the
// rolling claims and their likelihoods are the same.
func TestCapacityClaimsAreCausal(t *testing.T) {
	make4 := func(test float64) []m4Series {
		var out []m4Series
		for i := range 3 {
			var s m4Series
			for h := range m4History + 24*(i+1) {
				s.train = append(s.train, 100+20*math.Sin(2*math.Pi*float64(h)/24)+float64((h*7919+i*31)%11))
			}
			s.test = slices.Repeat([]float64{test}, m4Horizon)
			out = append(out, s)
		}
		return out
	}
	claims := func(test float64) (rolled, tested [][]prediction) {
		got, err := capacityClaims(t.Context(), make4(test))
		if err != nil {
			t.Fatal(err)
		}
		return capacityPredictions(got, 3)
	}
	rolledA, testA := claims(0)
	rolledB, testB := claims(1000)
	blocks := m4Horizon / m4Block
	for i := range rolledA {
		if !slices.Equal(rolledA[i], rolledB[i]) || len(rolledA[i]) != capacityOrigins*blocks {
			t.Errorf("series %d: %d rolling claims depend on the test", i, len(rolledA[i]))
		}
		if len(testA[i]) != blocks {
			t.Fatalf("series %d: %d claims of the test", i, len(testA[i]))
		}
		for b := range testA[i] {
			if x, y := testA[i][b], testB[i][b]; x.likelihood != y.likelihood || x.raw != y.raw || x.came || !y.came {
				t.Errorf("series %d, block %d: %+v and %+v", i, b, x, y)
			}
		}
	}
}
