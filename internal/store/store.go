package store

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// DefaultURL is the database that an empty URL means.
const DefaultURL = "sqlite:grace-data/grace.db"

// Errors to be asked for with errors.Is.
var (
	// ErrNotFound: there is no row with that id.
	ErrNotFound = errors.New("not found")
	// ErrConflict: the row was changed by somebody else in between, or exists
	// already. The transaction is to be rolled back and thought over anew.
	ErrConflict = errors.New("changed by somebody else")
	// ErrOtherKey: entries chained with another key could never be verified
	// together with the earlier ones.
	ErrOtherKey = errors.New("the audit key is not the one this database was started with; restore it from the backup of the data directory, or give all replicas the same key")
	// ErrBadCursor: a page cursor that this store did not give.
	ErrBadCursor = errors.New("bad cursor")
)

// Options of [Open].
type Options struct {
	// URL is "" (DefaultURL), "sqlite:PATH" or "postgres://...". With
	// "sqlite::memory:" the store is as it is otherwise and gone when closed: on
	// one connection, so a transaction must read through itself alone.
	URL string
	// AuditKey keys the hashes of the audit log. It must stay the same for the
	// life of a database, and the same on all replicas.
	AuditKey []byte
	// Checkpoints is a file outside of the database that says where the audit
	// log had come to; see [Store.Checkpoint]. Empty: none.
	Checkpoints string
	// Log takes the errors that no caller is told of (default: nowhere).
	Log *slog.Logger
	// Inspect opens a database whose audit log does not verify all the same, to
	// look at it.
	Inspect bool
	// Forged is told of rows that GRACE refused because they do not carry its
	// seal. It must not call the store and wait.
	Forged func(what string, err error)
	// Now gives the time of entries that bring none (default time.Now).
	Now func() time.Time
}

// Store is safe for concurrent use.
type Store struct {
	db      *sql.DB       // SQLite
	pool    *pgxpool.Pool // or PostgreSQL
	dialect dialect
	key     []byte
	sealKey []byte
	now     func() time.Time
	// newest is the highest number of the audit log that was seen; checkpoints is
	// where that is kept outside.
	newest      atomic.Int64
	modeSeen    atomic.Int64 // revision of the mode that was seen or logged last
	checkpoints checkpoints
	onForged    func(string, error)
	log         *slog.Logger
	inserts     inserts
	compressor  compressor
	kept        keptBlobs
	head        headWriter
	wakes       notifier
	written     writable
	closing     sync.Once
}

// Open connects to the database, creates or migrates the schema, and makes
// sure that the audit key is the one the database was started with.
func Open(ctx context.Context, o Options) (*Store, error) {
	if len(o.AuditKey) == 0 {
		return nil, errors.New("open the store: no audit key; give the one kept beside the database")
	}
	s := &Store{key: o.AuditKey, sealKey: deriveKey(o.AuditKey, "grace row seal"), now: o.Now, onForged: o.Forged}
	s.checkpoints.path = o.Checkpoints
	if s.log = o.Log; s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	if o.URL == "" {
		o.URL = DefaultURL
	}
	var err error
	switch path, isSQLite := strings.CutPrefix(o.URL, "sqlite:"); {
	case isSQLite && path != "":
		s.db, err = openSQLite(ctx, path, s.wakes.all)
	case strings.HasPrefix(o.URL, "postgres://"), strings.HasPrefix(o.URL, "postgresql://"):
		s.pool, err = openPostgres(ctx, o.URL)
	default:
		// Not quoted: a mistyped URL may hold a password.
		err = errors.New("the database URL is neither sqlite:PATH nor postgres://")
	}
	if err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	s.dialect = newDialect(s.Postgres())
	s.inserts = newInserts()
	if s.compressor, err = newCompressor(); err != nil {
		s.Close()
		return nil, fmt.Errorf("open the store: %w", err)
	}
	if err := s.migrate(ctx); err != nil {
		s.Close()
		return nil, fmt.Errorf("open the store: %w", err)
	}
	for _, check := range []func(context.Context) error{s.checkKey, s.checkLog, s.checkMode} {
		if err := check(ctx); err != nil && (!o.Inspect || !errors.Is(err, ErrForged)) {
			s.Close()
			return nil, fmt.Errorf("open the store: %w", err)
		}
	}
	return s, nil
}

// checkKey refuses a key other than the database's own.
func (s *Store) checkKey(ctx context.Context) error {
	mac := hmac.New(sha256.New, s.key)
	mac.Write([]byte("grace audit key check"))
	mine := hex.EncodeToString(mac.Sum(nil))
	return s.Do(ctx, func(ctx context.Context, tx Tx) error {
		if _, err := tx.Exec(ctx, s.sql(`INSERT INTO grace_meta (key, value) VALUES ($1, $2)
			ON CONFLICT (key) DO NOTHING`), metaKeyCheck, mine); err != nil {
			return err
		}
		stored, err := s.meta(ctx, tx, metaKeyCheck)
		if err != nil {
			return err
		}
		if !hmac.Equal([]byte(stored), []byte(mine)) {
			return ErrOtherKey
		}
		return nil
	})
}

// Close closes the database, after its transactions have ended. Closing again
// does nothing, nor does closing after the engine has closed the pool.
func (s *Store) Close() {
	s.closing.Do(func() {
		if s.db != nil {
			_ = s.db.Close()
		}
		if s.pool != nil {
			s.pool.Close()
		}
	})
}

// SQL gives the SQLite database, nil on PostgreSQL. The engine shares it.
func (s *Store) SQL() *sql.DB { return s.db }

// PG gives the PostgreSQL pool, nil on SQLite. The engine shares it.
func (s *Store) PG() *pgxpool.Pool { return s.pool }

// Postgres tells which database it is.
func (s *Store) Postgres() bool { return s.pool != nil }

// Q gives a Querier outside of any transaction.
func (s *Store) Q() Querier {
	if s.Postgres() {
		return pgQuerier{s.pool}
	}
	return sqlQuerier{s.db}
}

func (s *Store) sql(text string) string { return s.dialect.sql(text) }

// How often and how long Do tries. SQLite has waited for its lock for seconds
// before it says that it is locked.
const (
	maxTries     = 8
	firstBackoff = 2 * time.Millisecond
	maxRetrying  = 20 * time.Second
)

// errTooOften: the database asked for another try once too often.
var errTooOften = errors.New("gave up trying again")

// Do runs fn in a transaction that commits when fn returns nil and rolls back
// when it returns an error or panics. It is run again when the database asks
// for it, at most eight times within about 20 s.
func (s *Store) Do(ctx context.Context, fn func(context.Context, Tx) error) error {
	started := time.Now()
	backoff := firstBackoff
	for try := 1; ; try++ {
		err := s.once(ctx, fn)
		if err == nil {
			return nil
		}
		if !s.retryable(err) {
			return s.outage(err)
		}
		if try == maxTries || time.Since(started) > maxRetrying {
			return fmt.Errorf("%w (%d times): %w", errTooOften, try, err)
		}
		// Jitter, or two that collided would collide again.
		timer := time.NewTimer(backoff/2 + rand.N(backoff))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
		backoff *= 2
	}
}

func (s *Store) once(ctx context.Context, fn func(context.Context, Tx) error) (err error) {
	tx, err := s.begin(ctx)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	done := false
	defer func() {
		if !done { // also on a panic
			_ = tx.Rollback(context.WithoutCancel(ctx))
		}
	}()
	if err := fn(ctx, tx); err != nil {
		return err
	}
	done = true
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

func (s *Store) begin(ctx context.Context) (Tx, error) {
	if s.Postgres() {
		tx, err := s.pool.Begin(ctx)
		if err != nil {
			return nil, err
		}
		return newPgTx(tx), nil
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	return newSQLTx(tx), nil
}

func (s *Store) retryable(err error) bool {
	if s.Postgres() {
		return postgresRetryable(err)
	}
	return sqliteRetryable(err)
}

const decidingLock = 0x64656364 // "decd", of pg_advisory_xact_lock

// LockDeciding lets one deciding transaction at a time go on, until it ends:
// rate limits and cones are read and then acted on. On SQLite transactions are
// serial as they are.
func (s *Store) LockDeciding(ctx context.Context, tx Querier) error {
	if !s.Postgres() {
		return nil
	}
	if _, err := tx.Exec(ctx, lockDeciding, int64(decidingLock)); err != nil {
		return fmt.Errorf("lock deciding: %w", err)
	}
	return nil
}
