package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"grace"
	"grace/internal/api"
	"grace/internal/config"
	"grace/internal/loop"
	"grace/internal/series"
	"grace/sensor/promql"
)

// backtestSteps of the past are read at once: it is kept in memory for so long.
const backtestSteps = 720

// keeper is a Prometheus-compatible API that may have kept what expressions look at.
type keeper struct {
	cfg  promql.Config
	away error // it was not there, and is asked no more
}

// pastQuery asks a keeper for the past of one expression.
type pastQuery struct {
	*promql.Sensor
	*keeper

	failed error // it is asked no more
}

// pastExpr is an expression with whom to ask for its past: the first who has any.
type pastExpr struct {
	*loop.PastExpr

	queries []*pastQuery
	values  int // that were read
	taken   int // of which it is known whose they are
	rows    []pastRow
}

// pastRow is a stretch of one series.
type pastRow struct {
	labels map[string]string
	points []promql.Point
}

// BacktestPredictions meets api.Process.
func (p process) BacktestPredictions(ctx context.Context, since, step time.Duration) (out api.PredictionBacktest, err error) {
	b := p.loop.NewPredictionBacktest()
	list, err := pastOf(p.config(), b)
	if err != nil {
		return out, err
	}
	p.log.Info("a backtest of predictions has begun", "expressions", len(list), "since", since, "step", step)
	to := now().Truncate(step)
	out.Since, out.Step = to.Add(-since).Truncate(step), grace.Duration(step)
	for from := out.Since; !from.After(to); from = from.Add(backtestSteps * step) {
		until := from.Add((backtestSteps - 1) * step)
		if until.After(to) {
			until = to
		}
		if err := liveThrough(ctx, list, from, until, step); err != nil {
			return out, err
		}
	}
	out.Backtested, out.Missing = b.Report(), []api.MissingHistory{}
	for _, e := range list {
		if m, missing := e.missing(); missing {
			out.Missing = append(out.Missing, m)
		}
	}
	p.log.Info("a backtest of predictions has ended", "series", out.Series, "values", out.Values)
	return out, nil
}

// pastOf finds for every expression who may have kept its past.
func pastOf(cfg *config.Config, b *loop.PredictionBacktest) (out []*pastExpr, err error) {
	var senders []*keeper
	for i, h := range cfg.Telemetry.WarmUp {
		senders = append(senders, &keeper{cfg: warmUpFrom(i, h)})
	}
	sources := map[string]*keeper{}
	for _, s := range cfg.Sensors {
		if s.PromQL != nil {
			sources[s.Name()] = &keeper{cfg: *s.PromQL}
		}
	}
	asked := 0
	for i := range b.Expressions {
		e := &pastExpr{PastExpr: &b.Expressions[i]}
		out = append(out, e)
		if e.Not != "" {
			continue
		}
		keepers := senders
		if e.Source != "" {
			keepers = []*keeper{sources[e.Source]}
		}
		for _, k := range keepers {
			one := k.cfg
			one.Queries = []promql.Query{{Name: fmt.Sprintf("backtest %d", i), Query: e.Query, ServiceLabel: series.MetricLabel}} // whose it is, the expression says
			s, err := promql.New(one, nil)
			if err != nil {
				return nil, err
			}
			e.queries, asked = append(e.queries, &pastQuery{Sensor: s, keeper: k}), asked+1
		}
	}
	if asked == 0 {
		return nil, &api.Invalid{Message: "there is no history to read", Details: []api.Detail{{
			Location: "telemetry.warm_up", Message: "is empty, and nothing that can be foretold is asked of a source",
			Hint: "name the Prometheus-compatible API that keeps what objectives and limits look at: telemetry: {warm_up: [{url: http://127.0.0.1:9090}]}; or give objectives and limits a source, a sensor of type promql",
		}}}
	}
	return out, nil
}

// liveThrough reads a stretch of the past of all expressions, and lives through it.
func liveThrough(ctx context.Context, list []*pastExpr, from, until time.Time, step time.Duration) error {
	for _, e := range list {
		if err := e.read(ctx, from, until, step); err != nil {
			return err
		}
	}
	// One time after the other, so that nothing is learned from what comes later elsewhere.
	for at := from; !at.After(until); at = at.Add(step) {
		if err := ctx.Err(); err != nil {
			return err
		}
		for _, e := range list {
			e.take(at.UnixMilli())
		}
	}
	return nil
}

// read asks for a stretch of the past. Who fails is asked no more: the report says why.
func (e *pastExpr) read(ctx context.Context, from, until time.Time, step time.Duration) error {
	e.rows = e.rows[:0]
	for _, q := range e.queries {
		if q.away != nil || q.failed != nil {
			continue
		}
		n, err := q.Between(ctx, from, until, step, func(labels map[string]string, points []promql.Point) {
			labels = maps.Clone(labels)
			delete(labels, series.MetricLabel)
			e.rows = append(e.rows, pastRow{labels, slices.Clone(points)})
		})
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, promql.ErrAway):
			q.away = err
		case err != nil:
			q.failed = err
		}
		if e.values += n; n > 0 {
			break
		}
	}
	return nil
}

// take takes what was there at a time.
func (e *pastExpr) take(at int64) {
	for i := range e.rows {
		row := &e.rows[i]
		for len(row.points) > 0 && row.points[0].At <= at {
			if e.Take(row.labels, time.UnixMilli(row.points[0].At).UTC(), row.points[0].Value) {
				e.taken++
			}
			row.points = row.points[1:]
		}
	}
}

// missing tells why there is no past of the expression, or not all.
func (e *pastExpr) missing() (api.MissingHistory, bool) {
	m := api.MissingHistory{Name: e.Name, Service: e.Service, Expr: e.Expr, Source: e.Source, Values: e.values, Reason: e.Not, Detail: e.Detail}
	for _, q := range e.queries {
		switch {
		case q.failed != nil:
			m.Reason, m.Detail = loop.NoHistoryFailed, q.failed.Error()
		case q.away != nil && m.Reason == "":
			m.Reason, m.Detail = loop.NoHistoryAway, q.away.Error()
		}
	}
	switch {
	case m.Reason != "":
	case e.values == 0 && len(e.queries) == 0:
		m.Reason, m.Detail = loop.NoHistoryNobody, "telemetry.warm_up is empty: name the API that keeps what is sent, or the source of the objective"
	case e.values == 0:
		m.Reason, m.Detail = loop.NoHistoryNobody, "who was asked has no value in this time: "+e.Query
	case e.taken == 0:
		m.Reason, m.Detail = loop.NoHistoryNoService, "no label of what was found names a service"
	}
	return m, m.Reason != ""
}
