package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"

	"grace/internal/breach"
	"grace/internal/forecast"
)

// Reliability is judged in bins of a tenth; fewer than reliableFew predictions
// in a bin say nothing.
const (
	reliableBins = 10
	reliableFew  = 30
)

// prediction is a likelihood that was said, and whether it came true.
type prediction struct {
	likelihood float64
	came       bool
}

// reliability makes the table of likelihoods and of what became of them.
func reliability(ctx context.Context, data string) ([]Table, error) {
	files, err := readNAB(data)
	if err != nil {
		return nil, err
	}
	m4, err := readM4(filepath.Join(data, "m4hourly"))
	if err != nil {
		return nil, err
	}
	series, hours := make([]earlySeries, len(files)), make([][]prediction, len(files))
	for i, f := range files {
		series[i] = newEarly(f, false)
		hours[i] = series[i].hourly()
	}
	claims := runAgent(series).predictions
	var capacity [][]prediction
	w := &forecast.Workspace{}
	for i, s := range m4 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		_, claims, err := m4Fit(w, forecast.Default(), s)
		if err != nil {
			return nil, fmt.Errorf("series %d: %w", i+1, err)
		}
		var got []prediction
		for block, came := range s.breaches() {
			got = append(got, prediction{claims[block], came})
		}
		capacity = append(capacity, got)
	}
	t := Table{
		Title: "Reliability",
		What: "What was said and what became of it, by the likelihood that was said. Early breach, claims: what the production agent first says of each of its claims, in shadow or not. " +
			"Early breach, hours: what the model says once an hour outside breaches. Capacity breach: each block of six hours. All claims: those of early breach and of capacity together.",
		Columns: []string{"predictions", "said, %", "came true, %", "apart, points"},
	}
	for _, group := range []struct {
		name   string
		series [][]prediction
	}{{"early breach, claims", claims}, {"early breach, hours", hours}, {"capacity breach", capacity}, {"all claims", slices.Concat(claims, capacity)}} {
		rows, worst := reliabilityRows(group.name, group.series)
		t.Rows = append(t.Rows, rows...)
		t.Notes = append(t.Notes, fmt.Sprintf("%s: at most %.1f points apart in a bin with %d predictions or more (target: 5). "+
			"Likelihoods that are right to the last digit would stay within 5 in %.0f %% of such samples.", group.name, worst, reliableFew, 100*reliableByChance(group.series)))
	}
	return []Table{t}, nil
}

// hourly gives what the model says every two horizons, so that nothing counts
// twice, and after a breach.
func (s earlySeries) hourly() []prediction {
	var out []prediction
	var state breach.State
	m := breach.New(earlyHorizon)
	next, last := 0, int64(math.MinInt64/2)
	for i := range s.at {
		m.Append(&state, s.at[i], s.values[i], s.limit, false)
		for next < len(s.begins) && s.begins[next] <= i {
			next++
			last = math.MinInt64 / 2
		}
		if i < s.from || s.in[i] || s.at[i] < last+earlyReach {
			continue
		}
		last = s.at[i]
		out = append(out, prediction{m.Outlook(&state).Likelihood, next < len(s.begins) && s.at[s.begins[next]]-s.at[i] <= earlyReach})
	}
	return out
}

// reliabilityRows gives a row for each bin with enough predictions, and the
// greatest distance between what was said and what came in points.
func reliabilityRows(name string, series [][]prediction) (rows []Row, worst float64) {
	for bin := range reliableBins {
		count := func(drawn []int) (n, said, came float64) {
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
		n, said, came := count(all(len(series)))
		if n == 0 {
			continue
		}
		apart := 100 * (came - said) / n
		if n >= reliableFew {
			worst = max(worst, math.Abs(apart))
		}
		rows = append(rows, Row{Name: fmt.Sprintf("%s, %d to %d %%", name, 100*bin/reliableBins, 100*(bin+1)/reliableBins), Cells: []Value{
			figure(n, 0), figure(100*said/n, 1),
			bootstrap(len(series), 1, func(drawn []int) float64 {
				n, _, came := count(drawn)
				return 100 * came / n
			}),
			figure(apart, 1),
		}})
	}
	return rows, worst
}

// reliableByChance is how often all bins with enough predictions would stay
// within five points if each prediction came true just as likely as was said:
// what can be asked of so few.
func reliableByChance(series [][]prediction) float64 {
	const draws = 1000
	var bins [reliableBins][]float64
	for _, p := range slices.Concat(series...) {
		bin := min(int(p.likelihood*reliableBins), reliableBins-1)
		bins[bin] = append(bins[bin], p.likelihood)
	}
	random := rand.New(rand.NewPCG(1, 1))
	within := 0
	for range draws {
		ok := true
		for _, said := range bins {
			apart := 0.0
			for _, p := range said {
				apart -= p
				if random.Float64() < p {
					apart++
				}
			}
			n := float64(len(said))
			ok = ok && (n < reliableFew || math.Abs(apart) <= 0.05*n)
		}
		if ok {
			within++
		}
	}
	return float64(within) / draws
}
