package predict

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestMedian: as if the values were sorted.
func TestMedian(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// Few different values, so that many are equal.
		values := rapid.SliceOfN(rapid.Map(rapid.IntRange(-20, 20), func(i int) float64 { return float64(i) }), 1, 80).Draw(t, "values")
		sorted := slices.Sorted(slices.Values(values))
		n := len(sorted)
		want := sorted[n/2]
		if n%2 == 0 {
			want = sorted[n/2-1]/2 + sorted[n/2]/2
		}
		if got := median(values); got != want {
			t.Fatalf("median %v, want %v", got, want)
		}
		slices.Sort(values)
		if !slices.Equal(values, sorted) {
			t.Fatalf("values were lost: %v, had %v", values, sorted)
		}
	})
}
