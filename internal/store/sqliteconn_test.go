package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"modernc.org/sqlite"
)

func cachedDB(t *testing.T, wake func()) *sql.DB {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.db")
	if err := createSQLite(path); err != nil {
		t.Fatal(err)
	}
	base, err := sqlite.NewConnector(sqliteDSN(path))
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(newCachingConnector(base, true, wake))
	db.SetMaxOpenConns(1) // the cache is a connection's
	t.Cleanup(func() { _ = db.Close() })
	if _, err := db.ExecContext(t.Context(), "CREATE TABLE t (x INTEGER); INSERT INTO t VALUES (1), (2), (3)"); err != nil {
		t.Fatal(err)
	}
	return db
}

func kept(t *testing.T, db *sql.DB) (n int) {
	t.Helper()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.Raw(func(c any) error { n = len(c.(*cachingConn).statements); return nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestStatementIsUsedWhileItsRowsAreRead(t *testing.T) {
	db := cachedDB(t, func() {})
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	const text = "SELECT x FROM t ORDER BY x"
	pairs := 0
	each := func(fn func()) {
		rows, err := tx.QueryContext(t.Context(), text)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			fn()
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
	}
	each(func() { each(func() { pairs++ }) })
	if pairs != 9 {
		t.Errorf("%d pairs, want 9", pairs)
	}
}

func TestStatementsAreKeptWithinBounds(t *testing.T) {
	db := cachedDB(t, func() {})
	for i := range maxStatements + 50 {
		var x int
		if err := db.QueryRowContext(t.Context(), fmt.Sprintf("SELECT %d", i)).Scan(&x); err != nil || x != i {
			t.Fatalf("got %d, %v", x, err)
		}
	}
	if n := kept(t, db); n != maxStatements {
		t.Errorf("%d statements kept, want %d", n, maxStatements)
	}
}

func TestStatementSurvivesErrorsAndNewSchema(t *testing.T) {
	db := cachedDB(t, func() {})
	const text = "SELECT * FROM t WHERE x = $1"
	count := func() (columns int) {
		rows, err := db.QueryContext(t.Context(), text, 1)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = rows.Close() }()
		names, err := rows.Columns()
		if err != nil || rows.Err() != nil {
			t.Fatal(err, rows.Err())
		}
		return len(names)
	}
	if n := count(); n != 1 {
		t.Errorf("%d columns", n)
	}
	if _, err := db.ExecContext(t.Context(), "CREATE UNIQUE INDEX ix ON t (x)"); err != nil {
		t.Fatal(err)
	}
	const add = "INSERT INTO t (x) VALUES ($1)"
	for range 2 {
		if _, err := db.ExecContext(t.Context(), add, 1); err == nil {
			t.Fatal("the same value twice in a unique column")
		}
	}
	if _, err := db.ExecContext(t.Context(), add, 4); err != nil {
		t.Errorf("after an error of the same statement: %v", err)
	}
	if _, err := db.ExecContext(t.Context(), "ALTER TABLE t ADD COLUMN y INTEGER"); err != nil {
		t.Fatal(err)
	}
	if n := count(); n != 2 {
		t.Errorf("%d columns after a column was added", n)
	}
}

func TestCacheable(t *testing.T) {
	for text, want := range map[string]bool{
		"SELECT 1":                                true,
		"\n\t\tselect\n\t\tx from t":              true,
		"INSERT INTO t VALUES ($1);":              true,
		"WITH a AS (SELECT 1) SELECT 1":           true,
		"INSERT INTO t VALUES (1); DELETE FROM t": false,
		"PRAGMA journal_mode":                     false,
		"CREATE TABLE t (x)":                      false,
		"BEGIN":                                   false,
		"":                                        false,
	} {
		if got := cacheable(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestWakesOnlyForCommittedEvents(t *testing.T) {
	wakes := 0
	db := cachedDB(t, func() { wakes++ })
	if _, err := db.ExecContext(t.Context(), "CREATE TABLE grace_events (id INTEGER)"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		text   string
		commit bool
		want   int
	}{
		{"INSERT INTO t VALUES (5)", true, 0},
		{"INSERT INTO grace_events (id) VALUES (1)", false, 0},
		{"INSERT INTO grace_events (id) VALUES (1)", true, 1},
		{"INSERT INTO t VALUES (6)", true, 1},
	} {
		tx, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.ExecContext(t.Context(), c.text); err != nil {
			t.Fatal(err)
		}
		if c.commit {
			err = tx.Commit()
		} else {
			err = tx.Rollback()
		}
		if err != nil || wakes != c.want {
			t.Errorf("after %s, commit %v: %d wakes, want %d; %v", c.text, c.commit, wakes, c.want, err)
		}
	}
}

// TestOneWriter: whichever of the pool's connections begins a transaction, the same
// writes, for which the database is as it left it; one that is broken is replaced.
func TestOneWriter(t *testing.T) {
	db := cachedDB(t, func() {})
	db.SetMaxOpenConns(2)
	var conns [2]*sql.Conn
	for i := range conns {
		conn, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		conns[i] = conn
	}
	write := func(i int, more ...string) (version int) {
		t.Helper()
		tx, err := conns[i].BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = tx.Rollback() }()
		for _, text := range append([]string{"INSERT INTO t VALUES (1)"}, more...) {
			if _, err := tx.ExecContext(t.Context(), text); err != nil {
				t.Fatal(err)
			}
		}
		if err := tx.QueryRowContext(t.Context(), "SELECT data_version FROM pragma_data_version").Scan(&version); err != nil {
			t.Fatal(err)
		}
		if err := tx.Commit(); (err != nil) != (len(more) > 0) {
			t.Fatal(err)
		}
		return version
	}
	count := func(want int) {
		t.Helper()
		for _, conn := range conns {
			var n int
			if err := conn.QueryRowContext(t.Context(), "SELECT count(*) FROM t").Scan(&n); err != nil || n != want {
				t.Errorf("%d rows, want %d; %v", n, want, err)
			}
		}
	}
	first := write(0)
	if v := write(1); v != first {
		t.Errorf("another connection has written: version %d after %d", v, first)
	}
	count(5)
	write(0, "ROLLBACK") // its commit fails
	write(1)
	count(6)
}

// A transaction that somebody forgot to end does not hang the others for ever.
func TestGateGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		owner := newCachingConnector(nil, false, func() {})
		holder, other := &cachingConn{owner: owner}, &cachingConn{owner: owner}
		if err := holder.enter(t.Context()); err != nil || !holder.gated {
			t.Fatalf("an open gate: %v", err)
		}
		began := time.Now()
		if err := other.enter(t.Context()); err != nil || other.gated {
			t.Errorf("a closed gate: error %v, gated %v", err, other.gated)
		}
		if waited := time.Since(began); waited != sqliteBusyTimeout {
			t.Errorf("waited %v, want %v", waited, sqliteBusyTimeout)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := other.enter(ctx); err == nil {
			t.Error("entered although cancelled")
		}
		other.leave() // was never in
		holder.leave()
		if err := other.enter(t.Context()); err != nil || !other.gated {
			t.Errorf("an open gate: %v", err)
		}
	})
}

// What the driver wants of a wrapper.
func TestConnUnwraps(t *testing.T) {
	conn, err := cachedDB(t, func() {}).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	err = conn.Raw(func(c any) error {
		if _, ok := c.(interface{ Unwrap() driver.Conn }); !ok {
			t.Error("no Unwrap")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
