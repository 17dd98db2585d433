package daemon_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"grace"
)

// slackSecret is what Slack signs with in these tests.
const slackSecret = "shh"

// newSlack starts a daemon whose receiver "chat" is a Slack, and which asks a
// person about the service that waits. people is of notify.
func newSlack(t *testing.T, people string) client {
	t.Helper()
	t.Setenv("GRACE_TEST_SLACK", slackSecret)
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"ok":true,"channel":"C1","ts":"1.0"}`))
	}))
	t.Cleanup(api.Close)
	h := newHome(t, "notify:\n  people: "+people+"\n  receivers: [{name: chat, type: slack, token: '${env:GRACE_TEST_SLACK}', "+
		"signing_secret: '${env:GRACE_TEST_SLACK}', channel: '#web', api_url: '"+api.URL+"'}]\n"+fiveSteps(newTarget(t), []string{waiting}))
	_, c := h.embed(t)
	return c
}

// approveInSlack sends the form that a Slack user fills in, and gives the
// status and the problem that the form shows.
func approveInSlack(c client, secret, user string, asked grace.Approval) (status int, problem string) {
	c.t.Helper()
	metadata := fmt.Sprintf(`{"approval":%q,"revision":%d,"approve":true}`, asked.ID, asked.Revision)
	payload := `{"type":"view_submission","user":{"id":"` + user + `"},"view":{"callback_id":"grace_decide","private_metadata":` + strconv.Quote(metadata) +
		`,"state":{"values":{"reason":{"reason":{"type":"plain_text_input","value":"go on"}}}}}}`
	body := url.Values{"payload": {payload}}.Encode()
	stamp := strconv.FormatInt(time.Now().Unix(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte("v0:" + stamp + ":" + body))
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, c.base+"/api/notify/slack/chat", strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("X-Slack-Request-Timestamp", stamp)
	req.Header.Set("X-Slack-Signature", "v0="+hex.EncodeToString(mac.Sum(nil)))
	resp, err := transport.RoundTrip(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	var shown struct{ Errors map[string]string }
	if strings.Contains(resp.Header.Get("Content-Type"), "json") {
		if err := json.NewDecoder(resp.Body).Decode(&shown); err != nil {
			c.t.Fatal(err)
		}
	}
	return resp.StatusCode, shown.Errors["reason"]
}

// TestSlackDecides: an answer from Slack reaches the run, under the person's
// name.
func TestSlackDecides(t *testing.T) {
	c := newSlack(t, "[{name: ada, slack: U1, role: approver}]")
	c.alert(waiting)
	asked := ask(c, waiting)
	if code, _ := approveInSlack(c, "guess", "U1", asked); code != http.StatusUnauthorized {
		t.Errorf("a wrong signature: %d", code)
	}
	if code, problem := approveInSlack(c, slackSecret, "U1", asked); code != http.StatusOK || problem != "" {
		t.Errorf("an answer: %d, a problem: %s", code, problem)
	}
	c.waitRun(waiting, grace.RunSucceeded)
	if a := approvalOf(c, asked.Run); a.Actor != "slack:ada" || a.Reason != "go on" || a.State != grace.ApprovalApproved {
		t.Errorf("%+v", a)
	}
	if _, problem := approveInSlack(c, slackSecret, "U1", asked); !strings.Contains(problem, "already approved by slack:ada") {
		t.Errorf("a second answer is not told that it is too late: %q", problem)
	}
}

// TestSlackIsNoWayAround: who reported a condition with a token does not
// approve the run about it as a Slack user, whatever the token is called.
func TestSlackIsNoWayAround(t *testing.T) {
	c := newSlack(t, "[{name: ada, slack: U1, role: approver}, {name: bob, slack: U2, role: approver, tokens: bob-laptop}, {name: eve, slack: U3, role: approver}]")
	for _, name := range []string{"ada", "bob-laptop"} {
		var made struct{ Secret string }
		c.call(http.MethodPost, "/api/tokens", map[string]any{"name": name, "role": "operator"}, &made)
		client{t: c.t, base: c.base, token: made.Secret}.alert(waiting)
	}
	asked := ask(c, waiting)
	for user, name := range map[string]string{"U1": "token:ada", "U2": "token:bob-laptop"} {
		if _, problem := approveInSlack(c, slackSecret, user, asked); !strings.Contains(problem, name) || !strings.Contains(problem, "the same person") {
			t.Errorf("%s approved what %s reported: %q", user, name, problem)
		}
	}
	if a := approvalOf(c, asked.Run); a.State != grace.ApprovalPending {
		t.Fatalf("it was decided: %+v", a)
	}
	if _, problem := approveInSlack(c, slackSecret, "U3", asked); problem != "" {
		t.Errorf("somebody else: %s", problem)
	}
}
