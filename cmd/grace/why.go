package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"grace"
	"grace/internal/api"
	"grace/internal/cli"
	"grace/internal/config"
)

func newWhy(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "why RUN|SERVICE",
		Short: "Why a run happened, or why GRACE does or does not act on a service",
		Long: `Why a run happened and ended as it did, or what GRACE last decided about a
service: the evidence, the diagnosis, the playbook, every gate with what was
found and what was required, who approved, what was done and verified.`,
		Args: cli.ExactArgs("RUN|SERVICE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			why, err := c.WhyRun(cmd.Context(), grace.RunID(args[0]))
			if cli.IsCode(err, cli.ExitNotFound) {
				why, err = c.WhyService(cmd.Context(), grace.ServiceID(args[0]))
			}
			if cli.IsCode(err, cli.ExitNotFound) {
				f := &cli.Failure{Code: cli.ExitNotFound, Message: fmt.Sprintf("there is no run and no service %q", args[0]), Hint: "see: grace runs list; grace services", Cause: err}
				if k := config.Suggest(args[0], serviceIDs(cmd.Context(), c)); k != "" {
					f.Hint = "did you mean " + k + "? " + f.Hint
				}
				return f
			}
			if err != nil {
				return err
			}
			return a.Show(why.Raw, func(w io.Writer) { a.why(w, why.Value) })
		},
	}
}

func (a *app) why(w io.Writer, why whyView) {
	if why.Summary != "" {
		_, _ = fmt.Fprintln(w, why.Summary)
	}
	for _, stage := range why.Stages {
		if stage.Name != "health" {
			continue // the rest is drawn from the records: tables, and times as wanted
		}
		_, _ = fmt.Fprintf(w, "\n%s\n", stage.Title)
		for _, line := range stage.Lines {
			_, _ = fmt.Fprintf(w, "  %s\n", line)
		}
	}
	for _, t := range why.Triggers {
		_, _ = fmt.Fprintf(w, "\nTriggered at %s by %s of %s (%s)%s\n", a.at(t.At), t.Code, t.Service, t.Severity, cli.Because(t.Message))
	}
	if d := why.Decision; d != nil {
		a.diagnosis(w, d.Diagnosis)
		a.decision(w, *d)
	}
	if p := why.Approval; p != nil {
		a.approval(w, *p)
	}
	if r := why.Run; r != nil {
		_, _ = fmt.Fprintln(w)
		a.run(w, *r)
	}
	if i := why.Incident; i != nil {
		_, _ = fmt.Fprintf(w, "\nIncident %s is %s: %s\n", i.ID, i.State, i.Title)
	}
}

func (a *app) diagnosis(w io.Writer, d grace.Diagnosis) {
	if d.Code == "" {
		return
	}
	_, _ = fmt.Fprintf(w, "\nDiagnosed %s of %s%s\n", d.Code, d.Cause, api.DiagnosisFacts(d, a.at))
	for _, e := range d.Evidence {
		_, _ = fmt.Fprintf(w, "  %.2f  %s\n", e.Weight, e.Text)
	}
	if len(d.Victims) > 0 {
		_, _ = fmt.Fprintf(w, "  victims, left alone: %s\n", cli.Join(d.Victims))
	}
}

func (a *app) decision(w io.Writer, d grace.Decision) {
	if p := d.Proposal; p != nil {
		_, _ = fmt.Fprintf(w, "\nProposed %s on %s %s(confidence %.2f, risk %s, impact %s, blast radius %d, score %.2f of %s trials)\n",
			p.Playbook, p.Service, strings.TrimPrefix(cli.Parameters(p.Parameters)+" ", " "), p.Confidence, p.Risk, p.Impact, p.BlastRadius, p.Score, cli.Number(p.Trials))
	}
	verdict := string(d.Verdict)
	if a.Colour {
		verdict = cli.Tint(verdict, verdict)
	}
	by := ""
	if d.Policy != "" {
		by = " by policy " + d.Policy
	}
	_, _ = fmt.Fprintf(w, "\nDecided %s%s at %s in mode %s\n", verdict, by, a.at(d.At), d.Mode)
	a.gates(w, d.Reasons)
}

func (a *app) approval(w io.Writer, p grace.Approval) {
	switch {
	case p.State == grace.ApprovalPending:
		_, _ = fmt.Fprintf(w, "\nWaits for approval until %s: grace approve %s --reason WHY\n", a.at(p.Expires), p.ID)
	case p.Actor != "":
		_, _ = fmt.Fprintf(w, "\nApproval: %s by %s at %s: %s\n", p.State, p.Actor, a.atMaybe(p.DecidedAt), p.Reason)
	default:
		_, _ = fmt.Fprintf(w, "\nApproval: %s\n", p.State)
	}
}
