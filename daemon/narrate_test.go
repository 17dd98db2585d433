package daemon

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"grace"
)

func message(t *testing.T, kind, resource string, payload any) grace.Event {
	t.Helper()
	data, err := json.Marshal(payload)
	if err != nil {
		t.Fatal(err)
	}
	return grace.Event{Type: kind, Actor: "token:alice", Resource: resource, Payload: data}
}

// TestNarrate: one line for each thing that happens, with stable keys.
func TestNarrate(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	n := newNarrator(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})))
	signal := func(state grace.SignalState) grace.Event {
		return message(t, "health.signal", "signal/web/p/up", grace.Signal{
			Key: "web/p/up", Service: "web", State: state, Code: grace.CodeServiceDown, Severity: grace.SeverityCritical, Message: "refused\x1b[2J",
		})
	}
	run := map[string]any{"run": "r-1", "service": "web", "playbook": "restart_service", "code": "service_down", "reason": "it helped"}
	for _, e := range []grace.Event{
		signal(grace.SignalOK), signal(grace.SignalFiring), signal(grace.SignalFiring), signal(grace.SignalOK),
		message(t, "self_heal.run.running", "run/r-1", run), message(t, "self_heal.run.rolled_back", "run/r-1", run),
		message(t, "self_heal.approval.approved", "approval/r-1", grace.Approval{ID: "r-1", Run: "r-1", Service: "web", Playbook: "restart_service", Reason: "go"}),
		message(t, "incident.resolved", "incident/i-1", grace.Incident{ID: "i-1", Service: "web", Title: "down", Resolution: "healed by run r-1"}),
		message(t, "self_heal.silence.added", "silence/s-1", grace.Silence{ID: "s-1", Service: "web*", Reason: "migration"}),
		message(t, "self_heal.mode", "mode", grace.ModeSetting{Mode: grace.ModeStopped, Reason: "storm"}),
	} {
		n.tell(t.Context(), e)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	want := []string{
		"level=WARN msg=signal service=web signal=web/p/up state=firing before=ok code=service_down",
		"level=INFO msg=signal service=web signal=web/p/up state=ok before=firing",
		"level=INFO msg=run run=r-1 status=running service=web playbook=restart_service code=service_down by=token:alice",
		"level=WARN msg=run run=r-1 status=rolled_back",
		"level=INFO msg=approval run=r-1 state=approved service=web playbook=restart_service by=token:alice reason=go",
		"level=INFO msg=incident incident=i-1 state=resolved service=web",
		"level=INFO msg=silence silence=s-1 state=added service=web*",
		"level=WARN msg=mode mode=stopped by=token:alice",
	}
	if len(lines) != len(want) {
		t.Fatalf("%d lines, want %d:\n%s", len(lines), len(want), out.String())
	}
	for i, w := range want {
		if !strings.HasPrefix(lines[i], w) {
			t.Errorf("line %d is\n%s\nwant\n%s", i, lines[i], w)
		}
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Error("an escape is in the log")
	}
}

// TestBounded: what comes after maxLabelled label sets is counted under other.
func TestBounded(t *testing.T) {
	t.Parallel()
	b := newBounded(2)
	for i := range 2 * maxLabelled {
		got := b.labels(fmt.Sprintf("s%d", i), "capacity", "allow")
		if over := i >= maxLabelled; (got[0] == other) != over || got[2] != "allow" {
			t.Fatalf("%d: %v", i, got)
		}
	}
	if got := b.labels("s0", "capacity", "deny"); got[0] != "s0" {
		t.Errorf("a known set became %v", got)
	}
}
