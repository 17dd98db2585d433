package main

import (
	"fmt"
	"math"
	"math/rand/v2"

	"grace/internal/breach"
)

// earlyCase is one step of a series: what the model saw, and whether a breach
// began within two horizons.
type earlyCase struct {
	x      [breach.Quantities]float64
	begins bool
	weight float64 // in reaches
}

// cases collects the steps of the judged part that could be foreseen.
func (s earlySeries) cases() []earlyCase {
	var out []earlyCase
	var state breach.State
	m := breach.New(earlyHorizon)
	next := 0
	for i := range s.at {
		m.Append(&state, s.at[i], s.values[i], s.limit, false)
		for next < len(s.begins) && s.begins[next] <= i {
			next++
		}
		x, ok := m.Observed(&state)
		if i < s.from || s.in[i] || !ok {
			continue
		}
		out = append(out, earlyCase{
			x:      x,
			begins: next < len(s.begins) && s.at[s.begins[next]]-s.at[i] <= earlyReach,
			weight: max(1.0/12, min(1, float64(s.at[i]-s.at[i-1])/float64(earlyReach))),
		})
	}
	return out
}

// fitEarly fits the prior weights: logistic regression with a ridge, by Newton's
// method.
func fitEarly(series [][]earlyCase) [breach.Quantities]float64 {
	const n, ridge, rounds = breach.Quantities, 3, 12
	var b [n]float64
	for range rounds {
		var slope [n]float64
		var curve [n][n]float64
		for _, cases := range series {
			for _, c := range cases {
				z, truth := 0.0, 0.0
				for k := range n {
					z += b[k] * c.x[k]
				}
				if c.begins {
					truth = 1
				}
				p := 1 / (1 + math.Exp(-z))
				for k := range n {
					slope[k] += c.weight * (truth - p) * c.x[k]
					for l := range n {
						curve[k][l] += c.weight * p * (1 - p) * c.x[k] * c.x[l]
					}
				}
			}
		}
		for k := range n {
			r := float64(ridge)
			if k == 0 { // the constant goes free
				r = 1e-3
			}
			slope[k] -= r * b[k]
			curve[k][k] += r
		}
		solve(&curve, &slope)
		for k := range n {
			b[k] += slope[k]
		}
	}
	return b
}

// solve replaces y by the x of a x = y; a is positive definite.
func solve(a *[breach.Quantities][breach.Quantities]float64, y *[breach.Quantities]float64) {
	n := len(y)
	for c := range n {
		for r := c + 1; r < n; r++ {
			f := a[r][c] / a[c][c]
			for k := c; k < n; k++ {
				a[r][k] -= f * a[c][k]
			}
			y[r] -= f * y[c]
		}
	}
	for c := n - 1; c >= 0; c-- {
		for k := c + 1; k < n; k++ {
			y[c] -= a[c][k] * y[k]
		}
		y[c] /= a[c][c]
	}
}

// earlyCrossValidated gives the rows of prior weights that were fitted to one
// random half of the series and judged on the other, over several halvings.
func earlyCrossValidated(series []earlySeries) []Row {
	const halvings = 6
	least := []float64{breach.Balanced, breach.Strict}
	cases := make([][]earlyCase, len(series))
	for i, s := range series {
		cases[i] = s.cases()
	}
	results := make([][]earlyResult, len(least))
	for k := range results {
		results[k] = make([]earlyResult, len(series))
	}
	for h := range uint64(halvings) {
		order := rand.New(rand.NewPCG(1, h)).Perm(len(series))
		for _, side := range []int{0, 1} {
			var fit [][]earlyCase
			for place, i := range order {
				if place%2 != side {
					fit = append(fit, cases[i])
				}
			}
			m := breach.NewWeighted(earlyHorizon, fitEarly(fit))
			for place, i := range order {
				if place%2 == side {
					scores := worth(m, series[i])
					for k, l := range least {
						results[k][i].add(series[i].judge(func(row int) bool { return scores[row] >= l }))
					}
				}
			}
		}
	}
	var rows []Row
	for k, name := range []string{"balanced", "strict"} {
		rows = append(rows, earlyRow(fmt.Sprintf("%s, cross-validated (%d halvings)", name, halvings), false, results[k], halvings))
	}
	return rows
}
