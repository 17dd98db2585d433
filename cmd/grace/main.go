// Command grace runs and talks to GRACE: the daemon (serve) and its operators'
// tool (status, runs, why, approve, mode, ...). What shows GRACE and simulates
// it is another program, grace-demo.
//
// Every command but serve, check, playbooks lint and config is a client of the
// HTTP API: what can be done here can be done by any program with a token. What
// a command found goes to stdout, as a table or, with --json, as the API's own
// answer; problems go to stderr with a hint and an exit code that a script can
// rely on (see `grace help exit-codes`).
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(mainCode()) }

// mainCode is main without the exit, so that the tests run the real binary in
// their own process image.
func mainCode() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return run(ctx, newApp(os.Stdin, os.Stdout, os.Stderr, os.LookupEnv), os.Args[1:])
}
