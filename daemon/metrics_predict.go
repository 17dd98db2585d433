package daemon

import (
	"github.com/prometheus/client_golang/prometheus"

	"grace"
)

// predictionCollector tells what became of predictions since this process
// began, and what is believed of the rules.
type predictionCollector struct{ d *Daemon }

// Describe meets prometheus.Collector; see storeCollector.
func (predictionCollector) Describe(chan<- *prometheus.Desc) {}

// Collect meets prometheus.Collector.
func (c predictionCollector) Collect(out chan<- prometheus.Metric) {
	records, missed := c.d.loop.Predicted()
	const resolved, resolvedHelp = "self_heal_predictions_total", "Predictions that were published and are resolved, by rule and outcome; each counts once."
	count := func(name, help string, v int64, labels []string, values ...string) {
		out <- prometheus.MustNewConstMetric(describe(name, help, labels...), prometheus.CounterValue, float64(v), values...)
	}
	gauge := func(name, help string, v float64, values ...string) {
		out <- prometheus.MustNewConstMetric(describe(name, help, "rule"), prometheus.GaugeValue, v, values...)
	}
	byRule, byOutcome := []string{"rule"}, []string{"rule", "outcome"}
	for _, r := range records {
		count("self_heal_predictions_made_total", "Predictions made, published or in shadow; each counts once.", r.Made, byRule, r.Rule)
		count("self_heal_predictions_published_total", "Predictions published; each counts once.", r.Published, byRule, r.Rule)
		count("self_heal_predictions_abstained_total", "Predictions resolved that the gate kept in shadow.", r.Abstained, byRule, r.Rule)
		count(resolved, resolvedHelp, r.TruePositives, byOutcome, r.Rule, string(grace.PredictionTruePositive))
		count(resolved, resolvedHelp, r.FalsePositives, byOutcome, r.Rule, string(grace.PredictionFalsePositive))
		count(resolved, resolvedHelp, r.Prevented, byOutcome, r.Rule, string(grace.PredictionPrevented))
		count(resolved, resolvedHelp, r.Unresolved, byOutcome, r.Rule, string(grace.PredictionUnresolved))
		gauge("self_heal_prediction_precision", "Share of a rule's predictions that come true, shadow included, as it is believed now.", r.Precision, r.Rule)
		gauge("self_heal_prediction_precision_low", "Lower edge of the 80 % interval of that share.", r.Low, r.Rule)
		gauge("self_heal_prediction_rule_suspended", "For how many services too many of a rule's published predictions were false, so that it is back in shadow.", float64(r.Suspended), r.Rule)
	}
	count("self_heal_predictions_missed_total", "Breaches that no published prediction foresaw.", missed, nil)
}
