package api

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"grace"
	"grace/internal/store"
)

// browser is a person at the pages: it keeps the cookie.
type browser struct {
	*env

	cookie string
}

func (b *browser) send(method, path string, form url.Values, header ...string) *httptest.ResponseRecorder {
	b.t.Helper()
	req := httptest.NewRequest(method, path, strings.NewReader(form.Encode()))
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if b.cookie != "" {
		req.Header.Set("Cookie", sessionCookie+"="+b.cookie)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	b.handler.ServeHTTP(rec, req)
	for _, c := range rec.Result().Cookies() {
		b.cookie = c.Value
	}
	return rec
}

func (e *env) signIn(role string) *browser {
	e.t.Helper()
	b := &browser{env: e}
	rec := b.send("POST", "/lite/login", url.Values{"token": {e.tokens[role]}, "next": {"lite"}})
	if rec.Code != http.StatusSeeOther || b.cookie == "" {
		e.t.Fatalf("login: %d %s", rec.Code, rec.Body)
	}
	return b
}

func (b *browser) csrf(path string) string {
	b.t.Helper()
	m := regexp.MustCompile(`name="csrf" value="([^"]+)"`).FindStringSubmatch(b.send("GET", path, nil).Body.String())
	if m == nil {
		b.t.Fatalf("no form on %s", path)
	}
	return m[1]
}

func TestLogin(t *testing.T) {
	e := newEnv(t)
	b := &browser{env: e}
	rec := b.send("GET", "/lite/approvals/r-1", nil)
	if rec.Code != http.StatusSeeOther || rec.Header().Get("Location") != "../../lite/login?next=lite%2Fapprovals%2Fr-1" {
		t.Fatalf("%d to %q", rec.Code, rec.Header().Get("Location"))
	}
	rec = b.send("POST", "/lite/login", url.Values{"token": {"grace_wrong"}, "next": {"lite/approvals/r-1"}})
	if rec.Code != http.StatusUnauthorized || b.cookie != "" || !strings.Contains(rec.Body.String(), `value="lite/approvals/r-1"`) {
		t.Fatalf("wrong token: %d", rec.Code)
	}
	rec = b.send("POST", "/lite/login", url.Values{"token": {" " + e.tokens["viewer"] + "\n"}, "next": {"lite/approvals/r-1"}}, "X-Forwarded-Proto", "https")
	if rec.Code != http.StatusSeeOther || rec.Header().Get("Location") != "../lite/approvals/r-1" {
		t.Fatalf("%d to %q", rec.Code, rec.Header().Get("Location"))
	}
	set := rec.Header().Get("Set-Cookie")
	for _, want := range []string{"HttpOnly", "SameSite=Strict", "Secure", "Max-Age=43200"} {
		if !strings.Contains(set, want) {
			t.Errorf("the cookie lacks %s: %s", want, set)
		}
	}
	if strings.Contains(set, e.tokens["viewer"]) || strings.Contains(set, "Path=") {
		t.Errorf("the cookie holds the token or a path: %s", set)
	}
	if rec := b.send("POST", "/lite/login", url.Values{"token": {e.tokens["viewer"]}}, "Sec-Fetch-Site", "cross-site"); rec.Code != http.StatusForbidden {
		t.Errorf("a login from another site: %d", rec.Code)
	}
}

func TestSessionEnds(t *testing.T) {
	e := newEnv(t)
	b := e.signIn("viewer")
	if rec := b.send("GET", "/lite", nil); rec.Code != http.StatusOK {
		t.Fatalf("signed in: %d", rec.Code)
	}
	good := b.cookie
	for name, spoil := range map[string]func(){
		"tampered": func() { b.cookie = strings.Replace(good, ".", "0.", 1) },
		"unsigned": func() { b.cookie = good[:strings.LastIndexByte(good, '.')] },
		"too old":  func() { e.now = testNow.Add(13 * time.Hour) },
	} {
		b.cookie, e.now = good, testNow
		spoil()
		if rec := b.send("GET", "/lite", nil); rec.Code != http.StatusSeeOther {
			t.Errorf("%s: %d", name, rec.Code)
		}
	}
	b.cookie, e.now = good, testNow
	if rec := b.send("GET", "/api/runs", nil); rec.Code != http.StatusUnauthorized {
		t.Errorf("the cookie opens the API: %d", rec.Code)
	}
	if err := e.store.RevokeToken(t.Context(), "test", "viewer"); err != nil {
		t.Fatal(err)
	}
	if rec := b.send("GET", "/lite", nil); rec.Code != http.StatusSeeOther {
		t.Errorf("revoked: %d", rec.Code)
	}
	out := e.signIn("approver")
	if rec := out.send("POST", "/lite/logout", url.Values{"csrf": {out.csrf("/lite")}}); rec.Code != http.StatusSeeOther || out.cookie != "" {
		t.Errorf("logout: %d, cookie %q", rec.Code, out.cookie)
	}
}

// A link in a mail or a chat is followed across sites, so the strict cookie
// is missing on the first request only.
func TestLinkFromAnotherSiteHops(t *testing.T) {
	e := newEnv(t)
	rec := (&browser{env: e}).send("GET", "/lite/approvals/r-1", nil, "Sec-Fetch-Site", "cross-site")
	if rec.Code != http.StatusOK || !strings.Contains(rec.Body.String(), `http-equiv="refresh" content="0"`) {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

func TestSafeNext(t *testing.T) {
	for in, want := range map[string]string{
		"lite": "lite", "lite/services": "lite/services", "lite/approvals/r-1": "lite/approvals/r-1",
		"": "lite", "//evil.example": "lite", "lite//evil.example": "lite", "lite/../api": "lite", "https://evil.example": "lite",
		"lite:x": "lite", "liteevil": "lite", "lite@evil.example": "lite", "lite\\evil": "lite",
	} {
		if got := safeNext(in); got != want {
			t.Errorf("safeNext(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestPagesShowTheState(t *testing.T) {
	e := newEnv(t)
	e.apply(story())
	b := e.signIn("approver")
	for path, wants := range map[string][]string{
		"/lite": {
			"1 failing, 1 degraded, 1 without data.", "GRACE needs you for 1.", "expires in 26 min", "Observe only",
			`href="./lite/approvals/r-1"`, "error_ratio is 0.21, threshold 0.05", "run awaiting approval",
		},
		"/lite/services":          {"1 healthy not shown", "flush_circuit_breakers: needs you", "attributed to db", `href="../lite"`},
		"/lite/services?all=1":    {"checkout"},
		"/lite/services?q=nobody": {"No service matches"},
		"/lite/runs/r-1":          {"waiting for approval", "cannot be undone", "planned", "error_ratio{service=&#34;cart&#34;} &lt; 0.05", "blast_radius_too_large", "Abort this run"},
		"/lite/approvals/r-1":     {"flush: http (method POST, url http://db/breaker)", "undo flush", "2</td>", "has not been tried on db", `value="approve"`},
	} {
		rec := b.send("GET", path, nil)
		if rec.Code != http.StatusOK || !strings.HasPrefix(rec.Header().Get("Content-Type"), "text/html") {
			t.Errorf("%s: %d %s", path, rec.Code, rec.Header().Get("Content-Type"))
		}
		if csp := rec.Header().Get("Content-Security-Policy"); strings.Contains(csp, "unsafe") || !strings.Contains(csp, "default-src 'none'") {
			t.Errorf("%s: policy %s", path, csp)
		}
		for _, want := range wants {
			if !strings.Contains(rec.Body.String(), want) {
				t.Errorf("%s lacks %q", path, want)
			}
		}
	}
	if strings.Contains(b.send("GET", "/lite/services", nil).Body.String(), "s-checkout") {
		t.Error("a healthy service is shown unasked")
	}
	for _, path := range []string{"/lite/runs/none", "/lite/approvals/none"} {
		if rec := b.send("GET", path, nil); rec.Code != http.StatusNotFound || !strings.Contains(rec.Body.String(), "not found") {
			t.Errorf("%s: %d", path, rec.Code)
		}
	}
	if len(e.core.decided)+len(e.core.aborted) != 0 {
		t.Error("a GET acted")
	}
}

// changed is a form with other values: name, value, name, value.
func changed(form url.Values, change []string) url.Values {
	for i := 0; i+1 < len(change); i += 2 {
		form.Set(change[i], change[i+1])
	}
	return form
}

func TestDecideForm(t *testing.T) {
	e := newEnv(t)
	e.apply(story())
	b := e.signIn("approver")
	csrf := b.csrf("/lite/approvals/r-1")
	form := func(change ...string) url.Values {
		return changed(url.Values{"csrf": {csrf}, "decision": {"approve"}, "revision": {"1"}, "reason": {"looks right"}}, change)
	}
	for name, tt := range map[string]struct {
		form   url.Values
		status int
		want   string
	}{
		"no token":      {form("csrf", ""), 403, "does not belong to this session"},
		"another token": {form("csrf", "AAAA"), 403, "does not belong to this session"},
		"short reason":  {form("reason", "ok"), 422, "the reason has 2 characters"},
		"no choice":     {form("decision", ""), 422, "neither approve nor deny"},
		"no revision":   {form("revision", "x"), 428, "names no revision"},
	} {
		rec := b.send("POST", "/lite/approvals/r-1", tt.form)
		if rec.Code != tt.status || !strings.Contains(rec.Body.String(), tt.want) {
			t.Errorf("%s: %d, want %d with %q", name, rec.Code, tt.status, tt.want)
		}
	}
	if len(e.core.decided) != 0 {
		t.Fatalf("a refused form acted: %+v", e.core.decided)
	}
	e.core.fail(deniedByAna())
	rec := b.send("POST", "/lite/approvals/r-1", form())
	if rec.Code != http.StatusConflict || !strings.Contains(rec.Body.String(), "already denied by token:ana") || !strings.Contains(rec.Body.String(), "looks right") {
		t.Errorf("conflict: %d %s", rec.Code, rec.Body)
	}
	e.core.fail(nil)
	rec = b.send("POST", "/lite/approvals/r-1", form("decision", "deny"))
	if rec.Code != http.StatusSeeOther || rec.Header().Get("Location") != "../../lite/approvals/r-1" {
		t.Errorf("%d to %q", rec.Code, rec.Header().Get("Location"))
	}
	if got := e.core.decided[len(e.core.decided)-1]; got.Approve || got.Actor != "token:approver" || got.Revision != 1 || got.Reason != "looks right" {
		t.Errorf("decided %+v", got)
	}
	viewer := e.signIn("viewer")
	if body := viewer.send("GET", "/lite/approvals/r-1", nil).Body.String(); strings.Contains(body, `name="decision"`) || !strings.Contains(body, "may not decide") {
		t.Error("a viewer is offered the decision")
	}
	if rec := viewer.send("POST", "/lite/approvals/r-1", form("csrf", viewer.csrf("/lite"))); rec.Code != http.StatusForbidden {
		t.Errorf("a viewer decides: %d", rec.Code)
	}
}

func TestDecidedAndExpiredApprovalsHaveNoForm(t *testing.T) {
	e := newEnv(t)
	change := story()
	change.Runs[0].Status = grace.RunDenied
	a := &change.Approvals[0]
	a.State, a.Actor, a.Reason, a.DecidedAt = grace.ApprovalDenied, "token:ana", "too risky", new(at(-14*time.Second))
	e.apply(change)
	b := e.signIn("approver")
	if body := b.send("GET", "/lite/approvals/r-1", nil).Body.String(); strings.Contains(body, `name="decision"`) || !strings.Contains(body, "Already denied by token:ana, 14 s ago") {
		t.Errorf("a decided approval shows %s", body)
	}
	late := newEnv(t)
	late.apply(story())
	late.now = testNow.Add(27 * time.Minute)
	if body := late.signIn("approver").send("GET", "/lite/approvals/r-1", nil).Body.String(); strings.Contains(body, `name="decision"`) || !strings.Contains(body, "expired at 09:57:02") {
		t.Error("an approval past its time can be decided")
	}
}

func TestAbortForm(t *testing.T) {
	e := newEnv(t)
	e.apply(story())
	b := e.signIn("approver")
	csrf := b.csrf("/lite/runs/r-1")
	if rec := b.send("POST", "/lite/runs/r-1/abort", url.Values{"csrf": {csrf}, "reason": {"x"}}); rec.Code != 422 {
		t.Errorf("short reason: %d", rec.Code)
	}
	e.core.fail(ended(grace.RunSucceeded))
	if rec := b.send("POST", "/lite/runs/r-1/abort", url.Values{"csrf": {csrf}, "reason": {"stop it"}}); rec.Code != 409 || !strings.Contains(rec.Body.String(), "the run has ended") {
		t.Errorf("ended: %d", rec.Code)
	}
	e.core.fail(nil)
	if rec := b.send("POST", "/lite/runs/r-1/abort", url.Values{"csrf": {csrf}, "reason": {"stop it"}}); rec.Code != http.StatusSeeOther {
		t.Errorf("abort: %d", rec.Code)
	}
	if got := e.core.aborted[len(e.core.aborted)-1]; got != "r-1 token:approver stop it" {
		t.Errorf("aborted %q", got)
	}
}

func TestHeadline(t *testing.T) {
	for want, o := range map[string]overview{
		"No service is configured yet.":    {},
		"All 1 services are healthy.":      {services: []ServiceView{service("a", grace.HealthHealthy)}},
		"No data about any of 1 services.": {services: []ServiceView{service("a", grace.HealthUnknown)}},
		"1 failing, 1 predicted in 12 min. GRACE is healing 1 and needs you for 2.": {
			services: []ServiceView{service("a", grace.HealthCritical)}, open: []grace.Run{{Status: grace.RunRunning}},
			predictions: []grace.Prediction{{BreachAt: at(12 * time.Minute)}},
		},
	} {
		needs := 0
		if len(o.open) > 0 {
			needs = 2
		}
		if got, _ := o.headline(testNow, needs); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// A prediction stands since it was first said, however often it was said since.
func TestMade(t *testing.T) {
	if got := made(grace.Prediction{Made: at(0), At: at(5 * time.Minute)}); !got.Equal(at(0)) {
		t.Errorf("made %s", got)
	}
	if got := made(grace.Prediction{At: at(5 * time.Minute)}); !got.Equal(at(5 * time.Minute)) {
		t.Errorf("of another system, which says only when it was sent: %s", got)
	}
}

func TestPagesWithoutTheStore(t *testing.T) {
	e := newEnv(t)
	b := e.signIn("viewer")
	e.store.Close()
	rec := b.send("GET", "/lite", nil)
	if rec.Code != http.StatusServiceUnavailable || !strings.Contains(rec.Body.String(), "cannot be reached") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if rec := b.send("GET", "/lite/style.css", nil); rec.Code != 200 || !strings.HasPrefix(rec.Header().Get("Content-Type"), "text/css") {
		t.Errorf("style: %d", rec.Code)
	}
}

// TestNotReady: while GRACE cannot write, its first page says so first, whatever
// the stored states say.
func TestNotReady(t *testing.T) {
	e := newEnv(t)
	e.core.services = []ServiceView{service("cart", grace.HealthHealthy)}
	e.core.unready = &Unready{Since: testNow, Err: &store.Outage{Reason: "the disk is full: make room"}}
	page := e.signIn("viewer").send("GET", "/lite", nil).Body.String()
	for _, want := range []string{"GRACE cannot work, and what it shows may be old. GRACE needs you for 1.", "the disk is full: make room; since 2026-03-01 09:31 UTC"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page, "healthy.") {
		t.Error("the page says that all is healthy")
	}
}
