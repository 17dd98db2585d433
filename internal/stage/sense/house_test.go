package sense

import (
	"context"
	"slices"
	"time"

	"grace"
	"grace/internal/series"
)

// house is an agent with the series that its objectives look at.
type house struct {
	*Agent

	db   *series.DB
	list []Objective
}

func newHouse(cfg Config, list []Objective) *house {
	db, err := series.New(series.DefaultConfig(), series.Options{Now: func() time.Time { return start.Add(24 * 365 * time.Hour) }})
	if err != nil {
		panic(err)
	}
	h := &house{Agent: New(cfg, list), db: db}
	h.watch(list)
	return h
}

func (h *house) watch(list []Objective) {
	h.list = list
	var all []*series.Expr
	for i := range list {
		all = append(all, expr(&list[i]))
	}
	h.db.Watch(all)
}

func expr(o *Objective) *series.Expr {
	e, err := series.Compile(o.Expr)
	if err != nil {
		panic(err)
	}
	return e
}

// Observe measures, and has the objectives judge that.
func (h *house) Observe(s grace.Sample) []grace.Signal {
	changed := h.Agent.Observe(s)
	h.db.Observe(s)
	if s.Kind == grace.SampleMetric {
		changed = append(changed, h.judge(s.At)...)
	}
	return changed
}

func (h *house) judge(at time.Time) (changed []grace.Signal) {
	for i := range h.list {
		r, err := h.db.Evaluate(context.Background(), expr(&h.list[i]), at)
		if err != nil {
			panic(err)
		}
		changed = append(changed, h.Judge(h.list[i].ID(), r)...)
	}
	slices.SortFunc(changed, compareKeys)
	return changed
}

// Reconfigure changes the objectives, and what is kept for them.
func (h *house) Reconfigure(cfg Config, list []Objective) []grace.Signal {
	h.watch(list)
	return h.Agent.Reconfigure(cfg, list)
}

// ClockStepped sets the clock.
func (h *house) ClockStepped(now time.Time, step time.Duration) []grace.Signal {
	if step < 0 {
		h.db.ClockSetBack(now)
	}
	return h.Agent.ClockStepped(now, step)
}
