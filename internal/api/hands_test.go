package api

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"grace"
	"grace/internal/event"
	"grace/internal/store"
)

func TestRunByHand(t *testing.T) {
	e := newEnv(t)
	const path = "/api/playbooks/restart_service/run"
	const body = `{"service":"checkout","reason":"it hangs"}`
	const override = `{"service":"checkout","reason":"it hangs","override":true}`
	// A sender of alerts and telemetry has the role operator: it may only say
	// that something is wrong.
	for _, role := range []string{"viewer", "operator"} {
		problemOf(t, e.call(role, "POST", path, body), http.StatusForbidden)
		problemOf(t, e.call(role, "POST", path, override), http.StatusForbidden)
	}
	if rec := e.call("approver", "POST", path, body); rec.Code != http.StatusAccepted {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	if rec := e.call("approver", "POST", path, override); rec.Code != http.StatusAccepted {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	problemOf(t, e.call("approver", "POST", path, `{"service":"checkout"}`), http.StatusUnprocessableEntity)
	want := []ByHand{
		{Playbook: "restart_service", Service: "checkout", Reason: "it hangs"},
		{Playbook: "restart_service", Service: "checkout", Reason: "it hangs", Override: true},
	}
	if len(e.core.byHand) != 2 || e.core.byHand[0].Reason != want[0].Reason || !e.core.byHand[1].Override || e.core.byHand[0].Override {
		t.Errorf("asked for %+v", e.core.byHand)
	}
}

// TestResolvedIncidentStays: who is too late is told who was first.
func TestResolvedIncidentStays(t *testing.T) {
	e := newEnv(t)
	e.apply(event.Given{Incidents: []grace.Incident{{
		ID: "i-1", State: grace.IncidentResolved, Title: "t", Severity: grace.SeverityWarning, OpenedAt: at(-time.Hour), ResolvedAt: new(at(-time.Minute)), Resolution: "resolved by token:ana: new disk",
	}}})
	e.core.fail(fmt.Errorf("incident i-1: %w", store.ErrConflict))
	for _, verb := range []string{"resolve", "acknowledge", "note"} {
		p := problemOf(t, e.call("operator", "POST", "/api/incidents/i-1/"+verb, `{"reason":"the disk is new"}`), http.StatusConflict)
		if !strings.HasPrefix(p.Detail, "incident i-1 is already resolved since 20") || !strings.HasSuffix(p.Detail, ": resolved by token:ana: new disk") || p.State != "resolved" {
			t.Errorf("%s says %+v", verb, p)
		}
	}
}

func TestHands(t *testing.T) {
	e := newEnv(t)
	for _, tt := range []struct {
		role, path, body string
		status           int
	}{
		{"operator", "/api/silences", `{"service":"web*","ends":"2027-01-01T00:00:00Z","reason":"moving it"}`, http.StatusCreated},
		{"viewer", "/api/silences", `{"service":"web*","ends":"2027-01-01T00:00:00Z","reason":"moving it"}`, http.StatusForbidden},
		{"operator", "/api/silences", `{"service":"web*","reason":"moving it"}`, http.StatusUnprocessableEntity},
		{"operator", "/api/silences/s-1/end", `{"reason":"done"}`, http.StatusOK},
		{"operator", "/api/incidents/i-1/acknowledge", `{"reason":"I look after it"}`, http.StatusOK},
		{"operator", "/api/incidents/i-1/note", `{"reason":"the disk was full"}`, http.StatusOK},
		{"operator", "/api/incidents/i-1/resolve", `{"reason":"disk emptied"}`, http.StatusOK},
		{"viewer", "/api/incidents/i-1/note", `{"reason":"the disk was full"}`, http.StatusForbidden},
		{"operator", "/api/signals/forget", `{"key":"web/alertmanager/Down/f1","reason":"its source is gone"}`, http.StatusNoContent},
		{"operator", "/api/signals/forget", `{"key":"","reason":"its source is gone"}`, http.StatusUnprocessableEntity},
	} {
		if rec := e.call(tt.role, "POST", tt.path, tt.body); rec.Code != tt.status {
			t.Errorf("%s %s as %s: %d %s", tt.path, tt.body, tt.role, rec.Code, rec.Body)
		}
	}
	if len(e.core.forgotten) != 1 || e.core.forgotten[0] != grace.SignalKey("web/alertmanager/Down/f1") {
		t.Errorf("forgotten %v", e.core.forgotten)
	}
	if rec := e.call("viewer", "GET", "/api/silences", ""); rec.Code != http.StatusOK {
		t.Errorf("list: %d %s", rec.Code, rec.Body)
	}
}

// TestSilencesAreBounded: a silence is for a time that there is.
func TestSilencesAreBounded(t *testing.T) {
	e := newEnv(t)
	add := func(times string) *httptest.ResponseRecorder {
		return e.call("operator", "POST", "/api/silences", `{"service":"web*","reason":"moving it",`+times+`}`)
	}
	for times, want := range map[string]string{
		`"ends":"9999-12-31T23:59:59-14:00"`:                            "body.ends", // which is a time of the year 10000
		`"ends":"2036-03-09T09:31:03Z"`:                                 "body.ends",
		`"ends":"2027-03-02T09:31:03Z"`:                                 "body.ends", // 366 days and a second
		`"starts":"2026-03-10T00:00:00Z","ends":"2027-07-20T00:00:00Z"`: "body.ends",
		`"ends":"2026-03-01T09:31:02Z"`:                                 "body.ends",
		`"starts":"0000-01-01T00:00:00Z","ends":"2026-03-02T00:00:00Z"`: "body.starts",
	} {
		p := problemOf(t, add(times), http.StatusUnprocessableEntity)
		if len(p.Errors) != 1 || p.Errors[0].Location != want || p.Errors[0].Hint == "" {
			t.Errorf("%s: %+v", times, p)
		}
	}
	if len(e.core.silences) != 0 {
		t.Fatalf("silenced: %+v", e.core.silences)
	}
	if rec := add(`"ends":"2027-03-02T11:31:02+02:00"`); rec.Code != http.StatusCreated || !strings.Contains(rec.Body.String(), `"ends":"2027-03-02T09:31:02Z"`) {
		t.Errorf("366 days: %d %s", rec.Code, rec.Body)
	}
	if rec := add(`"starts":"2028-03-01T00:00:00Z","ends":"2028-03-02T00:00:00Z"`); rec.Code != http.StatusCreated {
		t.Errorf("a day in two years: %d %s", rec.Code, rec.Body)
	}
}

// TestSilenceByExpression: ~ before a service's name is a regular expression, as
// it is in alertmanager.map, and not a name that nothing has.
func TestSilenceByExpression(t *testing.T) {
	e := newEnv(t)
	for body, want := range map[string]string{
		`"service":"~(c|ch).*"`:                  "",
		`"regex":"(c|ch).*"`:                     "",
		`"service":"~("`:                         "body.service",
		`"regex":"("`:                            "body.regex",
		`"regex":"c)|(d"`:                        "body.regex",
		`"service":"web","labels":{"t":"~shop"}`: "body.labels.t",
		`"service":"~web","regex":"db"`:          "either",
		`"service":"~"`:                          "say what is silenced",
	} {
		rec := e.call("operator", "POST", "/api/silences", `{"ends":"2026-03-02T00:00:00Z","reason":"moving it",`+body+`}`)
		if want != "" {
			if p := problemOf(t, rec, http.StatusUnprocessableEntity); !strings.Contains(p.Detail, want) {
				t.Errorf("%s: %+v", body, p)
			}
			continue
		}
		got := decode[AddedSilence](t, rec)
		if got.Service != "" || got.Regex != "(c|ch).*" || len(got.Matching) != 3 || got.Warning != "" {
			t.Errorf("%s: %+v", body, got)
		}
	}
}
