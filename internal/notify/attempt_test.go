package notify

import (
	"context"
	"errors"
	"testing"
	"time"

	"grace/internal/pgtest"
	"grace/internal/store"
)

// senderFunc is a receiver that needs no server.
type senderFunc func(m *Message) error

func (f senderFunc) send(_ context.Context, m *Message, t Thread) (Thread, error) { return t, f(m) }

// speak has the only receiver answered by a function.
func (e *env) speak(f senderFunc) {
	e.t.Helper()
	e.n.current().workers[0].out = f
}

func (e *env) exec(text string) {
	e.t.Helper()
	err := e.store.Do(e.t.Context(), func(ctx context.Context, tx store.Tx) error {
		_, err := tx.Exec(ctx, text)
		return err
	})
	if err != nil {
		e.t.Fatal(err)
	}
}

// TestStoreAway: a store that cannot be read is no failure of the receiver.
func TestStoreAway(t *testing.T) {
	e := newEnv(t, Settings{Config: Config{Receivers: []Receiver{{Name: "hook", Type: "webhook", URL: "http://127.0.0.1:1"}}}})
	var took []string
	e.speak(func(m *Message) error {
		took = append(took, m.Key)
		return nil
	})
	e.incident("i-1", "web", "opened")
	e.exec("ALTER TABLE grace_notify_refs RENAME TO away")
	if _, err := e.n.current().workers[0].turn(t.Context()); err == nil {
		t.Error("the store failed, and nobody says so")
	}
	if r := e.row("hook"); r.Attempts != 0 || r.FailingSince != nil || r.Retry != nil || r.Error != "" {
		t.Errorf("how it fares: %+v", r)
	}
	e.exec("ALTER TABLE away RENAME TO grace_notify_refs")
	e.turn("hook")
	equal(t, took, []string{"grace/hook/1"})
}

// TestClaimRenewed: attempts that take longer together than a claim lasts are all
// made while the receiver is this replica's, and none is once it is not.
func TestClaimRenewed(t *testing.T) {
	e := newEnvAt(t, Settings{Config: Config{Receivers: []Receiver{{Name: "hook", Type: "webhook", URL: "http://127.0.0.1:1"}}}}, pgtest.Start(t))
	taken := func() bool {
		taken, err := e.store.Claim(t.Context(), "notify/hook", "other", claimFor)
		if err != nil {
			t.Fatal(err)
		}
		return taken
	}
	asked := 0
	e.speak(func(m *Message) error {
		asked++
		if e.now = e.now.Add(maxTimeout - time.Second); taken() {
			t.Errorf("the receiver was free during attempt %d, of %s", asked, m.Key)
		}
		if m.Key != "grace/hook/1" {
			return nil
		}
		return errors.New("answered 500")
	})
	e.incident("i-1", "web", "opened")
	e.incident("i-2", "db", "opened")
	for range suspicious {
		e.turn("hook")
		if r := e.row("hook").Retry; r != nil {
			e.now = *r
		}
	}
	equal(t, asked, suspicious+2)
	if e.now = e.now.Add(claimFor + time.Second); !taken() {
		t.Fatal("the other replica does not get the receiver")
	}
	e.incident("i-3", "db", "opened")
	e.turn("hook")
	equal(t, asked, suspicious+2)
}

// TestPassedIsCounted: what passes a message that is refused counts as delivered, and
// the receiver as well; those whom it did not reach are counted, too.
func TestPassedIsCounted(t *testing.T) {
	e := newEnv(t, Settings{Config: Config{Receivers: []Receiver{{Name: "hook", Type: "webhook", URL: "http://127.0.0.1:1"}}}})
	e.speak(func(m *Message) error {
		if m.Key == "grace/hook/2" {
			return &partly{errors.New("no@example.com: 550"), true, []string{"ada@example.com"}}
		}
		return errors.New("answered 500")
	})
	e.incident("i-1", "web", "opened")
	e.incident("i-2", "db", "opened")
	for range suspicious {
		e.turn("hook")
		if r := e.row("hook").Retry; r != nil {
			e.now = *r
		}
	}
	e.turn("hook")
	r := e.row("hook")
	if r.Delivered != 1 || r.Dead != 2 || r.LastSuccess == nil || r.FailingSince != nil || r.Cursor != 2 {
		t.Errorf("how it fares: %+v", r)
	}
	for _, d := range e.letters() {
		if d.Retry {
			t.Errorf("%+v", d)
		}
	}
	e.now = e.now.Add(time.Hour)
	e.turn("hook")
	if s, err := e.n.Status(t.Context()); err != nil || !s.Told {
		t.Errorf("a well receiver to which there is nothing to say: %+v %v", s, err)
	}
}
