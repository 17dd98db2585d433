package store_test

import (
	"testing"
	"time"

	"grace"
	"grace/internal/event"
	"grace/internal/store"
)

// foretold is a resolved prediction of a rule; of a breach, if it has a minute.
func foretold(id, rule string, outcome grace.PredictionOutcome, published bool, likelihood float64, made, breach int) grace.Prediction {
	p := grace.Prediction{
		ID: id, Key: "cart/predict/p99/latency_spike", Service: "cart", Rule: rule, Outcome: outcome, Likelihood: likelihood,
		Made: at(made), At: at(made), BreachAt: at(made + 5),
	}
	if published {
		when := at(made)
		p.Published = &when
	}
	if breach > 0 {
		when := at(breach)
		p.Breach = &when
		if outcome == grace.PredictionTruePositive {
			p.Lead = grace.Duration(when.Sub(at(made)))
		}
	}
	return p
}

func looked(p grace.Prediction, rules ...string) grace.Prediction {
	p.Evaluated = rules
	return p
}

func TestLedgerOfPredictions(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		ctx, q := t.Context(), s.Q()
		apply(t, s, event.Given{Predictions: []grace.Prediction{
			foretold("a", "trend", grace.PredictionOpen, true, 0.85, 1, 0),
			looked(foretold("b", "early", grace.PredictionTruePositive, false, 0.6, 2, 20), "trend", "early"),
			looked(foretold("c", "trend", grace.PredictionTruePositive, true, 0.95, 3, 20), "trend", "early"),
			foretold("d", "trend", grace.PredictionFalsePositive, true, 0.83, 30, 0),
			looked(foretold("e", "", grace.PredictionFalseNegative, false, 0, 50, 50), "trend"),
			looked(foretold("g", "", grace.PredictionFalseNegative, false, 0, 55, 55), "trend_learned"),
		}})
		// Said again, and then resolved: the same entry.
		apply(t, s, event.Given{Predictions: []grace.Prediction{foretold("a", "trend", grace.PredictionTruePositive, true, 0.85, 1, 20)}})
		apply(t, s, event.Given{Predictions: []grace.Prediction{foretold("f", "trend", grace.PredictionOpen, true, 0.9, 60, 0)}})

		ids := func(f store.PredictionFilter) string {
			t.Helper()
			list, _, err := s.Predictions(ctx, q, f, store.Page{})
			out := ""
			for _, p := range must[[]grace.Prediction](t)(list, err) {
				out += p.ID
			}
			return out
		}
		equal(t, ids(store.PredictionFilter{}), "fgedcba")
		equal(t, ids(store.PredictionFilter{Rule: "trend", Outcome: grace.PredictionTruePositive}), "ca")
		equal(t, ids(store.PredictionFilter{Told: []store.Told{store.ToldToAct}}), "fdca")
		equal(t, ids(store.PredictionFilter{Told: []store.Told{store.ToldNobody, store.ToldAdvice}}), "geb")
		equal(t, ids(store.PredictionFilter{Service: "web"}), "")

		ledger := must[[]grace.Prediction](t)(s.Ledger(ctx, q, at(2)))
		out := ""
		for _, p := range ledger {
			out += p.ID
		}
		equal(t, out, "bcdegf")

		record := must[store.PredictionRecord](t)(s.PredictionRecord(ctx, q, store.PredictionFilter{Service: "cart"}))
		equal(t, record.Breaches, 3)
		equal(t, len(record.Rules), 3)
		trend := record.Rules[2]
		equal(t, trend.Rule, "trend")
		equal(t, trend.Published, map[grace.PredictionOutcome]int{grace.PredictionTruePositive: 2, grace.PredictionFalsePositive: 1, grace.PredictionOpen: 1})
		equal(t, trend.Met, 1)
		equal(t, trend.Missed, 1)
		equal(t, record.Rules[1].Missed, 1)
		equal(t, trend.Leads, []time.Duration{17 * time.Minute, 19 * time.Minute})
		equal(t, record.Rules[0].Shadow, map[grace.PredictionOutcome]int{grace.PredictionFalseNegative: 2})
		equal(t, len(record.Reliability), 2)
		equal(t, record.Reliability[0].Resolved, 2)
		equal(t, record.Reliability[0].CameTrue, 1)
	})
}
