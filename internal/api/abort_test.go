package api

import (
	"fmt"
	"testing"

	"grace"
	"grace/internal/event"
)

// TestAbortAll: one request stops all that can be stopped, and no rate holds it
// up: thirty aborts a minute were too few for forty runs that do harm.
func TestAbortAll(t *testing.T) {
	e := newEnv(t)
	var c event.Given
	for i := range 250 { // more than a page
		c.Runs = append(c.Runs, grace.Run{
			ID: grace.RunID(fmt.Sprintf("r-%03d", i)), Status: grace.RunRunning, Service: "cart", Revision: 1, CreatedAt: testNow,
		})
	}
	c.Runs[3].Status = grace.RunSucceeded
	c.Runs[4].Status = grace.RunRollingBack // does already what an abort asks for
	e.apply(c)
	got := decode[Aborted](t, e.call("approver", "POST", "/api/runs/abort", `{"reason":"it does harm"}`))
	if len(got.Runs) != 248 || len(got.Failed) != 0 || len(e.core.aborted) != 248 {
		t.Errorf("%d runs were asked to stop, %d could not be", len(got.Runs), len(got.Failed))
	}
	problemOf(t, e.call("operator", "POST", "/api/runs/abort", `{"reason":"it does harm"}`), 403)
	for i := range 40 {
		if rec := e.call("approver", "POST", fmt.Sprintf("/api/runs/r-%03d/abort", i+10), `{"reason":"it does harm"}`); rec.Code != 202 {
			t.Fatalf("abort %d: %d %s", i, rec.Code, rec.Body)
		}
	}
}
