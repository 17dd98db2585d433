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

// TestWhatWasSeen: people read what was seen, not only what it is called.
func TestWhatWasSeen(t *testing.T) {
	t.Parallel()
	f := facts{
		run: &grace.Run{Status: grace.RunRunning, Service: "db", Code: grace.CodeCapacity, Playbook: grace.Playbook{ID: "clean_disk"}},
		decision: &grace.Decision{Diagnosis: grace.Diagnosis{Evidence: []grace.Evidence{
			{Text: "DiskFull: disk_used_percent 91, want at most 90", Weight: .7}, {Text: "slow", Weight: .1},
		}}},
	}
	m := Message{Kind: Acted}
	messageWriter{zone: time.UTC}.run(&m, grace.Event{Resource: "run/r-1"}, f)
	if want := "capacity: DiskFull: disk_used_percent 91, want at most 90"; m.What != want {
		t.Errorf("what %q, want %q", m.What, want)
	}
}
