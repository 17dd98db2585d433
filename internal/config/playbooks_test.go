package config

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestPlaybooksAreFiles: a device without an end, a pipe that nobody writes to
// and a file of any size are problems of the folder; nothing waits for them.
func TestPlaybooksAreFiles(t *testing.T) {
	dir := t.TempDir()
	for name, make := range map[string]func(path string) error{
		"zero.yaml": func(path string) error { return os.Symlink("/dev/zero", path) },
		"fifo.yaml": func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"huge.yaml": func(path string) error {
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				return err
			}
			return os.Truncate(path, maxPlaybookFile+1)
		},
	} {
		path := filepath.Join(dir, name)
		if err := make(path); err != nil {
			t.Fatal(err)
		}
		_, problems := Parse("grace.yaml", []byte("playbooks_dir: ."), dir, testOptions())
		found := false
		for _, p := range problems {
			found = found || strings.HasSuffix(p.File, name)
		}
		if !found {
			t.Errorf("%s: %v", name, problems)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}
