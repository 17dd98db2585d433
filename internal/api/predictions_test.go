package api

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grace"
	"grace/internal/store"
)

func TestSummarised(t *testing.T) {
	got := summarised(store.RuleRecord{
		Rule: "trend", Met: 7, Missed: 2, Leads: []time.Duration{time.Minute, 3 * time.Minute, 9 * time.Minute},
		Published: map[grace.PredictionOutcome]int{
			grace.PredictionTruePositive: 7, grace.PredictionFalsePositive: 1, grace.PredictionPrevented: 2, grace.PredictionUnresolved: 1, grace.PredictionOpen: 1,
		},
		Shadow: map[grace.PredictionOutcome]int{grace.PredictionTruePositive: 1, grace.PredictionFalsePositive: 4, "": 3},
	})
	if got.Low <= 0.5 || got.Low >= got.Precision || got.High <= got.Precision {
		t.Errorf("precision %v within %v and %v", got.Precision, got.Low, got.High)
	}
	got.Low, got.High = 0, 0
	want := RuleSummary{
		Rule: "trend", Published: 12, Open: 1, TruePositives: 7, FalsePositives: 1, Prevented: 2, Unresolved: 1, Missed: 2, Precision: 0.875,
		MedianLead: grace.Duration(3 * time.Minute), Abstained: 5, ShadowTruePositives: 1, ShadowFalsePositives: 4,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
