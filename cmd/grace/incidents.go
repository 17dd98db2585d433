package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"grace"
)

func newIncidents(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "incidents",
		Short: "Trouble that needs a person",
		RunE:  onlyGroup,
	}
	cmd.AddCommand(newIncidentsList(a), newIncidentsResolve(a))
	return cmd
}

func newIncidentsList(a *app) *cobra.Command {
	var (
		q              listQuery
		state, service string
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List incidents, newest first",
		Args:  exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			list, err := c.Incidents(cmd.Context(), q.values("state", state, "service", service))
			if err != nil {
				return err
			}
			return a.show(list.Raw, func(w io.Writer) {
				if len(list.Value.Items) == 0 {
					_, _ = fmt.Fprintln(w, "No incidents.")
					return
				}
				t := table{head: []string{"INCIDENT", "STATE", "SEVERITY", "SERVICE", "OPENED", "RESOLVED", "RUN", "WHAT"}, tones: map[int]bool{1: true}}
				for _, i := range list.Value.Items {
					t.add(string(i.ID), string(i.State), string(i.Severity), orDash(string(i.Service)), a.at(i.OpenedAt), a.atMaybe(i.ResolvedAt), orDash(string(i.Run)), oneLine(i.Title, 80))
				}
				t.write(w, a.colour)
				more(w, cmd, list.Value.Next)
			})
		},
	}
	cmd.Flags().StringVar(&state, "state", "", "only open or resolved ones")
	cmd.Flags().StringVar(&service, "service", "", "only of this service")
	pageFlags(cmd, &q)
	return cmd
}

func newIncidentsResolve(a *app) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "resolve INCIDENT --reason WHY",
		Short: "Close an incident",
		Args:  exactArgs("INCIDENT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := needReason(reason); err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			i, err := c.ResolveIncident(cmd.Context(), grace.IncidentID(args[0]), reason)
			if err != nil {
				return hinted(err, exitNotFound, "see: grace incidents list --state open")
			}
			return a.show(i.Raw, func(w io.Writer) {
				_, _ = fmt.Fprintf(w, "Incident %s is %s.\n", i.Value.ID, i.Value.State)
			})
		},
	}
	reasonFlag(cmd, &reason)
	return cmd
}
