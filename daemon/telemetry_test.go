package daemon_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/metric"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"

	"grace"
	"grace/internal/patience"
)

// freePort is one that nobody listens on now.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

const queueObjective = `
services: [{name: shop, criticality: medium}]
objectives:
  - {name: queue, service: shop, expr: '{"queue.depth",service="shop"} > 100', code: capacity}
telemetry:
  rules: [{metric: queue.depth, role: saturation}]
`

// seenSick waits until the service's objective is seen breached, and has something sent
// until then.
func seenSick(t *testing.T, c client, send func()) {
	t.Helper()
	patience.Until(t, func() error {
		if send != nil {
			send()
		}
		for _, s := range items[grace.HealthState](c, "/api/health/state") {
			if s.Service == "shop" && s.Status == grace.HealthDegraded {
				return nil
			}
		}
		return fmt.Errorf("shop is not degraded yet")
	})
}

// TestOTLPOverHTTP: what an exporter sends is judged like every sample, and
// needs a token.
func TestOTLPOverHTTP(t *testing.T) {
	h := newHome(t, queueObjective)
	d, c := h.embed(t)
	defer stop(t, d)
	send := func(value int, at time.Time) (int, string) {
		body := map[string]any{"resourceMetrics": []any{map[string]any{
			"resource": map[string]any{"attributes": []any{map[string]any{"key": "service.name", "value": map[string]any{"stringValue": "shop"}}}},
			"scopeMetrics": []any{map[string]any{"metrics": []any{map[string]any{
				"name": "queue.depth", "gauge": map[string]any{"dataPoints": []any{map[string]any{
					"asInt": fmt.Sprint(value), "timeUnixNano": fmt.Sprint(at.UnixNano()),
				}}},
			}}}},
		}}}
		status, answer, err := c.try(http.MethodPost, "/v1/metrics", body)
		if err != nil {
			t.Fatal(err)
		}
		return status, string(answer)
	}
	sent, last := 0, time.Now()
	seenSick(t, c, func() {
		sent++
		if last = last.Add(time.Millisecond); time.Now().After(last) {
			last = time.Now()
		}
		if status, answer := send(150, last); status != http.StatusOK {
			t.Fatalf("status %d: %s", status, answer)
		}
	})
	if status, answer := send(150, time.Now().Add(-366*24*time.Hour)); status != http.StatusOK || !strings.Contains(answer, "rejectedDataPoints") {
		t.Errorf("a clock a year off: %d %s", status, answer)
	}
	bare := c
	bare.token = ""
	if status, _, err := bare.try(http.MethodPost, "/v1/metrics", map[string]any{}); err != nil || status != http.StatusUnauthorized {
		t.Errorf("without a token: %d, %v", status, err)
	}
	_, page, _ := c.try(http.MethodGet, "/metrics", nil)
	for _, want := range []string{`grace_telemetry_samples_total{reason="taken"}`, `grace_telemetry_samples_total{reason="too_old"} 1`, "grace_telemetry_series_kept 1"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
}

// TestOTLPOverGRPC: the unmodified exporter of the OpenTelemetry SDK.
func TestOTLPOverGRPC(t *testing.T) {
	address := freePort(t)
	h := newHome(t, strings.Replace(queueObjective, "telemetry:\n", "telemetry:\n  otlp_listen: "+address+"\n", 1))
	d, c := h.embed(t)
	defer stop(t, d)
	exporter, err := otlpmetricgrpc.New(t.Context(), otlpmetricgrpc.WithEndpoint(address), otlpmetricgrpc.WithInsecure(),
		otlpmetricgrpc.WithHeaders(map[string]string{"authorization": "Bearer " + c.token}))
	if err != nil {
		t.Fatal(err)
	}
	provider := sdk.NewMeterProvider(
		sdk.WithReader(sdk.NewPeriodicReader(exporter, sdk.WithInterval(50*time.Millisecond))),
		sdk.WithResource(resource.NewSchemaless(attribute.String("service.name", "shop"))))
	defer func() { _ = provider.Shutdown(context.WithoutCancel(t.Context())) }()
	_, err = provider.Meter("test").Int64ObservableGauge("queue.depth", metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
		o.Observe(150)
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	seenSick(t, c, nil)
}

// TestPromQLSensor: a query's answers are judged, and its history is read first
// and judged by nobody.
func TestPromQLSensor(t *testing.T) {
	var ranges atomic.Int64
	prometheus := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now := float64(time.Now().UnixMilli()) / 1000
		result, kind := any([]any{}), "vector"
		switch r.URL.Path {
		case "/api/v1/query":
			result = []any{map[string]any{"metric": map[string]string{}, "value": []any{now, "150"}}}
		case "/api/v1/query_range":
			ranges.Add(1)
			kind = "matrix"
			result = []any{map[string]any{"metric": map[string]string{}, "values": []any{[]any{now - 60, "86753094"}, []any{now - 50, "86753094"}}}}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": map[string]any{"resultType": kind, "result": result}})
	}))
	defer prometheus.Close()
	h := newHome(t, `
services: [{name: shop, criticality: medium}]
objectives:
  - {name: queue, service: shop, expr: 'queue_depth{service="shop"} > 100', code: capacity}
sensors:
  - {name: prom, type: promql, url: "`+prometheus.URL+`", interval: 100ms, warm_up: 5m, queries: [{name: queue_depth, query: queue_depth, service: shop}]}
`)
	d, c := h.embed(t)
	defer stop(t, d)
	seenSick(t, c, nil)
	if ranges.Load() == 0 {
		t.Error("the history was not read")
	}
	if _, why, err := c.try(http.MethodGet, "/api/services/shop/why", nil); err != nil || strings.Contains(string(why), "86753094") {
		t.Errorf("the past was taken for now: %s, %v", why, err)
	}
}

// depthOf is the depth of the shop's queue on an instance, now.
func depthOf(instance string, value int) map[string]any {
	text := func(key, value string) map[string]any {
		return map[string]any{"key": key, "value": map[string]any{"stringValue": value}}
	}
	return map[string]any{"resourceMetrics": []any{map[string]any{
		"resource": map[string]any{"attributes": []any{text("service.name", "shop")}},
		"scopeMetrics": []any{map[string]any{"metrics": []any{map[string]any{
			"name": "queue.depth", "gauge": map[string]any{"dataPoints": []any{map[string]any{
				"asInt": strconv.Itoa(value), "attributes": []any{text("instance", instance)}, "timeUnixNano": fmt.Sprint(time.Now().UnixNano()),
			}}},
		}}}},
	}}}
}

// TestRecall: after a restart the forecasts of what is sent begin with the
// history that a Prometheus has of it.
func TestRecall(t *testing.T) {
	var asked sync.Map
	prometheus := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		selector := r.FormValue("query")
		asked.Store(selector, true)
		now := time.Now().Unix()
		var values []any
		for i := range int64(46) { // 10 half an hour ago, 85 now
			values = append(values, []any{now - 60*(45-i), fmt.Sprint(max(85-2.5*float64(45-i), 0))})
		}
		series := map[string]any{"metric": map[string]string{"__name__": "queue.depth", "service": "shop", "service.name": "shop", "instance": "a"}, "values": values}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": map[string]any{"resultType": "matrix", "result": []any{series}}})
	}))
	defer prometheus.Close()
	h := newHome(t, strings.Replace(queueObjective, "telemetry:\n", `predict: {every: 1s, stale_after: 5m}
telemetry:
  warm_up: [{url: "`+prometheus.URL+`", selectors: ['{service="shop"}'], since: 1h}]
`, 1))
	d, c := h.embed(t)
	defer stop(t, d)
	// What history alone shows is no reason to speak: it has to go on.
	taken := 0
	patience.Until(t, func() error {
		if taken < 2 {
			status, _, err := c.try(http.MethodPost, "/v1/metrics", depthOf("a", 86))
			if err != nil {
				return err
			}
			if status == http.StatusOK {
				taken++
			}
		}
		for _, p := range items[grace.Prediction](c, "/api/predictions?service=shop") {
			if p.Metric == "queue" && strings.Contains(p.Series, `instance="a"`) && time.Until(p.BreachAt) < 15*time.Minute {
				return nil
			}
		}
		return fmt.Errorf("no prediction yet")
	})
	for _, want := range []string{`{service="shop"}`, `{__name__="queue.depth",service="shop"}`} {
		if _, ok := asked.Load(want); !ok {
			asked.Range(func(text, _ any) bool { t.Logf("asked for %s", text); return true })
			t.Errorf("not asked for %s", want)
		}
	}
}
