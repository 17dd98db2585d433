package api

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"grace/internal/decide"
	"grace/internal/loop"
)

// recordedInput selects what was recorded.
type recordedInput struct {
	From   time.Time `query:"from" doc:"recorded from then on; default: a week ago"`
	To     time.Time `query:"to" doc:"recorded before; default: now"`
	Cursor string    `query:"cursor" doc:"next of the call before: one computes for 10 s at most"`
}

// span fills in what is left open.
func (in *recordedInput) span(now time.Time) (from, to time.Time) {
	if from, to = in.From, in.To; from.IsZero() {
		from = now.Add(-week)
	}
	if to.IsZero() {
		to = now
	}
	return from, to
}

type backtestInput struct {
	recordedInput

	Body struct {
		Rules json.RawMessage `json:"rules" doc:"the part of a configuration that decisions look at, as grace backtest reads it from a file"`
	}
}

func (s *server) registerReplay(api huma.API) {
	const tag = "Replay"
	handle(s, api, op{
		method: http.MethodGet, path: "/api/replay", id: "replay", tag: tag, role: roleViewer,
		doc: "Compute recorded decisions and admissions again, and compare byte for byte. A difference is named, with status 200", what: "the replay",
	}, func(ctx context.Context, in *recordedInput) (*body[decide.Replayed], error) {
		from, to := in.span(s.now())
		return found(loop.Replay(ctx, s.store, from, to, in.Cursor))
	})
	handle(s, api, op{
		method: http.MethodPost, path: "/api/backtest", id: "backtest", tag: tag, role: roleOperator,
		doc: "Compute recorded decisions and admissions under another configuration, and list what would differ", what: "the backtest",
	}, func(ctx context.Context, in *backtestInput) (*body[decide.Backtested], error) {
		dec := json.NewDecoder(bytes.NewReader(in.Body.Rules))
		dec.DisallowUnknownFields()
		var cfg decide.Config
		if err := dec.Decode(&cfg); err != nil {
			return nil, problem(http.StatusUnprocessableEntity, "rules: %v", err)
		}
		rules, err := decide.NewRules(cfg)
		if err != nil {
			return nil, problem(http.StatusUnprocessableEntity, "rules: %v", err)
		}
		from, to := in.span(s.now())
		return found(loop.Backtest(ctx, s.store, rules, from, to, in.Cursor))
	})
}
