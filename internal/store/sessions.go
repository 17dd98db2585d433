package store

import (
	"context"
	"fmt"
	"time"

	"grace"
)

// EndSession remembers, until its cookie would have ended by itself, that a
// session is over: a copy of the cookie opens nothing any more, on any replica.
func (s *Store) EndSession(ctx context.Context, actor, id string, until time.Time) error {
	now := s.now()
	err := s.Do(ctx, func(ctx context.Context, tx Tx) error {
		if _, err := tx.Exec(ctx, s.sql("DELETE FROM grace_ended_sessions WHERE until <= $1"), millis(now)); err != nil {
			return err
		}
		result, err := tx.Exec(ctx, s.sql("INSERT INTO grace_ended_sessions (id, until) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING"), clean(id), millis(until))
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			return err
		}
		return s.Apply(ctx, tx, grace.Change{Audit: []grace.AuditEntry{{At: now, Actor: actor, Action: "session.ended", Object: "session/" + id}}})
	})
	if err != nil {
		return fmt.Errorf("end the session: %w", err)
	}
	return nil
}

// SessionEnded tells whether EndSession was called for a session.
func (s *Store) SessionEnded(ctx context.Context, q Querier, id string) (bool, error) {
	var n int
	if err := q.QueryRow(ctx, s.sql("SELECT count(*) FROM grace_ended_sessions WHERE id = $1"), clean(id)).Scan(&n); err != nil {
		return false, fmt.Errorf("look the session up: %w", err)
	}
	return n > 0, nil
}
