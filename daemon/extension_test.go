package daemon_test

import (
	"context"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"grace"
	"grace/daemon"
	"grace/gracetest"
)

// oven is a domain with one health node, which also is its sensor: hot until
// it is vented.
type oven struct{ hot atomic.Bool }

func (*oven) Name() string { return "lab" }

func (*oven) Telemetry() []grace.MetricSpec {
	return []grace.MetricSpec{{Name: "lab.ovens", Unit: "1", Description: "ovens"}}
}

func (o *oven) HealthNodes() []grace.HealthNode {
	return []grace.HealthNode{{
		Service: grace.Service{ID: "lab.oven", Domain: "lab", Criticality: grace.CriticalityMedium},
		State: func(context.Context) (grace.Health, string) {
			if o.hot.Load() {
				return grace.HealthCritical, "too hot"
			}
			return grace.HealthHealthy, "warm"
		},
	}}
}

func (*oven) Playbooks() []grace.Playbook {
	return []grace.Playbook{{
		ID: "vent", Title: "Vent the oven", Risk: grace.RiskLow, Impact: grace.ImpactLow, Auto: true,
		Triggers: []grace.Code{grace.CodeServiceDown}, Services: []grace.ServiceID{"lab.oven"},
		Binding: grace.Binding{
			Steps:  []grace.Step{{Name: "open", Action: "vent", With: map[string]any{"door": "${service}"}, Irreversible: true}},
			Verify: []grace.Check{{Type: grace.CheckExpr, Expr: `celsius{service="${service}"} < 100`, Interval: grace.Duration(50 * time.Millisecond)}},
			Settle: grace.Duration(2 * time.Second), Soak: grace.Duration(200 * time.Millisecond),
		},
	}}
}

func (*oven) Metrics(context.Context) map[string]float64 { return map[string]float64{"lab.ovens": 1} }

// thermometer is a sensor of the domain.
type thermometer struct{ *oven }

func (thermometer) Name() string { return "thermometer" }

func (s thermometer) Run(ctx context.Context, sink grace.Sink) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case at := <-tick.C:
			celsius := 50.0
			if s.hot.Load() {
				celsius = 300
			}
			sample := grace.Sample{Service: "lab.oven", Sensor: "thermometer", Metric: "celsius", Kind: grace.SampleMetric, Value: celsius, At: at.UTC()}
			if err := sink.Observe(ctx, sample); err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
}

func TestExtensions(t *testing.T) {
	o := &oven{}
	o.hot.Store(true)
	vent := gracetest.NewAction("vent", func(context.Context, grace.ActionRequest) grace.Outcome {
		o.hot.Store(false)
		return grace.Outcome{Status: grace.OutcomeSucceeded}
	})
	h := newHome(t, "sense: {fail_after: 1, recover_after: 1}\n")
	_, c := h.embed(t, daemon.WithDomain(o), daemon.WithAction(vent), daemon.WithSensor(thermometer{o}))
	run := c.waitRun("lab.oven", grace.RunSucceeded)
	if run.Playbook.ID != "vent" {
		t.Errorf("playbook %s", run.Playbook.ID)
	}
	calls := vent.Calls()
	if len(calls) != 1 || calls[0].With["door"] != "lab.oven" {
		t.Errorf("calls of the action: %+v", calls)
	}
	var health grace.HealthState
	c.call(http.MethodGet, "/api/health/state?service=lab", nil, &health)
	if health.Service != "lab" || health.Confidence == 0 {
		t.Errorf("health of the domain: %+v", health)
	}
	if ids := items[grace.Playbook](c, "/api/playbooks/?limit=200"); !slices.ContainsFunc(ids, func(p grace.Playbook) bool { return p.ID == "vent" }) {
		t.Error("the domain's playbook is not listed")
	}
}
