package sense

import (
	"cmp"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"grace"
)

var start = time.Date(2026, 3, 1, 14, 15, 0, 0, time.UTC)

func at(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }

func seconds(n int) grace.Duration { return grace.Duration(time.Duration(n) * time.Second) }

func probeAt(sec int, value float64) grace.Sample {
	s := grace.Sample{
		Service: "cart", Sensor: "http", Metric: "http_health", Kind: grace.SampleProbe,
		Value: value, At: at(sec),
	}
	if value == 0 {
		s.Message = "connection refused"
	}
	return s
}

func metricAt(sec int, value float64) grace.Sample {
	return grace.Sample{
		Service: "cart", Sensor: "prom", Metric: "latency_p99_ms", Kind: grace.SampleMetric,
		Value: value, At: at(sec),
	}
}

func alertAt(sec int, fingerprint string, resolved bool) grace.Sample {
	return grace.Sample{
		Service: "cart", Sensor: "alertmanager", Metric: "HighLatency", Kind: grace.SampleAlert,
		Code: grace.CodeLatencySpike, Severity: grace.SeverityWarning, Message: "p99 above 1s",
		Fingerprint: fingerprint, Resolved: resolved, At: at(sec),
	}
}

func slow() Objective {
	return Objective{
		Name: "slow", Service: "cart", Expr: `latency_p99_ms{service="cart"} > 500`,
		Code: grace.CodeLatencySpike, Severity: grace.SeverityWarning, Unit: "ms",
	}
}

// play feeds samples every step seconds, "_" being none, with a Tick after
// each, and writes what changed: "10 firing".
func play(a *house, step int, series string, sample func(sec int, v float64) grace.Sample) string {
	var out []string
	for i, field := range strings.Fields(series) {
		sec := i * step
		var changed []grace.Signal
		if field != "_" {
			var v float64
			if _, err := fmt.Sscan(field, &v); err != nil {
				panic(err)
			}
			changed = a.Observe(sample(sec, v))
		}
		changed = append(changed, a.Tick(at(sec))...)
		for _, s := range changed {
			word := cmp.Or(string(s.State), "unknown")
			if s.Flapping {
				word += "(flapping)"
			}
			if s.Passing {
				word += "(passing)"
			}
			out = append(out, fmt.Sprint(sec, " ", word))
		}
	}
	return strings.Join(out, ", ")
}

func TestProbe(t *testing.T) {
	tests := []struct {
		name, series, want string
	}{
		{"first pass is ok", "1", "0 ok"},
		{"one failure is not enough", "1 0 1 0 1", "0 ok"},
		{"two failures fire", "1 0 0 0", "0 ok, 20 firing"},
		{"one failure at first is unknown", "0", ""},
		{"two failures at first fire", "0 0", "10 firing"},
		{"two passes recover", "0 0 1 0 1 1 1", "10 firing, 20 firing(passing), 30 firing, 40 firing(passing), 50 ok"},
		{"silence is stale", "1 _ _ _ _ _ _ _ _", "0 ok, 70 stale"},
		{"silence while firing is stale", "0 0 _ _ _ _ _ _ _ _", "10 firing, 80 stale"},
		{"never heard of is nothing", "_ _ _ _ _ _ _ _ _", ""},
		{"ok must be earned after silence", "1 _ _ _ _ _ _ _ 0 0", "0 ok, 70 stale, 80 unknown, 90 firing"},
		{"a pass after silence", "1 _ _ _ _ _ _ _ 1", "0 ok, 70 stale, 80 ok"},
		{"firing survives silence", "0 0 _ _ _ _ _ _ _ 1 1", "10 firing, 80 stale, 90 firing(passing), 100 ok"},
		{"silence breaks a streak", "1 0 _ _ _ _ _ _ _ 0 1", "0 ok, 80 stale, 90 unknown, 100 ok"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := play(newHouse(DefaultConfig(), nil), 10, tt.series, probeAt); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestObjective(t *testing.T) {
	with := func(change func(*Objective)) Objective {
		o := slow()
		change(&o)
		return o
	}
	tests := []struct {
		name         string
		objective    Objective
		series, want string
	}{
		{"fires and recovers", slow(), "100 600 600 600 100 100", "0 ok, 20 firing, 40 firing(passing), 50 ok"},
		{"one breach is not enough", slow(), "100 600 100 600 100", "0 ok"},
		{"at the threshold", slow(), "500 500 500", "0 ok"},
		{"at the threshold of >=", with(func(o *Objective) { o.Expr = `latency_p99_ms >= 500` }), "500 500", "10 firing"},
		{"below", with(func(o *Objective) { o.Expr = `latency_p99_ms < 500` }), "600 100 100", "0 ok, 20 firing"},
		{"for holds it back", with(func(o *Objective) { o.For = seconds(25) }), "100 600 600 600 600", "0 ok, 40 firing"},
		{"for runs out between samples", with(func(o *Objective) { o.For = seconds(25) }), "600 600 _ _", "10 unknown, 30 firing"},
		{"for starts anew", with(func(o *Objective) { o.For = seconds(15) }), "600 600 100 600 600 600", "10 unknown, 20 ok, 50 firing"},
		{
			"average of a window", with(func(o *Objective) { o.Expr = `avg_over_time(latency_p99_ms[30s]) > 500` }),
			"100 800 800 800 100 100 100", "10 ok, 30 firing, 50 firing(passing), 60 ok",
		},
		{
			"rate with a counter reset", with(func(o *Objective) { o.Expr = `rate(latency_p99_ms[25s]) > 5` }),
			"1000 1001 1002 3 60 160 260", "10 ok, 60 firing",
		},
		{"no data", slow(), "_ _ _", ""},
		{"data stops", slow(), "600 600 _ _ _ _ _ _ _", "10 firing, 80 stale"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.objective.Validate(); err != nil {
				t.Fatal(err)
			}
			got := play(newHouse(DefaultConfig(), []Objective{tt.objective}), 10, tt.series, metricAt)
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestSlowSensorIsNotStale(t *testing.T) {
	a := newHouse(DefaultConfig(), nil)
	// Every 90 s: twice that is allowed, and a hole is stale, but
	// is not taken for a new interval.
	got := play(a, 30, "1 _ _ 1 _ _ 1 _ _ 1 _ _ 1 _ _ _ _ _ _ _ 1 _ _ _ _ _ _ _ _", probeAt)
	if want := "0 ok, 570 stale, 600 ok, 810 stale"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// What is looked at every 5 minutes is not stale in between, neither before two
// gaps have been seen nor after a step of the clock, if its interval is known.
func TestConfiguredInterval(t *testing.T) {
	o := slow()
	o.Interval = 5 * time.Minute
	a := newHouse(DefaultConfig(), []Objective{o})
	a.Expect([]Probe{{Service: "cart", Sensor: "http", Metric: "http_health", Interval: 5 * time.Minute}})
	for sec := 0; sec <= 3600; sec += 30 {
		if sec%300 == 0 {
			a.Observe(probeAt(sec, 1))
			a.Observe(metricAt(sec, 100))
		}
		if sec == 900 {
			a.ClockStepped(at(sec), time.Hour)
		}
		a.Tick(at(sec))
		for _, s := range a.Signals() {
			if s.State != grace.SignalOK {
				t.Fatalf("%s is %s after %d s", s.Key, s.State, sec)
			}
		}
	}
	a.Tick(at(3600 + 601))
	for _, s := range a.Signals() {
		if s.State != grace.SignalStale {
			t.Errorf("%s is %s without data for two intervals", s.Key, s.State)
		}
	}
}

// What is pushed every 5 minutes is not stale the moment the clock is set.
func TestGapsOverAStep(t *testing.T) {
	a := newHouse(DefaultConfig(), nil)
	for sec := 0; sec <= 900; sec += 300 {
		a.Observe(probeAt(sec, 1))
	}
	a.ClockStepped(at(900+183), 3*time.Second)
	if got := a.Tick(at(900 + 184)); len(got) != 0 {
		t.Errorf("3 minutes after a sample: %+v", got)
	}
	if got := a.Tick(at(900 + 604)); len(got) != 1 || got[0].State != grace.SignalStale {
		t.Errorf("without data for two gaps: %+v", got)
	}
}

func TestFlapping(t *testing.T) {
	cfg := DefaultConfig()
	cfg.FailAfter, cfg.RecoverAfter, cfg.FlapTransitions, cfg.FlapWindow = 1, 1, 4, seconds(160)
	a := newHouse(cfg, nil)
	got := play(a, 10, "1 0 1 0 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", probeAt)
	want := "0 ok, 10 firing, 20 ok, 30 firing, 40 unstable(flapping), 180 ok"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}

	// Never two failures in a row, however rarely it is looked at.
	for _, every := range []int{10, 30, 45, 60, 300} {
		got := play(newHouse(DefaultConfig(), nil), every, strings.Repeat("1 1 0 ", 14), probeAt)
		if want := fmt.Sprintf("0 ok, %d unstable(flapping)", 18*every); !strings.HasPrefix(got, want) {
			t.Errorf("every %d s one of three fails: %s, want %s", every, got, want)
		}
	}
	got = play(newHouse(DefaultConfig(), nil), 10, "1 0 1 0 1 0 1 0 1 0 1 0 1 1 0 0", probeAt)
	if want := "0 ok, 120 unstable(flapping), 150 firing(flapping)"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	cfg.FlapTransitions = 0
	if got := play(newHouse(cfg, nil), 10, "1 0 1 0 1", probeAt); strings.Contains(got, "flapping") {
		t.Errorf("damping is off, but %s", got)
	}
}

func TestAlert(t *testing.T) {
	a := newHouse(DefaultConfig(), nil)
	one := a.Observe(alertAt(0, "f1", false))
	if len(one) != 1 || one[0].State != grace.SignalFiring || one[0].Key != "cart/alertmanager/HighLatency/f1" ||
		one[0].Code != grace.CodeLatencySpike || one[0].Message != "HighLatency firing: p99 above 1s" {
		t.Fatalf("got %+v", one)
	}
	if again := a.Observe(alertAt(10, "f1", false)); again != nil {
		t.Errorf("repeated: %+v", again)
	}
	worse := alertAt(20, "f1", false)
	worse.Severity = grace.SeverityCritical
	if got := a.Observe(worse); len(got) != 1 || got[0].Severity != grace.SeverityCritical {
		t.Errorf("a worse severity is a change: %+v", got)
	}
	if got := a.Observe(alertAt(5, "f1", true)); got != nil {
		t.Errorf("late: %+v", got)
	}
	if got := a.Observe(alertAt(20, "f2", false)); len(got) != 1 {
		t.Errorf("another fingerprint: %+v", got)
	}
	if got := a.Observe(alertAt(30, "f1", true)); len(got) != 1 || got[0].State != grace.SignalOK {
		t.Errorf("resolved: %+v", got)
	}
	later := at(20).Add(5*time.Hour + time.Second)
	got := a.Tick(later)
	if len(got) != 2 || !got[0].Gone || got[1].State != grace.SignalStale || got[1].Key != "cart/alertmanager/HighLatency/f2" {
		t.Errorf("one is long resolved, the other not sent again: %+v", got)
	}
	if len(a.Signals()) != 1 {
		t.Errorf("the resolved alert is still known: %+v", a.Signals())
	}
	got = a.Tick(later.Add(6 * time.Hour))
	if len(got) != 1 || !got[0].Gone || len(a.Signals()) != 0 {
		t.Errorf("forgotten: %+v, left %+v", got, a.Signals())
	}
}

func TestMessages(t *testing.T) {
	withFor := slow()
	withFor.For = seconds(10)
	share := slow()
	share.Name, share.Expr, share.Unit = "share", `quantile_over_time(0.95, latency_p99_ms[1m]) > 2.345`, "%"
	tests := []struct {
		name      string
		objective *Objective
		samples   []grace.Sample
		tick      int
		want      string
	}{
		{"objective", &withFor, []grace.Sample{metricAt(0, 600), metricAt(10, 812.4)}, 10, "latency_p99_ms 812 ms > 500 ms for 10s"},
		{"objective ok", &withFor, []grace.Sample{metricAt(0, 0.25)}, 0, "latency_p99_ms 250 µs <= 500 ms"},
		{"window", &share, []grace.Sample{metricAt(0, 9), metricAt(10, 9.876), metricAt(20, 9.876)}, 20, "share 9.88 % > 2.35 %"},
		{"no data", &withFor, nil, 0, "latency_p99_ms: no data yet"},
		{"stale", &withFor, []grace.Sample{metricAt(3, 9)}, 90, "latency_p99_ms: no data since 14:15:03 UTC"},
		{"probe", nil, []grace.Sample{probeAt(0, 0), probeAt(1, 0)}, 1, "http_health failed 2 times: connection refused"},
		{"probe goes on failing", nil, []grace.Sample{probeAt(0, 0), probeAt(1, 0), probeAt(2, 0)}, 2, "http_health failed 3 times: connection refused"},
		{"probe recovers", nil, []grace.Sample{probeAt(0, 0), probeAt(1, 0), probeAt(2, 1)}, 2, "http_health passed 1 time, ok after 2"},
		{"probe ok", nil, []grace.Sample{probeAt(0, 1)}, 1, "http_health passed"},
		{"alert", nil, []grace.Sample{alertAt(0, "", true)}, 1, "HighLatency resolved: p99 above 1s"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var objectives []Objective
			if tt.objective != nil {
				objectives = append(objectives, *tt.objective)
			}
			a := newHouse(DefaultConfig(), objectives)
			for _, s := range tt.samples {
				a.Observe(s)
			}
			a.Tick(at(tt.tick))
			if got := a.Signals()[0].Message; got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestSamplesThatAreNone(t *testing.T) {
	a := newHouse(DefaultConfig(), []Objective{slow()})
	bad := []grace.Sample{
		metricAt(0, math.NaN()), metricAt(1, math.Inf(1)), probeAt(2, math.NaN()),
		{},
		{Service: "cart", Metric: "m", Kind: "gossip", At: at(0)},
		{Service: "cart", Metric: "m", Kind: grace.SampleMetric},
	}
	for _, s := range bad {
		if got := a.Observe(s); got != nil {
			t.Errorf("%+v changed %+v", s, got)
		}
	}
	if got := a.Signals(); len(got) != 1 || got[0].State != grace.SignalUnknown || got[0].Key != "cart/objective/slow" {
		t.Errorf("got %+v", got)
	}
}

func TestDuplicatesAndLateSamples(t *testing.T) {
	a := newHouse(DefaultConfig(), []Objective{slow()})
	for _, s := range []grace.Sample{metricAt(10, 600), metricAt(10, 600), metricAt(10, 700)} {
		a.Observe(s)
	}
	if got := a.Signals()[0]; got.State != grace.SignalUnknown {
		t.Errorf("one sample sent thrice fires: %+v", got)
	}
	a.Observe(metricAt(20, 700))
	late := []grace.Sample{metricAt(5, 1), metricAt(15, 2), metricAt(15, 3)}
	for _, s := range late {
		if got := a.Observe(s); got != nil {
			t.Errorf("late sample changed %+v", got)
		}
	}
	if got := a.Signals()[0]; got.State != grace.SignalFiring || !got.At.Equal(at(20)) || got.Value != 700 {
		t.Errorf("got %+v", got)
	}
}

func TestSensorsOfOneMetric(t *testing.T) {
	second := func(sec int, v float64) grace.Sample {
		s := metricAt(sec, v)
		s.Sensor = "prom2"
		return s
	}
	rate := slow()
	rate.Name, rate.Expr = "rate", `sum by (service) (rate(latency_p99_ms[1m])) > 100`
	a := newHouse(DefaultConfig(), []Objective{slow(), rate})
	for i := range 4 {
		a.Observe(metricAt(i*10, float64(1000+i*100))) // 10/s and far above 500
		a.Observe(second(i*10, float64(10+i*10)))      // 1/s and far below
	}
	got := a.Signals()
	if got[0].Value < 6 || got[0].Value > 7 || got[0].State != grace.SignalOK { // half of the window was seen
		t.Errorf("rates add up: %+v", got[0])
	}
	if got[1].Value != 1300 || got[1].State != grace.SignalFiring {
		t.Errorf("last is the worst: %+v", got[1])
	}

	a.Observe(second(40, 900))
	if got := a.Observe(metricAt(39, 50)); got != nil || a.Signals()[1].Value != 1300 {
		t.Errorf("a sensor that lags changed %+v", got)
	}
	a.Observe(second(50, 900))
	for i := range 4 { // only the second one is left
		a.Observe(second(60+i*10, 10))
	}
	if got := a.Signals()[1]; got.Value != 50 || got.State != grace.SignalOK {
		t.Errorf("the first one's newest value is 50 at 39 s: %+v", got)
	}
	a.Observe(second(100, 0))
	if got := a.Signals()[1]; got.Value != 0 {
		t.Errorf("a sensor without data for a minute has a say: %+v", got)
	}
}

// A probe that fails every second time is unstable however rarely it looks.
func TestSlowProbeThatFailsEverySecondTime(t *testing.T) {
	for _, every := range []int{5, 60, 300} {
		a := newHouse(DefaultConfig(), nil)
		for i := range 16 {
			a.Observe(probeAt(i*every, float64(i%2)))
		}
		if got := a.Signals()[0]; got.State != grace.SignalUnstable {
			t.Errorf("every %d s: %s", every, got.State)
		}
	}
}

// One sensor that cannot look hides nothing that another one measures.
func TestErrorOfOneOfTwoSensors(t *testing.T) {
	a := newHouse(DefaultConfig(), []Objective{slow()})
	other := func(i int) grace.Sample {
		s := metricAt(i, 900)
		s.Sensor = "second"
		return s
	}
	for i := range 4 {
		a.Observe(metricAt(i*10, 900))
		a.Observe(other(i*10 + 5))
	}
	failed := grace.Sample{Service: "cart", Sensor: "second", Metric: metricAt(0, 0).Metric, Kind: grace.SampleSensorError, At: at(36), Message: "refused"}
	if changed := a.Observe(failed); len(changed) != 0 {
		t.Errorf("%+v", changed)
	}
	failed.At = at(200) // the first one is silent too by now
	if changed := a.Observe(failed); len(changed) != 1 || changed[0].State != grace.SignalStale {
		t.Errorf("nobody measures it: %+v", changed)
	}
}
