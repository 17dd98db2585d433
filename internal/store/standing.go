package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"grace"
	"grace/internal/dbtx"
)

// Standing is what decisions look at, whatever they are about.
type Standing struct {
	Mode      grace.ModeSetting
	Open      []RunHead        // that have not ended, oldest first
	Silences  []grace.Silence  // that end after the time asked for
	Incidents []grace.Incident // that are not resolved, oldest first
}

const (
	selectMode          = "SELECT revision, doc, seal FROM grace_mode WHERE id = 1"
	selectOpenRunHeads  = selectRunHead + " WHERE open = 1 ORDER BY created_at, id"
	selectSilences      = "SELECT id, doc, seal FROM grace_silences WHERE ends_at > $1 ORDER BY ends_at, id"
	selectOpenIncidents = "SELECT doc FROM grace_incidents WHERE state = 'open' ORDER BY at, id"
	lockDeciding        = "SELECT pg_advisory_xact_lock($1)"
)

// Standing reads what decisions look at.
func (s *Store) Standing(ctx context.Context, q Querier, now time.Time) (st Standing, err error) {
	if st.Mode, err = s.Mode(ctx, q); err != nil {
		return st, err
	}
	if st.Open, err = s.OpenRunHeads(ctx, q); err != nil {
		return st, err
	}
	if st.Silences, err = s.Silences(ctx, q, now); err != nil {
		return st, err
	}
	st.Incidents, err = s.OpenIncidents(ctx, q)
	return st, err
}

// StandingToDecide takes the lock of deciding and then reads, on PostgreSQL in one round
// trip: others wait for each that is made under the lock.
func (s *Store) StandingToDecide(ctx context.Context, tx Tx, now time.Time) (st Standing, err error) {
	pg, is := tx.(pgTx)
	if !is {
		if err := s.LockDeciding(ctx, tx); err != nil {
			return st, err
		}
		return s.Standing(ctx, tx, now)
	}
	a := pg.sendAhead(ctx, []query{
		{lockDeciding, []any{int64(decidingLock)}},
		{s.sql(selectMode), nil},
		{s.sql(selectOpenRunHeads), nil},
		{s.sql(selectSilences), []any{millis(now)}},
		{s.sql(selectOpenIncidents), nil},
	})
	defer func() {
		if closing := a.results.Close(); err == nil {
			err = closing
		}
	}()
	if err := s.LockDeciding(ctx, a); err != nil {
		return st, err
	}
	return s.Standing(ctx, a, now)
}

type query struct {
	text string
	args []any
}

// ahead answers queries that were sent before they are asked, in their order.
type ahead struct {
	queries []query
	results pgx.BatchResults
}

var _ Querier = (*ahead)(nil)

func (t pgTx) sendAhead(ctx context.Context, queries []query) *ahead {
	var b pgx.Batch
	for _, q := range queries {
		b.Queue(q.text, q.args...)
	}
	return &ahead{queries, t.tx.SendBatch(ctx, &b)}
}

func (a *ahead) next(text string) error {
	if len(a.queries) == 0 || a.queries[0].text != text {
		return fmt.Errorf("not sent ahead at this place: %s", text)
	}
	a.queries = a.queries[1:]
	return nil
}

// Exec gives the result of the next query.
func (a *ahead) Exec(_ context.Context, text string, _ ...any) (dbtx.Result, error) {
	if err := a.next(text); err != nil {
		return nil, err
	}
	tag, err := a.results.Exec()
	return pgResult(tag.RowsAffected()), err
}

// Query gives the rows of the next query.
func (a *ahead) Query(_ context.Context, text string, _ ...any) (dbtx.Rows, error) {
	if err := a.next(text); err != nil {
		return nil, err
	}
	rows, err := a.results.Query()
	if err != nil {
		return nil, err
	}
	return pgRows{rows}, nil
}

// QueryRow gives the row of the next query.
func (a *ahead) QueryRow(_ context.Context, text string, _ ...any) dbtx.Row {
	if err := a.next(text); err != nil {
		return failed{err}
	}
	return a.results.QueryRow()
}

// failed is a row that there is not.
type failed struct{ err error }

func (f failed) Scan(...any) error { return f.err }
