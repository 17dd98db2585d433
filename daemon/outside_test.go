package daemon_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	traces "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"grace"
	"grace/internal/patience"
)

// delivery is one request to a webhook that is told of incidents.
type delivery struct {
	key     string
	message struct {
		Kind     string
		Incident grace.IncidentID
		Run      grace.RunID
		Services []grace.ServiceID
	}
}

// hook is a webhook that refuses the first delivery.
type hook struct {
	URL  string
	slow time.Duration // to answer
	mu   sync.Mutex
	got  []delivery
}

func newHook(t *testing.T, token string) *hook {
	t.Helper()
	h := &hook{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d := delivery{key: r.Header.Get("Idempotency-Key")}
		err := json.NewDecoder(r.Body).Decode(&d.message)
		if err != nil || d.message.Kind != "unhealed" || r.Header.Get("Authorization") != "Bearer "+token {
			t.Errorf("delivered: %v, %+v, authorization %q", err, d, r.Header.Get("Authorization"))
		}
		h.mu.Lock()
		h.got = append(h.got, d)
		first := len(h.got) == 1
		h.mu.Unlock()
		time.Sleep(h.slow)
		if first {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	t.Cleanup(srv.Close)
	h.URL = srv.URL
	return h
}

// config is what tells it of incidents.
func (h *hook) config(authorization string) string {
	return "notify:\n  receivers: [{name: hook, type: webhook, url: '" + h.URL + "', headers: {Authorization: '" + authorization +
		"'}}]\n  routes: [{events: unhealed, receivers: hook, send_resolved: false}]\n"
}

func (h *hook) deliveries() []delivery {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.got)
}

func (h *hook) wait(t *testing.T, n int) []delivery {
	t.Helper()
	patience.Until(t, func() error {
		if got := len(h.deliveries()); got < n {
			return fmt.Errorf("%d deliveries, want %d", got, n)
		}
		return nil
	})
	return h.deliveries()
}

func TestNotification(t *testing.T) {
	t.Setenv("GRACE_TEST_HOOK", "s3cret")
	hook := newHook(t, "s3cret")
	g := newTarget(t)
	g.fail("POST", "/do/web", true)
	g.fail("POST", "/do/shop", true)
	text := hook.config("Bearer ${env:GRACE_TEST_HOOK}") + "services:\n"
	for _, service := range []string{"web", "shop"} {
		text += fmt.Sprintf("  - {name: %[1]s, criticality: medium, bindings: {restart_service: {auto: true, impact: low, "+
			"steps: [{name: restart, action: http, with: {url: '%[2]s/do/%[1]s'}, irreversible: true}], verify: [{type: http_health, url: '%[2]s/do/%[1]s'}]}}}\n", service, g.URL)
	}
	h := newHome(t, text)
	d, c := h.embed(t)
	c.alert("web")
	web := c.waitRun("web", grace.RunEscalated)
	first := hook.wait(t, 2)
	if first[0].key != first[1].key || first[0].key == "" {
		t.Errorf("the refused delivery was repeated with another key: %v", first)
	}
	if m := first[1].message; m.Run != web.ID || m.Incident != web.Incident || !slices.Contains(m.Services, "web") {
		t.Errorf("message %+v of run %s", m, web.ID)
	}

	// Where it was is kept over a restart: the next one comes alone.
	stop(t, d)
	_, c = h.embed(t)
	c.alert("shop")
	c.waitRun("shop", grace.RunEscalated)
	all := hook.wait(t, 3)
	if len(all) != 3 || !slices.Contains(all[2].message.Services, "shop") || all[2].key == all[1].key {
		t.Errorf("deliveries %+v, want the second incident once", all)
	}
}

// tracer is an OTLP/HTTP receiver.
type tracer struct {
	mu    sync.Mutex
	spans []*traces.Span
}

func (c *tracer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var req collector.ExportTraceServiceRequest
	b, err := io.ReadAll(r.Body)
	if err == nil {
		err = proto.Unmarshal(b, &req)
	}
	if err != nil || r.URL.Path != "/v1/traces" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, rs := range req.ResourceSpans {
		for _, ss := range rs.ScopeSpans {
			c.spans = append(c.spans, ss.Spans...)
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// byTrace gives the names of the spans of every trace, the root first.
func (c *tracer) byTrace() map[string][]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string][]string{}
	for _, s := range c.spans {
		id := string(s.TraceId)
		if len(s.ParentSpanId) == 0 {
			run := ""
			for _, a := range s.Attributes {
				if a.Key == "grace.run" {
					run = a.Value.GetStringValue()
				}
			}
			out[id] = slices.Insert(out[id], 0, s.Name+" "+run)
			continue
		}
		out[id] = append(out[id], s.Name)
	}
	return out
}

func TestOneTraceOfEveryRun(t *testing.T) {
	rec := &tracer{}
	srv := httptest.NewServer(rec)
	t.Cleanup(srv.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", srv.URL)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
	g := newTarget(t)
	d, c := newHome(t, web(g)).embed(t)
	run := c.waitRun("web", grace.RunSucceeded)
	patience.Until(t, func() error {
		if len(rec.byTrace()) == 0 {
			return errors.New("no trace")
		}
		return nil
	})
	stop(t, d) // which sends what is left
	got := rec.byTrace()
	if len(got) != 1 {
		t.Fatalf("%d traces, want 1: %v", len(got), got)
	}
	for _, spans := range got {
		if want := "run restart_service " + string(run.ID) + ", do restart, verify"; strings.Join(spans, ", ") != want {
			t.Errorf("spans %q, want %q", strings.Join(spans, ", "), want)
		}
	}
}
