package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"grace"
	"grace/internal/dbtx"
)

// RunFilter selects runs; zero fields select all. From and To bound the time
// of creation, To excluded.
type RunFilter struct {
	State    grace.RunStatus
	Service  grace.ServiceID
	Playbook grace.PlaybookID
	From, To time.Time
	Open     *bool
}

// Run reads one run; it wraps ErrNotFound.
func (s *Store) Run(ctx context.Context, q Querier, id grace.RunID) (grace.Run, error) {
	return docOf[grace.Run](ctx, s, q, "run "+string(id), "SELECT doc FROM grace_runs WHERE id = $1", clean(string(id)))
}

// Runs reads a page of runs, newest first.
func (s *Store) Runs(ctx context.Context, q Querier, f RunFilter, p Page) (runs []grace.Run, next string, err error) {
	var w where
	// Literals, so that the partial indexes are used.
	which := map[bool]string{true: "open = 1", false: "open = 0"}
	if f.State != "" {
		w.equal("state", string(f.State))
		w.add(which[!f.State.Terminal()])
	}
	w.equal("service", string(f.Service))
	w.equal("playbook", string(f.Playbook))
	w.between("created_at", f.From, f.To)
	if f.Open != nil {
		w.add(which[*f.Open])
	}
	return pageOf[grace.Run](ctx, s, q, table{"grace_runs", "created_at"}, w, p)
}

// OpenRuns reads all runs that have not ended, oldest first.
func (s *Store) OpenRuns(ctx context.Context, q Querier) ([]grace.Run, error) {
	return docsOf[grace.Run](ctx, s, q, "open runs",
		"SELECT doc FROM grace_runs WHERE open = 1 ORDER BY created_at, id")
}

// RunHead is what limits and key figures need of a run, read without its
// document.
type RunHead struct {
	ID          grace.RunID
	State       grace.RunStatus
	Service     grace.ServiceID
	Playbook    grace.PlaybookID
	Code        grace.Code
	Kind        grace.TriggerKind
	Cone        []grace.ServiceID
	SickSince   time.Time // the oldest symptom
	CreatedAt   time.Time
	EndedAt     *time.Time
	RecoveredIn time.Duration // of a succeeded run; 0 where nothing had been wrong, or what healed it cannot be told
	Auto        bool          // approved by the trust core, not by a person
	Undone      bool          // an undo was begun, however it ended
	Aborted     bool          // a person asked it to stop
}

const selectRunHead = `SELECT id, state, service, playbook, code, kind, cone, sick_since, created_at, ended_at, recovered_in,
	auto = 1, undone = 1, EXISTS (SELECT 1 FROM grace_aborts AS a WHERE a.run = grace_runs.id) FROM grace_runs`

// OpenRunHeads reads the heads of all runs that have not ended, oldest first.
func (s *Store) OpenRunHeads(ctx context.Context, q Querier) ([]RunHead, error) {
	return s.runHeads(ctx, q, s.sql(selectOpenRunHeads))
}

// RunHeadsActive reads the heads of the runs created or ended at or after a
// time, oldest first.
func (s *Store) RunHeadsActive(ctx context.Context, q Querier, since time.Time) ([]RunHead, error) {
	// Not with OR, for which SQLite reads every run there ever was.
	return s.runHeads(ctx, q, s.sql(selectRunHead+" WHERE created_at >= $1 UNION ALL "+
		selectRunHead+" WHERE ended_at >= $2 AND created_at < $3 ORDER BY created_at, id"), millis(since), millis(since), millis(since))
}

// RunHeadFilter selects heads; the zero one selects all.
type RunHeadFilter struct {
	Service grace.ServiceID
	Since   time.Time // of creation
}

// RunHeads reads the heads of runs, oldest first.
func (s *Store) RunHeads(ctx context.Context, q Querier, f RunHeadFilter) ([]RunHead, error) {
	var w where
	w.equal("service", string(f.Service))
	w.between("created_at", f.Since, time.Time{})
	return s.runHeads(ctx, q, s.sql(selectRunHead+w.String()+" ORDER BY created_at, id"), w.args...)
}

func (s *Store) runHeads(ctx context.Context, q Querier, text string, args ...any) ([]RunHead, error) {
	var heads []RunHead
	err := each(ctx, q, text, args, func(row dbtx.Row) error {
		var h RunHead
		var cone string
		var since, created, recovered int64
		var ended *int64
		err := row.Scan((*string)(&h.ID), (*string)(&h.State), (*string)(&h.Service), (*string)(&h.Playbook),
			(*string)(&h.Code), (*string)(&h.Kind), &cone, &since, &created, &ended, &recovered, &h.Auto, &h.Undone, &h.Aborted)
		if err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(cone), &h.Cone); err != nil {
			return fmt.Errorf("cone of %s: %w", h.ID, err)
		}
		h.SickSince, h.CreatedAt, h.EndedAt = fromMillis(since), fromMillis(created), fromOptionalMillis(ended)
		h.RecoveredIn = time.Duration(recovered) * time.Millisecond
		heads = append(heads, h)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read runs: %w", err)
	}
	return heads, nil
}
