package pgtest_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"grace/internal/pgtest"
)

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	return conn
}

func TestStartGivesFreshDatabases(t *testing.T) {
	a, b := pgtest.Start(t), pgtest.Start(t)
	if a == b {
		t.Fatalf("both databases are %s", a)
	}
	if _, err := connect(t, a).Exec(t.Context(), "CREATE TABLE t (x int)"); err != nil {
		t.Fatal(err)
	}
	if _, err := connect(t, b).Exec(t.Context(), "CREATE TABLE t (x int)"); err != nil {
		t.Fatalf("the second database is not empty: %v", err)
	}
}

func TestClusterKeepsDataOverRestart(t *testing.T) {
	c := pgtest.StartCluster(t)
	url := c.URL(t, "kept")
	if _, err := connect(t, url).Exec(t.Context(), "CREATE TABLE t (x int)"); err != nil {
		t.Fatal(err)
	}
	c.Stop()
	if conn, err := pgx.Connect(t.Context(), url); err == nil {
		_ = conn.Close(t.Context())
		t.Fatal("a stopped cluster still answers")
	}
	c.Restart(t)
	if _, err := connect(t, c.URL(t, "kept")).Exec(t.Context(), "SELECT x FROM t"); err != nil {
		t.Fatalf("after the restart: %v", err)
	}
}
