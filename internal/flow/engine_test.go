package flow

import (
	"fmt"
	"log/slog"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"grace/internal/pgtest"
)

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
