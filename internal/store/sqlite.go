package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

const (
	sqliteConns       = 8
	sqliteBusyTimeout = 5 * time.Second
	sqliteFirstPause  = 10 * time.Millisecond
)

// inMemory is the path of a database that is gone when it is closed.
const inMemory = ":memory:"

// openSQLite opens or creates the database file. The directory and the file
// are the owner's alone: they hold what is known about every service.
func openSQLite(ctx context.Context, path string, wake func()) (*sql.DB, error) {
	conns := sqliteConns
	if path == inMemory {
		conns = 1 // every connection would have a database of its own
	} else if err := createSQLite(path); err != nil {
		return nil, err
	}
	connector, err := sqlite.NewConnector(sqliteDSN(path))
	if err != nil {
		return nil, fmt.Errorf("open the database file %s: %w", path, err)
	}
	db := sql.OpenDB(newCachingConnector(connector, path != inMemory, wake))
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns) // a new connection would begin without its statements
	if err := pingSQLite(ctx, db); err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("open the database file %s: %w", path, explainSQLite(err))
	}
	return db, nil
}

func createSQLite(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("create the data directory: %w", err)
	}
	// SQLite gives its -wal and -shm files the mode of the main one.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("open the database file: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("open the database file: %w", err)
	}
	return nil
}

// pingSQLite makes the first connection. Of several processes that do so on a
// new file one switches it to WAL; to the others SQLite answers "locked" at
// once, without heeding the busy timeout.
func pingSQLite(ctx context.Context, db *sql.DB) error {
	ctx, cancel := context.WithTimeout(ctx, sqliteBusyTimeout)
	defer cancel()
	for {
		err := db.PingContext(ctx)
		if err == nil || !sqliteRetryable(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(sqliteFirstPause):
		}
	}
}

func sqliteDSN(path string) string {
	q := url.Values{
		// A transaction that reads first and writes later would otherwise
		// fail where another has written in between.
		"_txlock": {"immediate"},
		"_pragma": {
			fmt.Sprintf("busy_timeout(%d)", sqliteBusyTimeout.Milliseconds()),
			"journal_mode(WAL)",
			"foreign_keys(ON)",
			// What is in the log has happened, also after a power cut.
			"synchronous(FULL)",
			// Of so many pages of the log, 16 MB, most are of the same few: the more are written
			// back at once, the fewer are written.
			"wal_autocheckpoint(4000)",
		},
	}
	if path != inMemory {
		// Never made anew: one that was deleted under the daemon is missed.
		q.Set("mode", "rw")
	}
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: q.Encode()}).String()
}

// sqliteCode gives SQLite's primary result code, 0 when err is not of SQLite.
func sqliteCode(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code() & 0xff
	}
	return 0
}

func sqliteRetryable(err error) bool {
	switch sqliteCode(err) {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return true
	}
	return false
}

// explainSQLite adds what an operator can do.
func explainSQLite(err error) error {
	if _, told := errors.AsType[*Outage](err); told {
		return err
	}
	if reason := sqliteReason(err); reason != "" {
		return fmt.Errorf("%w; %s", err, reason)
	}
	return err
}
