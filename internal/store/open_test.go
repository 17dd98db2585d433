package store_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"grace"
	"grace/internal/event"
	"grace/internal/pgtest"
	"grace/internal/store"
)

func TestReopenKeepsEverything(t *testing.T) {
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			url := b.url(t)
			first := open(t, url)
			apply(t, first, event.Given{Runs: []grace.Run{run("r-1", 1, grace.RunRunning)}, Audit: []grace.AuditEntry{entry("run/r-1")}})
			first.Close()
			first.Close() // harmless
			second := open(t, url)
			equal(t, must[grace.Run](t)(second.Run(t.Context(), second.Q(), "r-1")), run("r-1", 1, grace.RunRunning))
			apply(t, second, event.Given{Audit: []grace.AuditEntry{entry("run/r-1")}})
			r := must[store.AuditReport](t)(second.VerifyAudit(t.Context()))
			equal(t, []any{r.OK, r.Entries}, []any{true, int64(2)})
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		tamper string
		key    string
		want   string
	}{
		"newer schema":     {"UPDATE grace_meta SET value = '99' WHERE key = 'schema_version'", "", "run the newer grace"},
		"corrupt version":  {"UPDATE grace_meta SET value = 'x' WHERE key = 'schema_version'", "", "restore a backup"},
		"negative version": {"UPDATE grace_meta SET value = '-1' WHERE key = 'schema_version'", "", "restore a backup"},
		"another key":      {"", "another key", "audit key is not the one"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, b := range backends {
				t.Run(b.name, func(t *testing.T) {
					url := b.url(t)
					s := open(t, url)
					if c.tamper != "" {
						mustExec(t, s, c.tamper)
					}
					s.Close()
					auditKey := key
					if c.key != "" {
						auditKey = []byte(c.key)
					}
					s, err := store.Open(t.Context(), store.Options{URL: url, AuditKey: auditKey})
					if err == nil {
						s.Close()
					}
					if err == nil || !strings.Contains(err.Error(), c.want) {
						t.Errorf("error %v, want %q", err, c.want)
					}
				})
			}
		})
	}
}

func TestOpenRefusesOptions(t *testing.T) {
	for name, c := range map[string]struct {
		o    store.Options
		want string
	}{
		"no key":         {store.Options{URL: "sqlite:x.db"}, "audit key"},
		"another scheme": {store.Options{URL: "mysql://root:secret@host/db", AuditKey: key}, "sqlite:PATH"},
		"no path":        {store.Options{URL: "sqlite:", AuditKey: key}, "sqlite:PATH"},
		"no server":      {store.Options{URL: "postgres://u:secret@/db?host=/nonexistent", AuditKey: key}, "is the server running"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := store.Open(t.Context(), c.o)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the error tells the password: %v", err)
			}
		})
	}
}

func TestSQLiteFilesAreTheOwnersAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data dir?#%", "grace")
	path := filepath.Join(dir, "grace.db")
	s := open(t, "sqlite:"+path)
	apply(t, s, event.Given{Outbox: []grace.Event{message("x")}})
	for file, want := range map[string]os.FileMode{
		dir: os.ModeDir | 0o700, path: 0o600, path + "-wal": 0o600, path + "-shm": 0o600,
	} {
		info, err := os.Stat(file)
		if err != nil {
			t.Error(err)
		} else if info.Mode() != want {
			t.Errorf("%s: mode %v, want %v", file, info.Mode(), want)
		}
	}
}

func TestSQLiteDamagedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "grace.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("not a database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := store.Open(t.Context(), store.Options{URL: "sqlite:" + path, AuditKey: key})
	if err == nil || !strings.Contains(err.Error(), "restore it from a backup") {
		t.Errorf("error %v", err)
	}
}

func TestSQLiteSettings(t *testing.T) {
	s := open(t, "sqlite:"+filepath.Join(t.TempDir(), "grace.db"))
	for pragma, want := range map[string]string{
		"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "5000",
	} {
		var got string
		if err := s.SQL().QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("%s is %s, want %s", pragma, got, want)
		}
	}
}

// Replicas that start at once on an empty database both get a whole schema.
func TestOpenAtOnce(t *testing.T) {
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			url := b.url(t)
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					s, err := store.Open(t.Context(), store.Options{URL: url, AuditKey: key})
					if err != nil {
						t.Error(err)
						return
					}
					defer s.Close()
					if err := tryApply(t.Context(), s, event.Given{Audit: []grace.AuditEntry{entry("x")}}); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			s := open(t, url)
			r := must[store.AuditReport](t)(s.VerifyAudit(t.Context()))
			equal(t, []any{r.OK, r.Entries}, []any{true, int64(4)})
		})
	}
}

// A role without rights on the database can run on a schema made beforehand.
func TestPostgresPlainRole(t *testing.T) {
	url := pgtest.Start(t)
	s := open(t, url)
	for _, text := range []string{
		"CREATE ROLE plain LOGIN", "GRANT USAGE ON SCHEMA grace TO plain",
		"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA grace TO plain",
	} {
		mustExec(t, s, strings.ReplaceAll(text, "grace_", "grace."))
	}
	t.Cleanup(func() {
		_, _ = s.Q().Exec(context.WithoutCancel(t.Context()), "DROP OWNED BY plain")
		_, _ = s.Q().Exec(context.WithoutCancel(t.Context()), "DROP ROLE plain")
	})
	plain := open(t, strings.Replace(url, "postgres@", "plain@", 1))
	apply(t, plain, event.Given{Runs: []grace.Run{run("r-1", 1, grace.RunRunning)}, Audit: []grace.AuditEntry{entry("x")}})
}

func TestDoRollsBack(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		fail := errors.New("no")
		write := func(ctx context.Context, tx store.Tx) {
			if err := s.SetCursor(ctx, tx, "c", 1); err != nil {
				t.Fatal(err)
			}
		}
		err := s.Do(t.Context(), func(ctx context.Context, tx store.Tx) error {
			write(ctx, tx)
			return fail
		})
		if !errors.Is(err, fail) {
			t.Errorf("error %v, want the function's own", err)
		}
		func() {
			defer func() { _ = recover() }()
			_ = s.Do(t.Context(), func(ctx context.Context, tx store.Tx) error {
				write(ctx, tx)
				panic("boom")
			})
		}()
		equal(t, must[int64](t)(s.Cursor(t.Context(), s.Q(), "c")), int64(0))
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Do(cancelled, func(context.Context, store.Tx) error { return nil }); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want cancelled", err)
		}
		apply(t, s, event.Given{Audit: []grace.AuditEntry{entry("x")}}) // nothing is left locked
	})
}

// Another process that holds the write lock longer than SQLite waits does not
// fail a transaction at once.
func TestSQLiteLockedIsRetried(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for SQLite's busy timeout")
	}
	url := "sqlite:" + filepath.Join(t.TempDir(), "grace.db")
	other, s := open(t, url), open(t, url)
	held, release := make(chan struct{}), time.After(5500*time.Millisecond)
	done := make(chan error, 1)
	go func() {
		done <- other.Do(context.WithoutCancel(t.Context()), func(context.Context, store.Tx) error {
			close(held)
			<-release
			return nil
		})
	}()
	<-held
	apply(t, s, event.Given{Audit: []grace.AuditEntry{entry("x")}})
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// Two transactions that lock each other's rows: one is run again.
func TestPostgresDeadlockIsRetried(t *testing.T) {
	s := open(t, pgtest.Start(t))
	var both, wg sync.WaitGroup
	both.Add(2)
	for _, names := range [][2]string{{"a", "b"}, {"b", "a"}} {
		wg.Go(func() {
			var once sync.Once
			err := s.Do(t.Context(), func(ctx context.Context, tx store.Tx) error {
				if err := s.SetCursor(ctx, tx, names[0], 1); err != nil {
					return err
				}
				once.Do(func() { both.Done(); both.Wait() })
				return s.SetCursor(ctx, tx, names[1], 2)
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
