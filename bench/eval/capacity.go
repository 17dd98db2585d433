package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"grace/internal/forecast"
	"grace/internal/stage/predict"
)

// capacityOrigins is how many origins there are in a series, a day apart, whose
// two days ahead lie before the test.
const capacityOrigins = 14

// capacityClaim is what the forecast from one origin says of one block.
type capacityClaim struct {
	series       int
	made, over   int // hours; the test begins at 0
	raw, stated  float64
	speaks, came bool
}

// capacityClaims gives the claims of the rolling origins and of the test, in the
// order of time, with what the production gate makes of them. It judges in that
// order over all series, as if they ended in the same hour, and learns from a
// block when it is over.
func capacityClaims(ctx context.Context, series []m4Series) ([]capacityClaim, error) {
	claims, err := capacityRaw(ctx, series)
	if err != nil {
		return nil, err
	}
	prior, ok := predict.PriorOf("capacity")
	if !ok {
		return nil, fmt.Errorf("the agent has no rule of capacity")
	}
	gate := predict.NewGate(predict.DefaultGateConfig(), []predict.Prior{prior})
	records := make([]struct{ group, own predict.Record }, len(series))
	const hour, start = int64(time.Hour / time.Millisecond), 2300 * 7 * 24
	byEnd := make([]*capacityClaim, len(claims))
	for i := range claims {
		byEnd[i] = &claims[i]
	}
	slices.SortStableFunc(byEnd, func(a, b *capacityClaim) int { return cmp.Compare(a.over, b.over) })
	for i := range claims { // in the order in which they are made
		c := &claims[i]
		for ; len(byEnd) > 0 && byEnd[0].over <= c.made; byEnd = byEnd[1:] {
			o := byEnd[0]
			r := &records[o.series]
			gate.Learn(0, &r.group, &r.own, o.raw, o.came, gate.Likely(0, o.stated), false, (start+int64(o.over))*hour)
		}
		r := &records[c.series]
		j := gate.Judge(0, &r.group, &r.own, c.raw, (start+int64(c.made))*hour)
		c.stated, c.speaks = j.Likelihood, j.Speaks
	}
	return claims, nil
}

// capacityPredictions gives the claims by series, those of the test apart.
func capacityPredictions(claims []capacityClaim, n int) (rolled, test [][]prediction) {
	rolled, test = make([][]prediction, n), make([][]prediction, n)
	for _, c := range claims {
		to := rolled
		if c.made == 0 {
			to = test
		}
		to[c.series] = append(to[c.series], prediction{c.stated, c.raw, c.came})
	}
	return rolled, test
}

// capacityPublished gives for each series and block of the test 1 where the gate
// speaks, else 0.
func capacityPublished(claims []capacityClaim, n int) []m4Score {
	out := make([]m4Score, n)
	for i := range out {
		out[i].claims = make([]float64, m4Horizon/m4Block)
	}
	for _, c := range claims {
		if c.made == 0 && c.speaks {
			out[c.series].claims[c.over/m4Block-1] = 1
		}
	}
	return out
}

// capacityRaw forecasts from every origin, in the order of time.
func capacityRaw(ctx context.Context, series []m4Series) ([]capacityClaim, error) {
	var out []capacityClaim
	w := &forecast.Workspace{}
	for back := capacityOrigins + m4Horizon/m4Season - 1; back >= 0; back-- {
		if back > 0 && back < m4Horizon/m4Season {
			continue // what lies ahead would be part of the test
		}
		for i, s := range series {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			past, ahead, ok := s.at(back * m4Season)
			if !ok {
				continue
			}
			fitted, ok := forecast.Fit(w, forecast.Default(), forecast.History{Step: time.Hour, Values: past}, m4Horizon)
			if !ok {
				continue
			}
			limit := quantile(past, m4Limit)
			for b, p := range fitted.Breach(limit, true, m4Block, nil) {
				made := -back * m4Season
				out = append(out, capacityClaim{
					series: i, made: made, over: made + (b+1)*m4Block, raw: p,
					came: slices.Max(ahead[b*m4Block:(b+1)*m4Block]) > limit,
				})
			}
		}
	}
	return out, nil
}

// at gives what was known so many hours before the test, and the two days after.
func (s m4Series) at(before int) (past, ahead []float64, ok bool) {
	origin := len(s.train) - before
	if origin < m4History/2 {
		return nil, nil, false
	}
	ahead = s.test
	if before > 0 {
		ahead = s.train[origin : origin+m4Horizon]
	}
	return s.train[max(0, origin-m4History):origin], ahead, true
}
