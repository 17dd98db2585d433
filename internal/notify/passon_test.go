package notify

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"grace"
	"grace/internal/event"
)

// What needs a person reaches others when its receiver refuses it, or fails for
// half a minute; once, and never in circles.
func TestPassedOn(t *testing.T) {
	for name, tt := range map[string]struct {
		code int
		wait time.Duration
	}{"refused": {http.StatusBadRequest, 0}, "failing": {http.StatusInternalServerError, passOnAfter}} {
		t.Run(name, func(t *testing.T) {
			bad, good, worse := newDouble(t, status(tt.code)), newDouble(t, nil), newDouble(t, status(http.StatusBadRequest))
			e := newEnv(t, Settings{Config: Config{
				Receivers: []Receiver{hook("bad", bad), hook("good", good), hook("worse", worse)},
				Routes:    []Route{{Services: []Glob{"web"}, Receivers: []Name{"bad"}}, {Receivers: []Name{"good"}}},
			}})
			all := func() {
				for range 3 {
					for _, name := range []string{"bad", "good", "worse"} {
						e.turn(name)
					}
				}
			}
			e.incident("i-1", "web", "opened")
			e.apply(event.Given{Outbox: []grace.Event{{Type: "self_heal.run.running", Resource: "run/r-0", Payload: event.Encode(runPayload{Service: "web"})}}})
			all()
			e.ask("r-1", "web")
			e.now = e.now.Add(tt.wait)
			all()
			e.now = e.now.Add(time.Minute)
			all()
			want := []string{"bad cannot be told: restart_service on web failed", "bad cannot be told: May GRACE run restart_service on web?"}
			equal(t, good.titles(t), want)
			equal(t, worse.titles(t), want) // it refuses both, which goes no further
		})
	}
}

// TestPassedOnBeforeItWasBad: what was passed on while its receiver failed is not
// passed on again when it is a dead letter.
func TestPassedOnBeforeItWasBad(t *testing.T) {
	bad, other := newDouble(t, func(w http.ResponseWriter, g got) {
		if g.header.Get("Idempotency-Key") == "grace/bad/1" {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}), newDouble(t, nil)
	e := newEnv(t, Settings{Config: Config{
		Receivers: []Receiver{hook("bad", bad), hook("other", other)},
		Routes:    []Route{{Services: []Glob{"web"}, Receivers: []Name{"bad"}}, {Receivers: []Name{"other"}}},
	}})
	e.ask("r-1", "web")
	e.ask("r-2", "web")
	for range suspicious {
		e.turn("bad")
		if r := e.row("bad").Retry; r != nil {
			e.now = *r
		}
	}
	equal(t, len(e.letters()), 1)
	e.turn("other")
	const told = "bad cannot be told: May GRACE run restart_service on web?"
	equal(t, other.titles(t), []string{told, told}) // once of each
}

// TestPassedOnBusy: who is told when to come again comes then, but not after hours,
// and what needs a person reaches others meanwhile.
func TestPassedOnBusy(t *testing.T) {
	for _, tt := range []struct {
		kind   string
		status int
		after  string
		wait   time.Duration
	}{
		{"webhook", http.StatusTooManyRequests, "40", 40 * time.Second},
		{"webhook", http.StatusServiceUnavailable, "3600", longestWait},
		{"webhook", http.StatusTooManyRequests, "NaN", time.Minute},
		{"slack", http.StatusTooManyRequests, "3600", longestWait},
	} {
		t.Run(tt.kind+" "+tt.after, func(t *testing.T) {
			bad := newDouble(t, func(w http.ResponseWriter, _ got) {
				w.Header().Set("Retry-After", tt.after)
				w.WriteHeader(tt.status)
			})
			good := newDouble(t, nil)
			busy := hook("busy", bad)
			if busy.Type = tt.kind; tt.kind == "slack" {
				busy.Token, busy.Channel, busy.APIURL = "xoxb-1", "#ops", bad.URL
			}
			e := newEnv(t, Settings{Config: Config{
				Receivers: []Receiver{busy, hook("good", good)},
				Routes:    []Route{{Services: []Glob{"web"}, Receivers: []Name{"busy"}}, {Receivers: []Name{"good"}}},
			}})
			e.ask("r-1", "web")
			e.turn("busy")
			equal(t, e.row("busy").Retry.Sub(e.now), tt.wait)
			e.all(passOnAfter - time.Second)
			equal(t, good.titles(t), []string{})
			e.all(time.Second)
			equal(t, len(bad.requests()), 1)
			e.all(tt.wait)
			equal(t, len(bad.requests()), 2)
			equal(t, good.titles(t), []string{"busy cannot be told: May GRACE run restart_service on web?"})
		})
	}
}

// TestPassedOnBehind: a question that waits behind what its receiver takes one after
// the other reaches others as soon as behind what it does not take, once. The receiver
// is asked in its turn.
func TestPassedOnBehind(t *testing.T) {
	const told = "behind cannot be told: May GRACE run restart_service on web?"
	for name, slowly := range map[string]func(e *env, w http.ResponseWriter, n int){
		"busy in between": func(_ *env, w http.ResponseWriter, n int) {
			if n%2 == 0 {
				w.Header().Set("Retry-After", "1")
				w.WriteHeader(http.StatusTooManyRequests)
			}
		},
		"slow": func(e *env, _ http.ResponseWriter, _ int) { e.now = e.now.Add(time.Second) },
	} {
		t.Run(name, func(t *testing.T) {
			var e *env
			n := 0
			behind := newDouble(t, func(w http.ResponseWriter, _ got) {
				n++
				slowly(e, w, n)
			})
			other := newDouble(t, nil)
			e = newEnv(t, Settings{Config: Config{
				Receivers: []Receiver{hook("behind", behind), hook("other", other)},
				Routes:    []Route{{Services: []Glob{"web"}, Receivers: []Name{"behind"}}, {Receivers: []Name{"other"}}},
			}})
			const backlog = 2*batch + 40
			for i := range backlog {
				e.act(fmt.Sprintf("r-0%d", i), "web")
			}
			e.ask("r-1", "web")
			asked := e.now
			for range 2 * backlog {
				e.turn("behind")
				e.now = e.now.Add(time.Second)
			}
			e.turn("other")
			equal(t, other.titles(t), []string{told})
			passed, err := e.store.Events(t.Context(), e.store.Q(), 0, []string{eventPassedOn}, batch)
			if err != nil || len(passed) != 1 || passed[0].Timestamp.Sub(asked) > passOnAfter+time.Second {
				t.Errorf("passed on: %v, %+v; asked at %s", err, passed, asked)
			}
			row := e.row("behind")
			equal(t, row.Delivered, backlog+1)
			equal(t, row.Dead, 0)
			titles := behind.titles(t)
			equal(t, titles[len(titles)-1], "May GRACE run restart_service on web?")

			e.act("r-2", "web") // it has caught up
			e.ask("r-3", "web")
			e.now = e.now.Add(passOnAfter)
			e.turn("behind")
			e.turn("other")
			equal(t, len(other.requests()), 1)
		})
	}
}

// TestNotPassedOnAfterStart: what waited because nobody served the receiver is told to
// it, and to others only when it does not take that in time.
func TestNotPassedOnAfterStart(t *testing.T) {
	chat, other := newDouble(t, nil), newDouble(t, nil)
	s := Settings{Config: Config{
		Receivers: []Receiver{hook("chat", chat), hook("other", other)},
		Routes:    []Route{{Services: []Glob{"web"}, Receivers: []Name{"chat"}}, {Receivers: []Name{"other"}}},
	}}
	e := newEnv(t, s)
	for i := range 3 {
		e.ask(fmt.Sprintf("r-%d", i), "web")
	}
	e.now = e.now.Add(10 * time.Minute)
	e.use(s)
	e.all(0)
	e.all(passOnAfter)
	equal(t, len(chat.requests()), 3)
	equal(t, other.titles(t), []string{})
}

// TestNotPassedOnAhead: what a receiver took before its turn is not passed on while
// those before and behind it are refused.
func TestNotPassedOnAhead(t *testing.T) {
	for name, tt := range map[string]struct {
		code  int
		takes time.Duration // each refusal
	}{
		"refused": {http.StatusInternalServerError, 0}, "slowly": {http.StatusInternalServerError, passOnAfter}, "busy": {http.StatusTooManyRequests, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var e *env
			asked := false
			bad, other := newDouble(t, func(w http.ResponseWriter, g got) {
				switch {
				case g.header.Get("Idempotency-Key") == "grace/bad/2":
					return // the question
				case asked:
					e.now = e.now.Add(tt.takes)
				case e.row("bad").Attempts == suspicious-1:
					asked = true
					e.ask("r-1", "web")
					e.act("r-2", "web")
				}
				w.Header().Set("Retry-After", "40")
				w.WriteHeader(tt.code)
			}), newDouble(t, nil)
			e = newEnv(t, Settings{Config: Config{
				Receivers: []Receiver{hook("bad", bad), hook("other", other)},
				Routes:    []Route{{Services: []Glob{"web"}, Receivers: []Name{"bad"}}, {Receivers: []Name{"other"}}},
			}})
			e.act("r-0", "web")
			for range 20 {
				e.turn("bad")
				if r := e.row("bad").Retry; r != nil {
					e.now = *r
				}
			}
			e.turn("other")
			equal(t, e.row("bad").Delivered, 1)
			equal(t, e.row("bad").Dead, 1)
			equal(t, other.titles(t), []string{})
		})
	}
}

// TestPassedOnWhileOthersAreTried: while what is behind a message that is refused is
// tried, which may take long, what is asked meanwhile does not wait for the end of that.
func TestPassedOnWhileOthersAreTried(t *testing.T) {
	var e *env
	n := 0
	bad := newDouble(t, func(w http.ResponseWriter, _ got) {
		if n++; n == suspicious+2 {
			e.ask("r-1", "web")
		}
		if n > suspicious {
			e.now = e.now.Add(time.Second)
		}
		w.WriteHeader(http.StatusInternalServerError)
	})
	e = newEnv(t, Settings{Config: Config{
		Receivers: []Receiver{hook("bad", bad), hook("other", newDouble(t, nil))},
		Routes:    []Route{{Services: []Glob{"web"}, Receivers: []Name{"bad"}}, {Receivers: []Name{"other"}}},
	}})
	for i := range batch {
		e.act(fmt.Sprintf("r-0%d", i), "web")
	}
	for range suspicious {
		e.turn("bad")
		e.now = *e.row("bad").Retry
	}
	passed, err := e.store.Events(t.Context(), e.store.Q(), 0, []string{eventPassedOn}, batch)
	if err != nil || len(passed) != 1 || e.now.Sub(passed[0].Timestamp) < passOnAfter {
		t.Errorf("passed on: %v, %+v; it is %s", err, passed, e.now)
	}
}

// A receiver that is new, or has a new name, is told what is open by then.
func TestNewReceiverIsToldWhatIsOpen(t *testing.T) {
	d := newDouble(t, nil)
	e := newEnv(t, Settings{})
	e.incident("i-1", "web", "opened")
	e.incident("i-2", "db", "opened")
	e.incident("i-2", "db", "resolved")
	e.climb()
	e.use(Settings{Config: Config{Receivers: []Receiver{hook("chat", d)}}})
	e.incident("i-3", "web", "opened")
	for range 3 {
		e.climb()
		e.turn("chat")
	}
	equal(t, d.titles(t), []string{"restart_service on web failed", "Still open after 0 s: restart_service on web failed"})
	e.use(Settings{Config: Config{Receivers: []Receiver{hook("chat", d)}}}) // a restart
	e.turn("chat")
	equal(t, len(d.requests()), 2)
}

// A clock that is set back by an hour holds up neither a retry nor the ladder for
// an hour.
func TestClockSetBack(t *testing.T) {
	chat, boss := newDouble(t, status(500)), newDouble(t, nil)
	e := newEnv(t, Settings{Config: Config{
		Receivers: []Receiver{hook("chat", chat), hook("boss", boss)},
		Routes:    []Route{{Receivers: []Name{"chat"}, Escalate: []Rung{{After: grace.Duration(5 * time.Minute), Receivers: []Name{"boss"}}}}},
	}})
	e.incident("i-1", "web", "opened")
	e.climb()
	e.turn("chat")
	equal(t, len(chat.requests()), 1)
	e.now = e.now.Add(-time.Hour)
	e.turn("chat")
	equal(t, len(chat.requests()), 2)
	e.climb()
	e.now = e.now.Add(5 * time.Minute)
	e.climb()
	e.turn("boss")
	if titles := boss.titles(t); len(titles) == 0 || titles[0] != "Nobody has answered for 5 min: restart_service on web failed" {
		t.Errorf("%v", titles)
	}
}

// TestLateReminder: a reminder that comes late says how old it is when it comes.
func TestLateReminder(t *testing.T) {
	d := newDouble(t, nil)
	e := newEnv(t, Settings{Config: Config{
		Receivers: []Receiver{hook("hook", d)},
		Routes:    []Route{{Receivers: []Name{"hook"}, RepeatInterval: grace.Duration(10 * time.Minute)}},
	}})
	e.incident("i-1", "web", "opened")
	e.climb()
	e.turn("hook")
	e.now = e.now.Add(10 * time.Minute)
	e.climb()
	d.say(status(http.StatusInternalServerError))
	e.turn("hook")
	d.say(nil)
	e.now = e.now.Add(25 * time.Minute)
	e.turn("hook")
	titles := d.titles(t)
	equal(t, titles[len(titles)-1], "Still open after 35 min: restart_service on web failed")
}

// TestPassedOnLate: what is over is not passed on, for nobody would be told of its
// end.
func TestPassedOnLate(t *testing.T) {
	bad, other := newDouble(t, status(http.StatusBadRequest)), newDouble(t, nil)
	e := newEnv(t, Settings{Config: Config{
		Receivers: []Receiver{hook("bad", bad), hook("other", other)},
		Routes:    []Route{{Services: []Glob{"db"}, Receivers: []Name{"bad"}}, {Services: []Glob{"web"}, Receivers: []Name{"other"}}},
	}})
	e.incident("i-1", "db", "opened")
	e.turn("bad")
	e.incident("i-1", "db", "resolved")
	e.turn("other")
	equal(t, other.titles(t), []string{})
}
