package daemon

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"grace/internal/config"
)

// A database whose key is lost is refused, and no other key is left where the
// right one is to be restored.
func TestLostAuditKey(t *testing.T) {
	cfg := &config.Config{DataDir: t.TempDir()}
	s, err := OpenStore(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	key := filepath.Join(cfg.DataDir, keyFile)
	if err := os.Rename(key, key+".lost"); err != nil {
		t.Fatal(err)
	}
	if s, err := OpenStore(t.Context(), cfg); err == nil {
		s.Close()
		t.Fatal("opened with a new key")
	}
	if _, err := os.Stat(key); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a new key was left behind: %v", err)
	}
	if err := os.Rename(key+".lost", key); err != nil {
		t.Fatal(err)
	}
	s, err = OpenStore(t.Context(), cfg)
	if err != nil {
		t.Fatalf("with the key restored: %v", err)
	}
	s.Close()
}

// TestPrivate: with the key others could forge everything that GRACE proves.
func TestPrivate(t *testing.T) {
	cfg := &config.Config{DataDir: t.TempDir()}
	s, err := OpenStore(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	key := filepath.Join(cfg.DataDir, keyFile)
	for path, mode := range map[string]fs.FileMode{key: 0o640, cfg.DataDir: 0o777} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if s, err := OpenStore(t.Context(), cfg); err == nil {
			s.Close()
			t.Errorf("%s was taken with the mode %o", path, mode)
		} else if !strings.Contains(err.Error(), "chmod go-rwx "+path) {
			t.Errorf("without what to do: %v", err)
		}
		if err := os.Chmod(path, info.Mode().Perm()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTemporaryFile: what lies at the name of a temporary file, a link to
// somewhere else, is not written to.
func TestTemporaryFile(t *testing.T) {
	dir := t.TempDir()
	victim, path := filepath.Join(dir, "victim"), filepath.Join(dir, "audit.key")
	if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, path+".tmp"); err != nil {
		t.Fatal(err)
	}
	if err := writeSecret(path, "secret"); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(victim); err != nil || string(data) != "precious" {
		t.Errorf("the link was followed: %q %v", data, err)
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "secret\n" {
		t.Errorf("%q %v", data, err)
	}
}

// TestSecondDaemon: the folder itself is locked. A lock file could be deleted.
func TestSecondDaemon(t *testing.T) {
	cfg := &config.Config{DataDir: t.TempDir()}
	first, err := openHome(cfg, true)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(cfg.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != keyFile {
			_ = os.Remove(filepath.Join(cfg.DataDir, e.Name()))
		}
	}
	if second, err := openHome(cfg, true); err == nil {
		_ = second.close()
		t.Fatal("a second daemon has the folder")
	}
	if err := first.close(); err != nil {
		t.Fatal(err)
	}
	second, err := openHome(cfg, true)
	if err != nil {
		t.Fatal(err)
	}
	_ = second.close()
}

// TestDatabaseFileGone: the file that is open is the one that is there.
func TestDatabaseFileGone(t *testing.T) {
	cfg := &config.Config{DataDir: t.TempDir()}
	s, err := OpenStore(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	h := &dataDirectory{cfg: cfg}
	opened, err := h.databaseFile()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.sameFile(opened); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(cfg.DataDir, databaseFile)
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	if err := h.sameFile(opened); err == nil || !strings.Contains(err.Error(), "was deleted") {
		t.Errorf("deleted: %v", err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := h.sameFile(opened); err == nil || !strings.Contains(err.Error(), "deleted or replaced") {
		t.Errorf("replaced: %v", err)
	}
}

// TestReadyAnswers: who asks whether GRACE is ready gets an answer, also while
// the database gives none; all who ask at once leave it one question.
func TestReadyAnswers(t *testing.T) {
	var a asking
	release := make(chan struct{})
	asked := 0
	stuck := func() error { asked++; <-release; return nil }
	first := a.ask(stuck)
	if second := a.ask(stuck); second != first {
		t.Error("a second question was put to a database that does not answer")
	}
	close(release)
	<-first.done
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	if third := a.ask(func() error { return errors.New("away") }); third == first {
		t.Error("an old answer is given")
	} else if <-third.done; third.err == nil {
		t.Error("the answer is lost")
	}
}

// TestStopEnds: a part that does not end is left behind.
func TestStopEnds(t *testing.T) {
	forever := make(chan struct{})
	defer close(forever)
	if err := within(time.Millisecond, "the loop", func() error { <-forever; return nil }); err == nil || !strings.Contains(err.Error(), "the loop did not end") {
		t.Error(err)
	}
	if err := within(time.Minute, "the loop", func() error { return nil }); err != nil {
		t.Error(err)
	}
}
