package api

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"grace"
	"grace/internal/event"
)

// TestNobodyApprovesTheirOwn: one token must not both report a condition and
// approve what is done about it.
func TestNobodyApprovesTheirOwn(t *testing.T) {
	for _, allowed := range []bool{false, true} {
		e := newEnv(t, func(c *Config) { c.OwnApproval = allowed })
		e.apply(event.Given{
			Runs:      []grace.Run{{ID: "r-1", Status: grace.RunAwaitingApproval, Service: "db", Decision: "d-1", Revision: 1, CreatedAt: testNow, SickSince: testNow}},
			Approvals: []grace.Approval{{ID: "r-1", Run: "r-1", Service: "db", State: grace.ApprovalPending, Revision: 1, At: testNow, Expires: testNow.Add(time.Hour)}},
			Decisions: []grace.Decision{{ID: "d-1", Service: "db", Triggers: []grace.TriggerID{"t-1"}, At: testNow}},
			Triggers:  []grace.Trigger{{ID: "t-1", Service: "cart", State: grace.TriggerDecided, At: testNow}},
		})
		report := `{"service":"cart","kind":"alert","code":"service_down"}`
		for _, role := range []string{"approver", "admin"} {
			if rec := e.call(role, "POST", "/api/health/ingest_signal", report); rec.Code != http.StatusAccepted {
				t.Fatal(rec.Body)
			}
		}
		decide := func(role, decision string) int {
			return e.call(role, "POST", "/api/governance/approvals/r-1/decision", `{"decision":"`+decision+`","reason":"because","revision":1}`).Code
		}
		want := http.StatusForbidden
		if allowed {
			want = http.StatusOK
		}
		if got := decide("approver", "approve"); got != want {
			t.Errorf("allowed %v: approved by its reporter: %d", allowed, got)
		}
		if got := decide("approver", "deny"); got != http.StatusOK {
			t.Errorf("denied by its reporter: %d", got)
		}
		if got := decide("admin", "approve"); got != http.StatusOK {
			t.Errorf("approved by an admin: %d", got)
		}
	}
}

// TestNobodyApprovesWhatTheyAskedFor: nor may one token both ask for a run by
// hand and answer the question that arises.
func TestNobodyApprovesWhatTheyAskedFor(t *testing.T) {
	asked := func(actor string) event.Given {
		return event.Given{
			Runs: []grace.Run{{
				ID: "r-1", Status: grace.RunAwaitingApproval, Service: "db", Kind: grace.TriggerManual, Decision: "d-1", Revision: 1, CreatedAt: testNow,
				Asked: &grace.Note{Actor: actor, Text: "it hangs", At: testNow},
			}},
			Approvals: []grace.Approval{{ID: "r-1", Run: "r-1", Service: "db", State: grace.ApprovalPending, Revision: 1, At: testNow, Expires: testNow.Add(time.Hour)}},
			Decisions: []grace.Decision{{ID: "d-1", Service: "db", At: testNow}},
		}
	}
	for _, tt := range []struct {
		asker, approver string
		allowed         bool
		want            int
	}{
		{"approver", "approver", false, http.StatusForbidden},
		{"approver", "approver", true, http.StatusOK},
		{"somebody else", "approver", false, http.StatusOK},
		{"admin", "admin", false, http.StatusOK},
	} {
		e := newEnv(t, func(c *Config) { c.OwnApproval = tt.allowed })
		e.apply(asked("token:" + tt.asker))
		rec := e.call(tt.approver, "POST", "/api/governance/approvals/r-1/decision", `{"decision":"approve","reason":"because","revision":1}`)
		if rec.Code != tt.want {
			t.Errorf("%+v: %d %s", tt, rec.Code, rec.Body)
		}
	}
}

// adaIsOne says that Ada's token and her Slack user are one person.
func adaIsOne(c *Config) {
	c.SamePerson = func(actor string) []string {
		if actor == "token:approver" || actor == "slack:ada" {
			return []string{"slack:ada", "token:approver"}
		}
		return []string{actor}
	}
}

// TestOnePersonIsOneByEveryWay: who asked for a run with a token does not approve
// it as a Slack user, nor the other way round, and decisions by both ways count
// as those of one.
func TestOnePersonIsOneByEveryWay(t *testing.T) {
	e := newEnv(t, adaIsOne, func(c *Config) { c.DecisionsPerMinute, c.DecisionBurst = 6, 2 })
	ask := func(id grace.RunID, actor string) {
		e.apply(event.Given{
			Runs: []grace.Run{{
				ID: id, Status: grace.RunAwaitingApproval, Service: "db", Kind: grace.TriggerManual, Decision: "d-1", Revision: 1, CreatedAt: testNow,
				Asked: &grace.Note{Actor: actor, Text: "it hangs", At: testNow},
			}},
			Approvals: []grace.Approval{{ID: grace.ApprovalID(id), Run: id, Service: "db", State: grace.ApprovalPending, Revision: 1, At: testNow, Expires: testNow.Add(time.Hour)}},
		})
	}
	ask("r-1", "token:approver")
	ask("r-2", "slack:ada")
	slack := func(role, actor string, approve bool) int {
		_, err := e.handler.Decide(t.Context(), role, "r-1", DecisionInput{Approve: approve, Reason: "because", Actor: actor, Revision: 1})
		if p := known("", err); p != nil {
			return p.Status
		}
		return http.StatusOK
	}
	if got := slack("approver", "slack:ada", true); got != http.StatusForbidden {
		t.Errorf("Ada approved in Slack what she asked for with her token: %d", got)
	}
	if rec := e.call("approver", "POST", "/api/governance/approvals/r-2/decision", `{"decision":"approve","reason":"because","revision":1}`); rec.Code != http.StatusForbidden {
		t.Errorf("and with her token what she asked for in Slack: %d %s", rec.Code, rec.Body)
	}
	if got := slack("approver", "slack:ada", false); got != http.StatusTooManyRequests {
		t.Errorf("a third decision of the same person: %d", got)
	}
	for _, tt := range []struct {
		role, actor string
		want        int
	}{{"approver", "slack:bob", http.StatusOK}, {"operator", "slack:eve", http.StatusForbidden}, {"", "slack:eve", http.StatusForbidden}} {
		if got := slack(tt.role, tt.actor, true); got != tt.want {
			t.Errorf("%+v: %d", tt, got)
		}
	}
	if len(e.core.decided) != 1 || e.core.decided[0].Actor != "slack:bob" {
		t.Errorf("decided: %+v", e.core.decided)
	}
}

// TestOneTokenCannotNameEverything: what is kept of everybody is bounded, so one
// token must not fill it.
func TestOneTokenCannotNameEverything(t *testing.T) {
	e := newEnv(t)
	batch := func(n int) string {
		var out []string
		for i := range maxBatch {
			out = append(out, fmt.Sprintf(`{"service":"cart","kind":"alert","code":"c","fingerprint":"%d"}`, n*maxBatch+i))
		}
		return "[" + strings.Join(out, ",") + "]"
	}
	for i := range maxNames / maxBatch {
		if rec := e.call("operator", "POST", "/api/health/ingest_signal", batch(i)); rec.Code != http.StatusAccepted {
			t.Fatal(rec.Body)
		}
	}
	if rec := e.call("operator", "POST", "/api/health/ingest_signal", batch(0)); rec.Code != http.StatusAccepted {
		t.Errorf("what is known already was refused: %s", rec.Body)
	}
	p := problemOf(t, e.call("operator", "POST", "/api/health/ingest_signal", batch(maxNames)), http.StatusTooManyRequests)
	if !strings.Contains(p.Detail, "token operator") {
		t.Error(p.Detail)
	}
	if rec := e.call("admin", "POST", "/api/health/ingest_signal", batch(maxNames)); rec.Code != http.StatusAccepted {
		t.Errorf("another token was refused: %s", rec.Body)
	}
	e.now = e.now.Add(namesFor)
	if rec := e.call("operator", "POST", "/api/health/ingest_signal", batch(maxNames)); rec.Code != http.StatusAccepted {
		t.Errorf("an hour later: %s", rec.Body)
	}
}
