package core_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"grace"
	"grace/domain/core"
	"grace/gracetest"
)

func state(h grace.Health, text string) core.State {
	return func(context.Context) (grace.Health, string) { return h, text }
}

func TestConformance(t *testing.T) {
	gracetest.Domain(t, func(*testing.T) grace.Domain { return core.New(core.Parts{}) })
	gracetest.Domain(t, func(*testing.T) grace.Domain {
		return core.New(core.Parts{
			Reflection: state(grace.HealthHealthy, ""), Database: state(grace.HealthCritical, "disk full"),
			Executor: state(grace.HealthDegraded, "12 runs wait"), Mesh: state(grace.HealthHealthy, ""),
			Metrics: func(context.Context) map[string]float64 {
				return map[string]float64{core.MetricSuccessRate: .9, "not.ours": 1}
			},
		})
	})
}

func TestHealthNodes(t *testing.T) {
	d := core.New(core.Parts{
		Reflection: state(grace.HealthHealthy, "r"), Database: state(grace.HealthCritical, "d"),
		Executor: state(grace.HealthDegraded, "e"),
	})
	type row struct {
		ID          grace.ServiceID
		Criticality grace.Criticality
		DependsOn   []grace.ServiceID
		Health      grace.Health
		Detail      string
	}
	want := []row{
		{"core.reflection_service", "high", nil, "healthy", "r"},
		{"core.database", "critical", []grace.ServiceID{"core.reflection_service", "core.task_executor"}, "critical", "d"},
		{"core.task_executor", "high", []grace.ServiceID{"core.database"}, "degraded", "e"},
		{"core.trigger_mesh", "high", nil, "unknown", "nothing tells the state of this part"},
	}
	var got []row
	for _, n := range d.HealthNodes() {
		h, detail := n.State(t.Context())
		got = append(got, row{n.ID, n.Criticality, n.DependsOn, h, detail})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestPlaybooks(t *testing.T) {
	type row struct {
		ID       grace.PlaybookID
		Risk     grace.Risk
		Auto     bool
		Triggers []grace.Code
		Names    []string
	}
	want := []row{
		{"restart_service", "medium", false, []grace.Code{"service_down", "degradation"}, []string{"grace_period"}},
		{"rollback_flag", "low", true, []grace.Code{"elevated_errors", "flag_issue"}, []string{"flag"}},
		{"scale_up_instances", "low", true, []grace.Code{"latency_spike", "capacity"}, []string{"min_delta"}},
		{"warm_cache", "low", true, []grace.Code{"latency_spike", "cache_cold"}, []string{"ttl"}},
		{"increase_logging", "low", true, []grace.Code{"degradation", "investigation"}, []string{"level", "ttl"}},
		{"flush_circuit_breakers", "medium", false, []grace.Code{"elevated_errors", "circuit_breaker_open"}, nil},
	}
	var got []row
	for _, p := range core.Playbooks() {
		r := row{ID: p.ID, Risk: p.Risk, Auto: p.Auto, Triggers: p.Triggers}
		for _, par := range p.Parameters {
			r.Names = append(r.Names, par.Name)
		}
		got = append(got, r)
		if len(p.Steps) != 0 {
			t.Errorf("%s has steps of its own", p.ID)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestMetricsAreThoseOfTheSchema(t *testing.T) {
	d := core.New(core.Parts{Metrics: func(context.Context) map[string]float64 {
		return map[string]float64{core.MetricRollbacks24h: 2, "other": 1}
	}})
	if diff := cmp.Diff(map[string]float64{"self_heal.rollbacks_24h": 2}, d.Metrics(t.Context())); diff != "" {
		t.Error(diff)
	}
	want := map[string]grace.MetricKind{
		"self_heal.proposals_per_min": grace.MetricGauge, "self_heal.approval_rate": grace.MetricGauge, "self_heal.success_rate": grace.MetricGauge,
		"self_heal.mean_time_to_recover": grace.MetricHistogram, "self_heal.rollbacks_24h": grace.MetricGauge, "self_heal.auto_approved_24h": grace.MetricGauge,
		"self_heal.rollbacks_total": grace.MetricCounter, "self_heal.auto_approved_total": grace.MetricCounter,
	}
	got := map[string]grace.MetricKind{}
	for _, m := range d.Telemetry() {
		got[m.Name] = m.Kind
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
