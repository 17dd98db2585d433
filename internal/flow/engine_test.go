package flow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"grace/internal/dbtx"
	"grace/internal/patience"
	"grace/internal/pgtest"
)

// TestOnCommit: a transaction tells that it was committed when it was, and of a try that
// was rolled back nothing.
func TestOnCommit(t *testing.T) {
	t.Parallel()
	var told []string
	ended := make(chan error, 1)
	n := startNode(t, pgtest.Start(t), "a", func(r *Run) error {
		tries := 0
		_, err := Tx(r, "retried", func(_ context.Context, tx dbtx.Tx) (bool, error) {
			tries++
			tx.OnCommit(func() { told = append(told, fmt.Sprint("try ", tries)) })
			tx.OnCommit(func() { told = append(told, "again") })
			if tries == 1 {
				return false, &pgconn.PgError{Code: "40001"}
			}
			return true, nil
		})
		_, failed := Tx(r, "failed", func(_ context.Context, tx dbtx.Tx) (bool, error) {
			tx.OnCommit(func() { told = append(told, "failed") })
			return false, errors.New("thought better of it")
		})
		if failed == nil {
			err = errors.New("what failed has not")
		}
		ended <- err
		return err
	})
	n.enqueue(t, "r1")
	if err := patience.Next(t, "the run's end", ended); err != nil {
		t.Fatal(err)
	}
	if want := []string{"try 2", "again"}; !slices.Equal(told, want) {
		t.Errorf("told of %q, want %q", told, want)
	}
}

// TestAllAtOnce: replicas that start at once on an empty database all come up.
func TestAllAtOnce(t *testing.T) {
	t.Parallel()
	database := pgtest.Start(t)
	const replicas = 6
	var (
		up    sync.WaitGroup
		ready = make(chan struct{})
		errs  [replicas]error
	)
	for i := range replicas {
		pool, err := pgxpool.New(t.Context(), database)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(pool.Close)
		if err := pool.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		up.Go(func() {
			<-ready
			_, errs[i] = New(t.Context(), Config{
				PG: pool, Executor: fmt.Sprint(i), Logger: slog.New(slog.DiscardHandler), Run: func(*Run) error { return nil },
			})
		})
	}
	close(ready)
	up.Wait()
	for i, err := range errs {
		if err != nil {
			t.Errorf("replica %d: %v", i, err)
		}
	}
}
