package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"grace"
	"grace/daemon"
	"grace/internal/api"
	"grace/internal/patience"
	"grace/sensor/alertmanager"
)

const prometheusHint = "install it with: apt-get install prometheus"

// signalOf finds the signal of a service's alert.
func (c client) signalOf(service, sensor string) (grace.Signal, error) {
	var detail api.ServiceDetail
	c.call(http.MethodGet, "/api/services/"+service, nil, &detail)
	for _, s := range detail.Signals {
		if s.Sensor == sensor {
			return s, nil
		}
	}
	return grace.Signal{}, fmt.Errorf("%s has no signal of %s", service, sensor)
}

func (c client) waitSignal(service, sensor string, holds func(grace.Signal) bool) grace.Signal {
	c.t.Helper()
	var s grace.Signal
	patience.Until(c.t, func() (err error) {
		if s, err = c.signalOf(service, sensor); err == nil && !holds(s) {
			err = fmt.Errorf("the signal is %+v", s)
		}
		return err
	})
	return s
}

func is(state grace.SignalState) func(grace.Signal) bool {
	return func(s grace.Signal) bool { return s.State == state }
}

// TestPrometheusWithoutAlertmanager: an unmodified Prometheus sends its alerts
// straight to GRACE.
func TestPrometheusWithoutAlertmanager(t *testing.T) {
	bin, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skipf("Prometheus is missing; %s", prometheusHint)
	}
	var sick atomic.Bool
	sick.Store(true)
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		if sick.Load() {
			fmt.Fprintln(w, "queue_full 1")
		} else {
			fmt.Fprintln(w, "queue_full 0")
		}
	}))
	defer page.Close()
	t.Setenv("GRACE_TEST_BEARER", "from-prometheus")
	_, c := newHome(t, "services: [{name: shop, criticality: medium}]\nalertmanager:\n  bearer: ${env:GRACE_TEST_BEARER}\n"+
		"  map: [{match: {alertname: 'Queue*'}, service: '${job}', code: capacity}]\n").embed(t)
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	rules := write("rules.yml", "groups: [{name: g, rules: [{alert: QueueFull, expr: queue_full == 1, labels: {severity: P1}, annotations: {summary: 'the queue is full'}}]}]\n")
	config := write("prometheus.yml", fmt.Sprintf(`global: {scrape_interval: 200ms, evaluation_interval: 200ms, external_labels: {prometheus_replica: a}}
rule_files: [%s]
alerting:
  alertmanagers:
    - {authorization: {credentials: from-prometheus}, static_configs: [{targets: [%q]}]}
scrape_configs:
  - {job_name: shop, static_configs: [{targets: [%q]}]}
`, rules, strings.TrimPrefix(c.base, "http://"), page.Listener.Addr()))
	cmd := exec.Command(bin, "--config.file="+config, "--storage.tsdb.path="+dir, "--web.listen-address="+freePort(t))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })

	s := c.waitSignal("shop", "prometheus-alerts", is(grace.SignalFiring))
	if s.Code != grace.CodeCapacity || s.Severity != grace.SeverityCritical || !strings.Contains(s.Message, "the queue is full") || s.Expires.Before(time.Now()) {
		t.Errorf("%+v", s)
	}
	sick.Store(false)
	c.waitSignal("shop", "prometheus-alerts", is(grace.SignalOK))
}

// TestAlertsAreReadBack: GRACE reads what an Alertmanager holds, without a
// webhook: what is silenced is marked, what is over ends. While its list cannot be
// read nothing shows that it is over still.
func TestAlertsAreReadBack(t *testing.T) {
	if _, err := exec.LookPath("prometheus-alertmanager"); err != nil {
		t.Skipf("prometheus-alertmanager is missing; %s", alertmanagerHint)
	}
	hook := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer hook.Close()
	am := startAlertmanager(t, hook.URL, "x")
	started := time.Now().UTC().Add(-time.Minute)
	postAlert(am, started, nil)
	target, err := url.Parse(am.base)
	if err != nil {
		t.Fatal(err)
	}
	var away atomic.Bool
	proxy := httputil.NewSingleHostReverseProxy(target)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if away.Load() {
			http.Error(w, "away", http.StatusServiceUnavailable)
			return
		}
		if r.URL.Path == "/api/v2/status" { // as if it had run for long
			_, _ = fmt.Fprintf(w, `{"uptime": %q}`, started.Add(-time.Hour).Format(time.RFC3339Nano))
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	defer front.Close()
	_, c := newHome(t, "services: [{name: web, criticality: medium}]\nsense: {stale_after: 1s}\nescalate_after: 1s\nalertmanager:\n  url: "+front.URL+"\n  read_every: 1s\n"+
		"  map: [{match: {alertname: UnitDown}, service: web, code: service_down}]\n").embed(t)
	c.waitSignal("web", "alertmanager", is(grace.SignalFiring))
	am.call(http.MethodPost, "/api/v2/silences", map[string]any{
		"matchers": []any{map[string]any{"name": "alertname", "value": "UnitDown", "isRegex": false, "isEqual": true}}, "createdBy": "ops", "comment": "planned",
		"startsAt": time.Now(), "endsAt": time.Now().Add(time.Hour),
	}, nil)
	s := c.waitSignal("web", "alertmanager", func(s grace.Signal) bool { return s.Silenced != "" })
	if !strings.Contains(s.Silenced, "ops: planned") || s.State != grace.SignalFiring || !strings.Contains(s.Message, "silenced by") {
		t.Errorf("%+v", s)
	}
	ended := time.Now().UTC()
	postAlert(am, started, &ended)
	c.waitSignal("web", "alertmanager", is(grace.SignalOK))
	views := items[api.SensorView](c, "/api/sensors")
	if len(views) != 1 || views[0].Name != "alertmanager" || views[0].State != api.SensorOK {
		t.Errorf("sensors %+v", views)
	}

	health := func(want grace.Health, incidents int) {
		t.Helper()
		patience.Until(t, func() error {
			var h grace.HealthState
			c.call(http.MethodGet, "/api/health/state?service=web", nil, &h)
			blind := slices.DeleteFunc(items[grace.Incident](c, "/api/incidents"), func(i grace.Incident) bool {
				return i.State != grace.IncidentOpen || i.Sensor != alertmanager.Sensor || !i.Covers("web")
			})
			if h.Status != want || len(blind) != incidents {
				return fmt.Errorf("web is %s, want %s; incidents %+v, want %d", h.Status, want, blind, incidents)
			}
			return nil
		})
	}
	health(grace.HealthHealthy, 0)
	away.Store(true)
	health(grace.HealthUnknown, 1)
	patience.Until(t, func() error {
		var state grace.HealthState
		c.call(http.MethodGet, "/api/health/state?service=core.trigger_mesh", nil, &state)
		if text := strings.Join(state.TopSymptoms, " "); !strings.Contains(text, "; nothing else watches web") {
			return fmt.Errorf("core.trigger_mesh: %s", text)
		}
		return nil
	})
	away.Store(false)
	health(grace.HealthHealthy, 0)
}

func webhookOf(alerts ...map[string]any) map[string]any {
	return map[string]any{"version": "1", "status": "firing", "alerts": alerts}
}

func firingAlert(name, service string) map[string]any {
	return map[string]any{
		"status": "firing", "startsAt": time.Now().UTC(), "fingerprint": "",
		"labels": map[string]string{"alertname": name, "service": service, "code": "service_down", "severity": "Critical"},
	}
}

// TestUndeclaredServices: alerts of services that nobody declared are shown,
// open no circuit breaker and lead to no run; what leads nowhere is counted.
func TestUndeclaredServices(t *testing.T) {
	g := newTarget(t)
	_, c := newHome(t, web(g)).embed(t)
	var alerts []map[string]any
	for i := range 9 {
		alerts = append(alerts, firingAlert("Down", fmt.Sprintf("ghost-%d", i)))
	}
	alerts = append(alerts, map[string]any{"status": "firing", "labels": map[string]string{"alertname": "Watchdog"}})
	status, answer, err := c.try(http.MethodPost, "/api/alertmanager", webhookOf(alerts...))
	if err != nil || status != http.StatusAccepted || !strings.Contains(string(answer), `"accepted":9`) {
		t.Fatalf("%d %s %v", status, answer, err)
	}
	var view api.AlertsView
	c.call(http.MethodGet, "/api/alerts", nil, &view)
	if len(view.Undeclared) != 9 || view.Undeclared[0].Service != "ghost-0" || view.Undeclared[0].Worst.Severity != grace.SeverityCritical {
		t.Errorf("undeclared %+v", view.Undeclared)
	}
	for _, u := range view.Undeclared { // each can be dropped by its key
		if len(u.Keys) != 1 || u.Keys[0] != u.Worst.Key {
			t.Errorf("keys of %s: %q, want %q", u.Service, u.Keys, u.Worst.Key)
		}
	}
	if len(view.Skipped) != 1 || view.Skipped[0].Alert != "Watchdog" || view.Skipped[0].Times != 1 {
		t.Errorf("skipped %+v", view.Skipped)
	}
	if _, page, _ := c.try(http.MethodGet, "/metrics", nil); !strings.Contains(string(page), `grace_alerts_skipped_total{reason="no_service"} 1`) {
		t.Error("/metrics does not count the skipped alert")
	}
	// The declared one is sick too, and is healed: no breaker stands in the way.
	c.waitRun("web", grace.RunSucceeded)
	for _, run := range items[grace.Run](c, "/api/runs") {
		if strings.HasPrefix(string(run.Service), "ghost") {
			t.Errorf("a run on %s", run.Service)
		}
	}
	for _, inc := range items[grace.Incident](c, "/api/incidents") {
		t.Errorf("incident %+v", inc)
	}
}

// TestLargeGroupOfAlerts: a group far over api.max_body is taken whole.
func TestLargeGroupOfAlerts(t *testing.T) {
	_, c := newHome(t, "services: [{name: web, criticality: medium}]\n").embed(t)
	var alerts []map[string]any
	for i := range 600 {
		a := firingAlert(fmt.Sprintf("Down%d", i), "web")
		a["annotations"] = map[string]string{"description": strings.Repeat("x", 5000)}
		alerts = append(alerts, a)
	}
	status, answer, err := c.try(http.MethodPost, "/api/alertmanager", webhookOf(alerts...))
	if err != nil || status != http.StatusAccepted || !strings.Contains(string(answer), `"accepted":600`) {
		t.Fatalf("%d %.200s %v", status, answer, err)
	}
}

// fragile panics now and then.
type fragile struct{ runs atomic.Int32 }

func (*fragile) Name() string { return "fragile" }

func (f *fragile) Run(ctx context.Context, sink grace.Sink) error {
	n := f.runs.Add(1)
	sample := grace.Sample{Service: "web", Sensor: "fragile", Metric: "ping", Kind: grace.SampleProbe, Value: 1, At: time.Now().UTC()}
	if n == 1 {
		sample.At = time.Date(1969, 1, 1, 0, 0, 0, 0, time.UTC) // is left out, and harms nobody
	}
	if err := sink.Observe(ctx, sample); err != nil {
		return err
	}
	if n == 1 {
		sample.At = time.Now().UTC()
		if err := sink.Observe(ctx, sample); err != nil {
			return err
		}
		panic("the needle broke")
	}
	<-ctx.Done()
	return nil
}

func sensorView(c client, name string) (api.SensorView, error) {
	views := items[api.SensorView](c, "/api/sensors")
	i := slices.IndexFunc(views, func(v api.SensorView) bool { return v.Name == name })
	if i < 0 {
		return api.SensorView{}, errors.New("no sensor " + name)
	}
	return views[i], nil
}

// TestPanicOfASensor: it is caught, counted and told, and the sensor runs again.
func TestPanicOfASensor(t *testing.T) {
	_, c := newHome(t, "services: [{name: web, criticality: medium}]\n").embed(t, daemon.WithSensor(&fragile{}))
	patience.Until(t, func() error {
		v, err := sensorView(c, "fragile")
		if err == nil && (v.Panics != 1 || v.State != api.SensorOK || !strings.Contains(v.LastError, "the needle broke") || v.Errors < 2) {
			err = fmt.Errorf("%+v", v)
		}
		return err
	})
	if _, page, _ := c.try(http.MethodGet, "/metrics", nil); !strings.Contains(string(page), `grace_sensor_panics_total{sensor="fragile"} 1`) {
		t.Error("/metrics does not count the panic")
	}
	c.alert("web") // intake goes on
}

// TestSensorErrors: a probe that GRACE cannot make says nothing about its
// service, and core says so.
func TestSensorErrors(t *testing.T) {
	t.Parallel()
	g := newTarget(t)
	_, c := newHome(t, strings.Replace(web(g), "name: web-health, ", "name: web-health, headers: {X-Key: '${env:GRACE_TEST_NOT_SET}'}, ", 1)).embed(t)
	patience.Until(t, func() error {
		v, err := sensorView(c, "web-health")
		if err == nil && (v.State != api.SensorError || !strings.Contains(v.LastError, "GRACE_TEST_NOT_SET") || !v.Blind || v.Type != "http" || v.Service != "web") {
			err = fmt.Errorf("%+v", v)
		}
		return err
	})
	s := c.waitSignal("web", "web-health", is(grace.SignalStale))
	if !strings.Contains(s.Message, "sensor error") {
		t.Errorf("the signal says %q", s.Message)
	}
	patience.Until(t, func() error {
		var state grace.HealthState
		c.call(http.MethodGet, "/api/health/state?service=core.trigger_mesh", nil, &state)
		if state.Status != grace.HealthDegraded || !strings.Contains(strings.Join(state.TopSymptoms, " "), "web-health") {
			return fmt.Errorf("core.trigger_mesh is %s: %v", state.Status, state.TopSymptoms)
		}
		return nil
	})
}

// TestOthersDoNotSpeakForSensors: names of configured sensors are refused from
// outside, and times that cannot be.
func TestOthersDoNotSpeakForSensors(t *testing.T) {
	g := newTarget(t)
	_, c := newHome(t, web(g)).embed(t)
	event := func(source string, at time.Time) map[string]any {
		return map[string]any{
			"event_type": "health.signal", "source": source, "timestamp": at,
			"payload": map[string]any{"service": "web", "metric": "http_health", "kind": "probe", "value": 1},
		}
	}
	for _, source := range []string{"web-health", "alertmanager", "prometheus-alerts", "objective", "core"} {
		if status, answer, err := c.try(http.MethodPost, "/api/events", event(source, time.Now())); err != nil || status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d %s %v", source, status, answer, err)
		}
	}
	for _, at := range []time.Time{time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC), time.Now().Add(10 * time.Minute), time.Date(9999, 12, 31, 23, 59, 59, 0, time.FixedZone("", -14*3600))} {
		if status, answer, err := c.try(http.MethodPost, "/api/events", event("ci", at)); err != nil || status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d %s %v", at, status, answer, err)
		}
	}
	if status, answer, err := c.try(http.MethodPost, "/api/events", event("ci", time.Now())); err != nil || status/100 != 2 {
		t.Errorf("%d %s %v", status, answer, err)
	}
}

// TestDottedObjective: an objective may name OpenTelemetry's metric as it is.
func TestDottedObjective(t *testing.T) {
	_, c := newHome(t, "services: [{name: shop, criticality: medium}]\n"+
		"objectives: [{name: queue, service: shop, expr: '{\"queue.depth\",service=\"shop\"} > 100', code: capacity}]\n").embed(t)
	seenSick(t, c, func() {
		c.call(http.MethodPost, "/v1/metrics", map[string]any{"resourceMetrics": []any{map[string]any{
			"resource": map[string]any{"attributes": []any{map[string]any{"key": "service.name", "value": map[string]any{"stringValue": "shop"}}}},
			"scopeMetrics": []any{map[string]any{"metrics": []any{map[string]any{
				"name": "queue.depth", "gauge": map[string]any{"dataPoints": []any{map[string]any{
					"asInt": "150", "timeUnixNano": fmt.Sprint(time.Now().UnixNano()),
				}}},
			}}}},
		}}}, nil)
	})
}
