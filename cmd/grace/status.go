package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"grace"
	"grace/internal/api"
	"grace/internal/cli"
)

func newStatus(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "What is wrong, what GRACE does about it, and what it needs from you",
		Args:  cli.ExactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			health, err := c.Health(ctx)
			if err != nil {
				return err
			}
			mode, err := c.Mode(ctx)
			if err != nil {
				return err
			}
			runs, err := c.Runs(ctx, cli.ListQuery{Limit: cli.MaxPage}.Values("open", "true"))
			if err != nil {
				return err
			}
			approvals, err := c.Approvals(ctx, grace.ApprovalPending)
			if err != nil {
				return err
			}
			incidents, err := c.Incidents(ctx, cli.ListQuery{Limit: cli.MaxPage}.Values("state", string(grace.IncidentOpen)))
			if err != nil {
				return err
			}
			predictions, err := c.Predictions(ctx, cli.ListQuery{Limit: cli.MaxPage}.Values("standing", "true"))
			if err != nil {
				return err
			}
			kpis, err := c.KPIs(ctx)
			if err != nil {
				return err
			}
			more, err := c.around(ctx)
			if err != nil {
				return err
			}
			if a.JSON {
				return a.ShowJSON(map[string]json.RawMessage{
					"ready": more.ready, "sensors": more.sensors.Raw, "alerts": more.alerts.Raw, "notifications": more.told.Raw, "silences": more.silences.Raw,
					"mode": mode.Raw, "health": health.Raw, "runs": runs.Raw,
					"approvals": approvals.Raw, "incidents": incidents.Raw, "predictions": predictions.Raw, "kpis": kpis.Raw,
				})
			}
			return a.Show(nil, func(w io.Writer) {
				a.headline(w, more.unready, health.Value.Items, len(runs.Value.Items), len(approvals.Value.Items), len(incidents.Value.Items))
				a.modeLine(w, mode.Value)
				a.telling(w, more.told.Value)
				a.silenced(w, more.silences.Value.Items, health.Value.Items)
				a.needs(w, approvals.Value.Items, incidents.Value.Items)
				a.sick(w, health.Value.Items)
				a.blind(w, more.sensors.Value.Items, more.alerts.Value)
				a.foreseen(w, predictions.Value.Items)
				a.astray(w, more.alerts.Value)
				a.lastDay(w, runs.Value.Items, kpis.Value)
			})
		},
	}
}

// telling says whether people are told, and which receivers fail.
func (a *app) telling(w io.Writer, n api.Notifications) {
	untold(w, n)
	a.ailing(w, n.Receivers)
}

// around is what status shows besides the services and what is done about them.
type around struct {
	unready  string // why GRACE cannot work; empty when it can
	ready    json.RawMessage
	told     cli.Answer[api.Notifications]
	sensors  cli.Answer[cli.Page[sensorView]]
	alerts   cli.Answer[alertsView]
	silences cli.Answer[cli.Page[grace.Silence]]
}

func (c *client) around(ctx context.Context) (out around, err error) {
	if out.unready, err = c.Unready(ctx); err != nil {
		return out, err
	}
	if out.ready, err = json.Marshal(map[string]any{"ready": out.unready == "", "reason": out.unready}); err != nil {
		return out, err
	}
	if out.told, err = c.Notifications(ctx); err != nil {
		return out, err
	}
	if out.sensors, err = c.Sensors(ctx); err != nil {
		return out, err
	}
	if out.alerts, err = c.Alerts(ctx); err != nil {
		return out, err
	}
	out.silences, err = c.Silences(ctx, false)
	return out, err
}

// lastDay shows what is being done, and what was achieved.
func (a *app) lastDay(w io.Writer, open []grace.Run, kpis kpiView) {
	if len(open) > 0 {
		_, _ = fmt.Fprintln(w, "\nOpen runs")
		a.runTable(w, open)
	}
	_, _ = fmt.Fprintf(w, "\nLast 24 h: %s\n", cli.KeyFigures(kpis))
	if len(kpis.Criteria) > 0 {
		t := cli.Criteria(kpis.Criteria)
		t.Write(w, a.Colour)
	}
}

func (a *app) headline(w io.Writer, unready string, health []healthView, runs, approvals, incidents int) {
	health = withoutSum(health)
	states := map[grace.Health]int{}
	for _, h := range health {
		states[h.Status]++
	}
	var parts []string
	for _, s := range []grace.Health{grace.HealthCritical, grace.HealthDegraded, grace.HealthUnknown} {
		if n := states[s]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
		}
	}
	state, needs := "All services are healthy", approvals+incidents
	switch {
	case len(health) == 0:
		state = "No service is known"
	case len(parts) > 0:
		state = fmt.Sprintf("%s of %s", strings.Join(parts, ", "), count(len(health), "service"))
	}
	if unready != "" {
		state, needs = "What is shown may be old", needs+1
		_, _ = fmt.Fprintf(w, "GRACE cannot work, and needs you to mend that: %s.\n", unready)
	}
	_, _ = fmt.Fprintf(w, "%s. GRACE has %s and needs you for %d.\n", state, count(runs, "open run"), needs)
}

func (a *app) modeLine(w io.Writer, m modeView) {
	if m.Expires != nil && m.InForce != m.Mode { // actor and reason are those of the mode that has ended
		_, _ = fmt.Fprintf(w, "Mode: %s since %s: %s ended as planned, which was set by %s at %s", m.InForce, a.at(*m.Expires), m.Mode, cli.OrDash(m.Actor), a.at(m.Since))
		if m.Reason != "" {
			_, _ = fmt.Fprintf(w, ": %s", m.Reason)
		}
		_, _ = fmt.Fprintln(w)
		return
	}
	_, _ = fmt.Fprintf(w, "Mode: %s", m.InForce)
	if m.Actor != "" {
		_, _ = fmt.Fprintf(w, ", set by %s at %s", m.Actor, a.at(m.Since))
	}
	if m.Reason != "" {
		_, _ = fmt.Fprintf(w, ": %s", m.Reason)
	}
	if m.Expires != nil && m.InForce == m.Mode {
		_, _ = fmt.Fprintf(w, " (until %s, then %s)", a.at(*m.Expires), m.Fallback)
	}
	_, _ = fmt.Fprintln(w)
}

// needs lists what waits for a person, with the command that answers it.
func (a *app) needs(w io.Writer, approvals []grace.Approval, incidents []grace.Incident) {
	if len(approvals) > 0 {
		_, _ = fmt.Fprintln(w, "\nWaiting for approval")
		t := cli.Table{Head: []string{"  RUN", "SERVICE", "PLAYBOOK", "EXPIRES"}}
		for _, p := range approvals {
			t.Add("  "+string(p.Run), string(p.Service), string(p.Playbook), a.at(p.Expires))
		}
		t.Write(w, a.Colour)
		_, _ = fmt.Fprintln(w, "  see grace why RUN; answer with grace approve|deny RUN --reason WHY")
	}
	if len(incidents) > 0 {
		_, _ = fmt.Fprintln(w, "\nOpen incidents")
		t := cli.Table{Head: []string{"  INCIDENT", "SERVICE", "SINCE", "WHAT"}}
		for _, i := range incidents {
			t.Add("  "+string(i.ID), cli.OrDash(string(i.Service)), a.at(i.OpenedAt), cli.OneLine(i.Title, 80))
		}
		t.Write(w, a.Colour)
		_, _ = fmt.Fprintln(w, "  when done: grace incidents resolve INCIDENT --reason WHY")
	}
}

// withoutSum leaves out the node that sums up GRACE's own parts, unless it alone
// says that something is wrong.
func withoutSum(health []healthView) []healthView {
	part := func(h healthView) bool {
		return strings.HasPrefix(string(h.Service), string(grace.CoreService)+".") && h.Status != grace.HealthHealthy
	}
	told := slices.ContainsFunc(health, part)
	return slices.DeleteFunc(slices.Clone(health), func(h healthView) bool {
		return h.Service == grace.CoreService && (told || h.Status == grace.HealthHealthy)
	})
}

// sick lists the services that are not healthy, worst first.
func (a *app) sick(w io.Writer, health []healthView) {
	rank := func(h grace.Health) int {
		return slices.Index([]grace.Health{grace.HealthCritical, grace.HealthDegraded, grace.HealthUnknown, grace.HealthHealthy}, h)
	}
	list := withoutSum(health)
	slices.SortStableFunc(list, func(x, y healthView) int { return rank(x.Status) - rank(y.Status) })
	t := cli.Table{Head: []string{"  SERVICE", "STATUS", "DATA", "SYMPTOMS"}, Tones: map[int]bool{1: true}}
	for _, h := range list {
		if h.Status != grace.HealthHealthy {
			t.Add("  "+string(h.Service), string(h.Status), cli.Percent(h.Confidence), symptoms(h.TopSymptoms, h.Silenced, 90))
		}
	}
	if len(t.Rows) > 0 {
		_, _ = fmt.Fprintln(w, "\nNot healthy")
		t.Write(w, a.Colour)
	}
}

// foreseen lists what is said to come, soonest first. What should have come by
// now is open until twice the horizon, and no news.
func (a *app) foreseen(w io.Writer, open []grace.Prediction) {
	if len(open) == 0 {
		return
	}
	t := cli.Table{Head: []string{"  SERVICE", "CODE", "LIKELY", "BREACH AT", "SAID", "WHAT"}}
	advice := false
	for _, p := range open {
		advice = advice || said(p) == saidAdvice
		t.Add("  "+string(p.Service), string(p.Code), likely(p), a.at(p.BreachAt), said(p), cli.OneLine(p.Title, 80))
	}
	_, _ = fmt.Fprintln(w, "\nPredicted")
	t.Write(w, a.Colour)
	if advice {
		_, _ = fmt.Fprintln(w, "  Nothing acts on advice: its rule has not been right often enough on that series yet.")
	}
}
