package daemon

import (
	"context"
	"log/slog"
	"time"

	"grace"
	"grace/internal/series"
	"grace/sensor/promql"
)

// querier is a promql sensor that reads its history before it asks for news.
type querier struct {
	*promql.Sensor
	log     *slog.Logger
	history history
	since   time.Duration
	step    time.Duration
}

// history is told of what is read of the past, see [promql.Sensor.WarmUp].
type history func(ctx context.Context, metric string, at time.Time) error

func newQuerier(cfg promql.Config, since time.Duration, history history, db *series.DB, log *slog.Logger) (grace.Sensor, error) {
	cfg.Report = func(q promql.Query, problem string) {
		if problem == "" {
			log.Info("a query is answered again", "sensor", cfg.Name, "query", q, "service", q.Service)
			return
		}
		log.Warn("a query has no usable answer", "sensor", cfg.Name, "query", q, "service", q.Service, "problem", problem)
	}
	s, err := promql.New(cfg, db)
	if err != nil {
		return nil, err
	}
	return &querier{Sensor: s, log: log, history: history, since: since, step: cfg.Interval.D()}, nil
}

// warmUpMost bounds how long a sensor reads its history: meanwhile it does not look.
const warmUpMost = time.Minute

// Run meets grace.Sensor.
func (q *querier) Run(ctx context.Context, sink grace.Sink) error {
	limited, cancel := context.WithTimeout(ctx, warmUpMost)
	defer cancel()
	taken, err := q.WarmUp(limited, now().Add(-q.since), q.step, q.history)
	if err != nil && ctx.Err() == nil {
		q.log.Warn("some of the history could not be read; forecasts know less for a while", "sensor", q.Name(), "error", err)
	}
	q.log.Info("history read", "sensor", q.Name(), "samples", taken)
	return q.Sensor.Run(ctx, sink)
}
