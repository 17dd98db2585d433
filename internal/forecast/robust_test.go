package forecast

import (
	"math"
	"slices"
	"testing"
	"time"
)

func everyModel(tb testing.TB) []Model {
	tb.Helper()
	return append(Models(), Default(), scattered())
}

// scattered is a net that nobody trained.
func scattered() *LSTM {
	t := newTrainer(1)
	for i := range t.net.weights {
		t.net.weights[i] = 0.1 * t.random.signed()
	}
	return t.net
}

func finite(t *testing.T, f *Fitted) {
	t.Helper()
	out := f.Forecast()
	for _, s := range [][]float64{out.Points, out.Low80, out.High80, out.Low95, out.High95} {
		for h, v := range s {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				t.Fatalf("step %d is %v", h, v)
			}
		}
	}
	for _, limit := range []float64{0, 1e300, -1e300, math.Inf(1), out.Points[0]} {
		for _, above := range []bool{true, false} {
			for _, p := range f.Breach(limit, above, 6, 1, nil) {
				if !(p >= 0 && p < 1) {
					t.Fatalf("likelihood %v of passing %v", p, limit)
				}
			}
		}
	}
}

func finiteFill(f TimeToFull) bool {
	return !f.Earliest.After(f.At) && !f.At.After(f.Latest) && f.Slope != 0 && !math.IsNaN(f.Slope)
}

// TestBadInput: whatever comes in, what goes out is numbers, or nothing.
func TestBadInput(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	each := func(n int, of func(t int) float64) []float64 {
		out := make([]float64, n)
		for i := range out {
			out[i] = of(i)
		}
		return out
	}
	good := made(672, 1, 1, 1)
	series := map[string][]float64{
		"none":        nil,
		"one":         {1},
		"all missing": each(672, func(int) float64 { return nan }),
		"constant":    each(672, func(int) float64 { return 5 }),
		"zero":        each(672, func(int) float64 { return 0 }),
		"huge":        each(672, func(i int) float64 { return 1e99 * good[i] / 1000 }),
		"tiny":        each(672, func(i int) float64 { return 1e-300 * good[i] }),
		"too large":   each(672, func(i int) float64 { return 1e300 * good[i] }),
		"negative":    each(672, func(i int) float64 { return -good[i] }),
		"infinite":    each(672, func(i int) float64 { return good[i] + []float64{0, 0, inf}[i%3] }),
		"steps":       each(672, func(i int) float64 { return float64(i / 300) }),
		"one spike":   each(672, func(i int) float64 { return []float64{0, 1e50}[(i/500)*(i%500/171)%2] }),
		"rare":        each(672, func(i int) float64 { return float64(i % 97 / 96) }),
		"exponential": each(672, func(i int) float64 { return math.Pow(1.3, float64(i)) }),
		"large level": each(672, func(i int) float64 { return 1e15 + good[i] }),
		"short":       good[:60],
		"two days":    good[:120],
		"ten days":    good[:240],
		"gaps":        each(672, func(i int) float64 { return []float64{good[i], good[i], nan}[i*i%3] }),
		"late start":  each(672, func(i int) float64 { return []float64{nan, good[i]}[min(1, i/200)] }),
		"ends in gap": each(672, func(i int) float64 { return []float64{good[i], nan}[i/640] }),
	}
	grids := []struct {
		step    time.Duration
		horizon int
	}{{time.Hour, 48}, {time.Hour, 1}, {time.Minute, 48}, {7 * time.Hour, 5}, {24 * time.Hour, 30}, {-1, 48}, {0, 48}}
	var w Workspace
	for _, grid := range grids {
		for name, values := range series {
			for _, limit := range []float64{0, 10, 1e90, -1e90} {
				if f, ok := Fill(&w, History{Step: grid.step, Values: values}, limit); ok && (!finiteFill(f)) {
					t.Errorf("%s, step %v: %+v", name, grid.step, f)
				}
			}
			models := everyModel(t)
			if grid != grids[0] {
				models = []Model{Default()}
			}
			for _, m := range models {
				f, ok := Fit(&w, m, History{Step: grid.step, Values: values}, grid.horizon)
				if ok {
					finite(t, f)
				} else if grid == grids[0] && name == "gaps" {
					t.Errorf("%s has nothing to say with gaps", m.Name())
				}
			}
		}
	}
	if _, ok := Fit(&w, Default(), hourly(good), maxHorizon+1); ok {
		t.Error("a horizon without end is forecast")
	}
}

// TestAnyUnit: a forecast of a*y+b is a times the forecast of y, plus b; also of
// falling values, which rising ones become.
func TestAnyUnit(t *testing.T) {
	all := made(672, 4, 1, 2)
	for _, m := range everyModel(t) {
		plain := mustFit(t, m, hourly(all), 48)
		for _, unit := range []struct{ a, b float64 }{{1000, 0}, {1, -500}, {0.001, 7}, {-3, 10}} {
			if unit.a < 0 && m.Name() == "lstm" {
				continue // it has learned what rises and what falls
			}
			moved := make([]float64, len(all))
			for i, v := range all {
				moved[i] = unit.a*v + unit.b
			}
			f := mustFit(t, m, hourly(moved), 48)
			low, high := f.Low95, f.High95
			if unit.a < 0 {
				low, high = high, low
			}
			for h := range plain.Points {
				for _, pair := range [][2]float64{{f.Points[h], plain.Points[h]}, {low[h], plain.Low95[h]}, {high[h], plain.High95[h]}} {
					if want := unit.a*pair[1] + unit.b; math.Abs(pair[0]-want) > 1e-4*math.Abs(unit.a) {
						t.Fatalf("%s, %v, step %d: %v, want %v", m.Name(), unit, h, pair[0], want)
					}
				}
			}
		}
	}
}

// TestSameAgain: what a workspace did before leaves no trace.
func TestSameAgain(t *testing.T) {
	history := hourly(made(672, 1, 1, 1))
	for _, m := range everyModel(t) {
		want := mustFit(t, m, history, 48)
		var w Workspace
		for _, other := range [][]float64{made(400, 9, 3, 9), made(900, 2, 0, 1), made(100, 3, 1, 1)} {
			Fit(&w, m, hourly(other), 30)
		}
		f, ok := Fit(&w, m, history, 48)
		if !ok {
			t.Fatalf("%s is silent the second time", m.Name())
		}
		got := f.Forecast()
		if !slices.Equal(got.Points, want.Points) || !slices.Equal(got.High95, want.High95) {
			t.Errorf("%s: another forecast of the same history", m.Name())
		}
	}
}

// TestCausal: what comes after an origin changes nothing in its path, for the
// models without parameters chosen in hindsight.
func TestCausal(t *testing.T) {
	values := made(672, 1, 1, 1)
	for _, m := range everyModel(t) {
		if m.Name() == "holt_winters" || m.Name() == "ensemble" {
			continue // parameters and weights are chosen on all paths
		}
		var w Workspace
		w.reset()
		p, _ := w.prepare(hourly(values), 48)
		before := w.Paths(p)
		if !m.Paths(&w, p, before) {
			t.Fatalf("%s is silent", m.Name())
		}
		origin := p.Origins[5]
		for i := origin; i < len(p.Values); i++ {
			p.Values[i] += 1000
		}
		after := w.Paths(p)
		if !m.Paths(&w, p, after) {
			t.Fatalf("%s is silent", m.Name())
		}
		if !slices.Equal(before[5], after[5]) {
			t.Errorf("%s looks ahead", m.Name())
		}
		if slices.Equal(before[len(before)-1], after[len(after)-1]) {
			t.Errorf("%s does not look at the newest values", m.Name())
		}
	}
}

// TestGaps: a fifth of the values is missing, six in a row, and the newest six.
func TestGaps(t *testing.T) {
	all := made(720, 1, 5, 1)
	var w Workspace
	w.reset()
	holes := slices.Clone(all[:672])
	for i := range holes {
		if i%30 < 6 && i > 30 || i > 665 {
			holes[i] = math.NaN()
		}
	}
	p, ok := w.prepare(hourly(holes), 48)
	if !ok {
		t.Fatal("too little")
	}
	far, n := 0.0, 0.0
	for i, seen := range p.Seen {
		if !seen {
			far += math.Abs(p.unscale(p.Values[i]) - all[i])
			n++
		}
	}
	if far/n > 3 { // a line would be 6 off, the value a week before 30
		t.Errorf("what was missing is %.2f off", far/n)
	}
	f := mustFit(t, Default(), hourly(holes), 48)
	if got := meanError(f.Points, all[672:]); got > 3 {
		t.Errorf("mean absolute error %.2f", got)
	}
}

// TestGapsKnowNothingOfLater: what stands in for missing values is made of what was before
// them, whatever comes later.
func TestGapsKnowNothingOfLater(t *testing.T) {
	values := made(672, 1, 1, 1)
	fill := func(later float64) []float64 {
		holes := slices.Clone(values)
		for i := range holes {
			switch {
			case i >= 300 && i < 330 || i == 40:
				holes[i] = math.NaN()
			case i >= 330:
				holes[i] += later * float64(i%5)
			}
		}
		var w Workspace
		w.reset()
		p, ok := w.prepare(hourly(holes), 48)
		if !ok {
			t.Fatal("too little")
		}
		out := make([]float64, 330)
		for i := range out {
			out[i] = p.unscale(p.Values[i])
		}
		return out
	}
	for i, v := range fill(7) {
		if was := fill(0)[i]; math.Abs(v-was) > 1e-9 {
			t.Errorf("value %d is %v, and %v when others come later", i, was, v)
		}
	}
}

// broken gives what is no number.
type broken struct{}

func (broken) Name() string { return "broken" }

func (broken) Paths(_ *Workspace, _ *Problem, paths [][]float64) bool {
	paths[len(paths)-1][3] = math.NaN()
	return true
}

func TestBrokenMember(t *testing.T) {
	history := hourly(made(672, 1, 1, 1))
	var w Workspace
	if _, ok := Fit(&w, broken{}, history, 48); ok {
		t.Error("no number is given")
	}
	with, without := mustFit(t, Default(broken{}), history, 48), mustFit(t, Default(), history, 48)
	if !slices.Equal(with.Points, without.Points) {
		t.Error("a broken model weighs something")
	}
}

// TestSilentWhereUnknown: a model that needs a season says nothing without one,
// and the ensemble goes on with the others.
func TestSilentWhereUnknown(t *testing.T) {
	short := hourly(made(120, 1, 0, 1))
	var w Workspace
	for _, m := range []Model{Autoregression{Variant: OverWeek}, scattered()} {
		if _, ok := Fit(&w, m, short, 12); ok {
			t.Errorf("%s speaks of weeks it has not seen", m.Name())
		}
	}
	if _, ok := Fit(&w, Default(), short, 12); !ok {
		t.Error("the ensemble is silent too")
	}
	if _, ok := Fit(&w, Ensemble{}, short, 12); ok {
		t.Error("an ensemble of none speaks")
	}
}

func TestLongHistory(t *testing.T) {
	all := made(maxPoints+148, 1, 0, 1)
	f := mustFit(t, Default(), hourly(all[:maxPoints+100]), 48)
	if got := meanError(f.Points, all[maxPoints+100:]); got > 1.4 {
		t.Errorf("mean absolute error %.2f", got)
	}
	if want := hourly(nil).Start.Add((maxPoints + 100) * time.Hour); !f.Start.Equal(want) {
		t.Errorf("starts at %v, want %v", f.Start, want)
	}
}

func TestBreach(t *testing.T) {
	values := made(672, 1, 0, 1) // a sine of 20 about 100 on work days, at its top at 6 h
	var w Workspace
	f, ok := Fit(&w, Default(), hourly(values), 48)
	if !ok {
		t.Fatal("nothing said")
	}
	above := f.Breach(112, true, 12, 1, nil)
	if len(above) != 4 || above[0] < 0.9 || above[1] > 0.1 || above[2] < 0.9 || above[3] > 0.1 {
		t.Errorf("above 112: %.2f, want the first half of each day", above)
	}
	below := f.Breach(88, false, 12, 1, nil)
	if len(below) != 4 || below[0] > 0.1 || below[1] < 0.9 || below[2] > 0.1 || below[3] < 0.9 {
		t.Errorf("below 88: %.2f, want the second half of each day", below)
	}
	close := f.Breach(120.5, true, 12, 1, nil)[0]
	if close < 0.1 || close > 0.9 {
		t.Errorf("at the top: %.2f, want neither likely nor unlikely", close)
	}
	for _, limit := range []float64{110, 115, 119, 120, 121, 123} {
		if a, b := f.Breach(limit, true, 12, 1, nil)[0], f.Breach(limit+1, true, 12, 1, nil)[0]; b > a+1e-12 {
			t.Errorf("passing %v is likelier than passing %v", limit+1, limit)
		}
	}
	if one, run := f.Breach(119.9, true, 12, 1, nil)[0], f.Breach(119.9, true, 12, 3, nil)[0]; run >= one {
		t.Errorf("that three hours pass the top is as likely (%.2f) as that one does (%.2f)", run, one)
	}
	if long := f.Breach(112, true, 12, 3, nil); long[0] < 0.9 || long[1] > 0.1 {
		t.Errorf("three hours above 112: %.2f", long)
	}
	if got := f.Breach(math.NaN(), true, 12, 1, nil); got != nil {
		t.Errorf("no limit: %v", got)
	}
	if got := len(f.Breach(1, true, 20, 1, nil)); got != 3 {
		t.Errorf("%d blocks of 20 in 48 steps", got)
	}
}

func BenchmarkFit(b *testing.B) {
	values := made(672, 1, 1, 2)
	for _, m := range everyModel(b) {
		b.Run(m.Name(), func(b *testing.B) {
			var w Workspace
			var out Forecast
			b.ReportAllocs()
			for b.Loop() {
				f, ok := Fit(&w, m, hourly(values), 48)
				if !ok {
					b.Fatal("nothing said")
				}
				f.Into(&out)
			}
		})
	}
}

func FuzzFit(f *testing.F) {
	f.Add([]byte("any bytes are a series"), uint8(3), uint8(9), uint8(1))
	f.Add([]byte{}, uint8(0), uint8(0), uint8(0))
	models := everyModel(f)
	var w Workspace
	f.Fuzz(func(t *testing.T, data []byte, hours, horizon, which uint8) {
		var values []float64
		for i, b := range data {
			v := float64(int8(b))
			if b == 0x80 {
				v = math.NaN()
			}
			values = append(values, v*math.Pow(10, float64(i%5*i%11)))
		}
		for len(values) > 0 && len(values) < 400 { // long enough for every season
			values = append(values, values...)
		}
		if f, ok := Fill(&w, History{Step: time.Duration(hours) * time.Hour, Values: values}, float64(horizon)); ok && !finiteFill(f) {
			t.Fatalf("%+v", f)
		}
		m := models[int(which)%len(models)]
		if fitted, ok := Fit(&w, m, History{Step: time.Duration(hours) * time.Hour, Values: values}, int(horizon)); ok {
			finite(t, fitted)
		}
	})
}
