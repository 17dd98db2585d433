package daemon

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

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
