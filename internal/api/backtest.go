package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"grace"
	"grace/internal/loop"
	"grace/internal/stage/predict"
)

const (
	// backtestSince and backtestStep are those of a backtest of predictions that names none.
	backtestSince = grace.Duration(28 * 24 * time.Hour)
	backtestStep  = grace.Duration(time.Minute)
	// backtestCoarsest is the longest step at which three samples of a breach are still
	// taken for one that has just begun.
	backtestCoarsest = grace.Duration(15 * time.Minute)
	// backtestLongest and backtestMost bound what is gone through, as time and as values
	// of a series.
	backtestLongest = grace.Duration(366 * 24 * time.Hour)
	backtestMost    = 600_000
)

type predictionBacktestInput struct {
	Body struct {
		Since *grace.Duration `json:"since,omitempty" doc:"how far back; default: 28d"`
		Step  *grace.Duration `json:"step,omitempty" doc:"between two values, 1s to 15m; default: 1m"`
	}
}

// Resolve takes the server's times off the connection: who waits for a backtest waits as long
// as it takes. The body has been read by then.
func (*predictionBacktestInput) Resolve(ctx huma.Context) []error {
	_, w := humago.Unwrap(ctx)
	rc := http.NewResponseController(w)
	// A test's recorder has no deadlines.
	_, _ = rc.SetReadDeadline(time.Time{}), rc.SetWriteDeadline(time.Time{})
	return nil
}

// PredictionBacktest is what the rules of prediction would have said of the history that
// sources keep, from a gate that knows nothing at its beginning.
type PredictionBacktest struct {
	predict.Backtested

	Since   time.Time        `json:"since" doc:"from when on the history was asked for"`
	Step    grace.Duration   `json:"step" doc:"between two values"`
	Missing []MissingHistory `json:"missing" doc:"objectives and limits of which there is no history, or not all"`
}

// MissingHistory is an objective or limit of which there is no history, or not all.
type MissingHistory struct {
	Name    string          `json:"name"`
	Service grace.ServiceID `json:"service,omitempty"`
	Expr    string          `json:"expr"`
	Source  string          `json:"source,omitempty" doc:"the sensor that has its series; absent: telemetry.warm_up is asked"`
	Reason  loop.NoHistory  `json:"reason" enum:"unpredictable,two_vectors,nobody_keeps_it,source_away,query_failed,no_service"`
	Detail  string          `json:"detail"`
	Values  int             `json:"values" doc:"that were read all the same"`
}

func (s *server) registerPredictionBacktest(api huma.API) {
	handle(s, api, op{
		method: http.MethodPost, path: "/api/predictions/backtest", id: "backtest-predictions", tag: "Predictions", role: roleOperator,
		doc:    "Run the history of everything that objectives and limits can foretell through the rules of prediction, beginning with no trust in any. Nothing is written, and what GRACE watches learns nothing of it. It takes seconds to minutes, and one can be under way at a time",
		what:   "the backtest",
		errors: []int{http.StatusConflict}, meta: map[string]any{metaStream: true},
	}, s.backtestPredictions)
}

func (s *server) backtestPredictions(ctx context.Context, in *predictionBacktestInput) (*body[PredictionBacktest], error) {
	since, step := backtestSince, backtestStep
	if in.Body.Since != nil {
		since = *in.Body.Since
	}
	if in.Body.Step != nil {
		step = *in.Body.Step
	}
	var bad findings
	switch {
	case step < grace.Duration(time.Second) || step > backtestCoarsest:
		bad.add("body.step", step, "1s to "+backtestCoarsest.String()+", for example 1m: that of the history, as a rule", "is not a step that a breach can be seen at")
	case since < step || since > backtestLongest:
		bad.add("body.since", since, "for example 28d; a year at most", "is not a time to go back")
	case since/step > backtestMost:
		bad.add("body.step", step, "a longer step, or less of the past", "makes more than %d values of a series", backtestMost)
	}
	if err := bad.problem("nothing was computed"); err != nil {
		return nil, err
	}
	if !s.backtests.TryLock() {
		return nil, problem(http.StatusConflict, "another backtest of predictions is under way").hint("wait until it has ended: it needs a processor for itself")
	}
	defer s.backtests.Unlock()
	out, err := s.process.BacktestPredictions(ctx, since.D(), step.D())
	if err != nil && ctx.Err() != nil {
		return nil, problem(http.StatusServiceUnavailable, "the backtest was cut off: %v", context.Cause(ctx))
	}
	if err != nil {
		return nil, err
	}
	return ok(out)
}
