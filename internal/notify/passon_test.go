package notify

import (
	"net/http"
	"testing"
	"time"

	"grace"
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
			e.apply(grace.Change{Events: []grace.Event{{Type: "self_heal.run.running", Resource: "run/r-0", Payload: encode(runPayload{Service: "web"})}}})
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
