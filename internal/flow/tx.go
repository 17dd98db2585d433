package flow

import (
	"context"

	"github.com/dbos-inc/dbos-transact-golang/dbos"

	"grace/internal/dbtx"
)

// The engine's interfaces and ours have the same methods, yet a dbos.Tx is not a
// dbtx.Tx: the two return results and rows of types of their own. Those types have
// the same methods too, with nothing but plain types in them, so results, rows and
// errors pass through as they are.

// ourTx is a transaction of the engine, for our code.
type ourTx struct {
	dbos.Tx
	*dbtx.Commits
}

func (t ourTx) Exec(ctx context.Context, query string, args ...any) (dbtx.Result, error) {
	return t.Tx.Exec(ctx, query, args...)
}

func (t ourTx) Query(ctx context.Context, query string, args ...any) (dbtx.Rows, error) {
	return t.Tx.Query(ctx, query, args...)
}

func (t ourTx) QueryRow(ctx context.Context, query string, args ...any) dbtx.Row {
	return t.Tx.QueryRow(ctx, query, args...)
}

// engineTx is a transaction of ours, for the engine.
type engineTx struct{ dbtx.Tx }

func (t engineTx) Exec(ctx context.Context, query string, args ...any) (dbos.Result, error) {
	return t.Tx.Exec(ctx, query, args...)
}

func (t engineTx) Query(ctx context.Context, query string, args ...any) (dbos.Rows, error) {
	return t.Tx.Query(ctx, query, args...)
}

func (t engineTx) QueryRow(ctx context.Context, query string, args ...any) dbos.Row {
	return t.Tx.QueryRow(ctx, query, args...)
}

// The engine's options take a transaction as any and check it when they run, so
// the compiler has to be asked here.
var (
	_ dbtx.Tx = ourTx{}
	_ dbos.Tx = engineTx{}
)
