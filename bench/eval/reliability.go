package main

import (
	"context"
	"fmt"
	"slices"
)

// Reliability is judged in bins of a tenth; fewer than reliableFew claims in a bin
// say nothing.
const (
	reliableBins = 10
	reliableFew  = 20
)

// prediction is a likelihood that was said, and whether it came true.
type prediction struct {
	likelihood float64
	came       bool
}

// reliability makes the table of likelihoods and of what became of them.
func reliability(_ context.Context, e *evaluation) ([]Table, error) {
	t := Table{
		Title: e.half.title("Reliability"),
		What: "What was said when a claim was made, in shadow or not, and what became of it, by rule and by the likelihood that was said. Blocks: what forecasts said of each block of six hours, as the agent notes it. " +
			fmt.Sprintf("Bins with fewer than %d claims are left out.", reliableFew),
		Columns: []string{"claims", "said, %", "came true, %", "apart, points"},
	}
	for _, rule := range slices.Concat(limitRules(), []string{"capacity, blocks"}) {
		var series [][]prediction
		for _, r := range e.runs {
			if rule == "capacity, blocks" {
				series = append(series, r.set.blocks...)
				continue
			}
			series = append(series, saidOf(r.set, rule)...)
		}
		t.Rows = append(t.Rows, reliabilityRows(rule, series)...)
	}
	return []Table{t}, nil
}

// saidOf gives what a rule said of each series when it made a claim.
func saidOf(p *player, rule string) [][]prediction {
	claims, back := p.at(claimed, rule)
	out := make([][]prediction, len(p.stretches))
	for i, j := range p.parts(false) {
		j.judge(claims[i])
		for k, c := range claims[i] {
			if c.was == right || c.was == wrong {
				out[i] = append(out[i], prediction{back[i][k].likelihood, c.was == right})
			}
		}
	}
	return out
}

// reliabilityRows gives a row for each bin with enough claims.
func reliabilityRows(name string, series [][]prediction) []Row {
	var out []Row
	for bin := range reliableBins {
		sum := func(drawn []int) (n, said, came float64) {
			for _, i := range drawn {
				for _, p := range series[i] {
					if min(int(p.likelihood*reliableBins), reliableBins-1) != bin {
						continue
					}
					n++
					said += p.likelihood
					if p.came {
						came++
					}
				}
			}
			return n, said, came
		}
		n, said, came := sum(all(len(series)))
		if n < reliableFew {
			continue
		}
		out = append(out, Row{Name: fmt.Sprintf("%s, %d to %d %%", name, 100*bin/reliableBins, 100*(bin+1)/reliableBins), Ours: true, Cells: []Value{
			figure(n, 0), figure(100*said/n, 0),
			bootstrap(len(series), 0, func(drawn []int) float64 {
				n, _, came := sum(drawn)
				return 100 * came / n
			}),
			figure(100*(came-said)/n, 0),
		}})
	}
	return out
}
