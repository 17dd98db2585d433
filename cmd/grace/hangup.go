package main

import (
	"context"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/mattn/go-isatty"
)

// terminal is what a process was started in: those of its standard streams that
// were one.
type terminal []uintptr

// ownTerminal gives the terminal of this process. Under nohup, which ignores
// SIGHUP, there is none: to go on is what was asked for. It must be called
// before SIGHUP is listened to.
func ownTerminal() terminal {
	if signal.Ignored(syscall.SIGHUP) {
		return nil
	}
	all := terminal{os.Stdin.Fd(), os.Stdout.Fd(), os.Stderr.Fd()}
	return slices.DeleteFunc(all, func(fd uintptr) bool { return !isatty.IsTerminal(fd) })
}

const (
	// hangupWait is how long a shell that ends may take from its SIGHUP until
	// the terminal is gone. A reload by hand waits as long, in a terminal only.
	hangupWait = 500 * time.Millisecond
	hangupLook = 20 * time.Millisecond
)

// closed tells whether the terminal is no more.
func (t terminal) closed(ctx context.Context) bool {
	if len(t) == 0 {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, hangupWait)
	defer cancel()
	look := time.NewTicker(hangupLook)
	defer look.Stop()
	for {
		if slices.ContainsFunc(t, func(fd uintptr) bool { return !isatty.IsTerminal(fd) }) {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-look.C:
		}
	}
}
