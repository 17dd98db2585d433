package shop

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"
)

// defaultPoll is how often the platform looks at each replica.
const defaultPoll = 500 * time.Millisecond

const usage = `usage: shop platform [-dir DIR] [-port PORT] [-load FACTOR] [-poll DURATION]

Starts the shop in the foreground: a platform on PORT (18080), the services
frontend, catalog, cart, checkout, cache and store on the six ports that
follow, and customers. The subcommands service and load are the platform's own.
`

// Main is the shop's command line; args follow the program's name, or the
// subcommand under which another binary has embedded it. The processes that
// the shop starts are the running binary with the same words before args, so
// args must be the tail of os.Args. It gives the exit code: 0 ended as told,
// 1 failed, 2 wrong usage.
func Main(args []string) int {
	err := run(args)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUsage):
		fmt.Fprint(os.Stderr, usage)
		return 2
	}
	fmt.Fprintln(os.Stderr, "shop:", err)
	return 1
}

var errUsage = errors.New("wrong usage")

func run(args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	switch args[0] {
	case "platform":
		s, err := parse(args)
		if err != nil {
			return err
		}
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		return runPlatform(ctx, s)
	case "service":
		ignoreInterrupt()
		return runReplica(os.Stdin, os.Stdout)
	case "load":
		ignoreInterrupt()
		return runLoad(os.Stdin)
	}
	return errUsage
}

// ignoreInterrupt leaves it to the platform to end its children, in order,
// when a terminal interrupts them all.
func ignoreInterrupt() { signal.Ignore(os.Interrupt) }

func parse(args []string) (settings, error) {
	s := settings{}
	flags := flag.NewFlagSet("platform", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&s.dir, "dir", ".", "")
	flags.IntVar(&s.port, "port", DefaultPort, "")
	flags.Float64Var(&s.load, "load", 1, "")
	flags.DurationVar(&s.poll, "poll", defaultPoll, "")
	if err := flags.Parse(args[1:]); err != nil || flags.NArg() > 0 || s.poll <= 0 {
		return s, errUsage
	}
	before := len(os.Args) - len(args)
	if before < 1 || !slices.Equal(os.Args[before:], args) {
		return s, errors.New("the arguments are not the tail of the command line, so the shop cannot start itself again")
	}
	self, err := os.Executable()
	if err != nil {
		return s, fmt.Errorf("find this binary: %w", err)
	}
	s.command = append([]string{self}, os.Args[1:before]...)
	return s, nil
}
