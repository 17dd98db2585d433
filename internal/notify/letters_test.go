package notify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"grace/internal/event"
	"grace/internal/store"
)

// taking answers a double's messages with 500, but for those that it takes, whose
// keys it notes.
func taking(took *[]string, takes func(key string) bool) func(http.ResponseWriter, got) {
	return func(w http.ResponseWriter, g got) {
		key := g.header.Get("Idempotency-Key")
		if !takes(key) {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		*took = append(*took, key)
	}
}

func (e *env) letters() []store.DeadLetter {
	e.t.Helper()
	list, _, err := e.store.DeadLetters(e.t.Context(), e.store.Q(), "", store.Page{Limit: 10})
	if err != nil {
		e.t.Fatal(err)
	}
	return list
}

func (e *env) retry(id string) {
	e.t.Helper()
	if _, err := e.n.Retry(e.t.Context(), id, "token:ada"); err != nil {
		e.t.Fatal(err)
	}
}

// TestRetryPoison: a dead letter that fails again when it is sent again holds up
// neither new messages nor other letters, and is a dead letter again in the end.
func TestRetryPoison(t *testing.T) {
	d := newDouble(t, status(http.StatusBadRequest))
	s := Settings{Config: Config{Receivers: []Receiver{hook("hook", d)}}}
	e := newEnv(t, s)
	e.incident("i-1", "web", "opened")
	e.incident("i-2", "db", "opened")
	e.turn("hook")
	equal(t, len(e.letters()), 2)
	e.retry("")

	var took []string
	poison := "grace/hook/1"
	d.say(taking(&took, func(key string) bool { return key != poison }))
	asked := func() (n int) {
		for _, g := range d.requests() {
			if g.header.Get("Idempotency-Key") == poison {
				n++
			}
		}
		return n
	}
	for tries := 1; tries <= suspicious; tries++ {
		before := e.now
		for asked() <= tries && e.now.Sub(before) < time.Hour {
			e.now = e.now.Add(time.Second)
			e.turn("hook")
		}
		if wait := e.now.Sub(before); wait > 17*time.Second {
			t.Errorf("attempt %d came after %s", tries, wait)
		}
		if tries == 2 {
			e.use(s) // a restart
		}
		passed := len(took)
		e.incident(fmt.Sprint("n-", tries), "web", "opened")
		e.now = e.now.Add(time.Millisecond)
		e.turn("hook")
		if len(took) == passed {
			t.Errorf("a new message waits for the letter after attempt %d", tries)
		}
	}
	if !slices.Contains(took, "grace/hook/2") {
		t.Error("another letter waits for the one that fails")
	}
	letters := e.letters()
	if len(letters) != 1 || letters[0].Retry || letters[0].Attempts != suspicious || letters[0].Error != "answered 500 Internal Server Error" {
		t.Errorf("%+v", letters)
	}
	before := asked()
	e.now = e.now.Add(time.Hour)
	e.turn("hook")
	equal(t, asked(), before)
	if row := e.row("hook"); row.Dead != 3 || row.FailingSince != nil {
		t.Errorf("how it fares: %+v", row)
	}
	e.retry("hook:1")
	d.say(nil)
	e.turn("hook")
	equal(t, len(e.letters()), 0)
}

// TestRetryWhileAway: a letter that is sent again while its receiver is away is
// delivered once that is back, however long it takes.
func TestRetryWhileAway(t *testing.T) {
	d := newDouble(t, status(http.StatusBadRequest))
	e := newEnv(t, Settings{Config: Config{Receivers: []Receiver{hook("hook", d)}}})
	e.incident("i-1", "web", "opened")
	e.turn("hook")
	e.retry("hook:1")
	d.say(status(http.StatusBadGateway))
	for range 30 {
		e.turn("hook")
		e.now = e.now.Add(time.Minute)
	}
	if letters := e.letters(); !letters[0].Retry || letters[0].Attempts < suspicious || letters[0].Attempts > 20 {
		t.Errorf("%+v", letters)
	}
	e.now = e.now.Add(-24 * time.Hour) // a clock that was set back holds nothing up
	d.say(nil)
	e.turn("hook")
	equal(t, len(e.letters()), 0)
}

// TestRetryDelivered: a letter that is delivered while somebody has it sent again
// stays delivered.
func TestRetryDelivered(t *testing.T) {
	e := newEnv(t, Settings{Config: Config{Receivers: []Receiver{hook("hook", newDouble(t, status(http.StatusBadRequest)))}}})
	e.incident("i-1", "web", "opened")
	e.turn("hook")
	e.retry("hook:1")

	e.n.mu.Lock() // Retry comes no further than to the configuration
	again := make(chan error)
	go func() {
		_, err := e.n.Retry(t.Context(), "hook:1", "token:ada")
		again <- err
	}()
	for stacks := make([]byte, 1<<20); !strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), "(*Notifier).current("); {
		runtime.Gosched()
	}
	err := e.store.Do(t.Context(), func(ctx context.Context, tx store.Tx) error {
		return e.store.Append(ctx, tx, event.LetterDelivered{ID: "hook:1"})
	})
	if err != nil {
		t.Error(err)
	}
	e.n.mu.Unlock()
	if err := <-again; !errors.Is(err, store.ErrNotFound) {
		t.Errorf("sent again: %v", err)
	}
	equal(t, len(e.letters()), 0)
}

// TestRetryWhenOver: a dead letter about what is over meanwhile opens nothing any more:
// its end has been sent, and none would follow.
func TestRetryWhenOver(t *testing.T) {
	answer := http.StatusBadRequest
	var kinds []string
	double := newDouble(t, func(w http.ResponseWriter, g got) {
		kinds = append(kinds, string(g.body))
		w.WriteHeader(answer)
	})
	e := newEnv(t, Settings{Config: Config{Receivers: []Receiver{hook("hook", double)}}})
	e.incident("i-1", "web", "opened")
	e.turn("hook")
	e.incident("i-1", "web", "resolved")
	answer, kinds = http.StatusOK, nil
	e.turn("hook")
	e.retry("hook:1")
	e.turn("hook")
	if len(kinds) != 2 || !strings.Contains(kinds[1], `"kind":"resolved"`) || !strings.Contains(kinds[1], `"ended":true`) || !strings.Contains(kinds[1], "Over meanwhile") {
		t.Errorf("%q", kinds)
	}
	equal(t, len(e.letters()), 0)
}
