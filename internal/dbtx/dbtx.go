// Package dbtx is the transaction that store, loop and flow hand each other: the
// little of SQL that SQLite and PostgreSQL, their drivers and the durable engine
// have in common.
//
//	store.Do (database/sql, pgx) -> Tx -> flow.Enqueue, flow.Send -> the engine
//	the engine -> flow.Tx, flow.Step -> Tx -> store.Apply
//
// Package store makes a [Tx] of either driver's. Package flow makes one of the
// engine's, and makes the engine take any other: nobody else knows the engine.
// Only who began a transaction commits it or rolls it back.
//
// A Tx is for one goroutine, and its [Rows] are closed before its next query.
// Errors are the driver's, for errors.As: whether to try again is read from them.
// A row that is not there is [ErrNoRows] with every implementation.
package dbtx

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// ErrNoRows is what Row.Scan gives when nothing matched, to be asked for with
// errors.Is. It is pgx's, since that is what the engine asks for.
var ErrNoRows = pgx.ErrNoRows

// Querier reads and writes, in a transaction or each statement by itself.
// Parameters are $1, $2 and so on.
type Querier interface {
	Exec(ctx context.Context, query string, args ...any) (Result, error)
	Query(ctx context.Context, query string, args ...any) (Rows, error)
	QueryRow(ctx context.Context, query string, args ...any) Row
}

// Tx is an open transaction.
type Tx interface {
	Querier
	Commit(ctx context.Context) error
	Rollback(ctx context.Context) error
	// OnCommit has f called once it is known that the transaction was committed; never
	// when it was not, and perhaps not even then.
	OnCommit(f func())
}

// Commits is OnCommit for who makes a [Tx] or commits it.
type Commits struct{ then []func() }

// OnCommit meets [Tx].
func (c *Commits) OnCommit(f func()) { c.then = append(c.then, f) }

// Committed tells that the transaction was.
func (c *Commits) Committed() {
	for _, f := range c.then {
		f()
	}
}

// Result is what a write has done.
type Result interface {
	RowsAffected() (int64, error)
}

// Row is a row to be read. The one of QueryRow is read once, which closes it.
type Row interface {
	Scan(dest ...any) error
}

// Rows is a [Row] at a time, from the first Next on. After the last one Err tells
// whether there would have been more.
type Rows interface {
	Row
	Next() bool
	Err() error
	Close() error
}
