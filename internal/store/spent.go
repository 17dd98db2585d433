package store

import (
	"context"
	"fmt"
	"time"

	"grace/internal/event"
)

// Spend remembers until a time that what counts once has counted: a signed
// request, a session that was ended. It gives whether this was the first time.
func (s *Store) Spend(ctx context.Context, tx Tx, id string, until time.Time) (first bool, err error) {
	if _, err := tx.Exec(ctx, s.sql("DELETE FROM grace_spent WHERE until <= $1"), millis(s.now())); err != nil {
		return false, fmt.Errorf("spend %s: %w", id, err)
	}
	result, err := tx.Exec(ctx, s.sql("INSERT INTO grace_spent (id, until) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING"), clean(id), millis(until))
	if err != nil {
		return false, fmt.Errorf("spend %s: %w", id, err)
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

// Spent tells whether Spend was called for what counts once.
func (s *Store) Spent(ctx context.Context, q Querier, id string) (bool, error) {
	var n int
	if err := q.QueryRow(ctx, s.sql("SELECT count(*) FROM grace_spent WHERE id = $1"), clean(id)).Scan(&n); err != nil {
		return false, fmt.Errorf("look up whether %s counted: %w", id, err)
	}
	return n > 0, nil
}

// EndSession remembers, until its cookie would have ended by itself, that a
// session is over: a copy of the cookie opens nothing any more, on any replica.
func (s *Store) EndSession(ctx context.Context, actor, id string, until time.Time) error {
	err := s.Do(ctx, func(ctx context.Context, tx Tx) error {
		if first, err := s.Spend(ctx, tx, "session/"+id, until); err != nil || !first {
			return err
		}
		return s.Append(ctx, tx, event.SessionEnded{ID: id, Actor: actor, At: s.now()})
	})
	if err != nil {
		return fmt.Errorf("end the session: %w", err)
	}
	return nil
}

// SessionEnded tells whether EndSession was called for a session.
func (s *Store) SessionEnded(ctx context.Context, q Querier, id string) (bool, error) {
	return s.Spent(ctx, q, "session/"+id)
}
