package predict

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"grace"
)

var start = time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC)

func target() Target {
	return Target{
		Service: "cart", Metric: "latency_ms", Op: ">", Threshold: 500,
		Code: grace.CodeLatencySpike, Unit: "ms", Impact: grace.ImpactLow,
	}
}

// noise is a fixed sequence within -1..1.
func noise(i int) float64 {
	x := math.Sin(float64(i)*12.9898) * 43758.5453
	return 2*(x-math.Floor(x)) - 1
}

// feed gives n points, every 5 s, and the time of the last.
func feed(a *Agent, n int, value func(i int) float64) time.Time {
	var at time.Time
	for i := range n {
		at = start.Add(time.Duration(i) * 5 * time.Second)
		a.Observe(Series{Service: "cart", Metric: "latency_ms"}, at, value(i))
	}
	return at
}

func TestEvaluate(t *testing.T) {
	with := func(change func(*Target)) Target {
		o := target()
		change(&o)
		return o
	}
	below := with(func(o *Target) { o.Op, o.Threshold = "<", 100 })
	tests := []struct {
		name     string
		target   Target
		n        int
		value    func(i int) float64
		likely   bool
		breachIn time.Duration // within 30 s of it
	}{
		{"rises by half within two minutes", target(), 44, func(i int) float64 { return 200 + 100*float64(max(i-19, 0))/24 + 4*noise(i) }, true, 4 * time.Minute},
		{"rises steadily", target(), 60, func(i int) float64 { return 200 + 3*float64(i) + 5*noise(i) }, true, 205 * time.Second},
		{"rises with outliers", target(), 60, func(i int) float64 {
			if i%7 == 3 {
				return 20
			}
			return 200 + 3*float64(i) + 5*noise(i)
		}, true, 205 * time.Second},
		{"falls towards a lower limit", below, 60, func(i int) float64 { return 400 - 4*float64(i) + 5*noise(i) }, true, 80 * time.Second},
		{"exactly on a line", target(), 40, func(i int) float64 { return 10 * float64(i-1) }, true, 60 * time.Second},
		{"too few", target(), 39, func(i int) float64 { return 10 * float64(i) }, false, 0},
		{"flat", target(), 60, func(i int) float64 { return 400 + 40*noise(i) }, false, 0},
		{"constant", target(), 60, func(int) float64 { return 400 }, false, 0},
		{"falls away from an upper limit", target(), 60, func(i int) float64 { return 450 - 3*float64(i) }, false, 0},
		{"rises too slowly", target(), 60, func(i int) float64 { return 100 + 0.2*float64(i) + noise(i) }, false, 0},
		{"drowns in noise", target(), 60, func(i int) float64 { return 300 + 0.5*float64(i) + 100*noise(i) }, false, 0},
		{"a step up is no trend", target(), 60, func(i int) float64 {
			if i < 30 {
				return 200 + 5*noise(i)
			}
			return 350 + 5*noise(i)
		}, false, 0},
		{"a rise that ended", target(), 60, func(i int) float64 { return 200 + 6*float64(min(i, 38)) + 3*noise(i) }, false, 0},
		{"a late step up", target(), 60, func(i int) float64 {
			if i < 45 {
				return 200 + 5*noise(i)
			}
			return 350 + 5*noise(i)
		}, false, 0},
		{"wanders", target(), 60, wander, false, 0},
		{"there already", target(), 60, func(i int) float64 { return 300 + 10*float64(i) }, false, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := earned(DefaultConfig(), []Target{tt.target})
			now := feed(a, tt.n, tt.value)
			got := a.Evaluate(now).Published
			if !tt.likely {
				if got != nil {
					t.Errorf("got %+v", got)
				}
				return
			}
			if len(got) != 1 {
				t.Fatalf("got %+v", got)
			}
			p := got[0]
			if p.Likelihood < 0.8 || p.Likelihood > maxLikelihood {
				t.Errorf("likelihood %v", p.Likelihood)
			}
			if off := p.BreachAt.Sub(now) - tt.breachIn; off.Abs() > 30*time.Second {
				t.Errorf("breach in %s, want %s", p.BreachAt.Sub(now), tt.breachIn)
			}
			if p.Low > p.High || p.Code != grace.CodeLatencySpike || p.Impact != grace.ImpactLow || p.At != now {
				t.Errorf("got %+v", p)
			}
		})
	}
}

// wander is a walk that goes where chance takes it: forty steps up, as it happens.
const walk = 0

func wander(i int) float64 {
	v := 300.0
	for k := range i {
		v += 20 * noise(k+walk)
	}
	return v
}

// TestWanderingIsNoTrend: a walk looks like a trend to who takes its points for independent.
func TestWanderingIsNoTrend(t *testing.T) {
	values := make([]float64, 60)
	times := make([]float64, 60)
	for i := range values {
		values[i], times[i] = wander(i), 5*float64(i-59)
	}
	sure := mannKendall(values)
	if l := (&scratch{}).fit(times, values); sure < chance || sure > chance*l.carried(times, values) {
		t.Errorf("Mann-Kendall %v, which counts for %v", sure, sure/l.carried(times, values))
	}
}

func TestBadFitIsSilent(t *testing.T) {
	value := func(i int) float64 { return 214 + 4*float64(i) + 40*noise(i+7) }
	limit := target()
	limit.Threshold = 700
	cfg := DefaultConfig()
	cfg.MinFit = 0.9
	a := earned(cfg, []Target{limit})
	now := feed(a, 60, value)
	if got := a.Evaluate(now).Published; got != nil {
		t.Errorf("got %+v", got)
	}
	cfg.MinFit = 0
	a.Reconfigure(cfg, []Target{limit})
	if a.Evaluate(now).Published == nil {
		t.Error("silent for another reason")
	}
}

func TestTitleAndKey(t *testing.T) {
	a := earned(DefaultConfig(), []Target{target()})
	p := a.Evaluate(feed(a, 40, func(i int) float64 { return 10 * float64(i) })).Published[0]
	if want := "latency_ms 390 ms, rising towards 500 ms"; p.Title != want {
		t.Errorf("title %q", p.Title)
	}
	if want := grace.SignalKey("cart/predict/latency_ms/latency_spike"); p.Key != want {
		t.Errorf("key %q", p.Key)
	}
}

func TestStaleSeriesIsSilent(t *testing.T) {
	a := earned(DefaultConfig(), []Target{target()})
	now := feed(a, 40, func(i int) float64 { return 10 * float64(i) })
	if a.Evaluate(now.Add(time.Minute)).Published == nil {
		t.Error("silent too soon")
	}
	if got := a.Evaluate(now.Add(61 * time.Second)).Published; got != nil {
		t.Errorf("got %+v", got)
	}
}

func TestObserve(t *testing.T) {
	cfg := DefaultConfig()
	cfg.MaxSamples = 10
	a := earned(cfg, []Target{target()})
	a.Observe(Series{Service: "cart", Metric: "other"}, start, 1)
	for i := range 25 {
		a.Observe(Series{Service: "cart", Metric: "latency_ms"}, start.Add(time.Duration(i)*time.Second), float64(i))
	}
	last := start.Add(24 * time.Second)
	a.Observe(Series{Service: "cart", Metric: "latency_ms"}, last, 99)
	a.Observe(Series{Service: "cart", Metric: "latency_ms"}, start, 99)
	a.Observe(Series{Service: "cart", Metric: "latency_ms"}, last.Add(time.Second), math.NaN())
	h, open := a.find(identity{seriesID: seriesID{"cart", "latency_ms"}})
	if !open || a.Len() != 1 || a.at(h).ring.len() != 25 || a.at(h).ring.newest() != 24 {
		t.Errorf("%d series, %+v", a.Len(), a.at(h).ring)
	}

	a.Reconfigure(cfg, []Target{target(), {Service: "cart", Metric: "other"}})
	a.Observe(Series{Service: "cart", Metric: "other"}, start, 1)
	if a.Len() != 2 || a.at(h).ring.len() != 25 {
		t.Errorf("points lost: %d series, %+v", a.Len(), a.at(h).ring)
	}
	a.Reconfigure(cfg, nil)
	if a.Len() != 0 {
		t.Errorf("left: %d", a.Len())
	}
}

func TestValidate(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	err := Config{MinSamples: 1, MinLikelihood: math.NaN(), MinFit: -1}.Validate()
	for _, key := range []string{"horizon", "step", "min_samples", "max_samples", "min_likelihood", "stale_after", "reach", "min_fit"} {
		if err == nil || !strings.Contains(err.Error(), key+":") {
			t.Errorf("%s is not named in: %v", key, err)
		}
	}
}

// Upside down is the same with the opposite comparison, and a higher
// threshold is never likelier.
func TestSymmetryAndOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(10, 40).Draw(t, "n")
		slope := rapid.Float64Range(-10, 10).Draw(t, "slope")
		values := rapid.SliceOfN(rapid.Float64Range(-20, 20), n, n).Draw(t, "noise")
		at := func(i int) float64 { return 300 + slope*float64(i) + values[i] }
		up, higher, down := target(), target(), target()
		higher.Threshold = 500 + rapid.Float64Range(0, 500).Draw(t, "more")
		down.Op, down.Threshold = "<", -500
		likelihood := func(target Target, sign float64) float64 {
			a := earned(DefaultConfig(), []Target{target})
			for _, p := range a.Evaluate(feed(a, n, func(i int) float64 { return sign * at(i) })).Published {
				return p.Likelihood
			}
			return 0
		}
		base := likelihood(up, 1)
		if mirrored := likelihood(down, -1); math.Abs(mirrored-base) > 1e-9 {
			t.Fatalf("%v, mirrored %v", base, mirrored)
		}
		breached := at(n-1) > 500 // then nothing is predicted for the lower one
		if got := likelihood(higher, 1); got > base+1e-9 && !breached {
			t.Fatalf("%v, and %v for %v", base, got, higher.Threshold)
		}
	})
}

// Of series that wander without a trend, few may be told to breach.
func TestFewFalseAlarms(t *testing.T) {
	alarms, looks := 0, 0
	for s := range 200 {
		a := earned(DefaultConfig(), []Target{target()})
		now := feed(a, 60, func(i int) float64 { return 400 + 30*noise(i+1000*s) })
		looks++
		alarms += len(a.Evaluate(now).Published)
	}
	if alarms > looks/50 {
		t.Errorf("%d of %d", alarms, looks)
	}
}

func BenchmarkEvaluate(b *testing.B) {
	a := earned(DefaultConfig(), slices.Repeat([]Target{target()}, 2))
	now := feed(a, 60, func(i int) float64 { return 200 + 3*float64(i) + 5*noise(i) })
	b.ReportAllocs()
	for b.Loop() {
		a.Evaluate(now)
	}
}

// TestTrendEndsWithADrop: what was restarted does not go on rising, whatever
// the points before say.
func TestTrendEndsWithADrop(t *testing.T) {
	a := earned(DefaultConfig(), []Target{target()})
	at := start
	for i := range 40 {
		a.Observe(Series{Service: "cart", Metric: "latency_ms"}, at, 200+4*float64(i)+float64(i%3))
		at = at.Add(10 * time.Second)
	}
	if r := a.Evaluate(at); len(r.Published) != 1 {
		t.Fatalf("a clean rise: %+v", r)
	}
	for range 2 { // one alone may be an outlier
		a.Observe(Series{Service: "cart", Metric: "latency_ms"}, at, 200)
		at = at.Add(10 * time.Second)
	}
	if r := a.Evaluate(at); len(r.Published) != 0 || len(r.Retracted) != 1 {
		t.Errorf("right after the restart: %+v", r)
	}
}
