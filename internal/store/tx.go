package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"grace/internal/dbtx"
)

// Tx is a transaction on either database: one of [Store.Do] or of the engine.
type Tx = dbtx.Tx

// Querier reads: a [Tx], or [Store.Q].
type Querier = dbtx.Querier

var (
	_ Tx      = sqlTx{}
	_ Tx      = pgTx{}
	_ Querier = sqlQuerier{}
	_ Querier = pgQuerier{}
)

// sqlConn is what *sql.DB and *sql.Tx have in common.
type sqlConn interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

type sqlQuerier struct{ c sqlConn }

func (q sqlQuerier) Exec(ctx context.Context, query string, args ...any) (dbtx.Result, error) {
	return q.c.ExecContext(ctx, query, args...)
}

func (q sqlQuerier) Query(ctx context.Context, query string, args ...any) (dbtx.Rows, error) {
	rows, err := q.c.QueryContext(ctx, query, args...) //nolint:rowserrcheck // the reader asks
	if err != nil {
		return nil, err
	}
	return rows, nil
}

func (q sqlQuerier) QueryRow(ctx context.Context, query string, args ...any) dbtx.Row {
	return sqlRow{q.c.QueryRowContext(ctx, query, args...)}
}

type sqlRow struct{ r *sql.Row }

func (r sqlRow) Scan(dest ...any) error {
	err := r.r.Scan(dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return dbtx.ErrNoRows
	}
	return err
}

type sqlTx struct {
	sqlQuerier
	*dbtx.Commits

	tx *sql.Tx
}

func newSQLTx(tx *sql.Tx) Tx { return sqlTx{sqlQuerier{tx}, &dbtx.Commits{}, tx} }

func (t sqlTx) Commit(context.Context) error   { return committed(t.Commits, t.tx.Commit()) }
func (t sqlTx) Rollback(context.Context) error { return t.tx.Rollback() }

func committed(c *dbtx.Commits, err error) error {
	if err == nil {
		c.Committed()
	}
	return err
}

// pgConn is what *pgxpool.Pool and pgx.Tx have in common.
type pgConn interface {
	Exec(ctx context.Context, query string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, query string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, query string, args ...any) pgx.Row
}

var _ pgConn = (*pgxpool.Pool)(nil)

type pgQuerier struct{ c pgConn }

func (q pgQuerier) Exec(ctx context.Context, query string, args ...any) (dbtx.Result, error) {
	tag, err := q.c.Exec(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return pgResult(tag.RowsAffected()), nil
}

func (q pgQuerier) Query(ctx context.Context, query string, args ...any) (dbtx.Rows, error) {
	rows, err := q.c.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return pgRows{rows}, nil
}

func (q pgQuerier) QueryRow(ctx context.Context, query string, args ...any) dbtx.Row {
	return q.c.QueryRow(ctx, query, args...)
}

type pgResult int64

func (r pgResult) RowsAffected() (int64, error) { return int64(r), nil }

type pgRows struct{ pgx.Rows }

func (r pgRows) Close() error {
	r.Rows.Close()
	return nil
}

type pgTx struct {
	pgQuerier
	*dbtx.Commits

	tx pgx.Tx
}

func newPgTx(tx pgx.Tx) Tx { return pgTx{pgQuerier{tx}, &dbtx.Commits{}, tx} }

func (t pgTx) Commit(ctx context.Context) error   { return committed(t.Commits, t.tx.Commit(ctx)) }
func (t pgTx) Rollback(ctx context.Context) error { return t.tx.Rollback(ctx) }
