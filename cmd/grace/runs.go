package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"grace"
	"grace/internal/api"
	"grace/internal/cli"
	"grace/internal/explain"
)

func newRuns(a *app) *cobra.Command {
	runs := &cobra.Command{
		Use:   "runs",
		Short: "What GRACE did: runs of playbooks",
		RunE:  onlyGroup,
	}
	runs.AddCommand(newRunsList(a), newRunsShow(a), newRunsAbort(a))
	return runs
}

func newRunsList(a *app) *cobra.Command {
	var (
		q                         cli.ListQuery
		status, service, playbook string
		since                     grace.Duration
		open                      bool
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List runs, newest first",
		Args:  cli.ExactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := knownStatus(status); err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			v := q.Values("status", status, "service", service, "playbook", playbook)
			if since > 0 {
				v.Set("from", a.now().Add(-since.D()).UTC().Format(time.RFC3339))
			}
			if open {
				v.Set("open", "true")
			}
			runs, err := c.Runs(cmd.Context(), v)
			if err == nil && len(runs.Value.Items) == 0 {
				err = emptyFor(cmd.Context(), c, playbook, service)
			}
			if err != nil {
				return err
			}
			return a.Show(runs.Raw, func(w io.Writer) {
				if len(runs.Value.Items) == 0 {
					_, _ = fmt.Fprintln(w, "No runs.")
					return
				}
				a.runTable(w, runs.Value.Items)
				more(w, cmd, runs.Value.Next)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&status, "status", "", "only runs with this status, for example awaiting_approval")
	f.StringVar(&service, "service", "", "only runs on this service")
	f.StringVar(&playbook, "playbook", "", "only runs of this playbook")
	f.TextVar(&since, "since", grace.Duration(0), "only runs made in the last `duration`, for example 24h or 7d")
	f.BoolVar(&open, "open", false, "only runs that have not ended")
	pageFlags(cmd, &q)
	return cmd
}

// knownStatus holds --status to what the status of a run can be.
func knownStatus(status string) error {
	if status == "open" {
		return cli.UsageError("open is not the status of a run", "for those that have not ended: --open")
	}
	return oneOf("status", status, grace.RunStatuses())
}

func pageFlags(cmd *cobra.Command, q *cli.ListQuery) {
	cmd.Flags().IntVar(&q.Limit, "limit", 50, "at most this many (up to 200)")
	cmd.Flags().StringVar(&q.Cursor, "cursor", "", "go on where the page before ended")
}

// more says how to see the next page.
func more(w io.Writer, cmd *cobra.Command, next string) {
	if next != "" {
		_, _ = fmt.Fprintf(w, "There are more: %s --cursor %s\n", cmd.CommandPath(), next)
	}
}

func (a *app) runTable(w io.Writer, runs []grace.Run) {
	t := cli.Table{Head: []string{"RUN", "STATE", "SERVICE", "CAUSE", "PLAYBOOK", "CREATED", "TOOK", "RECOVERED"}, Tones: map[int]bool{1: true}}
	for _, r := range runs {
		took, recovered := "-", "-"
		if r.EndedAt != nil {
			took = cli.Short(r.EndedAt.Sub(r.CreatedAt))
		}
		if r.RecoveredIn > 0 {
			recovered = cli.Short(r.RecoveredIn.D())
		}
		t.Add(string(r.ID), string(r.Status), string(r.Service), string(r.Code), string(r.Playbook.ID), a.at(r.CreatedAt), took, recovered)
	}
	t.Write(w, a.Colour)
	for _, r := range runs {
		if waits := explain.Waits(r); waits != "" {
			_, _ = fmt.Fprintf(w, "  %s waits for %s\n", r.ID, waits)
		}
	}
}

func newRunsShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show RUN",
		Short: "Show one run: steps, checks and what came of them",
		Args:  cli.ExactArgs("RUN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			r, err := c.Run(cmd.Context(), grace.RunID(args[0]))
			if cli.IsCode(err, cli.ExitNotFound) {
				return unknownName("run", args[0], nil, "grace runs list", err)
			}
			if err != nil {
				return err
			}
			return a.Show(r.Raw, func(w io.Writer) { a.run(w, r.Value) })
		},
	}
}

func (a *app) run(w io.Writer, r grace.Run) {
	state := string(r.Status)
	if a.Colour {
		state = cli.Tint(state, state)
	}
	_, _ = fmt.Fprintf(w, "Run %s: %s on %s%s: %s\n", r.ID, r.Playbook.ID, r.Service, wherefore(r), state)
	recovered := ""
	if r.RecoveredIn > 0 {
		recovered = cli.Short(r.RecoveredIn.D())
	}
	sick := ""
	if r.Code != grace.CodeManual {
		sick = a.at(r.SickSince)
	}
	abort := ""
	if r.Abort != nil {
		abort = fmt.Sprintf("by %s at %s: %s", r.Abort.Actor, a.at(r.Abort.At), r.Abort.Reason)
	}
	a.facts(w, [][2]string{
		{"kind", string(r.Kind)},
		{"parameters", cli.Parameters(r.Parameters)},
		{"sick since", sick},
		{"created", a.at(r.CreatedAt)},
		{"first step", a.atMaybe(r.StartedAt)},
		{"ended", a.atMaybe(r.EndedAt)},
		{"recovered in", recovered},
		{"abort asked", abort},
		{"incident", string(r.Incident)},
		{"error", r.Error},
	})
	a.steps(w, r.Steps)
	a.checks(w, r.Checks)
	switch {
	case explain.Waits(r) != "":
		_, _ = fmt.Fprintln(w, "\nWaits for "+explain.Waits(r))
		a.gates(w, r.Reasons)
	case len(r.Reasons) > 0:
		_, _ = fmt.Fprintln(w, "\nEnded because")
		a.gates(w, r.Reasons)
	}
}

// wherefore says what a run is for, or who wants it.
func wherefore(r grace.Run) string {
	if r.Asked != nil {
		return ", asked for by " + r.Asked.Actor + ": " + r.Asked.Text
	}
	return " for " + string(r.Code)
}

func (a *app) steps(w io.Writer, steps []grace.StepRecord) {
	if len(steps) == 0 {
		return
	}
	_, _ = fmt.Fprintln(w, "\nSteps")
	t := cli.Table{Head: []string{"  STEP", "PHASE", "STATE", "ACTION", "TRIES", "STARTED", "TOOK", "NOTE"}, Tones: map[int]bool{2: true}}
	for _, s := range steps {
		took := "-"
		if s.StartedAt != nil && s.EndedAt != nil {
			took = cli.Short(s.EndedAt.Sub(*s.StartedAt))
		}
		note := s.Error
		if note == "" {
			note = s.Output
		}
		if s.Resumed {
			note = strings.TrimSpace("resumed. " + note)
		}
		t.Add("  "+s.Name, string(s.Phase), string(s.State), s.Action, strconv.Itoa(s.Attempts), a.atMaybe(s.StartedAt), took, cli.OneLine(cli.OrDash(note), 70))
	}
	t.Write(w, a.Colour)
}

func (a *app) checks(w io.Writer, checks []grace.CheckResult) {
	if len(checks) == 0 {
		return
	}
	_, _ = fmt.Fprintln(w, "\nVerification")
	t := cli.Table{Head: []string{"  CHECK", "PASSED", "WANTED", "ACTUAL", "SAMPLES"}, Tones: map[int]bool{1: true}}
	for _, c := range checks {
		t.Add("  "+c.Name, cli.YesNo(c.Passed), cli.OneLine(cli.OrDash(c.Wanted), 50), cli.OneLine(cli.OrDash(c.Actual), 70), fmt.Sprintf("%d of %d passed", c.Samples-c.Failed, c.Samples))
	}
	t.Write(w, a.Colour)
}

func newRunsAbort(a *app) *cobra.Command {
	var reason string
	var all bool
	cmd := &cobra.Command{
		Use:   "abort RUN --reason WHY",
		Short: "Stop a run, or all of them, and undo what they did",
		Long: `Stop a run and undo what it did. The request is recorded and the command
returns; the run then interrupts the step or the verification that it is at, and
undoes, the newest first, every step that took effect or may have. Undoing is not
interrupted, and what is irreversible stays: an incident says so. A run that had
not begun is cancelled. While what the run was for lasts, GRACE does nothing more
to the service by itself. Follow it with: grace runs show RUN

With --all every run that has not ended is asked to stop. To keep new ones from
beginning, too: grace mode set stopped --reason "..."`,
		Args: func(cmd *cobra.Command, args []string) error {
			if all {
				return cli.ExactArgs()(cmd, args)
			}
			return cli.ExactArgs("RUN")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := needReason(reason); err != nil {
				return err
			}
			if all {
				return a.abortAll(cmd.Context(), reason)
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			raw, err := c.Abort(cmd.Context(), grace.RunID(args[0]), reason)
			if cli.IsCode(err, cli.ExitNotFound) {
				return unknownName("run", args[0], nil, "grace runs list --open", err)
			}
			if err != nil {
				return err
			}
			if len(raw) == 0 {
				raw = []byte(fmt.Sprintf(`{"run":%q,"abort":"requested"}`, args[0]))
			}
			return a.Show(raw, func(w io.Writer) {
				_, _ = fmt.Fprintf(w, "Abort of %s is recorded; it stops, and undoes what can be undone. Follow it with: grace runs show %s\n", args[0], args[0])
			})
		},
	}
	reasonFlag(cmd, &reason)
	cmd.Flags().BoolVar(&all, "all", false, "every run that has not ended")
	return cmd
}

func (a *app) abortAll(ctx context.Context, reason string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	got, err := c.AbortAll(ctx, reason)
	if err != nil {
		return err
	}
	if err := a.Show(got.Raw, func(w io.Writer) {
		if len(got.Value.Runs) == 0 {
			_, _ = fmt.Fprintln(w, "No run is open.")
		}
		for _, id := range got.Value.Runs {
			_, _ = fmt.Fprintf(w, "Abort of %s is recorded.\n", id)
		}
	}); err != nil {
		return err
	}
	if len(got.Value.Failed) > 0 {
		return &cli.Failure{Code: cli.ExitFailed, Message: "not asked to stop: " + strings.Join(got.Value.Failed, "; "), Hint: "run it again"}
	}
	return nil
}

func reasonFlag(cmd *cobra.Command, reason *string) {
	cmd.Flags().StringVar(reason, "reason", "", "why, for the audit log (required)")
}

// needReason refuses a reason that is missing, too short or too long before
// anything is asked of the daemon.
func needReason(reason string) error {
	if strings.TrimSpace(reason) == "" {
		return cli.UsageError("a reason is needed", `say why for the audit log: --reason "..."`)
	}
	if n := utf8.RuneCountInString(strings.TrimSpace(reason)); n < api.MinReason || n > api.MaxReason {
		return cli.UsageError(fmt.Sprintf("the reason has %s", count(n, "character")), fmt.Sprintf("%d to %d are wanted: say why for the audit log", api.MinReason, api.MaxReason))
	}
	return nil
}
