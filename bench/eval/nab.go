package main

import (
	"context"
	"fmt"
	"math"
	"slices"

	"grace/internal/detect"
)

// nabDetector turns a series into one score a row; a score that reaches the
// threshold is a detection. It must be causal: the score of a row depends on
// that row and those before it.
type nabDetector struct {
	name      string
	ours      bool
	threshold float64
	scores    func(at []int64, values []float64) []float64
}

// detector runs detectors of GRACE, with the threshold that the code has, and
// others beside them.
func detector(name string, use detect.Kind, tried ...detect.Statistic) nabDetector {
	return nabDetector{name: name, threshold: detect.Threshold, scores: func(at []int64, values []float64) []float64 {
		var s detect.State // the first value of a series starts what was tried anew, too
		out := make([]float64, len(at))
		for i := range at {
			out[i] = s.ObserveWith(use, at[i], values[i], tried...).Score
		}
		return out
	}}
}

// nabOurs is what GRACE runs on every series whose threshold is learned: package
// predict gives its samples to the same State (TestAnomalyIsTheDetector there).
func nabOurs() nabDetector {
	return nabDetector{name: "default: record, odd hour or run", ours: true, threshold: detect.Threshold, scores: func(at []int64, values []float64) []float64 {
		var s detect.State
		out := make([]float64, len(at))
		for i := range at {
			out[i] = s.Observe(at[i], values[i]).Score
		}
		return out
	}}
}

func nabDetectors() []nabDetector {
	return slices.Concat(nabBaselines(), []nabDetector{
		detector("record", detect.Record),
		detector("odd hour", detect.OddHour),
		detector("run", detect.Run),
		detector("Holt residual", 0, &holt{}),
		detector("shift (CUSUM)", 0, &shift{}),
		detector("record or odd hour", detect.Record|detect.OddHour),
		detector("all five", detect.Default, &holt{}, &shift{}),
		nabOurs(),
	})
}

// nabResult is what a detector did on one file.
type nabResult struct {
	standard, low float64 // raw scores
	base          float64 // of silence, the same in both profiles
	windows, hit  int
	right, wrong  int // detections
	ops           bool
	days          float64
}

func judgeNAB(f nabFile, threshold float64, scores []float64) nabResult {
	fired := func(row int) bool { return scores[row] >= threshold }
	r := nabResult{windows: len(f.windows), ops: f.ops(), days: f.scoredDays()}
	r.standard, r.base = score(standardProfile(), f.first, len(scores), f.windows, fired)
	r.low, _ = score(lowFPProfile(), f.first, len(scores), f.windows, fired)
	hit := make([]bool, len(f.windows))
	for row := f.first; row < len(scores); row++ {
		if !fired(row) {
			continue
		}
		if _, in := rowScore(standardProfile(), f.windows, row); in >= 0 {
			r.right++
			hit[in] = true
			continue
		}
		r.wrong++
	}
	for _, h := range hit {
		if h {
			r.hit++
		}
	}
	return r
}

// nab makes the tables of anomaly detection.
func nab(ctx context.Context, data string) ([]Table, error) {
	files, err := readNAB(data)
	if err != nil {
		return nil, err
	}
	t := Table{
		Title: "Anomaly detection, NAB",
		What: fmt.Sprintf("%d files of the Numenta Anomaly Benchmark, scored as NAB scores (scaled sigmoid, first 15 %% of a file not scored, normalised between silence and perfection), "+
			"with the one threshold that the code has. Ops files are those of machines and services (folders realAWSCloudwatch and realKnownCause). "+
			"A detection is a row whose score reaches the threshold; after one, a detector with rest is silent for 72 ticks (rows at most), so a detection is what an operator would be paged for. "+
			"Recall: labelled windows with a detection. Precision: detections inside a labelled window, of all. False per day: those outside, by the days that are scored.", len(files)),
		Columns: nabColumns(),
	}
	var optimum string
	for _, d := range nabDetectors() {
		results := make([]nabResult, 0, len(files))
		all := make([][]float64, 0, len(files))
		for _, f := range files {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			scores := d.scores(f.at, f.values)
			all = append(all, scores)
			results = append(results, judgeNAB(f, d.threshold, scores))
		}
		t.Rows = append(t.Rows, Row{Name: d.name, Ours: d.ours, Cells: nabCells(results)})
		if d.ours {
			threshold, best := bestThreshold(files, all)
			optimum = fmt.Sprintf("NAB itself picks the threshold that is best on the files scored; that would be %.2f for the default detectors, with a standard score of %.1f.", threshold, best)
		}
	}
	t.Rows = append(t.Rows, Row{Name: "target", Cells: []Value{text(">= 70"), text(">= 58"), text(">= 0.75"), text(">= 0.55"), text("<= 0.05")}})
	t.Notes = append(t.Notes, optimum)
	return []Table{t, disturbed(files)}, nil
}

func nabColumns() []string {
	return []string{"standard", "low FP", "ops recall", "ops precision", "ops false/day"}
}

func nabCells(results []nabResult) []Value {
	over := func(digits int, statistic func([]nabResult) float64) Value {
		return bootstrap(len(results), digits, func(drawn []int) float64 {
			set := make([]nabResult, 0, len(drawn))
			for _, i := range drawn {
				set = append(set, results[i])
			}
			return statistic(set)
		})
	}
	return []Value{
		over(1, func(set []nabResult) float64 {
			got, base, windows := 0.0, 0.0, 0
			for _, r := range set {
				got, base, windows = got+r.standard, base+r.base, windows+r.windows
			}
			return normalised(standardProfile(), got, base, windows)
		}),
		over(1, func(set []nabResult) float64 {
			got, base, windows := 0.0, 0.0, 0
			for _, r := range set {
				got, base, windows = got+r.low, base+r.base, windows+r.windows
			}
			return normalised(lowFPProfile(), got, base, windows)
		}),
		over(2, opsShare(func(r nabResult) (float64, float64) { return float64(r.hit), float64(r.windows) })),
		over(2, opsShare(func(r nabResult) (float64, float64) { return float64(r.right), float64(r.right + r.wrong) })),
		over(3, opsShare(func(r nabResult) (float64, float64) { return float64(r.wrong), r.days })),
	}
}

// opsShare is a sum over the ops files, divided by another.
func opsShare(parts func(nabResult) (of, all float64)) func([]nabResult) float64 {
	return func(set []nabResult) float64 {
		of, all := 0.0, 0.0
		for _, r := range set {
			if r.ops {
				a, b := parts(r)
				of, all = of+a, all+b
			}
		}
		return of / all // NaN where there is nothing to divide
	}
}

// bestThreshold is the one that NAB's optimisation would choose, with the score
// that it gives.
func bestThreshold(files []nabFile, scores [][]float64) (threshold, best float64) {
	var tried []float64
	for _, s := range scores {
		for _, x := range s {
			if x > 0 {
				tried = append(tried, math.Round(x*100)/100)
			}
		}
	}
	slices.Sort(tried)
	best = math.Inf(-1)
	for _, x := range slices.Compact(tried) {
		got, base, windows := 0.0, 0.0, 0
		for i, f := range files {
			g, b := score(standardProfile(), f.first, len(f.at), f.windows, func(row int) bool { return scores[i][row] >= x })
			got, base, windows = got+g, base+b, windows+len(f.windows)
		}
		if s := normalised(standardProfile(), got, base, windows); s > best {
			threshold, best = x, s
		}
	}
	return threshold, best
}
