package gracetest_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"grace"
	"grace/gracetest"
)

// action is a good one, but for its fault.
type action struct {
	fault string
	calls atomic.Int64
}

func (a *action) Name() string {
	if a.fault == "name" {
		return "My Action"
	}
	return "mine"
}

func (a *action) Validate(with map[string]any) error {
	for k := range with {
		if k != "to" && a.fault != "lenient" {
			return errors.New("unknown setting " + k)
		}
	}
	return nil
}

func (a *action) Do(ctx context.Context, req grace.ActionRequest) grace.Outcome {
	now := time.Now()
	out := grace.Outcome{Status: grace.OutcomeSucceeded, Started: now, Ended: now}
	n := a.calls.Add(1)
	switch {
	case ctx.Err() != nil && a.fault != "eager", a.Validate(req.With) != nil, a.fault == "once" && n > 1:
		out.Status, out.Error = grace.OutcomeFailed, "no"
	case a.fault == "changes":
		req.With["to"] = "elsewhere"
	}
	return out
}

// sensor is a good one, but for its fault.
type sensor struct{ fault string }

func (*sensor) Name() string { return "mine" }

func (s *sensor) Run(ctx context.Context, sink grace.Sink) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			if s.fault == "error" {
				return ctx.Err()
			}
			if s.fault != "deaf" {
				return nil
			}
		case at := <-tick.C:
			sample := grace.Sample{Service: "shop", Sensor: "mine", Metric: "m", Kind: grace.SampleMetric, At: at}
			if err := sink.Observe(ctx, sample); err != nil && s.fault == "gives up" {
				<-ctx.Done()
				return nil
			}
		}
	}
}

// domain is a good one, but for its fault.
type domain struct {
	fault string
	books []grace.Playbook
	calls atomic.Int64
}

func newDomain(fault string) *domain {
	return &domain{fault: fault, books: []grace.Playbook{{
		ID: "p", Title: "P", Risk: grace.RiskLow, Impact: grace.ImpactLow, Triggers: []grace.Code{"x"},
	}}}
}

func (*domain) Name() string { return "mine" }

func (d *domain) Telemetry() []grace.MetricSpec {
	spec := grace.MetricSpec{Name: "m", Description: "M"}
	if d.fault == "unsteady" && d.calls.Add(1)%2 == 0 {
		spec.Unit = "s"
	}
	return []grace.MetricSpec{spec}
}

func (*domain) HealthNodes() []grace.HealthNode { return nil }

func (d *domain) Playbooks() []grace.Playbook {
	if d.fault == "shares" {
		return d.books
	}
	return append([]grace.Playbook(nil), d.books...)
}

func (*domain) Metrics(context.Context) map[string]float64 { return map[string]float64{"m": 1} }

const faultVariable = "GRACETEST_FAULT"

func suite(t *testing.T, kind, fault string) {
	within := 10 * time.Second
	if fault != "" {
		within = 500 * time.Millisecond // it will be waited out
	}
	switch kind {
	case "action":
		gracetest.Action(t, func(*testing.T) grace.Action { return &action{fault: fault} }, []gracetest.ActionCase{
			{Name: "works", With: map[string]any{"to": "here"}, Want: grace.OutcomeSucceeded},
			{Name: "refused", With: map[string]any{"from": "here"}, Invalid: true},
		})
	case "sensor":
		gracetest.Sensor(t, func(*testing.T) grace.Sensor { return &sensor{fault} }, gracetest.SensorCase{
			Service: "shop", Metrics: []string{"m"}, Within: within,
		})
	case "domain":
		gracetest.Domain(t, func(*testing.T) grace.Domain { return newDomain(fault) })
	}
}

func TestSuitesPass(t *testing.T) {
	for _, kind := range []string{"action", "sensor", "domain"} {
		t.Run(kind, func(t *testing.T) { suite(t, kind, "") })
	}
}

// TestFault is run by TestSuitesFail, in a process of its own.
func TestFault(t *testing.T) {
	kind, fault, ok := strings.Cut(os.Getenv(faultVariable), "/")
	if !ok {
		t.Skip("only run by TestSuitesFail")
	}
	suite(t, kind, fault)
}

// Every fault is found: a suite that cannot fail proves nothing.
func TestSuitesFail(t *testing.T) {
	for fault, want := range map[string]string{
		"action/name":     "want lower case",
		"action/lenient":  "accepts a setting that does not exist",
		"action/eager":    "acted although its context was over",
		"action/once":     "called again with the same key",
		"action/changes":  "With was changed",
		"sensor/deaf":     "did not end within",
		"sensor/error":    "want nil when its context is done",
		"sensor/gives up": "after a refused sample",
		"domain/unsteady": "Telemetry changes",
		"domain/shares":   "its own slice",
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFault$")
			cmd.Env = append(os.Environ(), faultVariable+"="+fault, "GORACE=atexit_sleep_ms=0")
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), want) {
				t.Errorf("error %v, want a failure with %q:\n%s", err, want, out)
			}
		})
	}
}

func TestProberFollowsItsScript(t *testing.T) {
	now := time.Unix(5, 0)
	p := &gracetest.Prober{Now: func() time.Time { return now }}
	check := grace.Check{Type: grace.CheckExpr, Expr: "errors"}
	probe := func() grace.Reading { return p.Probe(t.Context(), "shop", check, time.Time{}) }
	if r := probe(); r.OK {
		t.Error("data without a script")
	}
	p.Set("errors", 3, 1)
	for i, want := range []float64{3, 1, 1} {
		if r := probe(); !r.OK || r.Value != want || !r.At.Equal(now) {
			t.Errorf("probe %d: %+v, want %v", i, r, want)
		}
	}
	p.Set("errors")
	if r := probe(); r.OK {
		t.Error("data from an empty script")
	}
	if n := p.Asked("errors"); n != 4 {
		t.Errorf("asked %d times", n)
	}
}

func TestFakeActionRecords(t *testing.T) {
	a := gracetest.NewAction("fake", func(_ context.Context, req grace.ActionRequest) grace.Outcome {
		return grace.Outcome{Status: grace.OutcomeFailed, Error: req.Step}
	})
	a.Refuse(errors.New("bad"))
	if a.Validate(nil) == nil {
		t.Error("not refused")
	}
	out := a.Do(t.Context(), grace.ActionRequest{Step: "one"})
	if out.Error != "one" || out.Started.IsZero() || out.Ended.IsZero() || len(a.Calls()) != 1 || a.Calls()[0].Step != "one" {
		t.Errorf("%+v, calls %v", out, a.Calls())
	}
	if out := gracetest.NewAction("ok", nil).Do(t.Context(), grace.ActionRequest{}); out.Status != grace.OutcomeSucceeded {
		t.Errorf("%+v", out)
	}
}
