package api

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestBoundsAtTheEdge: what could not be written, shown or calculated with is
// refused where it comes in, with the field it is in. Each of these once ended
// all healing, or filled the disk.
func TestBoundsAtTheEdge(t *testing.T) {
	e := newEnv(t)
	long := strings.Repeat("x", 900_000)
	signal := func(more string) string { return `{"service":"a","metric":"m","value":1` + more + `}` }
	prediction := func(more string) string {
		return `{"event_type":"self_heal.prediction","source":"x","payload":{"service":"a","metric":"m","code":"c","likelihood":0.5` + more + `}}`
	}
	const breach = `,"breach_at":"2026-03-01T09:45:00Z"`
	for name, tt := range map[string]struct{ path, body, location string }{
		"a breach in the year 10000":   {"events", prediction(`,"breach_at":"9999-12-31T23:59:59-14:00"`), "body.payload.breach_at"},
		"a value that overflows":       {"ingest", `{"service":"a","metric":"m","value":1.7e308}`, "body.value"},
		"a threshold that overflows":   {"events", prediction(breach + `,"threshold":1.7e308`), "body.payload.threshold"},
		"NUL in a service":             {"ingest", `{"service":"a\u0000b","metric":"m","value":1}`, "body.service"},
		"NUL in a metric":              {"ingest", `{"service":"a","metric":"m\u0000","value":1}`, "body.metric"},
		"NUL in a message":             {"ingest", signal(`,"message":"a\u0000b"`), "body.message"},
		"an escape in a metric":        {"ingest", `{"service":"a","metric":"\u001b]52;c;aGk=\u0007","value":1}`, "body.metric"},
		"writing turned around":        {"ingest", `{"service":"a","metric":"a\u202eb","value":1}`, "body.metric"},
		"a reference for a service":    {"ingest", `{"service":"${env:SECRET}","metric":"m","value":1}`, "body.service"},
		"a path for a service":         {"ingest", `{"service":"../../admin","metric":"m","value":1}`, "body.service"},
		"a host for a service":         {"ingest", `{"service":"evil@host","metric":"m","value":1}`, "body.service"},
		"a flag for a service":         {"ingest", `{"service":"--force","metric":"m","value":1}`, "body.service"},
		"before 1970":                  {"ingest", signal(`,"at":"1969-12-31T23:59:59Z"`), "body.at"},
		"a long fingerprint":           {"ingest", `{"service":"a","kind":"alert","code":"c","fingerprint":"` + long + `"}`, "body.fingerprint"},
		"a long code":                  {"ingest", signal(`,"code":"` + long + `"`), "body.code"},
		"a long unit":                  {"ingest", signal(`,"unit":"` + long + `"`), "body.unit"},
		"a long label":                 {"ingest", signal(`,"labels":{"a":"` + long + `"}`), "body.labels.a"},
		"a long resource":              {"events", `{"event_type":"a.b","source":"x","resource":"` + long + `"}`, "body.resource"},
		"a long payload":               {"events", `{"event_type":"a.b","source":"x","payload":"` + long + `"}`, "body.payload"},
		"an event of the year 9999":    {"events", `{"event_type":"a.b","source":"x","timestamp":"9999-12-31T23:59:59-14:00"}`, "body.timestamp"},
		"a sensor's name":              {"events", `{"event_type":"health.signal","source":"web-probe","payload":{"service":"a","metric":"m","value":1}}`, "body.source"},
		"a look-alike for an actor":    {"events", `{"event_type":"a.b","source":"x","actor":"\u0430na"}`, "body.actor"},
		"a prediction for a reference": {"events", strings.Replace(prediction(breach), `"service":"a"`, `"service":"${file:/etc/passwd}"`, 1), "body.payload.service"},
	} {
		t.Run(name, func(t *testing.T) {
			path := map[string]string{"ingest": "/api/health/ingest_signal", "events": "/api/events"}[tt.path]
			p := problemOf(t, e.call("operator", "POST", path, tt.body), http.StatusUnprocessableEntity)
			if len(p.Errors) != 1 || p.Errors[0].Location != tt.location || p.Errors[0].Hint == "" {
				t.Errorf("errors %+v, want one at %s", p.Errors, tt.location)
			}
		})
	}
	if len(e.core.samples) != 0 || len(e.core.post.events) != 0 {
		t.Error("something was taken")
	}
}

// TestExpiryIsBounded: a token or a mode that ends in the year 10000 emptied
// the list it stood in.
func TestExpiryIsBounded(t *testing.T) {
	e := newEnv(t)
	p := problemOf(t, e.call("admin", "POST", "/api/tokens", `{"name":"x","role":"viewer","expires":"9999-12-31T23:59:59-14:00"}`), http.StatusUnprocessableEntity)
	if !strings.Contains(p.Detail, "too far") {
		t.Error(p.Detail)
	}
	problemOf(t, e.call("admin", "PUT", "/api/governance/mode", `{"mode":"stopped","reason":"a drill","expires":"9999-12-31T23:59:59-14:00"}`), http.StatusUnprocessableEntity)
	problemOf(t, e.call("admin", "PUT", "/api/governance/mode", `{"mode":"stopped","reason":"a\u0000drill"}`), http.StatusUnprocessableEntity)
}

// TestAheadCountsAsNow: a clock that runs a little ahead does not make the
// samples of others look late. What is ahead by more comes as it is dated: the loop
// tells who says it again from who is alive.
func TestAheadCountsAsNow(t *testing.T) {
	for ahead, want := range map[time.Duration]time.Time{slightlyAhead: testNow, maxAhead: testNow.Add(maxAhead)} {
		e := newEnv(t)
		body := `{"service":"a","metric":"m","value":1,"at":"` + testNow.Add(ahead).Format("2006-01-02T15:04:05Z07:00") + `"}`
		if rec := e.call("operator", "POST", "/api/health/ingest_signal", body); rec.Code != http.StatusAccepted {
			t.Fatal(rec.Body)
		}
		if got := e.core.samples[0].At; !got.Equal(want) {
			t.Errorf("ahead by %s: taken as of %s, want %s", ahead, got, want)
		}
	}
}
