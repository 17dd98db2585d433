package main

import (
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"grace"
	"grace/internal/api"
)

func newPredictions(a *app) *cobra.Command {
	var (
		q                      listQuery
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
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if spoken && shadow {
				return usageError("--spoken and --shadow leave nothing", "give one of them, or none for both")
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			if sums {
				return a.predictionSummary(cmd, c, service, rule)
			}
			values := q.values("service", service, "rule", rule, "outcome", outcome)
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
			return a.show(list.Raw, func(w io.Writer) {
				if len(list.Value.Items) == 0 {
					_, _ = fmt.Fprintln(w, "No predictions.")
					return
				}
				t := table{
					head:  []string{"MADE", "SERVICE", "CODE", "LIKELY", "BREACH AT", "RULE", "SAID", "OUTCOME", "LEAD", "RUN", "WHAT"},
					tones: map[int]bool{7: true},
				}
				for _, p := range list.Value.Items {
					t.add(a.at(p.Made), string(p.Service), string(p.Code), likely(p), a.at(p.BreachAt), orDash(p.Rule), said(p),
						orDash(string(p.Outcome)), lead(p), orDash(string(p.Run)), oneLine(p.Title, 60))
				}
				t.write(w, a.colour)
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
	return percent(p.Likelihood)
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
	return short(p.Lead.D())
}

func (a *app) predictionSummary(cmd *cobra.Command, c *client, service, rule string) error {
	s, err := c.PredictionSummary(cmd.Context(), listQuery{}.values("service", service, "rule", rule))
	if err != nil {
		return err
	}
	return a.show(s.Raw, func(w io.Writer) {
		_, _ = fmt.Fprintf(w, "%s, %d of them unforeseen.\n", breaches(s.Value.Breaches), s.Value.Missed)
		if len(s.Value.Rules) == 0 {
			_, _ = fmt.Fprintln(w, "No rule predicted anything.")
			return
		}
		t := table{head: []string{
			"RULE", "SPOKEN", "OPEN", "HITS", "FALSE", "PREVENTED", "UNRESOLVED", "MISSED", "PRECISION", "80 % BAND", "MEDIAN LEAD",
			"ABSTAINED", "SHADOW HITS", "SHADOW FALSE",
		}}
		for _, r := range s.Value.Rules {
			precision, band, ahead := "-", "-", "-" // of nothing
			if r.Hits+r.False > 0 {
				precision, band = percent(r.Precision), percent(r.Low)+" to "+percent(r.High)
			}
			if r.Hits > 0 {
				ahead = short(r.MedianLead.D())
			}
			n := strconv.Itoa
			t.add(r.Rule, n(r.Spoken), n(r.Open), n(r.Hits), n(r.False), n(r.Prevented), n(r.Unresolved), n(r.Missed), precision,
				band, ahead, n(r.Abstained), n(r.ShadowHits), n(r.ShadowFalse))
		}
		t.write(w, a.colour)
		a.reliability(w, s.Value.Reliability)
	})
}

func (a *app) reliability(w io.Writer, bins []api.Reliability) {
	if len(bins) == 0 {
		return
	}
	_, _ = fmt.Fprintln(w)
	t := table{head: []string{"LIKELIHOOD SAID", "PREDICTIONS", "CAME TRUE"}}
	for _, b := range bins {
		t.add(percent(b.Mean), strconv.Itoa(b.Resolved), percent(b.Rate))
	}
	t.write(w, a.colour)
}

func breaches(n int) string {
	if n == 1 {
		return "1 breach"
	}
	return strconv.Itoa(n) + " breaches"
}
