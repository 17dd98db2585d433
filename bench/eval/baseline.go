package main

import (
	"time"

	"grace/internal/stage/predict"
)

// baseline is a method that others use. It claims row by row; a claim depends on that
// row and those before.
type baseline struct {
	name   string
	hourly bool // looks two days ahead on series of hours, as the forecasts do; else it looks as far as the daemon's horizon
	claims func(p *part) []bool
}

const daysAhead = 48 * time.Hour

// linearHour is what is mostly used.
func linearHour() *baseline {
	for _, b := range baselines() {
		if b.name == usual {
			return &b
		}
	}
	return nil
}

const usual = "predict_linear[1h]"

func baselines() []baseline {
	horizon := predict.DefaultConfig().Horizon.D()
	return []baseline{
		{"the newest value is above", false, func(p *part) []bool { return p.newestAbove(1, 1) }},
		{"two of the newest three are above", false, func(p *part) []bool { return p.newestAbove(2, 3) }},
		{"predict_linear[15m]", false, func(p *part) []bool { return p.predictLinear(15*time.Minute, horizon) }},
		{usual, false, func(p *part) []bool { return p.predictLinear(time.Hour, horizon) }},
		{"a day before a breach began then", false, func(p *part) []bool { return p.began(24*time.Hour, horizon) }},
		{"hourly: predict_linear[2d], 48 h ahead", true, func(p *part) []bool { return p.predictLinear(daysAhead, daysAhead) }},
		{"hourly: a breach began in the last 48 h", true, func(p *part) []bool { return p.began(daysAhead, daysAhead) }},
		{"hourly: a week before a breach began then", true, func(p *part) []bool { return p.began(7*24*time.Hour, daysAhead) }},
	}
}

// stands is how long a warning stands, in ms: twice as long as is looked ahead in
// minutes, which is the longest that a rule of the agent stands; as long as that in
// days, since what was full lately will be again some day.
func (b *baseline) stands() int64 {
	if b.hourly {
		return daysAhead.Milliseconds()
	}
	return 2 * predict.DefaultConfig().Horizon.D().Milliseconds()
}

// warnings makes warnings of claims by row. A claim opens one, which stands until its
// time is over or a breach begins; claims in that time are part of it. Those at which
// there is something to see at the limit are put together in the same way, apart
// from the others: they must not hide any.
func (b *baseline) warnings(p *part) []claim {
	if b.hourly != p.s.hourly() && b.hourly {
		return nil
	}
	var out []claim
	rows := b.claims(p)
	stands := b.stands()
	var until [2]int64
	for row := p.live; row < p.stop; row++ {
		if !rows[row] {
			continue
		}
		kind := 0
		if p.late(row, p.s.limit) {
			kind = 1
		}
		if p.s.at[row] < until[kind] {
			continue
		}
		until[kind] = p.s.at[row] + stands
		for _, sp := range p.spells {
			if b := p.s.at[p.begins(sp)]; b > p.s.at[row] && b < until[kind] {
				until[kind] = b
				break
			}
		}
		out = append(out, claim{from: p.s.at[row], until: p.s.at[row] + stands, limit: p.s.limit})
	}
	return out
}

func (p *part) newestAbove(least, of int) []bool {
	out := make([]bool, p.end)
	for i := range out {
		n := 0
		for j := max(0, i-of+1); j <= i; j++ {
			if p.s.values[j] > p.s.limit {
				n++
			}
		}
		out[i] = n >= least
	}
	return out
}

// predictLinear is the rule predict_linear(x[within], ahead) > limit, by the
// function's own formula: least squares over the range, from the newest sample.
// With one point in the range it says nothing.
func (p *part) predictLinear(within, ahead time.Duration) []bool {
	out := make([]bool, p.end)
	for i := p.live; i < p.end; i++ {
		var n, sx, sy, sxy, sxx float64
		for j := i; j >= 0 && p.s.at[j] > p.s.at[i]-within.Milliseconds(); j-- {
			x := float64(p.s.at[j]-p.s.at[i]) / 1000
			n++
			sx += x
			sy += p.s.values[j]
			sxy += x * p.s.values[j]
			sxx += x * x
		}
		if variation := sxx - sx*sx/n; n >= 2 && variation > 0 {
			slope := (sxy - sx*sy/n) / variation
			out[i] = sy/n-slope*sx/n+slope*ahead.Seconds() > p.s.limit
		}
	}
	return out
}

// began claims when a breach began one season before the time ahead.
func (p *part) began(season, ahead time.Duration) []bool {
	out := make([]bool, p.end)
	for i := range out {
		then := p.s.at[i] - season.Milliseconds()
		for _, sp := range p.spells {
			if b := p.s.at[sp.onset]; sp.sure <= i && b > then && b <= then+ahead.Milliseconds() {
				out[i] = true
				break
			}
		}
	}
	return out
}
