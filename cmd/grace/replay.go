package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"grace"
	"grace/daemon"
	"grace/internal/cli"
	"grace/internal/decide"
	"grace/internal/loop"
)

const weekAgo = grace.Duration(7 * 24 * time.Hour)

func newReplay(a *app) *cobra.Command {
	var config string
	since := weekAgo
	cmd := &cobra.Command{
		Use:   "replay",
		Short: "Prove that every decision follows from what was recorded",
		Long: `Compute recorded decisions and admissions again, from their snapshots alone, and
compare byte for byte. A difference is named (field, then, now), and the exit code
is 1: a record was changed, or another version of GRACE decides otherwise. The
daemon does it; with --config the store is read directly, also while none runs.`,
		Example: "  grace replay --since 24h",
		Args:    cli.ExactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			got, err := a.replay(cmd.Context(), config, since.D())
			if err != nil {
				return err
			}
			raw, err := json.Marshal(got)
			if err != nil {
				return fmt.Errorf("write report: %w", err)
			}
			if err := a.Show(raw, func(w io.Writer) {
				for _, d := range got.Differences {
					_, _ = fmt.Fprintln(w, d)
				}
				_, _ = fmt.Fprintln(w, got)
			}); err != nil {
				return err
			}
			if got.Differ > 0 {
				return &cli.Failure{
					Code: cli.ExitFailed, Message: fmt.Sprintf("%d of %d records are not what is computed now", got.Differ, got.Decisions+got.Admissions),
					Hint: "grace audit verify tells whether the log is whole; after an upgrade differences show what the new version decides otherwise",
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&config, "config", "", "read the store of this configuration directly")
	cmd.Flags().TextVar(&since, "since", since, "how far back")
	return cmd
}

func (a *app) replay(ctx context.Context, config string, since time.Duration) (out decide.Replayed, err error) {
	to := time.Now()
	from := to.Add(-since)
	if config != "" {
		err = a.withStore(ctx, config, func(d *direct) error {
			return decide.All(func(cursor string) (string, error) {
				more, err := loop.Replay(ctx, d.store, from, to, cursor)
				out.Join(more)
				return out.Next, err
			})
		})
		return out, err
	}
	c, err := a.client()
	if err != nil {
		return out, err
	}
	return c.Replay(ctx, from, to)
}

func newBacktest(a *app) *cobra.Command {
	var config string
	since := weekAgo
	cmd := &cobra.Command{
		Use:   "backtest --config NEW.yaml",
		Short: "See what another configuration would have decided",
		Long: `Compute recorded decisions and admissions under another configuration, and list
what would differ: by verdict, service and playbook, with the first examples. Each
record stands for itself: what a run that was not would have changed is not known.
Services, playbooks, limits and trust count; sensors and objectives do not, since
what they saw is recorded.`,
		Example: "  grace backtest --config new.yaml --since 7d",
		Args:    cli.ExactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if config == "" {
				return cli.UsageError("--config is missing", "name the configuration to try: grace backtest --config new.yaml")
			}
			cfg, err := a.loadConfig(config)
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			to := time.Now()
			out, err := c.Backtest(cmd.Context(), daemon.DecideConfig(cfg), to.Add(-since.D()), to)
			if err != nil {
				return err
			}
			raw, err := json.Marshal(out)
			if err != nil {
				return fmt.Errorf("write report: %w", err)
			}
			return a.Show(raw, func(w io.Writer) { a.showBacktest(w, out) })
		},
	}
	cmd.Flags().StringVar(&config, "config", "", "the configuration to try")
	cmd.Flags().TextVar(&since, "since", since, "how far back")
	return cmd
}

func (a *app) showBacktest(w io.Writer, b decide.Backtested) {
	_, _ = fmt.Fprintf(w, "%s and %s: %d would differ\n", count(b.Decisions, "decision"), count(b.Admissions, "admission"), b.Changed)
	if b.Failed > 0 {
		_, _ = fmt.Fprintf(w, "%d cannot be computed; grace replay says why\n", b.Failed)
	}
	if b.Changed == 0 {
		return
	}
	t := cli.Table{Head: []string{"WHAT", "THEN", "NOW", "COUNT"}}
	for _, c := range b.Verdicts {
		t.Add("verdict", c.Then, c.Now, strconv.Itoa(c.Count))
	}
	for _, c := range b.Playbooks {
		t.Add("playbook", c.Then, c.Now, strconv.Itoa(c.Count))
	}
	for _, c := range b.Services {
		t.Add("service "+string(c.Service), "-", "-", strconv.Itoa(c.Count))
	}
	t.Write(w, a.Colour)
	const shown = 10
	_, _ = fmt.Fprintln(w)
	e := cli.Table{Head: []string{"AT", "SERVICE", "THEN", "NOW", "ID"}}
	for _, x := range b.Examples[:min(len(b.Examples), shown)] {
		e.Add(a.at(x.At), string(x.Service), short(x.Then), short(x.Now), x.ID)
	}
	e.Write(w, a.Colour)
}

func short(s decide.Said) string {
	if s.Playbook == "" {
		return s.Verdict
	}
	return s.Verdict + " " + string(s.Playbook)
}
