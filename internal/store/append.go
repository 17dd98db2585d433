package store

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"grace"
	"grace/internal/content"
	"grace/internal/event"
)

// inserts are the statements of the tables that Append writes many rows of.
type inserts struct {
	signals, triggers, decisions, incidents, learning, predictions, silences, letters, snapshots, blobs, operations, audit, events *insert
}

func newInserts() inserts {
	replacing := func(table string, columns ...string) *insert {
		return &insert{table: table, columns: columns, keys: 1, replace: true}
	}
	signals := replacing("grace_signals", "id", "service", "state", "at", "doc")
	signals.fixed = []string{"service"}
	// The same condition, seen again, is no news: a trigger that was decided
	// does not wait for a decision again.
	triggers := replacing("grace_triggers", "id", "state", "kind", "service", "at", "doc")
	triggers.unless = "excluded.state = 'pending'"
	triggers.fixed = []string{"kind", "service", "at"}
	snapshots := replacing("grace_snapshots", "at", "id", "kind", "service", "doc", "answer")
	snapshots.keys = 2
	return inserts{
		signals:     signals,
		triggers:    triggers,
		decisions:   replacing("grace_decisions", "id", "verdict", "service", "run", "at", "doc", "seal"),
		incidents:   replacing("grace_incidents", "id", "state", "service", "at", "doc"),
		silences:    replacing("grace_silences", "id", "ends_at", "doc", "seal"),
		learning:    replacing("grace_learning", "id", "service", "playbook", "code", "at", "doc"),
		predictions: replacing("grace_predictions", "id", "service", "at", "doc", "rule", "outcome", "published", "breach", "lead", "likelihood"),
		letters:     replacing("grace_dead_letters", "id", "receiver", "retry", "at", "doc"),
		operations: &insert{table: "grace_operations", columns: []string{
			"at", "actor", "action", "object", "service", "reason", "detail",
		}},
		snapshots: snapshots,
		blobs:     replacing("grace_blobs", "digest", "used_at", "body"),
		audit: &insert{table: "grace_audit_log", keys: 1, columns: []string{
			"seq", "at", "actor", "action", "object", "service", "reason", "detail", "leaf", "prev_hash", "hash",
		}},
		events: &insert{table: "grace_events", keys: 1, columns: []string{
			"id", "at", "type", "source", "actor", "resource", "payload",
		}},
	}
}

// Append writes what [event.Derive] makes of events, or returns an error, after which
// the transaction must be rolled back. It wraps ErrConflict where a revision is not the
// one after the stored one.
//
// It takes the head row's lock when that has entries of the permanent log or messages,
// so it comes last in a transaction, and once.
func (s *Store) Append(ctx context.Context, tx Tx, events ...event.Event) error {
	return s.write(ctx, tx, &batch{dialect: s.dialect}, event.Derive(events...))
}

// Record is Append with the parts that what is written rests on. The caller holds the
// lock of deciding.
func (s *Store) Record(ctx context.Context, tx Tx, parts []content.Parts, events ...event.Event) error {
	b := batch{dialect: s.dialect}
	if err := s.keep(ctx, tx, &b, parts); err != nil {
		return err
	}
	return s.write(ctx, tx, &b, event.Derive(events...))
}

func (s *Store) write(ctx context.Context, tx Tx, b *batch, r event.Rows) error {
	for _, part := range []struct {
		what  string
		empty bool
		write func(*batch, *event.Rows) error
	}{
		{"runs", len(r.Runs) == 0, s.writeRuns},
		{"approvals", len(r.Approvals) == 0, s.writeApprovals},
		{"aborts", len(r.Aborts) == 0, s.writeAborts},
		{"mode", r.Mode == nil, s.writeMode},
		{"signals", len(r.Signals) == 0, s.writeSignals},
		{"triggers", len(r.Triggers) == 0, s.writeTriggers},
		{"decisions", len(r.Decisions) == 0, s.writeDecisions},
		{"snapshots", len(r.Snapshots) == 0, s.writeSnapshots},
		{"incidents", len(r.Incidents) == 0, s.writeIncidents},
		{"silences", len(r.Silences) == 0, s.writeSilences},
		{"learning log", len(r.Learning) == 0, s.writeLearning},
		{"predictions", len(r.Predictions) == 0, s.writePredictions},
		{"dead letters", len(r.Letters)+len(r.Delivered) == 0, s.writeLetters},
		{"operational log", len(r.Operations) == 0, s.writeOperations},
	} {
		if part.empty {
			continue
		}
		b.part = part.what
		if err := part.write(b, &r); err != nil {
			return fmt.Errorf("write %s: %w", part.what, err)
		}
	}
	if len(r.Audit) == 0 && len(r.Outbox) == 0 {
		return b.send(ctx, tx)
	}
	b.part = "log" // last: the lock of all writers
	return s.writeLog(ctx, tx, b, &r)
}

const (
	insertRun = `INSERT INTO grace_runs (id, revision, state, open, service, playbook, code, kind, cone,
		sick_since, created_at, ended_at, recovered_in, auto, undone, doc)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
		ON CONFLICT (id) DO NOTHING`
	// Most updates leave a run open, and what indexes hold as it is.
	updateRun = `UPDATE grace_runs SET revision = $1, state = $2, recovered_in = $3, auto = $4, undone = $5, doc = $6
		WHERE id = $7 AND revision = $8 AND open = 1`
	endRun = `UPDATE grace_runs SET revision = $1, state = $2, recovered_in = $3, auto = $4, undone = $5, doc = $6,
		open = 0, ended_at = $9 WHERE id = $7 AND revision = $8`
)

func (s *Store) writeRuns(b *batch, rows *event.Rows) error {
	for i := range rows.Runs {
		r := &rows.Runs[i]
		doc, err := encode(r)
		if err != nil {
			return err
		}
		open, auto, undone := bit(!r.Status.Terminal()), bit(r.Auto), bit(r.Undone())
		recovered := r.RecoveredIn.D().Milliseconds()
		if r.Revision == 1 {
			cone, err := encode(r.Cone)
			if err != nil {
				return err
			}
			err = b.revise("run", string(r.ID), 1, insertRun,
				string(r.ID), 1, string(r.Status), open, string(r.Service), string(r.Playbook.ID), string(r.Code),
				string(r.Kind), cone, millis(r.SickSince), millis(r.CreatedAt), optionalMillis(r.EndedAt), recovered,
				auto, undone, doc)
			if err != nil {
				return err
			}
			continue
		}
		text, args := updateRun, []any{r.Revision, string(r.Status), recovered, auto, undone, doc, string(r.ID), r.Revision - 1}
		if open == 0 {
			text, args = endRun, append(args, optionalMillis(r.EndedAt))
		}
		if err := b.revise("run", string(r.ID), r.Revision, text, args...); err != nil {
			return err
		}
	}
	return nil
}

// revise adds a statement that changes one row where the stored revision is the one
// before, and nothing otherwise.
func (b *batch) revise(kind, id string, revision int, text string, args ...any) error {
	if revision < 1 {
		return fmt.Errorf("%s %s: revision %d; the first is 1", kind, id, revision)
	}
	b.add(statement{about: kind + " " + id, text: b.dialect.sql(text), args: args, check: func(changed int64) error {
		if changed != 1 {
			return fmt.Errorf("revision %d does not follow the stored one: %w", revision, ErrConflict)
		}
		return nil
	}})
	return nil
}

func (s *Store) writeApprovals(b *batch, r *event.Rows) error {
	for i := range r.Approvals {
		a := &r.Approvals[i]
		doc, err := encode(a)
		if err != nil {
			return err
		}
		if a.Revision == 1 {
			err = b.revise("approval", string(a.ID), 1, `INSERT INTO grace_approvals
				(id, revision, state, at, doc, seal) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO NOTHING`,
				string(a.ID), 1, string(a.State), millis(a.At), doc, s.seal("grace_approvals", string(a.ID), doc))
		} else {
			err = b.revise("approval", string(a.ID), a.Revision, `UPDATE grace_approvals
				SET revision = $1, state = $2, doc = $3, seal = $4 WHERE id = $5 AND revision = $6`,
				a.Revision, string(a.State), doc, s.seal("grace_approvals", string(a.ID), doc), string(a.ID), a.Revision-1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) writeMode(b *batch, r *event.Rows) error {
	doc, err := encode(r.Mode)
	if err != nil {
		return err
	}
	seal := s.seal("grace_mode", strconv.Itoa(r.Mode.Revision), doc)
	// Not "the revision before": a row that was put back to an earlier one is
	// replaced like any other.
	return b.revise("mode", string(r.Mode.Mode), r.Mode.Revision, `INSERT INTO grace_mode AS m (id, revision, doc, seal)
		VALUES (1, $1, $2, $3) ON CONFLICT (id) DO UPDATE SET revision = excluded.revision, doc = excluded.doc, seal = excluded.seal
		WHERE m.revision < excluded.revision`, r.Mode.Revision, doc, seal)
}

// writeSignals replaces the rows of signals, and deletes those of signals that
// are gone.
func (s *Store) writeSignals(b *batch, r *event.Rows) error {
	kept := make([]grace.Signal, 0, len(r.Signals))
	for _, v := range r.Signals {
		if !v.Gone {
			kept = append(kept, v)
			continue
		}
		// Another replica may have seen it since.
		b.exec("delete "+string(v.Key), "DELETE FROM grace_signals WHERE id = $1 AND at <= $2", clean(string(v.Key)), millis(v.At))
	}
	return write(b, s.inserts.signals, kept, func(v grace.Signal) ([]any, error) {
		doc, err := encode(v)
		return []any{string(v.Key), string(v.Service), string(v.State), millis(v.At), doc}, err
	})
}

func (s *Store) writeTriggers(b *batch, r *event.Rows) error {
	return write(b, s.inserts.triggers, r.Triggers, func(v grace.Trigger) ([]any, error) {
		doc, err := encode(v)
		return []any{string(v.ID), string(v.State), string(v.Kind), string(v.Service), millis(v.At), doc}, err
	})
}

func (s *Store) writeDecisions(b *batch, r *event.Rows) error {
	return write(b, s.inserts.decisions, r.Decisions, func(v grace.Decision) ([]any, error) {
		text, err := encode(v)
		doc := s.compressor.compress([]byte(text))
		return []any{
			string(v.ID), string(v.Verdict), string(v.Service), string(v.Run), millis(v.At), doc,
			s.seal("grace_decisions", clean(string(v.ID)), string(doc)),
		}, err
	})
}

func (s *Store) writeIncidents(b *batch, r *event.Rows) error {
	return write(b, s.inserts.incidents, r.Incidents, func(v grace.Incident) ([]any, error) {
		doc, err := encode(v)
		return []any{string(v.ID), string(v.State), string(v.Service), millis(v.OpenedAt), doc}, err
	})
}

func (s *Store) writeSilences(b *batch, r *event.Rows) error {
	return write(b, s.inserts.silences, r.Silences, func(v grace.Silence) ([]any, error) {
		doc, err := encode(v)
		return []any{string(v.ID), millis(v.Ends), doc, s.seal("grace_silences", clean(string(v.ID)), doc)}, err
	})
}

func (s *Store) writeLearning(b *batch, r *event.Rows) error {
	return write(b, s.inserts.learning, r.Learning, func(v grace.LearningEntry) ([]any, error) {
		doc, err := encode(v)
		return []any{v.ID, string(v.Service), string(v.Playbook), string(v.Diagnosis), millis(v.At), doc}, err
	})
}

func (s *Store) writePredictions(b *batch, r *event.Rows) error {
	return write(b, s.inserts.predictions, r.Predictions, func(v grace.Prediction) ([]any, error) {
		doc, err := encode(v)
		at, id, breach := v.Made, v.ID, ""
		if at.IsZero() {
			at = v.At
		}
		if id == "" { // a series is predicted again and again
			id = string(v.Key) + "@" + strconv.FormatInt(millis(at), 10)
		}
		if v.Breach != nil {
			breach = string(v.Key) + "@" + strconv.FormatInt(millis(*v.Breach), 10)
		}
		return []any{
			id, string(v.Service), millis(at), doc, v.Rule, string(v.Outcome), int(ToldOf(&v)), breach,
			v.Lead.D().Milliseconds(), v.Likelihood,
		}, err
	})
}

func (s *Store) writeLetters(b *batch, r *event.Rows) error {
	for _, id := range r.Delivered {
		b.exec("remove "+id, "DELETE FROM grace_dead_letters WHERE id = $1", clean(id))
	}
	return write(b, s.inserts.letters, r.Letters, func(v DeadLetter) ([]any, error) {
		doc, err := encode(v)
		return []any{v.ID, v.Receiver, bit(v.Retry), millis(v.At), doc}, err
	})
}

func (s *Store) writeOperations(b *batch, r *event.Rows) error {
	return write(b, s.inserts.operations, r.Operations, func(e grace.AuditEntry) ([]any, error) {
		if e.At.IsZero() {
			e.At = s.now()
		}
		return []any{millis(e.At), e.Actor, e.Action, e.Object, string(e.Service), e.Reason, optionalJSON(e.Detail)}, nil
	})
}

// encode gives a document's text. Invalid UTF-8 and zero bytes, which
// PostgreSQL refuses, come out of Marshal replaced or escaped.
func encode(v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	return string(b), nil
}

// clean makes a text acceptable to both databases.
func clean(text string) string {
	if strings.IndexByte(text, 0) >= 0 {
		text = strings.ReplaceAll(text, "\x00", "\uFFFD")
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// The years that JSON can say: a row beyond them would end every list and every
// stream that comes to it.
const (
	firstMillis = -62135596800000 // 0001-01-01
	lastMillis  = 253402300799999 // 9999-12-31
)

// millis gives a time as it is stored, the nearest that can be told again.
func millis(t time.Time) int64 { return min(max(t.UnixMilli(), firstMillis), lastMillis) }

func optionalMillis(t *time.Time) *int64 {
	if t == nil {
		return nil
	}
	ms := millis(*t)
	return &ms
}

func fromMillis(ms int64) time.Time {
	return time.UnixMilli(min(max(ms, firstMillis), lastMillis)).UTC()
}

func fromOptionalMillis(ms *int64) *time.Time {
	if ms == nil {
		return nil
	}
	t := fromMillis(*ms)
	return &t
}
