package main

import (
	"math"
	"slices"
	"sort"
	"time"
)

// spell is a breach: three of four rows in a row above the limit.
type spell struct {
	onset int // the first of these values above; what comes later is seen, not foreseen
	sure  int // the row that makes it a breach
	ended int // the last row of which three of four are above
}

// merge: what begins sooner after a breach is the same breach, as in the daemon.
const merge = int64(time.Hour / time.Millisecond)

// spells finds the breaches of a limit.
func spells(at []int64, values []float64, limit float64) []spell {
	var out []spell
	on := false
	for i := range values {
		first, n := i, 0
		for j := i; j >= max(0, i-3); j-- {
			if values[j] > limit {
				first = j
				n++
			}
		}
		in := n >= 3
		switch last := len(out) - 1; {
		case !in:
		case on, last >= 0 && at[i]-at[out[last].ended] < merge:
			out[last].ended = i
		default:
			out = append(out, spell{onset: first, sure: i, ended: i})
		}
		on = in
	}
	return out
}

// claim is what a method said of a series: a breach begins after from and not after
// until.
type claim struct {
	from, until int64   // unix ms
	limit       float64 // above which the breach is
	was         verdict
}

// verdict is what became of a claim.
type verdict uint8

const (
	unknown verdict = iota // the series ends before its time does
	late                   // said when there was something to see at the limit: neither right nor wrong
	right
	wrong
)

// result is what a method did on series.
type result struct {
	warnings, right, late int
	breaches, foreseen    int
	leads                 []float64 // minutes, of the breaches that were foreseen
	days                  float64   // times series
}

func (r *result) add(o result) {
	r.warnings += o.warnings
	r.right += o.right
	r.late += o.late
	r.breaches += o.breaches
	r.foreseen += o.foreseen
	r.leads = append(r.leads, o.leads...)
	r.days += o.days
}

func (r *result) precision() float64 { return float64(r.right) / float64(r.warnings) }
func (r *result) recall() float64    { return float64(r.foreseen) / float64(r.breaches) }
func (r *result) lead() float64      { return middle(r.leads) }
func (r *result) falseADay() float64 { return float64(r.warnings-r.right) / r.days }

// part is the rows of a series that are judged, and its breaches.
type part struct {
	s         *series
	live, end int // rows
	stop      int // row before which claims and breaches count; what comes up to end decides what became of them
	spells    []spell
	// sure counts a breach from the row that makes it one, not from the first
	// value above.
	sure bool
}

func (p *part) begins(sp spell) int {
	if p.sure {
		return sp.sure
	}
	return sp.onset
}

// judge says of each claim what became of it, and sums up. A claim whose time is not
// over when the series ends is left out whatever happened until then: else those that
// came true early would be all that is counted. The breach that it foresaw is
// foreseen all the same.
func (p *part) judge(claims []claim) result {
	r := result{days: float64(p.s.at[p.stop-1]-p.s.at[p.live]) / float64(dayMillis)}
	lead := map[int]float64{} // by breach
	for i := range claims {
		c := &claims[i]
		if c.from < p.s.at[p.live] || p.stop < p.end && c.from >= p.s.at[p.stop] {
			continue
		}
		if c.was = p.verdict(c, lead); c.was == late {
			r.late++
		}
		if c.was == right || c.was == wrong {
			r.warnings++
		}
		if c.was == right {
			r.right++
		}
	}
	for _, sp := range p.spells {
		if b := p.begins(sp); b <= p.live || b >= p.stop {
			continue
		}
		r.breaches++
		if l, ok := lead[sp.sure]; ok {
			r.foreseen++
			r.leads = append(r.leads, l)
		}
	}
	return r
}

func (p *part) verdict(c *claim, lead map[int]float64) verdict {
	row := sort.Search(p.end, func(i int) bool { return p.s.at[i] > c.from }) - 1
	if p.late(row, c.limit) {
		return late
	}
	came := false
	for _, sp := range p.spells {
		if b := p.begins(sp); b < p.end && p.s.at[b] > c.from && p.s.at[b] <= c.until {
			lead[sp.sure] = max(lead[sp.sure], float64(p.s.at[b]-c.from)/60e3)
			came = true
			break
		}
	}
	// A breach that begins last needs two more rows to be one.
	over := sort.Search(p.end, func(i int) bool { return p.s.at[i] > c.until })
	switch {
	case over+1 >= p.end:
		return unknown
	case came:
		return right
	}
	return wrong
}

// late tells whether there is something to see at the limit: one of the newest three
// values is above it, or a breach lasts, or has ended so lately that the next is the
// same. The values of a breach that is over are history.
func (p *part) late(row int, limit float64) bool {
	past := -1 // the last row of breaches that are over
	for _, sp := range p.spells {
		if sp.sure > row {
			break
		}
		if row <= sp.ended || p.s.at[row]-p.s.at[sp.ended] < merge {
			return true
		}
		past = sp.ended
	}
	for j := max(past+1, row-2, 0); j <= row && !p.sure; j++ {
		if p.s.values[j] > limit {
			return true
		}
	}
	return false
}

// middle is the lower median: a lead that half of the breaches really had.
func middle(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	return slices.Sorted(slices.Values(values))[(len(values)-1)/2]
}
