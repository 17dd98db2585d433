package store

import (
	"context"
	"errors"

	"grace"
	"grace/internal/event"
)

// writeAborts keeps the first request for each run.
func (s *Store) writeAborts(b *batch, r *event.Rows) error {
	for _, a := range r.Aborts {
		doc, err := encode(a)
		if err != nil {
			return err
		}
		b.exec("run "+string(a.Run), `INSERT INTO grace_aborts (run, at, doc) VALUES ($1, $2, $3)
			ON CONFLICT (run) DO NOTHING`, clean(string(a.Run)), millis(a.At), doc)
	}
	return nil
}

// Abort gives the request to abort a run, or nil.
func (s *Store) Abort(ctx context.Context, q Querier, run grace.RunID) (*grace.AbortRequest, error) {
	a, err := docOf[grace.AbortRequest](ctx, s, q, "abort request of run "+string(run),
		"SELECT doc FROM grace_aborts WHERE run = $1", clean(string(run)))
	if errors.Is(err, ErrNotFound) {
		return nil, nil //nolint:nilnil // no request is the ordinary case, not an error
	}
	if err != nil {
		return nil, err
	}
	return &a, nil
}
