package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	sqlite3 "modernc.org/sqlite/lib"
)

// Outage is the error of a database that cannot be written or read at the
// moment: a full or read-only disk, a damaged file. Nothing was changed.
//
// It is a net.Error, which the engine takes for a fault that passes: a run that
// meets it waits in its place until the database is back, and does nothing
// meanwhile.
type Outage struct {
	// Reason says what is wrong and what to do; it names no host and no path.
	Reason string
	err    error
}

func (o *Outage) Error() string { return o.err.Error() + "; " + o.Reason }

// Unwrap gives the database's own error.
func (o *Outage) Unwrap() error { return o.err }

// Timeout meets net.Error.
func (o *Outage) Timeout() bool { return false }

// Temporary meets net.Error.
func (o *Outage) Temporary() bool { return true }

// sqliteOutage marks an error of SQLite that is an outage, and leaves others as
// they are.
func sqliteOutage(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	if _, marked := errors.AsType[*Outage](err); marked {
		return err
	}
	if reason := sqliteReason(err); reason != "" {
		return &Outage{Reason: reason, err: err}
	}
	return err
}

func sqliteReason(err error) string {
	switch sqliteCode(err) {
	case sqlite3.SQLITE_FULL:
		return "the disk is full: make room or shorten the retention"
	case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM:
		return "the database file and its directory must be writable by the user that GRACE runs as"
	case sqlite3.SQLITE_IOERR:
		return "the disk does not read or write: make room on it and look at the system's log"
	case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT:
		return "the database file is damaged or not a database: restore it from a backup, or move it away to start afresh"
	}
	return ""
}

// postgresOutage is sqliteOutage for a server that answers, but not as asked.
func postgresOutage(err error) error {
	refused, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return err
	}
	switch {
	case refused.Code == "53100":
		return &Outage{Reason: "the database server's disk is full", err: err}
	case refused.Code == "25006":
		return &Outage{Reason: "the database server is read-only: connect to its primary", err: err}
	case refused.Code == "XX001", refused.Code == "XX002":
		return &Outage{Reason: "the database is damaged: restore it from a backup", err: err}
	case strings.HasPrefix(refused.Code, "53"), strings.HasPrefix(refused.Code, "57P"), strings.HasPrefix(refused.Code, "58"):
		return &Outage{Reason: "the database server has no resources left, or is going down or coming up", err: err}
	}
	return err
}

// Away tells whether an error says that the database is away, full, damaged,
// busy or out of time: the same change may succeed later. Any other error is the
// answer to what was to be written.
func Away(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errTooOften) ||
		errors.Is(err, sql.ErrConnDone) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return true
	}
	if _, out := errors.AsType[*Outage](err); out {
		return true
	}
	if _, network := errors.AsType[net.Error](err); network {
		return true
	}
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok {
		return strings.HasPrefix(refused.Code, "08") || strings.HasPrefix(refused.Code, "40") || refused.Code == "55P03"
	}
	_, connecting := errors.AsType[*pgconn.ConnectError](err)
	return connecting
}

func (s *Store) outage(err error) error {
	if s.Postgres() {
		return postgresOutage(err)
	}
	return sqliteOutage(err)
}

// writableFor is how long the answer of Writable holds.
const writableFor = 5 * time.Second

// writable is what Writable found last.
type writable struct {
	mu  sync.Mutex
	at  time.Time
	err error
}

const metaWritten = "written_at"

// Writable tries whether the database can be written, at most once in five
// seconds: without a log that can be written, nothing is done.
func (s *Store) Writable(ctx context.Context) error {
	s.written.mu.Lock()
	defer s.written.mu.Unlock()
	if !s.written.at.IsZero() && time.Since(s.written.at) < writableFor && s.written.err == nil {
		return nil
	}
	err := s.Do(ctx, func(ctx context.Context, tx Tx) error {
		return s.setMeta(ctx, tx, metaWritten, s.now().UTC().Format(time.RFC3339))
	})
	s.written.at, s.written.err = time.Now(), err
	return err
}
