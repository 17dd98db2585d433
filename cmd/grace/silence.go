package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"grace"
	"grace/internal/api"
	"grace/internal/cli"
)

func newSilence(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "silence",
		Short: "Keep GRACE's hands and voice off services for a time",
		Long: `Keep GRACE's hands and voice off services for a time. What is silenced is
observed and shown, and neither acted on nor told to people. A silence survives
restarts.`,
		RunE: onlyGroup,
	}
	cmd.AddCommand(newSilenceAdd(a), newSilenceList(a), newSilenceEnd(a))
	return cmd
}

func newSilenceAdd(a *app) *cobra.Command {
	var (
		want        grace.Silence
		labels      []string
		lasts       grace.Duration
		starts, end string
	)
	cmd := &cobra.Command{
		Use:     "add --service 'web*' --for 1h --reason WHY",
		Short:   "Silence services",
		Example: "  grace silence add --service 'web*' --for 1h --reason \"moving the database\"\n  grace silence add --label team=shop --starts 2026-03-01T22:00:00Z --ends 2026-03-02T02:00:00Z --reason maintenance",
		Args:    cli.ExactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := needReason(want.Reason); err != nil {
				return err
			}
			var err error
			if want.Labels, err = pairs(labels); err != nil {
				return err
			}
			if want.Starts, want.Ends, err = a.span(starts, end, lasts.D()); err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			s, err := c.AddSilence(cmd.Context(), want)
			if err != nil {
				return err
			}
			return a.Show(s.Raw, func(w io.Writer) {
				_, _ = fmt.Fprintf(w, "Silence %s: %s until %s. End it with: grace silence end %s --reason WHY\n", s.Value.ID, s.Value.What(), a.at(s.Value.Ends), s.Value.ID)
				if s.Value.Warning != "" {
					_, _ = fmt.Fprintf(w, "Warning: %s; see: grace services\n", s.Value.Warning)
					return
				}
				_, _ = fmt.Fprintf(w, "It matches %s now: %s\n", count(len(s.Value.Matching), "service"), cli.OneLine(cli.Join(s.Value.Matching), 160))
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&want.Service, "service", "", "name of the services, * and ? stand for others; ~ before a regular expression is --regex")
	f.StringVar(&want.Regex, "regex", "", "regular expression that the whole name must match")
	f.StringArrayVar(&labels, "label", nil, "a label the service must have, as name=value; repeat for more")
	f.TextVar(&lasts, "for", grace.Duration(0), "how long, for example 90m, 2h or 1d; at most 366 days")
	f.StringVar(&starts, "starts", "", "when it begins, as 2026-03-01T22:00:00Z (default: now)")
	f.StringVar(&end, "ends", "", "when it ends, instead of --for")
	reasonFlag(cmd, &want.Reason)
	return cmd
}

// span reads when something begins and ends.
func (a *app) span(starts, ends string, lasts time.Duration) (from, to time.Time, err error) {
	from = a.now()
	if starts != "" {
		if from, err = time.Parse(time.RFC3339, starts); err != nil {
			return from, to, cli.UsageError(fmt.Sprintf("--starts %q is not a time", starts), "write it as 2026-03-01T22:00:00Z")
		}
	}
	switch {
	case (ends == "") == (lasts == 0):
		return from, to, cli.UsageError("say how long", "give --for 1h, or --ends 2026-03-02T02:00:00Z")
	case lasts < 0:
		return from, to, cli.UsageError("--for is in the past", "give how long it is to last, for example 2h")
	case ends != "":
		if to, err = time.Parse(time.RFC3339, ends); err != nil {
			return from, to, cli.UsageError(fmt.Sprintf("--ends %q is not a time", ends), "write it as 2026-03-02T02:00:00Z")
		}
	default:
		to = from.Add(lasts)
	}
	switch {
	case to.Sub(from) > grace.MaxSilence:
		return from, to, cli.UsageError("a silence lasts at most 366 days", "give an earlier end; it can be silenced again then")
	case to.After(a.now().Add(api.MaxHorizon)):
		return from, to, cli.UsageError("it would end in more than ten years", "give an earlier end; it can be silenced again then")
	}
	return from, to, nil
}

// pairs reads name=value texts.
func pairs(list []string) (map[string]string, error) {
	out := map[string]string{}
	for _, one := range list {
		name, value, ok := strings.Cut(one, "=")
		if !ok || name == "" || value == "" {
			return nil, cli.UsageError(fmt.Sprintf("--label %q is not name=value", one), "for example --label team=shop")
		}
		out[name] = value
	}
	return out, nil
}

func newSilenceList(a *app) *cobra.Command {
	var ended bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List silences in force and to come",
		Args:  cli.ExactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			list, err := c.Silences(cmd.Context(), ended)
			if err != nil {
				return err
			}
			return a.Show(list.Raw, func(w io.Writer) {
				if len(list.Value.Items) == 0 {
					_, _ = fmt.Fprintln(w, "No silences.")
					return
				}
				t := cli.Table{Head: []string{"SILENCE", "SERVICES", "FROM", "UNTIL", "BY", "REASON"}}
				for _, s := range list.Value.Items {
					until := a.at(s.Ends)
					if s.Ended != nil {
						until = "ended " + a.at(s.Ended.At)
					}
					t.Add(string(s.ID), s.What(), a.at(s.Starts), until, s.Actor, cli.OneLine(s.Reason, 60))
				}
				t.Write(w, a.Colour)
			})
		},
	}
	cmd.Flags().BoolVar(&ended, "ended", false, "also those that ended within the last week")
	return cmd
}

// silenced says what is silenced now: by people here, and by the sources of
// alerts.
func (a *app) silenced(w io.Writer, silences []grace.Silence, health []healthView) {
	for _, s := range silences {
		if s.Active(a.now()) {
			_, _ = fmt.Fprintf(w, "Silenced: %s until %s by %s: %s\n", s.What(), a.at(s.Ends), s.Actor, cli.OneLine(s.Reason, 100))
		}
	}
	for _, h := range health {
		for _, by := range h.Silenced {
			if by.Alert != "" {
				_, _ = fmt.Fprintf(w, "Silenced at its source: %s on %s, %s\n", by.Alert, h.Service, cli.OneLine(by.Source, 120))
			}
		}
	}
}

// symptoms words what a service suffers from, marked when it is silenced.
func symptoms(list []string, silenced []api.SilencedBy, width int) string {
	text := cli.OrDash(strings.Join(list, "; "))
	if mark := api.SilencedMark(silenced); mark != "" {
		text = strings.TrimSuffix("("+mark+") "+text, " -")
	}
	return cli.OneLine(text, width)
}

func newSilenceEnd(a *app) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "end SILENCE --reason WHY",
		Short: "End a silence before its time",
		Args:  cli.ExactArgs("SILENCE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := needReason(reason); err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			s, err := c.EndSilence(cmd.Context(), grace.SilenceID(args[0]), reason)
			if err != nil {
				return hinted(err, cli.ExitNotFound, "see: grace silence list")
			}
			return a.Show(s.Raw, func(w io.Writer) {
				_, _ = fmt.Fprintf(w, "Silence %s of %s has ended.\n", s.Value.ID, s.Value.What())
			})
		},
	}
	reasonFlag(cmd, &reason)
	return cmd
}
