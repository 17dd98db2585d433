package main

import (
	"math/rand/v2"
	"slices"
)

// disturbance makes the same series otherwise: what a detector says should not
// hang on it.
type disturbance struct {
	name  string
	shift int64   // milliseconds
	skip  float64 // share of the rows that are not scored that is left out at the start
	every int     // keeps one row of so many
	noise float64 // evenly spread, as a share of the range
}

func disturbances() []disturbance {
	const minute = 60 * 1000
	return []disturbance{
		{name: "as they are"},
		{name: "clock 9 h 40 min on, noise of 0.4 %", shift: 580 * minute, noise: 0.004},
		{name: "start cut by 3 %", skip: 0.2},
		{name: "every second row", every: 2},
	}
}

func (d disturbance) apply(s *series) *series {
	random := rand.New(rand.NewPCG(5, 5))
	width := slices.Max(s.values) - slices.Min(s.values)
	first := int(d.skip * float64(probation(len(s.at))))
	out := *s
	out.at, out.values, out.windows = nil, nil, nil
	row := make([]int, len(s.at)) // the new number of a row, or of the next that is kept
	for i := range s.at {
		row[i] = len(out.at)
		if i < first || (i-first)%max(1, d.every) != 0 {
			continue
		}
		out.at = append(out.at, s.at[i]+d.shift)
		out.values = append(out.values, s.values[i]+d.noise*width*(random.Float64()-0.5))
	}
	last := len(out.at) - 1
	for _, w := range s.windows {
		out.windows = append(out.windows, window{left: min(row[w.left], last), right: min(row[w.right], last)})
	}
	return &out
}

// disturbed is the default detectors on disturbed series.
func disturbed(h half, all []*series) Table {
	t := Table{
		Title:   h.title("Anomaly detection, nab, disturbed"),
		What:    "The default detectors when the same series are given with another clock, a later start or half the density. A figure that hangs on one of these hangs on luck.",
		Columns: nabColumns(),
	}
	ours := nabOurs()
	for _, d := range disturbances() {
		var made []*series
		for _, s := range all {
			made = append(made, d.apply(s))
		}
		t.Rows = append(t.Rows, Row{Name: d.name, Ours: true, Cells: nabCells(ours.results(made))})
	}
	return t
}
