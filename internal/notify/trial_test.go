package notify

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"grace"
	"grace/internal/event"
)

// queue is a receiver to which messages wait, and what became of them.
type queue struct {
	*env

	threads []string // of the events, from 1
	took    []int    // events, in the order in which they were taken
	asked   int
}

// newQueue makes a message of each of the threads; refuses gives the answer to one.
func newQueue(t *testing.T, threads []string, refuses func(q *queue, event int) error) *queue {
	t.Helper()
	q := &queue{threads: threads}
	q.env = newEnv(t, Settings{Config: Config{Receivers: []Receiver{{Name: "hook", Type: "webhook", URL: "http://127.0.0.1:1"}}}})
	q.speak(func(m *Message) error {
		q.asked++
		if err := refuses(q, int(m.EventID)); err != nil {
			return err
		}
		q.took = append(q.took, int(m.EventID))
		return nil
	})
	for i, thread := range threads {
		what := "incident.updated"
		if slices.Index(threads, thread) == i {
			what = "incident.opened"
		}
		q.report(grace.Incident{
			ID: grace.IncidentID(thread), State: grace.IncidentOpen, Service: "web", Severity: grace.SeverityCritical, Title: thread, News: fmt.Sprint("news ", i),
		}, what)
	}
	return q
}

// wait lets the worker do what is due until nothing waits, for as long as limit, and
// tells how long that took.
func (q *queue) wait(limit time.Duration) time.Duration {
	q.t.Helper()
	for began := q.now; ; {
		q.turn("hook")
		row := q.row("hook")
		if took := q.now.Sub(began); row.Cursor >= int64(len(q.threads)) || took > limit {
			return took
		}
		if row.Retry == nil {
			q.t.Fatalf("it waits for nothing: %+v", row)
		}
		q.now = *row.Retry
	}
}

// inOrder fails when a message was taken twice, or after a later one of its thread.
func (q *queue) inOrder() {
	q.t.Helper()
	for i, event := range q.took {
		for _, earlier := range q.took[:i] {
			if earlier == event || earlier > event && q.threads[earlier-1] == q.threads[event-1] {
				q.t.Errorf("%d after %d: %v", event, earlier, q.took)
			}
		}
	}
}

// TestPoisonInARow: however many messages in a row are bad, each is found out, and
// those behind come in the order of their threads: within a minute, and 40 s for each
// that is bad. Where one message alone tells of many on a thread, it is 9 min for each.
func TestPoisonInARow(t *testing.T) {
	for _, bad := range []int{1, 2, 3, 5, 60} {
		own := func(i int) string { return fmt.Sprint("i-", i) }
		one := func(int) string { return "i-0" }
		for name, tt := range map[string]struct {
			thread func(i int) string
			good   []string
		}{
			"one thread, others behind":                     {one, []string{"i-0", "a", "a", "i-0"}},
			"one thread alone":                              {one, []string{"i-0", "i-0"}},
			"several threads, others behind":                {own, []string{"i-0", "a", "i-1", "a", "b"}},
			"several threads alone":                         {own, []string{"i-0", "i-0"}},
			"one thread, a single one behind":               {one, []string{"a"}},
			"several threads, a single one behind":          {own, []string{"a"}},
			"several threads, the last one of them is good": {own, []string{own(bad - 1)}},
		} {
			if bad > batch && name != "one thread alone" && name != "several threads, a single one behind" {
				continue // takes long, and tells no more
			}
			t.Run(fmt.Sprint(bad, " of ", name), func(t *testing.T) {
				var threads []string
				for i := range bad {
					threads = append(threads, tt.thread(i))
				}
				q := newQueue(t, append(threads, tt.good...), func(_ *queue, event int) error {
					if event <= bad {
						return errors.New("answered 500")
					}
					return nil
				})
				limit := time.Minute + time.Duration(bad)*40*time.Second
				switch {
				case name == "one thread, a single one behind":
					limit = time.Minute + time.Duration(bad-1)*9*time.Minute
				case bad > batch:
					limit += longestWait
				}
				if took := q.wait(limit); took > limit {
					t.Errorf("it took %s: %v of %v, %+v", took, q.took, q.threads, q.row("hook"))
				}
				equal(t, len(q.took), len(tt.good))
				q.inOrder()
				if r := q.row("hook"); r.Dead != int64(bad) || r.FailingSince != nil || r.Retry != nil {
					t.Errorf("how it fares: %+v", r)
				}
				for _, d := range q.letters() {
					if d.Event.ID > int64(bad) || d.Retry {
						t.Errorf("%+v", d)
					}
				}
			})
		}
	}
}

// TestAway: a receiver that comes back, whenever that is, gets everything in the order
// of the threads. Silent ones get all of it; where it answers that it is down, what
// it takes in that very moment may cost a message before it on the same thread.
func TestAway(t *testing.T) {
	for name, tt := range map[string]struct {
		threads []string
		silent  bool
	}{
		"several threads": {[]string{"a", "b", "c", "d"}, false},
		"mixed":           {[]string{"a", "a", "b", "c", "b", "a"}, false},
		"one thread":      {[]string{"a", "a", "a"}, false},
		"silent":          {[]string{"a", "a", "b", "b"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			for refused := suspicious - 1; refused < 3*suspicious; refused++ {
				q := newQueue(t, tt.threads, func(q *queue, _ int) error {
					if q.asked <= refused {
						return errors.New("answered 502")
					}
					return nil
				})
				if tt.silent {
					q.n.current().workers[0].timeout = -1 // no answer comes in time
				}
				q.wait(24 * time.Hour)
				q.inOrder()
				letters := q.letters()
				if len(q.took)+len(letters) != len(tt.threads) || len(letters) > 0 && (tt.silent || name == "several threads") {
					t.Errorf("back after %d attempts: %v of %v, %+v", refused, q.took, tt.threads, letters)
				}
			}
		})
	}
}

// TestUnsentProvesNothing: what PagerDuty is not sent neither tells that it works, nor
// counts as delivered.
func TestUnsentProvesNothing(t *testing.T) {
	t.Setenv("PD_KEY", "pd-key")
	pd := newDouble(t, status(http.StatusInternalServerError))
	e := newEnv(t, Settings{Config: Config{Receivers: []Receiver{{Name: "pd", Type: "pagerduty", RoutingKey: "${env:PD_KEY}", URL: pd.URL}}}})
	acted := func(run string) {
		e.apply(event.Given{Outbox: []grace.Event{{Type: "self_heal.run.running", Resource: "run/" + run, Payload: event.Encode(runPayload{Service: "web"})}}})
	}
	acted("r-1")
	e.turn("pd")
	if r := e.row("pd"); r.Cursor != 1 || r.Delivered != 0 || r.LastSuccess != nil {
		t.Errorf("how it fares: %+v", r)
	}
	e.incident("i-1", "web", "opened")
	acted("r-2")
	for range 2 * suspicious {
		e.turn("pd")
		if r := e.row("pd").Retry; r != nil {
			e.now = *r
		}
	}
	equal(t, len(e.letters()), 0)
	pd.say(status(http.StatusAccepted))
	e.turn("pd")
	if r := e.row("pd"); r.Cursor != 3 || r.Delivered != 1 || r.FailingSince != nil {
		t.Errorf("how it fares: %+v", r)
	}
}

// TestAlwaysBusy: a message to which a receiver always says that it is busy, as often
// as it says it, is found out as well; meanwhile nothing is sent before its time.
func TestAlwaysBusy(t *testing.T) {
	for _, bad := range []int{1, 2, 3} {
		for _, after := range []time.Duration{10 * time.Second, time.Hour} {
			for name, threads := range map[string][]string{
				"others":     {"a", "b", "c", "d", "a", "d"},
				"one thread": {"a", "a", "a", "a", "a", "a"},
				"quiet":      {"a", "b", "c", "d"},
			} {
				t.Run(fmt.Sprint(bad, " of ", name, " after ", after), func(t *testing.T) {
					tries := map[int]time.Time{}
					q := newQueue(t, threads, func(q *queue, event int) error {
						if event > bad {
							return nil
						}
						if last, again := tries[event]; again && q.now.Sub(last) < min(after, longestWait) {
							t.Errorf("%d is sent again after %s", event, q.now.Sub(last))
						}
						tries[event] = q.now
						return &later{errors.New("answered 429"), after}
					})
					limit := time.Duration(bad) * 45 * time.Minute
					if took := q.wait(limit); took > limit {
						t.Errorf("it took %s: %v, %+v", took, q.took, q.row("hook"))
					}
					equal(t, len(q.took), len(threads)-bad)
					equal(t, len(q.letters()), bad)
					q.inOrder()
					if r := q.row("hook"); r.FailingSince != nil || r.Dead != int64(bad) {
						t.Errorf("how it fares: %+v", r)
					}
				})
			}
		}
	}
}

// TestBusyForLong: a receiver that is busy for hours, with whatever it is sent, gets
// everything in the end.
func TestBusyForLong(t *testing.T) {
	for busy := range 8 {
		q := newQueue(t, []string{"a", "a", "b", "c", "b"}, func(q *queue, _ int) error {
			if q.now.Sub(testNow) < time.Duration(busy)*13*time.Minute {
				return &later{errors.New("answered 429"), time.Minute}
			}
			return nil
		})
		q.wait(24 * time.Hour)
		q.inOrder()
		if len(q.took) != 5 || len(q.letters()) > 0 {
			t.Errorf("busy for %d min: %v %+v", 13*busy, q.took, q.letters())
		}
	}
}

// TestBusyLetter: a dead letter to which a receiver always says that it is busy when it
// is sent again, while it takes others, is a dead letter again.
func TestBusyLetter(t *testing.T) {
	q := newQueue(t, []string{"a"}, func(_ *queue, event int) error {
		if event == 1 {
			return &refusal{errors.New("answered 400")}
		}
		return nil
	})
	q.turn("hook")
	q.retry("hook:1")
	q.speak(func(m *Message) error {
		if m.EventID == 1 {
			return &later{errors.New("answered 429"), 20 * time.Second}
		}
		return nil
	})
	for i := range suspicious + 1 {
		q.incident(fmt.Sprint("n-", i), "web", "opened")
		for range 3 {
			q.now = q.now.Add(20 * time.Second)
			q.turn("hook")
		}
	}
	if d := q.letters(); len(d) != 1 || d[0].Retry || d[0].Attempts < suspicious {
		t.Errorf("%+v", d)
	}
}
