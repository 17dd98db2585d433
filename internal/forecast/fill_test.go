package forecast

import (
	"math"
	"testing"
	"time"
)

// filling grows by slope an hour from 100, with a day's wave and noise.
func filling(points int, seed uint64, slope, wave, rough float64) []float64 {
	random := noise(seed*7919 + 13)
	out := make([]float64, points)
	for t := range out {
		out[t] = 100 + slope*float64(t) + wave*math.Sin(float64(t)*math.Pi/12) + rough*random.bell()
	}
	return out
}

func TestFill(t *testing.T) {
	const points = 336
	start := hourly(nil).Start
	within, total := 0, 0
	var w Workspace
	for seed := range uint64(100) {
		// 436 at the end, 500 after 64 hours more.
		f, ok := Fill(&w, hourly(filling(points, seed, 1, 5, 10)), 500)
		if !ok {
			t.Fatalf("seed %d: nothing said", seed)
		}
		truth := start.Add(400 * time.Hour)
		if off := f.At.Sub(truth).Abs(); off > 8*time.Hour {
			t.Errorf("seed %d: full at %v, want about %v", seed, f.At, truth)
		}
		if f.Earliest.After(f.At) || f.Latest.Before(f.At) {
			t.Errorf("seed %d: %v is not within %v to %v", seed, f.At, f.Earliest, f.Latest)
		}
		if math.Abs(f.Slope-1) > 0.1 {
			t.Errorf("seed %d: slope %v", seed, f.Slope)
		}
		total++
		if !truth.Before(f.Earliest) && !truth.After(f.Latest) {
			within++
		}
	}
	if within < total*75/100 {
		t.Errorf("the band holds %d of %d", within, total)
	}
}

func TestFillDownwards(t *testing.T) {
	free := filling(336, 1, -0.2, 1, 1) // 33 at the end
	var w Workspace
	f, ok := Fill(&w, hourly(free), 0)
	if want := hourly(nil).Start.Add(500 * time.Hour); !ok || f.At.Sub(want).Abs() > 24*time.Hour || f.Slope > 0 {
		t.Errorf("%+v %v, want empty at about %v", f, ok, want)
	}
}

func TestFillAfterRoomWasMade(t *testing.T) {
	values := filling(400, 1, 1, 0, 1)
	for i := range values[:100] {
		values[i] += 1000
	}
	var w Workspace
	f, ok := Fill(&w, hourly(values), 600)
	if want := hourly(nil).Start.Add(500 * time.Hour); !ok || f.At.Sub(want).Abs() > 5*time.Hour {
		t.Errorf("%+v %v, want full at about %v", f, ok, want)
	}
}

func TestFillIsSilent(t *testing.T) {
	saw := make([]float64, 400)
	ended := filling(400, 1, 1, 0, 1)
	for i := range saw {
		saw[i] = float64(i % 90)
		if i > 250 {
			ended[i] = ended[250] + float64(i%3)
		}
	}
	var w Workspace
	for name, test := range map[string]struct {
		values []float64
		limit  float64
	}{
		"no slope":      {filling(336, 1, 0, 5, 10), 200},
		"away":          {filling(336, 1, -0.2, 1, 1), 200},
		"far":           {filling(336, 1, 0.1, 1, 1), 1e6},
		"emptied":       {saw, 200},
		"ended":         {ended, 500},
		"short":         {filling(10, 1, 1, 0, 0.1), 200},
		"constant":      {make([]float64, 300), 1},
		"no limit":      {filling(336, 1, 1, 5, 10), math.NaN()},
		"endless limit": {filling(336, 1, 1, 5, 10), math.Inf(1)},
		"at the limit":  {filling(336, 1, 1, 5, 10), 437},
	} {
		if f, ok := Fill(&w, hourly(test.values), test.limit); ok {
			t.Errorf("%s: says %+v", name, f)
		}
	}
}
