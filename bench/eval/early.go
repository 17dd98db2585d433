package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"grace/internal/breach"
)

const (
	earlyHorizon = 30 * time.Minute
	// earlyReach is how long a warning stands: two horizons.
	earlyReach = int64(2 * earlyHorizon / time.Millisecond)
	// earlyMerge: parts of a breach that are less apart are one.
	earlyMerge = int64(time.Hour / time.Millisecond)
	// earlyLearns is the share of a series that gives the limit.
	earlyLearns = 0.4
	// earlyRange is the range of predict_linear.
	earlyRange = int64(2 * time.Hour / time.Millisecond)
)

// earlySeries is one series with its limit and its breaches.
type earlySeries struct {
	at     []int64 // unix ms
	values []float64
	from   int // the first row that is judged
	limit  float64
	begins []int  // rows at which a breach begins
	in     []bool // rows within a breach
}

// newEarly finds the breaches: three of four values in a row are above the
// limit. A breach begins when that is so, with first at the first of those
// values.
func newEarly(f nabFile, first bool) earlySeries {
	s := earlySeries{at: f.at, values: f.values, from: int(earlyLearns * float64(len(f.values))), in: make([]bool, len(f.values))}
	s.limit = quantile(f.values[:s.from], 0.95)
	last := int64(math.MinInt64 / 2)
	for i := 3; i < len(s.values); i++ {
		from, n := i, 0
		for j := i; j > i-4; j-- {
			if s.values[j] > s.limit {
				n++
				if first {
					from = j
				}
			}
		}
		if n < 3 {
			continue
		}
		if s.at[from]-last < earlyMerge || from > 0 && s.in[from-1] {
			for from = i; from > 0 && !s.in[from-1]; {
				from--
			}
		} else {
			s.begins = append(s.begins, from)
		}
		for j := from; j <= i; j++ {
			s.in[j] = true
		}
		last = s.at[i]
	}
	return s
}

// earlyResult is what a method did on one series.
type earlyResult struct {
	warnings, right    int
	breaches, foreseen int
	leads, stood       []float64 // minutes, of the breaches foreseen
}

func (r *earlyResult) add(o earlyResult) {
	r.warnings += o.warnings
	r.right += o.right
	r.breaches += o.breaches
	r.foreseen += o.foreseen
	r.leads = append(r.leads, o.leads...)
	r.stood = append(r.stood, o.stood...)
}

// judge turns claims into warnings. A claim outside a breach opens a warning,
// which stands for two horizons or until a breach begins; claims in that time
// are part of it, the next one opens another. It is right if a breach begins
// while it stands.
func (s earlySeries) judge(claim func(row int) bool) earlyResult {
	var r earlyResult
	next := 0 // of s.begins
	for next < len(s.begins) && s.begins[next] < s.from {
		next++
	}
	r.breaches = len(s.begins) - next
	opened, unbroken := int64(math.MinInt64/2), int64(0)
	for i := s.from; i < len(s.at); i++ {
		if next < len(s.begins) && s.begins[next] == i {
			next++
		}
		if s.in[i] {
			opened = math.MinInt64 / 2
			continue
		}
		if !claim(i) || s.at[i] < opened+earlyReach {
			continue
		}
		if s.at[i] > opened+earlyReach {
			unbroken = s.at[i]
		}
		opened = s.at[i]
		r.warnings++
		if next < len(s.begins) && s.at[s.begins[next]]-opened <= earlyReach {
			begins := s.at[s.begins[next]]
			r.right++
			r.foreseen++
			r.leads = append(r.leads, float64(begins-opened)/60e3)
			r.stood = append(r.stood, float64(begins-unbroken)/60e3)
		}
	}
	return r
}

// earlyMethod claims, row by row; a claim depends on that row and those before.
type earlyMethod struct {
	name   string
	ours   bool
	claims func(s earlySeries) []bool
}

func earlyMethods() []earlyMethod {
	ours := func(name string, least float64) earlyMethod {
		model := breach.New(earlyHorizon)
		return earlyMethod{name: name, ours: true, claims: func(s earlySeries) []bool {
			return atLeast(worth(model, s), least)
		}}
	}
	return []earlyMethod{
		{name: "predict_linear, range 2 h", claims: func(s earlySeries) []bool { return s.predictLinear(earlyRange) }},
		{name: "predict_linear, range 1 h", claims: func(s earlySeries) []bool { return s.predictLinear(earlyRange / 2) }},
		{name: "seasonal naive, a day ago", claims: func(s earlySeries) []bool { return s.seasonalNaive(24 * time.Hour) }},
		{name: "seasonal naive, a week ago", claims: func(s earlySeries) []bool { return s.seasonalNaive(7 * 24 * time.Hour) }},
		ours(fmt.Sprintf("balanced, worth >= %.2f", breach.Balanced), breach.Balanced),
		ours(fmt.Sprintf("strict, worth >= %.2f", breach.Strict), breach.Strict),
	}
}

// worth runs the model over the series and gives its figure after each row.
func worth(m *breach.Model, s earlySeries) []float64 {
	var state breach.State
	out := make([]float64, len(s.at))
	for i := range s.at {
		m.Append(&state, s.at[i], s.values[i], s.limit, false)
		out[i] = m.Outlook(&state).Worth
	}
	return out
}

func atLeast(scores []float64, least float64) []bool {
	out := make([]bool, len(scores))
	for i, v := range scores {
		out[i] = v >= least
	}
	return out
}

// predictLinear is the rule predict_linear(x[range], 1800) > limit, by the
// function's own formula: least squares over the range, from the newest sample.
func (s earlySeries) predictLinear(within int64) []bool {
	out := make([]bool, len(s.at))
	for i := range out {
		var n, sx, sy, sxy, sxx float64
		for j := i; j >= 0 && s.at[j] > s.at[i]-within; j-- {
			x := float64(s.at[j]-s.at[i]) / 1000
			n++
			sx += x
			sy += s.values[j]
			sxy += x * s.values[j]
			sxx += x * x
		}
		if variation := sxx - sx*sx/n; n >= 2 && variation > 0 {
			slope := (sxy - sx*sy/n) / variation
			out[i] = sy/n-slope*sx/n+slope*earlyHorizon.Seconds() > s.limit
		}
	}
	return out
}

// seasonalNaive claims when a breach began one season before the time ahead.
func (s earlySeries) seasonalNaive(season time.Duration) []bool {
	out := make([]bool, len(s.at))
	begin := 0
	for i := range out {
		then := s.at[i] - season.Milliseconds()
		for begin < len(s.begins) && s.at[s.begins[begin]] <= then {
			begin++
		}
		out[i] = begin < len(s.begins) && s.at[s.begins[begin]] <= then+earlyHorizon.Milliseconds()
	}
	return out
}

// early makes the tables of early breaches.
func early(ctx context.Context, data string) ([]Table, error) {
	files, err := readNAB(data)
	if err != nil {
		return nil, err
	}
	var tables []Table
	for _, first := range []bool{false, true} {
		var series []earlySeries
		for _, f := range files {
			series = append(series, newEarly(f, first))
		}
		t := Table{Columns: []string{"precision", "recall", "median lead, min", "stood, min", "warnings", "breaches"}}
		for _, m := range earlyMethods() {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			results := make([]earlyResult, len(series))
			for i, s := range series {
				claims := m.claims(s)
				results[i] = s.judge(func(row int) bool { return claims[row] })
			}
			t.Rows = append(t.Rows, earlyRow(m.name, m.ours, results, 1))
		}
		if !first {
			t.Rows = slices.Concat(t.Rows, earlyCrossValidated(series), agentRows(series))
		}
		tables = append(tables, t)
	}
	earlyWords(tables)
	return tables, nil
}

// earlyWords says what the two tables show.
func earlyWords(tables []Table) {
	tables[0].Title = "Early breach, NAB"
	tables[0].What = "Limit: the 0.95 quantile of the first 40 % of a file; the rest is judged. A breach begins when three of the last four values are above the limit; breaches less than an hour apart are one. " +
		"A claim outside a breach opens a warning, which stands for an hour (two horizons of 30 minutes) or until a breach begins; claims in that time are part of it, the next claim opens another one. " +
		"A warning is right if a breach begins while it stands. Recall: breaches with a right warning. Lead: from the opening of that warning to the breach, so at most 60 minutes. " +
		"Stood: from the first of the warnings that followed one another without a gap until the breach; those before the last one count as wrong. " +
		"Balanced and strict: the model alone, fitted to these files; cross-validated: fitted to one half of them and judged on the other. " +
		"Agent: the production agent with its gate watches all files at once, from the end of the first 40 %, which are its warm-up; what it claims counts in shadow, too, but for the last row."
	tables[0].Rows = append(tables[0].Rows,
		Row{Name: "target, balanced", Cells: []Value{text(">= .40"), text(">= .50"), text(">= 60"), text("-"), text("-"), text("-")}},
		Row{Name: "target, strict", Cells: []Value{text(">= .70"), text(">= .20"), text(">= 60"), text("-"), text("-"), text("-")}})
	tables[1].Title = "Early breach, NAB, counted from the first value above"
	tables[1].What = "The same warnings, but a breach begins with the first of its values above the limit: a warning that comes after that value does not count. What is foreseen here is foreseen before anything can be seen at the limit."
	tables[1].Notes = append(tables[1].Notes, "The thresholds are those of the table above; no target is set for this count. A model fitted to this count did not come above a precision of 0.20 at a recall of 0.50.")
}

func earlyRow(name string, ours bool, results []earlyResult, times int) Row {
	total := func(draw []int) earlyResult {
		var r earlyResult
		for _, i := range draw {
			r.add(results[i])
		}
		return r
	}
	of := func(digits int, f func(r earlyResult) float64) Value {
		return bootstrap(len(results), digits, func(draw []int) float64 { return f(total(draw)) })
	}
	all := make([]int, len(results))
	for i := range all {
		all[i] = i
	}
	sum := total(all)
	return Row{Name: name, Ours: ours, Cells: []Value{
		of(2, func(r earlyResult) float64 { return float64(r.right) / float64(r.warnings) }),
		of(2, func(r earlyResult) float64 { return float64(r.foreseen) / float64(r.breaches) }),
		of(0, func(r earlyResult) float64 { return middle(r.leads) }),
		of(0, func(r earlyResult) float64 { return middle(r.stood) }),
		figure(float64(sum.warnings)/float64(times), 0),
		figure(float64(sum.breaches)/float64(times), 0),
	}}
}

// middle is the lower median: a lead that half of the breaches really had.
func middle(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	return slices.Sorted(slices.Values(values))[(len(values)-1)/2]
}
