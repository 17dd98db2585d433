package notify

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"grace"
	"grace/internal/event"
	"grace/internal/store"
)

// A receiver that fails holds up nobody, and what it missed comes later, in
// order, with the same key as before.
func TestRetry(t *testing.T) {
	good, bad := newDouble(t, nil), newDouble(t, status(http.StatusInternalServerError))
	s := Settings{Config: Config{Receivers: []Receiver{hook("good", good), hook("bad", bad)}}}
	e := newEnv(t, s)
	e.incident("i-1", "web", "opened")
	e.incident("i-2", "db", "opened")
	e.turn("good")
	equal(t, len(good.requests()), 2)

	waits := []time.Duration{}
	for range 4 {
		e.turn("bad")
		waits = append(waits, e.row("bad").Retry.Sub(e.now))
		e.turn("bad") // nothing before its time
		e.now = *e.row("bad").Retry
	}
	equal(t, waits, []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second})
	equal(t, len(bad.requests()), 4)
	if r := e.row("bad"); r.FailingSince == nil || !strings.Contains(r.Error, "500") {
		t.Errorf("how it fares: %+v", r)
	}

	e.use(s) // a restart
	bad.say(nil)
	e.turn("bad")
	equal(t, bad.titles(t)[4:], []string{"restart_service on web failed", "restart_service on db failed"})
	keys := []string{}
	for _, g := range bad.requests() {
		keys = append(keys, g.header.Get("Idempotency-Key"))
	}
	equal(t, keys, []string{"grace/bad/1", "grace/bad/1", "grace/bad/1", "grace/bad/1", "grace/bad/1", "grace/bad/2"})
	if r := e.row("bad"); r.FailingSince != nil || r.Error != "" || r.Delivered != 2 {
		t.Errorf("how it fares afterwards: %+v", r)
	}
}

// A message that is refused is a dead letter; those behind it are delivered,
// and it is sent again when somebody asks.
func TestDeadLetter(t *testing.T) {
	d := newDouble(t, status(http.StatusBadRequest))
	e := newEnv(t, Settings{Config: Config{Receivers: []Receiver{hook("hook", d)}}})
	e.incident("i-1", "web", "opened")
	e.incident("i-2", "db", "opened")
	e.turn("hook")
	equal(t, len(d.requests()), 2)
	letters, _, err := e.store.DeadLetters(t.Context(), e.store.Q(), "", store.Page{Limit: 10})
	if err != nil || len(letters) != 2 || letters[1].ID != "hook:1" || !strings.Contains(letters[1].Error, "400") {
		t.Fatalf("%+v %v", letters, err)
	}
	d.say(nil)
	e.incident("i-3", "web", "opened")
	e.turn("hook")
	equal(t, len(d.requests()), 3)

	if _, err := e.n.Retry(t.Context(), "hook:9", "token:ada"); err == nil {
		t.Error("a letter that is not there")
	}
	if n, err := e.n.Retry(t.Context(), "hook:1", "token:ada"); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	e.turn("hook")
	e.turn("hook")
	equal(t, len(d.requests()), 4)
	equal(t, d.requests()[3].header.Get("Idempotency-Key"), "grace/hook/1")
	if n, err := e.n.Retry(t.Context(), "", "token:ada"); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	e.turn("hook")
	counts, err := e.store.CountDeadLetters(t.Context(), e.store.Q())
	if err != nil || len(counts) != 0 {
		t.Errorf("left: %v %v", counts, err)
	}
	entries, _, err := e.store.AuditEntries(t.Context(), e.store.Q(), store.AuditFilter{}, store.Page{Limit: 50})
	if err != nil {
		t.Fatal(err)
	}
	actions := map[string]int{}
	for _, entry := range entries {
		actions[entry.Action+" by "+entry.Actor]++
	}
	equal(t, actions, map[string]int{"incident.opened by token:ada": 3, "notify.dead by self_heal": 2, "notify.retried by token:ada": 2})
}

// One message that a server cannot digest must not silence the receiver.
func TestPoison(t *testing.T) {
	d := newDouble(t, func(w http.ResponseWriter, g got) {
		if strings.Contains(g.body, "on web failed") {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	e := newEnv(t, Settings{Config: Config{Receivers: []Receiver{hook("hook", d)}}})
	e.incident("i-1", "web", "opened")
	e.incident("i-2", "db", "opened")
	for range suspicious {
		e.turn("hook")
		if r := e.row("hook").Retry; r != nil {
			e.now = *r
		}
	}
	e.turn("hook")
	told := 0
	for _, title := range d.titles(t) {
		if title == "restart_service on db failed" {
			told++
		}
	}
	equal(t, told, 1)
	if counts, err := e.store.CountDeadLetters(t.Context(), e.store.Q()); err != nil || counts["hook"] != 1 {
		t.Errorf("%v %v", counts, err)
	}
}

// TestBackMeanwhile: a receiver that comes back while it is asked whether the next
// message passes gets the one before it too, and each of them once.
func TestBackMeanwhile(t *testing.T) {
	for _, busy := range []bool{false, true} { // it is, when it has just come back
		var took []string
		n := 0
		d := newDouble(t, func(w http.ResponseWriter, g got) {
			switch n++; {
			case n <= suspicious, busy && n == suspicious+3:
				w.WriteHeader(http.StatusInternalServerError)
			case busy && n == suspicious+2:
				w.WriteHeader(http.StatusTooManyRequests)
			default:
				took = append(took, g.header.Get("Idempotency-Key"))
			}
		})
		e := newEnv(t, Settings{Config: Config{Receivers: []Receiver{hook("hook", d)}}})
		e.incident("i-1", "web", "opened")
		e.incident("i-2", "db", "opened")
		e.incident("i-3", "db", "opened")
		for range suspicious + 2 {
			e.turn("hook")
			if r := e.row("hook").Retry; r != nil {
				e.now = *r
			}
		}
		want := []string{"grace/hook/2", "grace/hook/1", "grace/hook/3"}
		if busy {
			want = []string{"grace/hook/2", "grace/hook/3", "grace/hook/1"}
		}
		equal(t, took, want)
		equal(t, len(e.letters()), 0)
	}
}

// 429 is waited for as long as the server says.
func TestRetryAfter(t *testing.T) {
	d := newDouble(t, func(w http.ResponseWriter, _ got) {
		w.Header().Set("Retry-After", "37")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	e := newEnv(t, Settings{Config: Config{Receivers: []Receiver{hook("hook", d)}}})
	e.incident("i-1", "web", "opened")
	e.turn("hook")
	equal(t, e.row("hook").Retry.Sub(e.now), 37*time.Second)
	equal(t, e.row("hook").Attempts, 0)
}

// A new receiver begins with what is new; one that was removed and comes again
// too. What others were told before a change of the routes is not told again.
func TestNewReceiver(t *testing.T) {
	d := newDouble(t, nil)
	e := newEnv(t, Settings{Config: Config{Receivers: []Receiver{hook("old", d)}}})
	e.incident("i-1", "web", "opened")
	both := Settings{Config: Config{Receivers: []Receiver{hook("old", d), hook("new", d)}, Routes: []Route{{Receivers: []Name{"old"}}}}}
	e.use(both)
	e.turn("new")
	equal(t, len(d.requests()), 0)
	e.incident("i-2", "web", "opened")
	e.turn("new")
	equal(t, len(d.requests()), 0)
	both.Routes = nil
	e.use(both)
	e.turn("new")
	equal(t, len(d.requests()), 0)
	e.use(Settings{Config: Config{Receivers: []Receiver{hook("old", d)}}})
	e.incident("i-3", "web", "opened")
	e.use(both)
	e.turn("new")
	equal(t, len(d.requests()), 0)
	e.turn("old")
	equal(t, len(d.requests()), 3)
	e.incident("i-4", "web", "opened")
	e.turn("new")
	equal(t, d.requests()[3].path, "/new")
}

// Events that tell people nothing do not make the cursor a write each, nor are
// they read again and again.
func TestScanned(t *testing.T) {
	d := newDouble(t, nil)
	e := newEnv(t, Settings{Config: Config{Receivers: []Receiver{hook("hook", d)}}})
	noise := make([]grace.Event, 600)
	for i := range noise {
		noise[i] = grace.Event{Type: "health.signal", Source: "loop", Resource: "web"}
	}
	e.apply(event.Given{Outbox: noise})
	e.turn("hook")
	equal(t, e.row("hook").Cursor, int64(0))
	equal(t, e.n.current().workers[0].scanned, int64(600))
	e.apply(event.Given{Outbox: noise})
	e.turn("hook")
	equal(t, e.row("hook").Cursor, int64(1200))
	e.incident("i-1", "web", "opened")
	e.turn("hook")
	equal(t, len(d.requests()), 1)
}

// No secret is in an error, nor is an address that is one.
func TestSecretsHidden(t *testing.T) {
	t.Setenv("HOOK", "http://127.0.0.1:1/s3cret-path")
	t.Setenv("KEY", "hunter2")
	r := Receiver{Name: "hook", Type: "webhook", URL: "${env:HOOK}", Headers: map[string]string{"X-Key": "${env:KEY}"}}
	e := newEnv(t, Settings{Config: Config{Receivers: []Receiver{r}}})
	e.incident("i-1", "web", "opened")
	e.turn("hook")
	row := e.row("hook")
	if row.Error == "" || strings.Contains(row.Error+e.log.String(), "s3cret") || strings.Contains(row.Error+e.log.String(), "hunter2") {
		t.Errorf("the error: %q", row.Error)
	}
	d := newDouble(t, func(w http.ResponseWriter, g got) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = fmt.Fprintf(w, "key %s is not known", g.header.Get("X-Key"))
	})
	t.Setenv("HOOK", d.URL+"/s3cret-path")
	e.now = *row.Retry
	e.turn("hook")
	row = e.row("hook")
	if !strings.Contains(row.Error, "key [secret] is not known") {
		t.Errorf("the refusal: %q", row.Error)
	}
	// One that is not there is waited for: it is the configuration's fault.
	e.incident("i-2", "web", "opened")
	t.Setenv("HOOK", "")
	e.turn("hook")
	if row = e.row("hook"); !strings.Contains(row.Error, "${env:HOOK}") || row.Retry == nil {
		t.Errorf("a missing secret: %+v", row)
	}
}

// TestSomebodyIsTold: a receiver that is away for long leaves nobody in the dark while
// another takes everything.
func TestSomebodyIsTold(t *testing.T) {
	e := newEnv(t, Settings{})
	down, up := newDouble(t, status(500)), newDouble(t, nil)
	e.use(Settings{Config: Config{Receivers: []Receiver{hook("down", down), hook("up", up)}}})
	e.incident("i-1", "web", "opened")
	for range 40 {
		e.turn("down")
		e.turn("up")
		e.now = e.now.Add(15 * time.Second)
	}
	s, err := e.n.Status(t.Context())
	if err != nil || !s.Told || s.Receivers[0].Waiting == 0 || s.Receivers[0].FailingSince == nil {
		t.Errorf("%+v (%v)", s, err)
	}
}

// Nobody is told: no receiver, or none that accepts anything for five minutes
// while something waits.
func TestNobodyIsTold(t *testing.T) {
	look := func(e *env) Status {
		t.Helper()
		s, err := e.n.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	e := newEnv(t, Settings{})
	if s := look(e); s.Told || !strings.Contains(s.Reason, "no receiver is configured") {
		t.Errorf("%+v", s)
	}
	a, b := newDouble(t, status(500)), newDouble(t, nil)
	e.use(Settings{Config: Config{Receivers: []Receiver{hook("a", a), hook("b", b)}, Routes: []Route{
		{Events: []Kind{Asked}, Receivers: []Name{"b"}}, {Receivers: []Name{"a"}},
	}}})
	e.incident("i-1", "web", "opened")
	e.turn("a")
	e.turn("b")
	if s := look(e); !s.Told || s.Receivers[0].Waiting != 1 || s.Receivers[1].Waiting != 0 {
		t.Errorf("at once: %+v", s)
	}
	e.now = e.now.Add(5 * time.Minute)
	if s := look(e); s.Told || !strings.Contains(s.Reason, "500") {
		t.Errorf("after 5 minutes: %+v", s)
	}
	e.ask("r-1", "web")
	e.turn("b")
	if s := look(e); !s.Told {
		t.Errorf("one accepts: %+v", s)
	}
	e.now = e.now.Add(5 * time.Minute)
	if s := look(e); s.Told {
		t.Errorf("and then none: %+v", s)
	}
	a.say(nil)
	e.turn("a")
	e.turn("b") // it was told what a did not take
	equal(t, b.titles(t)[1], "a cannot be told: restart_service on web failed")
	if s := look(e); !s.Told || s.Receivers[0].Waiting != 0 {
		t.Errorf("all is told: %+v", s)
	}
	e.now = e.now.Add(time.Hour)
	if s := look(e); !s.Told {
		t.Errorf("silence when nothing waits is no fault: %+v", s)
	}
}
