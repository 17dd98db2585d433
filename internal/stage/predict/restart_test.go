package predict

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grace"
)

// After a restart a series begins with a history that has fewer points than what
// was seen live, or with none. The ledger knows better.
func TestBreachesOverARestart(t *testing.T) {
	beyond := func(int) float64 { return 900 }
	// history of the minutes before now, oldest first.
	history := func(p *tape, values ...float64) {
		for i, v := range values {
			p.a.Observe(Series{Service: "cart", Metric: "latency_ms"}, p.now.Add(time.Duration(i-len(values))*time.Minute), v)
		}
	}
	before := &tape{a: earned(DefaultConfig(), []Target{target()}), now: start}
	before.play(60, rise)
	if len(before.all.Published) == 0 {
		t.Fatal("nothing was published")
	}
	open := before.all.Published[len(before.all.Published)-1]
	met := &tape{a: earned(DefaultConfig(), []Target{target()}), now: start}
	met.play(130, rise)
	if diff := cmp.Diff([]string{"trend true_positive"}, met.outcomes()); diff != "" {
		t.Fatal(diff)
	}

	for _, tt := range []struct {
		name   string
		ledger []grace.Prediction
		now    time.Time
		play   func(p *tape)
		want   []string
	}{
		{"a claim comes true with the first samples", []grace.Prediction{open}, before.now, func(p *tape) { p.play(12, beyond) }, []string{"trend true_positive"}},
		{"the history knew an older breach", []grace.Prediction{open}, before.now, func(p *tape) {
			history(p, 200, 200, 200, 200, 900, 900, 900, 900)
			p.play(12, beyond)
		}, []string{"trend true_positive"}},
		{"a breach that goes on is not found again", met.all.Resolved, met.now, func(p *tape) {
			history(p, 200, 200, 200, 200, 200, 450, 900, 900, 900)
			p.play(12, beyond)
		}, nil},
		{"nor one that was missed", []grace.Prediction{missed(met.all.Resolved[0])}, met.now, func(p *tape) {
			history(p, 200, 200, 200, 200, 200, 450, 900, 900, 900)
			p.play(12, beyond)
		}, nil},
		{"a new one is", met.all.Resolved, met.now.Add(2 * time.Hour), func(p *tape) {
			history(p, 200, 200, 200, 200, 200, 200)
			p.play(12, beyond)
		}, []string{" false_negative"}},
		{"nobody was there to foresee what is long past", nil, met.now, func(p *tape) {
			history(p, 200, 200, 200, 200, 200, 200, 900, 900, 900)
			p.now = p.now.Add(3 * time.Hour)
			p.play(12, flat)
		}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &tape{a: earned(DefaultConfig(), []Target{target()}), now: tt.now}
			p.a.Restore(tt.ledger)
			tt.play(p)
			if diff := cmp.Diff(tt.want, p.outcomes()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// missed is a breach as it is in the ledger when nobody foresaw it.
func missed(p grace.Prediction) grace.Prediction {
	p.Rule, p.Outcome, p.Published = "", grace.PredictionFalseNegative, nil
	return p
}
