package api

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"grace/internal/decide"
)

// TestReplay: what was recorded in the last week is computed again, or between the
// times that are asked for, or behind a cursor that an earlier call gave.
func TestReplay(t *testing.T) {
	e := newEnv(t)
	const span = "/api/replay?from=2026-03-01T00:00:00Z&to=2026-03-02T00:00:00Z"
	if got := decode[decide.Replayed](t, e.call("viewer", http.MethodGet, span, "")); got.Decisions != 0 || got.Next != "" {
		t.Errorf("nothing recorded: %+v", got)
	}
	problemOf(t, e.call("viewer", http.MethodGet, span+"&cursor=here", ""), http.StatusUnprocessableEntity)
	from, to := (&recordedInput{}).span(time.Now())
	if to.Sub(from) != week || time.Since(to) > time.Minute {
		t.Errorf("by default from %s to %s", from, to)
	}
}

// TestBacktest: rules that are none are refused with the reason, and change nothing.
func TestBacktest(t *testing.T) {
	e := newEnv(t)
	for name, tt := range map[string]struct {
		body string
		code int
		want string
	}{
		"a key that is none":     {`{"rules":{"servces":[]}}`, http.StatusUnprocessableEntity, "servces"},
		"a service twice":        {`{"rules":{"services":[{"id":"web"},{"id":"web"}]}}`, http.StatusUnprocessableEntity, "web"},
		"no rules":               {`{}`, http.StatusUnprocessableEntity, "rules"},
		"one service, no policy": {`{"rules":{"services":[{"id":"web"}]}}`, http.StatusOK, `"decisions":0`},
	} {
		got := e.call("operator", http.MethodPost, "/api/backtest", tt.body)
		if got.Code != tt.code || !strings.Contains(got.Body.String(), tt.want) {
			t.Errorf("%s: %d %s", name, got.Code, got.Body)
		}
	}
	if got := e.call("viewer", http.MethodPost, "/api/backtest", `{"rules":{}}`); got.Code != http.StatusForbidden {
		t.Errorf("a viewer: %d", got.Code)
	}
}
