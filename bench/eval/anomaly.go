package main

import (
	"context"
	"fmt"
)

// nabResult is what a detector did on one series.
type nabResult struct {
	standard, low float64 // raw scores
	base          float64 // of silence, the same in both profiles
	windows, hit  int
	right, wrong  int // detections
	ops           bool
	days          float64
}

func judgeNAB(s *series, threshold float64, scores []float64) nabResult {
	first := probation(len(s.at))
	fired := func(row int) bool { return scores[row] >= threshold }
	r := nabResult{windows: len(s.windows), ops: s.ops(), days: float64(s.at[len(s.at)-1]-s.at[first]) / float64(dayMillis)}
	r.standard, r.base = score(standardProfile(), first, len(scores), s.windows, fired)
	r.low, _ = score(lowFPProfile(), first, len(scores), s.windows, fired)
	hit := make([]bool, len(s.windows))
	for row := first; row < len(scores); row++ {
		if !fired(row) {
			continue
		}
		if _, in := rowScore(standardProfile(), s.windows, row); in >= 0 {
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

// labelled is a set of series with labelled anomalies.
type labelled struct {
	name   string
	series []*series
}

// labelledOf gives the series with labels, those of minutes and of hours apart where
// a source has both: what is scored per row cannot be summed over them.
func labelledOf(runs []*run) []labelled {
	var out []labelled
	for _, r := range runs {
		var fine, hourly []*series
		for _, s := range r.all {
			switch {
			case !s.labelled:
			case r.source == "microsoft" && s.hourly():
				hourly = append(hourly, s)
			default:
				fine = append(fine, s)
			}
		}
		if len(fine) > 0 {
			out = append(out, labelled{r.source, fine})
		}
		if len(hourly) > 0 {
			out = append(out, labelled{r.source + " hourly", hourly})
		}
	}
	return out
}

// anomalies makes the tables of anomaly detection.
func anomalies(ctx context.Context, e *evaluation) ([]Table, error) {
	var out []Table
	for _, l := range labelledOf(e.runs) {
		t := Table{
			Title:   e.half.title("Anomaly detection, " + l.name),
			What:    fmt.Sprintf("%d series.", len(l.series)),
			Columns: nabColumns(),
		}
		if len(out) == 0 {
			t.What += nabWords
		}
		for _, d := range nabDetectors() {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			results := d.results(l.series)
			t.Rows = append(t.Rows, Row{Name: d.name, Ours: d.ours, Cells: nabCells(results)})
		}
		out = append(out, t)
		if l.name == "nab" {
			out = append(out, disturbed(e.half, l.series))
		}
	}
	return out, nil
}

const nabWords = " Scored as the Numenta Anomaly Benchmark scores (scaled sigmoid, first 15 % of a series not scored, normalised between silence and perfection), " +
	"with the one threshold that the code has. Where rows are labelled and not windows, a window is made of each run of them as NAB makes it: a tenth of the rows is shared out among the anomalies, each in the middle of its window. " +
	"Ops series are those of machines and services (NAB: folders realAWSCloudwatch and realKnownCause; Microsoft: all). " +
	"A detection is a row whose score reaches the threshold; after one, a detector with rest is silent for 72 ticks (rows at most), so a detection is what an operator would be paged for. " +
	"Recall: windows with a detection. Precision: detections inside a window, of all. False a day: those outside, by the days that are scored."

func (d *nabDetector) results(all []*series) []nabResult {
	var out []nabResult
	for _, s := range all {
		out = append(out, judgeNAB(s, d.threshold, d.scores(s.at, s.values)))
	}
	return out
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
		over(1, nabScore(standardProfile(), func(r nabResult) float64 { return r.standard })),
		over(1, nabScore(lowFPProfile(), func(r nabResult) float64 { return r.low })),
		over(2, opsShare(func(r nabResult) (float64, float64) { return float64(r.hit), float64(r.windows) })),
		over(2, opsShare(func(r nabResult) (float64, float64) { return float64(r.right), float64(r.right + r.wrong) })),
		over(3, opsShare(func(r nabResult) (float64, float64) { return float64(r.wrong), r.days })),
	}
}

// nabScore is NAB's figure over a set.
func nabScore(p profile, of func(nabResult) float64) func([]nabResult) float64 {
	return func(set []nabResult) float64 {
		got, base, windows := 0.0, 0.0, 0
		for _, r := range set {
			got, base, windows = got+of(r), base+r.base, windows+r.windows
		}
		return normalised(p, got, base, windows)
	}
}

// opsShare is a sum over the ops series, divided by another.
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
