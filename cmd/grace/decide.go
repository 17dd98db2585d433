package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"grace"
	"grace/internal/cli"
)

// newDecision makes approve or deny.
func newDecision(a *app, approve bool) *cobra.Command {
	name, short := "approve", "Let a run that waits for approval go on"
	if !approve {
		name, short = "deny", "Refuse a run that waits for approval"
	}
	var (
		reason   string
		revision int
	)
	cmd := &cobra.Command{
		Use:   name + " RUN --reason WHY",
		Short: short,
		Long: short + `.

The answer is given to the question as it stands now. With --revision it counts
only if the approval still is as you saw it (grace why RUN --json shows it).
When somebody was first, or the question expired, the exit code is 4 and the
message says who and when.`,
		Args: cli.ExactArgs("RUN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := needReason(reason); err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			id := grace.ApprovalID(args[0])
			seen := revision
			if seen == 0 {
				p, err := c.Approval(cmd.Context(), id)
				if err != nil {
					return hinted(err, cli.ExitNotFound, "see what waits for an answer: grace status")
				}
				seen = p.Value.Revision
			}
			p, err := c.Decide(cmd.Context(), id, approve, reason, seen)
			if err != nil {
				return hinted(err, cli.ExitNotFound, "see what waits for an answer: grace status")
			}
			return a.Show(p.Raw, func(w io.Writer) {
				_, _ = fmt.Fprintf(w, "%s: %s on %s is %s. Follow it with: grace runs show %s\n", p.Value.Run, p.Value.Playbook, p.Value.Service, p.Value.State, p.Value.Run)
			})
		},
	}
	reasonFlag(cmd, &reason)
	cmd.Flags().IntVar(&revision, "revision", 0, "the revision you saw (default: the one now)")
	return cmd
}
