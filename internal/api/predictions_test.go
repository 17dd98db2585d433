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
		Spoken: map[grace.PredictionOutcome]int{
			grace.PredictionHit: 7, grace.PredictionFalse: 1, grace.PredictionPrevented: 2, grace.PredictionUnresolved: 1, grace.PredictionOpen: 1,
		},
		Shadow: map[grace.PredictionOutcome]int{grace.PredictionHit: 1, grace.PredictionFalse: 4, "": 3},
	})
	if got.Low <= 0.5 || got.Low >= got.Precision || got.High <= got.Precision {
		t.Errorf("precision %v within %v and %v", got.Precision, got.Low, got.High)
	}
	got.Low, got.High = 0, 0
	want := RuleSummary{
		Rule: "trend", Spoken: 12, Open: 1, Hits: 7, False: 1, Prevented: 2, Unresolved: 1, Missed: 2, Precision: 0.875,
		MedianLead: grace.Duration(3 * time.Minute), Abstained: 5, ShadowHits: 1, ShadowFalse: 4,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
