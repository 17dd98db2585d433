// Command grace-demo shows GRACE at work, and tries it in a simulation. None of
// it is needed where GRACE runs, so it is a program of its own.
//
//	grace-demo       a small shop of real processes is broken, and GRACE heals it
//	grace-demo sim   GRACE's own code lives through made-up stories in virtual time
//
// The demo starts GRACE as its users do, by `grace serve`, and talks to it over
// the HTTP API. It starts the shop's processes from this binary (package
// examples/shop). Both are ended with it; GRACE is started again when somebody
// kills it, and the shop outlives that.
//
// Exit codes are those of grace: 0 only when every fault ended as told and no
// invariant broke.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"grace/internal/cli"
)

func main() { os.Exit(mainCode()) }

// mainCode is main without the exit, so that the tests run the real binary in
// their own process image.
func mainCode() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	a := newApp(os.Stdout, os.Stderr, os.LookupEnv)
	return a.Execute(ctx, newRoot(a), os.Args[1:])
}

// app is what every command shares: where it writes, and the clock.
type app struct {
	*cli.Output
	now func() time.Time
	utc bool
}

func newApp(out, err io.Writer, env func(string) (string, bool)) *app {
	return &app{Output: cli.NewOutput(out, err, env), now: time.Now}
}
