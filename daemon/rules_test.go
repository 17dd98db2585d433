package daemon_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"grace"
	"grace/internal/api"
	"grace/internal/patience"
)

const ruledShop = `
services: [{name: shop, criticality: medium}]
rule_files: [rules/*.yaml]
rules:
  interval: 1s
  map: [{match: {job: "shop-*"}, service: shop}]
`

const shopRules = `
groups:
  - name: shop
    rules:
      - record: job:queue:max
        expr: max by (job) (queue_depth)
      - alert: QueueIsLong
        expr: job:queue:max > 100
        labels: {severity: page}
        annotations: {summary: "{{ $labels.job }} has {{ $value | humanize }} waiting"}
`

// sendDepth sends a gauge by OTLP.
func (c client) sendDepth(t *testing.T, value int) {
	t.Helper()
	body := map[string]any{"resourceMetrics": []any{map[string]any{
		"resource": map[string]any{"attributes": []any{map[string]any{"key": "job", "value": map[string]any{"stringValue": "shop-eu"}}}},
		"scopeMetrics": []any{map[string]any{"metrics": []any{map[string]any{
			"name": "queue_depth", "gauge": map[string]any{"dataPoints": []any{map[string]any{
				"asInt": fmt.Sprint(value), "timeUnixNano": fmt.Sprint(time.Now().UnixNano()),
				"attributes": []any{map[string]any{"key": "job", "value": map[string]any{"stringValue": "shop-eu"}}},
			}}},
		}}}},
	}}}
	if status, answer, err := c.try(http.MethodPost, "/v1/metrics", body); err != nil || status != http.StatusOK {
		t.Fatal(status, string(answer), err)
	}
}

// TestRuleFiles: rules of Prometheus are loaded as they are, fire for the service that
// their labels lead to, and are read again with the configuration, or not at all.
func TestRuleFiles(t *testing.T) {
	h := newHome(t, ruledShop)
	rules := filepath.Join(filepath.Dir(h.file), "rules")
	write := func(text string) {
		t.Helper()
		if err := os.MkdirAll(rules, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(rules, "shop.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(shopRules)
	d, c := h.embed(t)
	defer stop(t, d)
	signal := func(name string) *grace.Signal {
		var detail api.ServiceDetail
		c.call(http.MethodGet, "/api/services/shop", nil, &detail)
		for _, s := range detail.Signals {
			if s.Key == grace.SignalKey("shop/objective/"+name) {
				return &s
			}
		}
		return nil
	}
	depth := 150
	until := func(name string, state grace.SignalState) *grace.Signal {
		t.Helper()
		var found *grace.Signal
		patience.Until(t, func() error {
			c.sendDepth(t, depth)
			if found = signal(name); found == nil || found.State != state {
				return fmt.Errorf("%s is %+v", name, found)
			}
			return nil
		})
		return found
	}
	s := until("QueueIsLong", grace.SignalFiring)
	if s.Severity != grace.SeverityCritical || s.Code != grace.CodeInvestigation || !strings.HasPrefix(s.Message, "shop-eu has 150 waiting (job:queue:max 150 > 100") {
		t.Errorf("%+v", s)
	}
	write(strings.Replace(shopRules, "> 100", "> of_tomorrow(queue_depth)", 1))
	if err := d.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "shop.yaml:8:") || !strings.Contains(err.Error(), "of_tomorrow") {
		t.Errorf("a function of tomorrow: %v", err)
	}
	if got := signal("QueueIsLong"); got == nil || got.State != grace.SignalFiring {
		t.Errorf("after a reload that was refused: %+v", got)
	}
	write(strings.Replace(shopRules, "> 100", "> 200", 1))
	if err := d.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	until("QueueIsLong", grace.SignalOK)
	write(strings.Replace(shopRules, "alert: QueueIsLong", "alert: Other", 1))
	if err := d.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	until("Other", grace.SignalFiring)
	if got := signal("QueueIsLong"); got != nil && !got.Gone {
		t.Errorf("the rule is gone: %+v", got)
	}
	c.verifyAudit()
}
