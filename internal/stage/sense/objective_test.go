package sense

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"grace"
	"grace/internal/series"
)

// of gives a sample of a pod of a service.
func of(service grace.ServiceID, pod string, sec int, value float64) grace.Sample {
	return grace.Sample{
		Service: service, Sensor: "prom", Metric: "lag", Kind: grace.SampleMetric, Value: value, At: at(sec), Labels: map[string]string{"pod": pod},
	}
}

func lagging(change func(*Objective)) *house {
	o := Objective{Name: "lag", Expr: "lag > 10", Code: grace.CodeLatencySpike, Severity: grace.SeverityCritical, Unit: "s"}
	if change != nil {
		change(&o)
	}
	return newHouse(DefaultConfig(), []Objective{o})
}

// states writes what is known: "cart=ok web=firing".
func states(a *house) string {
	var out []string
	for _, s := range a.Signals() {
		out = append(out, fmt.Sprintf("%s=%s", s.Service, s.State))
	}
	return strings.Join(out, " ")
}

// An objective without a service has a signal of each that its elements name, keeps
// them over a restart, and forgets them with their data.
func TestServicesByLabel(t *testing.T) {
	a := lagging(nil)
	for i := range 3 {
		a.Observe(of("cart", "c-1", 10*i, 1))
		a.Observe(of("web", "w-1", 10*i, 20))
	}
	if got := states(a); got != "cart=ok web=firing" {
		t.Fatal(got)
	}
	again := lagging(nil)
	if gone := again.Restore(a.Signals(), at(30)); len(gone) != 0 {
		t.Errorf("gone by a restart: %+v", gone)
	}
	if s, _ := again.Signal("web/objective/lag"); s.State != grace.SignalFiring || !s.Unconfirmed {
		t.Errorf("restored: %+v", s)
	}
	again.Observe(of("web", "w-1", 40, 20))
	if s, _ := again.Signal("web/objective/lag"); s.State != grace.SignalFiring || s.Unconfirmed {
		t.Errorf("seen again: %+v", s)
	}
	again.Tick(at(140))
	again.Tick(at(300))
	gone := again.Tick(at(40 + 6*3600))
	if len(gone) != 2 || !gone[0].Gone || gone[0].Lost || !gone[1].Lost {
		t.Errorf("forgotten: %+v", gone)
	}
	if got := states(again); got != "" {
		t.Errorf("left: %s", got)
	}
}

// TestPending: what fails, and has not for as long as its objective asks for, is seen,
// and is said once, also where it has never passed. Without data any more it is stale.
func TestPending(t *testing.T) {
	o := slow()
	o.For = seconds(600)
	a := newHouse(DefaultConfig(), []Objective{o})
	pends := func(sec int, want string) {
		t.Helper()
		got := a.Observe(metricAt(sec, 600))
		if s := a.Signals()[0]; s.State != grace.SignalUnknown || s.FailingSince.IsZero() != (want == "") || want != "" && (len(got) != 1 || s.Message != want) || want == "" && len(got) != 0 {
			t.Errorf("at %d: %+v, changed %+v", sec, s, got)
		}
	}
	pends(0, "")
	pends(10, "latency_p99_ms 600 ms > 500 ms, fires after 10m")
	if got := a.Observe(metricAt(20, 600)); len(got) != 0 {
		t.Errorf("said again: %+v", got)
	}
	if got := a.Tick(at(90)); len(got) != 1 || got[0].State != grace.SignalStale || !got[0].FailingSince.IsZero() {
		t.Fatalf("no data any more: %+v", got)
	}
	a.Observe(metricAt(100, 600))
	pends(110, "latency_p99_ms 600 ms > 500 ms, fires after 10m")
	a.Observe(metricAt(120, 1))
	if s := a.Signals()[0]; s.State != grace.SignalOK || !s.FailingSince.IsZero() {
		t.Errorf("passed: %+v", s)
	}
}

// Each element must fail for long enough by itself: pods that fail by turns do not make
// a service that does.
func TestElementsFailByThemselves(t *testing.T) {
	a := lagging(func(o *Objective) { o.For = seconds(25) })
	for i := range 20 {
		a.Observe(of("web", "w-1", 10*i, []float64{20, 1}[i%2]))
		a.Observe(of("web", "w-2", 10*i+5, []float64{1, 20}[i%2]))
		a.Tick(at(10*i + 5))
	}
	if got := states(a); got != "web=ok" {
		t.Errorf("by turns: %s", got)
	}
	for i := range 4 {
		a.Observe(of("web", "w-1", 200+10*i, 1))
		a.Observe(of("web", "w-2", 205+10*i, 20))
		a.Tick(at(205 + 10*i))
	}
	s := a.Signals()[0]
	if s.State != grace.SignalFiring || s.Labels["pod"] != "w-2" || s.Message != `lag 20 s > 10 s, 1 of 2 series, the worst {pod="w-2"} for 25s` {
		t.Errorf("one of them all the time: %+v", s)
	}
}

// What fires and is not measured any more is stale until nobody waits for it, whatever others
// say; what ended has no say at once.
func TestDeadElement(t *testing.T) {
	for name, ended := range map[string]bool{"silent": false, "ended": true} {
		t.Run(name, func(t *testing.T) {
			a := lagging(nil)
			for i := range 3 {
				a.Observe(of("web", "w-1", 10*i, 20))
				a.Observe(of("web", "w-2", 10*i, 1))
			}
			if got := states(a); got != "web=firing" {
				t.Fatal(got)
			}
			if ended {
				a.db.Observe(of("web", "w-1", 25, math.Float64frombits(0x7ff0000000000002)))
			}
			over := 0
			for sec := 30; over == 0 && sec < 600; sec += 10 {
				a.Observe(of("web", "w-2", sec, 1))
				a.Tick(at(sec))
				switch s := a.Signals()[0]; {
				case s.State == grace.SignalOK:
					over = sec
				case sec > 80 && s.State == grace.SignalFiring && !s.Passing && !s.Unconfirmed:
					t.Errorf("after %d s it is a reason to act: %s", sec, s.Message)
				case sec == 200 && (s.State != grace.SignalStale || s.Message != `lag: not all of it seen since 14:16:20 UTC: lag{pod="w-1"} was measured last at 14:15:20`):
					t.Errorf("after %d s: %s, %s", sec, s.State, s.Message)
				}
			}
			if want := map[bool]int{true: 40, false: 330}[ended]; over != want { // two passes; after five minutes of silence
				t.Errorf("over after %d s, want %d", over, want)
			}
		})
	}
}

// Of what does not compare only what fails is seen: it passes when something else is
// measured, and it is not there.
func TestConditionWithoutComparison(t *testing.T) {
	a := newHouse(DefaultConfig(), []Objective{{
		Name: "both", Service: "web", Expr: `lag{service="web"} > 10 and on() load > 5`, Code: grace.CodeCapacity,
	}})
	load := func(sec int, v float64) grace.Sample {
		return grace.Sample{Service: "web", Sensor: "prom", Metric: "load", Kind: grace.SampleMetric, Value: v, At: at(sec)}
	}
	var got []string
	for i, v := range []float64{1, 1, 9, 9, 9, 1, 1, 1} {
		a.Observe(load(10*i, v))
		a.Observe(of("web", "w-1", 10*i, 20))
		got = append(got, string(a.Signals()[0].State))
	}
	if want := []string{"ok", "ok", "ok", "firing", "firing", "firing", "ok", "ok"}; !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// That something is absent is told, and is no evidence to act by.
func TestAbsentIsNoEvidence(t *testing.T) {
	a := newHouse(DefaultConfig(), []Objective{{Name: "gone", Service: "web", Expr: `absent(lag{service="web"})`, Code: grace.CodeServiceDown}})
	a.Restore(nil, at(0))
	for sec := 10; sec <= 40; sec += 10 {
		a.judge(at(sec))
	}
	if s := a.Signals()[0]; s.State != grace.SignalFiring || !s.Unconfirmed {
		t.Errorf("absent: %+v", s)
	}
	a.Observe(of("web", "w-1", 50, 1))
	a.Observe(of("web", "w-1", 60, 1))
	if s := a.Signals()[0]; s.State != grace.SignalOK || s.Unconfirmed {
		t.Errorf("there: %+v", s)
	}
}

// What cannot be evaluated is stale, with the reason, for GRACE too: it may have found
// no service yet.
func TestNotEvaluated(t *testing.T) {
	a := lagging(nil)
	for i, want := range []string{"core=stale", "core=stale web=stale"} {
		got := a.Failed("/lag", at(10+20*i), "many-to-many matching")
		if len(got) == 0 || got[0].State != grace.SignalStale || got[0].Message != "lag: sensor error: many-to-many matching" {
			t.Errorf("%+v", got)
		}
		if got := states(a); got != want {
			t.Errorf("%s, want %s", got, want)
		}
		changed := a.Observe(of("web", "w-1", 20+20*i, 1))
		if !slices.ContainsFunc(changed, func(s grace.Signal) bool { return s.Service == grace.CoreService && s.Gone && !s.Lost }) {
			t.Errorf("evaluated again: %+v", changed)
		}
		if got := states(a); got != "web=ok" {
			t.Errorf("evaluated again: %s", got)
		}
	}
}

// What could not be evaluated before a start is told of until that is known to be over: a
// source that is back may find nothing at all.
func TestNotEvaluatedBeforeAStart(t *testing.T) {
	for _, again := range []bool{false, true} {
		before := lagging(nil)
		before.Failed("/lag", at(10), "away")
		a := lagging(nil)
		a.Restore(before.Signals(), at(20))
		if again {
			a.Failed("/lag", at(30), "away")
		}
		var gone []grace.Signal
		for sec := 21; sec < 600; sec += 10 {
			gone = append(gone, a.Tick(at(sec))...)
			if got := states(a); sec < 60 && got != "core=stale" {
				t.Fatalf("after %d s: %s", sec, got)
			}
		}
		if got := states(a); again != (got == "core=stale") || !again && (len(gone) == 0 || !gone[len(gone)-1].Gone) {
			t.Errorf("fails again %t: %q, %+v", again, got, gone)
		}
	}
}

// A rule is told of in its own words, and goes on firing for as long as it says; what is
// nobody's says so.
func TestRule(t *testing.T) {
	a := lagging(func(o *Objective) {
		o.Labels = map[string]string{"alertname": "Lag"}
		o.Text = "{{ $labels.pod }} lags by\n{{ $value | humanizeDuration }}"
		o.KeepFiring = grace.Duration(60e9)
	})
	a.Observe(of("web", "w-1", 0, 20))
	a.Observe(of("web", "w-1", 10, 90))
	s, _ := a.Signal("web/objective/lag")
	if s.State != grace.SignalFiring || s.Message != "w-1 lags by 1m 30s (lag 90 s > 10 s)" {
		t.Fatalf("%+v", s)
	}
	for sec := 20; sec < 70; sec += 10 {
		a.Observe(of("web", "w-1", sec, 1))
		if s, _ = a.Signal("web/objective/lag"); s.State != grace.SignalFiring || !s.Passing || strings.Contains(s.Message, "lags") {
			t.Fatalf("after %d s: %+v", sec, s)
		}
	}
	a.Observe(of("web", "w-1", 70, 1))
	if s, _ = a.Signal("web/objective/lag"); s.State != grace.SignalOK {
		t.Errorf("a minute after the last failure: %+v", s)
	}
	a.Observe(of(grace.CoreService, "w-1", 70, 1))
	if s, _ = a.Signal("core/objective/lag"); !strings.Contains(s.Message, "rules.map") {
		t.Errorf("%q", s.Message)
	}
	for _, o := range []Objective{{Text: "{{ nothing }}"}, {KeepFiring: -1}} {
		o.Name, o.Expr, o.Code = "x", "x > 1", "y"
		if o.Validate() == nil {
			t.Errorf("%+v passes", o)
		}
	}
}

// What a rule no longer finds passes by what was measured of the same service, also of a
// pod that is new, and not by what is measured of others.
func TestRuleWithoutElements(t *testing.T) {
	a := lagging(func(o *Objective) {
		o.Labels, o.Expr, o.Resolve = map[string]string{"alertname": "Lag"}, `lag > 10 and lag < 1000`, []string{"app", "service"}
	})
	for sec := 0; sec < 50; sec += 10 {
		a.Observe(of("web", "w-1", sec, 20))
		a.Observe(of("cart", "c-1", sec, 1))
	}
	key := grace.SignalKey("web/objective/lag")
	if s, _ := a.Signal(key); s.State != grace.SignalFiring {
		t.Fatalf("%+v", s)
	}
	for sec := 50; sec < 100; sec += 10 {
		a.Observe(of("cart", "c-1", sec, 1))
	}
	if s, _ := a.Signal(key); s.State == grace.SignalOK {
		t.Errorf("others are measured: %+v", s)
	}
	for sec := 400; sec < 430; sec += 10 { // what is not measured any more stands for 5 minutes
		a.Observe(of("web", "w-2", sec, 1))
	}
	if s, _ := a.Signal(key); s.State != grace.SignalOK {
		t.Errorf("it is measured, and passes: %+v", s)
	}
}

// What is compared may not be there where all is well: then it passes by what was measured.
func TestSparseComparison(t *testing.T) {
	for _, expr := range []string{`(lag > 10) < 1000`, `count by (service) (lag > 10) > 0`, `(lag > 10) == 20`} {
		a := lagging(func(o *Objective) { o.Expr = expr })
		for sec := 0; sec < 50; sec += 10 {
			a.Observe(of("web", "w-1", sec, 20))
		}
		if s, _ := a.Signal("web/objective/lag"); s.State != grace.SignalFiring {
			t.Fatalf("%s: %+v", expr, s)
		}
		for sec := 50; sec < 80; sec += 10 {
			a.Observe(of("web", "w-1", sec, 1))
		}
		if s, _ := a.Signal("web/objective/lag"); s.State != grace.SignalOK || s.Unconfirmed {
			t.Errorf("%s, well again: %+v", expr, s)
		}
	}
}

// What rests on series that have ended does not pass, whatever the engine makes of the
// range before their end.
func TestEndedDoesNotPass(t *testing.T) {
	a := lagging(func(o *Objective) { o.Expr = `max by (service) (max_over_time(lag[1m])) > 10` })
	for sec := 0; sec <= 20; sec += 10 {
		a.Observe(of("web", "w-1", sec, 20))
	}
	a.Observe(of("web", "w-1", 81, 1))
	var key []byte
	for _, l := range [][2]string{{"__name__", "lag"}, {"job", "prom"}, {"pod", "w-1"}, {"service", "web"}} {
		key = series.AppendLabel(key, l[0], l[1])
	}
	b := a.db.Begin(series.From{Sensor: "prom", Source: "prom", History: true})
	if !b.Append(key, series.Meta{}, series.Sample{At: at(82).UnixMilli(), Value: math.Float64frombits(0x7ff0000000000002)}) {
		t.Fatal("it is another series")
	}
	b.End()
	for sec := 90; sec < 130; sec += 10 {
		a.Observe(of("cart", "c-1", sec, 1))
	}
	if s, _ := a.Signal("web/objective/lag"); s.State == grace.SignalOK || s.At.After(at(81)) {
		t.Errorf("%+v", s)
	}
}

// TestNothingToCompare: without requests there is no share of them that failed. That is well
// while nothing fails, however long it lasts, and clears nothing that does.
func TestNothingToCompare(t *testing.T) {
	a := newHouse(DefaultConfig(), []Objective{{
		Name: "errors", Service: "cart", Expr: `rate_errors / rate_requests > 0.5`, Code: grace.CodeElevatedErrors, Severity: grace.SeverityCritical,
	}})
	sec := 0
	measure := func(n int, errors, requests float64) grace.SignalState {
		for range n {
			for i, metric := range []string{"rate_errors", "rate_requests"} {
				s := metricAt(sec, []float64{errors, requests}[i])
				s.Metric = metric
				a.Observe(s)
			}
			a.Tick(at(sec))
			sec += 10
		}
		return a.Signals()[0].State
	}
	for _, step := range []struct {
		when             string
		n                int
		errors, requests float64
		want             grace.SignalState
	}{
		{"no request since the start", 30, 0, 0, grace.SignalOK},
		{"requests", 30, 0, 5, grace.SignalOK},
		{"none any more", 30, 0, 0, grace.SignalOK},
		{"they fail", 3, 5, 5, grace.SignalFiring},
		{"none any more, and the last ones failed", 30, 0, 0, grace.SignalStale},
		{"well again", 3, 0, 5, grace.SignalOK},
	} {
		if got := measure(step.n, step.errors, step.requests); got != step.want {
			t.Errorf("%s: %q", step.when, got)
		}
	}
}
