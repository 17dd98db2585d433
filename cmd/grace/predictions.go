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
		q                      cli.ListQuery
		service, rule, outcome string
		spoken, shadow, sums   bool
	)
	cmd := &cobra.Command{
		Use:   "predictions",
		Short: "What GRACE predicted, and what became of it",
		Long: `Every prediction is an entry of the ledger, from the first time a rule says so
until it is resolved: hit, false, prevented or unresolved; a breach that nobody
foresaw is a miss. Predictions in shadow are recorded and resolved like the
others, and nothing is done.`,
		Args: cli.ExactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if spoken && shadow {
				return cli.UsageError("--spoken and --shadow leave nothing", "give one of them, or none for both")
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			if sums {
				return a.predictionSummary(cmd, c, service, rule)
			}
			values := q.Values("service", service, "rule", rule, "outcome", outcome)
			if spoken {
				values.Set("spoken", "true")
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
	f.StringVar(&outcome, "outcome", "", "only open, hit, false, prevented, unresolved or miss")
	f.BoolVar(&spoken, "spoken", false, "only those that were spoken")
	f.BoolVar(&shadow, "shadow", false, "only those that stayed in shadow, and misses")
	pageFlags(cmd, &q)
	return cmd
}

func likely(p grace.Prediction) string {
	if p.Outcome == grace.PredictionMiss {
		return "-"
	}
	return cli.Percent(p.Likelihood)
}

func said(p grace.Prediction) string {
	switch {
	case p.Outcome == grace.PredictionMiss:
		return "-"
	case p.Spoken != nil:
		return "spoken"
	}
	return "shadow"
}

func lead(p grace.Prediction) string {
	if p.Outcome != grace.PredictionHit {
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
			"RULE", "SPOKEN", "OPEN", "HITS", "FALSE", "PREVENTED", "UNRESOLVED", "MISSED", "PRECISION", "80 % BAND", "MEDIAN LEAD",
			"ABSTAINED", "SHADOW HITS", "SHADOW FALSE",
		}}
		for _, r := range s.Value.Rules {
			precision, band, ahead := "-", "-", "-" // of nothing
			if r.Hits+r.False > 0 {
				precision, band = cli.Percent(r.Precision), cli.Percent(r.Low)+" to "+cli.Percent(r.High)
			}
			if r.Hits > 0 {
				ahead = cli.Short(r.MedianLead.D())
			}
			n := strconv.Itoa
			t.Add(r.Rule, n(r.Spoken), n(r.Open), n(r.Hits), n(r.False), n(r.Prevented), n(r.Unresolved), n(r.Missed), precision,
				band, ahead, n(r.Abstained), n(r.ShadowHits), n(r.ShadowFalse))
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
