package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"grace"
	"grace/internal/dbtx"
	"grace/internal/event"
)

// Retention says how long rows are kept, table by table; zero is for ever.
// The audit log is always kept: its chain begins with its first entry.
type Retention struct {
	Signals     grace.Duration `json:"signals"`     // that are ok, since their last sample
	Triggers    grace.Duration `json:"triggers"`    // that are decided or cleared
	Decisions   grace.Duration `json:"decisions"`   // unless their run is open
	Runs        grace.Duration `json:"runs"`        // since they ended
	Approvals   grace.Duration `json:"approvals"`   // that are not pending
	Incidents   grace.Duration `json:"incidents"`   // that are resolved
	Predictions grace.Duration `json:"predictions"` // what became of them teaches after a restart
	Events      grace.Duration `json:"events"`
	Operations  grace.Duration `json:"operations"` // the operational log
	Learning    grace.Duration `json:"learning"`   // what GRACE knows: kept for ever by default
}

const day = grace.Duration(24 * time.Hour)

// DefaultRetention keeps what a person may ask about for 90 days, events,
// passed signals and the operational log for 7, and the learning log for ever.
func DefaultRetention() Retention {
	return Retention{
		Signals:     7 * day,
		Triggers:    90 * day,
		Decisions:   90 * day,
		Runs:        90 * day,
		Approvals:   90 * day,
		Incidents:   90 * day,
		Predictions: 90 * day,
		Events:      7 * day,
		Operations:  7 * day,
	}
}

// pruneBatch rows go in one transaction, so that others get their turn.
const pruneBatch = 500

// Prune removes what is older than r allows at now, and gives the number of
// rows removed by table. Every transaction that removes rows says so in the
// operational log.
func (s *Store) Prune(ctx context.Context, now time.Time, r Retention) (map[string]int64, error) {
	pruned := map[string]int64{}
	for _, t := range []struct {
		name, table, id, at, condition string
		keep                           grace.Duration
	}{
		{"signals", "grace_signals", "id", "at", "state = 'ok'", r.Signals},
		{"triggers", "grace_triggers", "id", "at", "state <> 'pending'", r.Triggers},
		{
			"decisions", "grace_decisions", "id", "at",
			"NOT EXISTS (SELECT 1 FROM grace_runs AS r WHERE r.id = run AND r.open = 1)", r.Decisions,
		},
		{"snapshots", "grace_snapshots", "at, id", "at", "1 = 1", r.Decisions},
		{"blobs", "grace_blobs", "digest", "used_at", "1 = 1", keepBlobs(r.Decisions)},
		{"runs", "grace_runs", "id", "ended_at", "open = 0", r.Runs},
		// After their runs, which they belong to.
		{
			"aborts", "grace_aborts", "run", "at",
			"NOT EXISTS (SELECT 1 FROM grace_runs AS r WHERE r.id = run)", r.Runs,
		},
		{"approvals", "grace_approvals", "id", "at", "state <> 'pending'", r.Approvals},
		{"raised", "grace_raised", "service || '/' || actor", "at", "1 = 1", r.Signals},
		{"incidents", "grace_incidents", "id", "at", "state <> 'open'", r.Incidents},
		{"silences", "grace_silences", "id", "ends_at", "1 = 1", r.Incidents},
		{"predictions", "grace_predictions", "id", "at", "1 = 1", r.Predictions},
		{"events", "grace_events", "id", "at", numbered, r.Events},
		{"operations", "grace_operations", "id", "at", numbered, r.Operations},
		// What was said of incidents goes with them.
		{"dead letters", "grace_dead_letters", "id", "at", "1 = 1", r.Incidents},
		// Who was told of what is open is told of its end, however late that is.
		{
			"threads", "grace_notify_refs", "id", "at",
			"NOT EXISTS (SELECT 1 FROM grace_incidents AS i WHERE i.state = 'open' AND i.at <= grace_notify_refs.at)", r.Incidents,
		},
		{"learning", "grace_learning", "id", "at", "1 = 1", r.Learning},
	} {
		if t.keep <= 0 {
			continue
		}
		before := now.Add(-t.keep.D())
		if t.condition == numbered {
			var err error
			if t.condition, err = s.numberedBefore(ctx, t.table, before, now); err != nil {
				return pruned, fmt.Errorf("prune %s: %w", t.name, err)
			}
		}
		text := s.sql("DELETE FROM " + t.table + " WHERE (" + t.id + ") IN (SELECT " + t.id + " FROM " + t.table +
			" WHERE " + t.at + " < $1 AND " + t.condition + " LIMIT $2)")
		for {
			n, err := s.pruneOnce(ctx, t.name, text, before, now)
			if err != nil {
				return pruned, fmt.Errorf("prune %s: %w", t.name, err)
			}
			if n > 0 {
				pruned[t.name] += n
			}
			if n < pruneBatch {
				break
			}
		}
	}
	return pruned, nil
}

// numbered stands for the condition on a table that has no index by time: rows are
// numbered in the order in which they are written.
const numbered = ""

// numberedBefore gives the condition that a row was written before the first one of a
// time. What is dated ahead of now, from before the clock was set back, is not taken for
// that one.
func (s *Store) numberedBefore(ctx context.Context, table string, at, now time.Time) (string, error) {
	var first int64
	err := s.Q().QueryRow(ctx, s.sql("SELECT id FROM "+table+" WHERE at >= $1 AND at <= $2 ORDER BY id LIMIT 1"), millis(at), millis(now)).Scan(&first)
	if errors.Is(err, dbtx.ErrNoRows) {
		return "1 = 1", nil
	}
	return "id < " + strconv.FormatInt(first, 10), err
}

func (s *Store) pruneOnce(ctx context.Context, name, text string, before, now time.Time) (n int64, err error) {
	err = s.Do(ctx, func(ctx context.Context, tx Tx) error {
		result, err := tx.Exec(ctx, text, millis(before), pruneBatch)
		if err != nil {
			return err
		}
		if n, err = result.RowsAffected(); err != nil || n == 0 {
			return err
		}
		return s.Append(ctx, tx, event.Pruned{Table: name, Rows: n, Before: before, At: now})
	})
	return n, err
}
