package daemon

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"grace"
	"grace/internal/config"
)

// The address of a chat's webhook is a secret itself: it may be a reference,
// and no error shows it.
func TestWebhookSecrets(t *testing.T) {
	var asked string
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("the redirect was followed with %v", r.Header)
	}))
	defer elsewhere.Close()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.Path
		if asked == "/moved" {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		}
	}))
	defer s.Close()
	hook := config.Webhook{URL: "${env:HOOK_URL}", Timeout: grace.Duration(5 * time.Second)}
	send := func(url string) error {
		t.Setenv("HOOK_URL", url)
		return post(t.Context(), newNotifyClient(), hook, grace.Event{ID: 1})
	}
	if err := send(s.URL + "/hook"); err != nil || asked != "/hook" {
		t.Errorf("asked %q, %v", asked, err)
	}
	if err := send(s.URL + "/moved"); err == nil || !strings.Contains(err.Error(), "307") {
		t.Errorf("a redirect: %v", err)
	}
	s.Close()
	if err := send(s.URL + "/hook"); err == nil || strings.Contains(err.Error(), "/hook") {
		t.Errorf("an error that shows the address, or none: %v", err)
	}
}
