package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"grace"
	"grace/internal/event"
	"grace/internal/loop"
	"grace/internal/store"
)

const decisionPath = "/api/governance/approvals/r-1/decision"

func TestDecideApproval(t *testing.T) {
	e := newEnv(t)
	e.apply(story())
	rec := e.call("viewer", "GET", "/api/governance/approvals/r-1", "")
	if tag := rec.Header().Get("ETag"); tag != `"1"` {
		t.Fatalf("ETag %q", tag)
	}
	rec = e.call("approver", "POST", decisionPath, `{"decision":"approve","reason":"looks right"}`, "If-Match", `"1"`)
	if a := decode[grace.Approval](t, rec); a.Revision != 2 || rec.Header().Get("ETag") != `"2"` {
		t.Errorf("%+v, ETag %s", a, rec.Header().Get("ETag"))
	}
	want := DecisionInput{Approve: true, Reason: "looks right", Actor: "token:approver", Revision: 1}
	if len(e.core.decided) != 1 || e.core.decided[0] != want {
		t.Errorf("decided %+v, want %+v", e.core.decided, want)
	}
	decode[grace.Approval](t, e.call("admin", "POST", decisionPath, `{"decision":"deny","reason":"not now","revision":3}`))
	if got := e.core.decided[1]; got.Approve || got.Revision != 3 {
		t.Errorf("decided %+v", got)
	}
}

func TestDecisionRefused(t *testing.T) {
	e := newEnv(t)
	body := `{"decision":"approve","reason":"looks right","revision":1}`
	for name, tt := range map[string]struct {
		body   string
		header []string
		status int
	}{
		"no revision":      {body: `{"decision":"approve","reason":"looks right"}`, status: 428},
		"two revisions":    {body: body, header: []string{"If-Match", `"2"`}, status: 400},
		"bad If-Match":     {body: body, header: []string{"If-Match", `*`}, status: 400},
		"neither":          {body: `{"decision":"maybe","reason":"looks right","revision":1}`, status: 422},
		"short reason":     {body: `{"decision":"deny","reason":"ok","revision":1}`, status: 422},
		"long reason":      {body: `{"decision":"deny","reason":"` + strings.Repeat("x", 501) + `","revision":1}`, status: 422},
		"reason of spaces": {body: `{"decision":"deny","reason":"      ","revision":1}`, status: 422},
	} {
		t.Run(name, func(t *testing.T) {
			problemOf(t, e.call("approver", "POST", decisionPath, tt.body, tt.header...), tt.status)
		})
	}
	if len(e.core.decided) != 0 {
		t.Fatalf("a refused decision reached the core: %+v", e.core.decided)
	}
	e.core.fail(deniedByAna())
	p := problemOf(t, e.call("approver", "POST", decisionPath, body), http.StatusConflict)
	if p.DecidedBy != "token:ana" || p.DecidedAt == nil || !p.DecidedAt.Equal(at(-14*time.Second)) || p.State != "denied" || p.Approval != "r-1" ||
		!strings.Contains(p.Detail, "token:ana") || !strings.Contains(p.Detail, "2026-03-01T09:30:48Z") {
		t.Errorf("409 says %+v", p)
	}
	e.core.fail(&loop.ExpiredError{Approval: grace.Approval{Expires: at(-time.Minute)}})
	p = problemOf(t, e.call("approver", "POST", decisionPath, body), http.StatusBadRequest)
	if p.ExpiredAt == nil || !p.ExpiredAt.Equal(at(-time.Minute)) || !strings.Contains(p.Detail, "2026-03-01T09:30:02Z") {
		t.Errorf("400 says %+v", p)
	}
	e.core.fail(fmt.Errorf("write: %w", store.ErrConflict))
	problemOf(t, e.call("approver", "POST", decisionPath, body), http.StatusConflict)
	e.core.fail(store.ErrNotFound)
	problemOf(t, e.call("approver", "POST", decisionPath, body), http.StatusNotFound)
}

func TestDecisionsAreLimitedPerPerson(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.DecisionsPerMinute, c.DecisionBurst = 6, 2 })
	decide := func(role string) *http.Response {
		return e.call(role, "POST", decisionPath, `{"decision":"deny","reason":"not now","revision":1}`).Result()
	}
	for i := range 2 {
		if r := decide("approver"); r.StatusCode != 200 {
			t.Fatalf("decision %d answers %d", i, r.StatusCode)
		}
	}
	rec := e.call("approver", "POST", decisionPath, `{"decision":"deny","reason":"not now","revision":1}`)
	problemOf(t, rec, http.StatusTooManyRequests)
	if after := rec.Header().Get("Retry-After"); after != "10" {
		t.Errorf("Retry-After %q, want 10: one in ten seconds at 6 a minute", after)
	}
	if r := decide("admin"); r.StatusCode != 200 {
		t.Errorf("another token is limited too: %d", r.StatusCode)
	}
	e.now = e.now.Add(10 * time.Second)
	if r := decide("approver"); r.StatusCode != 200 {
		t.Errorf("after Retry-After: %d", r.StatusCode)
	}
}

// What was refused as wrong or too late has decided nothing, and does not use
// up the limit.
func TestRefusedDecisionsAreNotCounted(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.DecisionsPerMinute, c.DecisionBurst = 6, 2 })
	run := func() int {
		return e.call("approver", "POST", "/api/playbooks/restart_service/run", `{"service":"checkout","reason":"it hangs"}`).Code
	}
	for _, refusal := range []struct {
		err  error
		code int
	}{{&Invalid{Message: "unknown service"}, 422}, {store.ErrNotFound, 404}, {store.ErrConflict, 409}, {&loop.ExpiredError{}, 400}} {
		e.core.fail(refusal.err)
		for range 3 {
			if code := run(); code != refusal.code {
				t.Fatalf("%v answers %d", refusal.err, code)
			}
		}
	}
	e.core.fail(nil)
	for i, want := range []int{202, 202, 429} {
		if code := run(); code != want {
			t.Errorf("run %d answers %d, want %d", i, code, want)
		}
	}
}

func TestMode(t *testing.T) {
	e := newEnv(t)
	e.apply(event.Given{Mode: &grace.ModeSetting{Mode: grace.ModeAutonomous, Reason: "calm", Actor: "token:ana", Since: at(-time.Hour), Revision: 1}})
	if m := decode[ModeView](t, e.call("viewer", "GET", "/api/governance/mode", "")); m.InForce != grace.ModeAutonomous || m.Reason != "calm" {
		t.Errorf("%+v", m)
	}
	m := decode[ModeView](t, e.call("admin", "PUT", "/api/governance/mode", `{"mode":"stopped","reason":"release","expires":"2026-03-01T10:00:00Z"}`))
	if m.InForce != grace.ModeStopped || m.Fallback != grace.ModeAutonomous || m.Actor != "token:admin" || !m.Since.Equal(testNow) {
		t.Errorf("%+v", m)
	}
	e.core.fail(store.ErrConflict)
	problemOf(t, e.call("admin", "PUT", "/api/governance/mode", `{"mode":"stopped","reason":"release","revision":1}`), http.StatusConflict)
}

func TestReads(t *testing.T) {
	e := newEnv(t)
	change := story()
	change.Incidents = []grace.Incident{{ID: "i-1", State: grace.IncidentOpen, Title: "storm", Severity: grace.SeverityCritical, OpenedAt: at(-time.Minute)}}
	change.Learning = []grace.LearningEntry{
		{ID: "l-1", Service: "db", Diagnosis: grace.CodeServiceDown, Playbook: "restart_service", Run: "r-0", Result: grace.ResultSuccess, State: grace.RunSucceeded, At: at(-2 * time.Hour)},
		{ID: "l-2", Service: "cart", Diagnosis: grace.CodeServiceDown, Playbook: "restart_service", Run: "r-00", Result: grace.ResultFailure, State: grace.RunRolledBack, At: at(-time.Hour)},
	}
	change.Predictions = []grace.Prediction{{Key: "k", Service: "cart", Metric: "m", Code: "capacity", Likelihood: 0.8, BreachAt: at(time.Minute), At: testNow}}
	e.apply(change)
	for _, path := range []string{
		"/api/runs?status=awaiting_approval&service=db&open=true&limit=1", "/api/runs/r-1", "/api/governance/approvals?state=pending",
		"/api/governance/decisions?decision=require_approval", "/api/governance/decisions/dec-1", "/api/incidents?state=open", "/api/incidents/i-1",
		"/api/self_heal/learning?service=db&time_bucket=24h", "/api/self_heal/kpis", "/api/log/entries?object=run/r-1", "/api/predictions", "/api/services/db",
		"/api/services", "/api/playbooks/", "/api/playbooks", "/api/playbooks/warm_cache", "/api/health/state", "/api/health/state?service=core", "/api/log/verify",
	} {
		rec := e.call("viewer", "GET", path, "")
		if rec.Code != http.StatusOK {
			t.Errorf("%s: %d %s", path, rec.Code, rec.Body)
			continue
		}
		var v any
		if err := json.Unmarshal(rec.Body.Bytes(), &v); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if strings.Contains(rec.Body.String(), ":null") {
			t.Errorf("%s holds a null: %s", path, rec.Body)
		}
		if list, isList := v.(map[string]any); isList && strings.Contains(path, "?") && list["items"] != nil && len(list["items"].([]any)) == 0 {
			t.Errorf("%s is empty", path)
		}
	}
	l := decode[Learning](t, e.call("viewer", "GET", "/api/self_heal/learning?service=db", ""))
	if len(l.Items) != 1 || len(l.Rates) != 1 || l.Rates[0].Successes != 1 {
		t.Errorf("learning of db: %+v", l)
	}
	if r := decode[DryRun](t, e.call("operator", "POST", "/api/playbooks/warm_cache/dry_run", `{"service":"cart","parameters":{"ttl":5}}`)); r.Service != "cart" || r.Parameters["ttl"] != 5.0 {
		t.Errorf("dry run %+v", r)
	}
	if rec := e.call("operator", "POST", "/api/incidents/i-1/resolve", `{"reason":"fixed it"}`); rec.Code != 200 {
		t.Errorf("resolve: %d %s", rec.Code, rec.Body)
	}
	if rec := e.call("admin", "POST", "/api/config/reload", ""); rec.Code != 200 {
		t.Errorf("reload: %d %s", rec.Code, rec.Body)
	}
}

func TestPagingReachesEverything(t *testing.T) {
	e := newEnv(t)
	var runs []grace.Run
	for i := range 7 {
		runs = append(runs, grace.Run{ID: grace.RunID(fmt.Sprintf("r-%d", i)), Status: grace.RunDenied, Service: "db", Revision: 1, CreatedAt: at(time.Duration(i) * time.Minute)})
	}
	e.apply(event.Given{Runs: runs})
	seen := map[string]bool{}
	walk(t, e, "/api/runs?limit=3", func(item map[string]any) { seen[item["id"].(string)] = true })
	if len(seen) != 7 {
		t.Errorf("%d runs seen, want 7", len(seen))
	}
	var ids []string
	walk(t, e, "/api/services?limit=3", func(item map[string]any) { ids = append(ids, item["id"].(string)) })
	if strings.Join(ids, " ") != "cart checkout core db" {
		t.Errorf("services %v", ids)
	}
}

func walk(t *testing.T, e *env, path string, visit func(map[string]any)) {
	t.Helper()
	next := ""
	for range 10 {
		l := decode[List[map[string]any]](t, e.call("viewer", "GET", path+"&cursor="+next, ""))
		for _, item := range l.Items {
			visit(item)
		}
		if next = l.Next; next == "" {
			return
		}
	}
	t.Error("the list does not end")
}

func TestWhyRun(t *testing.T) {
	e := newEnv(t)
	e.apply(story())
	w := decode[Explanation](t, e.call("viewer", "GET", "/api/runs/r-1/why", ""))
	var names []string
	for _, st := range w.Stages {
		names = append(names, st.Name)
	}
	if got := strings.Join(names, " "); got != "trigger diagnosis proposal gates approval outcome" {
		t.Errorf("stages %s", got)
	}
	for _, want := range []string{
		"flush_circuit_breakers on db for circuit breaker open: waiting for approval",
		"evidence 0.60: error_ratio 0.21 over 0.05", "victims, not treated themselves: cart",
		"NO  blast radius: 3, required at most 2 (blast_radius_too_large); trust.max_blast_radius limits", "yes confidence: 0.86, required at least 0.7",
		"09:26:02: elevated errors on db (critical): errors are up", "open until 09:57:02",
	} {
		if !strings.Contains(w.Text, want) {
			t.Errorf("the text lacks %q:\n%s", want, w.Text)
		}
	}
	if w.Run == nil || w.Decision == nil || w.Approval == nil || len(w.Triggers) != 1 {
		t.Error("records are missing")
	}
}

func TestWhyService(t *testing.T) {
	e := newEnv(t)
	why := func(id string) Explanation {
		return decode[Explanation](t, e.call("viewer", "GET", "/api/services/"+id+"/why", ""))
	}
	if w := why("checkout"); w.Summary != "Nothing is wrong with checkout." {
		t.Error(w.Summary)
	}
	if w := why("core"); !strings.Contains(w.Summary, "no sensor has fresh data") || !strings.Contains(w.Text, "nothing judges it yet") {
		t.Error(w.Summary)
	}
	if w := why("db"); !strings.Contains(w.Summary, "no decision on it is recorded yet") {
		t.Error(w.Summary)
	}
	e.apply(story())
	if w := why("db"); !strings.Contains(w.Summary, "until a person answers: run r-1, flush_circuit_breakers, waits for approval") {
		t.Error(w.Summary)
	}
	if w := why("cart"); !strings.Contains(w.Summary, "attributed to db (circuit breaker open") {
		t.Error(w.Summary)
	}
	e.apply(event.Given{Decisions: []grace.Decision{{
		ID: "dec-2", Verdict: grace.VerdictNone, Service: "cart", At: at(-time.Second), Diagnosis: grace.Diagnosis{Cause: "cart", Code: grace.CodeLatencySpike},
		Reasons: []grace.Reason{{Gate: "backoff", Code: grace.ReasonBackoff, Actual: 2.0, Source: "playbook/restart_service", Until: new(at(10 * time.Minute))}},
	}}})
	if w := why("cart"); !strings.Contains(w.Summary, "backoff: restart_service failed 2 times in a row, required not before ") {
		t.Error(w.Summary)
	}
}

// TestWhyLeavesOut: a person's run, and what was decided before the present
// condition began, do not say why nothing is done now; who silenced an alert does.
func TestWhyLeavesOut(t *testing.T) {
	e := newEnv(t)
	decided := func(id string, kind grace.TriggerKind, before time.Duration, proposals float64) grace.Decision {
		return grace.Decision{
			ID: grace.DecisionID(id), Verdict: grace.VerdictNone, Service: "db", At: e.now.Add(-before), Diagnosis: grace.Diagnosis{Cause: "db", Kind: kind},
			Reasons: []grace.Reason{{Gate: "rate", Code: grace.ReasonRateLimited, Actual: proposals, Required: 3.0}},
		}
	}
	signal := grace.Signal{
		Key: "db/probe/up", Service: "db", Sensor: "probe", Metric: "up", State: grace.SignalFiring, Severity: grace.SeverityCritical,
		At: e.now, Since: e.now.Add(-10 * time.Minute),
	}
	e.apply(event.Given{Signals: []grace.Signal{signal}, Decisions: []grace.Decision{
		decided("d-1", grace.TriggerReactive, time.Hour, 5),
		decided("d-2", grace.TriggerManual, time.Minute, 6),
	}})
	why := func() string {
		return decode[Explanation](t, e.call("viewer", "GET", "/api/services/db/why", "")).Summary
	}
	if got := why(); !strings.Contains(got, "no decision on it is recorded yet") {
		t.Errorf("got %q", got)
	}
	e.apply(event.Given{Decisions: []grace.Decision{decided("d-3", grace.TriggerReactive, 5*time.Minute, 7)}})
	if got := why(); !strings.Contains(got, "7 proposals") {
		t.Errorf("got %q, want the decision of its own", got)
	}
	signal.Silenced = "token:bob in alertmanager"
	e.apply(event.Given{Signals: []grace.Signal{signal}})
	if got := why(); !strings.Contains(got, "silenced at its source: token:bob") {
		t.Errorf("got %q, want who silenced it", got)
	}
}

// TestWhyWaits: an approved run that waits for a change window is not at it.
func TestWhyWaits(t *testing.T) {
	e := newEnv(t)
	e.apply(event.Given{
		Runs: []grace.Run{{
			ID: "r-1", Status: grace.RunApproved, Service: "db", Playbook: grace.Playbook{ID: "restart_service"}, Code: grace.CodeServiceDown,
			Decision: "d-1", Revision: 1, CreatedAt: testNow,
			Reasons: []grace.Reason{{Gate: "change_window", Code: grace.ReasonOutsideWindow, Actual: "outside", Until: new(at(8 * time.Hour))}},
		}},
		Decisions: []grace.Decision{{ID: "d-1", Service: "db", Verdict: grace.VerdictAllow, Run: "r-1", At: testNow}},
	})
	until := "a change window; the next opens " + at(8*time.Hour).UTC().Format(time.RFC3339) + "; the run expires " + testNow.Add(24*time.Hour).UTC().Format(time.RFC3339)
	why := decode[Explanation](t, e.call("viewer", "GET", "/api/services/db/why", ""))
	if want := "Nothing is done on db yet: run r-1, restart_service, is approved and waits for " + until + "."; why.Summary != want {
		t.Errorf("%s\nwant\n%s", why.Summary, want)
	}
	why = decode[Explanation](t, e.call("viewer", "GET", "/api/runs/r-1/why", ""))
	if want := "restart_service on db for service down: approved, waits for " + until + "."; why.Summary != want {
		t.Errorf("%s\nwant\n%s", why.Summary, want)
	}
}

// TestDecidedRunHasMoved: who decides is answered when the run has moved on, and not
// shown it waiting any more.
func TestDecidedRunHasMoved(t *testing.T) {
	e := newEnv(t)
	change := story()
	e.apply(change)
	moved := e.bus.Subscribe(1, "self_heal.run.*")
	defer moved.Close()
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		e.handler.server.awaitMoved(t.Context(), moved, "r-1")
	}()
	run := change.Runs[0]
	run.Status, run.Revision = grace.RunApproved, 2
	e.apply(event.Given{Runs: []grace.Run{run}})
	e.bus.Publish(grace.Event{Type: "self_heal.run.approved", Resource: "run/r-1"})
	<-answered
	if got, err := e.store.Run(t.Context(), e.store.Q(), "r-1"); err != nil || got.Status != grace.RunApproved {
		t.Errorf("answered with %v, %v", got.Status, err)
	}
}
