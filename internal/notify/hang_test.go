package notify

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"grace"
	"grace/internal/store"
)

// slowly is a receiver that takes a message after a while; when that is longer than an
// attempt may take, never.
type slowly time.Duration

func (s slowly) send(ctx context.Context, _ *Message, t Thread) (Thread, error) {
	select {
	case <-ctx.Done():
		return t, ctx.Err()
	case <-time.After(time.Duration(s)):
		return t, nil
	}
}

const (
	hangs    = slowly(time.Hour)
	hangTold = "hang cannot be told: restart_service on web failed"
)

// hung is an env in the bubble's time: what web is about goes to a receiver that may
// hang, everything else to another one, whose titles it notes.
type hung struct {
	*env

	settings Settings
	out      sender
	mu       sync.Mutex // guards told
	told     []string
	began    time.Time
	back     time.Duration // so far the clock was set back
}

func newHung(t *testing.T, out sender) *hung {
	t.Helper()
	h := &hung{out: out, told: []string{}, began: time.Now(), settings: Settings{Config: Config{
		Receivers: []Receiver{
			{Name: "hang", Type: "webhook", URL: "http://127.0.0.1:1", Timeout: grace.Duration(maxTimeout)},
			{Name: "other", Type: "webhook", URL: "http://127.0.0.1:1"},
		},
		Routes: []Route{{Services: []Glob{"web"}, Receivers: []Name{"hang"}}, {Receivers: []Name{"other"}}},
	}}}
	h.env = newEnv(t, h.settings)
	h.now = h.began
	h.start()
	t.Cleanup(func() { h.n.Stop() })
	return h
}

// start begins with what the store alone knows, as after a reload or a restart.
func (h *hung) start() {
	h.t.Helper()
	h.use(h.settings)
	h.n.during = idle
	h.n.Now = func() time.Time { return time.Now().Add(-h.back) }
	h.n.current().workers[0].out = h.out
	h.n.current().workers[1].out = senderFunc(func(m *Message) error {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.told = append(h.told, m.Title)
		return nil
	})
	if err := h.n.Start(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
}

// at lets time pass until so long after the beginning.
func (h *hung) at(d time.Duration) {
	time.Sleep(d - time.Since(h.began))
	synctest.Wait()
	h.now = h.n.Now()
}

// titles of what the other receiver was told.
func (h *hung) titles() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.told)
}

// passedOn gives when something was, since the beginning.
func (h *hung) passedOn() []time.Duration {
	h.t.Helper()
	events, err := h.store.Events(h.t.Context(), h.store.Q(), 0, []string{eventPassedOn}, batch)
	if err != nil {
		h.t.Fatal(err)
	}
	out := []time.Duration{}
	for _, e := range events {
		out = append(out, e.Timestamp.Sub(h.began))
	}
	return out
}

// intime tells that one thing was passed on, in time after it happened.
func (h *hung) intime(happened time.Duration) {
	h.t.Helper()
	equal(h.t, h.titles(), []string{hangTold})
	if at := h.passedOn(); len(at) != 1 || at[0] < happened+passOnAfter-time.Second || at[0] > happened+passOnAfter+time.Second {
		h.t.Errorf("passed on at %s what happened at %s", at, happened)
	}
}

// failingAfter is a receiver that fails after a while.
type failingAfter time.Duration

func (f failingAfter) send(ctx context.Context, m *Message, t Thread) (Thread, error) {
	t, _ = slowly(f).send(ctx, m, t)
	return t, errors.New("answered 500")
}

// TestPassedOnInTime: what needs a person is passed on in time though the attempt under
// way has not ended, or the next one is not due; and once.
func TestPassedOnInTime(t *testing.T) {
	for name, out := range map[string]sender{"hangs": hangs, "fails": failingAfter(900 * time.Millisecond)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHung(t, out)
				h.incident("i-1", "web", "opened")
				h.at(passOnAfter - time.Second)
				equal(t, h.titles(), []string{})
				h.at(10 * time.Minute)
				h.intime(0)
			})
		})
	}
}

// TestPassedOnWhileALetterHangs: the time of what happens while a dead letter is tried
// does not begin with the end of that.
func TestPassedOnWhileALetterHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHung(t, senderFunc(func(m *Message) error {
			if m.Key == "grace/hang/1" {
				return &refusal{errors.New("answered 400")}
			}
			return nil
		}))
		h.act("r-1", "web")
		h.act("r-2", "web")
		h.at(time.Second)
		h.n.Stop()
		h.out = hangs
		if n, err := h.n.Retry(t.Context(), "", "token:ada"); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		h.start()
		h.at(2500 * time.Millisecond)
		h.incident("i-1", "web", "opened")
		h.at(time.Minute)
		h.intime(2500 * time.Millisecond)
	})
}

// TestPassedOnOverReloads: however often its worker ends in the middle of an attempt, a
// receiver that does not answer is shown as failing, and others are told, also when the
// clock is set back.
func TestPassedOnOverReloads(t *testing.T) {
	for name, tt := range map[string]struct{ every, back time.Duration }{
		"often": {2 * time.Second, 0}, "rarely": {13 * time.Second, 0}, "set back": {5 * time.Second, time.Hour},
		"set back when it had failed": {13 * time.Second, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHung(t, hangs)
				h.incident("i-1", "web", "opened")
				for at := tt.every; at < 2*time.Minute; at += tt.every {
					h.at(at)
					if r := h.row("hang"); r.FailingSince == nil || r.FailingSince.After(h.now) || r.Error == "" {
						t.Errorf("after %s: %+v", at, r)
					}
					h.n.Stop()
					if at == tt.every {
						h.back = tt.back
					}
					h.start()
				}
				if tt.back == 0 {
					h.intime(0)
				}
				equal(t, h.titles(), []string{hangTold})
			})
		})
	}
}

// TestNotPassedOnWhenWell: a receiver that is slow but well just gets what waited for
// long, whatever became of what it was told before.
func TestNotPassedOnWhenWell(t *testing.T) {
	for name, before := range map[string]sender{
		"new": slowly(0), "hung": hangs,
		"refused": senderFunc(func(*Message) error { return &refusal{errors.New("answered 400")} }),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHung(t, before)
				h.act("r-1", "web")
				h.at(2 * time.Second)
				h.n.Stop()
				h.incident("i-1", "web", "opened")
				h.incident("i-2", "web", "opened")
				h.at(10 * time.Minute)
				h.out = slowly(5 * time.Second)
				h.start()
				h.at(11 * time.Minute)
				equal(t, h.titles(), []string{})
				if r := h.row("hang"); r.FailingSince != nil || r.Retry != nil || r.Error != "" || r.Delivered < 2 {
					t.Errorf("%+v", r)
				}
			})
		})
	}
}

// TestPassedOnToWhoIsThere: whom others were told through may be gone when the receiver
// hangs again.
func TestPassedOnToWhoIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHung(t, hangs)
		inc := grace.Incident{ID: "i-1", State: grace.IncidentOpen, Service: "web", Severity: grace.SeverityCritical, Title: "web is down"}
		h.report(inc, "incident.opened")
		h.at(40 * time.Second)
		equal(t, len(h.passedOn()), 1)
		h.n.Stop()
		h.settings.Config.Receivers[1].Name = "third"
		h.settings.Config.Routes[1].Receivers = []Name{"third"}
		h.start()
		inc.News = "it is worse"
		h.report(inc, "incident.updated")
		h.at(2 * time.Minute)
		equal(t, len(h.passedOn()), 2)
		if titles := h.titles(); !slices.Contains(titles, "hang cannot be told: It is worse. web is down") {
			t.Errorf("the third was told %q", titles)
		}
	})
}

// TestPassedOnOfAnIncidentOnce: who is told that a receiver cannot be told of an incident hears
// that once, however often the incident changes meanwhile.
func TestPassedOnOfAnIncidentOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHung(t, hangs)
		inc := grace.Incident{ID: "i-1", State: grace.IncidentOpen, Service: "web", Severity: grace.SeverityCritical, Title: "web is down"}
		worse := func(news string) {
			inc.News = news
			h.report(inc, "incident.updated")
		}
		h.report(inc, "incident.opened")
		h.at(time.Second)
		worse("it is worse")
		worse("it is worse")
		h.at(40 * time.Second)
		equal(t, h.titles(), []string{"hang cannot be told: It is worse. web is down"})

		h.n.Stop()
		worse("it is worse yet") // and the other one has not read what it is told
		h.exec("UPDATE grace_notify_refs SET ref = '' WHERE id LIKE 'other %'")
		h.start()
		h.at(2 * time.Minute)
		equal(t, len(h.passedOn()), 1)
	})
}

// anotherPassedOn has another replica pass on what happened so far.
func (e *env) anotherPassedOn(name string) {
	e.t.Helper()
	row := e.row(name)
	row.PassedOn = 1
	if err := e.store.Do(e.t.Context(), func(ctx context.Context, tx store.Tx) error { return e.store.SaveReceiver(ctx, tx, row) }); err != nil {
		e.t.Error(err)
	}
}

// TestPassedOnByAnother: what another replica passed on is not passed on again by one
// that stood still meanwhile in an attempt, neither during that nor after it.
func TestPassedOnByAnother(t *testing.T) {
	for _, at := range []time.Duration{500 * time.Millisecond, passOnAfter - time.Second} {
		synctest.Test(t, func(t *testing.T) {
			h := newHung(t, hangs)
			h.incident("i-1", "web", "opened")
			h.at(at)
			h.anotherPassedOn("hang")
			h.at(2 * time.Minute)
			equal(t, h.row("hang").PassedOn, int64(1))
			equal(t, h.passedOn(), []time.Duration{})
		})
	}
}

// TestFailingSince: who has refused everything has been failing since the first time,
// though the next refusal takes a while.
func TestFailingSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHung(t, senderFunc(func(*Message) error {
			time.Sleep(2 * time.Second)
			return &refusal{errors.New("answered 400")}
		}))
		h.act("r-1", "web")
		h.at(time.Minute)
		h.act("r-2", "web")
		h.at(2 * time.Minute)
		if r := h.row("hang"); r.Dead != 2 || r.FailingSince.Sub(h.began) > 2*time.Second {
			t.Errorf("%+v", r)
		}
	})
}

// TestStoppedWhileItAnswers: what a receiver is about to take when its worker is stopped
// does not come twice.
func TestStoppedWhileItAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHung(t, slowly(500*time.Millisecond))
		h.incident("i-1", "web", "opened")
		h.at(100 * time.Millisecond)
		h.n.Stop()
		if r := h.row("hang"); r.Delivered != 1 || r.Cursor != 1 {
			t.Errorf("%+v", r)
		}
		if d := time.Since(h.began); d != 500*time.Millisecond {
			t.Errorf("stopped after %s", d)
		}
	})
}
