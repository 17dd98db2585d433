package loop

import (
	"sync"
	"time"

	"grace"
	"grace/internal/series"
	"grace/internal/stage/predict"
)

// NoHistory is why the past of an expression is not, or not wholly, known.
type NoHistory string

// Reasons of NoHistory.
const (
	NoHistoryUnpredictable NoHistory = "unpredictable" // it is not foretold at all
	NoHistoryTwoVectors    NoHistory = "two_vectors"   // what it is compared with is a series too
	NoHistoryNobody        NoHistory = "nobody_keeps_it"
	NoHistoryAway          NoHistory = "source_away"
	NoHistoryFailed        NoHistory = "query_failed"
	NoHistoryNoService     NoHistory = "no_service" // nothing says whose what was found is
)

// PredictionBacktest runs the past through the rules of prediction as they are configured,
// from a gate that knows nothing. It is aside: what is watched learns nothing of it.
type PredictionBacktest struct {
	*predict.Backtest

	Expressions []PastExpr
}

// PastExpr is an objective or limit whose past is wanted.
type PastExpr struct {
	Name, Expr string
	Service    grace.ServiceID // empty where each of its elements says
	Source     string          // the sensor that has its series; empty: who sends them has
	Query      string          // what gives the values that are held against the threshold
	Not        NoHistory       // why its past is not to be asked for; empty: it is
	Detail     string          // of Not

	watch *watch
	into  *predict.Backtest
}

// NewPredictionBacktest makes one of what is configured now.
func (f *forecaster) NewPredictionBacktest() *PredictionBacktest {
	st := f.stages.Load()
	cfg := &st.Config
	list := watches(cfg) // not those of the watch, which are at work
	b := &PredictionBacktest{Backtest: predict.NewBacktest(cfg.Predict, targetsOf(list), st.zones, st.rules.Graph.Nearest, &sync.Mutex{}, f.newRefitter().fit)}
	for _, w := range list {
		b.Expressions = append(b.Expressions, w.past(b.Backtest))
	}
	return b
}

func (w *watch) past(into *predict.Backtest) PastExpr {
	e := PastExpr{Name: w.name, Expr: w.expr.String(), Service: w.service, Source: w.expr.Source(), Query: w.expr.Value(), watch: w, into: into}
	switch remote := w.expr.Remote(); {
	case w.target == nil:
		e.Not, e.Detail = NoHistoryUnpredictable, w.expr.Unpredictable()
	case !w.constant:
		e.Not, e.Detail = NoHistoryTwoVectors, "what it is compared with is no number"
	case remote != nil:
		e.Query = remote.Query
	}
	return e
}

// Take takes a value that the query gave at a time: those of all expressions in the order of
// their times. It tells whether it is known whose it is.
func (e *PastExpr) Take(labels map[string]string, at time.Time, value float64) (whose bool) {
	r := e.watch.then(labels, at, value)
	e.watch.observed(&r, func(s predict.Series, _ *series.Element, v float64) {
		whose = true
		e.into.Take(s, at, v)
	})
	return whose
}
