package notify

import (
	"testing"
	"time"

	"grace/internal/event"

	"grace"
)

// hushed is a notifier with a receiver that repeats and a ladder.
func hushed(t *testing.T) (e *env, s Settings, chat, boss *double) {
	t.Helper()
	chat, boss = newDouble(t, nil), newDouble(t, nil)
	s = Settings{
		Services: []grace.Service{{ID: "web", Labels: map[string]string{"tier": "front"}}, {ID: "db"}},
		Config: Config{
			Receivers: []Receiver{hook("chat", chat), hook("boss", boss)},
			Routes: []Route{{
				Receivers: []Name{"chat"}, RepeatInterval: grace.Duration(20 * time.Minute),
				Escalate: []Rung{{After: grace.Duration(5 * time.Minute), Receivers: []Name{"boss"}}},
			}},
		},
	}
	return newEnv(t, s), s, chat, boss
}

const webFailed = "restart_service on web failed"

// TestSilenced: while a service is silenced nobody is paged for it, neither again
// nor by the ladder; after that what is open is told, and all clocks begin anew. A
// restart while it is silenced, or while that ends, changes nothing.
func TestSilenced(t *testing.T) {
	e, s, chat, boss := hushed(t)
	e.incident("i-1", "web", "opened")
	e.all(time.Minute)
	e.silence("s-1", "w*", 2*time.Hour)
	for range 12 {
		e.all(10 * time.Minute)
		if e.now.Sub(testNow) < 2*time.Hour {
			e.use(s)
		}
		if n := len(chat.requests()) + len(boss.requests()); e.now.Sub(testNow) < 2*time.Hour && n != 1 {
			t.Fatalf("%d messages %s after the start", n, e.now.Sub(testNow))
		}
	}
	equal(t, chat.titles(t), []string{webFailed, "Not silenced any more: " + webFailed})
	e.all(4 * time.Minute)
	equal(t, len(boss.requests()), 0)
	e.all(time.Minute)
	equal(t, boss.titles(t), []string{"Nobody has answered for 5 min: " + webFailed})
	e.silence("s-1", "w*", time.Hour)
	e.incident("i-1", "web", "resolved") // the end is always told to who was told
	e.all(time.Second)
	for _, d := range []*double{chat, boss} {
		titles := d.titles(t)
		equal(t, titles[len(titles)-1], "Resolved by token:ada: "+webFailed)
	}
}

// TestOpenedSilenced: what begins while it is silenced is told when that ends, by
// its time or by hand, also when GRACE is down then or only a receiver has seen
// the silence; what is over by then is not told at all.
func TestOpenedSilenced(t *testing.T) {
	t.Run("ended by hand", func(t *testing.T) {
		e, s, chat, _ := hushed(t)
		e.incident("i-1", "web", "opened")
		e.silence("s-1", "web", 10*time.Minute) // between event and delivery
		e.all(time.Minute)
		equal(t, chat.titles(t), []string{})
		e.use(s)
		e.silence("s-1", "web", 0)
		e.all(time.Second)
		e.all(time.Minute)
		equal(t, chat.titles(t), []string{"Not silenced any more: " + webFailed})
	})
	t.Run("over while it is silenced", func(t *testing.T) {
		e, _, chat, boss := hushed(t)
		e.silence("s-1", "web", 10*time.Minute)
		e.incident("i-1", "web", "opened")
		e.all(time.Minute)
		e.incident("i-1", "web", "resolved")
		e.all(time.Minute)
		e.all(time.Hour)
		equal(t, append(chat.titles(t), boss.titles(t)...), []string{})
	})
	t.Run("shorter than the ladder looks", func(t *testing.T) {
		e, _, chat, _ := hushed(t)
		e.incident("i-1", "web", "opened")
		e.silence("s-1", "web", time.Second)
		e.turn("chat")
		equal(t, chat.titles(t), []string{})
		e.all(time.Second)
		equal(t, chat.titles(t), []string{"Not silenced any more: " + webFailed})
	})
	t.Run("a reminder on its way", func(t *testing.T) {
		e, _, chat, _ := hushed(t)
		e.incident("i-1", "web", "opened")
		e.all(0)
		e.now = e.now.Add(20 * time.Minute)
		e.climb()
		e.silence("s-1", "web", time.Minute)
		e.all(time.Second)
		e.all(time.Minute)
		equal(t, chat.titles(t), []string{webFailed, "Not silenced any more: " + webFailed})
	})
}

// TestSilencedUpdate: what becomes worse while it is silenced is told after that,
// also to who looks after it; a service more that is not silenced is told at once,
// and that is told once.
func TestSilencedUpdate(t *testing.T) {
	open := func(e *env) grace.Incident {
		return grace.Incident{ID: "i-1", State: grace.IncidentOpen, Service: "web", Severity: grace.SeverityWarning, Title: "web is sick", OpenedAt: e.now}
	}
	t.Run("acknowledged", func(t *testing.T) {
		e, _, chat, boss := hushed(t)
		inc := open(e)
		e.report(inc, "incident.opened")
		e.all(0)
		inc.Acknowledged = &grace.Note{Actor: "token:ada", Text: "on it", At: e.now}
		e.report(inc, "incident.acknowledged")
		e.all(0)
		e.silence("s-1", "web", 10*time.Minute)
		inc.Severity, inc.News = grace.SeverityCritical, "it is critical now"
		e.report(inc, "incident.updated")
		e.all(time.Minute)
		equal(t, len(chat.requests()), 2)
		e.all(10 * time.Minute)
		e.all(time.Hour)
		equal(t, chat.titles(t)[2:], []string{"Not silenced any more: It is critical now. web is sick"})
		equal(t, len(boss.requests()), 0)
	})
	t.Run("acknowledged before it could be told", func(t *testing.T) {
		e, _, chat, boss := hushed(t)
		e.silence("s-1", "web", 10*time.Minute)
		inc := open(e)
		e.report(inc, "incident.opened")
		inc.Acknowledged = &grace.Note{Actor: "token:ada", Text: "on it", At: e.now}
		e.report(inc, "incident.acknowledged")
		e.all(time.Minute)
		e.all(time.Hour)
		equal(t, append(chat.titles(t), boss.titles(t)...), []string{})
	})
	t.Run("a victim that is not silenced", func(t *testing.T) {
		e, _, chat, boss := hushed(t)
		e.silence("s-1", "web", time.Hour)
		inc := open(e)
		e.report(inc, "incident.opened")
		e.all(2 * time.Minute)
		equal(t, len(chat.requests()), 0)
		inc.Services, inc.News = []grace.ServiceID{"db"}, "it also hurts db"
		e.report(inc, "incident.updated")
		e.all(time.Second)
		e.all(4 * time.Minute)
		equal(t, chat.titles(t), []string{"It also hurts db. web is sick"})
		equal(t, len(boss.requests()), 0)
		e.all(time.Minute)
		equal(t, len(boss.requests()), 1)
	})
}

// TestSilencedQuestion: a question about what is silenced is asked after that, if
// it still waits.
func TestSilencedQuestion(t *testing.T) {
	e, _, chat, boss := hushed(t)
	e.silence("s-1", "web", 10*time.Minute)
	e.ask("r-1", "web")
	e.ask("r-2", "web")
	e.all(6 * time.Minute)
	e.answer("r-2", grace.ApprovalDenied)
	e.all(time.Minute)
	equal(t, append(chat.titles(t), boss.titles(t)...), []string{})
	e.all(3 * time.Minute)
	equal(t, chat.titles(t), []string{"Not silenced any more: May GRACE run restart_service on web?"})
	if q := chat.requests()[0].json(t)["question"]; q == nil {
		t.Error("the message has no question to be answered")
	}
}

// TestHolds: only what asks for attention is held, and only if all that it is
// about is silenced.
func TestHolds(t *testing.T) {
	e, _, _, _ := hushed(t)
	front := grace.Silence{ID: "s-1", Labels: map[string]string{"tier": "front"}, Starts: e.now, Ends: e.now.Add(time.Hour)}
	e.apply(event.Given{Silences: []grace.Silence{front, {ID: "s-2", Regex: "x-.*", Starts: e.now.Add(time.Second), Ends: e.now.Add(time.Hour)}}})
	web, both := []grace.ServiceID{"web"}, []grace.ServiceID{"web", "db"}
	for _, tt := range []struct {
		m    Message
		want bool
	}{
		{Message{Kind: Unhealed, Services: web}, true},
		{Message{Kind: Escalated, Services: web}, true},
		{Message{Kind: Ineffective, Services: web}, true},
		{Message{Kind: CircuitBreaker, Services: web}, true},
		{Message{Kind: CircuitBreaker, Services: web, Ended: true}, false},
		{Message{Kind: CircuitBreaker, Services: both}, false},
		{Message{Kind: Unhealed, Services: both}, false},
		{Message{Kind: Unhealed, Services: []grace.ServiceID{"x-1"}}, false}, // not yet
		{Message{Kind: Unhealed, Services: both, recovered: []grace.ServiceID{"db"}}, true},
		{Message{Kind: Unhealed, Services: both, recovered: both}, false},
		{Message{Kind: Resolved, Services: web}, false},
		{Message{Kind: Acknowledged, Services: web}, false},
		{Message{Kind: Helped, Services: web}, false},
		{Message{Kind: ModeChanged}, false},
	} {
		silences, err := e.n.silences(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if have := e.n.current().holds(&tt.m, silences); have != tt.want {
			t.Errorf("%s about %v: held %v", tt.m.Kind, tt.m.Services, have)
		}
	}
}
