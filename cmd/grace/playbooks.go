package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"grace"
	"grace/internal/cli"
	"grace/internal/stage/verify"
)

func newPlaybooks(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "playbooks",
		Short: "The remedies GRACE knows",
		RunE:  onlyGroup,
	}
	cmd.AddCommand(newPlaybooksList(a), newPlaybooksShow(a), newPlaybooksLint(a), newPlaybooksRun(a))
	return cmd
}

func newPlaybooksList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List playbooks",
		Args:  cli.ExactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			list, err := c.Playbooks(cmd.Context())
			if err != nil {
				return err
			}
			return a.Show(list.Raw, func(w io.Writer) {
				t := cli.Table{Head: []string{"PLAYBOOK", "RISK", "IMPACT", "AUTO", "TRIGGERS", "TITLE"}}
				for _, p := range list.Value.Items {
					t.Add(string(p.ID), cli.OrDash(string(p.Risk)), cli.OrDash(string(p.Impact)), cli.YesNo(p.Auto), cli.Join(p.Triggers), cli.OneLine(p.Title, 60))
				}
				t.Write(w, a.Colour)
			})
		},
	}
}

func newPlaybooksShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show PLAYBOOK",
		Short: "Show one playbook: parameters, steps, checks",
		Args:  cli.ExactArgs("PLAYBOOK"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			p, err := c.Playbook(cmd.Context(), grace.PlaybookID(args[0]))
			if cli.IsCode(err, cli.ExitNotFound) {
				return playbooks().absent(cmd.Context(), c, args[0], err)
			}
			if err != nil {
				return err
			}
			return a.Show(p.Raw, func(w io.Writer) { a.playbook(w, p.Value) })
		},
	}
}

func (a *app) playbook(w io.Writer, p grace.Playbook) {
	_, _ = fmt.Fprintf(w, "%s: %s\n", p.ID, cli.OrDash(p.Title))
	if p.Description != "" {
		_, _ = fmt.Fprintf(w, "%s\n", strings.TrimSpace(p.Description))
	}
	a.facts(w, [][2]string{
		{"risk", string(p.Risk)},
		{"impact", string(p.Impact)},
		{"auto", cli.YesNo(p.Auto)},
		{"triggers", cli.Join(p.Triggers)},
		{"services", cli.Join(p.Services)},
		{"arguments", cli.Parameters(p.Arguments)},
		{"settle", maybeShort(p.Settle)},
		{"soak", maybeShort(p.Soak)},
		{"watchdog", maybeShort(p.Watchdog)},
	})
	if len(p.Parameters) > 0 {
		_, _ = fmt.Fprintln(w, "\nParameters")
		t := cli.Table{Head: []string{"  NAME", "TYPE", "DEFAULT", "BOUNDS"}}
		for _, x := range p.Parameters {
			t.Add("  "+x.Name, string(x.Type), cli.OrDash(value(x.Default)), cli.OrDash(bounds(x)))
		}
		t.Write(w, a.Colour)
	}
	if len(p.Steps) == 0 {
		_, _ = fmt.Fprintln(w, "\nIt has no steps of its own: each service binds it to its own (see grace services SERVICE).")
		return
	}
	_, _ = fmt.Fprintln(w, "\nSteps")
	t := cli.Table{Head: []string{"  STEP", "ACTION", "UNDO", "WITH"}}
	for _, s := range p.Steps {
		undo := "-"
		switch {
		case s.ReadOnly:
			undo = "read only"
		case s.Irreversible:
			undo = "irreversible"
		case s.Undo != nil:
			undo = s.Undo.Action
		}
		t.Add("  "+s.Name, s.Action, undo, cli.OneLine(compact(s.With), 90))
	}
	t.Write(w, a.Colour)
	if len(p.Verify) > 0 {
		_, _ = fmt.Fprintln(w, "\nVerified by")
		for _, c := range p.Verify {
			_, _ = fmt.Fprintf(w, "  %s\n", cli.OneLine(strings.TrimPrefix(c.Name+": "+verify.Wanted(c), ": "), 120))
		}
	}
}

func maybeShort(d grace.Duration) string {
	if d == 0 {
		return ""
	}
	return cli.Short(d.D())
}

func value(v any) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

func compact(v any) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return ""
	}
	return strings.TrimSpace(b.String())
}

func bounds(p grace.Parameter) string {
	var parts []string
	if p.Required {
		parts = append(parts, "required")
	}
	if p.NonEmpty {
		parts = append(parts, "not empty")
	}
	if p.Min != nil {
		parts = append(parts, ">= "+cli.Number(*p.Min))
	}
	if p.Max != nil {
		parts = append(parts, "<= "+cli.Number(*p.Max))
	}
	if len(p.Allowed) > 0 {
		parts = append(parts, "one of "+strings.Join(p.Allowed, ", "))
	}
	return strings.Join(parts, ", ")
}

func newPlaybooksRun(a *app) *cobra.Command {
	var (
		service string
		params  []string
		dry     bool
	)
	cmd := &cobra.Command{
		Use:   "run PLAYBOOK --service SERVICE --dry-run",
		Short: "Show what a playbook would do on a service now",
		Long: `Show what a playbook would do on a service now: its steps with every value in
place, and what the trust core would say. Nothing is done; grace run does it.`,
		Example: "  grace playbooks run scale_up_instances --service catalog --param min_delta=1 --dry-run",
		Args:    cli.ExactArgs("PLAYBOOK"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !dry {
				return cli.UsageError("--dry-run is needed here", "add it to see what the playbook would do; to run it: grace run PLAYBOOK SERVICE --reason WHY")
			}
			if service == "" {
				return cli.UsageError("--service is needed", "name the service: --service NAME; see grace services")
			}
			given, err := parameters(params)
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			d, err := c.DryRun(cmd.Context(), grace.PlaybookID(args[0]), grace.ServiceID(service), given)
			if err != nil {
				return refusedNames(cmd.Context(), c, err, args[0], service)
			}
			return a.Show(d.Raw, func(w io.Writer) {
				_, _ = fmt.Fprintf(w, "Dry run on %s, parameters %s\n", d.Value.Service, cli.OrDash(cli.Parameters(d.Value.Parameters)))
				a.playbook(w, d.Value.Playbook)
				_, _ = fmt.Fprintf(w, "\nThe trust core would say: %s\n", d.Value.Verdict)
				a.gates(w, d.Value.Reasons)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&service, "service", "", "the service it would act on (required)")
	f.StringArrayVar(&params, "param", nil, "a parameter as name=value; repeat for more")
	f.BoolVar(&dry, "dry-run", false, "do nothing, only show (required)")
	return cmd
}

// parameters reads name=value pairs. A whole number or a boolean becomes one;
// quotes keep it text: --param 'level="5"'.
func parameters(pairs []string) (map[string]any, error) {
	out := map[string]any{}
	for _, pair := range pairs {
		name, text, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return nil, cli.UsageError(fmt.Sprintf("--param %q is not name=value", pair), "for example --param min_delta=1")
		}
		if n, err := strconv.Atoi(text); err == nil {
			out[name] = n
			continue
		}
		var quoted string
		if strings.HasPrefix(text, `"`) && json.Unmarshal([]byte(text), &quoted) == nil {
			out[name] = quoted
			continue
		}
		if b, err := strconv.ParseBool(text); err == nil && (text == "true" || text == "false") {
			out[name] = b
			continue
		}
		out[name] = text
	}
	return out, nil
}
