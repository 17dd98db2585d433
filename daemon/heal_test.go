package daemon_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"grace"
	"grace/internal/patience"
)

// web is one service with a probe, whose restart brings it up.
func web(g *target) string {
	return strings.ReplaceAll(`
sense: {recover_after: 1}
services:
  - name: web
    criticality: medium
    bindings:
      restart_service:
        auto: true
        impact: low
        steps: [{name: restart, action: http, with: {url: "TARGET/do/web"}, irreversible: true}]
        verify: [{type: http_health, url: "TARGET/do/web", interval: 50ms}]
        settle: 2s
        soak: 200ms
sensors:
  - {name: web-health, type: http, service: web, code: service_down, interval: 100ms, timeout: 1s, url: "TARGET/do/web"}
`, "TARGET", g.URL)
}

func TestHealsThroughTheAPI(t *testing.T) {
	g := newTarget(t)
	_, c := newHome(t, web(g)).embed(t)
	run := c.waitRun("web", grace.RunSucceeded)
	if !run.Auto || run.Code != grace.CodeServiceDown || run.RecoveredIn <= 0 {
		t.Errorf("auto %v, code %s, recovered in %s", run.Auto, run.Code, run.RecoveredIn)
	}
	if n := g.called(string(run.ID) + "/do/restart"); n != 1 {
		t.Errorf("restarted %d times", n)
	}
	patience.Until(t, func() error {
		var h grace.HealthState
		c.call(http.MethodGet, "/api/health/state?service=web", nil, &h)
		if h.Status != grace.HealthHealthy {
			return fmt.Errorf("web is %s", h.Status)
		}
		return nil
	})
	var why struct{ Text string }
	c.call(http.MethodGet, "/api/runs/"+string(run.ID)+"/why", nil, &why)
	if !strings.Contains(why.Text, "restart_service") {
		t.Errorf("why: %s", why.Text)
	}
	c.verifyAudit()
	t.Run("learned", func(t *testing.T) {
		entries := items[grace.LearningEntry](c, "/api/self_heal/learning?service=web")
		if len(entries) != 1 || entries[0].Result != grace.ResultSuccess {
			t.Errorf("learned %+v", entries)
		}
	})
	t.Run("core", func(t *testing.T) { coreIsReal(t, c) })
	t.Run("metrics", func(t *testing.T) { figures(t, c) })
	t.Run("by hand", func(t *testing.T) { wellAlready(t, c, run.ID) })
}

// wellAlready wants that a run by hand on a service that is well is told as done,
// and has no time to recover.
func wellAlready(t *testing.T, c client, healed grace.RunID) {
	c.call(http.MethodPost, "/api/playbooks/restart_service/run", map[string]any{"service": "web", "reason": "it feels slow"}, nil)
	var run grace.Run
	patience.Until(t, func() error {
		run, _ = c.run("web")
		if run.ID == healed || run.Status != grace.RunSucceeded {
			return fmt.Errorf("run %s is %s", run.ID, run.Status)
		}
		return nil
	})
	var why struct{ Text string }
	c.call(http.MethodGet, "/api/runs/"+string(run.ID)+"/why", nil, &why)
	if strings.Contains(why.Text, "recovered in") {
		t.Errorf("nothing was wrong, but: %s", why.Text)
	}
	patience.Until(t, func() error {
		_, page, err := c.try(http.MethodGet, "/metrics", nil)
		if strings.Contains(string(page), `self_heal_mean_time_to_recover_count{kind="manual"`) {
			t.Fatal("it has a time to recover")
		}
		if err == nil && !strings.Contains(string(page), `grace_runs_total{code="manual"`) {
			err = fmt.Errorf("the run is not counted:\n%s", page)
		}
		return err
	})
}

// coreIsReal wants the states of GRACE's own parts.
func coreIsReal(t *testing.T, c client) {
	for _, service := range []string{"core", "core.database", "core.task_executor", "core.trigger_mesh", "core.reflection_service"} {
		patience.Until(t, func() error {
			var h grace.HealthState
			c.call(http.MethodGet, "/api/health/state?service="+service, nil, &h)
			if h.Service != grace.ServiceID(service) || h.Status != grace.HealthHealthy || h.Confidence <= 0 {
				return fmt.Errorf("%+v", h)
			}
			return nil
		})
	}
}

// figures wants the six key figures, as of one run that succeeded by itself.
func figures(t *testing.T, c client) {
	// The key figures may be those of some seconds ago.
	patience.Until(t, func() error {
		status, page, err := c.try(http.MethodGet, "/metrics", nil)
		if err != nil || status != http.StatusOK {
			return fmt.Errorf("%d %w", status, err)
		}
		for _, want := range []string{
			"self_heal_proposals_per_min 0.1", "self_heal_approval_rate 1", "self_heal_success_rate 1",
			"self_heal_rollbacks_24h 0", "self_heal_auto_approved_24h 1", `self_heal_mean_time_to_recover_count{kind="reactive",playbook="restart_service",service="web"} 1`, "self_heal_rollbacks_total 0", "self_heal_auto_approved_total 1",
			"grace_store_up 1", `grace_decisions_total{code="service_down",decision="allow",service="web"} 1`, `grace_runs_total{code="service_down",playbook="restart_service",service="web",status="succeeded"} 1`, "grace_action_duration_seconds_count",
			`self_heal_predictions_total{outcome="true_positive",rule="trend"} 0`, "self_heal_predictions_missed_total 0",
			`self_heal_prediction_precision{rule="trend"} 0.5`, `self_heal_prediction_rule_suspended{rule="trend"} 0`,
		} {
			if !strings.Contains(string(page), "\n"+want) {
				return fmt.Errorf("/metrics lacks %q:\n%s", want, page)
			}
		}
		return nil
	})
	anonymous := client{t: t, base: c.base}
	if status, _, err := anonymous.try(http.MethodGet, "/metrics", nil); err != nil || status != http.StatusUnauthorized {
		t.Errorf("/metrics without a token: %d %v", status, err)
	}
}
