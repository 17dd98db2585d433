package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"grace"
	"grace/internal/cli"
	"grace/internal/store"
)

func newAudit(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "The log of everything GRACE did, and the proof that nobody changed it",
		RunE:  onlyGroup,
	}
	cmd.AddCommand(newAuditList(a), newAuditVerify(a))
	return cmd
}

func newAuditList(a *app) *cobra.Command {
	var (
		q             cli.ListQuery
		object, actor string
		since         grace.Duration
		operational   bool
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List audit entries, newest first",
		Args:  cli.ExactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			v := q.Values("object", object, "actor", actor)
			if since > 0 {
				v.Set("from", a.now().Add(-since.D()).UTC().Format(time.RFC3339))
			}
			log := "entries"
			if operational {
				log = "operations"
			}
			entries, err := c.AuditEntries(cmd.Context(), log, v)
			if err != nil {
				return err
			}
			return a.Show(entries.Raw, func(w io.Writer) {
				if len(entries.Value.Items) == 0 {
					_, _ = fmt.Fprintln(w, "No entries.")
					return
				}
				a.auditTable(w, entries.Value.Items)
				more(w, cmd, entries.Value.Next)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&object, "object", "", "only about this object, for example run/RUN")
	f.StringVar(&actor, "actor", "", "only by this actor, for example token:NAME")
	f.TextVar(&since, "since", grace.Duration(0), "only of the last `duration`, for example 24h or 7d")
	f.BoolVar(&operational, "operational", false, "the operational log instead: transitions of signals, predictions, what was pruned")
	pageFlags(cmd, &q)
	return cmd
}

func (a *app) auditTable(w io.Writer, entries []grace.AuditEntry) {
	t := cli.Table{Head: []string{"SEQ", "TIME", "ACTOR", "ACTION", "OBJECT", "SERVICE", "REASON"}}
	for _, e := range entries {
		t.Add(strconv.FormatInt(e.Seq, 10), a.at(e.At), e.Actor, e.Action, e.Object, cli.OrDash(string(e.Service)), cli.OneLine(cli.OrDash(e.Reason), 70))
	}
	t.Write(w, a.Colour)
}

func newAuditVerify(a *app) *cobra.Command {
	var config string
	var expect []string
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Prove that no audit entry was changed, removed or inserted",
		Long: `Prove that no audit entry was changed, removed or inserted. The daemon checks
its own log; with --config the store is read directly, so it also works while no
daemon runs. A broken log is named with the first bad entry, and the exit code
is 8.

The daemon notes in its data directory, outside of the database, where the log
had come to; the log is held against these places too. --expect gives others, for
example the head that an earlier verify printed and that was kept elsewhere: with
it a log whose end was cut off is found whoever did it.`,
		Args: cli.ExactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			report, raw, err := a.verifyAudit(cmd, config, expect)
			if err != nil {
				return err
			}
			if err := a.Show(raw, func(w io.Writer) {
				if report.OK {
					_, _ = fmt.Fprintf(w, "ok: %d entries, %d places kept elsewhere, head %d:%s\n", report.Entries, report.Checkpoints, report.HeadSeq, report.HeadHash)
					return
				}
				_, _ = fmt.Fprintf(w, "BROKEN at entry %d: %s\n", report.BrokenAt, report.Detail)
			}); err != nil {
				return err
			}
			if !report.OK {
				return &cli.Failure{Code: cli.ExitAuditBroken, Message: fmt.Sprintf("the audit log is broken at entry %d", report.BrokenAt), Hint: "compare with a backup; entries before it are intact"}
			}
			return nil
		},
	}
	cmd.Flags().StringArrayVar(&expect, "expect", nil, "SEQ:HASH that the log must hold (may be repeated)")
	cmd.Flags().StringVar(&config, "config", "", "read the store of this configuration directly")
	return cmd
}

func (a *app) verifyAudit(cmd *cobra.Command, config string, expect []string) (auditReport, json.RawMessage, error) {
	points := make([]store.Checkpoint, 0, len(expect))
	for _, text := range expect {
		point, err := store.ParseCheckpoint(text)
		if err != nil {
			return auditReport{}, nil, cli.UsageError("--expect: "+err.Error(), "see: grace audit verify --help")
		}
		points = append(points, point)
	}
	if config != "" {
		report, err := a.verifyDirect(cmd.Context(), config, points)
		if err != nil {
			return auditReport{}, nil, err
		}
		raw, err := json.Marshal(report)
		if err != nil {
			return auditReport{}, nil, fmt.Errorf("write report: %w", err)
		}
		return report, raw, nil
	}
	c, err := a.client()
	if err != nil {
		return auditReport{}, nil, err
	}
	got, err := c.VerifyAudit(cmd.Context(), expect)
	return got.Value, got.Raw, err
}
