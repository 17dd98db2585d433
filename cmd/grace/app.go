package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"grace"
	"grace/internal/cli"
	"grace/internal/config"
)

// Where the client looks when it is not told.
const (
	defaultURL       = "http://127.0.0.1:8000"
	defaultTokenFile = "grace-data/cli.token"
)

// app is what every command shares: the streams, the global flags, the clock.
type app struct {
	*cli.Output
	in  io.Reader
	env func(string) (string, bool)
	now func() time.Time

	url       string
	token     string
	tokenFile string
	timeout   grace.Duration
	utc       bool
}

func newApp(in io.Reader, out, err io.Writer, env func(string) (string, bool)) *app {
	return &app{Output: cli.NewOutput(out, err, env), in: in, env: env, now: time.Now}
}

// run executes one command line and gives its exit code.
func run(ctx context.Context, a *app, args []string) int {
	root := newRoot(a)
	root.SetIn(a.in)
	return a.Execute(ctx, root, args)
}

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "grace",
		Short: "Self-healing for services: sense, diagnose, decide, act, verify, undo",
		Long: `GRACE keeps services healthy by itself: it senses, finds the cause, picks a
playbook, asks its trust core, acts, verifies, undoes what did not help, learns,
and leaves a proof of everything it did.

  See it work:       grace-demo (a program of its own)
  Check a config:    grace check grace.yaml
  Run it:            grace serve --config grace.yaml
  Ask it:            grace status; grace why RUN

Commands talk to a running daemon: --url or GRACE_URL, with a token from
--token, GRACE_TOKEN or the file that the daemon wrote (--token-file).`,
		Args: cobra.ArbitraryArgs, // onlyGroup says what was probably meant
		RunE: onlyGroup,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			a.defaults()
			return nil
		},
	}
	f := root.PersistentFlags()
	f.StringVar(&a.url, "url", "", "address of the daemon (env GRACE_URL, default "+defaultURL+")")
	f.StringVar(&a.token, "token", "", "API token (env GRACE_TOKEN; prefer it to the flag, which others can see)")
	f.StringVar(&a.tokenFile, "token-file", "", "file with the token, used when none is given (env GRACE_TOKEN_FILE, default ./"+defaultTokenFile+")")
	f.TextVar(&a.timeout, "timeout", grace.Duration(15*time.Second), "wait this `duration` for the daemon's answer")
	f.BoolVar(&a.JSON, "json", false, "print JSON: the API's own answer")
	f.BoolVar(&a.utc, "utc", false, "print times in UTC instead of local time")
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	root.AddGroup(
		&cobra.Group{ID: groupRun, Title: "Run GRACE:"},
		&cobra.Group{ID: groupSee, Title: "See what it does and why:"},
		&cobra.Group{ID: groupSteer, Title: "Steer it:"},
	)
	for _, group := range []struct {
		id       string
		commands []*cobra.Command
	}{
		{groupRun, []*cobra.Command{newServe(a), newCheck(a), newConfig(a), newForecast(a)}},
		{groupSee, []*cobra.Command{newStatus(a), newServices(a), newSensors(a), newRuns(a), newWhy(a), newIncidents(a), newPredictions(a), newLearning(a), newDomains(a), newAudit(a), newReplay(a), newBacktest(a)}},
		{groupSteer, []*cobra.Command{newDecision(a, true), newDecision(a, false), newRun(a), newSilence(a), newMode(a), newPlaybooks(a), newSignals(a), newNotify(a), newReload(a), newToken(a)}},
	} {
		for _, c := range group.commands {
			c.GroupID = group.id
			root.AddCommand(c)
		}
	}
	root.AddCommand(newVersion(a), newExitCodes())
	a.completeIDs(root)
	return root
}

// defaults fills in what the flags leave open.
func (a *app) defaults() {
	a.url = a.orEnv(a.url, "GRACE_URL", defaultURL)
	a.token = a.orEnv(a.token, "GRACE_TOKEN", "")
	a.tokenFile = a.orEnv(a.tokenFile, "GRACE_TOKEN_FILE", defaultTokenFile)
}

const (
	groupRun   = "run"
	groupSee   = "see"
	groupSteer = "steer"
)

func (a *app) orEnv(value, name, otherwise string) string {
	if value != "" {
		return value
	}
	if v, ok := a.env(name); ok && v != "" {
		return v
	}
	return otherwise
}

// onlyGroup is the body of a command that only holds others.
func onlyGroup(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	hint := "see: " + cmd.CommandPath() + " --help"
	k := config.Suggest(args[0], names)
	if i := slices.IndexFunc(names, func(n string) bool { return strings.HasPrefix(n, args[0]) }); k == "" && i >= 0 {
		k = names[i]
	}
	if k != "" {
		hint = "did you mean " + cmd.CommandPath() + " " + k + "? " + hint
	}
	return cli.UsageError(fmt.Sprintf("unknown command %q for %q", args[0], cmd.CommandPath()), hint)
}
