package api

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"grace"
	"grace/internal/event"
	"grace/internal/patience"
	"grace/internal/store"
)

// TestSignedOutIsOver: a copy of the cookie opens nothing after its owner signed
// out; another session of the same token goes on.
func TestSignedOutIsOver(t *testing.T) {
	e := newEnv(t)
	login := func() *browser {
		b := &browser{env: e}
		if rec := b.send("POST", "/lite/login", url.Values{"token": {e.tokens["operator"]}, "next": {"lite"}}); rec.Code != http.StatusSeeOther || b.cookie == "" {
			t.Fatalf("%d", rec.Code)
		}
		return b
	}
	mine, other := login(), login()
	stolen := &browser{env: e, cookie: mine.cookie}
	if rec := stolen.send("GET", "/lite", nil); rec.Code != http.StatusOK {
		t.Fatalf("%d", rec.Code)
	}
	mine.send("POST", "/lite/logout", url.Values{"csrf": {mine.csrf("/lite")}})
	if rec := stolen.send("GET", "/lite", nil); rec.Code != http.StatusSeeOther {
		t.Errorf("the copy of a cookie outlives the logout: %d", rec.Code)
	}
	if rec := other.send("GET", "/lite", nil); rec.Code != http.StatusOK {
		t.Errorf("another session ended too: %d", rec.Code)
	}
}

// TestStreamEndsWithItsToken: who is revoked hears nothing more.
func TestStreamEndsWithItsToken(t *testing.T) {
	e := newEnv(t)
	lines, stop := e.follow("/api/events/stream")
	defer stop()
	await(t, lines, "retry:")
	if err := e.store.RevokeToken(t.Context(), "ana", "viewer"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := patience.Context(t)
	defer cancel()
	for {
		select {
		case _, open := <-lines:
			if !open {
				return
			}
		case <-ctx.Done():
			t.Fatal("the stream goes on")
		}
	}
}

// TestStreamPassesWhatItCannotSay: a time that JSON has no word for ended every
// stream, and none that resumed came past it.
func TestStreamPassesWhatItCannotSay(t *testing.T) {
	e := newEnv(t)
	year10000 := time.Date(9999, 12, 31, 23, 59, 59, 0, time.FixedZone("", -14*3600))
	e.apply(event.Given{Outbox: []grace.Event{
		{Type: "a.first", Source: "x", Timestamp: year10000}, {Type: "a.second", Source: "x", Timestamp: testNow},
	}})
	lines, stop := e.follow("/api/events/stream?types=a.*", "Last-Event-ID", "0")
	defer stop()
	for _, line := range await(t, lines, "id: 2") {
		if strings.HasPrefix(line, "data:") && !strings.Contains(line, "9999-12-31") {
			t.Error(line)
		}
	}
	await(t, lines, "data:")
}

// TestListsSurvive: nor does one row keep a list from being read.
func TestListsSurvive(t *testing.T) {
	e := newEnv(t)
	until := time.Date(9999, 12, 31, 23, 59, 59, 0, time.FixedZone("", -14*3600))
	if _, err := e.store.CreateToken(t.Context(), "ana", newTokenUntil(until)); err != nil {
		t.Fatal(err)
	}
	if list := decode[List[Token]](t, e.call("admin", "GET", "/api/tokens", "")); len(list.Items) != 5 {
		t.Errorf("%d tokens", len(list.Items))
	}
}

func newTokenUntil(t time.Time) store.NewToken {
	return store.NewToken{Name: "long", Role: "viewer", Expires: &t}
}
