package api

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"grace"
	"grace/internal/event"
	"grace/internal/loop"
)

func (e *env) why(id string) Explanation {
	e.t.Helper()
	return decode[Explanation](e.t, e.call("viewer", "GET", "/api/services/"+id+"/why", ""))
}

// TestSignalsAreNewest: a service's signals are shown with what was seen last.
func TestSignalsAreNewest(t *testing.T) {
	e := newEnv(t)
	stored := grace.Signal{
		Key: "db/objective/conns/many", Service: "db", Metric: "conns", State: grace.SignalFiring, Severity: grace.SeverityWarning, Kind: grace.SignalObjective,
		Value: 175, Threshold: 100, At: e.now.Add(-time.Minute), Since: e.now.Add(-time.Minute), Message: "conns 175 > 100",
	}
	e.apply(event.Given{Signals: []grace.Signal{stored}})
	newest := stored
	newest.Value, newest.At, newest.Message = 660, e.now, "conns 660 > 100"
	e.core.latest = map[grace.SignalKey]grace.Signal{newest.Key: newest}
	if got := decode[ServiceDetail](t, e.call("viewer", "GET", "/api/services/db", "")); len(got.Signals) != 1 || got.Signals[0].Value != 660 {
		t.Errorf("signals: %+v", got.Signals)
	}
	if w := e.why("db"); !strings.Contains(w.Text, "660 against 100") || !strings.Contains(w.Text, "(conns 660 > 100)") || len(w.Signals) != 1 || w.Signals[0].Value != 660 {
		t.Errorf("why: %s %+v", w.Text, w.Signals)
	}
}

// TestWhyFlapping: a decision about a service that flaps is named though its signal
// has changed since, and that it keeps changing is said first.
func TestWhyFlapping(t *testing.T) {
	e := newEnv(t)
	signal := grace.Signal{
		Key: "db/probe/up", Service: "db", Sensor: "probe", Metric: "up", State: grace.SignalFiring, Severity: grace.SeverityCritical, Flapping: true,
		At: e.now, Since: e.now.Add(-10 * time.Second),
	}
	e.apply(event.Given{Signals: []grace.Signal{signal}, Decisions: []grace.Decision{{
		ID: "d-1", Verdict: grace.VerdictNone, Service: "db", At: e.now.Add(-30 * time.Second), Diagnosis: grace.Diagnosis{Cause: "db", Code: grace.CodeServiceDown},
		Reasons: []grace.Reason{{Gate: "rate", Code: grace.ReasonRateLimited, Actual: 3.0, Required: 3.0}},
	}}})
	const changed = "no decision is recorded since its symptoms changed at 09:30:52; the last one, at 09:30:32, was propose nothing: rate: 3 proposals"
	if got := e.why("db").Summary; !strings.HasPrefix(got, "Nothing is done on db: "+changed) {
		t.Errorf("firing: %s", got)
	}
	signal.State = grace.SignalUnstable
	e.apply(event.Given{Signals: []grace.Signal{signal}})
	w := e.why("db")
	if want := "Nothing is done on db: up keeps changing and passed when last seen; nothing is done to a service while it passes."; w.Summary != want {
		t.Errorf("unstable: %s\nwant %s", w.Summary, want)
	}
	if !strings.Contains(w.Text, changed) {
		t.Errorf("unstable: %s", w.Text)
	}
}

// TestWhyWaitsForSample: what is configured and has had no sample yet is not what
// nothing judges.
func TestWhyWaitsForSample(t *testing.T) {
	e := newEnv(t)
	e.core.symptoms = map[grace.ServiceID]loop.Symptoms{"core": {Count: 2, Worst: grace.Signal{Service: "core", Sensor: "web-new", Metric: "up", State: grace.SignalUnknown}}}
	w := e.why("core")
	const want = "up of sensor web-new is configured and waits for its first sample, and 1 more does"
	if w.Summary != "Nothing is done on core: "+want+"." || !strings.Contains(w.Text, want) || strings.Contains(w.Text, "nothing judges it") || !strings.Contains(w.Text, "of its 2 signals") {
		t.Errorf("%s\n%s", w.Summary, w.Text)
	}
}

// TestWhyUndeclared: what is told of a service that nobody declared can be asked for.
func TestWhyUndeclared(t *testing.T) {
	e := newEnv(t)
	if rec := e.call("viewer", "GET", "/api/services/payments/why", ""); rec.Code != http.StatusNotFound {
		t.Errorf("of nothing: %d", rec.Code)
	}
	e.apply(event.Given{Signals: []grace.Signal{{
		Key: "payments/objective/Slow", Service: "payments", Metric: "Slow", Kind: grace.SignalObjective, State: grace.SignalFiring,
		Severity: grace.SeverityWarning, Message: "Slow 3 > 1", At: e.now, Since: e.now,
	}, {
		Key: "payments/objective/Full", Service: "payments", Metric: "Full", Kind: grace.SignalObjective,
		Severity: grace.SeverityWarning, Message: "Full 3 > 1, fires after 1h", At: e.now, FailingSince: testNow,
	}}})
	if w := e.why("payments"); w.Service.Status != grace.HealthDegraded || !strings.Contains(w.Text, "Slow 3 > 1") || !strings.Contains(w.Text, "Full pending since 09:31:02") {
		t.Errorf("%s", w.Text)
	}
}

// TestWhyVictimOfSilenced: nothing is done at a cause that is silenced.
func TestWhyVictimOfSilenced(t *testing.T) {
	e := newEnv(t)
	e.apply(story())
	if got := e.why("cart").Summary; !strings.Contains(got, "attributed to db") || !strings.HasSuffix(got, "what is done about them is done there.") {
		t.Error(got)
	}
	e.apply(event.Given{Silences: []grace.Silence{{ID: "s-1", Service: "db", Starts: e.now.Add(-time.Minute), Ends: e.now.Add(time.Hour), Reason: "moving it", Actor: "token:ada", At: e.now}}})
	const want = "; nothing is done there either: silenced until 2026-03-01 10:31 UTC by token:ada: moving it"
	if got := e.why("cart").Summary; !strings.HasSuffix(got, want+".") {
		t.Error(got)
	}
	if rec := e.signIn("viewer").send("GET", "/lite/services?q=cart", nil); !strings.Contains(rec.Body.String(), "nothing is done there either") {
		t.Errorf("the console does not say so: %s", rec.Body)
	}
}

// TestDiagnosisOfCleared: what a decision without a diagnosis has not is left out.
func TestDiagnosisOfCleared(t *testing.T) {
	d := grace.Decision{Service: "web", Diagnosis: grace.Diagnosis{Cause: "web"}, Verdict: grace.VerdictNone, Reasons: []grace.Reason{{Gate: "trigger", Code: grace.ReasonCleared}}}
	line := func() string { return decisionStages(&d)[0].Lines[0] }
	if got, want := line(), "nothing was diagnosed on web"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	d.Diagnosis.Code, d.Diagnosis.Since = grace.CodeServiceDown, testNow
	if got, want := line(), "service down on web, since 09:31:02"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	d.Diagnosis.Likelihood, d.Diagnosis.Impact = 0.9, grace.ImpactLow
	if got, want := line(), "service down on web, likelihood 0.90, impact low, since 09:31:02"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
