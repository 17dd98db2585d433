package loop

import (
	"fmt"
	"testing"
	"time"

	"grace"
	"grace/internal/decide"
	"grace/internal/event"
	"grace/internal/gate"
	"grace/internal/heal"
	"grace/internal/stage/sense"
	"grace/internal/store"
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

// TestLateIsNoEvidence: what was seen before the start, a change of the
// configuration, or before the process woke is no evidence when it comes after that,
// also of a signal that had no data; the first sample since is.
func TestLateIsNoEvidence(t *testing.T) {
	t.Parallel()
	service := benchService(1)
	sample := func(kind grace.SampleKind) grace.Sample {
		return grace.Sample{
			Service: service, Sensor: "probe", Metric: "up", Kind: kind, Severity: grace.SeverityCritical, Code: grace.CodeServiceDown,
		}
	}
	lag := sample(grace.SampleMetric)
	lag.Metric, lag.Value = "lag", 9
	begins := map[string]func(*testing.T, *Loop, *time.Duration){
		"start": func(*testing.T, *Loop, *time.Duration) {},
		"configuration": func(t *testing.T, l *Loop, _ *time.Duration) {
			t.Helper()
			cfg := l.stages.Load().Config
			cfg.Objectives = append(cfg.Objectives, sense.Objective{
				Service: service, Name: "high", Expr: fmt.Sprintf(`lag{service=%q} > 1`, service), Severity: grace.SeverityCritical, Code: grace.CodeLatencySpike,
			})
			if err := l.Reconfigure(t.Context(), cfg, "ann"); err != nil {
				t.Fatal(err)
			}
		},
		"woke": func(_ *testing.T, l *Loop, passed *time.Duration) {
			*passed += time.Hour
			l.noticeStill()
		},
	}
	for _, tt := range []struct {
		name   string
		probes []sense.Probe
		begin  string
		sample grace.Sample
		key    grace.SignalKey
	}{
		{"a configured probe", []sense.Probe{{Service: service, Sensor: "probe", Metric: "up"}}, "start", sample(grace.SampleProbe), "/probe/up"},
		{"a probe that nobody knew", nil, "start", sample(grace.SampleProbe), "/probe/up"},
		{"an alert", nil, "start", sample(grace.SampleAlert), "/probe/up"},
		{"a probe that nobody knew", nil, "woke", sample(grace.SampleProbe), "/probe/up"},
		{"an alert", nil, "woke", sample(grace.SampleAlert), "/probe/up"},
		{"a new objective", nil, "configuration", lag, "/objective/high"},
		{"a probe that nobody knew", nil, "configuration", sample(grace.SampleProbe), "/probe/up"},
	} {
		t.Run(tt.name+", "+tt.begin, func(t *testing.T) {
			t.Parallel()
			l := steppedLoop(t, 3, func(cfg *Config) { cfg.Probes = tt.probes })
			start, passed := l.Now(), 10*time.Second
			l.Now = func() time.Time { return start.Add(passed) }
			l.Elapsed = func() time.Duration { return passed }
			l.beat = passed
			begins[tt.begin](t, l, &passed)
			seen := func(at time.Time) gate.EvidenceState {
				t.Helper()
				s := tt.sample
				s.At = at
				if err := l.Observe(t.Context(), s); err != nil {
					t.Fatal(err)
				}
				signals, err := l.signalsNow(t.Context(), l.Store.Q(), service)
				if err != nil {
					t.Fatal(err)
				}
				return decide.Evidence([]grace.SignalKey{grace.SignalKey(service) + tt.key}, signals).State
			}
			began := l.evidenceSince()
			for i := range 3 {
				if got := seen(began.Add(time.Duration(i-5) * time.Second)); got == gate.EvidenceFresh {
					t.Fatalf("seen %d s before: fresh", 5-i)
				}
			}
			passed += time.Second
			if got := seen(l.Now()); got != gate.EvidenceFresh {
				t.Errorf("seen since: %q", got)
			}
		})
	}
}

// TestWordBetweenStartAndReload: what another replica saw between the start and a
// change of the configuration does not confirm, after it, what waited for that
// already; the log does not speak of it.
func TestWordBetweenStartAndReload(t *testing.T) {
	t.Parallel()
	l := steppedLoop(t, 3, nil)
	service, began := benchService(1), l.Now()
	l.Now = func() time.Time { return began }
	row := grace.Signal{
		Key: grace.SignalKey(service + "/probe/up"), Service: service, Sensor: "probe", Metric: "up", Kind: grace.SignalProbe, Code: grace.CodeServiceDown,
		State: grace.SignalFiring, Severity: grace.SeverityCritical, Since: began.Add(-time.Minute), At: began.Add(-10 * time.Second), Fired: began.Add(-10 * time.Second),
	}
	if err := l.persist(t.Context(), []grace.Signal{row}); err != nil {
		t.Fatal(err)
	}
	if err := l.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	look := func() gate.EvidenceState {
		t.Helper()
		signals, err := l.signalsNow(t.Context(), l.Store.Q(), service)
		if err != nil {
			t.Fatal(err)
		}
		return decide.Evidence([]grace.SignalKey{row.Key}, signals).State
	}
	entries := func() int {
		t.Helper()
		list, _, err := l.Store.Operations(t.Context(), l.Store.Q(), store.AuditFilter{Object: "signal/" + string(row.Key)}, store.Page{Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	logged := entries()
	began = began.Add(time.Minute)
	if err := l.Reconfigure(t.Context(), l.stages.Load().Config, "ann"); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		seen time.Duration // from the change on
		want gate.EvidenceState
	}{{-time.Second, gate.EvidenceUnconfirmed}, {time.Second, gate.EvidenceFresh}} {
		word := row
		word.At = began.Add(tt.seen)
		word.Fired = word.At
		l.handleEvent(grace.Event{Type: event.TypeSignal, Actor: "another", Payload: event.Encode(word)})
		if got := look(); got != tt.want {
			t.Errorf("seen %s after the change: %q, want %q", tt.seen, got, tt.want)
		}
	}
	if now := entries(); logged == 0 || now != logged {
		t.Errorf("%d entries of the log, were %d", now, logged)
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
