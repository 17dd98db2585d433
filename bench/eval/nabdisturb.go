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
	every int     // keeps one row of so many,
	from  int     // from this one on
	noise float64 // evenly spread, as a share of the range
}

func disturbances() []disturbance {
	const minute = 60 * 1000
	return []disturbance{
		{name: "as they are"},
		{name: "clock 5 h 20 min on", shift: 320 * minute},
		{name: "clock 9 h 40 min on, noise of 0.4 %", shift: 580 * minute, noise: 0.004},
		{name: "clock 35 min on, start cut, noise of 1 %", shift: 35 * minute, skip: 0.3, noise: 0.01},
		{name: "start cut by 3 %", skip: 0.2},
		{name: "start cut by 6 %", skip: 0.4},
		{name: "every second row, from the first", every: 2},
		{name: "every second row, from the second", every: 2, from: 1},
	}
}

func (d disturbance) apply(f nabFile) nabFile {
	random := rand.New(rand.NewPCG(5, 5))
	width := slices.Max(f.values) - slices.Min(f.values)
	first := int(d.skip * float64(f.first))
	out := nabFile{name: f.name, folder: f.folder}
	row := make([]int, len(f.at)) // the new number of a row, or of the next that is kept
	for i := range f.at {
		row[i] = len(out.at)
		if i < first || (i-first)%max(1, d.every) != d.from {
			continue
		}
		out.at = append(out.at, f.at[i]+d.shift)
		out.values = append(out.values, f.values[i]+d.noise*width*(random.Float64()-0.5))
	}
	out.first = row[f.first]
	last := len(out.at) - 1
	for _, w := range f.windows {
		out.windows = append(out.windows, window{left: min(row[w.left], last), right: min(row[w.right], last)})
	}
	return out
}

// disturbed is the default detectors on disturbed series.
func disturbed(files []nabFile) Table {
	t := Table{
		Title: "Anomaly detection, NAB, disturbed",
		What: "The default detectors when the same files are given with another clock, a later start, half the density or some noise. " +
			"A figure that hangs on one of these hangs on luck; expect of series not seen before what these rows have in common. (With every second row, half of the anomalies that last one row are gone.)",
		Columns: nabColumns(),
	}
	ours := nabOurs()
	for _, d := range disturbances() {
		var results []nabResult
		for _, f := range files {
			f = d.apply(f)
			results = append(results, judgeNAB(f, ours.threshold, ours.scores(f.at, f.values)))
		}
		t.Rows = append(t.Rows, Row{Name: d.name, Ours: true, Cells: nabCells(results)})
	}
	return t
}
