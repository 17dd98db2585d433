package notify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"grace"
	"grace/internal/event"
	"grace/internal/httpclient"
)

// TestPagerDuty: triggers what needs a person, acknowledges, resolves, always
// under the incident's id; and calls nobody for the rest.
func TestPagerDuty(t *testing.T) {
	t.Setenv("PD_KEY", "pd-key")
	d := newDouble(t, status(http.StatusAccepted))
	r := Receiver{Name: "pd", Type: "pagerduty", RoutingKey: "${env:PD_KEY}", URL: d.URL}
	e := newEnv(t, Settings{Config: Config{Receivers: []Receiver{r}}})
	e.incident("i-1", "db", "opened")
	e.incident("i-1", "db", "acknowledged")
	e.incident("i-1", "db", "resolved")
	e.ask("r-1", "web")
	e.turn("pd")
	e.answer("r-1", grace.ApprovalDenied)
	e.apply(event.Given{Outbox: []grace.Event{{Type: "self_heal.run.running", Resource: "run/r-1", Payload: event.Encode(map[string]any{"service": "web"})}}})
	e.ask("r-2", "web")
	e.answer("r-2", grace.ApprovalApproved) // before it could be told
	e.turn("pd")
	var have []string
	for _, g := range d.requests() {
		m := g.json(t)
		have = append(have, fmt.Sprintf("%s %v %v %v", g.path, m["routing_key"], m["event_action"], m["dedup_key"]))
	}
	equal(t, strings.Join(have, "\n"), `/v2/enqueue pd-key trigger i-1
/v2/enqueue pd-key acknowledge i-1
/v2/enqueue pd-key resolve i-1
/v2/enqueue pd-key trigger run/r-1
/v2/enqueue pd-key resolve run/r-1
/v2/enqueue pd-key resolve run/r-2`)
	p := d.requests()[0].json(t)["payload"].(map[string]any)
	equal(t, fmt.Sprint(p["summary"], p["source"], p["severity"], p["component"], p["timestamp"]),
		"restart_service on db faileddb (team-db)criticaldb2026-03-02T09:31:02Z")
	d.say(status(http.StatusBadRequest))
	e.incident("i-2", "db", "opened")
	e.turn("pd")
	if row := e.row("pd"); row.Dead != 1 || strings.Contains(row.Error, "pd-key") {
		t.Errorf("a refused one: %+v", row)
	}
}

// TestWebhookTemplates: values stay values. What a message says is never
// expanded, what a secret holds is never a template.
func TestWebhookTemplates(t *testing.T) {
	t.Setenv("HOOK_KEY", "{{.Title}} k3y")
	t.Setenv("SIGN_KEY", "sign")
	d := newDouble(t, nil)
	r := hook("hook", d)
	r.HMAC = "${env:SIGN_KEY}"
	r.Headers = map[string]string{"X-Room": "ops-{{.Severity}}", "X-Key": "Key ${env:HOOK_KEY}", "Content-Type": "text/plain"}
	r.Body = `{"text": {{json .Title}}, "more": {{json .What}}, "key": {{json "${env:HOOK_KEY}"}}, "k": "${env:HOOK_KEY}"}`
	if err := Check(r); err == nil {
		t.Error("a reference inside an action is no template")
	}
	r.Body = `{{json .Text}} {{.Question.Approval}}`
	if err := Check(r); err != nil {
		t.Error(err)
	}
	r.Body = `{"text": {{json .Title}}, "more": {{json .What}}, "services": {{json .Services}}}`
	e := newEnv(t, Settings{Config: Config{Receivers: []Receiver{r}}})
	e.n.current().workers[0].out.(*webhook).now = func() time.Time { return testNow }
	inc := grace.Incident{
		ID: "i-1", State: grace.IncidentOpen, Service: "web", Severity: grace.SeverityWarning, OpenedAt: e.now,
		Title: `"quoted" ${env:HOOK_KEY} {{.Key}}`, Detail: "${file:/etc/passwd}\r\nX-Evil: 1",
	}
	e.apply(event.Given{Incidents: []grace.Incident{inc}, Outbox: []grace.Event{{Type: "incident.opened", Resource: "incident/i-1", Payload: event.Encode(inc)}}})
	e.turn("hook")
	g := d.requests()[0]
	equal(t, g.body, `{"text": "\"quoted\" ${env:HOOK_KEY} {{.Key}}", "more": "${file:/etc/passwd}  X-Evil: 1", "services": ["web"]}`)
	equal(t, g.header.Get("X-Room"), "ops-warning")
	equal(t, g.header.Get("X-Key"), "Key {{.Title}} k3y")
	equal(t, g.header.Get("Idempotency-Key"), "grace/hook/1")
	seconds, signature, _ := strings.Cut(strings.TrimPrefix(g.header.Get("X-Grace-Signature"), "t="), ",v1=")
	mac := hmac.New(sha256.New, []byte("sign"))
	mac.Write([]byte(seconds + "." + g.body))
	equal(t, seconds+" "+signature, fmt.Sprintf("%d %s", testNow.Unix(), hex.EncodeToString(mac.Sum(nil))))
}

// Redirects would carry the secrets elsewhere.
func TestNoRedirect(t *testing.T) {
	elsewhere := newDouble(t, nil)
	d := newDouble(t, func(w http.ResponseWriter, _ got) {
		w.Header().Set("Location", elsewhere.URL)
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	e := newEnv(t, Settings{Config: Config{Receivers: []Receiver{hook("hook", d)}}})
	e.incident("i-1", "web", "opened")
	e.turn("hook")
	if row := e.row("hook"); len(elsewhere.requests()) != 0 || row.Dead != 1 || !strings.Contains(row.Error, "307") {
		t.Errorf("%+v", row)
	}
}

// The proxy and the authorities are the configured ones, never the environment's.
func TestProxyAndTLS(t *testing.T) {
	proxy := newDouble(t, nil)
	t.Setenv("HTTP_PROXY", proxy.URL)
	t.Setenv("http_proxy", proxy.URL)
	secure := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(secure.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	trusted := ReceiverTLS{TLS: httpclient.TLS{CA: ca}}
	e := newEnv(t, Settings{Config: Config{Receivers: []Receiver{
		{Name: "environment", Type: "webhook", URL: "http://chat.invalid/environment"},
		{Name: "proxy", Type: "webhook", URL: "http://chat.invalid/proxy", Proxy: proxy.URL},
		{Name: "trusted", Type: "webhook", URL: secure.URL, TLS: trusted},
		{Name: "stranger", Type: "webhook", URL: secure.URL},
	}}})
	list, err := e.n.Test(t.Context(), "", "token:ada")
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range list {
		if want := one.Receiver == "proxy" || one.Receiver == "trusted"; one.OK != want {
			t.Errorf("%s: %v %s", one.Receiver, one.OK, one.Error)
		}
	}
	equal(t, len(proxy.requests()), 1)
}

func TestChats(t *testing.T) {
	t.Setenv("NTFY", "tk_1")
	d := newDouble(t, nil)
	e := newEnv(t, Settings{Config: Config{Receivers: []Receiver{
		{Name: "teams", Type: "teams", URL: d.URL + "/teams"},
		{Name: "ntfy", Type: "ntfy", URL: d.URL + "/ntfy", Topic: "grace", Token: "${env:NTFY}"},
		{Name: "mm", Type: "mattermost", URL: d.URL + "/mm", Channel: "ops"},
	}}})
	e.ask("r-1", "db")
	for _, name := range []string{"teams", "ntfy", "mm"} {
		e.turn(name)
	}
	all := d.requests()
	card := all[0].json(t)["attachments"].([]any)[0].(map[string]any)
	equal(t, card["contentType"], any("application/vnd.microsoft.card.adaptive"))
	content := card["content"].(map[string]any)
	equal(t, fmt.Sprint(content["type"], content["body"].([]any)[0].(map[string]any)["text"]), `AdaptiveCardMay GRACE run restart\_service on db?`)
	equal(t, fmt.Sprint(content["actions"]), "[map[title:Open in GRACE type:Action.OpenUrl url:https://grace.example.com/lite/approvals/r-1]]")
	n := all[1].json(t)
	equal(t, fmt.Sprint(n["topic"], n["title"], n["priority"], n["click"], " ", all[1].header.Get("Authorization")),
		"graceMay GRACE run restart_service on db?5https://grace.example.com/lite/approvals/r-1 Bearer tk_1")
	m := all[2].json(t)
	equal(t, fmt.Sprint(m["channel"], m["attachments"].([]any)[0].(map[string]any)["fallback"]), "opsMay GRACE run restart_service on db?")
}

// Test goes past routes and cursors, and calls nobody out of bed.
func TestTest(t *testing.T) {
	t.Setenv("PD_KEY", "pd-key")
	good, bad := newDouble(t, nil), newDouble(t, status(http.StatusNotFound))
	e := newEnv(t, Settings{Config: Config{Receivers: []Receiver{
		hook("good", good), hook("bad", bad), {Name: "pd", Type: "pagerduty", RoutingKey: "${env:PD_KEY}", URL: good.URL},
	}, Routes: []Route{{Receivers: []Name{"good"}, Events: []Kind{Asked}}}}})
	list, err := e.n.Test(t.Context(), "", "token:ada")
	if err != nil || len(list) != 3 || !list[0].OK || list[1].OK || !strings.Contains(list[1].Error, "404") || !list[2].OK {
		t.Errorf("%+v %v", list, err)
	}
	resolves := 0
	for _, g := range good.requests() {
		if kind := g.json(t)["kind"]; kind != nil && kind != "test" {
			t.Errorf("a test message is %v", kind)
		}
		if g.json(t)["event_action"] == "resolve" {
			resolves++
		}
	}
	equal(t, resolves, 1)
	if list, err := e.n.Test(t.Context(), "good", "token:ada"); err != nil || len(list) != 1 {
		t.Errorf("%+v %v", list, err)
	}
	if _, err := e.n.Test(t.Context(), "god", "token:ada"); err == nil || !strings.Contains(err.Error(), "good, bad, pd") {
		t.Errorf("an unknown one: %v", err)
	}
}
