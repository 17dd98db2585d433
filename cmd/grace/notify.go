package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"grace/internal/api"
	"grace/internal/cli"
	"grace/internal/notify"
	"grace/internal/store"
)

func newNotify(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "notify",
		Short: "Who is told, and what did not arrive",
		RunE:  onlyGroup,
	}
	cmd.AddCommand(newNotifyList(a), newNotifyTest(a), newNotifyDead(a), newNotifyRetry(a))
	return cmd
}

func (c *client) Notifications(ctx context.Context) (cli.Answer[api.Notifications], error) {
	return cli.Call[api.Notifications](ctx, c.Client, http.MethodGet, "/api/notify/status", nil, nil)
}

func (c *client) DeadLetters(ctx context.Context, query url.Values) (cli.Answer[cli.Page[store.DeadLetter]], error) {
	return cli.Call[cli.Page[store.DeadLetter]](ctx, c.Client, http.MethodGet, "/api/notify/dead", query, nil)
}

func newNotifyList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List receivers and how they fare",
		Args:  cli.ExactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			n, err := c.Notifications(cmd.Context())
			if err != nil {
				return err
			}
			return a.Show(n.Raw, func(w io.Writer) {
				untold(w, n.Value)
				if len(n.Value.Receivers) == 0 {
					return
				}
				t := cli.Table{Head: []string{"RECEIVER", "TYPE", "DELIVERED", "WAITING", "DEAD", "LAST SUCCESS", "FAILING SINCE", "ERROR"}}
				for _, r := range n.Value.Receivers {
					t.Add(r.Name, r.Type, fmt.Sprint(r.Delivered), fmt.Sprint(r.Waiting), fmt.Sprint(r.DeadLetters),
						a.atMaybe(r.LastSuccess), a.atMaybe(r.FailingSince), cli.OrDash(cli.OneLine(r.Error, 80)))
				}
				t.Write(w, a.Colour)
			})
		},
	}
}

// untold says that nobody is told, and nothing otherwise.
func untold(w io.Writer, n api.Notifications) {
	if n.Told {
		return
	}
	_, _ = fmt.Fprintf(w, "Nobody is told: %s.\n", n.Reason)
	if n.Hint != "" {
		_, _ = fmt.Fprintf(w, "  %s\n", n.Hint)
	}
}

// ailing says of each receiver that has dead letters or has been failing for
// minutes what is wrong with it, whether others accept or not.
func (a *app) ailing(w io.Writer, receivers []api.NotifyReceiver) {
	said := false
	for _, r := range receivers {
		if what := r.Ails(a.now(), a.at); what != "" {
			_, _ = fmt.Fprintf(w, "Receiver %s: %s\n", r.Name, cli.OneLine(what, 160))
			said = true
		}
	}
	if said {
		_, _ = fmt.Fprintln(w, "  see grace notify list and grace notify dead; try it with grace notify test")
	}
}

func newNotifyTest(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "test [RECEIVER]",
		Short: "Send a test message through one receiver, or through each",
		Long: `Send a test message through one receiver, or through each, and print what
became of it. PagerDuty gets a resolve, so that nobody is called.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return cli.UsageError(fmt.Sprintf("unexpected argument %q", args[1]), "usage: "+cmd.UseLine())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			body := map[string]any{"receiver": strings.Join(args, "")}
			list, err := cli.Call[cli.Page[notify.TestOutcome]](cmd.Context(), c.Client, http.MethodPost, "/api/notify/test", nil, body)
			if err != nil {
				return err
			}
			bad := 0
			for _, o := range list.Value.Items {
				if !o.OK {
					bad++
				}
			}
			err = a.Show(list.Raw, func(w io.Writer) {
				if len(list.Value.Items) == 0 {
					_, _ = fmt.Fprintln(w, "No receiver is configured.")
					return
				}
				t := cli.Table{Head: []string{"RECEIVER", "OUTCOME", "TOOK", "ERROR"}, Tones: map[int]bool{1: true}}
				for _, o := range list.Value.Items {
					outcome := "ok"
					if !o.OK {
						outcome = "failed"
					}
					t.Add(o.Receiver, outcome, cli.Short(o.Took.D()), cli.OrDash(cli.OneLine(o.Error, 120)))
				}
				t.Write(w, a.Colour)
			})
			switch {
			case err != nil:
				return err
			case len(list.Value.Items) == 0:
				return &cli.Failure{Code: cli.ExitFailed, Message: "nobody was told: no receiver is configured", Hint: "add one under notify.receivers"}
			case bad > 0:
				return &cli.Failure{Code: cli.ExitFailed, Message: fmt.Sprintf("%d of %s did not take the test message", bad, count(len(list.Value.Items), "receiver"))}
			}
			return nil
		},
	}
}

func newNotifyDead(a *app) *cobra.Command {
	var (
		q        cli.ListQuery
		receiver string
	)
	cmd := &cobra.Command{
		Use:   "dead",
		Short: "List messages that a receiver refused for good, newest first",
		Args:  cli.ExactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			list, err := c.DeadLetters(cmd.Context(), q.Values("receiver", receiver))
			if err != nil {
				return err
			}
			return a.Show(list.Raw, func(w io.Writer) {
				if len(list.Value.Items) == 0 {
					_, _ = fmt.Fprintln(w, "No dead letters.")
					return
				}
				t := cli.Table{Head: []string{"ID", "REFUSED", "TRIES", "MESSAGE", "ERROR"}}
				for _, d := range list.Value.Items {
					t.Add(d.ID, a.at(d.At), fmt.Sprint(d.Attempts), cli.OneLine(d.Title, 60), cli.OneLine(d.Error, 80))
				}
				t.Write(w, a.Colour)
				more(w, cmd, list.Value.Next)
			})
		},
	}
	cmd.Flags().StringVar(&receiver, "receiver", "", "only of this receiver")
	pageFlags(cmd, &q)
	return cmd
}

func newNotifyRetry(a *app) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "retry ID|--all",
		Short: "Send a dead letter again, or all",
		Args: func(cmd *cobra.Command, args []string) error {
			if all == (len(args) == 1) || len(args) > 1 {
				return cli.UsageError("want one ID, or --all", "usage: "+cmd.UseLine())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			path := "/api/notify/retry"
			if !all {
				path = "/api/notify/dead/" + url.PathEscape(args[0]) + "/retry"
			}
			got, err := cli.Call[api.Retried](cmd.Context(), c.Client, http.MethodPost, path, nil, nil)
			if err != nil {
				return hinted(err, cli.ExitNotFound, "see: grace notify dead")
			}
			return a.Show(got.Raw, func(w io.Writer) {
				_, _ = fmt.Fprintf(w, "%s sent again; see grace notify list.\n", count(got.Value.Retried, "message"))
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "send all dead letters again")
	return cmd
}
