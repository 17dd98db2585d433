package api

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestReceivers: telemetry of other formats needs a token of role operator, and
// may be larger than other bodies.
func TestReceivers(t *testing.T) {
	var length int
	var sender string
	e := newEnv(t, func(c *Config) {
		c.MaxBody = 100
		c.Receivers = Receivers{"/api/v1/write": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			length, sender = len(body), Sender(r)
			w.WriteHeader(http.StatusNoContent)
		})}
	})
	large := strings.Repeat("x", 1000)
	problemOf(t, e.call("", "POST", "/api/v1/write", large), http.StatusUnauthorized)
	problemOf(t, e.call("viewer", "POST", "/api/v1/write", large), http.StatusForbidden)
	problemOf(t, e.call("operator", "GET", "/api/v1/write", ""), http.StatusMethodNotAllowed)
	if length != 0 {
		t.Fatal("the receiver was asked before the token was seen")
	}
	if rec := e.call("operator", "POST", "/api/v1/write", large); rec.Code != http.StatusNoContent {
		t.Fatalf("status %d: %s", rec.Code, rec.Body)
	}
	if want := "operator@192.0.2.1"; length != len(large) || sender != want {
		t.Errorf("got %d bytes from %s, want %d from %s", length, sender, len(large), want)
	}
	problemOf(t, e.call("operator", "POST", "/api/health/ingest_signal", large), http.StatusRequestEntityTooLarge)
}

func TestAuthorize(t *testing.T) {
	e := newEnv(t)
	for role, want := range map[string]string{
		"operator": "", "approver": "", "admin": "", "viewer": "this needs the role operator",
	} {
		err := Authorize(t.Context(), e.store, e.tokens[role], testNow)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", role, err, want)
		}
	}
	if err := Authorize(t.Context(), e.store, "grace_none", testNow); err == nil || !strings.Contains(err.Error(), "unknown, expired or revoked") {
		t.Errorf("an unknown token: %v", err)
	}
	if err := Authorize(t.Context(), e.store, e.tokens["admin"], testNow.Add(1e6*time.Hour)); err != nil {
		t.Errorf("a token that does not expire: %v", err)
	}
}
