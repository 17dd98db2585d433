package store_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/dbos-inc/dbos-transact-golang/dbos"

	"grace"
	"grace/internal/event"
	"grace/internal/patience"
	"grace/internal/store"
)

// engine starts the durable engine on the store's own database, with a
// workflow that waits for a word and applies a change in a transaction of the
// engine's.
func engine(tb testing.TB, s *store.Store) dbos.Context {
	tb.Helper()
	ctx, err := dbos.NewContext(context.WithoutCancel(tb.Context()), dbos.Config{
		AppName: "grace-test", SQLiteSystemDB: s.SQL(), SystemDBPool: s.PG(), ApplicationVersion: "v1",
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		tb.Fatal(err)
	}
	var ds *dbos.DataSource
	if s.Postgres() {
		ds, err = dbos.NewDataSource(ctx, s.PG())
	} else {
		ds, err = dbos.NewDataSource(ctx, s.SQL())
	}
	if err != nil {
		tb.Fatal(err)
	}
	dbos.RegisterWorkflow(ctx, func(ctx dbos.Context, object string) (string, error) {
		word, err := dbos.Recv[string](ctx, "control", time.Minute)
		if err != nil {
			return "", err
		}
		return dbos.RunAsTransaction(ctx, ds, func(ctx context.Context, tx dbos.Tx) (string, error) {
			return word, s.Append(ctx, tx, event.Given{Audit: []grace.AuditEntry{entry(object)}, Outbox: []grace.Event{message("x")}})
		})
	}, dbos.WithWorkflowName("echo"))
	if _, err := dbos.RegisterQueue(ctx, "runs", dbos.WithQueueBasePollingInterval(10*time.Millisecond)); err != nil {
		tb.Fatal(err)
	}
	if err := dbos.Launch(ctx); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := dbos.Shutdown(ctx, 10*time.Second); err != nil {
			tb.Error(err)
		}
	})
	return ctx
}

// The engine takes our transactions, and we take the engine's.
func TestTransactionsAreSharedWithTheEngine(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		ctx := engine(t, s)
		start := func(id string, then error) error {
			return s.Do(t.Context(), func(txCtx context.Context, tx store.Tx) error {
				_, err := dbos.Enqueue[string](ctx, "runs", "echo", "run/"+id,
					dbos.WithEnqueueWorkflowID(id), dbos.WithEnqueueTransaction(tx))
				if err != nil {
					return err
				}
				return errors.Join(s.Append(txCtx, tx, event.Given{Runs: []grace.Run{run(id, 1, grace.RunApproved)}}), then)
			})
		}
		if err := start("r-1", nil); err != nil {
			t.Fatal(err)
		}
		back := errors.New("thought better of it")
		if err := start("r-2", back); !errors.Is(err, back) {
			t.Fatal(err)
		}
		list, err := dbos.ListWorkflows(ctx)
		if err != nil || len(list) != 1 || list[0].ID != "r-1" {
			t.Fatalf("workflows %+v, %v", list, err)
		}

		wake := s.Wake(t.Context())
		err = s.Do(t.Context(), func(_ context.Context, tx store.Tx) error {
			return dbos.Send(ctx, "r-1", "go", "control", dbos.WithSendTransaction(tx), dbos.WithIdempotencyKey("r-1"))
		})
		if err != nil {
			t.Fatal(err)
		}
		handle := must[dbos.WorkflowHandle[string]](t)(dbos.RetrieveWorkflow[string](ctx, "r-1"))
		equal(t, must[string](t)(handle.GetResult()), "go")
		entries, _, err := s.AuditEntries(t.Context(), s.Q(), store.AuditFilter{Object: "run/r-1"}, store.Page{})
		if err != nil || len(entries) != 1 {
			t.Errorf("audit entries %+v, %v", entries, err)
		}
		patience.Next(t, "wake after the engine's transaction", wake) // by its commit, not one of ours
	})
}
