package notify

import (
	"flag"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"grace"
	"grace/internal/event"
)

var update = flag.Bool("update", false, "write the golden file anew")

// TestWords holds what people read, kind by kind.
func TestWords(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	e := newEnv(t, Settings{Location: berlin, Config: Config{Receivers: []Receiver{hook("hook", newDouble(t, nil))}}})
	e.ask("r-1", "db")
	e.ask("r-2", "web")
	e.answer("r-2", grace.ApprovalApproved)
	e.incident("i-1", "web", "opened")
	e.incident("i-1", "web", "acknowledged")
	e.incident("i-1", "web", "resolved")
	e.incident("i-1", "web", "escalated")
	run := func(state string, more map[string]any) {
		payload := map[string]any{"run": "r-2", "service": "web", "playbook": "restart_service", "code": "service_down", "state": state}
		maps.Copy(payload, more)
		e.apply(event.Given{Outbox: []grace.Event{{Type: "self_heal.run." + state, Resource: "run/r-2", Payload: event.Encode(payload)}}})
	}
	run("cancelled", map[string]any{"reason": "silenced by token:bob"})
	run("denied", map[string]any{"reason": "mode: mode_stopped"})
	byHand, err := e.store.Run(t.Context(), e.store.Q(), "r-1")
	if err != nil {
		t.Fatal(err)
	}
	byHand.ID, byHand.Code, byHand.Kind, byHand.Revision = "r-3", grace.CodeManual, grace.TriggerManual, 1
	byHand.Asked = &grace.Note{Actor: "token:ada", Text: "it feels slow", At: e.now}
	e.apply(event.Given{Runs: []grace.Run{byHand}, Outbox: []grace.Event{
		{Type: "self_heal.run.awaiting_approval", Resource: "run/r-3", Payload: event.Encode(map[string]any{"run": "r-3", "service": "db", "code": "manual"})},
		{Type: "self_heal.run.cancelled", Resource: "run/r-3", Payload: event.Encode(map[string]any{"run": "r-3", "service": "db", "code": "manual"})},
	}})
	byHand.ID, byHand.RecoveredIn = "r-4", grace.Duration(20*time.Millisecond)
	e.apply(event.Given{Runs: []grace.Run{byHand}, Outbox: []grace.Event{
		{Type: "self_heal.run.succeeded", Resource: "run/r-4", Payload: event.Encode(map[string]any{"run": "r-4", "service": "db", "code": "manual"})},
	}})
	run("running", nil)
	run("succeeded", nil)
	run("ineffective", map[string]any{"reason": "the alert that began it still fires."})
	run("rolled_back", map[string]any{"reason": "the check never passed"})
	run("aborted", map[string]any{"reason": "aborted by token:ada: wrong one"})
	run("escalated", map[string]any{"reason": "the undo failed too", "incident": "i-2"})
	expires := e.now.Add(2 * time.Hour)
	storm := grace.Incident{ID: "storm-1", State: grace.IncidentOpen, Services: []grace.ServiceID{"web", "db"}, Severity: grace.SeverityCritical, Title: "2 services are sick at once", OpenedAt: e.now}
	e.apply(event.Given{Incidents: []grace.Incident{storm}, Outbox: []grace.Event{
		{Type: "self_heal.mode", Actor: "token:ada", Resource: "mode", Payload: event.Encode(grace.ModeSetting{Mode: grace.ModeStopped, Reason: "a deploy", Actor: "token:ada", Expires: &expires, Fallback: grace.ModeAutonomous, Revision: 2})},
		{Type: "self_heal.mode", Actor: grace.Self, Resource: "mode", Payload: event.Encode(grace.ModeSetting{Mode: grace.ModeAutonomous, Revision: 1})},
		{Type: "incident.opened", Resource: "incident/storm-1", Payload: event.Encode(storm)},
		{Type: "self_heal.storm.opened", Resource: "incident/storm-1", Payload: event.Encode(storm)},
		{Type: "self_heal.storm.closed", Resource: "incident/storm-1", Payload: event.Encode(storm)},
		{Type: "self_heal.run.escalated", Resource: "run/r-1", Payload: event.Encode("the run could not go on")},
		{Type: "incident.opened", Resource: "incident/i-3", Payload: event.Encode(grace.Incident{
			ID: "i-3", Service: "web", Severity: grace.SeverityWarning, Title: "evil \x1b]52;c;x\a\u202e\n" + strings.Repeat("long ", 60), Detail: "${env:HOME} <b>&", OpenedAt: e.now,
		})},
	}})
	events, err := e.store.Events(t.Context(), e.store.Q(), 0, patterns(), 100)
	if err != nil {
		t.Fatal(err)
	}
	e.now = e.now.Add(90 * time.Second)
	var b strings.Builder
	for _, event := range events {
		m, err := e.n.message(t.Context(), event, false)
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString("== " + event.Type + " " + event.Resource + "\n")
		if m == nil {
			b.WriteString("(nothing)\n\n")
			continue
		}
		b.WriteString("[" + string(m.Kind) + ", " + string(m.Severity) + ", thread " + m.Thread + ", dedup " + dedupKey(m) + "]\n" + m.Title + "\n" + m.Text() + "\n\n")
	}
	const file = "testdata/words.txt"
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("%s differs; look at it with go test ./internal/notify -update and git diff:\n%s", file, b.String())
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		1400 * time.Millisecond: "1 s", 3*time.Minute + 10*time.Second: "3 min", 2 * time.Hour: "2 h",
		150 * time.Minute: "2 h 30 min", 72 * time.Hour: "3 d",
	} {
		equal(t, span(d), want)
	}
}

// TestIDsKeepTheirCase: a sentence begins with a capital letter, and an id as it is
// written.
func TestIDsKeepTheirCase(t *testing.T) {
	w := messageWriter{now: testNow, services: map[grace.ServiceID]grace.Service{"web": {ID: "web"}}}
	for text, want := range map[string]string{
		"the undo failed.":              "The undo failed",
		"web does not answer":           "web does not answer",
		"web: up failed 2 times":        "web: up failed 2 times",
		"restart_service was denied":    "restart_service was denied",
		"lb-2 is down":                  "lb-2 is down",
		"step restart: no such program": "Step restart: no such program",
		"":                              "",
	} {
		if got := w.sentence(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	m := &Message{Kind: Unhealed}
	w.incident(m, grace.Event{Type: "incident.updated"}, &grace.Incident{ID: "i-1", Service: "web", News: "restart did not help (run r-1)", Title: "web is sick"})
	equal(t, m.Title, "restart did not help (run r-1). web is sick")
}
