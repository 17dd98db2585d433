package loop

import (
	"context"
	"sync"
	"time"

	"grace/internal/stage/predict"
)

// forecaster foretells what is measured, by its own agent and those of shards, and
// keeps the ledger of what was foretold. What it finds it gives to whoever asked.
type forecaster struct {
	*common
	work

	agents     sync.Mutex // guards the own agent, what drifts and when they were asked; agents of shards have locks of their own
	predict    *predict.Agent
	drifts     predict.Drifts // what all agents noted
	forecast   time.Time      // when predict was last asked
	swept      time.Time      // when the ledger was last looked through for what nobody resolves
	stepRefits *refitter      // of Step; Start's has its own
	pastRefits *refitter      // of what is rehearsed
}

// newForecaster makes one that reconfigure gives its targets.
func newForecaster(co *common, st *stages) *forecaster {
	return &forecaster{common: co, predict: predict.New(st.Predict, nil, co.Gate)}
}

// Start begins to keep the forecasts of the hour up to date.
func (f *forecaster) Start(ctx context.Context) { f.begin(ctx, f.refits) }

// evaluate gives what is to be written of what the own agent foresees, when it is time
// for that.
func (f *forecaster) evaluate(st *stages, now time.Time) []pendingWrite {
	f.agents.Lock()
	due := now.Sub(f.forecast) >= st.PredictEvery
	var r predict.Result
	if due {
		f.forecast = now
		r = f.predict.Evaluate(now)
		f.drifts.Take(&r)
		f.predict.Drift(&f.drifts, now, &r)
	}
	f.agents.Unlock()
	if !due {
		return nil
	}
	return f.foresee(st, r)
}

// since has nothing foretold from what was measured before.
func (f *forecaster) since(now time.Time) {
	f.agents.Lock()
	defer f.agents.Unlock()
	f.drifts.Since(now)
	f.eachAgent(func(a *predict.Agent) { a.Since(now) })
}

// clockStepped takes what is foretold, and the times of what was done last, to a clock that
// was set. Nothing is forgotten for its age before an hour has passed by it: it may be wrong.
func (f *forecaster) clockStepped(now time.Time, step time.Duration) {
	f.agents.Lock()
	defer f.agents.Unlock()
	f.forecast, f.swept = earlier(f.forecast, now), now
	if step < 0 {
		f.Gate.ClockSetBack(now)
		f.eachAgent(func(a *predict.Agent) { a.ClockSetBack(now) })
		f.drifts = predict.Drifts{} // its times are of the future
	}
	f.drifts.Since(now)
}
