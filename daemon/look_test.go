package daemon_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"grace/daemon"
	"grace/internal/config"
)

// A look has no loop, so nothing is known of alerts that were held before.
func TestLookAtAlertmanager(t *testing.T) {
	for name, tt := range map[string]struct {
		status int
		want   daemon.Finding
	}{
		"it answers": {http.StatusOK, daemon.Finding{Kind: "sensor", Name: "alertmanager", State: daemon.FoundOK}},
		"it fails":   {http.StatusInternalServerError, daemon.Finding{Kind: "sensor", Name: "alertmanager", State: daemon.FoundFailed}},
	} {
		t.Run(name, func(t *testing.T) {
			am := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tt.status)
				_, _ = w.Write([]byte(`[{"labels":{"alertname":"Down","service":"web"},"fingerprint":"f1","startsAt":"2026-03-01T09:00:00Z",` +
					`"endsAt":"2026-03-01T09:05:00Z","updatedAt":"2026-03-01T09:00:00Z","receivers":[],"annotations":{},"status":{"state":"active","silencedBy":[],"inhibitedBy":[]}}]`))
			}))
			defer am.Close()
			cfg, problems := config.Parse("grace.yaml", []byte("services: [{name: web, criticality: low}]\nalertmanager: {url: "+am.URL+"}\n"), "", config.Options{})
			if cfg == nil {
				t.Fatal(problems)
			}
			found, err := daemon.Look(t.Context(), cfg, false)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(found, func(f daemon.Finding) bool {
				return f.Kind == tt.want.Kind && f.Name == tt.want.Name && f.State == tt.want.State
			}) {
				t.Errorf("found %+v, want %+v", found, tt.want)
			}
		})
	}
}
