package main

import (
	"errors"
	"io"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"grace/internal/patience"
)

func startChild(t *testing.T, command ...string) *child {
	t.Helper()
	c := &child{command: command, log: filepath.Join(t.TempDir(), "log"), tell: &teller{w: io.Discard, now: time.Now}}
	if err := c.start(); err != nil {
		t.Fatal(err)
	}
	return c
}

// waitFor polls, because what it waits for is another process.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	patience.Until(t, func() error {
		if !ok() {
			return errors.New("no " + what)
		}
		return nil
	})
}

func TestKilledChildIsStartedAgain(t *testing.T) {
	t.Parallel()
	c := startChild(t, "sleep", "60")
	first := c.pid()
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "second start", func() bool { return c.pid() != first })
	second := c.pid()
	c.stop()
	if err := syscall.Kill(second, 0); err == nil {
		t.Errorf("process %d is still there after stop", second)
	}
	if c.err != nil {
		t.Errorf("ended with %v, want nothing", c.err)
	}
}

func TestChildThatEndsIsAnError(t *testing.T) {
	t.Parallel()
	c := startChild(t, "sh", "-c", "echo bad configuration >&2; exit 3")
	err := c.ready(t.Context(), "http://127.0.0.1:1")
	if err == nil || !strings.Contains(err.Error(), "bad configuration") {
		t.Errorf("got %v, want the end of its log", err)
	}
	c.stop()
}

func TestChildThatCannotStart(t *testing.T) {
	t.Parallel()
	c := &child{command: []string{"/no/such/program"}, log: filepath.Join(t.TempDir(), "log"), tell: &teller{w: io.Discard, now: time.Now}}
	if err := c.start(); err == nil {
		t.Error("started a program that is not there")
	}
}
