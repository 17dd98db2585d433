package predict

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"grace"
)

// band plays samples of several metrics of cart every 5 s into an agent, and ends a round
// every 30 s.
type band struct {
	tape

	d Drifts
}

// metricsOfCart are names and the metrics that their expressions look at.
var metricsOfCart = []string{"errors", "latency", "memory", "queue"}

func newBand() *band {
	var targets []Target
	for _, m := range metricsOfCart {
		t := Target{Service: "cart", Metric: m, Text: m + "_now", Op: ">", Threshold: 5000, Code: grace.CodeCapacity, Impact: grace.ImpactLow}
		if m == "memory" {
			t.Impact = grace.ImpactHigh
		}
		targets = append(targets, t)
	}
	return &band{tape: tape{a: New(DefaultConfig(), targets, NewGate(DefaultGateConfig(), &sync.Mutex{})), now: start}}
}

// play gives n samples of each metric that has values.
func (b *band) play(n int, values map[string]func(i int) float64) {
	for i := range n {
		b.now = b.now.Add(5 * time.Second)
		for k, m := range metricsOfCart {
			if f := values[m]; f != nil {
				b.a.Observe(Series{Service: "cart", Metric: m}, b.now, f(i)+0.1*float64(k))
			}
		}
		if b.now.Second()%30 == 0 {
			b.round()
		}
	}
}

func (b *band) round() {
	r := b.a.Evaluate(b.now)
	b.d.Take(&r)
	b.a.Drift(&b.d, b.now, &r)
	b.all.Shadow = append(b.all.Shadow, r.Shadow...)
	b.all.Advice = append(b.all.Advice, r.Advice...)
	b.all.Published = append(b.all.Published, r.Published...)
	b.all.Lost = append(b.all.Lost, r.Lost...)
	b.all.Retracted = append(b.all.Retracted, r.Retracted...)
	b.all.Withdrawn = append(b.all.Withdrawn, r.Withdrawn...)
	b.all.Resolved = append(b.all.Resolved, r.Resolved...)
}

func (b *band) joint() (said []grace.Prediction) {
	for _, p := range append(append([]grace.Prediction{}, b.all.Shadow...), b.all.Advice...) {
		if p.Rule == "drift" {
			said = append(said, p)
		}
	}
	return said
}

func (b *band) became() (out []string) {
	for _, p := range b.all.Resolved {
		if p.Metric == Joint {
			out = append(out, p.Rule+" "+string(p.Outcome))
		}
	}
	return out
}

// creeps goes steadily up, and would need hours to its threshold.
func creeps(i int) float64 { return 200 + float64(i) + 2*noise(i) }

func all(value func(i int) float64, metrics ...string) map[string]func(i int) float64 {
	out := map[string]func(int) float64{}
	for _, m := range metricsOfCart {
		out[m] = flat
		if slices.Contains(metrics, m) {
			out[m] = value
		}
	}
	return out
}

func TestDrift(t *testing.T) {
	three := []string{"errors", "latency", "memory"}
	for _, tt := range []struct {
		name string
		play func(b *band)
		says bool
	}{
		{"three", func(b *band) { b.play(60, all(creeps, three...)) }, true},
		{"two", func(b *band) { b.play(60, all(creeps, "errors", "latency")) }, false},
		{"none", func(b *band) { b.play(60, all(creeps)) }, false},
		{"away from their thresholds", func(b *band) { b.play(60, all(func(i int) float64 { return -creeps(i) }, three...)) }, false},
		{"one step of all", func(b *band) {
			b.play(60, all(func(i int) float64 { return 200 + 300*float64(i/30) + 2*noise(i) }, metricsOfCart...))
		}, false},
		{"one is beyond its threshold", func(b *band) {
			v := all(creeps, three...)
			v["queue"] = func(int) float64 { return 6000 }
			b.play(60, v)
		}, false},
		{"one is beyond its threshold for a sample", func(b *band) {
			v := all(creeps, three...)
			v["queue"] = func(i int) float64 { return 200 + 6000*float64((i/2)%2) }
			b.play(60, v)
		}, false},
		{"there was a breach within the hour", func(b *band) {
			v := all(flat)
			v["queue"] = func(i int) float64 { return 200 + 6000*float64(i/50) }
			b.play(60, v)
			b.play(80, all(creeps, three...))
		}, false},
		{"there was a breach more than an hour ago", func(b *band) {
			v := all(flat)
			v["queue"] = func(i int) float64 { return 200 + 6000*float64(i/50) }
			b.play(60, v)
			b.play(800, all(flat))
			b.play(80, all(creeps, three...))
		}, true},
		{"their thresholds are out of all reach", func(b *band) {
			targets := slices.Clone(b.a.targets)
			for i := range targets {
				targets[i].Threshold = 1e200
			}
			b.a.Reconfigure(b.a.cfg, targets)
			b.play(60, all(creeps, three...))
		}, true},
		{"one has no new points", func(b *band) {
			b.play(42, all(creeps, "memory")) // too few for the others to be seen
			v := all(func(i int) float64 { return creeps(i + 42) }, "errors", "latency")
			delete(v, "memory")
			b.all, b.d = Result{}, Drifts{}
			b.now = b.now.Add(2 * time.Minute)
			b.play(60, v)
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBand()
			tt.play(b)
			said := b.joint()
			if (len(said) > 0) != tt.says {
				t.Fatalf("said %+v", said)
			}
			if b.a.Len() != len(metricsOfCart) && !tt.says {
				t.Errorf("%d series", b.a.Len())
			}
			for _, p := range said {
				if p.BreachAt.Before(p.At) {
					t.Errorf("breach at %s, said at %s", p.BreachAt, p.At)
				}
			}
		})
	}
}

func TestDriftIsExplained(t *testing.T) {
	b := newBand()
	b.play(60, all(creeps, "errors", "latency", "memory"))
	said := b.joint()
	if len(said) == 0 {
		t.Fatal("nothing is said")
	}
	p := said[0]
	if p.Key != "cart/predict/several metrics/degradation" || p.Code != grace.CodeDegradation || p.Impact != grace.ImpactHigh || p.Published != nil {
		t.Errorf("%+v", p)
	}
	if want := "cart degrades: errors_now, latency_now and memory_now rise together"; p.Title != want {
		t.Errorf("title %q, want %q", p.Title, want)
	}
	if len(p.Evidence) != 4 || !strings.HasPrefix(p.Evidence[0], "errors_now rose by ") || !strings.HasSuffix(p.Evidence[0], "; its threshold is 5000") {
		t.Errorf("evidence %q", p.Evidence)
	}
	if !p.Until.Equal(p.Made.Add(2*b.a.cfg.Horizon.D())) || p.BreachAt.After(p.Until) || p.Score != 0.5 {
		t.Errorf("until %s, breach at %s, score %v", p.Until, p.BreachAt, p.Score)
	}
}

// Expressions that look at the same metric are one metric, and so are its series with
// other labels.
func TestDriftOfOneMetricIsOne(t *testing.T) {
	for name, change := range map[string]func(targets []Target) []Target{
		"other expressions of it": func(targets []Target) []Target {
			for i := range targets {
				targets[i].Metrics = []string{"requests_total", []string{"a", "b"}[min(i, 1)]}
			}
			return targets
		},
		"other metrics": func(targets []Target) []Target { return targets },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBand()
			b.a.Reconfigure(DefaultConfig(), change(slices.Clone(b.a.targets)))
			b.play(60, all(creeps, metricsOfCart...))
			if said := b.joint(); (len(said) > 0) != (name == "other metrics") {
				t.Errorf("said %+v", said)
			}
		})
	}
	b := newBand()
	for i := range 60 {
		b.now = b.now.Add(5 * time.Second)
		for _, pod := range []string{"a", "b", "c", "d"} {
			b.a.Observe(Series{Service: "cart", Metric: "errors", Labels: pod}, b.now, creeps(i))
		}
	}
	b.round()
	if c := b.d.services["cart"]; len(c.members) != 4 || len(c.drifting()) != 1 || len(b.joint()) > 0 {
		t.Errorf("%d series, %d metrics drift", len(c.members), len(c.drifting()))
	}
}

func TestDriftIsHeldToAccount(t *testing.T) {
	three := []string{"errors", "latency", "memory"}
	for name, tt := range map[string]struct {
		then func(b *band)
		want string
	}{
		"a breach of one": {func(b *band) {
			v := all(flat)
			v["queue"] = func(i int) float64 { return 200 + 6000*float64(i/100) }
			b.play(150, v)
		}, "drift true_positive"},
		"none":    {func(b *band) { b.play(400, all(flat)) }, "drift false_positive"},
		"no data": {func(b *band) { b.now = b.now.Add(time.Hour); b.round() }, "drift unresolved"},
		"a run acted": {func(b *band) {
			b.a.Acted("cart", "r-1")
			b.play(400, all(flat))
		}, "drift unresolved"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBand()
			b.play(60, all(creeps, three...))
			if len(b.joint()) == 0 || len(b.became()) > 0 {
				t.Fatalf("said %+v, %v", b.joint(), b.became())
			}
			tt.then(b)
			if diff := cmp.Diff([]string{tt.want}, b.became()); diff != "" {
				t.Fatal(diff)
			}
			for _, p := range b.all.Resolved {
				if p.Metric == Joint && p.Outcome == grace.PredictionTruePositive {
					began := start.Add((60 + 101) * 5 * time.Second)
					if !p.Breach.Equal(began) || p.Lead.D() != began.Sub(p.Made) || !slices.Equal(p.Evaluated, []string{"drift"}) {
						t.Errorf("%+v", p)
					}
				}
			}
			if b.a.Len() != len(metricsOfCart) {
				t.Errorf("the joint series is still there: %d", b.a.Len())
			}
		})
	}
}

// What rises every day at this time does not drift; what rises further does.
func TestDriftOfADayIsNone(t *testing.T) {
	for name, further := range map[string]float64{"as every day": 0, "further": 400} {
		t.Run(name, func(t *testing.T) {
			b := newBand()
			daily := func(at time.Time) float64 { return 1000 + 300*math.Sin(2*math.Pi*float64(at.Unix()%86400)/86400) }
			b.now = start.Add(-4 * 24 * time.Hour)
			for at := b.now; at.Before(start); at = at.Add(time.Minute) {
				for _, m := range metricsOfCart {
					b.a.Observe(Series{Service: "cart", Metric: m}, at, daily(at))
				}
			}
			b.now = start.Add(-6*time.Hour - 30*time.Minute).Add(24 * time.Hour) // 03:00, where it rises fastest
			for i := range 240 {
				b.now = b.now.Add(time.Minute)
				for _, m := range metricsOfCart {
					b.a.Observe(Series{Service: "cart", Metric: m}, b.now, daily(b.now)+further*float64(i)/240)
				}
				b.round()
			}
			drifts := b.d.services["cart"].drifting()
			if (len(b.joint()) > 0) != (further > 0) {
				t.Errorf("said %+v; drifting %d", b.joint(), len(drifts))
			}
		})
	}
}

// What drifted before the configuration changed is seen anew before anything is said of
// it, and a service that is gone leaves nothing behind.
func TestDriftAfterAReload(t *testing.T) {
	drift := all(creeps, "errors", "latency", "memory")
	later := func(from int) map[string]func(int) float64 {
		out := map[string]func(int) float64{}
		for m, f := range drift {
			out[m] = func(i int) float64 { return f(i + from) }
		}
		return out
	}
	b := newBand()
	b.play(60, drift)
	said := len(b.joint())
	reload := func(targets []Target) {
		b.d.Since(b.now)
		b.a.Since(b.now)
		b.a.Reconfigure(b.a.cfg, targets)
	}
	reload(slices.Clone(b.a.targets))
	b.play(24, later(60))
	if len(b.all.Withdrawn) > 0 || said == 0 {
		t.Fatalf("said %d times; withdrawn %+v", said, b.all.Withdrawn)
	}
	reload(nil)
	b.play(300, later(84))
	if len(b.all.Withdrawn) != 1 || !slices.Equal(b.became(), []string{"drift unresolved"}) || b.a.Len() != 0 {
		t.Errorf("withdrawn %+v, became %v, %d series", b.all.Withdrawn, b.became(), b.a.Len())
	}
	b.play(720, later(84))
	if len(b.d.services) != 0 {
		t.Errorf("%d services are remembered", len(b.d.services))
	}
}

// An open claim goes on after a restart, and what began meanwhile makes it true.
func TestDriftAfterARestart(t *testing.T) {
	for name, tt := range map[string]struct {
		value float64
		want  []string
	}{"calm": {200, []string{"drift false_positive"}}, "it is breached by then": {6000, []string{"drift true_positive"}}} {
		t.Run(name, func(t *testing.T) {
			b := newBand()
			b.play(60, all(creeps, "errors", "latency", "memory"))
			said := b.joint()
			if len(said) == 0 {
				t.Fatal("nothing is said")
			}
			again := newBand()
			again.now = b.now.Add(time.Minute)
			again.a.Restore([]grace.Prediction{said[len(said)-1]})
			v := all(flat)
			v["queue"] = func(int) float64 { return tt.value }
			again.play(400, v)
			for _, p := range again.all.Resolved {
				if p.Metric == Joint && (p.Impact != grace.ImpactHigh || p.ID != said[0].ID || p.Title != said[0].Title) {
					t.Errorf("%+v", p)
				}
			}
			if diff := cmp.Diff(tt.want, again.became()); diff != "" || again.a.Len() != len(metricsOfCart) || len(again.a.pending) > 0 {
				t.Errorf("%s; %d series, %d claims wait", diff, again.a.Len(), len(again.a.pending))
			}
		})
	}
}

// When a metric that drifted has no data any more, nobody knows whether it has turned.
func TestDriftIsLost(t *testing.T) {
	b := newBand()
	b.trust()
	b.play(60, all(creeps, "errors", "latency", "memory"))
	v := all(func(i int) float64 { return creeps(i + 60) }, "errors", "latency")
	delete(v, "memory")
	b.play(36, v)
	if len(b.all.Published) == 0 || len(b.all.Lost) != 1 || len(b.all.Retracted) != 0 {
		t.Errorf("published %d times, lost %d times, turned %d times", len(b.all.Published), len(b.all.Lost), len(b.all.Retracted))
	}
	turned := newBand()
	turned.trust()
	turned.play(60, all(creeps, "errors", "latency", "memory"))
	turned.play(60, all(func(i int) float64 { return creeps(i + 60) }, "errors", "latency"))
	if len(turned.all.Lost) != 0 || len(turned.all.Retracted) != 1 {
		t.Errorf("lost %d times, turned %d times", len(turned.all.Lost), len(turned.all.Retracted))
	}
}

// trust gives the gate a record of the rule, elsewhere.
func (b *band) trust() {
	for i := range 20 {
		b.a.gate.learn(&Series{Service: "elsewhere", Metric: fmt.Sprint(i)}, verdict{rule: ruleNumber("drift"), score: 0.5, came: true, at: start.UnixMilli()})
	}
}

// After a reload it is waited until every agent has looked again: what one has not noted yet
// has not turned. What was noted before counts no more.
func TestDriftWaitsForAllAgents(t *testing.T) {
	b := newBand()
	b.trust()
	b.play(60, all(creeps, "errors", "latency", "memory"))
	b.d.Since(b.now)
	if n := len(b.d.services["cart"].members); n != 0 || len(b.all.Published) == 0 {
		t.Fatalf("published %d times; %d are noted from before", len(b.all.Published), n)
	}
	b.now = b.now.Add(30 * time.Second)
	var r Result
	b.a.Drift(&b.d, b.now, &r) // nobody has looked
	if !r.Empty() {
		t.Errorf("%+v", r)
	}
}

// A breach from before the service was first seen is no news, such as one of a past that was
// rehearsed.
func TestDriftsTakeNoOldBreach(t *testing.T) {
	var d Drifts
	seen := func(began, ended int64) int64 {
		d.Take(&Result{notes: []note{{service: "cart", member: member{metric: "errors"}, looked: 1000, newest: 1000, began: began, ended: ended}}})
		return d.services["cart"].began
	}
	if at := seen(500, 900); at != 0 {
		t.Errorf("began at %d", at)
	}
	if at := seen(1200, 1300); at != 1200 {
		t.Errorf("began at %d", at)
	}
	if at := seen(1100, 1250); at != 1100 {
		t.Errorf("began at %d", at)
	}
}

func TestDriftInABacktest(t *testing.T) {
	b := newBand()
	backtest := NewBacktest(DefaultConfig(), b.a.targets, Zones{}, nil, &sync.Mutex{}, func(*Refit) {})
	for i := range 500 {
		for _, m := range metricsOfCart {
			v := creeps(min(i, 80))
			if i > 100 && m == "queue" {
				v = 6000
			}
			backtest.Take(Series{Service: "cart", Metric: m}, start.Add(time.Duration(i)*5*time.Second), v)
		}
	}
	var got []string
	for _, r := range backtest.Report().Rules {
		got = append(got, fmt.Sprint(r.Rule, " ", r.Claims, " ", r.TruePositives, " ", r.Breaches, " ", r.Foreseen))
	}
	if !slices.Contains(got, "drift 1 1 1 1") {
		t.Errorf("got %v", got)
	}
}

// Whatever comes, what is said are numbers, and the joint series is there while something
// is claimed of it.
func TestAnythingDrifts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBand()
		for range rapid.IntRange(40, 120).Draw(t, "n") {
			b.now = b.now.Add(time.Duration(rapid.Int64Range(0, 2e10).Draw(t, "step")))
			for k, m := range metricsOfCart {
				v := rapid.OneOf(rapid.Just(creeps(int(b.now.Sub(start)/(5*time.Second)))), rapid.Float64(), rapid.Just(math.NaN()), rapid.Just(-math.MaxFloat64)).Draw(t, "v")
				b.a.Observe(Series{Service: "cart", Metric: m}, b.now, v+float64(k))
			}
			b.round()
		}
		for _, p := range b.joint() {
			for _, f := range []float64{p.Likelihood, p.Low, p.High, p.Value, p.Score} {
				if math.IsNaN(f) || math.IsInf(f, 0) {
					t.Fatalf("%+v", p)
				}
			}
			if p.BreachAt.Before(p.At) || p.BreachAt.After(p.Until) && p.At.Equal(p.Made) {
				t.Fatalf("%+v", p)
			}
		}
	})
}
