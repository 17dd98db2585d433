package main

import (
	"cmp"
	"context"
	"slices"
	"sort"
	"sync"
	"time"

	"grace"
	"grace/internal/forecast"
	"grace/internal/stage/predict"
)

// stretch is what the agent is shown of a series: rows from given on as history,
// those from live on as they come, up to end.
type stretch struct {
	s                *series
	given, live, end int
}

// level is how sure the agent is of a claim.
type level uint8

const (
	claimed level = iota // in shadow, too
	advised              // likely enough to be told
	acts                 // let pass by the gate: what is acted on
	levels
)

func (l level) String() string { return [...]string{"all it claims", "as advice", "acts"}[l] }

// said is one claim of the production agent.
type said struct {
	of         int // the stretch
	rule, id   string
	reached    [levels]reached
	score      float64
	likelihood float64 // as first said
	limit      float64
	samples    int // that the series had when it was made
}

// reached is when a claim first was on a level, and what it said then; unix ms of the
// series.
type reached struct {
	at    int64 // 0: never
	named int64 // when the breach was to begin
	until int64 // the breach must begin by then
}

// player shows stretches to one production agent with the daemon's defaults.
type player struct {
	stretches []stretch
	learned   bool // no limits are set: those that the agent learns count
	agent     *predict.Agent
	handles   []predict.Handle
	of        map[string]int // by metric
	shifts    []int64
	byID      map[string]*said
	claims    []*said
	breaches  []map[int64]float64 // that the agent found, with the limit; by stretch
	drifts    predict.Drifts
	joints    map[grace.ServiceID]*joint
	blocks    [][]prediction // what forecasts said of blocks of hours; by stretch
	hours     []int64
	due       bool // an hour is over
	work      forecast.Workspace
	model     forecast.Model
	refit     predict.Refit
}

// play lets one agent watch all stretches at once, as if they began in the same week,
// and gives all that it claimed. It looks as often as the daemon looks, and renews
// its forecasts when an hour is over.
func play(ctx context.Context, stretches []stretch, learned bool) (*player, error) {
	cfg := predict.DefaultConfig()
	p := &player{
		stretches: stretches, learned: learned, of: map[string]int{}, byID: map[string]*said{}, model: forecast.Default(),
		handles: make([]predict.Handle, len(stretches)), hours: make([]int64, len(stretches)), breaches: make([]map[int64]float64, len(stretches)), blocks: make([][]prediction, len(stretches)),
	}
	var targets []predict.Target
	for i, st := range stretches {
		p.of[st.s.name] = i
		p.breaches[i] = map[int64]float64{}
		if !learned {
			targets = append(targets, predict.Target{
				Service: grace.ServiceID(st.s.service), Metric: st.s.name, Op: ">", Threshold: st.s.limit,
				Code: codeOf(st.s.role), Impact: grace.ImpactMedium,
			})
		}
	}
	p.agent = predict.New(cfg, targets, predict.NewGate(cfg.Gate, &sync.Mutex{}))
	p.agent.Depend(func(grace.ServiceID) []grace.ServiceID { return nil }) // no source tells what depends on what
	rows := p.order()
	p.jointly()
	every := cfg.Every.D().Milliseconds()
	for len(rows) > 0 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		now := (rows[0].at + every - 1) / every * every
		for len(rows) > 0 && rows[0].at <= now {
			p.show(rows[0])
			rows = rows[1:]
		}
		if p.due {
			p.due = false
			for p.agent.NextRefit(&p.refit, p.agent.Places()) {
				p.refit.Run(&p.work, p.model)
				p.agent.Refitted(&p.refit)
			}
		}
		at := time.UnixMilli(now).UTC()
		r := p.agent.Evaluate(at)
		p.drifts.Take(&r)
		p.agent.Drift(&p.drifts, at, &r)
		p.take(now, r)
	}
	return p, nil
}

// shown is a row at the agent's time.
type shown struct {
	of, row int
	at      int64
}

// order is the order in which the rows of all stretches come when the series are
// moved, by whole weeks, to begin in the same one.
func (p *player) order() []shown {
	const week, start = 7 * dayMillis, 2300
	var out []shown
	for i, st := range p.stretches {
		shift := (start - st.s.at[st.given]/week) * week
		p.shifts = append(p.shifts, shift)
		for row := st.live; row < st.end; row++ {
			out = append(out, shown{i, row, st.s.at[row] + shift})
		}
	}
	slices.SortStableFunc(out, func(a, b shown) int { return cmp.Compare(a.at, b.at) })
	return out
}

// show gives the agent a row, and what is history before the first.
func (p *player) show(r shown) {
	st, shift := &p.stretches[r.of], p.shifts[r.of]
	if r.row == st.live {
		name := predict.Series{Service: grace.ServiceID(st.s.service), Metric: st.s.name, Role: st.s.role, Judged: !p.learned}
		p.handles[r.of] = p.agent.Open(name)
		for row := st.given; row < st.live; row++ {
			p.recall(name, p.handles[r.of], st.s.at[row]+shift, st.s.values[row])
		}
	}
	p.agent.Append(p.handles[r.of], r.at, st.s.values[r.row])
	if hour := r.at / hourMillis; hour != p.hours[r.of] {
		p.hours[r.of], p.due = hour, true
	}
}

// recall gives the agent a row of the past, as the daemon does at its start: what is held
// against a limit that is set is run through the rules.
func (p *player) recall(name predict.Series, h predict.Handle, at int64, v float64) {
	if p.learned {
		p.agent.Append(h, at, v)
		return
	}
	p.agent.Rehearse(name, time.UnixMilli(at).UTC(), v, func(r *predict.Refit) { r.Run(&p.work, p.model) })
}

// take keeps what the agent said at one look.
func (p *player) take(now int64, r predict.Result) {
	for i := range r.Shadow {
		p.reach(now, &r.Shadow[i], claimed)
	}
	for i := range r.Advice {
		p.reach(now, &r.Advice[i], advised)
	}
	for i := range r.Published {
		p.reach(now, &r.Published[i], acts)
	}
	for i := range r.Resolved {
		e := &r.Resolved[i]
		if isJoint(e) {
			continue
		}
		of := p.of[e.Metric]
		if e.Breach != nil && !e.Block {
			p.breaches[of][e.Breach.UnixMilli()-p.shifts[of]] = e.Threshold
		}
		if e.Block {
			p.blocks[of] = append(p.blocks[of], prediction{e.Likelihood, e.Outcome == grace.PredictionTruePositive})
		}
	}
}

// reach notes that a claim is on a level now, and so on those below it.
func (p *player) reach(now int64, e *grace.Prediction, l level) {
	if isJoint(e) {
		p.reachJointly(now, e, l)
		return
	}
	c := p.byID[e.ID]
	if c == nil {
		c = p.note(now, e)
	}
	c.reach(now, p.shifts[c.of], e, l)
}

func (c *said) reach(now, shift int64, e *grace.Prediction, l level) {
	for ; ; l-- {
		if r := &c.reached[l]; r.at == 0 {
			*r = reached{at: now - shift, named: e.BreachAt.UnixMilli() - shift, until: e.Until.UnixMilli() - shift}
		}
		if l == claimed {
			return
		}
	}
}

func (p *player) note(now int64, e *grace.Prediction) *said {
	of := p.of[e.Metric]
	st := &p.stretches[of]
	c := &said{
		of: of, rule: e.Rule, id: e.ID, score: e.Score, likelihood: e.Likelihood, limit: e.Threshold,
		samples: sort.Search(st.end, func(i int) bool { return st.s.at[i] > now-p.shifts[of] }) - st.given,
	}
	p.byID[e.ID] = c
	p.claims = append(p.claims, c)
	return c
}

// parts gives what is judged of each stretch. Of limits that were learned the breaches
// are those that the agent found, each with the limit of its time.
func (p *player) parts(sure bool) []part {
	var out []part
	for i, st := range p.stretches {
		j := part{s: st.s, live: st.live, end: st.end, stop: st.end, sure: sure}
		if !p.learned {
			j.spells = spells(st.s.at, st.s.values, st.s.limit)
		}
		for at, limit := range p.breaches[i] {
			if p.learned {
				j.spells = append(j.spells, spellFrom(st.s, at, limit))
			}
		}
		slices.SortFunc(j.spells, func(a, b spell) int { return a.sure - b.sure })
		out = append(out, j)
	}
	return out
}

// spellFrom is the breach that begins at a time, with its first value above.
func spellFrom(s *series, at int64, limit float64) spell {
	row := sort.Search(len(s.at)-1, func(i int) bool { return s.at[i] >= at })
	if after := spells(s.at[row:], s.values[row:], limit); len(after) > 0 && after[0].onset == 0 {
		return spell{row, row + after[0].sure, row + after[0].ended}
	}
	return spell{row, row, row}
}

// at gives the claims of a level by stretch, of one rule or, with "", of all; back
// tells for each which it was.
func (p *player) at(l level, rule string) (claims [][]claim, back [][]*said) {
	claims, back = make([][]claim, len(p.stretches)), make([][]*said, len(p.stretches))
	for _, c := range p.claims {
		if r := c.reached[l]; r.at != 0 && (rule == "" || c.rule == rule) {
			claims[c.of] = append(claims[c.of], claim{from: r.at, until: r.until, limit: c.limit})
			back[c.of] = append(back[c.of], c)
		}
	}
	return claims, back
}
