package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"grace"
	"grace/internal/event"
	"grace/internal/store"
)

// TestReceivers: a receiver begins with what is new, its cursor never moves
// back, and dead letters, threads and open subjects are found again.
func TestReceivers(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		ctx, q := t.Context(), s.Q()
		do := func(f func(ctx context.Context, tx store.Tx) error) {
			t.Helper()
			if err := s.Do(ctx, f); err != nil {
				t.Fatal(err)
			}
		}
		do(func(ctx context.Context, tx store.Tx) error {
			return s.Append(ctx, tx, event.Given{Outbox: []grace.Event{{Type: "a"}, {Type: "b"}, {Type: "a.c"}}})
		})
		for range 2 {
			if err := s.RegisterReceiver(ctx, "chat"); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Receiver(ctx, q, "nobody"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%v", err)
		}
		r := must[store.Receiver](t)(s.Receiver(ctx, q, "chat"))
		equal(t, r.Cursor, int64(3))
		now := t0
		for _, cursor := range []int64{7, 5} {
			r.Cursor, r.LastSuccess = cursor, &now
			do(func(ctx context.Context, tx store.Tx) error { return s.SaveReceiver(ctx, tx, r) })
		}
		all := must[[]store.Receiver](t)(s.Receivers(ctx, q))
		if len(all) != 1 || all[0].Cursor != 7 || !all[0].LastSuccess.Equal(t0) {
			t.Errorf("%+v", all)
		}
		equal(t, must[int](t)(s.CountEvents(ctx, q, 1, []string{"a.*", "b"})), 2)
		if err := s.ForgetReceiver(ctx, "chat"); err != nil {
			t.Fatal(err)
		}
		equal(t, len(must[[]store.Receiver](t)(s.Receivers(ctx, q))), 0)

		equal(t, must[string](t)(s.Ref(ctx, q, "chat", "run/r")), "")
		for _, ref := range []string{"C 1", "C 2"} {
			do(func(ctx context.Context, tx store.Tx) error { return s.SetRef(ctx, tx, "chat", "run/r", ref, t0) })
		}
		equal(t, must[string](t)(s.Ref(ctx, q, "chat", "run/r")), "C 2")

		d := store.DeadLetter{ID: store.DeadLetterID("chat", 2), Receiver: "chat", Event: grace.Event{ID: 2, Type: "b"}, Error: "no\x00", At: t0}
		do(func(ctx context.Context, tx store.Tx) error {
			return s.Append(ctx, tx, event.Given{Letters: []store.DeadLetter{d}})
		})
		equal(t, len(must[[]store.DeadLetter](t)(s.WaitingLetters(ctx, q, 9))), 1)
		d.Retry = true
		do(func(ctx context.Context, tx store.Tx) error {
			return s.Append(ctx, tx, event.Given{Letters: []store.DeadLetter{d}})
		})
		equal(t, len(must[[]store.DeadLetter](t)(s.WaitingLetters(ctx, q, 9))), 0)
		equal(t, must[[]store.DeadLetter](t)(s.RetryLetters(ctx, q, "chat", 9))[0].Event.Type, "b")
		equal(t, must[map[string]int](t)(s.CountDeadLetters(ctx, q)), map[string]int{"chat": 1})
		if letters, _, err := s.DeadLetters(ctx, q, "other", store.Page{Limit: 5}); err != nil || len(letters) != 0 {
			t.Errorf("%v %v", letters, err)
		}
		do(func(ctx context.Context, tx store.Tx) error {
			return s.Append(ctx, tx, event.LetterDelivered{ID: d.ID})
		})
		if _, err := s.DeadLetter(ctx, q, d.ID); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%v", err)
		}

		clocks := map[string]store.Clock{"route": {Since: t0, Escalated: 5}}
		for _, subject := range []string{"run/b", "incident/a"} {
			do(func(ctx context.Context, tx store.Tx) error {
				return s.PutSubject(ctx, tx, store.OpenSubject{Subject: subject, At: t0, Clocks: clocks, Held: true})
			})
		}
		equal(t, must[store.OpenSubject](t)(s.Subject(ctx, q, "run/b")).Clocks["route"].Escalated, grace.Duration(5))
		if _, err := s.Subject(ctx, q, "run/c"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%v", err)
		}
		open := must[[]store.OpenSubject](t)(s.OpenSubjects(ctx, q, "", 1))
		equal(t, open[0].Subject, "incident/a")
		open = must[[]store.OpenSubject](t)(s.OpenSubjects(ctx, q, open[0].Subject, 5))
		equal(t, open[0].Subject, "run/b")
		do(func(ctx context.Context, tx store.Tx) error { return s.DropSubject(ctx, tx, "run/b") })
		equal(t, len(must[[]store.OpenSubject](t)(s.OpenSubjects(ctx, q, "", 5))), 1)

		inc := grace.Incident{ID: "i", State: grace.IncidentOpen, OpenedAt: t0}
		change := func(ctx context.Context, tx store.Tx) error {
			return s.Append(ctx, tx, event.Given{Incidents: []grace.Incident{inc}})
		}
		do(change)
		later := t0.Add(100 * 24 * time.Hour)
		equal(t, must[map[string]int64](t)(s.Prune(ctx, later, store.DefaultRetention()))["threads"], int64(0)) // its end is still to be told
		inc.State = grace.IncidentResolved
		do(change)
		pruned := must[map[string]int64](t)(s.Prune(ctx, later, store.DefaultRetention()))
		equal(t, pruned["threads"], int64(1))
	})
}
