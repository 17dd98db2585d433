package store_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"grace/internal/patience"
	"grace/internal/pgtest"
	"grace/internal/store"
)

func openReplica(t *testing.T, url string, now func() time.Time) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{URL: url, AuditKey: []byte("k"), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestClaim(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := openReplica(t, pgtest.Start(t), func() time.Time { return now })
	for _, step := range []struct {
		after time.Duration
		owner string
		want  bool
	}{
		{0, "a", true}, {time.Second, "b", false}, {time.Second, "a", true}, {9 * time.Second, "b", false}, {time.Second, "b", true}, {0, "a", false},
	} {
		now = now.Add(step.after)
		got, err := s.Claim(t.Context(), "notify", step.owner, 10*time.Second)
		if err != nil || got != step.want {
			t.Errorf("%s at %s: %v %v, want %v", step.owner, now.Format(time.TimeOnly), got, err, step.want)
		}
	}
	if got, err := s.Claim(t.Context(), "other", "a", time.Second); err != nil || !got {
		t.Errorf("another piece of work: %v %v", got, err)
	}
}

// TestFrozenInTransaction: a replica that stands still with a lock in its hand
// loses it, and its transaction with it.
func TestFrozenInTransaction(t *testing.T) {
	url := pgtest.Start(t)
	frozen := openReplica(t, url, nil)
	other := openReplica(t, url, nil)
	locked, thaw, result := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		result <- frozen.Do(t.Context(), func(ctx context.Context, tx store.Tx) error {
			if err := frozen.LockDeciding(ctx, tx); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, "SET LOCAL idle_in_transaction_session_timeout = 300"); err != nil {
				return err
			}
			close(locked)
			<-thaw
			_, err := tx.Exec(ctx, "SELECT 1")
			return err
		})
	}()
	<-locked
	ctx, cancel := patience.Context(t)
	defer cancel()
	if err := other.Do(ctx, func(ctx context.Context, tx store.Tx) error { return other.LockDeciding(ctx, tx) }); err != nil {
		t.Errorf("the lock of one that stands still: %v", err)
	}
	close(thaw)
	if err := <-result; err == nil {
		t.Error("the transaction of one that stood still went through")
	}
	var limit string
	if err := other.PG().QueryRow(t.Context(), "SHOW idle_in_transaction_session_timeout").Scan(&limit); err != nil || limit != "5s" {
		t.Errorf("the limit is %q, %v", limit, err)
	}
}

// TestSevered: a connection that ends without a word is an error of the
// network, which the engine tries again after.
func TestSevered(t *testing.T) {
	url := pgtest.Start(t)
	watch := openReplica(t, url, nil)
	proxy := pgtest.NewProxy(t, url)
	s := openReplica(t, proxy.URL(), nil)
	result := make(chan error, 1)
	go func() {
		result <- s.Do(t.Context(), func(ctx context.Context, tx store.Tx) error {
			var slept string
			return tx.QueryRow(ctx, "SELECT pg_sleep(30)").Scan(&slept)
		})
	}()
	for running := 0; running == 0; {
		err := watch.PG().QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(30)' AND state = 'active'").Scan(&running)
		if err != nil {
			t.Fatal(err)
		}
	}
	proxy.Cut()
	err := <-result
	if _, isNetwork := errors.AsType[net.Error](err); !isNetwork {
		t.Errorf("%T %v", err, err)
	}
}
