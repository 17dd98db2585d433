package api

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grace"
	"grace/internal/event"
	"grace/internal/store"
)

// original is an event as the system before GRACE sends it.
const original = `{"event_type":"self_heal.prediction","source":"predictor","actor":"system","resource":"service/cart","timestamp":"2026-03-01T09:31:02Z",
	"payload":{"code":"latency_spike","title":"Latency of cart will spike","likelihood":0.85,"impact":"medium","suggested_playbooks":["scale_up_instances"]}}`

// TestForetold: a prediction is taken as others say it.
func TestForetold(t *testing.T) {
	e := newEnv(t)
	take := func(body string) grace.Prediction {
		t.Helper()
		if a := decode[Accepted](t, e.call("operator", http.MethodPost, "/api/events", body)); a != (Accepted{Accepted: 1}) {
			t.Fatalf("%+v", a)
		}
		if post := e.core.post; len(post.predictions) != 1 || len(post.events) != 0 { // GRACE says it to others in its own event
			t.Fatalf("%+v", post)
		}
		return e.core.post.predictions[0]
	}
	want := grace.Prediction{
		Key: "cart/predictor//latency_spike", Service: "cart", Code: grace.CodeLatencySpike, Title: "Latency of cart will spike", Likelihood: 0.85,
		Impact: grace.ImpactMedium, Suggest: []grace.PlaybookID{"scale_up_instances"}, Evidence: []string{"said by predictor"}, At: testNow,
	}
	if diff := cmp.Diff(want, take(original)); diff != "" {
		t.Error(diff)
	}
	want = grace.Prediction{
		Key: "cart/x//circuit_breaker_open", Service: "cart", Code: grace.CodeCircuitBreakerOpen, Title: "circuit_breaker_open of cart", Likelihood: 1,
		Evidence: []string{"said by x"}, At: testNow,
	}
	if diff := cmp.Diff(want, take(`{"event_type":"self_heal.prediction","source":"x","resource":"cart","payload":{"code":"CB_open","likelihood":1}}`)); diff != "" {
		t.Errorf("with as little as can be: %s", diff)
	}
	if p := take(`{"event_type":"self_heal.prediction","source":"x","resource":"service/web","payload":{"service":"cart","code":"never heard of","likelihood":0}}`); p.Service != "cart" || p.Code != "never heard of" {
		t.Errorf("%+v", p)
	}
	for name, tt := range map[string]struct{ payload, location string }{
		"no likelihood":     {`{"code":"capacity"}`, "body.payload.likelihood"},
		"more than certain": {`{"code":"capacity","likelihood":1.1}`, "body.payload.likelihood"},
		"less than never":   {`{"code":"capacity","likelihood":-0.1}`, "body.payload.likelihood"},
		"as a text":         {`{"code":"capacity","likelihood":"high"}`, "body.payload.likelihood"},
		"no code":           {`{"likelihood":0.9}`, "body.payload.code"},
		"no impact":         {`{"code":"capacity","likelihood":0.9,"impact":"huge"}`, "body.payload.impact"},
		"a playbook":        {`{"code":"capacity","likelihood":0.9,"suggested_playbooks":"scale_up"}`, "body.payload.suggested_playbooks"},
		"no name":           {`{"code":"capacity","likelihood":0.9,"suggested_playbooks":["a",""]}`, "body.payload.suggested_playbooks[1]"},
		"unknown field":     {`{"code":"capacity","likelihood":0.9,"likelyhood":0.9}`, "body.payload.likelyhood"},
		"what was":          {`{"code":"capacity","likelihood":0.9,"breach_at":"2026-03-01T09:00:00Z"}`, "body.payload.breach_at"},
		"nothing":           {`null`, "body.payload.code"},
	} {
		p := problemOf(t, e.call("operator", http.MethodPost, "/api/events", `{"event_type":"self_heal.prediction","source":"x","resource":"service/cart","payload":`+tt.payload+`}`), http.StatusUnprocessableEntity)
		if len(p.Errors) == 0 || p.Errors[0].Location != tt.location || p.Errors[0].Hint == "" {
			t.Errorf("%s: %+v, want one at %s with a hint", name, p.Errors, tt.location)
		}
	}
	for resource, location := range map[string]string{"": "body.resource", "service/": "body.resource", "host/cart": "body.resource", "service/a b": "body.resource", string(grace.CoreService): "body.resource"} {
		p := problemOf(t, e.call("operator", http.MethodPost, "/api/events", `{"event_type":"self_heal.prediction","source":"x","resource":"`+resource+`","payload":{"code":"capacity","likelihood":0.9}}`), http.StatusUnprocessableEntity)
		if len(p.Errors) != 1 || p.Errors[0].Location != location || p.Errors[0].Hint == "" {
			t.Errorf("of %q: %+v", resource, p.Errors)
		}
	}
}

// TestForetoldByGrace: what GRACE has said itself is not taken when it is sent back, and what
// another one says is, unless nothing is to be done about it.
func TestForetoldByGrace(t *testing.T) {
	e := newEnv(t)
	said := grace.Prediction{
		ID: "cart/predict/latency_ms/latency_spike/>500/trend@1", Key: "cart/predict/latency_ms/latency_spike", Service: "cart", Metric: "latency_ms", Code: grace.CodeLatencySpike,
		Title: "latency_ms 390 ms, rising towards 500 ms", Likelihood: 0.9, BreachAt: testNow.Add(5 * time.Minute), Impact: grace.ImpactLow, At: testNow, Made: testNow,
		Rule: "trend", Outcome: grace.PredictionOpen, Low: 480, High: 520, Evidence: []string{"rises"},
	}
	body := func(telling event.Telling) string {
		out := event.Derive(event.Predicted{Prediction: said, Telling: telling, Owner: "host-1", At: testNow}).Outbox[0]
		text, err := json.Marshal(EventInput{Type: out.Type, Source: out.Source, Resource: out.Resource, Payload: out.Payload})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if a := decode[Accepted](t, e.call("operator", http.MethodPost, "/api/events", body(event.Silenced))); a.Ignored != 1 || len(e.core.post.predictions) != 0 {
		t.Errorf("nothing is to be done about it: %+v, %+v", a, e.core.post)
	}
	if a := decode[Accepted](t, e.call("operator", http.MethodPost, "/api/events", body(event.Standing))); a.Ignored != 0 || len(e.core.post.predictions) != 1 {
		t.Fatalf("another one says so: %+v, %+v", a, e.core.post)
	}
	if p := e.core.post.predictions[0]; p.ID != "" || p.Low != 480 || p.Metric != "latency_ms" || !cmp.Equal(p.Evidence, []string{"said by predict", "rises"}) {
		t.Errorf("%+v", p)
	}
	if err := e.store.Do(t.Context(), func(ctx context.Context, tx store.Tx) error {
		return e.store.Append(ctx, tx, event.Predicted{Prediction: said, Telling: event.Standing, At: testNow})
	}); err != nil {
		t.Fatal(err)
	}
	if a := decode[Accepted](t, e.call("operator", http.MethodPost, "/api/events", body(event.Standing))); a.Accepted != 1 || a.Ignored != 1 || len(e.core.post.predictions)+len(e.core.post.events) != 0 {
		t.Errorf("an echo: %+v, %+v", a, e.core.post)
	}
}
