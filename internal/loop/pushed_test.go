package loop

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"grace"
	"grace/internal/series"
	"grace/internal/stage/sense"
	"grace/internal/store"
)

// push appends samples as a sender does, each of "name{label=value,...}".
func push(t *testing.T, l *Loop, values map[string]float64) {
	t.Helper()
	b := l.Series.Begin(series.From{Sensor: "remote_write", Source: "test"})
	for text, v := range values {
		name, labels, _ := strings.Cut(strings.TrimSuffix(text, "}"), "{")
		key := series.AppendLabel(nil, series.MetricLabel, name)
		for pair := range strings.SplitSeq(labels, ",") {
			label, value, _ := strings.Cut(pair, "=")
			key = series.AppendLabel(key, label, value)
		}
		b.Append(key, series.Meta{}, series.Sample{At: l.Now().UnixMilli(), Value: v})
	}
	if r := b.End(); r.Err() != nil {
		t.Fatal(r.Err())
	}
}

// What others push are counters, and objectives see them as such: a budget burns as fast as
// requests fail, and a quantile over routes is that of all requests, not that of the worst
// route.
func TestPushedCounters(t *testing.T) {
	t.Parallel()
	service := benchService(1)
	l, tick := watching(
		t,
		sense.Objective{Name: "burn", Service: service, Expr: `sum(rate(failed_total[5m])) / sum(rate(all_total[5m])) / 0.001 > 14.4`, Code: grace.CodeElevatedErrors},
		sense.Objective{Name: "p99", Service: service, Expr: `histogram_quantile(0.99, sum by (le) (rate(wait_bucket[5m]))) > 0.11`, Code: grace.CodeLatencySpike},
		sense.Objective{Name: "worst", Service: service, Expr: `max(histogram_quantile(0.99, rate(wait_bucket[5m]))) > 9`, Code: grace.CodeLatencySpike},
	)
	for i := range 600 {
		tick()
		if i%10 > 0 {
			continue
		}
		n := float64(i)
		values := map[string]float64{
			fmt.Sprintf("all_total{job=%s,service=%s}", service, service):    1000 + 20*n,
			fmt.Sprintf("failed_total{job=%s,service=%s}", service, service): 10 * n,
		}
		for _, route := range []struct {
			name       string
			fast, slow float64 // requests a second within 0.1 s and 10 s
		}{{"a", 100, 0}, {"b", 100, 0}, {"rare", 0, 0.1}} {
			for le, v := range map[string]float64{"0.1": route.fast, "10": route.fast + route.slow, "+Inf": route.fast + route.slow} {
				values[fmt.Sprintf("wait_bucket{job=%s,le=%s,route=%s,service=%s}", service, le, route.name, service)] = v * n
			}
		}
		push(t, l, values)
	}
	of := func(name string) grace.Signal {
		s, _ := l.sense.Signal(grace.SignalKey(service) + "/objective/" + grace.SignalKey(name))
		return s
	}
	if s := of("burn"); s.State != grace.SignalFiring || math.Abs(s.Value-500) > 1 {
		t.Errorf("half of the requests fail: %+v", s)
	}
	if s := of("p99"); s.State != grace.SignalOK || s.Value > 0.1 || s.Value < 0.09 {
		t.Errorf("the quantile of all requests: %+v", s)
	}
	if s := of("worst"); s.State != grace.SignalFiring || math.Abs(s.Value-9.9) > 0.02 {
		t.Errorf("the worst of the routes' quantiles: %+v", s)
	}
}

// An objective that a reload adds judges the series that are open already; one that it
// renames or removes leaves nothing of its old name: no signal, and nothing foretold.
func TestNothingOfTheOldName(t *testing.T) {
	t.Parallel()
	service := benchService(1)
	named := func(name string) sense.Objective {
		return sense.Objective{Name: name, Service: service, Expr: `queue > 500`, Code: grace.CodeCapacity}
	}
	l, tick := watching(t, named("old"))
	trendWasRight(l)
	cfg := l.stages.Load().Config
	cfg.PredictEvery = 0
	cfg.Govern.PredictiveShadow = false
	reload := func(change func()) {
		t.Helper()
		change()
		if err := l.Reconfigure(t.Context(), cfg, "test"); err != nil {
			t.Fatal(err)
		}
	}
	reload(func() {})
	measure := func(n int, value func(i int) float64) {
		t.Helper()
		for i := range n {
			for range 5 {
				tick()
			}
			push(t, l, map[string]float64{fmt.Sprintf("queue{service=%s}", service): value(i)})
			tick()
			if err := l.flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	known := func() string {
		var out []string
		for _, s := range l.mirror.allSignals() {
			if s.Service == service {
				out = append(out, string(s.Key))
			}
		}
		for _, p := range l.mirror.current(l.Now(), l.stages.Load().rules.PredictionsFresh()) {
			out = append(out, string(p.Key)+" foretold")
		}
		return strings.Join(out, ", ")
	}
	measure(60, func(i int) float64 { return 200 + 4*float64(i) })
	s := string(service)
	if got, want := known(), s+"/objective/old, "+s+"/predict/old/capacity foretold"; got != want {
		t.Fatalf("before: %s, want %s", got, want)
	}
	reload(func() { cfg.Objectives = []sense.Objective{named("new")} })
	measure(3, func(int) float64 { return 440 })
	if got, want := known(), s+"/objective/new"; got != want {
		t.Errorf("renamed: %s, want %s", got, want)
	}
	open, _, err := l.Store.Predictions(t.Context(), l.Store.Q(), store.PredictionFilter{Outcome: grace.PredictionOpen}, store.Page{Limit: 10})
	if err != nil || slices.ContainsFunc(open, func(p grace.Prediction) bool { return p.Metric == "old" }) {
		t.Errorf("renamed: open are %+v, %v", open, err)
	}
	measure(20, func(int) float64 { return 600 })
	if got := stateOf(l, grace.SignalKey(service)+"/objective/new"); got != grace.SignalFiring {
		t.Errorf("the new objective does not judge what is open: %q", got)
	}
	reload(func() { cfg.Objectives = nil })
	measure(20, func(int) float64 { return 600 })
	if got := known(); got != "" {
		t.Errorf("removed: %s", got)
	}
}

// Values that are no numbers, among others and by whatever way they come, leave what is
// judged and what is foretold usable.
func TestNotANumber(t *testing.T) {
	t.Parallel()
	service := benchService(1)
	for name, absurd := range map[string]float64{"NaN": math.NaN(), "+Inf": math.Inf(1), "-Inf": math.Inf(-1)} {
		for _, way := range []string{"pushed", "measured"} {
			l, tick := watching(t, sense.Objective{Name: "queue", Service: service, Expr: `queue > 500`, Code: grace.CodeCapacity})
			trendWasRight(l)
			foretold := false
			for i := range 100 {
				v := 200 + 4*float64(i)
				if i < 90 && i%8 == 7 {
					v = absurd
				}
				for range 5 {
					tick()
				}
				if way == "pushed" {
					push(t, l, map[string]float64{fmt.Sprintf("queue{service=%s}", service): v})
				} else {
					_ = l.Observe(t.Context(), grace.Sample{Service: service, Sensor: "s", Metric: "queue", Kind: grace.SampleMetric, Value: v, At: l.Now()}) // it may refuse the absurd
				}
				tick()
				for _, p := range l.predict.Evaluate(l.Now()).Published {
					foretold = true
					if p.Value > 600 || p.Likelihood > 1 {
						t.Errorf("%s, %s: %+v", name, way, p)
					}
				}
			}
			if got := stateOf(l, grace.SignalKey(service)+"/objective/queue"); got != grace.SignalFiring || !foretold {
				t.Errorf("%s, %s: %q, foretold %v", name, way, got, foretold)
			}
		}
	}
}

// While the clock is ahead, and after it was set back, what is measured is foretold, and
// what is kept of it is not forgotten for its age.
func TestForetoldOverAClockStep(t *testing.T) {
	t.Parallel()
	service := benchService(1)
	for _, ahead := range []time.Duration{5 * time.Minute, time.Hour, 100 * 24 * time.Hour} {
		l, tick := watching(t, sense.Objective{Name: "queue", Service: service, Expr: `queue > 500`, Code: grace.CodeCapacity})
		right, began, step := l.Now, l.Now(), time.Duration(0)
		l.Elapsed = func() time.Duration { return right().Sub(began) }
		l.Now = func() time.Time { return right().Add(step) }
		trendWasRight(l)
		measure := func(n int, value func(i int) float64) (said int) {
			for i := range n {
				for range 5 {
					tick()
				}
				push(t, l, map[string]float64{fmt.Sprintf("queue{service=%s}", service): value(i)})
				tick()
				for _, p := range l.predict.Evaluate(l.Now()).Published {
					said++
					if p.Made.After(l.Now()) || p.BreachAt.After(l.Now().Add(time.Hour)) {
						t.Errorf("ahead by %s: foretold of the future: %+v", ahead, p)
					}
				}
				if _, err := l.sweep(t.Context(), l.Now()); err != nil {
					t.Fatal(err)
				}
			}
			return said
		}
		calm := func(i int) float64 { return 200 + float64(i%5) }
		measure(50, calm)
		step = ahead
		measure(5, calm)
		if _, known := l.measured(service, "queue"); !known || l.predict.Len() != 1 {
			t.Errorf("ahead by %s: %d series are left", ahead, l.predict.Len())
		}
		step = 0
		measure(50, calm)
		if measure(50, func(i int) float64 { return 200 + 5*float64(i) }) == 0 {
			t.Errorf("ahead by %s: nothing is foretold after it was set back", ahead)
		}
	}
}
