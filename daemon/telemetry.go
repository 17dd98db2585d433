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
	"grace/internal/loop"
	"grace/internal/stage/predict"
	"grace/internal/telemetry"
	"grace/sensor/otlp"
	"grace/sensor/promql"
	"grace/sensor/remotewrite"
)

const (
	// sweepEvery is how often the intake looks for series that fell silent.
	sweepEvery = 5 * time.Second
	// forwardTimeout bounds how long a sender waits until its samples of
	// objectives are durable.
	forwardTimeout = 5 * time.Second
	// recallTimeout bounds how long senders wait for the history.
	recallTimeout = 2 * time.Minute
	// stopGRPC is how long open calls may take when the daemon stops.
	stopGRPC = 2 * time.Second
)

// receivers take series that others send, and hand them to forecasting agents
// of their own: one for each shard, so that senders do not wait for each other.
type receivers struct {
	d      *Daemon
	intake *telemetry.Intake
	agents []*predict.Agent // guarded by the intake's shards
	wanted atomic.Pointer[wants]
	ready  atomic.Bool // the history was read
	write  *remotewrite.Handler
	otlp   *otlp.Receiver
	grpc   *grpc.Server
}

// wants is what the configuration asks of telemetry.
type wants struct {
	services map[grace.ServiceID]bool
	// metrics are named by objectives and limits: what the intake calls them,
	// and as they are written, where that differs (dots).
	metrics map[metricID]string
	named   map[metricID]string
}

type metricID struct {
	service grace.ServiceID
	metric  string
}

func wantsOf(cfg *config.Config) *wants {
	w := &wants{services: map[grace.ServiceID]bool{}, metrics: map[metricID]string{}, named: map[metricID]string{}}
	name := func(service grace.ServiceID, metric string, wanted bool) {
		id := metricID{service, telemetry.Normal(metric)}
		w.named[id] = metric
		if wanted {
			w.metrics[id] = metric
		}
	}
	for _, s := range cfg.Services {
		w.services[s.ID] = true
	}
	for _, o := range cfg.Objectives {
		name(o.Service, o.Metric, true)
		if o.Total != "" {
			name(o.Service, o.Total, true)
		}
	}
	for _, l := range cfg.Limits {
		name(l.Service, l.Metric, false)
	}
	return w
}

// newReceivers builds the intake and its agents.
func newReceivers(d *Daemon) (*receivers, error) {
	r := &receivers{d: d}
	r.wanted.Store(wantsOf(d.cfg))
	var sinks []telemetry.Sink
	cfg := loopConfig(d.cfg, nil)
	targets := loop.Targets(&cfg)
	for range shards() {
		agent := predict.New(d.cfg.Predict, targets)
		agent.Silence(d.cfg.Govern.PredictiveShadow)
		r.agents = append(r.agents, agent)
		sinks = append(sinks, forecaster{agent, r.written})
	}
	var err error
	r.intake, err = telemetry.New(d.cfg.Telemetry.Config, telemetry.Options{
		Sinks: sinks,
		Known: func(id grace.ServiceID) bool { return r.wanted.Load().services[id] },
		Wanted: func(id grace.ServiceID, metric string) bool {
			return r.wanted.Load().metrics[metricID{id, metric}] != ""
		},
		Forward: func(samples []grace.Sample) error {
			ctx, cancel := context.WithTimeout(d.ctx, forwardTimeout)
			defer cancel()
			for i, s := range samples {
				samples[i].Metric = r.written(s.Service, s.Metric)
			}
			return d.loop.ObserveWithoutForecast(ctx, samples...)
		},
		Evicted: func(e telemetry.Eviction) {
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
	if r.write, err = remotewrite.New(write, r.intake, api.Sender); err != nil {
		return nil, err
	}
	r.otlp, err = otlp.New(metrics, r.intake)
	return r, err
}

// written gives a metric the name that an objective or a limit has for it.
func (r *receivers) written(service grace.ServiceID, metric string) string {
	if name := r.wanted.Load().named[metricID{service, metric}]; name != "" {
		return name
	}
	return metric
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
		cfg := promql.Config{Name: fmt.Sprintf("telemetry.warm_up[%d]", i), URL: h.URL, Client: h.Config(), Part: telemetry.HistoryPart}
		for j, selector := range h.Selectors {
			// Whose a series is, the rules say.
			cfg.Queries = append(cfg.Queries, promql.Query{Name: fmt.Sprint(j), Query: selector, ServiceLabel: telemetry.MetricLabel})
		}
		r.d.log.Info("reading history; senders wait", "url", h.URL, "since", h.Since)
		n, err := r.recallFrom(ctx, cfg, h)
		if err != nil && r.d.ctx.Err() == nil {
			r.d.log.Warn("some of the history could not be read; forecasts know less for a while", "url", h.URL, "error", err)
		}
		r.d.log.Info("history read", "url", h.URL, "points", n)
	}
}

func (r *receivers) recallFrom(ctx context.Context, cfg promql.Config, h config.History) (int, error) {
	past, err := promql.New(cfg)
	if err != nil {
		return 0, err
	}
	var key []byte
	var points []telemetry.Point
	return past.History(ctx, now().Add(-h.Since.D()), h.Step.D(), func(labels map[string]string, history []promql.Point) {
		key, points = key[:0], points[:0]
		for _, name := range slices.Sorted(maps.Keys(labels)) {
			key = telemetry.AppendLabel(key, name, labels[name])
		}
		for _, p := range history {
			points = append(points, telemetry.Point{At: p.At, Value: p.Value})
		}
		b := r.intake.Begin(telemetry.From{Sensor: remotewrite.Sensor, Source: cfg.Name, History: true})
		b.Points(key, telemetry.Meta{}, points...)
		b.End()
	})
}

// sweep lets time pass in the intake until ctx ends.
func (r *receivers) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	refused := refusals{log: r.d.log}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			r.intake.Sweep()
			refused.look(r.intake.Stats().Samples, time.Now())
		}
	}
}

// reconfigure takes the rules and limits of a new configuration over. Targets
// reach the agents by the loop.
func (r *receivers) reconfigure(cfg *config.Config) error {
	r.wanted.Store(wantsOf(cfg))
	return r.intake.Reconfigure(cfg.Telemetry.Config)
}

// Shards and Do meet loop.Predictors.
func (r *receivers) Shards() int { return len(r.agents) }

// Do runs f on an agent while no sample reaches it.
func (r *receivers) Do(shard int, f func(*predict.Agent)) {
	r.intake.Do(shard, func(telemetry.Sink) { f(r.agents[shard]) })
}

// Describe meets prometheus.Collector; the set never changes.
func (r *receivers) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(r, out) }

// Collect meets prometheus.Collector.
func (r *receivers) Collect(out chan<- prometheus.Metric) {
	s := r.intake.Stats()
	for _, c := range s.Samples {
		out <- prometheus.MustNewConstMetric(describe("grace_telemetry_samples_total", "Samples that senders sent, by what became of them.", "reason"),
			prometheus.CounterValue, float64(c.Count), c.Reason.String())
	}
	out <- prometheus.MustNewConstMetric(describe("grace_telemetry_series", "Series that are kept."), prometheus.GaugeValue, float64(s.Series))
	for what, n := range map[string]uint64{"opened": s.Opened, "evicted": s.Evicted, "forgotten": s.Forgotten} {
		out <- prometheus.MustNewConstMetric(describe("grace_telemetry_series_total", "Series, by what became of them.", "kind"),
			prometheus.CounterValue, float64(n), what)
	}
	out <- prometheus.MustNewConstMetric(describe("grace_telemetry_unsent_total", "Samples of objectives that were lost because they could not be written."),
		prometheus.CounterValue, float64(s.Unsent))
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
type forecaster struct {
	agent   *predict.Agent
	written func(service grace.ServiceID, metric string) string
}

// Open meets telemetry.Sink.
func (f forecaster) Open(s telemetry.Series) uint32 {
	return uint32(f.agent.Open(predict.Series{
		Service: s.Service, Metric: f.written(s.Service, s.Metric), Labels: s.Labels, Role: s.Role, Unit: s.Unit,
		Falls: s.Direction == telemetry.DirectionDown,
	}))
}

// Append meets telemetry.Sink.
func (f forecaster) Append(h uint32, atMillis int64, v float64) {
	f.agent.Append(predict.Handle(h), atMillis, v)
}

// Close meets telemetry.Sink.
func (f forecaster) Close(h uint32) { f.agent.Close(predict.Handle(h)) }
