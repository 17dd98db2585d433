package api

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"grace"
	"grace/internal/event"
	"grace/internal/loop"
	"grace/internal/notify"
	"grace/internal/store"
	"grace/sensor/alertmanager"
)

// silencedWorld has a silence of db and ghost, an alert about cart that its
// source keeps silent, a service that only alerts speak of, and a skipped alert.
func silencedWorld(e *env) {
	e.apply(event.Given{
		Silences: []grace.Silence{
			{ID: "s-1", Regex: "db|ghost", Starts: at(-time.Hour), Ends: at(time.Hour), Reason: "new disk", Actor: "token:ana"},
			{ID: "s-2", Service: "checkout", Starts: at(time.Hour), Ends: at(2 * time.Hour), Reason: "to come", Actor: "token:bo"},
		},
		Signals: []grace.Signal{
			{Key: "cart/alertmanager/Lag/f1", Service: "cart", Sensor: "alertmanager", Metric: "Lag", State: grace.SignalFiring, Severity: grace.SeverityWarning, Silenced: "silence 7 (bo: deploy)", Since: at(-time.Minute)},
			{Key: "db/shop/up", Service: "db", Sensor: "shop", Metric: "up", Code: grace.CodeServiceDown, State: grace.SignalFiring, Severity: grace.SeverityCritical, Since: at(-time.Minute)},
		},
	})
	e.core.undeclared = []grace.Signal{
		{Key: "billing/alertmanager/DiskFull/f2", Service: "billing", Metric: "DiskFull", Code: grace.CodeInvestigation, State: grace.SignalFiring, Message: "disk is full", Since: at(-time.Minute)},
		{Key: "ghost/alertmanager/Down/f3", Service: "ghost", Metric: "Down", State: grace.SignalFiring, Since: at(-time.Minute)},
	}
	e.core.notTaken = []SkippedAlerts{{Skipped: alertmanager.Skipped{Alert: "Watchdog", Reason: "it has no label service"}, Times: 3, Last: at(-time.Second)}}
}

// What is silenced is said by the API wherever a service is, with who, until
// when and why; an alert that its source silenced is told apart.
func TestSilencedIsShownByTheAPI(t *testing.T) {
	e := newEnv(t)
	silencedWorld(e)
	want := map[grace.ServiceID]string{
		"db":    "[{s-1 token:ana new disk 2026-03-01 10:31:02 +0000 UTC  }]",
		"cart":  "[{   0001-01-01 00:00:00 +0000 UTC Lag silence 7 (bo: deploy)}]",
		"ghost": "[{s-1 token:ana new disk 2026-03-01 10:31:02 +0000 UTC  }]",
	}
	check := func(path string, id grace.ServiceID, got []SilencedBy) {
		t.Helper()
		text := ""
		if len(got) > 0 {
			text = fmt.Sprint(got)
		}
		if text != want[id] {
			t.Errorf("%s: %s is silenced by %s, want %s", path, id, text, want[id])
		}
	}
	for _, v := range decode[List[ServiceView]](t, e.call("viewer", "GET", "/api/services", "")).Items {
		check("/api/services", v.ID, v.Silenced)
		one := decode[ServiceDetail](t, e.call("viewer", "GET", "/api/services/"+string(v.ID), ""))
		check("/api/services/"+string(v.ID), v.ID, one.Silenced)
	}
	for _, v := range decode[List[HealthView]](t, e.call("viewer", "GET", "/api/health/state", "")).Items {
		check("/api/health/state", v.Service, v.Silenced)
	}
	for _, v := range decode[AlertsView](t, e.call("viewer", "GET", "/api/alerts", "")).Undeclared {
		check("/api/alerts", v.Service, v.Silenced)
	}
}

// A new silence names what it matches, or warns that it matches nothing: a name
// spelled wrong is found out at once.
func TestNewSilenceSaysWhatItMatches(t *testing.T) {
	e := newEnv(t)
	silencedWorld(e)
	b := e.signIn("operator")
	csrf := b.csrf("/lite/silences")
	for service, want := range map[string]string{"c*": "[cart checkout core] ", "gh*": "[ghost] ", "datab*": "[] " + matchesNothing} {
		got := decode[AddedSilence](t, e.call("operator", "POST", "/api/silences", `{"service":"`+service+`","ends":"2027-01-01T00:00:00Z","reason":"moving it"}`))
		if text := fmt.Sprint(got.Matching, " ", got.Warning); text != want || got.Service != service {
			t.Errorf("%s: %q, want %q", service, text, want)
		}
		rec := b.send("POST", "/lite/silences", url.Values{"csrf": {csrf}, "service": {service}, "for": {"1h"}, "reason": {"moving it"}})
		if rec.Code != http.StatusSeeOther || rec.Header().Get("Location") != "../lite/silences#s-1" {
			t.Errorf("%s: %d to %q", service, rec.Code, rec.Header().Get("Location"))
		}
	}
	e.apply(event.Given{Silences: []grace.Silence{{ID: "s-9", Service: "datab*", Starts: at(-time.Hour), Ends: at(time.Hour), Reason: "moving it", Actor: "token:bo"}}})
	page := b.send("GET", "/lite/silences", nil).Body.String()
	for _, want := range []string{`role="alert">Matches no service that GRACE knows`, "Matches 2 services: db, ghost.", "Matches 1 service: checkout.", `#s-ghost">ghost</a> <span class="muted">Down`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

// The pages mark what is silenced, and show what leads to no action.
func TestPagesShowSilencedAndAstray(t *testing.T) {
	e := newEnv(t)
	silencedWorld(e)
	e.core.notifications.Receivers = []notify.ReceiverStatus{
		{Receiver: store.Receiver{Name: "pager", FailingSince: new(at(-time.Hour)), Error: "refused"}, Letters: 2}, {Receiver: store.Receiver{Name: "chat"}},
	}
	e.core.unmeasured = []loop.NeverMeasured{{Name: "errors", Service: "cart", Selector: `x{a="b"}`}, {Name: "full", Limit: true, Selector: "disk"}}
	b := e.signIn("viewer")
	astray := []string{
		"Never measured, since nothing gives what is in brackets: objective errors of cart (x{a=&#34;b&#34;}), limit full (disk).",
		"Undeclared services", ">billing</a>", "disk is full", "Alerts that were not taken", "Watchdog", "it has no label service",
		"silenced until 2026-03-01 10:31 UTC by token:ana: new disk", "the alert Lag is silenced at its source: silence 7 (bo: deploy)",
	}
	for path, tt := range map[string]struct {
		wants []string
		marks int
	}{
		"/lite":                  {append(astray, "Receiver pager: 2 dead letters, failing since 2026-03-01 08:31 UTC: refused"), 3},
		"/lite/services":         {astray, 3},
		"/lite/services?q=db":    {[]string{"silenced until 2026-03-01 10:31 UTC by token:ana: new disk"}, 1},
		"/lite/services?q=bill":  {[]string{`No declared service matches "bill"`, `id="s-billing"`}, 0},
		"/lite/services?q=nobdy": {[]string{`No service matches "nobdy"`}, 0},
	} {
		body := b.send("GET", path, nil).Body.String()
		for _, want := range tt.wants {
			if !strings.Contains(body, want) {
				t.Errorf("%s lacks %q", path, want)
			}
		}
		if n := strings.Count(body, "tone-silenced"); n != tt.marks {
			t.Errorf("%s marks %d services as silenced, want %d", path, n, tt.marks)
		}
		if strings.Contains(body, "Receiver chat") || strings.Contains(path, "?q=") && strings.Contains(body, "Watchdog") {
			t.Errorf("%s shows what it should not", path)
		}
	}
}

// The number over the active conditions is that of the rows, predictions too.
func TestConditionsAreCounted(t *testing.T) {
	e := newEnv(t)
	silencedWorld(e)
	e.apply(event.Given{Predictions: []grace.Prediction{{
		ID: "p-1", Key: "checkout/shop/latency_ms", Service: "checkout", Metric: "latency_ms", Code: grace.CodeLatencySpike, Likelihood: 0.9, Outcome: grace.PredictionOpen,
		Published: new(at(-time.Minute)), At: at(-time.Minute), BreachAt: at(10 * time.Minute),
	}}})
	body := e.signIn("viewer").send("GET", "/lite", nil).Body.String()
	_, section, _ := strings.Cut(body, `aria-labelledby="conditions"`)
	section, _, _ = strings.Cut(section, "</section>")
	if rows := strings.Count(section, `scope="row"`); rows != 3 || !strings.Contains(section, fmt.Sprintf(`Active conditions <span class="count">%d</span>`, rows)) {
		t.Errorf("%d rows under %.200s", rows, section)
	}
}
