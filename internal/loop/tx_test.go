package loop_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"testing"
	"time"

	"grace"
	"grace/internal/dbtx"
	"grace/internal/event"
	"grace/internal/flow"
	"grace/internal/patience"
	"grace/internal/store"
)

// TestSharedTransactions: the engine takes the store's transactions, and the
// store takes the engine's.
func TestSharedTransactions(t *testing.T) {
	eachDatabase(t, func(t *testing.T, url string) {
		ctx := t.Context()
		s, err := store.Open(ctx, store.Options{URL: url, AuditKey: []byte("a key for tests, 32 bytes long..")})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		change := func(object string) event.Given {
			return event.Given{
				Audit:  []grace.AuditEntry{{At: time.Now(), Actor: grace.Self, Action: "test", Object: object}},
				Outbox: []grace.Event{{Timestamp: time.Now(), Type: "test", Source: "test", Resource: object}},
			}
		}
		ended := make(chan error, 1)
		engine, err := flow.New(ctx, flow.Config{
			SQL: s.SQL(), PG: s.PG(), Executor: "local", Logger: slog.New(slog.DiscardHandler), Lost: func(err error) { t.Error(err) },
			Run: func(r *flow.Run) error {
				m, _, err := r.Control(time.Now().Add(time.Minute))
				if err == nil {
					_, err = flow.Tx(r, "apply", func(ctx context.Context, tx dbtx.Tx) (bool, error) {
						if _, err := s.Run(ctx, tx, r.ID()); !errors.Is(err, store.ErrNotFound) {
							t.Errorf("a run that is not there, in the engine's transaction: %v", err)
						}
						return true, s.Append(ctx, tx, change("message/"+string(m.Kind)))
					})
				}
				ended <- err
				return err
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := engine.Start(ctx); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := engine.Stop(10 * time.Second); err != nil {
				t.Error(err)
			}
		})

		start := func(id grace.RunID, then error) error {
			return s.Do(ctx, func(ctx context.Context, tx store.Tx) error {
				if err := engine.Enqueue(ctx, tx, id, "input"); err != nil {
					return err
				}
				return errors.Join(s.Append(ctx, tx, change("run/"+string(id))), then)
			})
		}
		if err := start("r-1", nil); err != nil {
			t.Fatal(err)
		}
		if err := start("r-1", nil); err == nil {
			t.Error("a run was started twice")
		}
		back := errors.New("thought better of it")
		if err := start("r-2", back); !errors.Is(err, back) {
			t.Fatal(err)
		}
		unknown, err := engine.Failed([]grace.RunID{"r-1", "r-2"})
		if err != nil || !slices.Equal(slices.Collect(maps.Keys(unknown)), []grace.RunID{"r-2"}) {
			t.Errorf("the engine does not hold r-1 alone: %v, %v", unknown, err)
		}

		wake := s.Wake(ctx)
		err = s.Do(ctx, func(ctx context.Context, tx store.Tx) error {
			m := grace.ControlMessage{Kind: grace.ControlApprove}
			return errors.Join(engine.Send(ctx, tx, "r-1", "key", m), engine.Send(ctx, tx, "r-1", "key", m))
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := patience.Next(t, "the run's end", ended); err != nil {
			t.Fatal(err)
		}
		patience.Next(t, "wake after the engine's transaction", wake) // by its commit, not one of ours
		for object, want := range map[string]int{"run/r-1": 1, "run/r-2": 0, "message/" + string(grace.ControlApprove): 1} {
			entries, _, err := s.AuditEntries(ctx, s.Q(), store.AuditFilter{Object: object}, store.Page{})
			if err != nil || len(entries) != want {
				t.Errorf("audit entries of %s: %+v, %v, want %d", object, entries, err, want)
			}
		}
	})
}
