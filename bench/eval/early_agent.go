package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"grace"
	"grace/internal/stage/predict"
)

// earlyRule is the agent's rule of early breaches.
const earlyRule = "early"

// earlySure is the likelihood from which the loop acts on a prediction.
const earlySure = 0.8

// agentLooks is what the production agent said in one run over all series.
type agentLooks struct {
	said      [][]float64 // by series and row: the likelihood of what is said, published or in shadow; 0: nothing
	published [][]bool
	// predictions are the claims with their outcome and their likelihood as
	// first said.
	predictions [][]prediction
	first       map[string]prediction // by the claim's id
}

// runAgent lets one agent with the default configuration watch all series at
// once, as if they began in the same week. A series is opened at the end of the
// part that gives its limit, with that part as warm-up; after each sample the
// agent looks.
func runAgent(series []earlySeries) agentLooks {
	cfg := predict.DefaultConfig()
	cfg.Horizon = grace.Duration(earlyHorizon)
	cfg.Learn = false // the limits are given
	var targets []predict.Target
	out := agentLooks{predictions: make([][]prediction, len(series)), first: map[string]prediction{}}
	for i, s := range series {
		targets = append(targets, predict.Target{
			Service: grace.ServiceID(strconv.Itoa(i)), Metric: "m", Op: ">", Threshold: s.limit,
			Code: grace.CodeLatencySpike, Impact: grace.ImpactMedium,
		})
		out.published = append(out.published, make([]bool, len(s.at)))
		out.said = append(out.said, make([]float64, len(s.at)))
	}
	a := predict.New(cfg, targets)
	handles := make([]predict.Handle, len(series))
	for _, l := range earlyOrder(series) {
		s := series[l.series]
		if l.row == s.from {
			handles[l.series] = a.Open(predict.Series{Service: targets[l.series].Service, Metric: "m"})
			for row := range s.from {
				a.Append(handles[l.series], s.at[row]+l.shift, s.values[row])
			}
		}
		now := s.at[l.row] + l.shift
		a.Append(handles[l.series], now, s.values[l.row])
		out.take(l, a.Evaluate(time.UnixMilli(now).UTC()))
	}
	return out
}

// take keeps what the agent said at the newest row.
func (out *agentLooks) take(l earlyLook, r predict.Result) {
	unpublished := r.Shadow
	for _, p := range r.Advice {
		if p.At.Equal(p.Made) {
			unpublished = append(unpublished, p)
		}
	}
	for published, said := range map[bool][]grace.Prediction{true: r.Published, false: unpublished} {
		for _, p := range said {
			if p.Rule != earlyRule {
				continue
			}
			if _, ok := out.first[p.ID]; !ok {
				out.first[p.ID] = prediction{likelihood: p.Likelihood, raw: p.Score}
			}
			if string(p.Service) == strconv.Itoa(l.series) {
				out.said[l.series][l.row] = p.Likelihood
				out.published[l.series][l.row] = published
			}
		}
	}
	for _, p := range r.Resolved {
		if p.Rule == earlyRule && (p.Outcome == grace.PredictionTruePositive || p.Outcome == grace.PredictionFalsePositive) {
			i, _ := strconv.Atoi(string(p.Service)) // as runAgent wrote it
			// A hit may be one of a likelihood that was said later.
			came := p.Outcome == grace.PredictionTruePositive && !p.Breach.After(p.Made.Add(2*p.Horizon.D()))
			said := out.first[p.ID]
			said.came = came
			out.predictions[i] = append(out.predictions[i], said)
		}
	}
}

// earlyLook is a row of a series, and what is added to its times.
type earlyLook struct {
	series, row int
	shift       int64
}

// earlyOrder is the order in which the rows of all series come when the series
// are moved, by whole weeks, to begin in the same one.
func earlyOrder(series []earlySeries) []earlyLook {
	const week, start = int64(7 * 24 * time.Hour / time.Millisecond), 2300
	var out []earlyLook
	for i, s := range series {
		shift := (start - s.at[0]/week) * week
		for row := s.from; row < len(s.at); row++ {
			out = append(out, earlyLook{i, row, shift})
		}
	}
	slices.SortStableFunc(out, func(a, b earlyLook) int {
		return cmp.Compare(series[a.series].at[a.row]+a.shift, series[b.series].at[b.row]+b.shift)
	})
	return out
}

// agentRows are the production agent's: all that its rule claims, in shadow or
// not; what it finds likely enough to act on; and what its gate lets it speak.
func agentRows(series []earlySeries) []Row {
	looks := runAgent(series)
	var rows []Row
	for _, point := range []struct {
		name  string
		ours  bool
		claim func(series, row int) bool
	}{
		{"agent, all claims", true, func(i, row int) bool { return looks.said[i][row] > 0 }},
		{fmt.Sprintf("agent, likelihood >= %.2f", earlySure), true, func(i, row int) bool { return looks.said[i][row] >= earlySure }},
		{"agent, published by default", true, func(i, row int) bool { return looks.published[i][row] }},
	} {
		results := make([]earlyResult, len(series))
		for i, s := range series {
			results[i] = s.judge(func(row int) bool { return point.claim(i, row) })
		}
		rows = append(rows, earlyRow(point.name, point.ours, results, 1))
	}
	return rows
}
