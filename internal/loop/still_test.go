package loop

import (
	"testing"
	"time"

	"grace"
	"grace/internal/decide"
	"grace/internal/gate"
	"grace/internal/heal"
)

// TestStoodStill: what was seen before the process stood still is no evidence when
// it wakes, whoever looks first, until it is seen again.
func TestStoodStill(t *testing.T) {
	t.Parallel()
	l := steppedLoop(t, 3, nil)
	var stood time.Duration
	start := time.Now()
	l.Now = func() time.Time { return start.Add(stood) }
	l.Elapsed = func() time.Duration { return stood }
	l.noticeStill()
	service := benchService(1)
	down := func() {
		t.Helper()
		sample := grace.Sample{Service: service, Sensor: "probe", Metric: "up", Kind: grace.SampleProbe, Severity: grace.SeverityCritical, At: l.Now()}
		if err := l.Observe(t.Context(), sample); err != nil {
			t.Fatal(err)
		}
	}
	look := func() gate.EvidenceState {
		t.Helper()
		l.noticeStill()
		signals, err := l.signalsNow(t.Context(), l.Store.Q(), service)
		if err != nil {
			t.Fatal(err)
		}
		return decide.Evidence([]grace.SignalKey{grace.SignalKey(string(service) + "/probe/up")}, signals).State
	}
	for range 3 {
		stood += time.Second
		down()
	}
	if got := look(); got != gate.EvidenceFresh {
		t.Fatalf("while it is down: %q", got)
	}
	stood += stoodStill - 1
	if got := look(); got != gate.EvidenceFresh {
		t.Errorf("after a while: %q", got)
	}
	stood += stoodStill
	if got := look(); got != gate.EvidenceUnconfirmed {
		t.Errorf("after it stood still: %q, want unconfirmed", got)
	}
	stood += time.Second
	down()
	if got := look(); got != gate.EvidenceFresh {
		t.Errorf("seen again: %q", got)
	}
}

// TestSensorGoneWhileVerifying: that the signal which began a run is not there any
// more, because its sensor was renamed or removed, clears nothing.
func TestSensorGoneWhileVerifying(t *testing.T) {
	t.Parallel()
	l := steppedLoop(t, 3, nil)
	service := benchService(1)
	run := grace.Run{Service: service, Kind: grace.TriggerReactive, Condition: []grace.SignalKey{grace.SignalKey(string(service) + "/old/up")}}
	probe := func(value float64) heal.Condition {
		t.Helper()
		sample := grace.Sample{Service: service, Sensor: "new", Metric: "up", Kind: grace.SampleProbe, Severity: grace.SeverityCritical, Value: value, At: time.Now()}
		if err := l.Observe(t.Context(), sample); err != nil {
			t.Fatal(err)
		}
		return l.condition(t.Context(), run)
	}
	if c := l.condition(t.Context(), run); c.Clear {
		t.Errorf("with nothing that looks: clear, %s", c.Text)
	}
	for range 3 {
		if c := probe(0); c.Clear {
			t.Errorf("down by its new name: clear, %s", c.Text)
		}
	}
	probe(1)
	if c := probe(1); !c.Clear {
		t.Errorf("well by its new name: %s", c.Text)
	}
}

// TestSourceSilenceEnds: what was silenced at its source counts from when that ends.
func TestSourceSilenceEnds(t *testing.T) {
	t.Parallel()
	l := steppedLoop(t, 3, nil)
	st, began := l.stages.Load(), time.Now()
	alert := grace.Signal{
		Key: "web/alerts/Down/f1", Service: "web", Kind: grace.SignalAlert, State: grace.SignalFiring, Severity: grace.SeverityCritical,
		Since: began, At: began, Silenced: "silence 42",
	}
	for minute := range 10 {
		l.watchConditions(st, []grace.Signal{alert}, began.Add(time.Duration(minute)*time.Minute))
	}
	if len(l.conditions) > 0 {
		t.Fatalf("silenced: %+v", l.conditions)
	}
	alert.Silenced = ""
	for second := range 3 {
		l.watchConditions(st, []grace.Signal{alert}, began.Add(9*time.Minute+time.Duration(1+second)*time.Second))
	}
	if c := l.conditions["web"]; c == nil || !c.since.Equal(began.Add(9*time.Minute)) {
		t.Errorf("%+v, want since %s", c, began.Add(9*time.Minute))
	}
}
