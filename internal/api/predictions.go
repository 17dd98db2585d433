package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"grace"
	"grace/internal/stage/predict"
	"grace/internal/store"
)

type predictionsInput struct {
	Paging

	Service   grace.ServiceID         `query:"service"`
	Rule      string                  `query:"rule" doc:"for example trend; external: other systems"`
	Outcome   grace.PredictionOutcome `query:"outcome" enum:"open,true_positive,false_positive,prevented,unresolved,false_negative"`
	Published bool                    `query:"published" doc:"only those that were published"`
	Advice    bool                    `query:"advice" doc:"only those that were advice and nothing more"`
	Shadow    bool                    `query:"shadow" doc:"only those that were never told, and misses"`
	Standing  bool                    `query:"standing" doc:"only what is foreseen now, published or advice: the newest of each series, the next breach first"`
	From      time.Time               `query:"from" doc:"made at or after"`
	To        time.Time               `query:"to" doc:"made before"`
}

type predictionSummaryInput struct {
	Service grace.ServiceID `query:"service"`
	Rule    string          `query:"rule"`
	From    time.Time       `query:"from" doc:"made at or after; default: 30 days ago"`
	To      time.Time       `query:"to" doc:"made before"`
}

// PredictionSummary tells how right predictions were.
type PredictionSummary struct {
	From        time.Time     `json:"from"`
	To          time.Time     `json:"to"`
	Breaches    int           `json:"breaches" doc:"that began, foreseen or not"`
	Missed      int           `json:"missed" doc:"of them, those that no published prediction foresaw"`
	Rules       []RuleSummary `json:"rules"`
	Reliability []Reliability `json:"reliability" doc:"of published predictions, by likelihood"`
}

// RuleSummary tells how right one rule was. What was published and what stayed in
// shadow are counted apart.
type RuleSummary struct {
	Rule                  string         `json:"rule"`
	Published             int            `json:"published" doc:"predictions, each counted once however often it was said"`
	Open                  int            `json:"open" doc:"of the published ones: not resolved yet"`
	TruePositives         int            `json:"true_positives" doc:"a breach began in the time that was said"`
	FalsePositives        int            `json:"false_positives" doc:"none began"`
	Prevented             int            `json:"prevented" doc:"none began, a run acted, and by the forecast it had begun"`
	Unresolved            int            `json:"unresolved" doc:"too few samples to tell, or a run acted and the forecast leaves it open"`
	Missed                int            `json:"missed" doc:"breaches that no published prediction of this rule foresaw, of series that it looks at"`
	Precision             float64        `json:"precision" doc:"share of the true positives among all positives; 0 without any. A prevented one is no evidence: it cannot be seen"`
	Low                   float64        `json:"low" doc:"lower edge of the 80 % interval of the precision"`
	High                  float64        `json:"high" doc:"upper edge of the 80 % interval of the precision"`
	MedianLead            grace.Duration `json:"median_lead" doc:"from the prediction to the breach, of the true positives"`
	Advised               int            `json:"advised" doc:"predictions that were advice and nothing more"`
	AdvisedTruePositives  int            `json:"advised_true_positives"`
	AdvisedFalsePositives int            `json:"advised_false_positives"`
	Abstained             int            `json:"abstained" doc:"predictions that were told to nobody"`
	ShadowTruePositives   int            `json:"shadow_true_positives" doc:"of those that were told to nobody"`
	ShadowFalsePositives  int            `json:"shadow_false_positives" doc:"of those that were told to nobody"`
}

// Reliability compares what was said with what came.
type Reliability struct {
	From     float64 `json:"from" doc:"of the likelihood"`
	To       float64 `json:"to"`
	Mean     float64 `json:"mean" doc:"likelihood that was said"`
	Resolved int     `json:"resolved" doc:"true and false positives"`
	Rate     float64 `json:"rate" doc:"share of true positives"`
}

// summarySpan is how far back predictions are counted unless asked otherwise.
const summarySpan = 30 * 24 * time.Hour

func (s *server) registerPredictions(api huma.API) {
	const tag = "Predictions"
	handle(s, api, op{
		method: http.MethodGet, path: "/api/predictions", id: "list-predictions", tag: tag, role: roleViewer,
		doc: "The ledger of predictions, the last made first: one entry from the first time a rule says so until it is resolved, and one for every breach that was missed", what: "the predictions",
	}, func(ctx context.Context, in *predictionsInput) (*body[List[grace.Prediction]], error) {
		f := store.PredictionFilter{Service: in.Service, Rule: in.Rule, Outcome: in.Outcome, From: in.From, To: in.To}
		for told, wanted := range []bool{store.ToldNobody: in.Shadow, store.ToldToAct: in.Published, store.ToldAdvice: in.Advice} {
			if wanted {
				f.Told = append(f.Told, store.Told(told))
			}
		}
		if in.Standing {
			list, err := s.foreseen(ctx, f)
			return listed(list, "", err)
		}
		return listed(s.store.Predictions(ctx, s.store.Q(), f, in.page()))
	})
	handle(s, api, op{
		method: http.MethodGet, path: "/api/predictions/summary", id: "summarise-predictions", tag: tag, role: roleViewer,
		doc: "How right predictions were, by rule", what: "the predictions",
	}, s.predictionSummary)
	s.registerPredictionBacktest(api)
}

func (s *server) predictionSummary(ctx context.Context, in *predictionSummaryInput) (*body[PredictionSummary], error) {
	out := PredictionSummary{From: in.From, To: in.To, Rules: []RuleSummary{}, Reliability: []Reliability{}}
	if out.To.IsZero() {
		out.To = s.now()
	}
	if out.From.IsZero() {
		out.From = out.To.Add(-summarySpan)
	}
	// Breaches are counted whichever rule foresaw them.
	f := store.PredictionFilter{Service: in.Service, From: out.From, To: out.To}
	record, err := s.store.PredictionRecord(ctx, s.store.Q(), f)
	if err != nil {
		return nil, stored(err)
	}
	out.Breaches = record.Breaches
	for _, r := range record.Rules {
		if r.Rule == "" {
			out.Missed = r.Shadow[grace.PredictionFalseNegative]
			continue
		}
		if in.Rule == "" || in.Rule == r.Rule {
			out.Rules = append(out.Rules, summarised(r))
		}
	}
	for _, b := range record.Reliability {
		out.Reliability = append(out.Reliability, Reliability{
			From: b.From, To: b.To, Mean: b.Mean, Resolved: b.Resolved, Rate: float64(b.CameTrue) / float64(b.Resolved),
		})
	}
	return ok(out)
}

func summarised(r store.RuleRecord) RuleSummary {
	out := RuleSummary{
		Rule: r.Rule, Open: r.Published[grace.PredictionOpen], TruePositives: r.Published[grace.PredictionTruePositive], FalsePositives: r.Published[grace.PredictionFalsePositive],
		Prevented: r.Published[grace.PredictionPrevented], Unresolved: r.Published[grace.PredictionUnresolved], Missed: r.Missed,
		AdvisedTruePositives: r.Advice[grace.PredictionTruePositive], AdvisedFalsePositives: r.Advice[grace.PredictionFalsePositive],
		ShadowTruePositives: r.Shadow[grace.PredictionTruePositive], ShadowFalsePositives: r.Shadow[grace.PredictionFalsePositive],
	}
	for _, n := range r.Published {
		out.Published += n
	}
	for _, n := range r.Advice {
		out.Advised += n
	}
	for outcome, n := range r.Shadow {
		if outcome != "" { // of other systems, about what nobody measures
			out.Abstained += n
		}
	}
	out.Precision, out.Low, out.High = predict.Share(out.TruePositives, out.FalsePositives)
	if n := len(r.Leads); n > 0 {
		out.MedianLead = grace.Duration(r.Leads[n/2])
	}
	return out
}
