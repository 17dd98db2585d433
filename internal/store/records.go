package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"grace"
	"grace/internal/dbtx"
)

// Trigger reads one trigger; it wraps ErrNotFound.
func (s *Store) Trigger(ctx context.Context, q Querier, id grace.TriggerID) (grace.Trigger, error) {
	return docOf[grace.Trigger](ctx, s, q, "trigger "+string(id), "SELECT doc FROM grace_triggers WHERE id = $1", clean(string(id)))
}

// PendingTriggers reads the oldest triggers that wait for a decision.
func (s *Store) PendingTriggers(ctx context.Context, q Querier, limit int) ([]grace.Trigger, error) {
	return docsOf[grace.Trigger](ctx, s, q, "pending triggers", `SELECT doc FROM grace_triggers
		WHERE state = 'pending' ORDER BY at, id LIMIT $1`, limit)
}

// PendingTriggerIDs names all triggers that wait for a decision.
func (s *Store) PendingTriggerIDs(ctx context.Context, q Querier) (ids []grace.TriggerID, err error) {
	err = each(ctx, q, s.sql("SELECT id FROM grace_triggers WHERE state = 'pending'"), nil, func(row dbtx.Row) error {
		var id string
		err := row.Scan(&id)
		ids = append(ids, grace.TriggerID(id))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read which triggers wait: %w", err)
	}
	return ids, nil
}

// TriggerFilter selects triggers; zero fields select all.
type TriggerFilter struct {
	State    grace.TriggerState
	Service  grace.ServiceID
	Kind     grace.TriggerKind
	From, To time.Time
}

// Triggers reads a page of triggers, newest first.
func (s *Store) Triggers(ctx context.Context, q Querier, f TriggerFilter, p Page) (triggers []grace.Trigger, next string, err error) {
	var w where
	w.equal("state", string(f.State))
	w.equal("service", string(f.Service))
	w.equal("kind", string(f.Kind))
	w.between("at", f.From, f.To)
	return pageOf[grace.Trigger](ctx, s, q, table{"grace_triggers", "at"}, w, p)
}

// Signals reads the current signals of a service, of all services when it is
// empty, sorted by key.
func (s *Store) Signals(ctx context.Context, q Querier, service grace.ServiceID) ([]grace.Signal, error) {
	if service == "" {
		return docsOf[grace.Signal](ctx, s, q, "signals", "SELECT doc FROM grace_signals ORDER BY id")
	}
	return docsOf[grace.Signal](ctx, s, q, "signals", "SELECT doc FROM grace_signals WHERE service = $1 ORDER BY id",
		clean(string(service)))
}

// Silences reads the silences that end after a time, ended ones included, the
// next to end first.
func (s *Store) Silences(ctx context.Context, q Querier, after time.Time) ([]grace.Silence, error) {
	var out []grace.Silence
	err := each(ctx, q, s.sql(selectSilences), []any{millis(after)}, func(row dbtx.Row) error {
		var id, doc, seal string
		if err := row.Scan(&id, &doc, &seal); err != nil {
			return err
		}
		if s.sealed("silence "+id, seal, "grace_silences", id, doc) != nil {
			return nil //nolint:nilerr // it silences nothing; Forged was told
		}
		item, err := decode[grace.Silence]([]byte(doc))
		out = append(out, item)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read silences: %w", err)
	}
	return out, nil
}

// Silence reads one silence; it wraps ErrNotFound.
func (s *Store) Silence(ctx context.Context, q Querier, id grace.SilenceID) (grace.Silence, error) {
	return sealedDoc[grace.Silence](ctx, s, q, "silence "+string(id), "grace_silences", "id = $1", clean(string(id)))
}

// OpenIncidents reads all incidents that are not resolved, oldest first.
func (s *Store) OpenIncidents(ctx context.Context, q Querier) ([]grace.Incident, error) {
	return docsOf[grace.Incident](ctx, s, q, "open incidents", selectOpenIncidents)
}

// Decision reads one decision; it wraps ErrNotFound.
func (s *Store) Decision(ctx context.Context, q Querier, id grace.DecisionID) (grace.Decision, error) {
	return sealedDoc[grace.Decision](ctx, s, q, "decision "+string(id), "grace_decisions", "id = $1", clean(string(id)))
}

// LastDecision reads the newest decision about a service; it wraps ErrNotFound.
func (s *Store) LastDecision(ctx context.Context, q Querier, service grace.ServiceID) (grace.Decision, error) {
	return sealedDoc[grace.Decision](ctx, s, q, "decision about "+string(service), "grace_decisions",
		"service = $1 ORDER BY at DESC, id DESC LIMIT 1", clean(string(service)))
}

// DecisionFilter selects decisions; zero fields select all.
type DecisionFilter struct {
	Verdict  grace.Verdict
	Service  grace.ServiceID
	Run      grace.RunID
	From, To time.Time
}

// Decisions reads a page of decisions, newest first.
func (s *Store) Decisions(ctx context.Context, q Querier, f DecisionFilter, p Page) (decisions []grace.Decision, next string, err error) {
	var w where
	w.equal("verdict", string(f.Verdict))
	w.equal("service", string(f.Service))
	w.equal("run", string(f.Run))
	w.between("at", f.From, f.To)
	return pageOf[grace.Decision](ctx, s, q, table{"grace_decisions", "at"}, w, p)
}

// Approval reads one approval; it wraps ErrNotFound.
func (s *Store) Approval(ctx context.Context, q Querier, id grace.ApprovalID) (grace.Approval, error) {
	return sealedDoc[grace.Approval](ctx, s, q, "approval "+string(id), "grace_approvals", "id = $1", clean(string(id)))
}

// LockApproval reads one approval and keeps others from changing it until tx
// ends; it wraps ErrNotFound. Who writes it later in tx meets no ErrConflict.
func (s *Store) LockApproval(ctx context.Context, tx Tx, id grace.ApprovalID) (grace.Approval, error) {
	return sealedDoc[grace.Approval](ctx, s, tx, "approval "+string(id), "grace_approvals", "id = $1 /*lock*/", clean(string(id)))
}

// Approvals reads a page of approvals in a state, in any when it is empty,
// newest first.
func (s *Store) Approvals(ctx context.Context, q Querier, state grace.ApprovalState, p Page) (approvals []grace.Approval, next string, err error) {
	var w where
	w.equal("state", string(state))
	return pageOf[grace.Approval](ctx, s, q, table{"grace_approvals", "at"}, w, p)
}

// Incident reads one incident; it wraps ErrNotFound.
func (s *Store) Incident(ctx context.Context, q Querier, id grace.IncidentID) (grace.Incident, error) {
	return docOf[grace.Incident](ctx, s, q, "incident "+string(id), "SELECT doc FROM grace_incidents WHERE id = $1", clean(string(id)))
}

// IncidentFilter selects incidents; zero fields select all.
type IncidentFilter struct {
	State    grace.IncidentState
	Service  grace.ServiceID
	From, To time.Time
}

// Incidents reads a page of incidents, the last opened first.
func (s *Store) Incidents(ctx context.Context, q Querier, f IncidentFilter, p Page) (incidents []grace.Incident, next string, err error) {
	var w where
	if f.State == grace.IncidentOpen {
		w.add("state = 'open'") // a literal, so that the partial index is used
	} else {
		w.equal("state", string(f.State))
	}
	w.equal("service", string(f.Service))
	w.between("at", f.From, f.To)
	return pageOf[grace.Incident](ctx, s, q, table{"grace_incidents", "at"}, w, p)
}

// LearningFilter selects entries of the learning log; zero fields select all.
type LearningFilter struct {
	Service  grace.ServiceID
	Playbook grace.PlaybookID
	Code     grace.Code
	From, To time.Time
}

// Learning reads a page of the learning log, newest first.
func (s *Store) Learning(ctx context.Context, q Querier, f LearningFilter, p Page) (entries []grace.LearningEntry, next string, err error) {
	var w where
	w.equal("service", string(f.Service))
	w.equal("playbook", string(f.Playbook))
	w.equal("code", string(f.Code))
	w.between("at", f.From, f.To)
	return pageOf[grace.LearningEntry](ctx, s, q, table{"grace_learning", "at"}, w, p)
}

// LearningSince reads the learning log from a time on, oldest first.
func (s *Store) LearningSince(ctx context.Context, q Querier, t time.Time) ([]grace.LearningEntry, error) {
	return docsOf[grace.LearningEntry](ctx, s, q, "learning log",
		"SELECT doc FROM grace_learning WHERE at >= $1 ORDER BY at, id", millis(t))
}

// Mode reads the mode that was last set. On a store where none was, it gives
// the zero setting (revision 0), which is judged like observe only. So is one
// that does not carry GRACE's seal: it has its revision, and no mode.
func (s *Store) Mode(ctx context.Context, q Querier) (grace.ModeSetting, error) {
	var revision int
	var doc, seal string
	seen := int(s.modeSeen.Load()) // before: others set a mode meanwhile
	err := q.QueryRow(ctx, s.sql(selectMode)).Scan(&revision, &doc, &seal)
	switch {
	case errors.Is(err, dbtx.ErrNoRows) && seen == 0:
		return grace.ModeSetting{}, nil
	case errors.Is(err, dbtx.ErrNoRows):
		err = s.forged("the mode, which was deleted")
	case err != nil:
		return grace.ModeSetting{}, fmt.Errorf("read the mode: %w", err)
	default:
		err = s.sealed("the mode", seal, "grace_mode", strconv.Itoa(revision), doc)
		if err == nil && revision < seen && !s.olderView(ctx, seen) {
			err = s.forged("the mode, which was put back to an earlier one")
		}
	}
	if err != nil {
		return grace.ModeSetting{Reason: err.Error(), Revision: max(revision, seen)}, nil //nolint:nilerr // observe only is the answer; Forged was told
	}
	raise(&s.modeSeen, int64(revision))
	m, err := decode[grace.ModeSetting]([]byte(doc))
	if err != nil {
		return grace.ModeSetting{}, fmt.Errorf("read the mode: %w", err)
	}
	return m, nil
}

// olderView tells whether a revision of the mode is there after all, and only a
// transaction that began before it does not see it.
func (s *Store) olderView(ctx context.Context, revision int) bool {
	if !s.Postgres() {
		return false // transactions are serial
	}
	var now int
	err := s.Q().QueryRow(ctx, s.sql("SELECT revision FROM grace_mode WHERE id = 1")).Scan(&now)
	return err == nil && now >= revision
}

// Counts are the numbers that operational metrics and key figures want.
type Counts struct {
	PendingTriggers  int
	OpenRuns         int
	PendingApprovals int
	OpenIncidents    int
	Runs             map[grace.RunStatus]int // created since the time asked for
	Decisions        map[grace.Verdict]int   // made since then
}

// Count counts; since bounds Runs and Decisions.
func (s *Store) Count(ctx context.Context, q Querier, since time.Time) (Counts, error) {
	c := Counts{Runs: map[grace.RunStatus]int{}, Decisions: map[grace.Verdict]int{}}
	err := q.QueryRow(ctx, s.sql(`SELECT
		(SELECT count(*) FROM grace_triggers WHERE state = 'pending'),
		(SELECT count(*) FROM grace_runs WHERE open = 1),
		(SELECT count(*) FROM grace_approvals WHERE state = 'pending'),
		(SELECT count(*) FROM grace_incidents WHERE state = 'open')`)).
		Scan(&c.PendingTriggers, &c.OpenRuns, &c.PendingApprovals, &c.OpenIncidents)
	if err != nil {
		return Counts{}, fmt.Errorf("count: %w", err)
	}
	err = s.tally(ctx, q, "SELECT state, count(*) FROM grace_runs WHERE created_at >= $1 GROUP BY state", since,
		func(key string, n int) { c.Runs[grace.RunStatus(key)] = n })
	if err != nil {
		return Counts{}, fmt.Errorf("count runs: %w", err)
	}
	err = s.tally(ctx, q, "SELECT verdict, count(*) FROM grace_decisions WHERE at >= $1 GROUP BY verdict", since,
		func(key string, n int) { c.Decisions[grace.Verdict(key)] = n })
	if err != nil {
		return Counts{}, fmt.Errorf("count decisions: %w", err)
	}
	return c, nil
}

func (s *Store) tally(ctx context.Context, q Querier, text string, since time.Time, add func(string, int)) error {
	return each(ctx, q, s.sql(text), []any{millis(since)}, func(row dbtx.Row) error {
		var key string
		var n int
		if err := row.Scan(&key, &n); err != nil {
			return err
		}
		add(key, n)
		return nil
	})
}

// Cursor reads how far a consumer of events has come, 0 when it has not begun.
func (s *Store) Cursor(ctx context.Context, q Querier, name string) (int64, error) {
	var id int64
	err := q.QueryRow(ctx, s.sql("SELECT id FROM grace_cursors WHERE name = $1"), name).Scan(&id)
	if errors.Is(err, dbtx.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read cursor %s: %w", name, err)
	}
	return id, nil
}

// SetCursor moves a consumer's cursor; it never moves back.
func (s *Store) SetCursor(ctx context.Context, tx Tx, name string, id int64) error {
	_, err := tx.Exec(ctx, s.sql(`INSERT INTO grace_cursors AS c (name, id) VALUES ($1, $2)
		ON CONFLICT (name) DO UPDATE SET id = excluded.id WHERE c.id < excluded.id`), name, id)
	if err != nil {
		return fmt.Errorf("set cursor %s to %d: %w", name, id, err)
	}
	return nil
}

// Claim gives an owner a piece of work for a time, unless another owner has it
// now; the same owner may claim it again at any time. The replicas' clocks
// decide, so a claim keeps work from being done twice as a rule, not for sure;
// one that ends later than any could was made before a clock was set back.
// On SQLite there is one process, which is never refused.
func (s *Store) Claim(ctx context.Context, name, owner string, d time.Duration) (bool, error) {
	if !s.Postgres() {
		return true, nil
	}
	now := s.now()
	result, err := s.Q().Exec(ctx, s.sql(`INSERT INTO grace_claims AS c (name, owner, until) VALUES ($1, $2, $3)
		ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until
		WHERE c.owner = excluded.owner OR c.until <= $4 OR c.until > $5`), name, owner, millis(now.Add(d)), millis(now), millis(now.Add(2*d)))
	if err != nil {
		return false, fmt.Errorf("claim %s: %w", name, err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		return false, fmt.Errorf("claim %s: %w", name, err)
	}
	return n == 1, nil
}
