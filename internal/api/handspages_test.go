package api

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"grace"
	"grace/internal/event"
	"grace/internal/store"
)

const markup = `<script>alert(1)</script><b onclick=x>`

// troubles are incidents and silences of which every text is markup too.
func troubles() event.Given {
	return event.Given{
		Incidents: []grace.Incident{
			{ID: "i-1", Kind: grace.IncidentUnhealed, State: grace.IncidentOpen, Title: "cart is slow", Service: "cart", Severity: grace.SeverityWarning, Detail: "no playbook treats it", OpenedAt: at(-time.Minute)},
			{
				ID: "i-2", Kind: grace.IncidentRun, State: grace.IncidentOpen, Title: "db is down " + markup, Service: "db", Services: []grace.ServiceID{"checkout"}, Run: "r-1",
				Severity: grace.SeverityCritical, Detail: markup, Sensor: markup, OpenedAt: at(-time.Hour),
				Acknowledged: &grace.Note{Actor: "token:ana", Text: markup, At: at(-5 * time.Minute)}, Notes: []grace.Note{{Actor: markup, Text: "disk full " + markup, At: at(-time.Minute)}},
			},
			{ID: "i-0", Kind: grace.IncidentBlind, State: grace.IncidentResolved, Title: "no data of web", Sensor: "web", OpenedAt: at(-3 * time.Hour), ResolvedAt: new(at(-2 * time.Hour)), Resolution: "its data came back " + markup},
		},
		Silences: []grace.Silence{
			{ID: "s-1", Service: "d?", Starts: at(-time.Hour), Ends: at(time.Hour), Reason: "moving it " + markup, Actor: "token:ana", At: at(-time.Hour)},
			{ID: "s-2", Labels: map[string]string{"team": "shop"}, Starts: at(time.Hour), Ends: at(2 * time.Hour), Reason: "later", Actor: "token:bo", At: at(-time.Hour)},
			{ID: "s-3", Service: "over", Starts: at(-time.Hour), Ends: at(time.Hour), Ended: &grace.Note{Actor: "token:bo", At: at(-time.Minute)}, Reason: "over", Actor: "token:bo"},
			{ID: "s-4", Service: "past", Starts: at(-2 * time.Hour), Ends: at(-time.Hour), Reason: "past", Actor: "token:bo"},
		},
	}
}

func TestHandsPagesShowTheState(t *testing.T) {
	e := newEnv(t)
	e.apply(story())
	e.apply(troubles())
	b := e.signIn("operator")
	for path, wants := range map[string][]string{
		"/lite/silences": {
			"<strong>d?</strong>", "moving it", "token:ana", "Matches 1 service: db.", "left alone:", "elevated errors", "to come", "team=shop", "Matches no service that GRACE knows: look at the name.",
			`name="for" value="1h"`, `action="../lite/silences/s-1"`, `<span class="badge">2<span class="vh"> open`, `<span class="badge">1<span class="vh"> in force`,
		},
		"/lite/incidents": {
			"cart is slow", "no playbook treats it", "Nobody has acknowledged it", "not healed", "Acknowledged by token:ana", "disk full", `href="../lite/runs/r-1"`, "s-checkout",
			"no data of web", "its data came back", `action="../lite/incidents/i-1"`, `value="acknowledge"`, `value="note"`, `value="resolve"`,
		},
		"/lite": {"Silenced</a>: d? until 2026-03-01 10:31 UTC by token:ana: moving it", `href="./lite/incidents#i-2"`, "acknowledged by token:ana", "needs you for 3"},
	} {
		rec := b.send("GET", path, nil)
		body := rec.Body.String()
		if rec.Code != http.StatusOK {
			t.Errorf("%s: %d", path, rec.Code)
		}
		for _, want := range wants {
			if !strings.Contains(body, want) {
				t.Errorf("%s lacks %q", path, want)
			}
		}
		for _, bad := range []string{"<script", "<b onclick", "<strong>over", "<strong>past"} {
			if strings.Contains(body, bad) {
				t.Errorf("%s has %q", path, bad)
			}
		}
	}
	body := b.send("GET", "/lite/incidents", nil).Body.String()
	if strings.Index(body, "db is down") > strings.Index(body, "cart is slow") {
		t.Error("the worst incident is not the first")
	}
	if strings.Count(body, `value="acknowledge"`) != 1 {
		t.Error("what is acknowledged can be acknowledged")
	}
	if rec := b.send("GET", "/lite/incidents/i-1", nil); rec.Code != http.StatusSeeOther || rec.Header().Get("Location") != "../../lite/incidents#i-1" {
		t.Errorf("an incident's address: %d to %q", rec.Code, rec.Header().Get("Location"))
	}
	if len(e.core.hands)+len(e.core.silences) != 0 {
		t.Error("a GET acted")
	}
}

func TestSilenceForm(t *testing.T) {
	e := newEnv(t)
	b := e.signIn("operator")
	csrf := b.csrf("/lite/silences")
	form := func(change ...string) url.Values {
		return changed(url.Values{"csrf": {csrf}, "service": {"web*"}, "labels": {"team=shop, tier = web"}, "for": {"90m"}, "reason": {"moving it"}}, change)
	}
	for name, tt := range map[string]struct {
		form   url.Values
		status int
		want   string
	}{
		"no token":     {form("csrf", ""), 403, "does not belong to this session"},
		"short reason": {form("reason", "ok"), 422, "the reason has 2 characters"},
		"no duration":  {form("for", ""), 422, "is not a duration"},
		"backwards":    {form("for", "-1h"), 422, "is no time to silence for"},
		"for ever":     {form("for", "367d"), 422, "at most 366 days"},
		"bad labels":   {form("labels", "team"), 422, "is not name=value"},
		"two faults":   {form("labels", "team", "for", "soon"), 422, "is not a duration"},
		"nothing":      {form("service", "", "labels", ""), 422, "say what is silenced"},
		"bad pattern":  {form("service", "web["), 422, "syntax error in pattern"},
		"hidden":       {form("service", "web\u202e"), 422, "cannot be shown"},
		"markup":       {form("for", markup), 422, "&lt;script&gt;"},
	} {
		rec := b.send("POST", "/lite/silences", tt.form)
		body := rec.Body.String()
		if rec.Code != tt.status || !strings.Contains(body, tt.want) || strings.Contains(body, "<script") {
			t.Errorf("%s: %d, want %d with %q: %s", name, rec.Code, tt.status, tt.want, body)
		}
		if reason := tt.form.Get("reason"); tt.status == 422 && !strings.Contains(body, ">"+reason+"</textarea>") {
			t.Errorf("%s: the typed reason is lost", name)
		}
	}
	if body := b.send("POST", "/lite/silences", form("for", "soon")).Body.String(); !strings.Contains(body, `value="web*"`) || !strings.Contains(body, `value="team=shop, tier = web"`) || !strings.Contains(body, `value="soon"`) {
		t.Errorf("what was typed is lost: %s", body)
	}
	if len(e.core.silences) != 0 {
		t.Fatalf("a refused form acted: %+v", e.core.silences)
	}
	rec := b.send("POST", "/lite/silences", form())
	if rec.Code != http.StatusSeeOther || rec.Header().Get("Location") != "../lite/silences#s-1" {
		t.Fatalf("%d to %q", rec.Code, rec.Header().Get("Location"))
	}
	got := e.core.silences[0]
	if got.Service != "web*" || fmt.Sprint(got.Labels) != "map[team:shop tier:web]" || !got.Ends.Equal(at(90*time.Minute)) || got.Reason != "moving it" || got.Actor != "token:operator" {
		t.Errorf("silenced %+v", got)
	}
}

func TestEndSilenceForm(t *testing.T) {
	e := newEnv(t)
	e.apply(troubles())
	b := e.signIn("operator")
	csrf := b.csrf("/lite/silences")
	if rec := b.send("POST", "/lite/silences/s-1", url.Values{"csrf": {csrf}, "reason": {"x"}}); rec.Code != 422 || !strings.Contains(rec.Body.String(), `name="reason" value="x"`) || !strings.Contains(rec.Body.String(), "<details open>") {
		t.Errorf("short reason: %d %s", rec.Code, rec.Body)
	}
	if rec := b.send("POST", "/lite/silences/s-1", url.Values{"reason": {"it has moved"}}); rec.Code != http.StatusForbidden {
		t.Errorf("without the form's token: %d", rec.Code)
	}
	if len(e.core.hands) != 0 {
		t.Fatalf("a refused form acted: %v", e.core.hands)
	}
	e.core.fail(fmt.Errorf("it has ended: %w", store.ErrConflict))
	if rec := b.send("POST", "/lite/silences/s-3", url.Values{"csrf": {csrf}, "reason": {"it has moved"}}); rec.Code != http.StatusConflict || !strings.Contains(rec.Body.String(), "changed by somebody else") {
		t.Errorf("one that has ended: %d", rec.Code)
	}
	e.core.fail(nil)
	if rec := b.send("POST", "/lite/silences/s-1", url.Values{"csrf": {csrf}, "reason": {" it has moved "}}); rec.Code != http.StatusSeeOther || rec.Header().Get("Location") != "../../lite/silences" {
		t.Errorf("%d to %q", rec.Code, rec.Header().Get("Location"))
	}
	if got := e.core.hands[len(e.core.hands)-1]; got != "end s-1 token:operator it has moved" {
		t.Errorf("did %q", got)
	}
}

func TestIncidentForm(t *testing.T) {
	e := newEnv(t)
	e.apply(troubles())
	b := e.signIn("operator")
	csrf := b.csrf("/lite/incidents")
	send := func(id, do, reason string) (int, string) {
		rec := b.send("POST", "/lite/incidents/"+id, url.Values{"csrf": {csrf}, "do": {do}, "reason": {reason}})
		return rec.Code, rec.Body.String()
	}
	if code, body := send("i-1", "resolve", "x"); code != 422 || !strings.Contains(body, "the reason has 1 characters") || !strings.Contains(body, ">x</textarea>") || strings.Count(body, "<details open>") != 1 {
		t.Errorf("short reason: %d %s", code, body)
	}
	if code, body := send("i-1", "delete", "the disk is new"); code != 422 || !strings.Contains(body, "neither acknowledge, note nor resolve") || !strings.Contains(body, ">the disk is new</textarea>") {
		t.Errorf("no choice: %d %s", code, body)
	}
	if rec := b.send("POST", "/lite/incidents/i-1", url.Values{"do": {"resolve"}, "reason": {"the disk is new"}}); rec.Code != http.StatusForbidden {
		t.Errorf("without the form's token: %d", rec.Code)
	}
	if len(e.core.hands) != 0 {
		t.Fatalf("a refused form acted: %v", e.core.hands)
	}
	e.core.fail(fmt.Errorf("incident: %w", store.ErrNotFound))
	if code, body := send("none", "note", "the disk is new"); code != http.StatusNotFound || !strings.Contains(body, "the incident: not found") {
		t.Errorf("one that is not there: %d", code)
	}
	e.core.fail(nil)
	e.core.hands = nil
	for _, do := range []string{"acknowledge", "note", "resolve"} {
		if code, body := send("i-1", do, "the disk is new"); code != http.StatusSeeOther {
			t.Errorf("%s: %d %s", do, code, body)
		}
	}
	want := []string{"acknowledge i-1 token:operator the disk is new", "note i-1 token:operator the disk is new", "resolve i-1 token:operator the disk is new"}
	if !slices.Equal(e.core.hands, want) {
		t.Errorf("did %q", e.core.hands)
	}
}

func TestViewerHasNoHands(t *testing.T) {
	e := newEnv(t)
	e.apply(troubles())
	b := e.signIn("viewer")
	csrf := b.csrf("/lite")
	for path, posts := range map[string][]string{
		"/lite/silences":  {"/lite/silences", "/lite/silences/s-1"},
		"/lite/incidents": {"/lite/incidents/i-1"},
	} {
		body := b.send("GET", path, nil).Body.String()
		if strings.Count(body, "<form") != 1 || !strings.Contains(body, "Your role, viewer, may") {
			t.Errorf("%s offers a viewer more than to sign out", path)
		}
		for _, post := range posts {
			rec := b.send("POST", post, url.Values{"csrf": {csrf}, "service": {"web*"}, "for": {"1h"}, "do": {"resolve"}, "reason": {"because"}})
			if rec.Code != http.StatusForbidden {
				t.Errorf("a viewer at %s: %d", post, rec.Code)
			}
		}
	}
	if len(e.core.hands)+len(e.core.silences) != 0 {
		t.Error("a viewer acted")
	}
}

func TestHandsPagesWithNothing(t *testing.T) {
	e := newEnv(t)
	b := e.signIn("admin")
	for path, want := range map[string]string{"/lite/silences": "Nothing is silenced.", "/lite/incidents": "No incident is open."} {
		body := b.send("GET", path, nil).Body.String()
		if !strings.Contains(body, want) || strings.Contains(body, "badge") {
			t.Errorf("%s: %s", path, body)
		}
	}
	if body := b.send("GET", "/lite", nil).Body.String(); strings.Contains(body, "Silenced</a>") {
		t.Error("the overview says that something is silenced")
	}
}

func TestManyIncidentsAreBounded(t *testing.T) {
	e := newEnv(t)
	var c event.Given
	for i := range shownHands + 20 {
		c.Incidents = append(c.Incidents, grace.Incident{
			ID: grace.IncidentID(fmt.Sprintf("i-%03d", i)), State: grace.IncidentOpen, Title: "t", Severity: grace.SeverityWarning, OpenedAt: at(-time.Duration(i) * time.Minute),
		})
	}
	e.apply(c)
	body := e.signIn("viewer").send("GET", "/lite/incidents", nil).Body.String()
	if strings.Count(body, "<h3>") != shownHands || !strings.Contains(body, "20 more") || !strings.Contains(body, ">99&#43;<") {
		t.Errorf("%d incidents are shown", strings.Count(body, "<h3>"))
	}
}
