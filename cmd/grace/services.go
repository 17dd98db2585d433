package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"grace"
	"grace/internal/api"
	"grace/internal/cli"
)

func newServices(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "services [SERVICE]",
		Short: "The services GRACE watches, or one of them in detail",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if len(args) == 1 {
				s, err := c.Service(cmd.Context(), grace.ServiceID(args[0]))
				if cli.IsCode(err, cli.ExitNotFound) {
					return a.undeclared(cmd.Context(), c, args[0], err)
				}
				if err != nil {
					return err
				}
				return a.Show(s.Raw, func(w io.Writer) { a.service(w, s.Value) })
			}
			list, err := c.Services(cmd.Context())
			if err != nil {
				return err
			}
			alerts, err := c.Alerts(cmd.Context())
			if err != nil {
				return err
			}
			return a.Show(list.Raw, func(w io.Writer) {
				defer a.astray(w, alertsView{Undeclared: alerts.Value.Undeclared})
				t := cli.Table{Head: []string{"SERVICE", "STATUS", "CRITICALITY", "BLAST", "DEPENDS ON", "SYMPTOMS"}, Tones: map[int]bool{1: true}}
				for _, s := range list.Value.Items {
					t.Add(string(s.ID), string(s.Health.Status), cli.OrDash(string(s.Criticality)), strconv.Itoa(s.BlastRadius),
						cli.OneLine(dependsOn(s.Service), 40), symptoms(s.Health.TopSymptoms, s.Silenced, 80))
				}
				t.Write(w, a.Colour)
			})
		},
	}
}

func (a *app) service(w io.Writer, s serviceDetail) {
	status := string(s.Health.Status)
	if a.Colour {
		status = cli.Tint(status, status)
	}
	_, _ = fmt.Fprintf(w, "%s is %s (fresh data of %s of its signals)\n", s.ID, status, cli.Percent(s.Health.Confidence))
	for _, symptom := range s.Health.TopSymptoms {
		_, _ = fmt.Fprintf(w, "  %s\n", symptom)
	}
	for _, by := range s.Silenced {
		_, _ = fmt.Fprintf(w, "  %s\n", cli.OneLine(by.Words(a.at), 200))
	}
	playbooks := slices.Sorted(maps.Keys(s.Bindings))
	a.facts(w, [][2]string{
		{"owner", s.Owner},
		{"domain", s.Domain},
		{"criticality", string(s.Criticality)},
		{"depends on", dependsOn(s.Service)},
		{"needed by", cli.Join(s.Dependents)},
		{"blast radius", fmt.Sprintf("%d (%d depend on it, directly or not)", s.BlastRadius, s.Transitive)},
		{"playbooks", cli.Join(playbooks)},
		{"labels", labels(s.Labels)},
	})
	if len(s.Signals) > 0 {
		_, _ = fmt.Fprintln(w, "\nSignals")
		t := cli.Table{Head: []string{"  KEY", "STATE", "SINCE", "WHAT"}, Tones: map[int]bool{1: true}}
		for _, v := range s.Signals {
			t.Add("  "+string(v.Key), string(v.State), a.at(v.Since), cli.OneLine(cli.OrDash(v.Message), 80))
		}
		t.Write(w, a.Colour)
		_, _ = fmt.Fprintln(w, forgetHint)
		_, _ = fmt.Fprintln(w)
	}
	_, _ = fmt.Fprintf(w, "see grace why %s for what GRACE does about it\n", s.ID)
}

const forgetHint = "  drop one that means nothing any more: grace signals forget KEY --reason WHY"

// undeclared shows a service that is not in the configuration, of which only
// alerts and signals speak. Of any other name it says that there is none.
func (a *app) undeclared(ctx context.Context, c *client, name string, absent error) error {
	alerts, err := c.Alerts(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(alerts.Value.Undeclared, func(u api.UndeclaredService) bool { return string(u.Service) == name })
	if i < 0 {
		return services().absent(ctx, c, name, absent)
	}
	u := alerts.Value.Undeclared[i]
	if a.JSON {
		return a.ShowJSON(u)
	}
	return a.Show(nil, func(w io.Writer) {
		_, _ = fmt.Fprintf(w, "%s is not declared under services: what is said of it is shown, never acted on\n", u.Service)
		_, _ = fmt.Fprintf(w, "  %s\n\nSignals that are not ok\n", symptoms([]string{u.Worst.Message}, u.Silenced, 200))
		for _, key := range u.Keys {
			_, _ = fmt.Fprintf(w, "  %s\n", key)
		}
		_, _ = fmt.Fprintln(w, forgetHint)
	})
}

// dependsOn says what a service needs: services, and some of redundant ones.
func dependsOn(s grace.Service) string {
	all := slices.Clone(s.DependsOn)
	for _, g := range s.Groups {
		all = append(all, grace.ServiceID(g.String()))
	}
	return cli.Join(all)
}

// facts prints name and value pairs, leaving out what is empty.
func (a *app) facts(w io.Writer, pairs [][2]string) {
	width := 0
	for _, p := range pairs {
		width = max(width, len(p[0]))
	}
	for _, p := range pairs {
		if p[1] != "" && p[1] != "-" {
			_, _ = fmt.Fprintf(w, "  %-*s  %s\n", width, p[0], p[1])
		}
	}
}

func labels(m map[string]string) string {
	parts := make([]string, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, k+"="+m[k])
	}
	return strings.Join(parts, " ")
}
