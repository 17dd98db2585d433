package store

import (
	"context"
	"fmt"
	"time"

	"grace"
)

// Raise notes that somebody said something about a service, so that it can be
// told later who reported the condition that a run is about.
func (s *Store) Raise(ctx context.Context, actor string, service grace.ServiceID) error {
	now := millis(s.now())
	_, err := s.Q().Exec(ctx, s.sql(`INSERT INTO grace_raised (service, actor, at) VALUES ($1, $2, $3)
		ON CONFLICT (service, actor) DO UPDATE SET at = excluded.at`), clean(string(service)), clean(actor), now)
	if err != nil {
		return fmt.Errorf("note who reported about %s: %w", service, err)
	}
	return nil
}

// Raised tells whether somebody said something about a service since a time.
func (s *Store) Raised(ctx context.Context, q Querier, actor string, service grace.ServiceID, since time.Time) (bool, error) {
	var n int
	err := q.QueryRow(ctx, s.sql("SELECT count(*) FROM grace_raised WHERE service = $1 AND actor = $2 AND at >= $3"),
		clean(string(service)), clean(actor), millis(since)).Scan(&n)
	if err != nil {
		return false, fmt.Errorf("look who reported about %s: %w", service, err)
	}
	return n > 0, nil
}
