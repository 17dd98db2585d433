package notify

import (
	"strings"
	"testing"
	"time"

	"grace"
	"grace/internal/event"
	"grace/internal/stage/govern"
)

func router(t *testing.T, receivers string, routes ...Route) *Router {
	t.Helper()
	c := Config{Routes: routes}
	for name := range strings.FieldsSeq(receivers) {
		c.Receivers = append(c.Receivers, Receiver{Name: name})
	}
	r, err := NewRouter(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRoutes(t *testing.T) {
	office := []govern.Window{{Days: []string{"mon"}, Start: "08:00", End: "18:00", TimeZone: "Europe/Berlin"}}
	routes := []Route{
		{Teams: []Team{"team-db"}, Receivers: []Name{"db"}, SendResolved: true},
		{Services: []Glob{"web*"}, Severity: grace.SeverityCritical, Receivers: []Name{"pager"}, Continue: true},
		{Services: []Glob{"web*"}, Events: []Kind{Unhealed, Asked}, Hours: office, Receivers: []Name{"chat", "pager"}, SendResolved: true},
		{Services: []Glob{"web-*"}, Events: []Kind{Helped}, Receivers: []Name{"chat"}},
		{Services: []Glob{"cron"}, Events: []Kind{Resolved}, Receivers: []Name{"db"}, SendResolved: true},
	}
	web, db := []grace.ServiceID{"web-1"}, []grace.ServiceID{"db"}
	noon := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	night := time.Date(2026, 3, 2, 20, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name string
		m    Message
		want string
	}{
		{"by team", Message{Kind: Asked, Services: db, Teams: []string{"team-db"}, At: noon}, "db"},
		{"by service, in hours", Message{Kind: Asked, Severity: grace.SeverityWarning, Services: web, At: noon}, "chat pager"},
		{"continue, each once", Message{Kind: Unhealed, Severity: grace.SeverityCritical, Services: web, At: noon}, "pager chat"},
		{"out of hours, by the first alone", Message{Kind: Unhealed, Severity: grace.SeverityCritical, Services: web, At: night}, "pager"},
		{"taken by none, needs a person", Message{Kind: Asked, Severity: grace.SeverityWarning, Services: web, At: night}, "db pager chat"},
		{"taken by none", Message{Kind: Acted, Severity: grace.SeverityInfo, Services: web, At: night}, ""},
		{"taken by none, an incident tells the same", Message{Kind: Escalated, twin: true, Services: []grace.ServiceID{"x"}, At: night}, ""},
		{"the last route", Message{Kind: Helped, Severity: grace.SeverityInfo, Services: web, At: night}, "chat"},
		{"an end is for who was told of the beginning", Message{Kind: Resolved, Severity: grace.SeverityWarning, Services: db, Teams: []string{"team-db"}, At: noon}, ""},
		{"and for who names it", Message{Kind: Resolved, Severity: grace.SeverityInfo, Services: []grace.ServiceID{"cron"}, At: noon}, "db"},
		{"the ladder has chosen", Message{Kind: Asked, Services: db, to: []string{"pager", "gone"}}, "pager"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			equal(t, strings.Join(router(t, "db pager chat", routes...).Receivers(&tt.m), " "), tt.want)
		})
	}
	equal(t, router(t, "a b").Receivers(&Message{Kind: Acted}), []string{"a", "b"})
	equal(t, router(t, "a b").Receivers(&Message{Kind: Escalated, twin: true}), nil)
	equal(t, router(t, "a", Route{Receivers: []Name{"a"}}).Receivers(&Message{Kind: Escalated, twin: true}), nil)
}

// Who is told of an end: all but who is told by routes alone that want none.
func TestWantsEnd(t *testing.T) {
	r := router(t, "a b c",
		Route{Receivers: []Name{"a", "b"}, Continue: true, Escalate: []Rung{{Receivers: []Name{"c"}}}},
		Route{Severity: grace.SeverityCritical, Receivers: []Name{"b"}, SendResolved: true})
	for _, tt := range []struct {
		m    Message
		want string
	}{
		{Message{Kind: Unhealed, Severity: grace.SeverityWarning}, ""},
		{Message{Kind: Unhealed, Severity: grace.SeverityCritical}, "b"},
		{Message{Kind: Unhealed, Severity: grace.SeverityWarning, to: []string{"a", "c"}}, ""},
	} {
		have := ""
		for _, name := range r.receivers {
			if r.wantsEnd(&tt.m, name) {
				have += name
			}
		}
		equal(t, have, tt.want)
	}
	m := Message{Kind: Unhealed, Severity: grace.SeverityWarning, Teams: []string{"x"}}
	if !router(t, "a", Route{Teams: []Team{"y"}, Receivers: []Name{"a"}}).wantsEnd(&m, "a") {
		t.Error("a gap in the routes is told of its end")
	}
}

// The ladder: asked again after its time, told to the next, silent as soon as
// somebody answers.
func TestLadder(t *testing.T) {
	chat, pager, boss := newDouble(t, nil), newDouble(t, nil), newDouble(t, nil)
	minute := func(n int) grace.Duration { return grace.Duration(time.Duration(n) * time.Minute) }
	s := Settings{Config: Config{
		Receivers: []Receiver{hook("chat", chat), hook("pager", pager), hook("boss", boss)},
		Routes: []Route{{Receivers: []Name{"chat"}, RepeatInterval: minute(20), Escalate: []Rung{
			{After: minute(15), Receivers: []Name{"boss", "pager"}}, {After: minute(5), Receivers: []Name{"pager"}},
		}}},
	}}
	e := newEnv(t, s)
	all := func() {
		e.climb()
		e.climb() // again does nothing
		for _, name := range []string{"chat", "pager", "boss"} {
			e.turn(name)
		}
	}
	counts := func() []int { return []int{len(chat.requests()), len(pager.requests()), len(boss.requests())} }
	e.ask("r-1", "web")
	e.incident("i-1", "db", "opened")
	all()
	equal(t, counts(), []int{2, 0, 0})
	e.now = e.now.Add(5 * time.Minute)
	e.use(s) // a restart forgets nothing
	all()
	equal(t, counts(), []int{2, 2, 0})
	if title := pager.titles(t)[1]; !strings.HasPrefix(title, "Nobody has answered for 5 min: ") {
		t.Errorf("the title: %s", title)
	}
	e.answer("r-1", grace.ApprovalApproved)
	e.now = e.now.Add(10 * time.Minute)
	all()
	equal(t, counts(), []int{3, 4, 1}) // chat and pager are told of the answer; the incident climbs on
	e.now = e.now.Add(5 * time.Minute)
	all()
	equal(t, counts(), []int{4, 4, 1})
	if title := chat.titles(t)[3]; title != "Still open after 20 min: restart_service on db failed" {
		t.Errorf("the reminder: %s", title)
	}
	e.incident("i-1", "db", "acknowledged")
	e.now = e.now.Add(24 * time.Hour)
	all()
	equal(t, counts(), []int{5, 5, 2})

	equal(t, boss.titles(t)[1], "Acknowledged by token:ada: restart_service on db failed")

	// An end that no event told of, for example of a row that was mended by
	// hand, is seen in the row.
	e.incident("i-2", "web", "opened")
	all()
	e.apply(event.Given{Incidents: []grace.Incident{{ID: "i-2", State: grace.IncidentResolved, Service: "web", OpenedAt: e.now}}})
	e.now = e.now.Add(time.Hour)
	all()
	equal(t, counts(), []int{6, 5, 2})
}

func TestSubjects(t *testing.T) {
	for event, want := range map[string]string{
		"self_heal.run.awaiting_approval run/r": "run/r open",
		"self_heal.run.approved run/r":          "run/r ends",
		"self_heal.run.denied run/r":            "run/r ends",
		"self_heal.run.step_succeeded run/r":    "run/r ",
		"self_heal.approval.denied approval/r":  "run/r ends",
		"incident.opened incident/i":            "incident/i open",
		"incident.acknowledged incident/i":      "incident/i ends",
		"incident.resolved incident/storm-1":    "incident/storm-1 ends",
		"incident.escalated incident/i":         "incident/i ",
		"self_heal.storm.opened incident/s":     "incident/s open",
		"self_heal.storm.closed incident/s":     "incident/s ends",
	} {
		kind, resource, _ := strings.Cut(event, " ")
		subject, open, ends := subjectOf(grace.Event{Type: kind, Resource: resource})
		have := subject + " "
		if open {
			have += "open"
		}
		if ends {
			have += "ends"
		}
		if have != want {
			t.Errorf("%s: have %q, want %q", event, have, want)
		}
	}
}
