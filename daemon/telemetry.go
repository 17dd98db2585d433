package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"grace"
	"grace/internal/api"
	"grace/internal/config"
	"grace/internal/series"
	"grace/internal/stage/predict"
	"grace/sensor/otlp"
	"grace/sensor/promql"
	"grace/sensor/remotewrite"
)

const (
	// sweepEvery is how often it is looked for series that fell silent.
	sweepEvery = 5 * time.Second
	// recallTimeout bounds how long senders wait for the history.
	recallTimeout = 2 * time.Minute
	// rehearseTimeout bounds the rehearsal of one of them, which nobody waits for.
	rehearseTimeout = time.Hour
	// stopGRPC is how long open calls may take when the daemon stops.
	stopGRPC = 2 * time.Second
)

// receivers take series that others send, and hand them to forecasting agents
// of their own: one for each shard, so that senders do not wait for each other.
type receivers struct {
	d        *Daemon
	db       *series.DB
	agents   []*predict.Agent // guarded by the shards of db
	services atomic.Pointer[map[grace.ServiceID]bool]
	ready    atomic.Bool // the history was read
	write    *remotewrite.Handler
	otlp     *otlp.Receiver
	grpc     *grpc.Server
}

// newReceivers builds where series are kept, and the agents that forecast them.
func newReceivers(d *Daemon) (*receivers, error) {
	r := &receivers{d: d}
	r.know(d.cfg)
	var sinks []series.Sink
	for range shards() {
		agent := predict.New(d.cfg.Predict, nil, d.gate)
		agent.Silence(d.cfg.Govern.PredictiveShadow)
		r.agents = append(r.agents, agent)
		sinks = append(sinks, forecaster{agent})
	}
	var err error
	r.db, err = series.New(d.cfg.Telemetry.Config, series.Options{
		Sinks: sinks,
		Known: func(id grace.ServiceID) bool { return (*r.services.Load())[id] },
		Evicted: func(e series.Eviction) {
			d.log.Warn("a series gave its place to another", "series", e.Labels, "why", e.Why, "others", e.Others)
		},
		Now: now,
	})
	if err != nil {
		return nil, err
	}
	body := int(d.cfg.Telemetry.MaxBody)
	write, metrics := remotewrite.DefaultConfig(), otlp.DefaultConfig()
	write.MaxBody, write.MaxDecoded, metrics.MaxDecoded = body, body, body
	if r.write, err = remotewrite.New(write, r.db, api.Sender); err != nil {
		return nil, err
	}
	r.otlp, err = otlp.New(metrics, r.db)
	return r, err
}

// know says which services are declared.
func (r *receivers) know(cfg *config.Config) {
	declared := map[grace.ServiceID]bool{}
	for _, s := range cfg.Services {
		declared[s.ID] = true
	}
	r.services.Store(&declared)
}

// shards is a power of two: two for each processor, so that it is rare that one
// waits for another.
func shards() int {
	n := 4
	for n < 2*runtime.GOMAXPROCS(0) {
		n *= 2
	}
	return n
}

// handlers are what the API offers.
func (r *receivers) handlers() api.Receivers {
	return api.Receivers{"/api/v1/write": r.afterRecall(r.write), "/v1/metrics": r.afterRecall(r.otlp.Handler(api.Sender))}
}

// afterRecall has senders retry until the history was read.
func (r *receivers) afterRecall(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if !r.ready.Load() {
			w.Header().Set("Retry-After", "5")
			http.Error(w, "nothing was taken: the history of the series is being read", http.StatusServiceUnavailable)
			return
		}
		h.ServeHTTP(w, req)
	})
}

// start reads the history and then lets senders in.
func (r *receivers) start(ctx context.Context, cfg config.Telemetry) error {
	listener, err := r.listen(ctx, cfg.OTLPListen)
	if err != nil {
		return err
	}
	r.d.tasks.Go(func() { r.sweep(r.d.ctx) })
	r.d.tasks.Go(func() {
		limited, cancel := context.WithTimeout(r.d.ctx, recallTimeout)
		defer cancel()
		r.recall(limited, cfg.WarmUp)
		r.ready.Store(true)
		r.d.tasks.Go(func() { r.rehearseAll(cfg.WarmUp) })
		if listener == nil {
			return
		}
		// Until now the system has kept connections waiting.
		if err := r.grpc.Serve(listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			r.d.fail(fmt.Errorf("serve OTLP: %w", err))
		}
	})
	return nil
}

// listen opens the OTLP receiver for gRPC, if one is configured.
func (r *receivers) listen(ctx context.Context, address string) (net.Listener, error) {
	if address == "" {
		return nil, nil //nolint:nilnil // there is none, and that is fine
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s for OTLP: %w; set telemetry.otlp_listen to a free address", address, err)
	}
	r.grpc = r.otlp.Server(otlp.GRPC{Authorize: func(ctx context.Context, token string) error {
		err := api.Authorize(ctx, r.d.store, token, now())
		switch {
		case errors.Is(err, api.ErrStoreAway):
			r.d.log.Error("a sender of OTLP had to be sent away", "error", err)
			return status.Error(codes.Unavailable, "the token cannot be checked now: the store does not answer")
		case errors.Is(err, api.ErrRole):
			return status.Error(codes.PermissionDenied, err.Error())
		}
		return err
	}})
	return limitConnections(listener, 0), nil
}

// close ends open calls, the slow ones by force.
func (r *receivers) close() {
	if r.grpc == nil {
		return
	}
	late := time.AfterFunc(stopGRPC, r.grpc.Stop)
	defer late.Stop()
	r.grpc.GracefulStop()
}

// recall reads the history of what is sent, so that a restart does not blind
// the forecasts. Until it is over nothing else is taken: a sample of the past
// that comes after one of now would be late.
func (r *receivers) recall(ctx context.Context, list []config.History) {
	for i, h := range list {
		cfg := warmUpFrom(i, h)
		for j, selector := range h.Selectors {
			// Whose a series is, the rules say.
			cfg.Queries = append(cfg.Queries, promql.Query{Name: fmt.Sprint(j), Query: selector, ServiceLabel: series.MetricLabel})
		}
		if len(cfg.Queries) == 0 {
			continue
		}
		r.d.log.Info("reading history; senders wait", "url", h.URL, "since", h.Since)
		n, err := r.recallFrom(ctx, cfg, h)
		r.historyRead(h, n, err)
	}
}

// warmUpFrom is who is asked for the history of what is sent, at a place of the list.
func warmUpFrom(i int, h config.History) promql.Config {
	return promql.Config{Name: fmt.Sprintf("telemetry.warm_up[%d]", i), URL: h.URL, Client: h.Config()}
}

// rehearseAll has the forecasts rehearse while everything goes on.
func (r *receivers) rehearseAll(list []config.History) {
	for i, h := range list {
		ctx, cancel := context.WithTimeout(r.d.ctx, rehearseTimeout)
		n, err := r.rehearse(ctx, warmUpFrom(i, h), h)
		cancel()
		r.historyRead(h, n, err)
	}
}

func (r *receivers) historyRead(h config.History, points int, err error) {
	if err != nil && r.d.ctx.Err() == nil {
		r.d.log.Warn("some of the history could not be read; forecasts know less for a while", "url", h.URL, "error", err)
	}
	r.d.log.Info("history read", "url", h.URL, "points", points)
}

// rehearse shows the forecasts what objectives and limits would have been held against.
func (r *receivers) rehearse(ctx context.Context, cfg promql.Config, h config.History) (n int, err error) {
	list, done := r.d.loop.Rehearsals()
	defer done()
	for i, one := range list {
		cfg.Queries = []promql.Query{{Name: fmt.Sprintf("objective %d", i), Query: one.Expr, ServiceLabel: series.MetricLabel}}
		past, err := promql.New(cfg, nil)
		if err != nil {
			return n, err
		}
		var stopped error
		read, err := past.History(ctx, now().Add(-h.Since.D()), h.Step.D(), func(labels map[string]string, history []promql.Point) {
			delete(labels, series.MetricLabel)
			for _, p := range history {
				if stopped = one.Observe(ctx, labels, time.UnixMilli(p.At), p.Value); stopped != nil {
					return
				}
			}
		})
		if n, err = n+read, errors.Join(err, stopped); err != nil {
			return n, err
		}
	}
	return n, nil
}

func (r *receivers) recallFrom(ctx context.Context, cfg promql.Config, h config.History) (int, error) {
	past, err := promql.New(cfg, nil)
	if err != nil {
		return 0, err
	}
	var key []byte
	var samples []series.Sample
	return past.History(ctx, now().Add(-h.Since.D()), h.Step.D(), func(labels map[string]string, history []promql.Point) {
		key, samples = key[:0], samples[:0]
		for _, name := range slices.Sorted(maps.Keys(labels)) {
			key = series.AppendLabel(key, name, labels[name])
		}
		for _, p := range history {
			samples = append(samples, series.Sample{At: p.At, Value: p.Value})
		}
		b := r.db.Begin(series.From{Sensor: remotewrite.Sensor, Source: cfg.Name, History: true})
		b.Append(key, series.Meta{}, samples...)
		b.End()
	})
}

// sweep lets time pass for the series until ctx ends.
func (r *receivers) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	refused := refusals{log: r.d.log}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			r.db.Sweep()
			refused.look(r.db.Stats().Samples, time.Now())
		}
	}
}

// reconfigure takes the rules and limits of a new configuration over. Targets
// reach the agents by the loop.
func (r *receivers) reconfigure(cfg *config.Config) error {
	r.know(cfg)
	return r.db.Reconfigure(cfg.Telemetry.Config)
}

// Shards and Do meet loop.Predictors.
func (r *receivers) Shards() int { return len(r.agents) }

// Do runs f on an agent while no sample reaches it.
func (r *receivers) Do(shard int, f func(*predict.Agent)) {
	r.db.Do(shard, func(series.Sink) { f(r.agents[shard]) })
}

// Describe meets prometheus.Collector; the set never changes.
func (r *receivers) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(r, out) }

// Collect meets prometheus.Collector.
func (r *receivers) Collect(out chan<- prometheus.Metric) {
	s := r.db.Stats()
	for _, c := range s.Samples {
		out <- prometheus.MustNewConstMetric(describe("grace_telemetry_samples_total", "Samples that senders sent, by what became of them.", "reason"),
			prometheus.CounterValue, float64(c.Count), c.Reason.String())
	}
	out <- prometheus.MustNewConstMetric(describe("grace_telemetry_series", "Series that are known."), prometheus.GaugeValue, float64(s.Series))
	out <- prometheus.MustNewConstMetric(describe("grace_telemetry_series_kept", "Series of which samples are kept, because an expression looks at them."),
		prometheus.GaugeValue, float64(s.Kept))
	for what, n := range map[string]uint64{"opened": s.Opened, "evicted": s.Evicted, "forgotten": s.Forgotten} {
		out <- prometheus.MustNewConstMetric(describe("grace_telemetry_series_total", "Series, by what became of them.", "kind"),
			prometheus.CounterValue, float64(n), what)
	}
	w, o := r.write.Stats(), r.otlp.Stats()
	for answer, n := range map[string]uint64{
		"taken": w.Taken, "partial": w.Partial, "malformed": w.Malformed, "too_large": w.TooLarge,
		"unsupported": w.Unsupported, "busy": w.Busy, "lost": w.Lost,
	} {
		out <- prometheus.MustNewConstMetric(describe("grace_remote_write_requests_total", "Remote-write requests, by their answer.", "answer"),
			prometheus.CounterValue, float64(n), answer)
	}
	for answer, n := range map[string]uint64{"all": o.Requests, "refused": o.Refused, "busy": o.Later} {
		out <- prometheus.MustNewConstMetric(describe("grace_otlp_requests_total", "OTLP requests, and how many of them were refused or told to retry.", "answer"),
			prometheus.CounterValue, float64(n), answer)
	}
}

// forecaster makes a sink of an agent.
type forecaster struct{ agent *predict.Agent }

func (f forecaster) Open(s series.Series) uint32 {
	return uint32(f.agent.Open(predict.Series{
		Service: s.Service, Metric: s.Metric, Labels: s.Labels, Role: s.Role, Unit: s.Unit, Falls: s.Direction == series.DirectionDown,
	}))
}

func (f forecaster) Append(h uint32, atMillis int64, v float64) {
	f.agent.Append(predict.Handle(h), atMillis, v)
}

// Close meets series.Sink.
func (f forecaster) Close(h uint32) { f.agent.Close(predict.Handle(h)) }
