package notify

import (
	"net/http"
	"testing"
	"time"

	"grace"
	"grace/internal/event"
)

// ends has a run end that began.
func (e *env) ends(id string, state grace.RunStatus, incident grace.IncidentID) {
	e.t.Helper()
	run, err := e.store.Run(e.t.Context(), e.store.Q(), grace.RunID(id))
	if err != nil {
		e.t.Fatal(err)
	}
	run.Status, run.Revision, run.Incident, run.StartedAt, run.EndedAt = state, run.Revision+1, incident, new(e.now), new(e.now)
	if state != grace.RunSucceeded {
		run.Error = "the check never passed"
	}
	e.apply(event.Given{Runs: []grace.Run{run}, Outbox: []grace.Event{{
		Type: "self_heal.run." + string(state), Resource: "run/" + id,
		Payload: event.Encode(map[string]any{"run": id, "service": run.Service, "playbook": "restart_service", "reason": run.Error, "incident": incident}),
	}}})
	if incident != "" {
		e.report(grace.Incident{ID: incident, Run: run.ID, State: grace.IncidentOpen, Service: run.Service, Severity: grace.SeverityWarning, Title: "restart_service on web did not help"}, "incident.opened")
	}
}

// TestActedIsOver: that a run acts is not told when it has ended by the time that the
// message can be sent: who is told of the end hears that alone, others how it ended.
func TestActedIsOver(t *testing.T) {
	const helped, ineffective = "restart_service helped web", "restart_service did not help web"
	for name, tt := range map[string]struct {
		routes   []Route
		state    grace.RunStatus
		incident grace.IncidentID
		silenced bool
		want     []string
	}{
		"helped":               {nil, grace.RunSucceeded, "", false, []string{helped}},
		"helped, by a route":   {[]Route{{Events: []Kind{Acted, Helped}}}, grace.RunSucceeded, "", false, []string{helped}},
		"helped, by none":      {[]Route{{Events: []Kind{Acted}}}, grace.RunSucceeded, "", false, []string{"GRACE ran restart_service on web: it helped"}},
		"ineffective":          {nil, grace.RunIneffective, "", false, []string{ineffective}},
		"ineffective, by none": {[]Route{{Events: []Kind{Acted}}}, grace.RunIneffective, "", false, []string{"GRACE ran restart_service on web: it did not help"}},
		"undone, by none":      {[]Route{{Events: []Kind{Acted, Helped}}}, grace.RunRolledBack, "", false, []string{"GRACE ran restart_service on web: it was undone"}},
		"failed":               {[]Route{{Events: []Kind{Acted}}}, grace.RunEscalated, "", false, []string{"restart_service on web failed: GRACE needs a person"}},
		"incident":             {nil, grace.RunIneffective, "i-1", false, []string{"restart_service on web did not help"}},
		"incident, by a route": {[]Route{{Events: []Kind{Acted, Unhealed}}}, grace.RunIneffective, "i-1", false, []string{"restart_service on web did not help"}},
		"silenced":             {nil, grace.RunAborted, "", true, []string{"GRACE ran restart_service on web: it was aborted"}},
		"changed nothing":      {nil, grace.RunCancelled, "", false, []string{"Not done: restart_service on web"}},
		"changed nothing, by a route": {
			[]Route{{Events: []Kind{Acted, Resolved}}}, grace.RunCancelled, "", false, []string{"Not done: restart_service on web"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			for i := range tt.routes {
				tt.routes[i].Receivers = []Name{"hook"}
			}
			hooked := newDouble(t, status(http.StatusInternalServerError))
			e := newEnv(t, Settings{Config: Config{Receivers: []Receiver{hook("hook", hooked)}, Routes: tt.routes}})
			e.ask("r-1", "web")
			e.n.current().workers[0].scanned = 1 // the question was told
			e.act("r-1", "web")
			e.turn("hook")
			tried := hooked.titles(t)
			equal(t, tried, []string{"GRACE runs restart_service on web"})
			if e.row("hook").Attempts != 1 {
				t.Errorf("attempts %d", e.row("hook").Attempts)
			}
			e.ends("r-1", tt.state, tt.incident)
			if tt.silenced {
				e.silence("s-1", "web", time.Hour)
			}
			hooked.say(nil)
			e.now = e.now.Add(time.Minute)
			e.turn("hook")
			equal(t, hooked.titles(t)[len(tried):], tt.want)
			if row := e.row("hook"); row.Attempts != 0 || row.Retry != nil {
				t.Errorf("receiver %+v", row)
			}
		})
	}
}

// TestRanSaysHow: what is sent when it is over says when it ended, and why.
func TestRanSaysHow(t *testing.T) {
	w := messageWriter{now: testNow, zone: time.UTC}
	m := &Message{Kind: Acted}
	run := grace.Run{
		ID: "r-1", Status: grace.RunAborted, Service: "web", Code: grace.CodeServiceDown, Playbook: grace.Playbook{ID: "restart_service"},
		Error: "the person took it back", EndedAt: new(testNow.Add(-time.Minute)),
	}
	w.run(m, grace.Event{Type: "self_heal.run.running", Resource: "run/r-1"}, facts{run: &run})
	equal(t, m.Title, "GRACE ran restart_service on web: it was aborted")
	equal(t, m.Text(), "What: service down\nGRACE: It ended at 09:30 UTC, 1 min ago. The person took it back\nYou: See what was done: grace why r-1")
}
