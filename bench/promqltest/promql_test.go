// Package promqltest runs the tests of Prometheus' own engine over samples that GRACE
// keeps (make compare-promql). It is a module of its own: they need all of Prometheus.
package promqltest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"

	"grace/internal/series"
)

// TestPromQL runs the tests of Prometheus' own engine over samples that are kept here.
func TestPromQL(t *testing.T) {
	engine := promqltest.NewTestEngineWithOpts(t, promql.EngineOpts{
		MaxSamples: 10000, Timeout: time.Minute, EnableAtModifier: true, EnableNegativeOffset: true, LookbackDelta: series.Lookback,
		NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() },
		EnableDelayedNameRemoval: true, UseStartTimestamps: true, Parser: parser.NewParser(promqltest.TestParserOpts),
	})
	promqltest.RunBuiltinTestsWithStorage(t, engine, func(t testing.TB) storage.Storage { return newStorage(t) })
}

// testStorage lets the tests of Prometheus append to a DB.
type testStorage struct {
	storage.Storage // what is not needed, nil

	t  testing.TB
	db *series.DB
}

func newStorage(t testing.TB) *testStorage {
	t.Helper()
	cfg := series.DefaultConfig()
	cfg.NoDefaultRules, cfg.ServiceLabels = true, nil
	cfg.MaxAge = 1 << 62
	db, err := series.New(cfg, series.Options{Now: func() time.Time { return time.UnixMilli(1 << 45) }})
	if err != nil {
		t.Fatal(err)
	}
	all, err := series.Compile(`count_over_time({__name__=~".+"}[290y])`)
	if err != nil {
		t.Fatal(err)
	}
	db.Watch([]*series.Expr{all})
	return &testStorage{t: t, db: db}
}

func (s *testStorage) Querier(mint, maxt int64) (storage.Querier, error) {
	return s.db.Querier(mint, maxt)
}

func (s *testStorage) Close() error { return nil }

func (s *testStorage) AppenderV2(context.Context) storage.AppenderV2 { return &testAppender{s: s} }

type testAppender struct{ s *testStorage }

func (a *testAppender) Append(_ storage.SeriesRef, ls labels.Labels, st, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, _ storage.AppendV2Options) (storage.SeriesRef, error) {
	var key []byte
	ls.Range(func(l labels.Label) { key = series.AppendLabel(key, l.Name, l.Value) })
	b := a.s.db.Begin(series.From{Source: "test", History: true})
	b.Append(key, series.Meta{Start: st}, series.Sample{At: t, Value: v, Histogram: h, Float: fh})
	r := b.End()
	return 0, r.Err()
}

func (a *testAppender) AppendExemplar(storage.SeriesRef, labels.Labels, exemplar.Exemplar) (storage.SeriesRef, error) {
	return 0, errors.ErrUnsupported
}

func (a *testAppender) Commit() error   { return nil }
func (a *testAppender) Rollback() error { return nil }
