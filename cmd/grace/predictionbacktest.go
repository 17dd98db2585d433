package main

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"grace"
	"grace/internal/api"
	"grace/internal/cli"
	"grace/internal/loop"
	"grace/internal/stage/predict"
)

const (
	fourWeeks = grace.Duration(28 * 24 * time.Hour)
	// backtestWait is how long a backtest may take, where --timeout says nothing else.
	backtestWait = grace.Duration(time.Hour)
)

func newPredictionBacktest(a *app) *cobra.Command {
	since, step := fourWeeks, grace.Duration(time.Minute)
	cmd := &cobra.Command{
		Use:   "backtest",
		Short: "What the rules of prediction would have said of the past",
		Long: `Read the history of everything that objectives and limits can foretell, from
telemetry.warm_up and from the sources of objectives, and run it through the rules
of prediction as they are configured, beginning with no trust in any: what each
would have claimed, what of it would have been published, and so may have acted,
and what came. Nothing is written, and nothing of what GRACE watches changes. The
daemon does it, one at a time; a month of a series takes it seconds.`,
		Example: "  grace predictions backtest --since 28d",
		Args:    cli.ExactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("timeout") {
				a.timeout = backtestWait
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			got, err := c.BacktestPredictions(cmd.Context(), since, step)
			if err != nil {
				return err
			}
			return a.Show(got.Raw, func(w io.Writer) { a.showPredictionBacktest(w, &got.Value) })
		},
	}
	cmd.Flags().TextVar(&since, "since", since, "how far back")
	cmd.Flags().TextVar(&step, "step", step, "between two values")
	return cmd
}

func (a *app) showPredictionBacktest(w io.Writer, b *api.PredictionBacktest) {
	if b.Values == 0 {
		_, _ = fmt.Fprintln(w, "There is no history.")
	} else {
		_, _ = fmt.Fprintf(w, "From %s to %s, a value every %s, %d series.\n", a.at(b.From), a.at(b.To), cli.Short(b.Step.D()), b.Series)
		_, _ = fmt.Fprintf(w, "%s: %d foreseen, %d of them by what would have been published.\n", breaches(b.Breaches), b.Foreseen, b.PublishedForeseen)
	}
	if len(b.Rules) > 0 {
		t := cli.Table{Head: []string{
			"RULE", "SERVICE", "CLAIMS", "TRUE POS.", "FALSE POS.", "UNRESOLVED", "PUBLISHED", "ITS TRUE POS.", "ITS FALSE POS.", "PRECISION", "80 % INTERVAL",
			"BREACHES", "FORESEEN", "BY PUBLISHED", "MEDIAN LEAD", "OF PUBLISHED",
		}}
		for i := range b.Rules {
			r := &b.Rules[i]
			t.Add(append([]string{r.Rule, "all"}, backtestCells(&r.BacktestRecord)...)...)
			for j := range r.Services {
				t.Add(append([]string{r.Rule, string(r.Services[j].Service)}, backtestCells(&r.Services[j].BacktestRecord)...)...)
			}
		}
		t.Write(w, a.Colour)
	}
	if len(b.Missing) == 0 {
		return
	}
	_, _ = fmt.Fprintln(w, "\nNo history, or not all:")
	t := cli.Table{Head: []string{"OBJECTIVE OR LIMIT", "SERVICE", "SOURCE", "VALUES", "WHY"}}
	for i := range b.Missing {
		m := &b.Missing[i]
		t.Add(m.Name, cli.OrDash(string(m.Service)), cli.OrDash(m.Source), strconv.Itoa(m.Values), noHistory(m.Reason)+": "+cli.OneLine(m.Detail, 160))
	}
	t.Write(w, a.Colour)
}

func backtestCells(r *predict.BacktestRecord) []string {
	n := strconv.Itoa
	precision, interval, lead, published := "-", "-", "-", "-" // of nothing
	if r.PublishedTruePositives+r.PublishedFalsePositives > 0 {
		precision, interval = cli.Percent(r.Precision), cli.Percent(r.Low)+" to "+cli.Percent(r.High)
	}
	if r.TruePositives > 0 {
		lead = cli.Short(r.MedianLead.D())
	}
	if r.PublishedTruePositives > 0 {
		published = cli.Short(r.PublishedMedianLead.D())
	}
	return []string{
		n(r.Claims), n(r.TruePositives), n(r.FalsePositives), n(r.Unresolved + r.Open), n(r.Published), n(r.PublishedTruePositives), n(r.PublishedFalsePositives),
		precision, interval, n(r.Breaches), n(r.Foreseen), n(r.PublishedForeseen), lead, published,
	}
}

func noHistory(why loop.NoHistory) string {
	switch why {
	case loop.NoHistoryUnpredictable:
		return "not foretold"
	case loop.NoHistoryTwoVectors:
		return "compares two series"
	case loop.NoHistoryNobody:
		return "nobody keeps it"
	case loop.NoHistoryAway:
		return "the source is away"
	case loop.NoHistoryFailed:
		return "the query failed"
	case loop.NoHistoryNoService:
		return "no service"
	}
	return string(why)
}
