package main

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"grace"
	"grace/internal/api"
	"grace/internal/cli"
	"grace/internal/store"
)

// completeTime is how long a shell waits for the daemon's ids.
const completeTime = 2 * time.Second

// ids asks the daemon for what may stand in one place of a command line.
type ids func(ctx context.Context, c *client) []string

// idsOf makes the ids of a list. What the daemon does not answer is no help.
func idsOf[T any](list func(ctx context.Context, c *client) (cli.Answer[cli.Page[T]], error), id func(T) string) ids {
	return func(ctx context.Context, c *client) []string {
		got, err := list(ctx, c)
		if err != nil {
			return nil
		}
		out := make([]string, 0, len(got.Value.Items))
		for _, item := range got.Value.Items {
			out = append(out, id(item))
		}
		return out
	}
}

func serviceIDs(ctx context.Context, c *client) []string {
	return idsOf(func(ctx context.Context, c *client) (cli.Answer[cli.Page[serviceView]], error) {
		return c.Services(ctx)
	},
		func(s serviceView) string { return string(s.ID) })(ctx, c)
}

func playbookIDs(ctx context.Context, c *client) []string {
	return idsOf(func(ctx context.Context, c *client) (cli.Answer[cli.Page[grace.Playbook]], error) {
		return c.Playbooks(ctx)
	},
		func(p grace.Playbook) string { return string(p.ID) })(ctx, c)
}

// runIDs gives runs with what they are, newest first.
func runIDs(open bool) ids {
	return idsOf(func(ctx context.Context, c *client) (cli.Answer[cli.Page[grace.Run]], error) {
		q := cli.ListQuery{Limit: 50}.Values()
		if open {
			q.Set("open", "true")
		}
		return c.Runs(ctx, q)
	}, func(r grace.Run) string {
		return string(r.ID) + "\t" + string(r.Status) + ": " + string(r.Playbook.ID) + " on " + string(r.Service)
	})
}

func approvalIDs(ctx context.Context, c *client) []string {
	return idsOf(func(ctx context.Context, c *client) (cli.Answer[cli.Page[grace.Approval]], error) {
		return c.Approvals(ctx, grace.ApprovalPending)
	}, func(a grace.Approval) string {
		return string(a.Run) + "\t" + string(a.Playbook) + " on " + string(a.Service)
	})(ctx, c)
}

func incidentIDs(state grace.IncidentState) ids {
	return idsOf(func(ctx context.Context, c *client) (cli.Answer[cli.Page[grace.Incident]], error) {
		return c.Incidents(ctx, cli.ListQuery{Limit: 50}.Values("state", string(state)))
	}, func(i grace.Incident) string { return string(i.ID) + "\t" + grace.Printable(i.Title) })
}

func silenceIDs(ctx context.Context, c *client) []string {
	return idsOf(func(ctx context.Context, c *client) (cli.Answer[cli.Page[grace.Silence]], error) {
		return c.Silences(ctx, false)
	},
		func(s grace.Silence) string { return string(s.ID) })(ctx, c)
}

func tokenNames(ctx context.Context, c *client) []string {
	list, err := c.listTokens(ctx)
	if err != nil {
		return nil
	}
	out := make([]string, 0, len(list))
	for _, t := range list {
		out = append(out, t.Name)
	}
	return out
}

func receiverNames(ctx context.Context, c *client) []string {
	n, err := c.Notifications(ctx)
	if err != nil {
		return nil
	}
	out := make([]string, 0, len(n.Value.Receivers))
	for _, r := range n.Value.Receivers {
		out = append(out, r.Name+"\t"+r.Type)
	}
	return out
}

func deadLetterIDs(ctx context.Context, c *client) []string {
	return idsOf(func(ctx context.Context, c *client) (cli.Answer[cli.Page[store.DeadLetter]], error) {
		return c.DeadLetters(ctx, cli.ListQuery{Limit: 50}.Values())
	}, func(d store.DeadLetter) string { return d.ID + "\t" + grace.Printable(d.Title) })(ctx, c)
}

// signalKeys gives the signals of the services that the typed text may begin
// with: a key begins with its service.
func signalKeys(typed string) ids {
	return func(ctx context.Context, c *client) []string {
		services := serviceIDs(ctx, c)
		if alerts, err := c.Alerts(ctx); err == nil {
			for _, u := range alerts.Value.Undeclared {
				services = append(services, string(u.Service))
			}
		}
		var out []string
		for _, id := range services {
			if !strings.HasPrefix(id+"/", typed) && !strings.HasPrefix(typed, id+"/") {
				continue
			}
			got, err := cli.Call[api.ServiceDetail](ctx, c.Client, http.MethodGet, "/api/services/"+cli.Segment(id), nil, nil)
			if err != nil {
				break // no time is left
			}
			for _, s := range got.Value.Signals {
				out = append(out, string(s.Key)+"\t"+grace.Printable(s.Message))
			}
		}
		return out
	}
}

func runsAndServices(ctx context.Context, c *client) []string {
	return append(runIDs(false)(ctx, c), serviceIDs(ctx, c)...)
}

// completeIDs has shells complete what the daemon knows.
func (a *app) completeIDs(root *cobra.Command) {
	open := incidentIDs(grace.IncidentOpen)
	for path, positions := range map[string][]ids{
		"services": {serviceIDs}, "why": {runsAndServices}, "runs show": {runIDs(false)}, "runs abort": {runIDs(true)},
		"approve": {approvalIDs}, "deny": {approvalIDs}, "run": {playbookIDs, serviceIDs},
		"playbooks show": {playbookIDs}, "playbooks run": {playbookIDs},
		"incidents show": {incidentIDs("")}, "incidents resolve": {open}, "incidents ack": {open}, "incidents acknowledge": {open}, "incidents note": {open},
		"notify test": {receiverNames}, "notify retry": {deadLetterIDs},
		"silence end": {silenceIDs}, "token revoke": {tokenNames},
	} {
		if cmd := find(root, path); cmd != nil {
			cmd.ValidArgsFunction = a.completion(positions)
		}
	}
	if cmd := find(root, "signals forget"); cmd != nil {
		cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return a.completion([]ids{signalKeys(typed)})(cmd, args, typed)
		}
	}
	a.completeFlags(root)
}

// find gives the command of a path, or nil.
func find(root *cobra.Command, path string) *cobra.Command {
	cmd, _, err := root.Find(strings.Fields(path))
	if err != nil || cmd.CommandPath() != root.Name()+" "+path {
		return nil
	}
	return cmd
}

// completeFlags does so for the flags that name services, playbooks and receivers.
func (a *app) completeFlags(cmd *cobra.Command) {
	for name, list := range map[string]ids{"service": serviceIDs, "playbook": playbookIDs, "receiver": receiverNames} {
		if cmd.Flags().Lookup(name) != nil {
			complete := a.completion([]ids{list})
			_ = cmd.RegisterFlagCompletionFunc(name, func(cmd *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
				return complete(cmd, nil, typed)
			}) // it fails only for a flag that is not there
		}
	}
	for _, sub := range cmd.Commands() {
		a.completeFlags(sub)
	}
}

// completion completes the next argument.
func (a *app) completion(positions []ids) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) >= len(positions) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		a.defaults()
		a.timeout = grace.Duration(completeTime)
		c, err := a.client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completeTime)
		defer cancel()
		return positions[len(args)](ctx, c), cobra.ShellCompDirectiveNoFileComp
	}
}
