package main

import (
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"grace"
	"grace/internal/api"
	"grace/internal/cli"
)

func newPredictions(a *app) *cobra.Command {
	var (
		q                               cli.ListQuery
		service, rule, outcome          string
		published, advice, shadow, sums bool
	)
	cmd := &cobra.Command{
		Use:   "predictions",
		Short: "What GRACE predicted, and what became of it",
		Long: `Every prediction is an entry of the ledger, from the first time a rule says so
until it is resolved: true_positive, false_positive, prevented or unresolved; a breach that nobody
foresaw is a false_negative. What is published may be acted on. Advice is shown, and what
is less likely stays in shadow: both are recorded and resolved alike, and nothing is done.`,
		Args: cli.ExactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if sums {
				return a.predictionSummary(cmd, c, service, rule)
			}
			values := q.Values("service", service, "rule", rule, "outcome", outcome)
			if published {
				values.Set("published", "true")
			}
			if advice {
				values.Set("advice", "true")
			}
			if shadow {
				values.Set("shadow", "true")
			}
			list, err := c.Predictions(cmd.Context(), values)
			if err != nil {
				return err
			}
			return a.Show(list.Raw, func(w io.Writer) {
				if len(list.Value.Items) == 0 {
					_, _ = fmt.Fprintln(w, "No predictions.")
					return
				}
				t := cli.Table{
					Head:  []string{"MADE", "SERVICE", "CODE", "LIKELY", "BREACH AT", "RULE", "SAID", "OUTCOME", "LEAD", "RUN", "WHAT"},
					Tones: map[int]bool{7: true},
				}
				for _, p := range list.Value.Items {
					t.Add(a.at(p.Made), string(p.Service), string(p.Code), likely(p), a.at(p.BreachAt), cli.OrDash(p.Rule), said(p),
						cli.OrDash(string(p.Outcome)), lead(p), cli.OrDash(string(p.Run)), cli.OneLine(p.Title, 60))
				}
				t.Write(w, a.Colour)
				more(w, cmd, list.Value.Next)
			})
		},
	}
	f := cmd.Flags()
	f.BoolVar(&sums, "summary", false, "how right each rule was in the last 30 days")
	f.StringVar(&service, "service", "", "only of this service")
	f.StringVar(&rule, "rule", "", "only by this rule, for example trend")
	f.StringVar(&outcome, "outcome", "", "only open, true_positive, false_positive, prevented, unresolved or false_negative")
	f.BoolVar(&published, "published", false, "only those that were published")
	f.BoolVar(&advice, "advice", false, "only those that were advice and nothing more")
	f.BoolVar(&shadow, "shadow", false, "only those that were never told, and misses")
	pageFlags(cmd, &q)
	cmd.AddCommand(newPredictionBacktest(a))
	return cmd
}

func likely(p grace.Prediction) string {
	if p.Outcome == grace.PredictionFalseNegative {
		return "-"
	}
	return cli.Percent(p.Likelihood)
}

const saidAdvice = "advice"

func said(p grace.Prediction) string {
	switch {
	case p.Outcome == grace.PredictionFalseNegative:
		return "-"
	case p.Published != nil:
		return "published"
	case p.Advised != nil:
		return saidAdvice
	}
	return "shadow"
}

func lead(p grace.Prediction) string {
	if p.Outcome != grace.PredictionTruePositive {
		return "-"
	}
	return cli.Short(p.Lead.D())
}

func (a *app) predictionSummary(cmd *cobra.Command, c *client, service, rule string) error {
	s, err := c.PredictionSummary(cmd.Context(), cli.ListQuery{}.Values("service", service, "rule", rule))
	if err != nil {
		return err
	}
	return a.Show(s.Raw, func(w io.Writer) {
		_, _ = fmt.Fprintf(w, "%s, %d of them unforeseen.\n", breaches(s.Value.Breaches), s.Value.Missed)
		if len(s.Value.Rules) == 0 {
			_, _ = fmt.Fprintln(w, "No rule predicted anything.")
			return
		}
		t := cli.Table{Head: []string{
			"RULE", "PUBLISHED", "OPEN", "TRUE POS.", "FALSE POS.", "PREVENTED", "UNRESOLVED", "MISSED", "PRECISION", "80 % INTERVAL", "MEDIAN LEAD",
			"ADVICE", "ITS TRUE POS.", "ITS FALSE POS.", "ABSTAINED", "SHADOW TRUE POS.", "SHADOW FALSE POS.",
		}}
		for _, r := range s.Value.Rules {
			precision, interval, ahead := "-", "-", "-" // of nothing
			if r.TruePositives+r.FalsePositives > 0 {
				precision, interval = cli.Percent(r.Precision), cli.Percent(r.Low)+" to "+cli.Percent(r.High)
			}
			if r.TruePositives > 0 {
				ahead = cli.Short(r.MedianLead.D())
			}
			n := strconv.Itoa
			t.Add(r.Rule, n(r.Published), n(r.Open), n(r.TruePositives), n(r.FalsePositives), n(r.Prevented), n(r.Unresolved), n(r.Missed), precision,
				interval, ahead, n(r.Advised), n(r.AdvisedTruePositives), n(r.AdvisedFalsePositives), n(r.Abstained), n(r.ShadowTruePositives), n(r.ShadowFalsePositives))
		}
		t.Write(w, a.Colour)
		a.reliability(w, s.Value.Reliability)
	})
}

func (a *app) reliability(w io.Writer, bins []api.Reliability) {
	if len(bins) == 0 {
		return
	}
	_, _ = fmt.Fprintln(w)
	t := cli.Table{Head: []string{"LIKELIHOOD SAID", "PREDICTIONS", "CAME TRUE"}}
	for _, b := range bins {
		t.Add(cli.Percent(b.Mean), strconv.Itoa(b.Resolved), cli.Percent(b.Rate))
	}
	t.Write(w, a.Colour)
}

func breaches(n int) string {
	if n == 1 {
		return "1 breach"
	}
	return strconv.Itoa(n) + " breaches"
}
