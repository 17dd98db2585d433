package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"grace"
	"grace/internal/cli"
	"grace/internal/stage/propose"
)

// newRun makes the command that runs a playbook by hand.
func newRun(a *app) *cobra.Command {
	var (
		params   []string
		reason   string
		override bool
	)
	cmd := &cobra.Command{
		Use:   "run PLAYBOOK SERVICE --reason WHY",
		Short: "Run a playbook on a service by hand",
		Long: `Run a playbook on a service by hand. It goes through the same gates as any run,
but for the evidence, which you have seen yourself, and is recorded as yours. A
guardrail that says no asks for approval as ever. It needs a token with the role
approver.

With --override the limits of time pass: rate, backoff, duplicate, circuit
breaker. The exit code is 6 when a gate refuses and nothing is done.`,
		Example: "  grace run restart_service web --reason \"it hangs, I have looked\"",
		Args:    cli.ExactArgs("PLAYBOOK", "SERVICE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := needReason(reason); err != nil {
				return err
			}
			given, err := parameters(params)
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			d, err := c.RunByHand(cmd.Context(), grace.PlaybookID(args[0]), grace.ServiceID(args[1]), given, reason, override)
			if err != nil {
				return refusedNames(cmd.Context(), c, err, args[0], args[1])
			}
			if err := a.Show(d.Raw, func(w io.Writer) { a.byHand(w, d.Value, override) }); err != nil {
				return err
			}
			if v := d.Value.Verdict; v != grace.VerdictAllow && v != grace.VerdictRequireApproval {
				return &cli.Failure{Code: cli.ExitNotAllowed, Message: "nothing was done", Silent: true}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&params, "param", nil, "a parameter as name=value; repeat for more")
	f.BoolVar(&override, "override", false, "let the limits of time pass, not the guardrails")
	reasonFlag(cmd, &reason)
	return cmd
}

func (a *app) byHand(w io.Writer, d grace.Decision, override bool) {
	switch d.Verdict {
	case grace.VerdictAllow:
		_, _ = fmt.Fprintf(w, "Run %s starts. Follow it with: grace runs show %s\n", d.Run, d.Run)
		return
	case grace.VerdictRequireApproval:
		_, _ = fmt.Fprintf(w, "Run %s waits for approval. See why with: grace why %s\n", d.Run, d.Run)
	case grace.VerdictObserve:
		_, _ = fmt.Fprintln(w, "Nothing was done: GRACE only observes.")
	case grace.VerdictDeny, grace.VerdictNone:
		_, _ = fmt.Fprintln(w, "Nothing was done.")
		if failed := d.Failed(); !override && len(failed) > 0 && !slices.ContainsFunc(failed, func(r grace.Reason) bool { return !propose.Overridable(r.Code) }) {
			_, _ = fmt.Fprintln(w, "Limits of time may pass with --override; guardrails and policies may not.")
		}
	}
	a.gates(w, d.Failed())
}

// newSignals makes the commands about signals.
func newSignals(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "signals", Short: "What sensors and others say of services", RunE: onlyGroup}
	var reason string
	forget := &cobra.Command{
		Use:   "forget KEY --reason WHY",
		Short: "Drop a signal that means nothing any more",
		Long: `Drop a signal that means nothing any more, for example an alert whose source is
gone. One that is configured begins anew, without data. grace services SERVICE
shows the keys.`,
		Args: cli.ExactArgs("KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := needReason(reason); err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			if err := c.ForgetSignal(cmd.Context(), grace.SignalKey(args[0]), reason); err != nil {
				return hinted(err, cli.ExitNotFound, "see the keys with: grace services SERVICE")
			}
			_, _ = fmt.Fprintf(cmd.OutOrStdout(), "Signal %s is forgotten.\n", args[0])
			return nil
		},
	}
	reasonFlag(forget, &reason)
	cmd.AddCommand(forget)
	return cmd
}
