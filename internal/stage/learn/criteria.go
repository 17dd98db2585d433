package learn

import (
	"math"
	"strings"
	"time"

	"grace"
)

// Criterion is one thing that healing must achieve: a figure, how sure it is,
// and whether it meets its target.
type Criterion struct {
	Name   string  `json:"name"`
	Target string  `json:"target"`
	Value  float64 `json:"value" doc:"a share from 0 to 1, or seconds"`
	N      int     `json:"n" doc:"what it rests on"`
	Low    float64 `json:"low" doc:"lower end of the 95 % interval"`
	High   float64 `json:"high" doc:"upper end of the 95 % interval"`
	Met    string  `json:"met" enum:"pass,fail,no_data"`
}

// InSeconds tells whether the figure is a time; else it is a share.
func (c Criterion) InSeconds() bool { return strings.HasSuffix(c.Target, "min") }

// The targets.
const (
	targetRecover      = 5 * time.Minute
	targetAutoApproved = 0.60
	targetSuccess      = 0.85
	targetRollbacks    = 0.05
	targetFalse        = 0.10
)

// criteria judges what the runs show.
func (k KPIs) criteria(recovered []grace.Duration) []Criterion {
	acted := k.Succeeded24h + k.Failed24h
	return []Criterion{
		recoverCriterion(recovered),
		Share("auto-approved of low risk", "> 60 %", k.LowRiskAuto24h, k.LowRisk24h, func(v float64) bool { return v > targetAutoApproved }),
		Share("success", "> 85 %", k.Succeeded24h, acted, func(v float64) bool { return v > targetSuccess }),
		Share("rollbacks", "< 5 %", k.Rollbacks24h, acted, func(v float64) bool { return v < targetRollbacks }),
	}
}

// FalsePredictions judges the predictions that were published and resolved.
func FalsePredictions(wrong, resolved int) Criterion {
	return Share("false among acting predictions", "< 10 %", wrong, resolved, func(v float64) bool { return v < targetFalse })
}

// Share judges k of n against a target, with Wilson's interval.
func Share(name, target string, k, n int, meets func(float64) bool) Criterion {
	c := Criterion{Name: name, Target: target, N: n, Met: "no_data"}
	if n == 0 {
		return c
	}
	c.Value = float64(k) / float64(n)
	c.Low, c.High = wilson(k, n)
	return c.judge(meets(c.Value))
}

func (c Criterion) judge(met bool) Criterion {
	c.Met = "fail"
	if met {
		c.Met = "pass"
	}
	return c
}

// recoverCriterion judges the mean time to recover, with the interval of a mean
// of many.
func recoverCriterion(recovered []grace.Duration) Criterion {
	c := Criterion{Name: "mean time to recover", Target: "< 5 min", N: len(recovered), Met: "no_data"}
	if c.N == 0 {
		return c
	}
	m := mean(recovered).D().Seconds()
	var squares float64
	for _, r := range recovered {
		d := r.D().Seconds() - m
		squares += d * d
	}
	half := 0.0
	if c.N > 1 {
		half = 1.96 * math.Sqrt(squares/float64(c.N-1)/float64(c.N))
	}
	c.Value, c.Low, c.High = m, max(0, m-half), m+half
	return c.judge(m < targetRecover.Seconds())
}
