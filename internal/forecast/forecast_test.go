package forecast

import (
	"math"
	"slices"
	"testing"
	"time"
)

// noise gives numbers in [-1, 1) that are the same each time.
type noise uint64

func (n *noise) next() float64 {
	*n ^= *n << 13
	*n ^= *n >> 7
	*n ^= *n << 17
	return float64(int64(*n)) / math.MaxInt64
}

// bell is about normal with deviation 1.
func (n *noise) bell() float64 {
	sum := 0.0
	for range 12 {
		sum += n.next()
	}
	return sum / 2
}

// made is a day's sine, a weekend, a slope a day and noise.
func made(points int, seed uint64, slope, rough float64) []float64 {
	random := noise(seed*2654435761 + 1)
	out := make([]float64, points)
	for t := range out {
		out[t] = 100 + 20*math.Sin(2*math.Pi*float64(t)/24) + slope*float64(t)/24 + rough*random.bell()
		if t/24%7 >= 5 {
			out[t] -= 15
		}
	}
	return out
}

func hourly(values []float64) History {
	return History{Start: time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC), Step: time.Hour, Values: values}
}

func mustFit(t *testing.T, m Model, h History, horizon int) Forecast {
	t.Helper()
	var w Workspace
	f, ok := Fit(&w, m, h, horizon)
	if !ok {
		t.Fatalf("%s says nothing", m.Name())
	}
	return f.Forecast()
}

func meanError(points, truth []float64) float64 {
	sum := 0.0
	for i, v := range points {
		sum += math.Abs(v-truth[i]) / float64(len(points))
	}
	return sum
}

func TestKnownSeries(t *testing.T) {
	tests := []struct {
		model Model
		most  float64 // mean absolute error; the noise alone makes 0.8
	}{
		{SeasonalNaive{}, 20},
		{HoltWinters{}, 1.6},
		{Autoregression{Variant: Plain}, 1.6},
		{Autoregression{Variant: Wide}, 1.6},
		{Autoregression{Variant: OverDay}, 2.5},
		{Autoregression{Variant: OverWeek}, 1.8},
		{Default(), 1.4},
	}
	for _, test := range tests {
		t.Run(test.model.Name(), func(t *testing.T) {
			all := made(720, 1, 2, 1)
			f := mustFit(t, test.model, hourly(all[:672]), 48)
			if got := meanError(f.Points, all[672:]); got > test.most {
				t.Errorf("mean absolute error %.2f, want at most %.2f", got, test.most)
			}
			if want := hourly(nil).Start.Add(672 * time.Hour); !f.Start.Equal(want) {
				t.Errorf("starts at %v, want %v", f.Start, want)
			}
		})
	}
}

func TestCoverage(t *testing.T) {
	for points, most := range map[int]float64{672: 0.88, 336: 0.91} { // few paths make bands wide
		in80, in95 := covered(t, points)
		if in80 < 0.77 || in80 > most || in95 < 0.93 {
			t.Errorf("coverage after %d points is %.3f and %.3f, want 0.80 and 0.95", points, in80, in95)
		}
	}
}

func covered(t *testing.T, points int) (in80, in95 float64) {
	t.Helper()
	const series = 30
	var w Workspace
	var f Forecast
	for i := range series {
		all := made(points+48, uint64(i+10), 1, 3)
		fitted, ok := Fit(&w, Default(), hourly(all[:points]), 48)
		if !ok {
			t.Fatal("nothing said")
		}
		fitted.Into(&f)
		for h, v := range all[points:] {
			if f.Low80[h] <= v && v <= f.High80[h] {
				in80 += 1.0 / 48 / series
			}
			if f.Low95[h] <= v && v <= f.High95[h] {
				in95 += 1.0 / 48 / series
			}
		}
	}
	return in80, in95
}

func TestBandsAreOrdered(t *testing.T) {
	f := mustFit(t, Default(), hourly(made(672, 3, 0, 2)), 48)
	for h := range f.Points {
		order := []float64{f.Low95[h], f.Low80[h], f.Points[h], f.High80[h], f.High95[h]}
		if !slices.IsSorted(order) {
			t.Fatalf("step %d: %v", h, order)
		}
	}
}
