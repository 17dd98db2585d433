package api

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grace"
	"grace/internal/loop"
	"grace/sensor/alertmanager"
)

func TestIngestSignal(t *testing.T) {
	e := newEnv(t)
	rec := e.call("operator", "POST", "/api/health/ingest_signal", `[
		{"service":"cart","metric":"latency_ms","value":120,"unit":"ms","at":"2026-03-01T09:30:00Z"},
		{"service":"db","metric":"ping","kind":"probe","value":0,"code":"service_down","severity":"critical"},
		{"service":"db","kind":"alert","code":"capacity","resolved":true,"message":"disk"}]`)
	if a := decode[Accepted](t, rec); a.Accepted != 3 || rec.Code != http.StatusAccepted {
		t.Fatalf("status %d, %+v", rec.Code, a)
	}
	want := []grace.Sample{
		{Service: "cart", Sensor: "ingest", Metric: "latency_ms", Kind: grace.SampleMetric, Value: 120, Unit: "ms", At: at(-62 * time.Second)},
		{Service: "db", Sensor: "ingest", Metric: "ping", Kind: grace.SampleProbe, At: testNow, Code: grace.CodeServiceDown, Severity: grace.SeverityCritical},
		{Service: "db", Sensor: "ingest", Metric: "capacity", Kind: grace.SampleAlert, At: testNow, Code: grace.CodeCapacity, Severity: grace.SeverityWarning, Resolved: true, Message: "disk", Fingerprint: "capacity/capacity"},
	}
	if diff := cmp.Diff(want, e.core.samples); diff != "" {
		t.Error(diff)
	}
}

func TestIngestSaysWhereAndWhat(t *testing.T) {
	e := newEnv(t)
	tests := []struct {
		name, body string
		status     int
		location   string
		message    string
	}{
		{"empty", " ", 400, "", ""},
		{"not JSON", `{"service":`, 400, "", ""},
		{"not JSON in a list", `[{"service":"a"},]`, 400, "", ""},
		{"two documents", `{"service":"a","metric":"m","value":1}{}`, 400, "", ""},
		{"empty list", `[]`, 422, "", ""},
		{"no service", `{"metric":"m","value":1}`, 422, "body.service", "missing"},
		{"a part of GRACE", `{"service":"core.database","metric":"m","value":1}`, 422, "body.service", "a part of GRACE"},
		{"no value", `{"service":"a","metric":"m"}`, 422, "body.value", "missing"},
		{"no metric", `[{"service":"a","metric":"m","value":1},{"service":"a","value":1}]`, 422, "body[1].metric", "missing"},
		{"probe of two", `{"service":"a","metric":"m","kind":"probe","value":2}`, 422, "body.value", "neither 0 nor 1"},
		{"alert without a code", `{"service":"a","kind":"alert"}`, 422, "body.code", "missing"},
		{"unknown kind", `{"service":"a","metric":"m","kind":"guess","value":1}`, 422, "body.kind", "not a kind"},
		{"unknown severity", `{"service":"a","kind":"alert","code":"c","severity":"bad"}`, 422, "body.severity", "not a severity"},
		{"future", `{"service":"a","metric":"m","value":1,"at":"2026-03-01T10:00:00Z"}`, 422, "body.at", "future"},
		{"text for a number", `{"service":"a","metric":"m","value":"high"}`, 422, "body.value", "want a number"},
		{"not a time", `{"service":"a","metric":"m","value":1,"at":"noon"}`, 422, "body", ""},
		{"unknown field", `[{"service":"a","metric":"m","value":1},{"service":"a","metrc":"m"}]`, 422, "body[1].metrc", "not a known field"},
		{"a number", `7`, 422, "body", "want an object"},
		{"long name", `{"service":"` + strings.Repeat("x", 300) + `","metric":"m","value":1}`, 422, "body.service", "too long"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := problemOf(t, e.call("operator", "POST", "/api/health/ingest_signal", tt.body), tt.status)
			if tt.location == "" {
				return
			}
			if len(p.Errors) != 1 || p.Errors[0].Location != tt.location || !strings.Contains(p.Errors[0].Message, tt.message) || p.Errors[0].Hint == "" {
				t.Errorf("errors %+v, want one at %s with %q and a hint", p.Errors, tt.location, tt.message)
			}
		})
	}
	if len(e.core.samples) != 0 {
		t.Errorf("a refused batch was taken in part: %v", e.core.samples)
	}
}

func TestPostEvents(t *testing.T) {
	e := newEnv(t)
	rec := e.call("operator", "POST", "/api/events", `[
		{"event_type":"deploy.finished","source":"ci","actor":"ana","resource":"cart","payload":{"version":"1.2"}},
		{"event_type":"health.signal","source":"edge","resource":"cart","timestamp":"2026-03-01T09:31:00Z","payload":{"metric":"latency_ms","value":3}},
		{"event_type":"self_heal.prediction","source":"forecast","payload":{"service":"db","metric":"disk","series":"{mount=\"/var\"}","code":"capacity","likelihood":0.8,"breach_at":"2026-03-01T09:45:00Z"}}]`)
	if a := decode[Accepted](t, rec); a.Accepted != 3 {
		t.Fatalf("%+v", a)
	}
	post := e.core.post
	if len(post.events) != 2 || post.events[0].Actor != "token:operator for ana" || post.events[1].Actor != "token:operator" {
		t.Errorf("events %+v", post.events)
	}
	wantSample := []grace.Sample{{Service: "cart", Sensor: "edge", Metric: "latency_ms", Kind: grace.SampleMetric, Value: 3, At: at(-2 * time.Second)}}
	if diff := cmp.Diff(wantSample, post.samples); diff != "" {
		t.Error(diff)
	}
	wantPrediction := []grace.Prediction{{
		Key: `db/forecast/disk{mount="/var"}/capacity`, Service: "db", Metric: "disk", Series: `{mount="/var"}`, Code: grace.CodeCapacity, Title: "capacity of db", Likelihood: 0.8,
		BreachAt: at(13*time.Minute + 58*time.Second), At: testNow, Evidence: []string{"said by forecast"},
	}}
	if diff := cmp.Diff(wantPrediction, post.predictions); diff != "" {
		t.Error(diff)
	}
	for name, tt := range map[string]struct{ body, location string }{
		"sent to people":   {`{"event_type":"incident.opened","source":"x"}`, "body.event_type"},
		"GRACE's own type": {`{"event_type":"self_heal.run.succeeded","source":"x"}`, "body.event_type"},
		"no type":          {`{"source":"x"}`, "body.event_type"},
		"no source":        {`{"event_type":"a.b"}`, "body.source"},
		"no payload":       {`{"event_type":"health.signal","source":"x"}`, "body.payload"},
		"bad payload":      {`{"event_type":"health.signal","source":"x","payload":{"service":"a","metric":"m"}}`, "body.payload.value"},
		"certain":          {`{"event_type":"self_heal.prediction","source":"x","payload":{"service":"a","metric":"m","code":"c","likelihood":2,"breach_at":"2026-03-01T09:45:00Z"}}`, "body.payload.likelihood"},
		"in the past":      {`{"event_type":"self_heal.prediction","source":"x","payload":{"service":"a","metric":"m","code":"c","likelihood":0.5,"breach_at":"2026-03-01T09:00:00Z"}}`, "body.payload.breach_at"},
	} {
		t.Run(name, func(t *testing.T) {
			p := problemOf(t, e.call("operator", "POST", "/api/events", tt.body), http.StatusUnprocessableEntity)
			if len(p.Errors) != 1 || p.Errors[0].Location != tt.location || p.Errors[0].Hint == "" {
				t.Errorf("errors %+v, want one at %s", p.Errors, tt.location)
			}
		})
	}
}

const webhook = `{"version":"4","status":"firing","receiver":"grace","groupKey":"g","alerts":[
	{"status":"firing","labels":{"alertname":"Down","service":"db","code":"service_down","severity":"critical"},"annotations":{},
	 "startsAt":"2026-03-01T09:30:00Z","endsAt":"0001-01-01T00:00:00Z","fingerprint":"abc"}]}`

func TestAlertmanagerWebhook(t *testing.T) {
	e := newEnv(t)
	for name, tt := range map[string]struct {
		role   string
		header []string
		body   string
		status int
	}{
		"bearer":             {header: []string{"Authorization", "Bearer am-secret"}, status: 202},
		"token":              {role: "operator", status: 202},
		"signature":          {header: []string{"X-Signature-256", alertmanager.Sign([]byte(webhook), []byte("am-key"), testNow)}, status: 202},
		"nothing":            {status: 401},
		"wrong bearer":       {header: []string{"Authorization", "Bearer am-secrets"}, status: 401},
		"weak token":         {role: "viewer", status: 403},
		"wrong signature":    {role: "operator", header: []string{"X-Signature-256", alertmanager.Sign([]byte("other"), []byte("am-key"), testNow)}, status: 401},
		"not a webhook":      {role: "operator", body: `{"version":"3"}`, status: 400},
		"not even an object": {role: "operator", body: `[]`, status: 400},
	} {
		t.Run(name, func(t *testing.T) {
			e.core.samples = nil
			body := tt.body
			if body == "" {
				body = webhook
			}
			rec := e.call(tt.role, "POST", "/api/alertmanager", body, tt.header...)
			if tt.status != http.StatusAccepted {
				problemOf(t, rec, tt.status)
				if len(e.core.samples) != 0 {
					t.Error("a refused webhook had an effect")
				}
				return
			}
			if a := decode[WebhookAnswer](t, rec); a.Accepted != 1 || len(e.core.samples) != 1 || e.core.samples[0].Service != "db" {
				t.Errorf("answer %+v, samples %+v", a, e.core.samples)
			}
		})
	}
	closed := newEnv(t)
	closed.core.trusted = Alertmanager{}
	problemOf(t, closed.call("", "POST", "/api/alertmanager", webhook, "Authorization", "Bearer "), http.StatusUnauthorized)
	problemOf(t, closed.call("", "POST", "/api/alertmanager", webhook, "X-Signature-256", alertmanager.Sign([]byte(webhook), nil, testNow)), http.StatusUnauthorized)
}

// TestSignedOnce: a signed webhook that somebody has seen cannot be sent again,
// neither at once nor later; one that was not taken can.
func TestSignedOnce(t *testing.T) {
	e := newEnv(t)
	signature := alertmanager.Sign([]byte(webhook), []byte("am-key"), testNow)
	send := func() int {
		return e.call("", "POST", "/api/alertmanager", webhook, "X-Signature-256", signature).Code
	}
	e.core.fail(loop.ErrBusy)
	if got := send(); got != http.StatusServiceUnavailable {
		t.Fatal(got)
	}
	e.core.fail(nil)
	e.core.samples = nil
	for range 3 {
		if got := send(); got != http.StatusAccepted {
			t.Fatal(got)
		}
	}
	stamp, sum, _ := strings.Cut(signature, "sha256=")
	signature = stamp + "sha256=" + strings.ToUpper(sum)
	if got := send(); got != http.StatusAccepted {
		t.Errorf("written in another way: %d", got)
	}
	if n := len(e.core.samples); n != 1 {
		t.Errorf("taken %d times", n)
	}
	e.now = e.now.Add(alertmanager.Tolerance + time.Second)
	if got := send(); got != http.StatusUnauthorized {
		t.Errorf("sent again minutes later: %d", got)
	}
}
