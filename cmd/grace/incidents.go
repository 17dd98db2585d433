package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"grace"
	"grace/internal/cli"
	"grace/internal/explain"
)

func newIncidents(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "incidents",
		Short: "What needs a person",
		RunE:  onlyGroup,
	}
	cmd.AddCommand(
		newIncidentsList(a), newIncidentsShow(a),
		newIncidentsChange(a, "acknowledge", "Say that you look after an incident", "acknowledged: nobody further is called"),
		newIncidentsChange(a, "note", "Add a note to an incident", "noted"),
		newIncidentsChange(a, "resolve", "Close an incident", "resolved"),
	)
	return cmd
}

func newIncidentsList(a *app) *cobra.Command {
	var (
		q              cli.ListQuery
		state, service string
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List incidents, newest first",
		Args:  cli.ExactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("state", state, []grace.IncidentState{grace.IncidentOpen, grace.IncidentResolved}); err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			list, err := c.Incidents(cmd.Context(), q.Values("state", state, "service", service))
			if err == nil && len(list.Value.Items) == 0 {
				err = emptyFor(cmd.Context(), c, "", service)
			}
			if err != nil {
				return err
			}
			return a.Show(list.Raw, func(w io.Writer) {
				if len(list.Value.Items) == 0 {
					_, _ = fmt.Fprintln(w, "No incidents.")
					return
				}
				t := cli.Table{Head: []string{"INCIDENT", "STATE", "SEVERITY", "SERVICE", "OPENED", "RESOLVED", "RUN", "WHAT"}, Tones: map[int]bool{1: true}}
				for _, i := range list.Value.Items {
					t.Add(string(i.ID), string(i.State), string(i.Severity), cli.OrDash(string(i.Service)), a.at(i.OpenedAt), a.atMaybe(i.ResolvedAt), cli.OrDash(string(i.Run)), cli.OneLine(i.Title, 80))
				}
				t.Write(w, a.Colour)
				more(w, cmd, list.Value.Next)
			})
		},
	}
	cmd.Flags().StringVar(&state, "state", "", "only open or resolved ones")
	cmd.Flags().StringVar(&service, "service", "", "only of this service")
	pageFlags(cmd, &q)
	return cmd
}

// newIncidentsChange makes resolve, acknowledge or note.
func newIncidentsChange(a *app, verb, short, said string) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   verb + " INCIDENT --reason WHY",
		Short: short,
		Args:  cli.ExactArgs("INCIDENT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := needReason(reason); err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			i, err := c.ChangeIncident(cmd.Context(), grace.IncidentID(args[0]), verb, reason)
			if cli.IsCode(err, cli.ExitNotFound) {
				return unknownName("incident", args[0], nil, "grace incidents list --state open", err)
			}
			if err != nil {
				return err
			}
			return a.Show(i.Raw, func(w io.Writer) { _, _ = fmt.Fprintf(w, "Incident %s is %s.\n", i.Value.ID, said) })
		},
	}
	reasonFlag(cmd, &reason)
	return cmd
}

func newIncidentsShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show INCIDENT",
		Short: "Show one incident with its notes",
		Args:  cli.ExactArgs("INCIDENT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			i, err := c.Incident(cmd.Context(), grace.IncidentID(args[0]))
			if cli.IsCode(err, cli.ExitNotFound) {
				return unknownName("incident", args[0], nil, "grace incidents list", err)
			}
			if err != nil {
				return err
			}
			return a.Show(i.Raw, func(w io.Writer) { a.incident(w, i.Value) })
		},
	}
}

func (a *app) incident(w io.Writer, i grace.Incident) {
	_, _ = fmt.Fprintf(w, "%s: %s\n", i.ID, i.Title)
	acknowledged := ""
	if i.Acknowledged != nil {
		acknowledged = i.Acknowledged.Actor + ", " + a.at(i.Acknowledged.At) + ": " + i.Acknowledged.Text
	}
	a.facts(w, [][2]string{
		{"state", string(i.State)},
		{"severity", string(i.Severity)},
		{"service", string(i.Service)},
		{"also", cli.Join(i.Services)},
		{"well again", cli.Join(i.Recovered)},
		{"run", string(i.Run)},
		{"since", a.atMaybe(&i.Since)},
		{"opened", a.at(i.OpenedAt)},
		{"acknowledged", acknowledged},
		{"resolved", a.atMaybe(i.ResolvedAt)},
		{"resolution", i.Resolution},
	})
	_, _ = fmt.Fprintf(w, "\n%s\n", i.Detail)
	for _, n := range i.Notes {
		_, _ = fmt.Fprintf(w, "\n%s, %s: %s\n", a.at(n.At), n.Actor, n.Text)
	}
	if why := explain.Held(i); why != "" && i.State == grace.IncidentOpen {
		_, _ = fmt.Fprintf(w, "\n%s Look first, then\n  grace incidents resolve %s --reason WHY\n", why, i.ID)
	}
}
