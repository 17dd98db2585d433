package main

import (
	"context"
	"fmt"
	"time"
)

const (
	// remedyTime is what a remedy takes until it helps: a lead that is shorter is of
	// no use. The simulation takes 52 s in the middle.
	remedyTime = 2 * time.Minute

	actsPrecision, actsRecall     = 0.90, 0.40
	advicePrecision, adviceRecall = 0.60, 0.60
	firstDayPrecision             = 0.80
	nabStandard                   = 72
	opsPrecision, opsFalseADay    = 0.55, 0.06
)

// targets says what is reached. The figures are those of the tables.
func targets(ctx context.Context, e *evaluation) ([]Table, error) {
	days, err := e.firstDays(ctx)
	if err != nil {
		return nil, err
	}
	t := Table{Title: e.half.title("Targets"), What: "With history, first over all sources and then for each. A figure that is not there, because nothing was said, reaches nothing.", Columns: []string{"wanted", "got", ""}, lines: true}
	t.Rows = append(t.Rows, historyTargets("all sources", e.runs)...)
	for _, r := range e.runs {
		t.Rows = append(t.Rows, historyTargets(r.source, []*run{r})...)
	}
	t.Rows = append(t.Rows, firstDayTargets(days[0])...)
	for _, l := range labelledOf(e.runs) {
		t.Rows = append(t.Rows, anomalyTargets(&l)...)
	}
	return []Table{t}, nil
}

func verdictRow(name, wanted string, got Value, reached bool) Row {
	word := "missed"
	if reached {
		word = "reached"
	}
	return Row{Name: name, Cells: []Value{text(wanted), got, text(word)}}
}

// atLeast is a target; what is not there does not reach it.
func atLeast(name string, least float64, digits int, got Value) Row {
	return verdictRow(name, ">= "+figure(least, digits).String(), got, got.Text == "" && got.V >= least)
}

func historyTargets(where string, runs []*run) []Row {
	acted := figuresOf(scoreAgent(runs, "", acts, false, false))
	told := figuresOf(scoreAgent(runs, "", advised, false, false))
	return []Row{
		atLeast("what acts, precision, "+where, actsPrecision, 2, acted.precision),
		atLeast("what acts, recall, "+where, actsRecall, 2, acted.recall),
		atLeast("what acts, median lead in minutes, "+where, remedyTime.Minutes(), 0, acted.lead),
		atLeast("advice or action, precision, "+where, advicePrecision, 2, told.precision),
		atLeast("advice or action, recall, "+where, adviceRecall, 2, told.recall),
	}
}

// firstDayTargets are those of a cold start.
func firstDayTargets(d *firstDays) []Row {
	acted, told, other := scored{}, scored{}, scored{}
	for _, h := range []bool{false, true} {
		acted.merge(d.acts[h])
		told.merge(d.advice[h])
		other.merge(d.another[h])
	}
	a, b, c := figuresOf(acted), figuresOf(told), figuresOf(other)
	row := atLeast("what acts on the first day, precision", firstDayPrecision, 2, a.precision)
	if a.sum.warnings == 0 {
		row = verdictRow("what acts on the first day, precision", ">= 0.80 or silent", text("silent"), true)
	}
	beats := b.precision.Text == "" && b.precision.V > c.precision.V && b.recall.V >= c.recall.V
	return []Row{row, verdictRow(
		"advice on the first day", fmt.Sprintf("precision > %v at recall >= %v, as %s", c.precision, c.recall, usual),
		text(fmt.Sprintf("%v at %v", b.precision, b.recall)), beats,
	)}
}

// anomalyTargets hold the default detectors to a chart that everybody has.
func anomalyTargets(l *labelled) []Row {
	ours, chart := nabOurs(), nabBaselines()[0]
	got, other := nabCells(ours.results(l.series)), nabCells(chart.results(l.series))
	out := []Row{atLeast("anomalies, standard score as "+chart.name+", "+l.name, other[0].V, 1, got[0])}
	if l.name != "nab" {
		return out
	}
	return append(out,
		atLeast("anomalies, standard score, nab", nabStandard, 0, got[0]),
		atLeast("anomalies, ops precision, nab", opsPrecision, 2, got[3]),
		verdictRow("anomalies, ops false a day, nab", fmt.Sprintf("<= %v", opsFalseADay), got[4], got[4].Text == "" && got[4].V <= opsFalseADay))
}
