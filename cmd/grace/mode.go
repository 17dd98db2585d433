package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"grace"
	"grace/internal/cli"
)

func modes() []grace.Mode {
	return []grace.Mode{grace.ModeAutonomous, grace.ModeAskAlways, grace.ModeObserveOnly, grace.ModeStopped}
}

func newMode(a *app) *cobra.Command {
	mode := &cobra.Command{
		Use:   "mode",
		Short: "How much GRACE may do by itself",
		Long: `How much GRACE may do by itself:

  autonomous    acts when every gate agrees, asks otherwise
  ask_always    asks before every run
  observe_only  records what it would have done
  stopped       denies every proposal, so nothing starts`,
		RunE: onlyGroup,
	}
	get := &cobra.Command{
		Use:   "get",
		Short: "Show the mode in force, and who set it",
		Args:  cli.ExactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			m, err := c.Mode(cmd.Context())
			if err != nil {
				return err
			}
			return a.Show(m.Raw, func(w io.Writer) { a.modeLine(w, m.Value) })
		},
	}
	mode.AddCommand(get, newModeSet(a))
	return mode
}

func newModeSet(a *app) *cobra.Command {
	var (
		reason  string
		expires grace.Duration
	)
	names := cli.Join(modes())
	cmd := &cobra.Command{
		Use:       "set MODE --reason WHY [--expires 2h]",
		Short:     "Put a mode in force",
		Long:      "Put a mode in force: " + names + ". It is kept across restarts; with\n--expires the mode before it comes back by itself.",
		Example:   "  grace mode set observe_only --reason \"database migration\" --expires 2h",
		ValidArgs: strings.Split(names, ", "),
		Args:      cli.ExactArgs("MODE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !strings.Contains(", "+names+", ", ", "+args[0]+", ") {
				return cli.UsageError(fmt.Sprintf("%q is not a mode", args[0]), "the modes are "+names)
			}
			if err := needReason(reason); err != nil {
				return err
			}
			if expires < 0 {
				return cli.UsageError("--expires is in the past", "give how long the mode is to last, for example 2h")
			}
			var until *time.Time
			if expires > 0 {
				t := a.now().Add(expires.D())
				until = &t
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			m, err := c.SetMode(cmd.Context(), grace.Mode(args[0]), reason, until)
			if err != nil {
				return err
			}
			return a.Show(m.Raw, func(w io.Writer) { a.modeLine(w, m.Value) })
		},
	}
	reasonFlag(cmd, &reason)
	cmd.Flags().TextVar(&expires, "expires", grace.Duration(0), "for which `duration`, for example 2h or 1d")
	return cmd
}
