package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
)

// Reliability is judged in bins of a tenth; fewer than reliableFew predictions
// in a bin say nothing.
const (
	reliableBins = 10
	reliableFew  = 30
)

// prediction is a likelihood that was said, the rule's own score that it was
// made of, and whether it came true.
type prediction struct {
	likelihood, raw float64
	came            bool
}

func stated(p prediction) float64   { return p.likelihood }
func rawScore(p prediction) float64 { return p.raw }

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
	series := make([]earlySeries, len(files))
	for i, f := range files {
		series[i] = newEarly(f, false)
	}
	early := runAgent(series).predictions
	claims, err := capacityClaims(ctx, m4)
	if err != nil {
		return nil, err
	}
	rolled, test := capacityPredictions(claims, len(m4))
	t := Table{
		Title: "Reliability",
		What: "What was said and what became of it, by the likelihood that was said; on the right the same by the rule's own score, before the gate. " +
			"Early breach: each claim of the production agent, in shadow or not, with what was said first. " +
			"Capacity breach: each block of six hours of forecasts from one origin a day, in the newest two weeks of each history and at its end, with the limit of that day; the production gate judges them in the order of time " +
			"and learns from each when its block is over. Bins with fewer than 30 predictions on both sides are left out.",
		Columns: []string{"predictions", "said, %", "came true, %", "apart, points", "by score: predictions", "said, %", "came true, %", "apart, points"},
	}
	capacity := make([][]prediction, len(m4))
	for i := range m4 {
		capacity[i] = slices.Concat(rolled[i], test[i])
	}
	for _, group := range []struct {
		name   string
		series [][]prediction
		rows   bool
	}{
		{"all", slices.Concat(early, capacity), true},
		{"early breach", early, true},
		{"capacity breach", capacity, true},
		{"capacity breach, the test's 48 hours alone", test, false},
	} {
		rows, said, raw := reliabilityRows(group.name, group.series)
		if group.rows {
			t.Rows = append(t.Rows, rows...)
		}
		t.Notes = append(t.Notes, fmt.Sprintf("%s: at most %.1f points apart in a bin with %d predictions or more (target: 5), by score %.1f. "+
			"Likelihoods that are right to the last digit would stay within 5 in %.0f %% of such samples.", upperFirst(group.name), said, reliableFew, raw, 100*reliableByChance(group.series)))
	}
	return []Table{t}, nil
}

func upperFirst(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// reliableBin sums up what was said in a bin.
type reliableBin struct{ n, said, came float64 }

func (b reliableBin) apart() float64 { return 100 * (b.came - b.said) / b.n }

func binOf(likelihood float64) int { return min(int(likelihood*reliableBins), reliableBins-1) }

func sumBin(series [][]prediction, drawn []int, bin int, said func(prediction) float64) (b reliableBin) {
	for _, i := range drawn {
		for _, p := range series[i] {
			if binOf(said(p)) != bin {
				continue
			}
			b.n++
			b.said += said(p)
			if p.came {
				b.came++
			}
		}
	}
	return b
}

// reliabilityRows gives a row for each bin with enough predictions, and the
// greatest distances between what was said and what came, in points: as stated,
// and by the score.
func reliabilityRows(name string, series [][]prediction) (rows []Row, worst, worstRaw float64) {
	everything := all(len(series))
	for bin := range reliableBins {
		row := Row{Name: fmt.Sprintf("%s, %d to %d %%", name, 100*bin/reliableBins, 100*(bin+1)/reliableBins), Ours: name == "all"}
		enough := false
		for _, side := range []struct {
			said  func(prediction) float64
			worst *float64
		}{{stated, &worst}, {rawScore, &worstRaw}} {
			b := sumBin(series, everything, bin, side.said)
			if b.n >= reliableFew {
				enough = true
				*side.worst = max(*side.worst, math.Abs(b.apart()))
			}
			came := figure(100*b.came/b.n, 1)
			if side.worst == &worst {
				came = bootstrap(len(series), 1, func(drawn []int) float64 {
					b := sumBin(series, drawn, bin, side.said)
					return 100 * b.came / b.n
				})
			}
			row.Cells = append(row.Cells, figure(b.n, 0), figure(100*b.said/b.n, 1), came, figure(b.apart(), 1))
		}
		if enough {
			rows = append(rows, row)
		}
	}
	return rows, worst, worstRaw
}

// reliableByChance is how often all bins with enough predictions would stay
// within five points if each prediction came true just as likely as was said:
// what can be asked of so few.
func reliableByChance(series [][]prediction) float64 {
	const draws = 300
	var bins [reliableBins][]float64
	for _, p := range slices.Concat(series...) {
		bins[binOf(p.likelihood)] = append(bins[binOf(p.likelihood)], p.likelihood)
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
