package loop

import (
	"strings"
	"testing"
	"time"

	"grace"
	"grace/internal/labelmap"
	"grace/internal/series"
	"grace/internal/stage/sense"
)

// ruled is a loop with a recording rule and an alerting rule that looks at it, as they
// come from files.
func ruled(t *testing.T) (l *Loop, step func(seconds int, errors float64)) {
	t.Helper()
	l, pass := wound(t, func(cfg *Config) {
		cfg.Recordings = []series.Group{{Name: "shop", Interval: 15 * time.Second, Rules: []series.Recording{
			{Name: "job:errors:rate1m", Expr: `sum by (job) (rate(errors_total[1m]))`},
			{Name: "job:errors:ratio1m", Expr: `job:errors:rate1m / sum by (job) (rate(requests_total[1m]))`, Labels: map[string]string{"source": "rule"}},
		}}}
		cfg.RuleMap = RuleMap{ServiceLabel: "service", Rules: []labelmap.Rule{{Match: map[string]string{"job": "shop", "alertname": "High*"}, Service: benchService(1)}}}
		cfg.Objectives = []sense.Objective{{
			Name: "HighErrors", Expr: `job:errors:ratio1m > 0.05`, For: grace.Duration(30 * time.Second), Code: grace.CodeElevatedErrors,
			Severity: grace.SeverityCritical, Labels: map[string]string{"alertname": "HighErrors", "severity": "page"},
			Text: `{{ $labels.job }} fails: {{ $value | humanizePercentage }}`,
		}}
	})
	var requests, failed, now float64
	return l, func(seconds int, errors float64) {
		for range seconds {
			pass()
			if now++; errors >= 0 && int(now)%5 == 0 {
				requests, failed = requests+500, failed+500*errors
				for _, job := range []string{"shop", "other"} {
					b := l.Series.Begin(series.From{Sensor: "remote_write", Source: "test"})
					for name, value := range map[string]float64{"requests_total": requests, "errors_total": failed} {
						key := series.AppendLabel(series.AppendLabel([]byte(nil), series.MetricLabel, name), "job", job)
						b.Append(key, series.Meta{}, series.Sample{At: l.Now().UnixMilli(), Value: value})
					}
					if r := b.End(); r.Err() != nil {
						t.Fatal(r.Err())
					}
				}
			}
			if err := l.elapse(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A rule over a recorded series fires for the service that the labels lead to, says what
// its annotation says, goes stale with the source of the recording, and resolves.
func TestRules(t *testing.T) {
	t.Parallel()
	l, step := ruled(t)
	key := grace.SignalKey(benchService(1)) + "/objective/HighErrors"
	step(120, 0.01)
	if got := stateOf(l, key); got != grace.SignalOK {
		t.Fatalf("1 %% of errors: %q", got)
	}
	step(180, 0.2)
	s, _ := l.sense.Signal(key)
	if s.State != grace.SignalFiring || s.Unconfirmed || s.Severity != grace.SeverityCritical || !strings.HasPrefix(s.Message, "shop fails: 20% (job:errors:ratio1m 0.2 > 0.05") {
		t.Fatalf("20 %% of errors: %+v", s)
	}
	core := grace.SignalKey(grace.CoreService) + "/objective/HighErrors"
	if s, _ := l.sense.Signal(core); s.State != grace.SignalFiring || !strings.Contains(s.Message, "rules.map") {
		t.Errorf("what no service is: %+v", s)
	}
	if got := l.RuleStats(); got.Unmapped != 1 || got.Failing != 0 {
		t.Errorf("%+v", got)
	}
	step(10, 0.2)
	last := l.Now()
	step(110, -1) // nothing comes any more, and recordings go on for minutes
	if s, _ = l.sense.Signal(key); s.State != grace.SignalStale || s.At.After(last) {
		t.Errorf("no data: %+v, the last was at %s", s, last)
	}
	step(240, 0)
	if got := stateOf(l, key); got != grace.SignalOK {
		t.Errorf("no errors: %q", got)
	}
}

// The same configuration, read again, changes nothing; a rule that is gone takes its
// signals with it, and recordings end that nothing looks at.
func TestRulesReconfigured(t *testing.T) {
	t.Parallel()
	l, step := ruled(t)
	step(180, 0.2)
	cfg := l.stages.Load().Config
	cfg.Sources = map[string]any{}
	for range 2 {
		if err := l.Reconfigure(t.Context(), cfg, "test"); err != nil {
			t.Fatal(err)
		}
	}
	key := grace.SignalKey(benchService(1)) + "/objective/HighErrors"
	if got := stateOf(l, key); got != grace.SignalFiring {
		t.Errorf("after a reload: %q", got)
	}
	cfg.Objectives = nil
	if err := l.Reconfigure(t.Context(), cfg, "test"); err != nil {
		t.Fatal(err)
	}
	step(20, 0.2)
	if _, known := l.sense.Signal(key); known {
		t.Error("the rule is gone, its signal is not")
	}
	if got, _ := l.Series.Query(t.Context(), "job:errors:ratio1m", l.Now()); len(got) != 0 {
		t.Errorf("recorded for nothing: %v", got)
	}
}

// What a rule finds that no declared service is, people are told of all the same: with an
// Alertmanager somebody else does that, here it is GRACE alone that knows.
func TestUnmappedIsTold(t *testing.T) {
	t.Parallel()
	l, step := ruled(t)
	step(180, 0.2)
	for range 40 {
		step(5, 0.2)
		if err := l.decideOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	open, err := l.Store.OpenIncidents(t.Context(), l.Store.Q())
	if err != nil {
		t.Fatal(err)
	}
	about := map[grace.ServiceID]string{}
	for _, i := range open {
		about[i.Service] = i.Title
	}
	if about[grace.CoreService] == "" || about[benchService(1)] == "" {
		t.Errorf("incidents: %v", about)
	}
}

// What looks at a recording that cannot be evaluated is stale, with the reason, also when
// it has never found a service; and goes on when it can be.
func TestRecordingFails(t *testing.T) {
	t.Parallel()
	l, step := ruled(t)
	core := grace.SignalKey(grace.CoreService) + "/objective/HighErrors"
	cfg := l.stages.Load().Config
	right := cfg.Recordings
	// Two jobs of one series: many-to-many.
	cfg.Recordings = []series.Group{{Name: "shop", Interval: 15 * time.Second, Rules: []series.Recording{
		{Name: "job:errors:ratio1m", Expr: `errors_total / on (job) group_left {__name__=~"errors_total|requests_total"}`},
	}}}
	if err := l.Reconfigure(t.Context(), cfg, "test"); err != nil {
		t.Fatal(err)
	}
	step(90, 0.2)
	if s, _ := l.sense.Signal(core); s.State != grace.SignalStale || !strings.Contains(s.Message, "the recording job:errors:ratio1m") {
		t.Errorf("it cannot be evaluated: %+v", s)
	}
	if got := l.RuleStats(); got.Failing != 1 {
		t.Errorf("%+v", got)
	}
	cfg.Recordings = right
	if err := l.Reconfigure(t.Context(), cfg, "test"); err != nil {
		t.Fatal(err)
	}
	step(180, 0.2)
	if got := stateOf(l, grace.SignalKey(benchService(1))+"/objective/HighErrors"); got != grace.SignalFiring {
		t.Errorf("it can be evaluated again: %q", got)
	}
	if s, _ := l.sense.Signal(core); strings.Contains(s.Message, "the recording") {
		t.Errorf("it can be evaluated again: %+v", s)
	}
}
