package sense

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"grace"
)

func firing(a *house) string {
	var out []string
	for _, s := range a.Signals() {
		out = append(out, fmt.Sprintf("%s=%s", s.Key, s.State))
	}
	return strings.Join(out, " ")
}

func TestRestore(t *testing.T) {
	before := newHouse(DefaultConfig(), []Objective{slow()})
	for i := range 2 {
		before.Observe(probeAt(i, 0))
		before.Observe(metricAt(i, 900))
		before.Observe(alertAt(i, "f1", false))
	}
	all := before.Signals()

	a := newHouse(DefaultConfig(), []Objective{slow()})
	if gone := a.Restore(all, time.Time{}); len(gone) != 0 {
		t.Errorf("gone: %+v", gone)
	}
	for _, s := range a.Signals() {
		if !s.Unconfirmed {
			t.Errorf("%s passes for confirmed after a restart", s.Key)
		}
	}
	down := 600 // seconds without GRACE
	if got := a.Tick(at(down)); got != nil {
		t.Errorf("a restart changes nothing: %+v", got)
	}
	if diff := cmp.Diff(all[1].Since, a.Signals()[1].Since); diff != "" {
		t.Error(diff)
	}
	if got := a.Observe(probeAt(down+1, 1)); len(got) != 1 || got[0].State != grace.SignalFiring || !got[0].Passing || got[0].Unconfirmed {
		t.Errorf("one pass does not end it, and confirms: %+v", got)
	}
	if got := a.Observe(probeAt(down+2, 1)); len(got) != 1 || got[0].State != grace.SignalOK {
		t.Errorf("two passes do: %+v", got)
	}
	got := a.Tick(at(down + 61)) // nobody has measured the latency since
	if len(got) != 1 || got[0].State != grace.SignalStale || got[0].Key != "cart/objective/slow" {
		t.Errorf("got %+v", got)
	}
	want := "cart/alertmanager/HighLatency/f1=firing cart/http/http_health=ok cart/objective/slow=stale"
	if got := firing(a); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}

	other := newHouse(DefaultConfig(), nil)
	if gone := other.Restore(all, time.Time{}); len(gone) != 1 || !gone[0].Gone || gone[0].Key != "cart/objective/slow" {
		t.Errorf("gone: %+v", gone)
	}
	if got := firing(other); strings.Contains(got, "objective") {
		t.Errorf("a removed objective came back: %s", got)
	}
}

// A sensor that was renamed or removed while GRACE was down leaves no ghost;
// what others send is not configured, and stays.
func TestRestoreLeavesNoGhost(t *testing.T) {
	before := newHouse(DefaultConfig(), nil)
	before.Expect([]Probe{{Service: "cart", Sensor: "http", Metric: "http_health"}})
	before.Observe(probeAt(0, 0))
	before.Observe(probeAt(1, 0))
	before.Observe(alertAt(1, "f1", false))

	a := newHouse(DefaultConfig(), nil)
	a.Expect([]Probe{{Service: "cart", Sensor: "renamed", Metric: "http_health"}})
	gone := a.Restore(before.Signals(), time.Time{})
	if len(gone) != 1 || !gone[0].Gone || gone[0].Key != "cart/http/http_health" {
		t.Errorf("gone: %+v", gone)
	}
	if got, want := firing(a), "cart/alertmanager/HighLatency/f1=firing cart/renamed/http_health="; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestUnconfirm(t *testing.T) {
	a := newHouse(DefaultConfig(), nil)
	a.Observe(probeAt(0, 0))
	a.Observe(probeAt(1, 0))
	a.Observe(alertAt(1, "f1", false))
	got := a.Unconfirm(func(s grace.Signal, _ []string) bool { return s.Kind != grace.SignalAlert }, time.Time{})
	if len(got) != 1 || !got[0].Unconfirmed || got[0].State != grace.SignalFiring {
		t.Errorf("got %+v", got)
	}
	if again := a.Unconfirm(func(grace.Signal, []string) bool { return true }, time.Time{}); len(again) != 1 || again[0].Kind != grace.SignalAlert {
		t.Errorf("twice: %+v", again)
	}
	if got := a.Observe(probeAt(2, 0)); len(got) != 1 || got[0].Unconfirmed || got[0].State != grace.SignalFiring {
		t.Errorf("a sample confirms: %+v", got)
	}
}

// After the clock was ahead and is set right, new samples are not late.
func TestClockStepped(t *testing.T) {
	a := newHouse(DefaultConfig(), []Objective{slow()})
	ahead := 3600 * 24
	a.Observe(probeAt(ahead, 1))
	a.Observe(metricAt(ahead, 100))
	if got := a.ClockStepped(at(0), -time.Duration(ahead)*time.Second); len(got) != 0 {
		t.Errorf("what is ok need not be said anew: %+v", got)
	}
	if got := play(a, 10, "_ 0 0 0", probeAt); got != "20 firing" {
		t.Errorf("probe: %s", got)
	}
	if got := play(a, 10, "_ 900 900 900", metricAt); !strings.Contains(got, "20 firing") {
		t.Errorf("objective: %s", got)
	}
	// Set back, what lasts has lasted as long as before.
	since := a.Signals()[0].Since
	if got := a.ClockStepped(at(-1000), -1060*time.Second); len(got) != 2 || !got[0].Since.Equal(since.Add(-1060*time.Second)) {
		t.Errorf("after a step back: %+v", got)
	}
	// And a step ahead is no time without data, as what was before is: 30 s here.
	a.ClockStepped(at(ahead), time.Duration(ahead+1000)*time.Second)
	patience := int(a.cfg.StaleAfter.D().Seconds())
	if got := a.Tick(at(ahead + patience - 32)); len(got) != 0 {
		t.Errorf("after a step ahead: %+v", got)
	}
	if got := a.Tick(at(ahead + patience - 28)); len(got) != 2 || got[0].State != grace.SignalStale {
		t.Errorf("without data, across a step: %+v", got)
	}
}

func TestForget(t *testing.T) {
	a := newHouse(DefaultConfig(), []Objective{slow()})
	a.Observe(metricAt(0, 900))
	a.Observe(metricAt(1, 900))
	a.Observe(alertAt(1, "f1", false))
	if gone, found := a.Forget("cart/alertmanager/HighLatency/f1"); !found || !gone.Gone {
		t.Errorf("an alert: %+v, %t", gone, found)
	}
	if _, found := a.Forget("nobody/knows/it"); found {
		t.Error("found what is not there")
	}
	again, found := a.Forget("cart/objective/slow")
	if !found || again.Gone || again.State != grace.SignalUnknown {
		t.Errorf("an objective begins anew: %+v, %t", again, found)
	}
	if got := play(a, 10, "_ 900 900", metricAt); !strings.Contains(got, "firing") {
		t.Errorf("and is judged: %s", got)
	}
}

func TestRestoreOfStale(t *testing.T) {
	for _, tt := range []struct {
		name, series, want string
		pass               grace.SignalState // after one pass
	}{
		{"was firing", "0 0 _ _ _ _ _ _ _ _", "cart/http/http_health=stale", grace.SignalFiring},
		{"was ok", "0 0 1 1 _ _ _ _ _ _ _ _", "cart/http/http_health=stale", grace.SignalOK},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := newHouse(DefaultConfig(), nil)
			play(before, 10, tt.series, probeAt)
			a := newHouse(DefaultConfig(), nil)
			a.Restore(before.Signals(), time.Time{})
			a.Tick(at(200))
			if got := firing(a); got != tt.want {
				t.Fatalf("got %s", got)
			}
			if got := a.Observe(probeAt(210, 1)); len(got) != 1 || got[0].State != tt.pass {
				t.Errorf("after a pass: %+v", got)
			}
		})
	}
}

// What fires when its time is over, and goes silent without a newer sample, was
// sick when last seen, also after a restart.
func TestFiresByTimeThenSilent(t *testing.T) {
	o := slow()
	o.For = seconds(30)
	before := newHouse(DefaultConfig(), []Objective{o})
	if got := play(before, 10, "900 900 900 _ _ _ _ _ _ _", metricAt); got != "10 unknown, 30 firing, 90 stale" {
		t.Fatal(got)
	}
	s := before.Signals()[0]
	if !s.Fired.Equal(s.At) {
		t.Errorf("it fired %s when it was last seen %s", s.Fired, s.At)
	}
	a := newHouse(DefaultConfig(), []Objective{o})
	a.Restore([]grace.Signal{s}, at(200))
	if got := a.Observe(metricAt(210, 100)); len(got) != 1 || got[0].State != grace.SignalFiring {
		t.Errorf("one pass does not end it: %+v", got)
	}
}

// What went silent while it fired, and fires again, has been firing since then, also
// over a restart: else nobody would be told of it in time.
func TestFiringSinceBeforeItWentSilent(t *testing.T) {
	before := newHouse(DefaultConfig(), nil)
	play(before, 10, "0 0 _ _ _ _ _ _ _ _", probeAt)
	a := newHouse(DefaultConfig(), nil)
	a.Restore(before.Signals(), at(200))
	for name, agent := range map[string]*house{"the same process": before, "the next one": a} {
		if got := agent.Observe(probeAt(210, 0)); len(got) != 1 || got[0].State != grace.SignalFiring || !got[0].Since.Equal(at(10)) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestReconfigure(t *testing.T) {
	other := slow()
	other.Name = "very slow"
	a := newHouse(DefaultConfig(), []Objective{slow(), other})
	a.Observe(metricAt(0, 900))
	a.Observe(metricAt(10, 900))

	worse := slow()
	worse.Severity, worse.Expr = grace.SeverityCritical, `latency_p99_ms > 700`
	gone := a.Reconfigure(DefaultConfig(), []Objective{worse})
	if len(gone) != 1 || !gone[0].Gone || gone[0].Key != "cart/objective/very slow" {
		t.Errorf("gone: %+v", gone)
	}
	if got := firing(a); got != "cart/objective/slow=firing" {
		t.Errorf("kept: %s", got)
	}
	got := a.Observe(metricAt(20, 900))
	if len(got) != 1 || got[0].Severity != grace.SeverityCritical || got[0].Threshold != 700 {
		t.Errorf("the new terms hold: %+v", got)
	}
}

func TestExpect(t *testing.T) {
	a := newHouse(DefaultConfig(), nil)
	a.Expect([]Probe{{Service: "cart", Sensor: "http", Metric: "http_health"}, {Service: "cart", Sensor: "tcp", Metric: "tcp_health"}})
	a.Observe(probeAt(0, 1))
	a.Tick(at(3600 * 24))
	if got, want := firing(a), "cart/http/http_health=stale cart/tcp/tcp_health="; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	gone := a.Expect([]Probe{{Service: "cart", Sensor: "tcp", Metric: "tcp_health"}})
	if len(gone) != 1 || !gone[0].Gone || gone[0].Message != "http_health: probe removed" {
		t.Errorf("gone: %+v", gone)
	}
	if got := a.Observe(probeAt(3600*25, 1)); len(got) != 1 {
		t.Errorf("it may come back: %+v", got)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	cfg := DefaultConfig()
	cfg.MaxSeries = 3
	a := newHouse(cfg, nil)
	for i := range 1000 {
		a.Observe(metricAt(i, float64(i)))
		a.Observe(metricAt(i-1, -1)) // late and there already
		s := alertAt(i, fmt.Sprint("f", i), false)
		a.Observe(s)
		s = probeAt(i, 1)
		s.Sensor = fmt.Sprint("sensor", i)
		a.Observe(s)
	}
	if a.measuring != 3 || len(a.Signals()) > 5 || a.Dropped() == 0 {
		t.Errorf("%d measured, %d signals, %d dropped", a.measuring, len(a.Signals()), a.Dropped())
	}
	a.Tick(at(1000 + 24*3600)) // stale now
	a.Tick(at(1000 + 48*3600)) // forgotten
	a.Tick(at(1000 + 49*3600)) // with their points
	if len(a.entries) != 0 || len(a.measures) != 0 || a.measuring != 0 {
		t.Errorf("left: %d entries, %d measures of %d sensors", len(a.entries), len(a.measures), a.measuring)
	}
}

func TestValidate(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	bad := Config{FlapTransitions: 1}
	for _, key := range []string{
		"fail_after", "recover_after", "stale_after", "alert_stale_after",
		"flap_transitions", "flap_window", "retain", "max_series",
	} {
		if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), key+":") {
			t.Errorf("%s is not named in: %v", key, err)
		}
	}
	if err := slow().Validate(); err != nil {
		t.Error(err)
	}
	o := Objective{Service: "cart", ServiceLabel: "app", Expr: "up ==", Severity: "bad", For: -1}
	for _, key := range []string{"name", "code", "service_label", "expr", "for", "severity"} {
		if err := o.Validate(); err == nil || !strings.Contains(err.Error(), key+":") {
			t.Errorf("%s is not named in: %v", key, err)
		}
	}
}

// Whatever comes in, what was told adds up to what is asked: the last change
// of every signal is its current state, no two changes in a row are the same,
// and a firing probe had enough failures.
func TestChangesAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := newHouse(DefaultConfig(), []Objective{slow()})
		type word struct {
			state    grace.SignalState
			severity grace.Severity
			flapping bool
			passing  bool
		}
		told := map[grace.SignalKey]word{}
		for _, s := range a.Signals() {
			told[s.Key] = word{s.State, s.Severity, s.Flapping, s.Passing}
		}
		clock, fails := 0, 0
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			clock += rapid.IntRange(1, 90).Draw(t, "pause")
			var changed []grace.Signal
			switch rapid.IntRange(0, 3).Draw(t, "kind") {
			case 0:
				v := float64(rapid.IntRange(0, 1).Draw(t, "pass"))
				changed = a.Observe(probeAt(clock, v))
				fails = int(1-v) * (fails + 1)
			case 1:
				changed = a.Observe(metricAt(clock-rapid.IntRange(0, 30).Draw(t, "late"), rapid.Float64Range(0, 1000).Draw(t, "v")))
			case 2:
				changed = a.Observe(alertAt(clock, "f1", rapid.Bool().Draw(t, "resolved")))
			default:
				changed = a.Tick(at(clock))
			}
			for _, s := range changed {
				w := word{s.State, s.Severity, s.Flapping, s.Passing}
				if old, known := told[s.Key]; known && old == w {
					t.Fatalf("told twice: %+v", s)
				}
				if told[s.Key] = w; s.Gone {
					delete(told, s.Key)
				}
				if s.Metric == "http_health" && s.State == grace.SignalFiring && s.Since.Equal(s.At) && fails < 2 && !s.Flapping && !s.Passing {
					t.Fatalf("fires after %d failures: %+v", fails, s)
				}
			}
			for _, s := range a.Signals() {
				got := word{s.State, s.Severity, s.Flapping, s.Passing}
				if _, known := told[s.Key]; !known && s.State == grace.SignalUnknown {
					continue // nothing to tell yet
				}
				if told[s.Key] != got {
					t.Fatalf("%s is %+v, told was %+v", s.Key, got, told[s.Key])
				}
			}
		}
	})
}

func TestQuietSamplesDoNotAllocate(t *testing.T) {
	a, next := busyAgent()
	if n := testing.AllocsPerRun(1000, func() { a.Observe(next()) }); n > 0 {
		t.Errorf("%v allocations a sample", n)
	}
}

// busyAgent has three objectives, and gives ever new samples that change nothing.
func busyAgent() (*Agent, func() grace.Sample) {
	p99, rate := slow(), slow()
	p99.Name, p99.Expr = "p99", `quantile_over_time(0.99, latency_p99_ms[1m]) > 500`
	rate.Name, rate.Expr = "rate", `rate(latency_p99_ms[1m]) > 500`
	a := New(DefaultConfig(), []Objective{slow(), p99, rate})
	sec, labels := 0, map[string]string{"role": "latency", "instance": "web-1"}
	next := func() grace.Sample {
		sec++
		s := metricAt(sec, float64(100+sec%7))
		s.Labels = labels
		return s
	}
	for range 2000 {
		a.Observe(next())
	}
	return a, next
}

func BenchmarkObserve(b *testing.B) {
	a, next := busyAgent()
	b.ReportAllocs()
	for b.Loop() {
		a.Observe(next())
	}
}

// TestOnlyWhatIsJudgedConfirms: after a restart the first point of a rate is
// data and no verdict; nor is one of two that are divided by each other.
func TestOnlyWhatIsJudgedConfirms(t *testing.T) {
	objectives := []Objective{
		{Name: "rate", Service: "cart", Expr: `rate(errors[2m]) > 1`, Severity: grace.SeverityCritical, Code: grace.CodeElevatedErrors},
		{Name: "share", Service: "cart", Expr: `rate(errors[2m]) / rate(requests[2m]) > 0.5`, Severity: grace.SeverityCritical, Code: grace.CodeElevatedErrors},
	}
	before := newHouse(DefaultConfig(), objectives).Signals()
	for i := range before {
		before[i].State, before[i].At, before[i].Fired = grace.SignalFiring, at(0), at(0)
	}
	a := newHouse(DefaultConfig(), objectives)
	a.Restore(before, at(10))
	for i, want := range []map[string]bool{{"rate": true, "share": true}, {"rate": false, "share": true}} {
		a.Observe(grace.Sample{Service: "cart", Sensor: "m", Metric: "errors", Kind: grace.SampleMetric, Value: 0, At: at(20 + 20*i)})
		for _, s := range a.Signals() {
			for name, unconfirmed := range want {
				if strings.HasSuffix(string(s.Key), "/"+name) && s.Unconfirmed != unconfirmed {
					t.Errorf("after %d samples %s: unconfirmed %t", i+1, s.Key, s.Unconfirmed)
				}
			}
		}
	}
}
