package loop

import (
	"context"
	"time"

	"grace/internal/forecast"
	"grace/internal/stage/predict"
)

const (
	// refitShare of each second is spent on forecasts at most: they are expensive and
	// hold for hours, so they wait for each other rather than for a processor
	// that others need.
	refitShare = 200 * time.Millisecond
	// refitScan series are passed by under one hold of an agent's lock in search
	// of one to forecast.
	refitScan = 4096
	// refitsAStep forecasts of every agent are made in a Step at most.
	refitsAStep = 4
)

// refitter makes forecasts in the background, one after the other.
type refitter struct {
	work  forecast.Workspace
	model forecast.Model
	refit predict.Refit
}

func (f *forecaster) newRefitter() *refitter {
	return &refitter{model: forecast.Default(f.Models...)}
}

func (r *refitter) fit(next *predict.Refit) { next.Run(&r.work, r.model) }

// refits keeps the forecasts of the hour up to date.
func (f *forecaster) refits(ctx context.Context) {
	r := f.newRefitter()
	eachSecond(ctx, func() {
		began := time.Now()
		for ctx.Err() == nil && time.Since(began) < refitShare && f.refitEach(r) {
		}
	})
}

// refitSome makes the forecasts of a Step: the same ones whatever the time they
// take.
func (f *forecaster) refitSome() {
	if f.stepRefits == nil {
		f.stepRefits = f.newRefitter()
	}
	for range refitsAStep {
		if !f.refitEach(f.stepRefits) {
			return
		}
	}
}

// fitPast makes a forecast of what is rehearsed. The caller holds f.agents.
func (f *forecaster) fitPast(r *predict.Refit) {
	if f.pastRefits == nil {
		f.pastRefits = f.newRefitter()
	}
	f.pastRefits.fit(r)
}

// refitEach makes the next forecast of every agent, and tells whether there was
// any.
func (f *forecaster) refitEach(r *refitter) bool {
	own := func(do func(*predict.Agent)) {
		f.agents.Lock()
		defer f.agents.Unlock()
		do(f.predict)
	}
	found := f.refitOne(r, own)
	if f.Shards == nil {
		return found
	}
	for i := range f.Shards.Shards() {
		shard := func(do func(*predict.Agent)) { f.Shards.Do(i, do) }
		found = f.refitOne(r, shard) || found
	}
	return found
}

func (f *forecaster) refitOne(r *refitter, do func(func(*predict.Agent))) bool {
	found := false
	do(func(a *predict.Agent) { found = a.NextRefit(&r.refit, refitScan) })
	if !found {
		return false
	}
	r.fit(&r.refit)
	do(func(a *predict.Agent) { a.Refitted(&r.refit) })
	return true
}
