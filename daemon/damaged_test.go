package daemon_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"grace/internal/patience"
)

// TestOverwritten: a database that is overwritten under the daemon keeps
// neither /readyz from answering nor the process from ending.
func TestOverwritten(t *testing.T) {
	t.Parallel()
	h := newHome(t, queueObjective)
	p := h.spawn(t)
	for _, ending := range []string{"", "-wal", "-shm"} {
		path := filepath.Join(h.dir, "grace.db"+ending)
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		if err := os.WriteFile(path, []byte(strings.Repeat("damaged ", int(info.Size())/8+1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	answered := make(chan int, 1)
	go func() {
		status, _, _ := p.try(http.MethodGet, "/readyz", nil)
		answered <- status
	}()
	select {
	case <-answered: // whatever it says: what is cached may still be read
	case <-ctx.Done():
		t.Fatal("/readyz does not answer")
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.exited:
	case <-ctx.Done():
		t.Error("SIGTERM did not end it")
	}
}

// TestDatabaseDeleted: a daemon whose database file goes away says so and ends,
// in place of writing to a file that nobody will find.
func TestDatabaseDeleted(t *testing.T) {
	t.Parallel()
	h := newHome(t, queueObjective)
	p := h.spawn(t)
	if err := os.Remove(filepath.Join(h.dir, "grace.db")); err != nil {
		t.Fatal(err)
	}
	patience.Until(t, func() error {
		select {
		case <-p.exited:
			return nil
		default:
			return errors.New("it goes on without its database file")
		}
	})
	if !strings.Contains(p.stderr.String(), "was deleted") && !strings.Contains(p.stderr.String(), "deleted or replaced") {
		t.Errorf("it does not say why it ended:\n%s", p.stderr.String())
	}
}
