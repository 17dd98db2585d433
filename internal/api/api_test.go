package api

import (
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"grace"
)

var update = flag.Bool("update", false, "write openapi.json anew")

func TestOpenAPIIsCommitted(t *testing.T) {
	const path = "../../openapi.json"
	want, err := OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != string(want) {
		t.Error("openapi.json is not what the code says: go test ./internal/api -run OpenAPI -update")
	}
	for _, bad := range []string{"$schema", `"null"`} {
		if strings.Contains(string(want), bad) {
			t.Errorf("the document holds %s", bad)
		}
	}
}

// operations lists every operation with the role it asks for.
func operations(t *testing.T) []*huma.Operation {
	t.Helper()
	s := &server{cfg: Config{}.filled()}
	var out []*huma.Operation
	for _, item := range s.register(http.NewServeMux()).OpenAPI().Paths {
		for _, o := range []*huma.Operation{item.Get, item.Post, item.Put, item.Delete} {
			if o != nil {
				out = append(out, o)
			}
		}
	}
	if len(out) < 30 {
		t.Fatalf("only %d operations", len(out))
	}
	return out
}

// Every list is paged by cursor.
func TestEveryListIsPaged(t *testing.T) {
	for _, o := range operations(t) {
		var names []string
		for _, p := range o.Parameters {
			names = append(names, p.Name)
		}
		if strings.HasPrefix(o.OperationID, "list-") && (!slices.Contains(names, "cursor") || !slices.Contains(names, "limit")) {
			t.Errorf("%s has no cursor and limit: %v", o.OperationID, names)
		}
	}
}

// Every operation, whatever is added to the API later, is refused without a
// token and with the role below the one it needs.
func TestEveryOperationAsksForItsRole(t *testing.T) {
	e := newEnv(t)
	for _, o := range operations(t) {
		path := strings.NewReplacer("{id}", "x", "{name}", "x").Replace(o.Path)
		t.Run(o.OperationID, func(t *testing.T) {
			problemOf(t, e.call("", o.Method, path, "{}"), http.StatusUnauthorized)
			need, _ := o.Metadata[metaRole].(role)
			if need == roleNone {
				t.Fatal("no role is named")
			}
			if need > roleViewer {
				p := problemOf(t, e.call((need-1).String(), o.Method, path, "{}"), http.StatusForbidden)
				if !strings.Contains(p.Detail, need.String()) {
					t.Errorf("the problem does not say which role it takes: %s", p.Detail)
				}
			}
		})
	}
}

func TestTokens(t *testing.T) {
	e := newEnv(t)
	for name, header := range map[string]string{
		"none": "", "basic": "Basic abc", "foreign": "Bearer abc", "unknown": "Bearer grace_nope", "cut": "Bearer " + e.tokens["viewer"][:20],
	} {
		t.Run(name, func(t *testing.T) {
			rec := e.call("", "GET", "/api/runs", "", "Authorization", header)
			p := problemOf(t, rec, http.StatusUnauthorized)
			if rec.Header().Get("WWW-Authenticate") == "" || p.Hint == "" {
				t.Errorf("no challenge or hint: %v %+v", rec.Header(), p)
			}
		})
	}
	created := decode[NewToken](t, e.call("admin", "POST", "/api/tokens", `{"name":"ci","role":"viewer","expires":"2026-03-01T10:00:00Z"}`))
	if !strings.HasPrefix(created.Secret, tokenPrefix) {
		t.Fatalf("secret %q", created.Secret)
	}
	use := func() int {
		return e.call("", "GET", "/api/runs", "", "Authorization", "bearer "+created.Secret).Code
	}
	if code := use(); code != http.StatusOK {
		t.Fatalf("the new token answers %d", code)
	}
	e.now = testNow.Add(time.Hour)
	if code := use(); code != http.StatusUnauthorized {
		t.Errorf("the expired token answers %d", code)
	}
	e.now = testNow
	if rec := e.call("admin", "DELETE", "/api/tokens/ci", ""); rec.Code != http.StatusNoContent {
		t.Fatalf("revoke: %d %s", rec.Code, rec.Body)
	}
	if code := use(); code != http.StatusUnauthorized {
		t.Errorf("the revoked token answers %d", code)
	}
	problemOf(t, e.call("admin", "DELETE", "/api/tokens/nobody", ""), http.StatusNotFound)
	problemOf(t, e.call("admin", "POST", "/api/tokens", `{"name":"old","role":"viewer","expires":"2020-01-01T00:00:00Z"}`), http.StatusUnprocessableEntity)
	if l := decode[List[Token]](t, e.call("admin", "GET", "/api/tokens", "")); len(l.Items) != 5 {
		t.Errorf("%d tokens listed, want 5", len(l.Items))
	}
	if strings.Contains(e.log.String(), created.Secret) {
		t.Error("the log holds a secret")
	}
}

func TestErrorsAreProblems(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.MaxBody = 2000 })
	big := `{"reason":"` + strings.Repeat("x", 3000) + `"}`
	tests := []struct {
		name, role, method, path, body string
		header                         []string
		status                         int
	}{
		{name: "unknown path", role: "viewer", method: "GET", path: "/api/nothing", status: 404},
		{name: "below a list", role: "viewer", method: "GET", path: "/api/playbooks/a/b", status: 404},
		{name: "wrong method", role: "viewer", method: "PATCH", path: "/api/runs", status: 405},
		{name: "missing row", role: "viewer", method: "GET", path: "/api/runs/r-none", status: 404},
		{name: "missing approval", role: "viewer", method: "GET", path: "/api/governance/approvals/none", status: 404},
		{name: "missing decision", role: "viewer", method: "GET", path: "/api/governance/decisions/none", status: 404},
		{name: "missing incident", role: "viewer", method: "GET", path: "/api/incidents/none", status: 404},
		{name: "missing playbook", role: "viewer", method: "GET", path: "/api/playbooks/none", status: 404},
		{name: "missing service", role: "viewer", method: "GET", path: "/api/services/none", status: 404},
		{name: "missing service's health", role: "viewer", method: "GET", path: "/api/health/state?service=none", status: 404},
		{name: "why of a missing run", role: "viewer", method: "GET", path: "/api/runs/none/why", status: 404},
		{name: "why of a missing service", role: "viewer", method: "GET", path: "/api/services/none/why", status: 404},
		{name: "bad cursor", role: "viewer", method: "GET", path: "/api/runs?cursor=%21", status: 422},
		{name: "bad limit", role: "viewer", method: "GET", path: "/api/runs?limit=1000", status: 422},
		{name: "bad state", role: "viewer", method: "GET", path: "/api/runs?status=exploded", status: 422},
		{name: "bad time", role: "viewer", method: "GET", path: "/api/runs?from=yesterday", status: 422},
		{name: "unknown query", role: "viewer", method: "GET", path: "/api/runs?servce=db", status: 422},
		{name: "bad bucket", role: "viewer", method: "GET", path: "/api/self_heal/learning?time_bucket=2", status: 422},
		{name: "no body", role: "approver", method: "POST", path: "/api/runs/r-1/abort", status: 400},
		{name: "not JSON", role: "approver", method: "POST", path: "/api/runs/r-1/abort", body: "{", status: 400},
		{name: "short reason", role: "approver", method: "POST", path: "/api/runs/r-1/abort", body: `{"reason":"no"}`, status: 422},
		{name: "unknown field", role: "approver", method: "POST", path: "/api/runs/r-1/abort", body: `{"reason":"because","raeson":1}`, status: 422},
		{name: "other media type", role: "approver", method: "POST", path: "/api/runs/r-1/abort", body: "reason: x", header: []string{"Content-Type", "text/yaml"}, status: 415},
		{name: "too large", role: "approver", method: "POST", path: "/api/runs/r-1/abort", body: big, status: 413},
		{name: "bad mode", role: "admin", method: "PUT", path: "/api/governance/mode", body: `{"mode":"wild","reason":"because"}`, status: 422},
		{name: "mode expired", role: "admin", method: "PUT", path: "/api/governance/mode", body: `{"mode":"stopped","reason":"because","expires":"2020-01-01T00:00:00Z"}`, status: 422},
		{name: "fallback alone", role: "admin", method: "PUT", path: "/api/governance/mode", body: `{"mode":"stopped","reason":"because","fallback":"autonomous"}`, status: 422},
		{name: "blank reason", role: "admin", method: "PUT", path: "/api/governance/mode", body: `{"mode":"stopped","reason":"     "}`, status: 422},
		{name: "bad event id", role: "viewer", method: "GET", path: "/api/events/stream", header: []string{"Last-Event-ID", "x"}, status: 400},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rec := e.call(tt.role, tt.method, tt.path, tt.body, tt.header...)
			problemOf(t, rec, tt.status)
			if tt.status == 405 && rec.Header().Get("Allow") == "" {
				t.Error("405 without Allow")
			}
		})
	}
	t.Run("too large without a length", func(t *testing.T) {
		req := httptest.NewRequest("POST", "/api/runs/r-1/abort", strings.NewReader(big))
		req.ContentLength = -1
		req.Header.Set("Authorization", "Bearer "+e.tokens["approver"])
		rec := httptest.NewRecorder()
		e.handler.ServeHTTP(rec, req)
		problemOf(t, rec, http.StatusRequestEntityTooLarge)
	})
	if len(e.core.aborted) != 0 {
		t.Errorf("a refused request had an effect: %v", e.core.aborted)
	}
}

// What the core says decides the status; what it says about GRACE's own
// trouble stays in the log.
func TestCoreErrors(t *testing.T) {
	e := newEnv(t)
	for name, tt := range map[string]struct {
		err    error
		status int
		check  func(Problem) bool
	}{
		"ended":       {ended(grace.RunSucceeded), 409, func(p Problem) bool { return p.State == "succeeded" }},
		"invalid":     {&Invalid{Message: "bad", Details: []Detail{{Location: "grace.yaml:3:1", Message: "unknown key", Hint: "remove it"}}}, 422, func(p Problem) bool { return len(p.Errors) == 1 && p.Errors[0].Hint == "remove it" }},
		"wrapped":     {fmt.Errorf("deciding: %w", ended(grace.RunAborted)), 409, func(p Problem) bool { return p.State == "aborted" }},
		"unreachable": {unavailable{errors.New("dial db-7 as grace")}, 503, func(p Problem) bool { return !strings.Contains(p.Detail, "db-7") }},
		"fault":       {errors.New("secret detail"), 500, func(p Problem) bool { return !strings.Contains(p.Detail, "secret") }},
	} {
		t.Run(name, func(t *testing.T) {
			e.core.fail(tt.err)
			rec := e.call("approver", "POST", "/api/runs/r-1/abort", `{"reason":"because"}`)
			p := problemOf(t, rec, tt.status)
			if !tt.check(p) {
				t.Errorf("problem %+v", p)
			}
			if tt.status == 503 && rec.Header().Get("Retry-After") == "" {
				t.Error("503 without Retry-After")
			}
			if tt.status >= 500 && !strings.Contains(e.log.String(), p.RequestID) {
				t.Error("the log does not have the request's id")
			}
		})
	}
}

func TestStoreThatCannotBeReadIs503(t *testing.T) {
	e := newEnv(t)
	e.store.Close()
	for _, path := range []string{"/api/runs", "/api/events/stream", "/api/governance/mode", "/api/log/entries"} {
		problemOf(t, e.call("viewer", "GET", path, ""), http.StatusServiceUnavailable)
	}
}

func TestPanicIs500(t *testing.T) {
	e := newEnv(t)
	e.core.panics = true
	problemOf(t, e.call("viewer", "GET", "/api/health/state", ""), http.StatusInternalServerError)
	if !strings.Contains(e.log.String(), "boom") {
		t.Error("the panic is not in the log")
	}
}

func TestPlainRoutes(t *testing.T) {
	e := newEnv(t, func(c *Config) {
		c.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("m 1\n")) })
	})
	if rec := e.call("", "GET", "/healthz", ""); rec.Code != 200 {
		t.Errorf("healthz %d", rec.Code)
	}
	if rec := e.call("", "GET", "/readyz", ""); rec.Code != 200 {
		t.Errorf("readyz %d", rec.Code)
	}
	problemOf(t, e.call("", "GET", "/metrics", ""), http.StatusUnauthorized)
	if rec := e.call("viewer", "GET", "/metrics", ""); rec.Code != 200 || rec.Body.String() != "m 1\n" {
		t.Errorf("metrics %d %s", rec.Code, rec.Body)
	}
	problemOf(t, e.call("", "GET", "/openapi.json", ""), http.StatusUnauthorized)
	if rec := e.call("viewer", "GET", "/openapi.json", ""); rec.Code != 200 {
		t.Errorf("openapi.json %d", rec.Code)
	}
	rec := e.call("", "GET", "/", "")
	if rec.Code != http.StatusFound || rec.Header().Get("Location") != "./lite" {
		t.Errorf("/ answers %d to %q", rec.Code, rec.Header().Get("Location"))
	}
	e.core.fail(unavailable{errors.New("host db-7 refused")})
	if p := problemOf(t, e.call("", "GET", "/readyz", ""), http.StatusServiceUnavailable); strings.Contains(p.Detail, "db-7") {
		t.Errorf("readyz tells strangers about hosts: %s", p.Detail)
	}
	open := newEnv(t, func(c *Config) { c.Metrics, c.MetricsOpen = http.NotFoundHandler(), true })
	if rec := open.call("", "GET", "/metrics", ""); rec.Code != http.StatusNotFound || rec.Header().Get("Content-Type") == problemType {
		t.Errorf("open metrics are not passed on: %d", rec.Code)
	}
	none := newEnv(t)
	problemOf(t, none.call("viewer", "GET", "/metrics", ""), http.StatusNotFound)
}

func TestHeadersAndRequestID(t *testing.T) {
	e := newEnv(t)
	rec := e.call("viewer", "GET", "/api/runs", "", "X-Request-Id", "abc-1")
	for header, want := range map[string]string{
		"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Cache-Control": "no-store", "X-Request-Id": "abc-1",
		"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
	} {
		if got := rec.Header().Get(header); got != want {
			t.Errorf("%s: %q, want %q", header, got, want)
		}
	}
	if got := e.call("viewer", "GET", "/api/runs", "", "X-Request-Id", "a b\n").Header().Get("X-Request-Id"); got == "a b\n" || got == "" {
		t.Errorf("a bad request id is taken over: %q", got)
	}
	for _, want := range []string{`"path":"/api/runs"`, `"token":"viewer"`, `"status":200`, `"request_id":"abc-1"`} {
		if !strings.Contains(e.log.String(), want) {
			t.Errorf("the access log lacks %s", want)
		}
	}
}
