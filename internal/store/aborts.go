package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/dbos-inc/dbos-transact-golang/dbos"

	"grace"
)

// writeAborts keeps the first request for each run.
func (s *Store) writeAborts(ctx context.Context, tx Tx, c *grace.Change) error {
	for _, a := range c.Aborts {
		doc, err := encode(a)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO grace_aborts (run, at, doc) VALUES ($1, $2, $3) ON CONFLICT (run) DO NOTHING`,
			string(a.Run), millis(a.At), doc)
		if err != nil {
			return fmt.Errorf("run %s: %w", a.Run, err)
		}
	}
	return nil
}

// Abort gives the request to abort a run, or nil.
func (s *Store) Abort(ctx context.Context, q Querier, run grace.RunID) (*grace.AbortRequest, error) {
	var doc string
	err := q.QueryRow(ctx, `SELECT doc FROM grace_aborts WHERE run = $1`, string(run)).Scan(&doc)
	if errors.Is(err, dbos.ErrNoRows) {
		return nil, nil //nolint:nilnil // no request is the ordinary case, not an error
	}
	if err != nil {
		return nil, fmt.Errorf("read the abort request of run %s: %w", run, err)
	}
	var a grace.AbortRequest
	if err := json.Unmarshal([]byte(doc), &a); err != nil {
		return nil, fmt.Errorf("decode the abort request of run %s: %w", run, err)
	}
	return &a, nil
}
