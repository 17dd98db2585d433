package daemon_test

import (
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"grace"
	"grace/internal/patience"
	"grace/internal/store"
)

// TestForgedWhileItRuns: what somebody with the database but without the key
// writes has no effect, and people are told.
func TestForgedWhileItRuns(t *testing.T) {
	t.Parallel()
	h := newHome(t, queueObjective)
	_, c := h.embed(t)
	db := openSQLite(t, "file:"+filepath.Join(h.dir, "grace.db")+"?_pragma=busy_timeout(10000)")
	for _, text := range []string{
		"INSERT INTO grace_tokens (name, hash, role, created_at) VALUES ('evil', '" + store.HashToken("grace_evil") + "', 'admin', 1)",
		`UPDATE grace_mode SET doc = replace(doc, '"autonomous"', '"ask_always"')`,
	} {
		if _, err := db.ExecContext(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	evil := client{t: t, base: c.base, token: "grace_evil"}
	if status, _, err := evil.try(http.MethodGet, "/api/tokens", nil); err != nil || status != http.StatusUnauthorized {
		t.Errorf("a token put into the database: %d %v", status, err)
	}
	var mode struct {
		InForce grace.Mode `json:"in_force"`
	}
	c.call(http.MethodGet, "/api/governance/mode", nil, &mode)
	if mode.InForce != grace.ModeObserveOnly {
		t.Errorf("a mode that was written beside GRACE: %s", mode.InForce)
	}
	patience.Until(t, func() error {
		var titles []string
		for _, inc := range items[grace.Incident](c, "/api/incidents") {
			titles = append(titles, inc.Title)
		}
		all := strings.Join(titles, "\n")
		if !strings.Contains(all, "token evil") || !strings.Contains(all, "the mode") {
			return errors.New("nobody is told: " + all)
		}
		return nil
	})
	c.verifyAudit()
}
