package store_test

import (
	"context"
	"testing"
	"time"

	"grace/internal/store"
)

// TestSpend: what counts once counts once until its time is over.
func TestSpend(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		spend := func(id string, until time.Time) (first bool) {
			t.Helper()
			err := s.Do(t.Context(), func(ctx context.Context, tx store.Tx) (err error) {
				first, err = s.Spend(ctx, tx, id, until)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			return first
		}
		now := t0
		if !spend("a", now.Add(time.Hour)) || spend("a", now.Add(time.Hour)) || !spend("b", now.Add(-time.Hour)) {
			t.Error("a counts once, b for the first time")
		}
		if !spend("b", now.Add(time.Hour)) {
			t.Error("b's time was over")
		}
		if spent, err := s.Spent(t.Context(), s.Q(), "a"); err != nil || !spent {
			t.Errorf("a: %t, %v", spent, err)
		}
	})
}
