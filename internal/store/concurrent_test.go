package store_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"grace"
	"grace/internal/event"
	"grace/internal/patience"
	"grace/internal/store"
)

// Eight writers append; a reader that follows the events by "id > cursor" must
// see every id exactly once and in order, which it only can when ids become
// visible in their order.
func TestConcurrentApply(t *testing.T) {
	const writers, each = 8, 25
	onBoth(t, func(t *testing.T, s *store.Store) {
		ctx, cancel := patience.Context(t)
		defer cancel()
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				id := fmt.Sprintf("r-%d", w)
				for revision := 1; revision <= each; revision++ {
					err := tryApply(ctx, s, event.Given{
						Runs:   []grace.Run{run(id, revision, grace.RunRunning)},
						Audit:  []grace.AuditEntry{entry("run/" + id), entry("step/" + id)},
						Outbox: []grace.Event{message("self_heal.run"), message("self_heal.step")},
					})
					if err != nil {
						t.Errorf("writer %d: %v", w, err)
						return
					}
				}
			})
		}
		wake := s.Wake(ctx)
		var last int64
		for last < writers*each*2 {
			events, err := s.Events(ctx, s.Q(), last, nil, 1000)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range events {
				if e.ID != last+1 {
					t.Fatalf("event %d follows event %d", e.ID, last)
				}
				last = e.ID
			}
			if len(events) == 0 && !t.Failed() {
				select {
				case <-wake:
				case <-time.After(time.Second):
				}
			}
			if t.Failed() {
				break
			}
		}
		wg.Wait()
		r := must[store.AuditReport](t)(s.VerifyAudit(ctx))
		equal(t, []any{r.OK, r.Entries}, []any{true, int64(writers * each * 2)})
	})
}

// One of many that write the same revision wins.
func TestConcurrentRevision(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		apply(t, s, event.Given{Runs: []grace.Run{run("r-1", 1, grace.RunProposed)}})
		results := make(chan error, 8)
		for range cap(results) {
			go func() {
				results <- tryApply(t.Context(), s, event.Given{
					Runs: []grace.Run{run("r-1", 2, grace.RunRunning)}, Audit: []grace.AuditEntry{entry("run/r-1")},
				})
			}()
		}
		won := 0
		for range cap(results) {
			if err := <-results; err == nil {
				won++
			}
		}
		equal(t, won, 1)
		equal(t, must[store.AuditReport](t)(s.VerifyAudit(t.Context())).Entries, int64(1))
	})
}

func TestLockDeciding(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		var wg sync.WaitGroup
		var inside atomic.Int32
		for range 8 {
			wg.Go(func() {
				err := s.Do(t.Context(), func(ctx context.Context, tx store.Tx) error {
					if _, err := s.StandingToDecide(ctx, tx, t0); err != nil {
						return err
					}
					defer inside.Add(-1)
					if n := inside.Add(1); n != 1 {
						t.Errorf("%d are deciding at once", n)
					}
					_, err := s.Mode(ctx, tx) // time for the others to come in
					return err
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})
}

// TestStanding: what is read under the lock of deciding is what is read without.
func TestStanding(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		read := func() (got store.Standing) {
			t.Helper()
			err := s.Do(t.Context(), func(ctx context.Context, tx store.Tx) (err error) {
				got, err = s.StandingToDecide(ctx, tx, t0)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		equal(t, read(), store.Standing{})
		apply(t, s, event.Given{
			Mode: &grace.ModeSetting{Mode: grace.ModeAskAlways, Revision: 1},
			Runs: []grace.Run{
				{ID: "r-1", Revision: 1, Status: grace.RunRunning, Service: "web", CreatedAt: t0},
				{ID: "r-2", Revision: 1, Status: grace.RunSucceeded, Service: "web", CreatedAt: t0},
			},
			Silences: []grace.Silence{{ID: "s-1", Ends: t0}, {ID: "s-2", Ends: t0.Add(time.Hour)}},
			Incidents: []grace.Incident{
				{ID: "i-1", State: grace.IncidentOpen, Service: "web", OpenedAt: t0}, {ID: "i-2", State: grace.IncidentResolved, OpenedAt: t0},
			},
		})
		got := read()
		equal(t, got, must[store.Standing](t)(s.Standing(t.Context(), s.Q(), t0)))
		if got.Mode.Mode != grace.ModeAskAlways || len(got.Open) != 1 || len(got.Silences) != 1 || len(got.Incidents) != 1 {
			t.Errorf("%+v", got)
		}
	})
}

func TestWake(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		ctx, cancel := context.WithCancel(t.Context())
		wake := s.Wake(ctx)
		if s.Postgres() {
			<-wake // listening has begun
		}
		apply(t, s, event.Given{Audit: []grace.AuditEntry{entry("x")}})
		apply(t, s, event.Given{Outbox: []grace.Event{message("x")}})
		patience.Next(t, "wake after an event", wake)
		cancel()
		for range wake { // until it is closed
		}
	})
}
