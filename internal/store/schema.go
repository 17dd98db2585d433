package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"grace/internal/dbtx"
)

// migrations lead from each version of the schema to the next: the first one
// makes version 1. They are append-only. A statement is for both databases,
// or for the one its prefix names.
var migrations = [][]string{ //nolint:gochecknoglobals // a constant table
	{
		// One row. Whoever holds it appends to the log; a low fill factor keeps
		// its many versions on one page.
		`CREATE TABLE grace_head (id INTEGER PRIMARY KEY CHECK (id = 1), seq BIGINT NOT NULL,
			hash TEXT NOT NULL, event_id BIGINT NOT NULL)`,
		`INSERT INTO grace_head (id, seq, hash, event_id) VALUES (1, 0, '', 0)`,
		onPostgres + `ALTER TABLE grace_head SET (fillfactor = 10)`,

		`CREATE TABLE grace_audit_log (seq INTEGER PRIMARY KEY, at BIGINT NOT NULL, actor TEXT NOT NULL,
			action TEXT NOT NULL, object TEXT NOT NULL, service TEXT NOT NULL, reason TEXT NOT NULL,
			detail TEXT, leaf TEXT NOT NULL, prev_hash TEXT NOT NULL, hash TEXT NOT NULL)`,
		`CREATE INDEX gx_audit_object ON grace_audit_log (object, seq)`,
		`CREATE INDEX gx_audit_actor ON grace_audit_log (actor, seq) WHERE actor <> 'self_heal'`,
		onSQLite + `CREATE TRIGGER gx_audit_no_update BEFORE UPDATE ON grace_audit_log
			BEGIN SELECT RAISE(ABORT, 'audit_log is append-only'); END`,
		onSQLite + `CREATE TRIGGER gx_audit_no_delete BEFORE DELETE ON grace_audit_log
			BEGIN SELECT RAISE(ABORT, 'audit_log is append-only'); END`,
		// REPLACE deletes without asking a delete trigger.
		onSQLite + `CREATE TRIGGER gx_audit_no_insert BEFORE INSERT ON grace_audit_log
			WHEN NEW.seq <= (SELECT seq FROM grace_head WHERE id = 1)
			BEGIN SELECT RAISE(ABORT, 'audit_log is append-only'); END`,
		onPostgres + `CREATE FUNCTION grace_refuse_change() RETURNS trigger LANGUAGE plpgsql AS
			$$ BEGIN RAISE EXCEPTION 'audit_log is append-only'; END $$`,
		onPostgres + `CREATE TRIGGER gx_audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON grace_audit_log
			FOR EACH STATEMENT EXECUTE FUNCTION grace_refuse_change()`,

		`CREATE TABLE grace_events (id INTEGER PRIMARY KEY, at BIGINT NOT NULL, type TEXT NOT NULL,
			source TEXT NOT NULL, actor TEXT NOT NULL, resource TEXT NOT NULL, payload TEXT)`,
		`CREATE TABLE grace_cursors (name TEXT PRIMARY KEY, id BIGINT NOT NULL)`,

		`CREATE TABLE grace_runs (id TEXT PRIMARY KEY, revision BIGINT NOT NULL, state TEXT NOT NULL,
			open BIGINT NOT NULL, service TEXT NOT NULL, playbook TEXT NOT NULL, code TEXT NOT NULL,
			kind TEXT NOT NULL, cone TEXT NOT NULL, created_at BIGINT NOT NULL, ended_at BIGINT,
			recovered_in BIGINT NOT NULL, auto BIGINT NOT NULL, undone BIGINT NOT NULL, doc TEXT NOT NULL)`,
		`CREATE INDEX gx_runs_created ON grace_runs (created_at, id)`,
		`CREATE INDEX gx_runs_service ON grace_runs (service, created_at, id)`,
		`CREATE INDEX gx_runs_ended ON grace_runs (ended_at) WHERE ended_at IS NOT NULL`,
		`CREATE INDEX gx_runs_open ON grace_runs (created_at, id) WHERE open = 1`,

		`CREATE TABLE grace_triggers (id TEXT PRIMARY KEY, state TEXT NOT NULL, kind TEXT NOT NULL,
			service TEXT NOT NULL, at BIGINT NOT NULL, doc TEXT NOT NULL)`,
		`CREATE INDEX gx_triggers_at ON grace_triggers (at, id)`,
		`CREATE INDEX gx_triggers_pending ON grace_triggers (at, id) WHERE state = 'pending'`,

		`CREATE TABLE grace_decisions (id TEXT PRIMARY KEY, verdict TEXT NOT NULL, service TEXT NOT NULL,
			run TEXT NOT NULL, at BIGINT NOT NULL, doc TEXT NOT NULL)`,
		`CREATE INDEX gx_decisions_at ON grace_decisions (at, id)`,
		`CREATE INDEX gx_decisions_service ON grace_decisions (service, at, id)`,
		`CREATE INDEX gx_decisions_run ON grace_decisions (run) WHERE run <> ''`,

		`CREATE TABLE grace_approvals (id TEXT PRIMARY KEY, revision BIGINT NOT NULL, state TEXT NOT NULL,
			at BIGINT NOT NULL, doc TEXT NOT NULL)`,
		`CREATE INDEX gx_approvals_at ON grace_approvals (at, id)`,
		`CREATE INDEX gx_approvals_pending ON grace_approvals (at, id) WHERE state = 'pending'`,

		`CREATE TABLE grace_aborts (run TEXT PRIMARY KEY, at BIGINT NOT NULL, doc TEXT NOT NULL)`,

		`CREATE TABLE grace_incidents (id TEXT PRIMARY KEY, state TEXT NOT NULL, service TEXT NOT NULL,
			at BIGINT NOT NULL, doc TEXT NOT NULL)`,
		`CREATE INDEX gx_incidents_at ON grace_incidents (at, id)`,

		`CREATE TABLE grace_learning (id TEXT PRIMARY KEY, service TEXT NOT NULL, playbook TEXT NOT NULL,
			code TEXT NOT NULL, at BIGINT NOT NULL, doc TEXT NOT NULL)`,
		`CREATE INDEX gx_learning_at ON grace_learning (at, id)`,

		`CREATE TABLE grace_predictions (id TEXT PRIMARY KEY, service TEXT NOT NULL, at BIGINT NOT NULL,
			doc TEXT NOT NULL)`,
		`CREATE INDEX gx_predictions_at ON grace_predictions (at, id)`,

		`CREATE TABLE grace_signals (id TEXT PRIMARY KEY, service TEXT NOT NULL, state TEXT NOT NULL,
			at BIGINT NOT NULL, doc TEXT NOT NULL)`,
		`CREATE INDEX gx_signals_service ON grace_signals (service)`,

		`CREATE TABLE grace_mode (id INTEGER PRIMARY KEY CHECK (id = 1), revision BIGINT NOT NULL, doc TEXT NOT NULL)`,

		`CREATE TABLE grace_tokens (name TEXT PRIMARY KEY, hash TEXT NOT NULL UNIQUE, role TEXT NOT NULL,
			created_at BIGINT NOT NULL, expires_at BIGINT, revoked_at BIGINT)`,
	},
	{
		`CREATE TABLE grace_claims (name TEXT PRIMARY KEY, owner TEXT NOT NULL, until BIGINT NOT NULL)`,
	},
	{
		// For lists that are asked by one property: without them a rare value is
		// looked for in the whole history.
		`CREATE INDEX gx_runs_state ON grace_runs (state, created_at, id)`,
		`CREATE INDEX gx_runs_playbook ON grace_runs (playbook, created_at, id)`,
		`CREATE INDEX gx_decisions_verdict ON grace_decisions (verdict, at, id)`,
		`CREATE INDEX gx_incidents_service ON grace_incidents (service, at, id)`,
		`CREATE INDEX gx_incidents_open ON grace_incidents (at, id) WHERE state = 'open'`,
		`CREATE INDEX gx_learning_service ON grace_learning (service, at, id)`,
		`CREATE INDEX gx_audit_service ON grace_audit_log (service, seq) WHERE service <> ''`,
	},
	{
		// The ledger of predictions: one row from the first time a rule says so
		// until it is resolved. breach names the breach that a hit or a miss is
		// about, and is empty otherwise.
		`ALTER TABLE grace_predictions ADD COLUMN rule TEXT NOT NULL DEFAULT ''`,
		`ALTER TABLE grace_predictions ADD COLUMN outcome TEXT NOT NULL DEFAULT ''`,
		`ALTER TABLE grace_predictions ADD COLUMN published BIGINT NOT NULL DEFAULT 0`,
		`ALTER TABLE grace_predictions ADD COLUMN breach TEXT NOT NULL DEFAULT ''`,
		`ALTER TABLE grace_predictions ADD COLUMN lead BIGINT NOT NULL DEFAULT 0`,
		`ALTER TABLE grace_predictions ADD COLUMN likelihood DOUBLE PRECISION NOT NULL DEFAULT 0`,
		`CREATE INDEX gx_predictions_service ON grace_predictions (service, at, id)`,
		`CREATE INDEX gx_predictions_outcome ON grace_predictions (outcome, at, id)`,
		`CREATE INDEX gx_predictions_rule ON grace_predictions (rule, at, id)`,
	},
	{
		`CREATE TABLE grace_silences (id TEXT PRIMARY KEY, ends_at BIGINT NOT NULL, doc TEXT NOT NULL)`,
		`CREATE INDEX gx_silences_ends ON grace_silences (ends_at, id)`,
	},
	{
		// Notifications: how far each receiver has come, what it refused, what it
		// called the first message of a thread, and what nobody has answered yet.
		`CREATE TABLE grace_receivers (name TEXT PRIMARY KEY, pos BIGINT NOT NULL, doc TEXT NOT NULL)`,
		`CREATE TABLE grace_dead_letters (id TEXT PRIMARY KEY, receiver TEXT NOT NULL, retry BIGINT NOT NULL,
			at BIGINT NOT NULL, doc TEXT NOT NULL)`,
		`CREATE INDEX gx_dead_letters_at ON grace_dead_letters (at, id)`,
		`CREATE INDEX gx_dead_letters_retry ON grace_dead_letters (receiver, at, id) WHERE retry = 1`,
		`CREATE TABLE grace_notify_refs (id TEXT PRIMARY KEY, at BIGINT NOT NULL, ref TEXT NOT NULL)`,
		`CREATE INDEX gx_notify_refs_at ON grace_notify_refs (at, id)`,
		`CREATE TABLE grace_notify_open (id TEXT PRIMARY KEY, at BIGINT NOT NULL, doc TEXT NOT NULL)`,
	},
	{
		// See seal.go.
		`ALTER TABLE grace_decisions ADD COLUMN seal TEXT NOT NULL DEFAULT ''`,
		`ALTER TABLE grace_approvals ADD COLUMN seal TEXT NOT NULL DEFAULT ''`,
		`ALTER TABLE grace_mode ADD COLUMN seal TEXT NOT NULL DEFAULT ''`,
		`ALTER TABLE grace_tokens ADD COLUMN seal TEXT NOT NULL DEFAULT ''`,
		`ALTER TABLE grace_head ADD COLUMN seal TEXT NOT NULL DEFAULT ''`,
		`ALTER TABLE grace_silences ADD COLUMN seal TEXT NOT NULL DEFAULT ''`,
	},
	{
		`CREATE TABLE grace_ended_sessions (id TEXT PRIMARY KEY, until BIGINT NOT NULL)`,
		`CREATE TABLE grace_raised (service TEXT NOT NULL, actor TEXT NOT NULL, at BIGINT NOT NULL, PRIMARY KEY (service, actor))`,
	},
	{
		`CREATE TABLE grace_spent (id TEXT PRIMARY KEY, until BIGINT NOT NULL)`,
		`INSERT INTO grace_spent SELECT 'session/' || id, until FROM grace_ended_sessions`,
		`DROP TABLE grace_ended_sessions`,
	},
	{
		`ALTER TABLE grace_runs ADD COLUMN sick_since BIGINT NOT NULL DEFAULT 0`,
		`UPDATE grace_runs SET sick_since = created_at`,
	},
	{
		// What decisions and admissions rest on, and the parts that they name by digest.
		`CREATE TABLE grace_snapshots (id TEXT PRIMARY KEY, kind TEXT NOT NULL, service TEXT NOT NULL,
			at BIGINT NOT NULL, doc TEXT NOT NULL, answer TEXT NOT NULL)`,
		`CREATE INDEX gx_snapshots_at ON grace_snapshots (at, id)`,
		`CREATE TABLE grace_blobs (digest TEXT PRIMARY KEY, used_at BIGINT NOT NULL, body TEXT NOT NULL)`,
		`CREATE INDEX gx_blobs_used ON grace_blobs (used_at)`,
	},
	{
		// The operational log: like the audit log, but without a chain, and pruned.
		onSQLite + `CREATE TABLE grace_operations (id INTEGER PRIMARY KEY, at BIGINT NOT NULL, actor TEXT NOT NULL,
			action TEXT NOT NULL, object TEXT NOT NULL, service TEXT NOT NULL, reason TEXT NOT NULL, detail TEXT)`,
		onPostgres + `CREATE TABLE grace_operations (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at BIGINT NOT NULL, actor TEXT NOT NULL,
			action TEXT NOT NULL, object TEXT NOT NULL, service TEXT NOT NULL, reason TEXT NOT NULL, detail TEXT)`,
		`CREATE INDEX gx_operations_at ON grace_operations (at)`,
		`CREATE INDEX gx_operations_object ON grace_operations (object, id)`,
		`CREATE INDEX gx_operations_service ON grace_operations (service, id) WHERE service <> ''`,
	},
	{
		// Documents that are compressed, which SQLite takes in any column.
		onPostgres + `ALTER TABLE grace_decisions ALTER COLUMN doc TYPE BYTEA USING convert_to(doc, 'UTF8')`,
		onPostgres + `ALTER TABLE grace_blobs ALTER COLUMN body TYPE BYTEA USING convert_to(body, 'UTF8')`,
		onPostgres + `ALTER TABLE grace_snapshots ALTER COLUMN doc TYPE BYTEA USING convert_to(doc, 'UTF8'),
			ALTER COLUMN answer TYPE BYTEA USING convert_to(answer, 'UTF8')`,
	},
	{
		// A transaction writes a page at least of every index that it touches. Every step
		// of a run would touch one by state, unless that is of ended runs alone; the
		// numbers of the operational log tell its order; and snapshots are asked for by
		// time.
		onSQLite + `DROP INDEX gx_runs_state`,
		onPostgres + `DROP INDEX grace.gx_runs_state`,
		`CREATE INDEX gx_runs_state ON grace_runs (state, created_at, id) WHERE open = 0`,
		onSQLite + `DROP INDEX gx_operations_at`,
		onPostgres + `DROP INDEX grace.gx_operations_at`,
		onSQLite + `CREATE TABLE grace_snapshots_by_time (at BIGINT NOT NULL, id TEXT NOT NULL, kind TEXT NOT NULL,
			service TEXT NOT NULL, doc TEXT NOT NULL, answer TEXT NOT NULL, PRIMARY KEY (at, id))`,
		onSQLite + `INSERT INTO grace_snapshots_by_time SELECT at, id, kind, service, doc, answer FROM grace_snapshots`,
		onSQLite + `DROP TABLE grace_snapshots`,
		onSQLite + `ALTER TABLE grace_snapshots_by_time RENAME TO grace_snapshots`,
		onPostgres + `DROP INDEX grace.gx_snapshots_at`,
		onPostgres + `ALTER TABLE grace_snapshots DROP CONSTRAINT snapshots_pkey, ADD PRIMARY KEY (at, id)`,
	},
}

const (
	onSQLite   = "sqlite:"
	onPostgres = "postgres:"
)

const migrationLock = 0x67726163 // "grac", of pg_advisory_xact_lock

const (
	metaVersion  = "schema_version"
	metaKeyCheck = "audit_key_check"
)

// migrate brings the schema to this binary's version, in one transaction.
func (s *Store) migrate(ctx context.Context) error {
	err := s.Do(ctx, func(ctx context.Context, tx Tx) error {
		if err := s.prepareMeta(ctx, tx); err != nil {
			return err
		}
		version, err := s.schemaVersion(ctx, tx)
		if err != nil {
			return err
		}
		if version > len(migrations) {
			return fmt.Errorf("the database has schema version %d, this binary knows %d: run the newer grace that wrote it, or restore the backup taken before the upgrade", version, len(migrations))
		}
		for i, statements := range migrations[version:] {
			for _, text := range statements {
				if err := s.define(ctx, tx, text); err != nil {
					return fmt.Errorf("migrate to schema version %d: %w", version+i+1, err)
				}
			}
		}
		if version == len(migrations) {
			return nil
		}
		return s.setMeta(ctx, tx, metaVersion, strconv.Itoa(len(migrations)))
	})
	if err != nil && !s.Postgres() {
		return explainSQLite(err)
	}
	return err
}

// prepareMeta makes the table that the version stands in. On PostgreSQL
// replicas that start at once take turns; on SQLite transactions do anyway.
func (s *Store) prepareMeta(ctx context.Context, tx Tx) error {
	if s.Postgres() {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(migrationLock)); err != nil {
			return err
		}
		// Asked first: creating a schema, even IF NOT EXISTS, needs a privilege
		// on the database that the role may not have once the schema is there.
		var there bool
		if err := tx.QueryRow(ctx, "SELECT to_regclass('grace.meta') IS NOT NULL").Scan(&there); err != nil {
			return err
		}
		if there {
			return nil
		}
		if _, err := tx.Exec(ctx, "CREATE SCHEMA IF NOT EXISTS grace"); err != nil {
			return fmt.Errorf("create the schema grace: %w; the role needs CREATE on the database", err)
		}
	}
	return s.define(ctx, tx, "CREATE TABLE IF NOT EXISTS grace_meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
}

func (s *Store) define(ctx context.Context, tx Tx, text string) error {
	if rest, ok := strings.CutPrefix(text, onSQLite); ok {
		if s.Postgres() {
			return nil
		}
		text = rest
	}
	if rest, ok := strings.CutPrefix(text, onPostgres); ok {
		if !s.Postgres() {
			return nil
		}
		text = rest
	}
	_, err := tx.Exec(ctx, s.dialect.rewrite(text))
	return err
}

func (s *Store) schemaVersion(ctx context.Context, q Querier) (int, error) {
	text, err := s.meta(ctx, q, metaVersion)
	if errors.Is(err, ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	version, err := strconv.Atoi(text)
	if err != nil || version < 1 {
		return 0, fmt.Errorf("the database's schema version is %q, want a number: the table grace_meta (PostgreSQL: grace.meta) was changed by hand or is damaged; restore a backup", text)
	}
	return version, nil
}

func (s *Store) meta(ctx context.Context, q Querier, key string) (string, error) {
	var value string
	err := q.QueryRow(ctx, s.sql("SELECT value FROM grace_meta WHERE key = $1"), key).Scan(&value)
	if errors.Is(err, dbtx.ErrNoRows) {
		return "", ErrNotFound
	}
	return value, err
}

func (s *Store) setMeta(ctx context.Context, tx Tx, key, value string) error {
	_, err := tx.Exec(ctx, s.sql(`INSERT INTO grace_meta (key, value) VALUES ($1, $2)
		ON CONFLICT (key) DO UPDATE SET value = excluded.value`), key, value)
	return err
}
