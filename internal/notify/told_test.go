package notify

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"grace"
	"grace/internal/event"
)

// TestRaised: an incident that is raised goes to who is new by the routes, and to
// who was told; the ladder and the reminders begin when their route first matched,
// and all hear the end.
func TestRaised(t *testing.T) {
	rest, oncall, boss := newDouble(t, nil), newDouble(t, nil), newDouble(t, nil)
	s := Settings{Config: Config{
		Receivers: []Receiver{hook("rest", rest), hook("oncall", oncall), hook("boss", boss)},
		Routes: []Route{
			{
				Severity: grace.SeverityCritical, Receivers: []Name{"oncall"}, RepeatInterval: grace.Duration(8 * time.Second),
				Escalate: []Rung{{After: grace.Duration(10 * time.Second), Receivers: []Name{"boss"}}},
			},
			{Receivers: []Name{"rest"}},
		},
	}}
	e := newEnv(t, s)
	inc := grace.Incident{ID: "i-1", State: grace.IncidentOpen, Service: "web", Severity: grace.SeverityWarning, Title: "web is sick", OpenedAt: e.now}
	e.report(inc, "incident.opened")
	e.all(0)
	e.use(s) // a restart, or another replica
	e.now = e.now.Add(time.Minute)
	inc.Severity, inc.News = grace.SeverityCritical, "it is critical now"
	e.report(inc, "incident.updated")
	e.all(0)
	e.use(s)
	e.all(7 * time.Second)
	equal(t, oncall.titles(t), []string{"It is critical now. web is sick"})
	e.all(time.Second)
	equal(t, oncall.titles(t)[1:], []string{"Still open after 1 min: web is sick"})
	equal(t, len(boss.requests()), 0)
	e.all(2 * time.Second)
	e.use(s)
	e.all(time.Second)
	equal(t, boss.titles(t), []string{"Nobody has answered for 10 s: web is sick"})
	inc.State, inc.Severity = grace.IncidentResolved, grace.SeverityWarning
	e.report(inc, "incident.resolved")
	e.all(0)
	equal(t, rest.titles(t), []string{"web is sick", "It is critical now. web is sick", "Resolved: web is sick"})
	for _, d := range []*double{oncall, boss} {
		titles := d.titles(t)
		equal(t, titles[len(titles)-1], "Resolved: web is sick")
	}
}

// TestVictimOfAnotherTeam: who was told of an incident, PagerDuty too, is told
// what becomes of it, though the routes send it elsewhere by then.
func TestVictimOfAnotherTeam(t *testing.T) {
	t.Setenv("PD_KEY", "pd-key")
	f, g, pd := newDouble(t, nil), newDouble(t, nil), newDouble(t, status(http.StatusAccepted))
	s := Settings{
		Services: []grace.Service{{ID: "f1", Owner: "team-f"}, {ID: "f2", Owner: "team-g"}},
		Config: Config{
			Receivers: []Receiver{hook("f", f), hook("g", g), {Name: "pd", Type: "pagerduty", RoutingKey: "${env:PD_KEY}", URL: pd.URL}},
			Routes:    []Route{{Teams: []Team{"team-g"}, Receivers: []Name{"g"}}, {Teams: []Team{"team-f"}, Receivers: []Name{"f", "pd"}}},
		},
	}
	e := newEnv(t, s)
	inc := grace.Incident{ID: "i-1", State: grace.IncidentOpen, Service: "f1", Severity: grace.SeverityCritical, Title: "f1 is sick", OpenedAt: e.now}
	e.report(inc, "incident.opened")
	e.all(0)
	equal(t, len(g.requests()), 0)
	inc.Services, inc.News = []grace.ServiceID{"f2"}, "it also hurts f2"
	e.report(inc, "incident.updated")
	e.all(time.Second)
	e.use(s)
	inc.Acknowledged = &grace.Note{Actor: "token:ada", Text: "on it", At: e.now}
	e.report(inc, "incident.acknowledged")
	e.all(time.Second)
	inc.State = grace.IncidentResolved
	e.report(inc, "incident.resolved")
	e.all(time.Second)
	want := []string{"f1 is sick", "It also hurts f2. f1 is sick", "Acknowledged: f1 is sick", "Resolved: f1 is sick"}
	equal(t, f.titles(t), want)
	equal(t, g.titles(t), want[1:])
	var actions []string
	for _, r := range pd.requests() {
		actions = append(actions, fmt.Sprint(r.json(t)["event_action"], " ", r.json(t)["dedup_key"]))
	}
	equal(t, actions, []string{"trigger i-1", "trigger i-1", "acknowledge i-1", "resolve i-1"})
}

// TestEndOfRefused: what a receiver refused may be sent again by hand, and then
// has an end; who was told of nothing hears of no end.
func TestEndOfRefused(t *testing.T) {
	bad, other := newDouble(t, status(http.StatusBadRequest)), newDouble(t, nil)
	s := Settings{Config: Config{
		Receivers: []Receiver{hook("bad", bad), hook("other", other)},
		Routes:    []Route{{Services: []Glob{"db"}, Receivers: []Name{"bad"}}, {Severity: grace.SeverityCritical, Receivers: []Name{"other"}}},
	}}
	e := newEnv(t, s)
	e.incident("i-1", "db", "opened")
	e.turn("bad")
	e.incident("i-1", "db", "resolved")
	e.turn("bad")
	e.turn("other") // it was to be told that bad cannot be, and by now that is over
	equal(t, len(bad.requests()), 2)
	equal(t, other.titles(t), []string{})
}

// TestPassedOnOnce: who gets an update anyway is not told besides that another
// cannot be told of it.
func TestPassedOnOnce(t *testing.T) {
	old, bad := newDouble(t, nil), newDouble(t, status(http.StatusBadRequest))
	e := newEnv(t, Settings{Config: Config{
		Receivers: []Receiver{hook("old", old), hook("bad", bad)},
		Routes:    []Route{{Severity: grace.SeverityCritical, Receivers: []Name{"bad"}}, {Receivers: []Name{"old"}}},
	}})
	inc := grace.Incident{ID: "i-1", State: grace.IncidentOpen, Service: "web", Severity: grace.SeverityWarning, Title: "web is sick", OpenedAt: e.now}
	e.report(inc, "incident.opened")
	e.all(0)
	inc.Severity, inc.News = grace.SeverityCritical, "it is critical now"
	e.report(inc, "incident.updated")
	e.all(time.Second)
	equal(t, old.titles(t), []string{"web is sick", "It is critical now. web is sick"})
}

// TestIntervals: each route repeats at its own interval, and who is due by two is
// told once.
func TestIntervals(t *testing.T) {
	a, b := newDouble(t, nil), newDouble(t, nil)
	e := newEnv(t, Settings{Config: Config{
		Receivers: []Receiver{hook("a", a), hook("b", b)},
		Routes: []Route{
			{Receivers: []Name{"a"}, Continue: true, RepeatInterval: grace.Duration(10 * time.Minute)},
			{Receivers: []Name{"a", "b"}, RepeatInterval: grace.Duration(30 * time.Minute)},
		},
	}})
	e.incident("i-1", "web", "opened")
	for range 30 {
		e.all(time.Minute)
	}
	equal(t, a.titles(t), []string{
		"restart_service on web failed", "Still open after 10 min: restart_service on web failed",
		"Still open after 20 min: restart_service on web failed", "Still open after 30 min: restart_service on web failed",
	})
	equal(t, b.titles(t), slices.Delete(a.titles(t), 1, 3))
}

// TestQuestionIsOver: a question that nobody answers, or that is taken back, ends
// once for all who were told of it; what its run says besides is not told.
func TestQuestionIsOver(t *testing.T) {
	t.Setenv("PD_KEY", "pd-key")
	chat, pd := newDouble(t, nil), newDouble(t, status(http.StatusAccepted))
	e := newEnv(t, Settings{Config: Config{
		Receivers: []Receiver{hook("chat", chat), {Name: "pd", Type: "pagerduty", RoutingKey: "${env:PD_KEY}", URL: pd.URL}},
		Routes:    []Route{{Events: []Kind{Asked}, Receivers: []Name{"chat", "pd"}}},
	}})
	for _, end := range []grace.ApprovalState{grace.ApprovalExpired, grace.ApprovalCancelled} {
		id := string(end)
		e.ask(id, "web")
		e.all(0)
		e.answer(id, end)
		e.apply(event.Given{Outbox: []grace.Event{{
			Type: "self_heal.run." + id, Resource: "run/" + id, Payload: event.Encode(map[string]any{"service": "web", "playbook": "restart_service"}),
		}}})
		e.all(time.Minute)
	}
	const asked = "May GRACE run restart_service on web?"
	equal(t, chat.titles(t), []string{
		asked, "restart_service on web: expired by token:ada (go on)",
		asked, "restart_service on web: cancelled by token:ada (go on)",
	})
	var actions []string
	for _, r := range pd.requests() {
		actions = append(actions, fmt.Sprint(r.json(t)["event_action"], " ", r.json(t)["dedup_key"]))
	}
	equal(t, actions, []string{"trigger run/expired", "resolve run/expired", "trigger run/cancelled", "resolve run/cancelled"})
}

// TestNotDone: who was told that a run acts is told when it has changed nothing
// after all; nobody hears of one that never began.
func TestNotDone(t *testing.T) {
	chat, other := newDouble(t, nil), newDouble(t, nil)
	e := newEnv(t, Settings{Config: Config{
		Receivers: []Receiver{hook("chat", chat), hook("other", other)},
		Routes:    []Route{{Events: []Kind{Acted}, Receivers: []Name{"chat"}}, {Receivers: []Name{"other"}}},
	}})
	for _, id := range []string{"never", "began"} {
		run := grace.Run{
			ID: grace.RunID(id), Status: grace.RunCancelled, Service: "web", Code: grace.CodeServiceDown, Revision: 1,
			Playbook: grace.Playbook{ID: "restart_service"}, CreatedAt: e.now,
		}
		tell := func(state grace.RunStatus, reason string) grace.Event {
			return grace.Event{
				Type: "self_heal.run." + string(state), Resource: "run/" + id,
				Payload: event.Encode(map[string]any{"run": id, "service": "web", "playbook": "restart_service", "code": "service_down", "reason": reason}),
			}
		}
		if id == "began" {
			begun := run
			begun.Status, begun.StartedAt = grace.RunRunning, &e.now
			e.apply(event.Given{Runs: []grace.Run{begun}, Outbox: []grace.Event{tell(grace.RunRunning, "first step: look")}})
			e.all(0)
			run.StartedAt, run.Revision = begun.StartedAt, 2
		}
		e.apply(event.Given{Runs: []grace.Run{run}, Outbox: []grace.Event{tell(grace.RunCancelled, "it has cleared")}})
		e.all(0)
	}
	equal(t, chat.titles(t), []string{"GRACE runs restart_service on web", "Not done: restart_service on web"})
	equal(t, other.titles(t), []string{})
	if doing := chat.requests()[1].json(t)["doing"]; doing != "No step of it succeeded. It has cleared" {
		t.Errorf("it is said that %s", doing)
	}
}
