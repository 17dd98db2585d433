package sense_test

import (
	"strings"
	"testing"
	"time"

	"grace"
	"grace/internal/stage/sense"
)

func budget(window time.Duration, threshold float64) sense.Objective {
	return sense.Objective{
		Name: "errors", Service: "web", Metric: "bad", Total: "all", Aggregation: "burn_rate", Op: ">",
		Window: grace.Duration(window), Threshold: threshold, Budget: 0.01, Code: grace.CodeElevatedErrors,
	}
}

// traffic sends a pair of counters every 15 s, 100 requests each time, and gives
// the last state of the objective and its changes, with their time since start.
type traffic struct {
	agent    *sense.Agent
	start    time.Time
	at       time.Time
	bad, all float64
	changes  []string
}

func newTraffic(o ...sense.Objective) *traffic {
	start := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	return &traffic{agent: sense.New(sense.DefaultConfig(), o), start: start, at: start}
}

func (f *traffic) run(d time.Duration, errors float64) {
	for end := f.at.Add(d); f.at.Before(end); f.at = f.at.Add(15 * time.Second) {
		f.all += 100
		f.bad += errors
		for metric, value := range map[string]float64{"all": f.all, "bad": f.bad} {
			for _, s := range f.agent.Observe(grace.Sample{Kind: grace.SampleMetric, Service: "web", Sensor: "prom", Metric: metric, Value: value, At: f.at}) {
				f.changes = append(f.changes, string(s.State)+" at "+f.at.Sub(f.start).String())
			}
		}
	}
}

func (f *traffic) signal(t *testing.T) grace.Signal {
	t.Helper()
	signals := f.agent.Signals()
	if len(signals) != 1 {
		t.Fatalf("%d signals, want 1", len(signals))
	}
	return signals[0]
}

// TestBurnRate: 20 % errors against a budget of 1 % burn it 20 times too fast.
func TestBurnRate(t *testing.T) {
	f := newTraffic(budget(time.Hour, 14.4))
	f.run(2*time.Hour, 0)
	if got := f.signal(t); got.State != grace.SignalOK || got.Value != 0 {
		t.Fatalf("without errors: %+v", got)
	}
	f.run(10*time.Minute, 20)
	if got := f.signal(t); got.State != grace.SignalOK || got.Value < 2 || got.Value > 4 {
		t.Fatalf("10 minutes of 20 %% errors are 3 times the budget of the hour: %+v", got)
	}
	f.run(40*time.Minute, 20)
	got := f.signal(t)
	if got.State != grace.SignalFiring || got.Severity != grace.SeverityWarning {
		t.Fatalf("50 minutes of 20 %% errors: %+v", got)
	}
	if want := "burn rate of bad over 1h and 5m, budget 1 %: "; !strings.HasPrefix(got.Message, want) {
		t.Errorf("message %q, want %q...", got.Message, want)
	}
	// The hour is still full of errors, but they have stopped: so does the alert.
	f.run(6*time.Minute, 0)
	if got := f.signal(t); got.State != grace.SignalOK {
		t.Errorf("6 minutes after the last error: %+v", got)
	}
	if len(f.changes) != 4 {
		t.Errorf("changes %v, want ok, firing, firing though it passes, ok", f.changes)
	}
}

func TestBurnRateSilentAtStart(t *testing.T) {
	f := newTraffic(budget(time.Hour, 14.4))
	f.run(4*time.Minute, 100)
	if got := f.signal(t); got.State != grace.SignalUnknown {
		t.Errorf("after 4 minutes nothing is known of 5: %+v", got)
	}
	f.run(2*time.Minute, 100)
	if got := f.signal(t); got.State != grace.SignalFiring {
		t.Errorf("after 6 minutes of nothing but errors: %+v", got)
	}
}

// TestBurnRateCounterReset: a restarted process counts from zero; its errors
// before are not counted again, and no rise is negative.
func TestBurnRateCounterReset(t *testing.T) {
	f := newTraffic(budget(time.Hour, 14.4))
	f.run(30*time.Minute, 1)
	before := f.signal(t).Value
	f.bad, f.all = 0, 0
	f.run(15*time.Second, 1)
	if after := f.signal(t).Value; after < 0.9*before || after > 1.1*before {
		t.Errorf("burn rate %v after the restart, %v before", after, before)
	}
}

func TestBurnRateOfShare(t *testing.T) {
	o := budget(time.Hour, 14.4)
	o.Total, o.Metric = "", "error_ratio"
	a := sense.New(sense.DefaultConfig(), []sense.Objective{o})
	at := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	for range 40 {
		a.Observe(grace.Sample{Kind: grace.SampleMetric, Service: "web", Sensor: "s", Metric: "error_ratio", Value: 0.2, At: at})
		at = at.Add(15 * time.Second)
	}
	if got := a.Signals()[0]; got.State != grace.SignalFiring || got.Value < 19.9 || got.Value > 20.1 {
		t.Errorf("a share of 0.2 against 0.01: %+v", got)
	}
}

// TestBurnRateWithoutTraffic: no requests break no promise.
func TestBurnRateWithoutTraffic(t *testing.T) {
	f := newTraffic(budget(time.Hour, 14.4))
	f.run(20*time.Minute, 50)
	if got := f.signal(t); got.State != grace.SignalFiring {
		t.Fatalf("half of all requests fail: %+v", got)
	}
	for range 30 { // the counters stand still
		f.all -= 100
		f.run(15*time.Second, 0)
	}
	if got := f.signal(t); got.State != grace.SignalOK {
		t.Errorf("7 minutes without a request: %+v", got)
	}
}

func TestBudgetExpands(t *testing.T) {
	o := budget(0, 0)
	if err := o.Validate(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, one := range o.Expand() {
		if err := one.Validate(); err != nil {
			t.Errorf("%s: %v", one.Name, err)
		}
		got = append(got, one.Name+" "+string(one.Severity))
	}
	if want := "errors-1h critical, errors-6h critical, errors-3d warning"; strings.Join(got, ", ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
	if one := budget(time.Hour, 2).Expand(); len(one) != 1 || one[0].Name != "errors" {
		t.Errorf("a budget with a window is itself: %v", one)
	}
}

func TestBudgetValidate(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*sense.Objective)
		want   string
	}{
		"no budget":           {func(o *sense.Objective) { o.Budget = 0 }, "budget: 0 is not a share"},
		"a percentage":        {func(o *sense.Objective) { o.Budget = 1 }, "budget: 1 is not a share"},
		"of itself":           {func(o *sense.Objective) { o.Total = o.Metric }, "total: is the metric itself"},
		"downward":            {func(o *sense.Objective) { o.Op = "<" }, `op: "<" makes no sense`},
		"threshold alone":     {func(o *sense.Objective) { o.Window = 0 }, "threshold: needs a window"},
		"window alone":        {func(o *sense.Objective) { o.Threshold = 0 }, "threshold: 0 is not a positive multiple"},
		"budget of another":   {func(o *sense.Objective) { o.Aggregation, o.Total = "avg", "" }, "budget: is for aggregation burn_rate only"},
		"all events, another": {func(o *sense.Objective) { o.Aggregation, o.Budget = "avg", 0 }, "total: is for aggregation burn_rate only"},
	} {
		o := budget(time.Hour, 14.4)
		test.change(&o)
		if err := o.Validate(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}
