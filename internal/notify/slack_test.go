package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"grace"
	"grace/internal/event"
)

// slackDouble answers as Slack's Web API does: 200 with ok, and a time stamp
// for every message.
func slackDouble(t *testing.T) *double {
	t.Helper()
	n := 0
	return newDouble(t, func(w http.ResponseWriter, g got) {
		n++
		w.Header().Set("Content-Type", "application/json")
		if g.header.Get("Authorization") != "Bearer xoxb-1" && !strings.Contains(g.body, "token=xoxb-1") {
			_, _ = w.Write([]byte(`{"ok":false,"error":"invalid_auth"}`))
			return
		}
		_, _ = fmt.Fprintf(w, `{"ok":true,"channel":"C1","ts":"%d.0","message_ts":"%d.0","view":{"id":"V1"}}`, n, n)
	})
}

// call reads a request to the API: the method and what was sent.
func (g got) call(t *testing.T) (method string, v url.Values) {
	t.Helper()
	v, err := url.ParseQuery(g.body)
	if err != nil || strings.HasPrefix(g.body, "{") {
		v = url.Values{"json": {g.body}}
	}
	return strings.TrimPrefix(g.path, "/"), v
}

func slackEnv(t *testing.T) (*env, *double) {
	t.Helper()
	t.Setenv("SLACK_TOKEN", "xoxb-1")
	t.Setenv("SLACK_SECRET", "shh")
	d := slackDouble(t)
	r := Receiver{Name: "chat", Type: "slack", Token: "${env:SLACK_TOKEN}", SigningSecret: "${env:SLACK_SECRET}", Channel: "#web", APIURL: d.URL}
	return newEnv(t, Settings{Config: Config{Receivers: []Receiver{r}, People: []Person{
		{Name: "ada", Slack: "U1", Role: "approver"}, {Name: "bob", Slack: "U2", Role: "operator"},
	}}}), d
}

// One thread a run, buttons on the question, which give way to the answer.
func TestSlackThread(t *testing.T) {
	e, d := slackEnv(t)
	e.ask("r-1", "web")
	e.incident("i-1", "db", "opened")
	e.turn("chat")
	e.answer("r-1", grace.ApprovalApproved)
	e.turn("chat")
	var have []string
	for _, g := range d.requests() {
		method, v := g.call(t)
		buttons := strings.Contains(v.Get("blocks"), actionApprove)
		have = append(have, fmt.Sprintf("%s to %s in %q at %q, buttons %v: %s", method, v.Get("channel"), v.Get("thread_ts"), v.Get("ts"), buttons, v.Get("text")))
	}
	equal(t, strings.Join(have, "\n"), `chat.postMessage to #web in "" at "", buttons true: May GRACE run restart_service on web?
chat.postMessage to #web in "" at "", buttons false: restart_service on db failed
chat.postMessage to C1 in "1.0" at "", buttons false: restart_service on web: approved by token:ada (go on)
chat.update to C1 in "" at "1.0", buttons false: restart_service on web: approved by token:ada (go on)`)
	_, v := d.requests()[0].call(t)
	if !strings.Contains(v.Get("metadata"), "grace/chat/1") || !strings.Contains(v.Get("blocks"), "https://grace.example.com/lite/approvals/r-1") {
		t.Errorf("metadata %s, blocks %s", v.Get("metadata"), v.Get("blocks"))
	}
	if strings.Contains(v.Get("blocks"), "mrkdwn") {
		t.Errorf("text from outside may hold marks: %s", v.Get("blocks"))
	}
}

// 429 is waited for; what Slack refuses is final; what it cannot do now is not.
func TestSlackErrors(t *testing.T) {
	e, d := slackEnv(t)
	d.say(func(w http.ResponseWriter, _ got) {
		w.Header().Set("Retry-After", "30")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	e.incident("i-1", "db", "opened")
	e.turn("chat")
	equal(t, e.row("chat").Retry.Sub(e.now), 30*time.Second)
	for _, answer := range []string{"channel_not_found", "internal_error"} {
		final := answer == "channel_not_found"
		e.now = e.now.Add(time.Hour)
		before := e.row("chat").Dead
		e.incident("i-"+answer, "db", "opened")
		d.say(func(w http.ResponseWriter, _ got) { _, _ = fmt.Fprintf(w, `{"ok":false,"error":%q}`, answer) })
		e.turn("chat")
		if row := e.row("chat"); row.Dead > before != final || !strings.Contains(row.Error, answer) {
			t.Errorf("%s: %+v", answer, row)
		}
	}
	e.now = e.now.Add(time.Hour)
	d.say(status(http.StatusBadGateway))
	e.turn("chat")
	if row := e.row("chat"); row.Retry == nil || !row.Retry.After(e.now) {
		t.Errorf("502: %+v", row)
	}
}

// interaction sends what Slack sends, signed at a time.
func (e *env) interaction(secret string, at time.Time, payload map[string]any) *httptest.ResponseRecorder {
	e.t.Helper()
	body := url.Values{"payload": {string(event.Encode(payload))}}.Encode()
	stamp := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte("v0:" + stamp + ":" + body))
	r := httptest.NewRequestWithContext(e.t.Context(), http.MethodPost, "/api/notify/slack/chat", strings.NewReader(body))
	r.Header.Set("X-Slack-Request-Timestamp", stamp)
	r.Header.Set("X-Slack-Signature", "v0="+hex.EncodeToString(mac.Sum(nil)))
	w := httptest.NewRecorder()
	e.n.ServeSlack(w, r, "chat")
	return w
}

func press(user, action, value string) map[string]any {
	return map[string]any{
		"type": "block_actions", "trigger_id": "T1", "user": map[string]any{"id": user}, "channel": map[string]any{"id": "C1"},
		"actions": []any{map[string]any{"type": "button", "action_id": action, "block_id": "grace", "value": value}},
	}
}

func submit(user, metadata, reason string) map[string]any {
	return map[string]any{"type": "view_submission", "user": map[string]any{"id": user}, "view": map[string]any{
		"callback_id": formDecide, "private_metadata": metadata,
		"state": map[string]any{"values": map[string]any{inputReason: map[string]any{inputReason: map[string]any{"type": "plain_text_input", "value": reason}}}},
	}}
}

// A request that Slack did not sign, or signed long ago, does nothing.
func TestSlackSignature(t *testing.T) {
	e, d := slackEnv(t)
	good := submit("U1", `{"approval":"r-1","revision":1,"approve":true}`, "because")
	for name, w := range map[string]*httptest.ResponseRecorder{
		"another secret":   e.interaction("other", e.now, good),
		"recorded":         e.interaction("shh", e.now.Add(-tolerance-time.Second), good),
		"from the future":  e.interaction("shh", e.now.Add(tolerance+time.Second), good),
		"an empty secret":  e.interaction("", e.now, good),
		"before the epoch": e.interaction("shh", time.Unix(-1, 0), good),
	} {
		if w.Code != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	if err := VerifySlack("", http.Header{}, nil, e.now); err == nil {
		t.Error("no secret and no signature passed")
	}
	equal(t, len(e.decided)+len(d.requests()), 0)
	if w := e.interaction("shh", e.now.Add(-tolerance), good); w.Code != http.StatusOK || len(e.decided) != 1 {
		t.Errorf("just in time: %d %s", w.Code, w.Body)
	}
	w := httptest.NewRecorder()
	e.n.ServeSlack(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil), "nobody")
	equal(t, w.Code, http.StatusNotFound)
}

// Who presses a button is asked why, if that one may answer.
func TestSlackAnswer(t *testing.T) {
	e, d := slackEnv(t)
	last := func() string {
		all := d.requests()
		if len(all) == 0 {
			return ""
		}
		method, v := all[len(all)-1].call(t)
		return method + " " + v.Get("text") + v.Get("view") + v.Get("json")
	}
	e.interaction("shh", e.now, press("U9", actionApprove, "r-1 1"))
	if have := last(); !strings.HasPrefix(have, "chat.postEphemeral") || !strings.Contains(have, "does not know you") || !strings.Contains(have, "U9") {
		t.Errorf("a stranger: %s", have)
	}
	e.interaction("shh", e.now, press("U2", actionApprove, "r-1 1"))
	if have := last(); !strings.HasPrefix(have, "chat.postEphemeral") || !strings.Contains(have, "needs the role approver") {
		t.Errorf("an operator: %s", have)
	}
	e.interaction("shh", e.now, press("U1", actionDeny, "r-1 3"))
	have := last()
	if !strings.HasPrefix(have, "views.open") || !strings.Contains(have, "Deny") || !strings.Contains(have, `\"approval\":\"r-1\",\"revision\":3,\"approve\":false`) {
		t.Errorf("an approver: %s", have)
	}
	equal(t, len(e.decided), 0)

	errorOf := func(w *httptest.ResponseRecorder) string {
		var out struct {
			Action string            `json:"response_action"`
			Errors map[string]string `json:"errors"`
		}
		if w.Body.Len() == 0 {
			return ""
		}
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || out.Action != "errors" {
			t.Fatalf("%v %s", err, w.Body)
		}
		return out.Errors[inputReason]
	}
	metadata := `{"approval":"r-1","revision":3,"approve":false}`
	for _, tt := range []struct{ user, metadata, reason, want string }{
		{"U9", metadata, "because", "does not know you"},
		{"U2", metadata, "because", "needs the role approver"},
		{"U1", metadata, " no ", "2 characters"},
		{"U1", metadata, strings.Repeat("x", 501), "501 characters"},
		{"U1", `{"approval":"r-1"}`, "because", "which question"},
		{"U1", `nonsense`, "because", "which question"},
	} {
		if have := errorOf(e.interaction("shh", e.now, submit(tt.user, tt.metadata, tt.reason))); !strings.Contains(have, tt.want) {
			t.Errorf("%+v: %q", tt, have)
		}
	}
	equal(t, len(e.decided), 0)
	equal(t, errorOf(e.interaction("shh", e.now, submit("U1", metadata, "too risky now"))), "")
	equal(t, e.decided, []string{`r-1 false "too risky now" by slack:ada at 3`})
	e.refuse = &Refused{Message: "Too late: already approved by token:eve."}
	equal(t, errorOf(e.interaction("shh", e.now, submit("U1", metadata, "because"))), "Too late: already approved by token:eve.")
	e.refuse = errors.New("host=10.0.0.1 refused")
	if have := errorOf(e.interaction("shh", e.now, submit("U1", metadata, "because"))); strings.Contains(have, "10.0.0.1") || have == "" {
		t.Errorf("an inner error: %q", have)
	}
}

// FuzzSlack: whatever is sent is answered without a panic.
func FuzzSlack(f *testing.F) {
	f.Add(`{"type":"block_actions","actions":[{}]}`)
	f.Add(`{"type":"view_submission","view":{"callback_id":"grace_decide"}}`)
	f.Add(string(event.Encode(submit("U1", `{}`, ""))))
	f.Fuzz(func(t *testing.T, payload string) {
		n := &Notifier{set: &setup{people: map[string]Person{"U1": {Name: "ada", Role: "approver"}}}, Deps: Deps{Now: func() time.Time { return testNow }}}
		n.set.workers = []*worker{{name: "chat", out: &slackSender{cfg: Receiver{SigningSecret: "s"}, http: &http.Client{Transport: noNetwork{}}}}}
		n.Log = slog.New(slog.DiscardHandler)
		n.Decide = func(context.Context, grace.ApprovalID, bool, string, string, int) error { return nil }
		body := url.Values{"payload": {payload}}.Encode()
		stamp := strconv.FormatInt(testNow.Unix(), 10)
		mac := hmac.New(sha256.New, []byte("s"))
		mac.Write([]byte("v0:" + stamp + ":" + body))
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(body))
		r.Header.Set("X-Slack-Request-Timestamp", stamp)
		r.Header.Set("X-Slack-Signature", "v0="+hex.EncodeToString(mac.Sum(nil)))
		n.ServeSlack(httptest.NewRecorder(), r, "chat")
	})
}
