package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"grace"
	"grace/internal/patience"
)

// daemonCommands are what scripts need to handle a real daemon that runs in
// the background with its log in serve.log:
//
//	exec sh -c 'exec grace serve --config grace.yaml 2>>serve.log' &serve&
func daemonCommands(t *testing.T) map[string]func(*testscript.TestScript, bool, []string) {
	w := waiter{t}
	return map[string]func(*testscript.TestScript, bool, []string){
		"freeport":  freePort,
		"await":     w.await,
		"awaitrun":  w.awaitRun,
		"hangup":    w.hangUp,
		"interrupt": interrupt,
	}
}

// freePort puts a free address for ${LISTEN} into the yaml files, and makes the
// commands that follow talk to it with the token that the daemon writes.
func freePort(ts *testscript.TestScript, _ bool, _ []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	addr := l.Addr().String()
	ts.Check(l.Close())
	files, err := filepath.Glob(ts.MkAbs("*.yaml"))
	ts.Check(err)
	for _, file := range files {
		data, err := os.ReadFile(file)
		ts.Check(err)
		ts.Check(os.WriteFile(file, bytes.ReplaceAll(data, []byte("${LISTEN}"), []byte(addr)), 0o600))
	}
	ts.Setenv("GRACE_URL", "http://"+addr)
	ts.Setenv("GRACE_TOKEN", "")
}

// scriptClient talks to the script's daemon.
func scriptClient(ts *testscript.TestScript) *client {
	a := testApp()
	a.url, a.tokenFile, a.timeout = ts.Getenv("GRACE_URL"), ts.MkAbs(defaultTokenFile), grace.Duration(10*time.Second)
	c, err := a.client()
	ts.Check(err)
	return c
}

// waiter waits for a script's daemon, for as long as the test run lasts.
type waiter struct{ t *testing.T }

func (w waiter) until(ts *testscript.TestScript, what string, ok func() bool) {
	ctx, cancel := patience.Context(w.t)
	defer cancel()
	for !ok() {
		select {
		case <-ctx.Done():
			ts.Fatalf("no %s until the end of the test run", what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// await waits until the daemon answers.
func (w waiter) await(ts *testscript.TestScript, _ bool, _ []string) {
	w.until(ts, "answer of the daemon", func() bool {
		if _, err := os.Stat(ts.MkAbs(defaultTokenFile)); err != nil {
			return false // the daemon writes it when it starts
		}
		_, err := scriptClient(ts).Mode(context.Background())
		return err == nil
	})
}

// awaitRun waits until there is a run in a state.
func (w waiter) awaitRun(ts *testscript.TestScript, _ bool, args []string) {
	w.until(ts, "run that is "+args[0], func() bool {
		runs, err := scriptClient(ts).Runs(context.Background(), nil)
		if err != nil {
			return false
		}
		for _, r := range runs.Value.Items {
			if r.Status == grace.RunStatus(args[0]) {
				return true
			}
		}
		return false
	})
}

// process finds the only background process of a script.
func process(ts *testscript.TestScript) *os.Process {
	all := ts.BackgroundCmds()
	if len(all) != 1 {
		ts.Fatalf("%d background commands, want 1", len(all))
	}
	return all[0].Process
}

// hangUp sends SIGHUP, and waits until the daemon's log says a text.
func (w waiter) hangUp(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(process(ts).Signal(syscall.SIGHUP))
	w.until(ts, args[0], func() bool {
		data, err := os.ReadFile(ts.MkAbs("serve.log"))
		return err == nil && strings.Contains(string(data), args[0])
	})
}

// interrupt sends SIGINT. The script's wait then sees how it ended.
func interrupt(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Check(process(ts).Signal(syscall.SIGINT))
}
