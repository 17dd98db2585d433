package store

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"grace/internal/dbtx"
)

// batch collects statements, to be sent together where the transaction can: every round
// trip to the server lengthens the time that others wait for its locks.
type batch struct {
	dialect dialect
	part    string // what the statements that are added write
	list    []statement
}

type statement struct {
	part, about string // for its error
	text        string // as the dialect wants it
	args        []any
	check       func(changed int64) error // nil: any number of rows will do
	into        []any                     // where the one row goes that it gives; nil: it gives none
}

// batcher is a transaction that sends many statements in one round trip.
type batcher interface {
	sendBatch(ctx context.Context, list []statement) error
}

var _ batcher = pgTx{}

func (b *batch) add(st statement) {
	st.part = b.part
	b.list = append(b.list, st)
}

// exec adds a statement as the source has it; about, which may be empty, begins its
// error.
func (b *batch) exec(about, text string, args ...any) {
	b.add(statement{about: about, text: b.dialect.sql(text), args: args})
}

// send runs the statements in their order up to the first error, after which the
// transaction is to be rolled back, and empties the batch.
func (b *batch) send(ctx context.Context, tx Tx) error {
	list := b.list
	b.list = nil
	if t, ok := tx.(batcher); ok && len(list) > 1 {
		return t.sendBatch(ctx, list)
	}
	for i := range list {
		st := &list[i]
		err := st.done(
			func() (dbtx.Result, error) { return tx.Exec(ctx, st.text, st.args...) },
			func() dbtx.Row { return tx.QueryRow(ctx, st.text, st.args...) })
		if err != nil {
			return err
		}
	}
	return nil
}

func (t pgTx) sendBatch(ctx context.Context, list []statement) (err error) {
	var b pgx.Batch
	for i := range list {
		b.Queue(list[i].text, list[i].args...)
	}
	results := t.tx.SendBatch(ctx, &b)
	defer func() {
		if closing := results.Close(); err == nil {
			err = closing
		}
	}()
	for i := range list {
		err := list[i].done(
			func() (dbtx.Result, error) {
				tag, err := results.Exec()
				return pgResult(tag.RowsAffected()), err
			},
			func() dbtx.Row { return results.QueryRow() })
		if err != nil {
			return err
		}
	}
	return nil
}

// done takes what a statement has given or changed.
func (st *statement) done(exec func() (dbtx.Result, error), row func() dbtx.Row) error {
	err := st.take(exec, row)
	if err != nil && st.about != "" {
		err = fmt.Errorf("%s: %w", st.about, err)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", st.part, err)
	}
	return nil
}

func (st *statement) take(exec func() (dbtx.Result, error), row func() dbtx.Row) error {
	if st.into != nil {
		return row().Scan(st.into...)
	}
	result, err := exec()
	if err != nil || st.check == nil {
		return err
	}
	n, err := result.RowsAffected()
	if err != nil {
		return err
	}
	return st.check(n)
}
