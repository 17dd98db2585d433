package daemon_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"grace"
	"grace/daemon"
	"grace/internal/event"
	"grace/internal/patience"
	"grace/internal/pgtest"
	"grace/internal/store"
)

// told is a webhook that notes, in order, which message of which incident it
// took: titles are "INCIDENT NUMBER".
type told struct {
	URL string

	mu     sync.Mutex
	titles []string // of requests that were answered 200
	keys   map[string]string
	tries  int
	answer func(try int) int
}

func newTold(t *testing.T, answer func(try int) int) *told {
	t.Helper()
	h := &told{keys: map[string]string{}, answer: answer}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m struct{ Title string }
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
			w.WriteHeader(http.StatusBadRequest) // a killed process ends in the middle
			return
		}
		h.mu.Lock()
		h.tries++
		code := h.answer(h.tries)
		if code == http.StatusOK {
			h.titles = append(h.titles, m.Title)
			if before, again := h.keys[m.Title]; again && before != r.Header.Get("Idempotency-Key") {
				t.Errorf("%s came with the keys %s and %s", m.Title, before, r.Header.Get("Idempotency-Key"))
			}
			h.keys[m.Title] = r.Header.Get("Idempotency-Key")
		}
		h.mu.Unlock()
		w.WriteHeader(code)
	}))
	t.Cleanup(srv.Close)
	h.URL = srv.URL
	return h
}

// count counts different messages.
func (h *told) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.keys)
}

// inOrder wants the messages of each incident in their order, and of what came
// twice at most so many.
func (h *told) inOrder(t *testing.T, name string, twice int) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	last := map[string]int{}
	seen := map[string]bool{}
	for _, title := range h.titles {
		if seen[title] {
			twice--
			continue
		}
		seen[title] = true
		incident, number, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(title, "Still unhealed: "), "Resolved: "), " ")
		n, err := strconv.Atoi(number)
		if err != nil || n != last[incident]+1 {
			t.Errorf("%s: %q came after number %d of its incident", name, title, last[incident])
		}
		last[incident] = n
	}
	if twice < 0 {
		t.Errorf("%s: %d messages too many came twice", name, -twice)
	}
}

// beside opens a daemon's store from outside.
func (h home) beside(t *testing.T) *store.Store {
	t.Helper()
	cfg, problems := daemon.Load(h.file)
	if cfg == nil {
		t.Fatal(problems)
	}
	s, err := daemon.OpenStore(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// storm writes events of many incidents, those of one in their order, mixed
// with the others'.
func storm(t *testing.T, s *store.Store, incidents, each int) {
	t.Helper()
	for n := 1; n <= each; n++ {
		for from := 0; from < incidents; from += 25 {
			var c event.Given
			for i := from; i < min(from+25, incidents); i++ {
				id := fmt.Sprintf("i-%03d", i)
				inc := grace.Incident{
					ID: grace.IncidentID(id), State: grace.IncidentOpen, Service: "web", Severity: grace.SeverityCritical,
					Title: fmt.Sprintf("%s %d", id, n), OpenedAt: time.Now(),
				}
				kind := "incident.escalated"
				switch n {
				case 1:
					kind = "incident.opened"
				case each:
					kind = "incident.resolved"
				}
				payload, err := json.Marshal(inc)
				if err != nil {
					t.Fatal(err)
				}
				c.Outbox = append(c.Outbox, grace.Event{Type: kind, Source: "test", Actor: grace.Self, Resource: "incident/" + id, Payload: payload, Timestamp: time.Now()})
			}
			if err := s.Do(t.Context(), func(ctx context.Context, tx store.Tx) error { return s.Append(ctx, tx, c) }); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestNotifyStormKilled: kill -9 in a storm of 400 events over three
// receivers, one of which refuses everything and one is sick for a while. To
// the good ones each comes at least once, in the order of its incident.
func TestNotifyStormKilled(t *testing.T) {
	t.Parallel()
	const incidents, each = 50, 8
	good := newTold(t, func(int) int { return http.StatusOK })
	refusing := newTold(t, func(int) int { return http.StatusBadRequest })
	sick := newTold(t, func(try int) int {
		if try <= 3 {
			return http.StatusInternalServerError
		}
		return http.StatusOK
	})
	text := "notify:\n  receivers:\n"
	for name, h := range map[string]*told{"good": good, "refusing": refusing, "sick": sick} {
		text += fmt.Sprintf("    - {name: %s, type: webhook, url: '%s'}\n", name, h.URL)
	}
	h := newHome(t, text)
	p := h.spawn(t)
	s := h.beside(t)
	storm(t, s, incidents, each)
	const kills = 4
	for i := range kills {
		patience.Until(t, func() error {
			if n := good.count(); n < (i+1)*incidents*each/(kills+2) {
				return fmt.Errorf("%d messages before kill %d", n, i)
			}
			return nil
		})
		p.kill()
		p = h.spawn(t)
	}
	patience.Until(t, func() error {
		dead, err := s.CountDeadLetters(t.Context(), s.Q())
		if err != nil || good.count() < incidents*each || sick.count() < incidents*each || dead["refusing"] < incidents*each {
			return fmt.Errorf("good %d, sick %d, dead letters %v, %w", good.count(), sick.count(), dead, err)
		}
		return nil
	})
	good.inOrder(t, "good", kills)
	sick.inOrder(t, "sick", kills)
	var n struct {
		Told      bool
		Receivers []struct {
			Name        string
			DeadLetters int `json:"dead_letters"`
			Waiting     int
		}
	}
	p.call(http.MethodGet, "/api/notify/status", nil, &n)
	for _, r := range n.Receivers {
		if want := map[string]int{"refusing": incidents * each}[r.Name]; r.DeadLetters != want {
			t.Errorf("%s has %d dead letters, want %d", r.Name, r.DeadLetters, want)
		}
	}
	if !n.Told {
		t.Error("people are told, yet it says nobody is")
	}
	p.verifyAudit()
	p.terminate(t)
}

// TestNotifyTakeover: the replica that serves a receiver is killed in the
// middle of a delivery; another one goes on.
func TestNotifyTakeover(t *testing.T) {
	t.Parallel()
	const incidents, each = 10, 3
	held, killed := make(chan struct{}), make(chan struct{})
	hook := newTold(t, func(try int) int {
		switch try {
		case 1:
			return http.StatusInternalServerError // so that everybody has had a look
		case incidents:
			close(held)
			<-killed
		}
		return http.StatusOK
	})
	all := spawnReplicas(t, 3, pgtest.Start(t), "notify: {receivers: [{name: hook, type: webhook, url: '"+hook.URL+"'}]}\n")
	database := ""
	for _, env := range all[0].cmd.Env {
		if v, ok := strings.CutPrefix(env, "GRACE_TEST_DATABASE="); ok {
			database = v
		}
	}
	key, err := hex.DecodeString(strings.TrimPrefix(sharedKey, "GRACE_AUDIT_KEY="))
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), store.Options{URL: database, AuditKey: key})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	storm(t, s, incidents, each)
	patience.Next(t, "delivery to hold", held)
	var owner string
	if err := s.Q().QueryRow(t.Context(), "SELECT owner FROM grace.claims WHERE name = 'notify/hook'").Scan(&owner); err != nil {
		t.Fatal(err)
	}
	victim := slices.IndexFunc(all, func(p *process) bool { return strings.Contains(owner, fmt.Sprintf("-%d-", p.cmd.Process.Pid)) })
	if victim < 0 {
		t.Fatalf("the receiver is served by %s, which is none of the replicas", owner)
	}
	all[victim].kill()
	close(killed)
	gone := time.Now()
	patience.Until(t, func() error {
		if n := hook.count(); n < incidents*each {
			return fmt.Errorf("%d messages", n)
		}
		return nil
	})
	t.Logf("everything was delivered %s after the kill", time.Since(gone).Round(time.Millisecond))
	hook.inOrder(t, "hook", 1)
	for i, p := range all {
		if i != victim {
			p.terminate(t)
		}
	}
}
