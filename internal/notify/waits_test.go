package notify

import (
	"strings"
	"testing"
	"time"

	"grace"
)

// TestAnswerOfWhatWaits: who approves a run outside of a change window hears that
// it waits, not that it acts.
func TestAnswerOfWhatWaits(t *testing.T) {
	w := messageWriter{now: time.Now(), zone: time.UTC}
	outside := grace.Reason{Gate: "change_window", Code: grace.ReasonOutsideWindow, Until: new(time.Date(2026, 3, 1, 22, 0, 0, 0, time.UTC))}
	approval := grace.Approval{ID: "r-1", Run: "r-1", Service: "web", Playbook: "restart_service", State: grace.ApprovalApproved}
	for want, f := range map[string]facts{
		"It checks once more that it is needed and allowed, and acts":         {run: &grace.Run{Status: grace.RunApproved}},
		"It waits for a change window; the next opens 2026-03-01T22:00:00Z; ": {run: &grace.Run{Status: grace.RunApproved, Reasons: []grace.Reason{outside}}},
		"It checks once more that it is needed and allowed, waits for a ":     {run: &grace.Run{Status: grace.RunApproved}, decision: &grace.Decision{Reasons: []grace.Reason{outside}}},
	} {
		var m Message
		f.approval = &approval
		w.answer(&m, grace.Event{}, f)
		if !strings.HasPrefix(m.Doing, want) {
			t.Errorf("%q, want %q", m.Doing, want)
		}
	}
}
