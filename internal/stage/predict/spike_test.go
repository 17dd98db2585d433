package predict

import (
	"fmt"
	"math"
	"testing"
	"time"

	"grace"
	"grace/internal/forecast"
)

// An absurd value must not ruin what is known of a series: its hours keep their precision,
// and the range is narrow again once it is over.
func TestSpikeInHours(t *testing.T) {
	for _, absurd := range []float64{1e9, -1e9, 1e300} {
		var h hours
		at := start.UnixMilli()
		feedHours := func(n int, value func(i int) float64) {
			for i := range n {
				at += hourLength
				h.append(at, value(i))
			}
		}
		usual := func(i int) float64 { return 50 + 5*math.Sin(float64(i)) }
		feedHours(100, usual)
		feedHours(1, func(int) float64 { return absurd })
		feedHours(100, usual)
		history, _ := h.history(make([]float64, hourlyPoints))
		for i := range 100 {
			if off := math.Abs(history[i] - usual(i)); off > 0.05 {
				t.Fatalf("%g: hour %d is off by %g", absurd, i, off)
			}
		}
		feedHours(hourlyPoints+48, usual)
		if width := steps * float64(h.step); width > 60 {
			t.Errorf("%g: four weeks later the range is %g wide, for values within 10", absurd, width)
		}
	}
	// A level that stays is followed within some hours.
	var h hours
	at := start.UnixMilli()
	for i := range 60 {
		at += hourLength
		v := 50 + float64(i%3)
		if i >= 48 {
			v = 1e6
		}
		h.append(at, v)
	}
	history, _ := h.history(make([]float64, hourlyPoints))
	if got := history[len(history)-1]; math.Abs(got-1e6) > 1e3 {
		t.Errorf("the new level 1e6 is %g", got)
	}
}

// After one sample of 1e9 a rise is foreseen as it is without.
func TestSpikeBeforeARise(t *testing.T) {
	said := func(spike bool) int {
		p := &tape{a: earned(DefaultConfig(), []Target{target()}), now: start}
		p.play(64, func(i int) float64 { // the spike is where the newest points get a new base
			if spike && i == 0 {
				return 1e9
			}
			return flat(i)
		})
		if len(p.all.Published) != 0 {
			t.Errorf("said before: %+v", p.all.Published[0])
		}
		p.play(70, rise)
		return len(p.all.Published)
	}
	if with, without := said(true), said(false); with == 0 || without-with > 1 {
		t.Errorf("foreseen in %d looks after a spike, in %d without", with, without)
	}
}

// The forecast of a rhythm is the same the day after a spike of an hour.
func TestSpikeBeforeAForecast(t *testing.T) {
	outlooks := func(spike bool) (likelihood float32, at int64) {
		a := New(DefaultConfig(), []Target{{Service: "db", Metric: "sessions", Op: ">", Threshold: 115, Code: grace.CodeLatencySpike}},
			NewGate(DefaultGateConfig(), noLock{}))
		h := a.Open(Series{Service: "db", Metric: "sessions"})
		now := start.Truncate(24 * time.Hour)
		for i := range 21 * 24 * 4 {
			now = now.Add(15 * time.Minute)
			v := 100 + 20*math.Sin(2*math.Pi*float64(i)/96) + noise(i)
			if spike && i == 18*96 {
				v = 1e9
			}
			a.Append(h, now.UnixMilli(), v)
		}
		var r Refit
		var w forecast.Workspace
		if !a.NextRefit(&r, 10) {
			t.Fatal("nothing to forecast")
		}
		r.Run(&w, forecast.Default())
		a.Refitted(&r)
		o := a.at(h).watches[0].outlook
		return o.likelihood, o.breachAt
	}
	with, at := outlooks(true)
	without, when := outlooks(false)
	if with < 0.8 || without < 0.8 || at != when {
		t.Errorf("after a spike %v at %d, without %v at %d", with, at, without, when)
	}
}

type noLock struct{}

func (noLock) Lock()   {}
func (noLock) Unlock() {}

// One sample of 1e9, or an hour of them, does not move what is learned of a series.
func TestSpikeInWhatIsLearned(t *testing.T) {
	learned := func(samples int) (threshold float64, low, high float64) {
		spike := 10*1440 + 300
		a, _ := watched(t, false, 14*1440, 14*1440, func(i int) float64 {
			if i >= spike && i < spike+samples {
				return 1e9
			}
			return rhythm(i)
		})
		s := a.at(0)
		low, high = s.odd.Band()
		return s.watches[0].threshold, low, high
	}
	without, low, high := learned(0)
	for _, samples := range []int{1, 60} {
		with, lowest, highest := learned(samples)
		if math.Abs(with-without) > 20 {
			t.Errorf("%d samples: threshold %v, without %v", samples, with, without)
		}
		if samples == 1 && (lowest < low-1 || highest > high+(high-low)) {
			t.Errorf("band %v to %v, without %v to %v", lowest, highest, low, high)
		}
	}
}

// What is claimed of 100,000 foreign series is forgotten with time.
func TestGateForgetsWhatIsForeign(t *testing.T) {
	g := NewGate(DefaultGateConfig(), noLock{})
	for i := range 100_000 {
		at := start.Add(time.Duration(i) * time.Second)
		g.Learn(grace.Prediction{
			Service: grace.ServiceID(fmt.Sprint("s", i)), Metric: "m", Rule: RuleExternal, Outcome: grace.PredictionFalsePositive, Scored: true, Likely: true, Score: 0.9, Resolved: &at,
		})
	}
	if len(g.series) != 100_000 || len(g.groups) != 100_000 {
		t.Fatalf("%d series, %d groups", len(g.series), len(g.groups))
	}
	g.Prune(start.Add(100 * 24 * time.Hour))
	if len(g.series)+len(g.groups) != 0 {
		t.Errorf("%d series and %d groups are left", len(g.series), len(g.groups))
	}
}
