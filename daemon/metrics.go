package daemon

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"grace"
	"grace/domain/core"
)

// metrics is GET /metrics: the six key figures and what the machine room needs.
type metrics struct {
	registry  *prometheus.Registry
	decisions *prometheus.CounterVec
	deciding  prometheus.Histogram
	actions   *prometheus.HistogramVec
	recovery  *prometheus.HistogramVec
	rollbacks prometheus.Counter
	auto      prometheus.Counter
	runs      *prometheus.CounterVec

	decisionLabels, recoveryLabels, runLabels *bounded
}

func newMetrics(d *Daemon) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "grace_decisions_total", Help: "Decisions recorded, by service, code of the diagnosis and verdict.",
		}, []string{"service", "code", "decision"}),
		deciding: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "grace_decision_duration_seconds", Help: "Time of the deciding transaction, audit included.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}),
		actions: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "grace_action_duration_seconds", Help: "Time of a run's steps, by phase and outcome.",
			Buckets: prometheus.ExponentialBuckets(0.005, 2.5, 14),
		}, []string{"phase", "status"}),
		recovery: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "self_heal_mean_time_to_recover", Help: "Seconds from the first symptom to the recovery, of runs that this process ended.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 14),
		}, []string{"service", "playbook", "kind"}),
		rollbacks: prometheus.NewCounter(prometheus.CounterOpts{Name: "self_heal_rollbacks_total", Help: "Runs that this process ended and that undid something."}),
		auto: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "self_heal_auto_approved_total", Help: "Runs that this process started and that the trust core had approved, not a person.",
		}),
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "grace_runs_total", Help: "Runs that this process ended, by service, playbook, code of the diagnosis and end.",
		}, []string{"service", "playbook", "code", "status"}),
		decisionLabels: newBounded(2), recoveryLabels: newBounded(2), runLabels: newBounded(3),
	}
	m.registry.MustRegister(m.decisions, m.deciding, m.runs, sickCollector{d}, m.actions, m.recovery, m.rollbacks, m.auto, storeCollector{d}, d.telemetry,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "grace_samples_total", Help: "Samples observed."},
			func() float64 { return float64(d.loop.Stats().Samples()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "grace_triggers_total", Help: "Triggers made of signals and predictions."},
			func() float64 { return float64(d.loop.Stats().Triggers()) }), predictionCollector{d}, notifyCollector{d}, sensorCollector{d})
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "grace_build_info", Help: "Always 1; the version is the label.", ConstLabels: prometheus.Labels{"version": Version},
	})
	info.Set(1)
	m.registry.MustRegister(info)
	stats := d.loop.Stats()
	stats.OnDecision = m.decided
	stats.OnAction = func(step string, status grace.OutcomeStatus, took time.Duration) {
		phase, _, _ := strings.Cut(step, "/")
		m.actions.WithLabelValues(phase, string(status)).Observe(took.Seconds())
	}
	return m
}

// countRuns counts the runs that this process starts and ends, as the mesh tells
// of them, until ctx is done.
func (d *Daemon) countRuns(ctx context.Context) {
	d.follow(ctx, "runs in the metrics", func(e grace.Event) { d.countRun(ctx, e) }, "self_heal.run.*")
}

func (d *Daemon) countRun(ctx context.Context, e grace.Event) {
	state := grace.RunStatus(strings.TrimPrefix(e.Type, "self_heal.run."))
	if !state.Terminal() && state != grace.RunRunning {
		return
	}
	run, err := d.store.Run(ctx, d.store.Q(), grace.RunID(strings.TrimPrefix(e.Resource, "run/")))
	if err != nil || run.Owner != d.owner {
		return // another replica counts it
	}
	m := d.metrics
	switch {
	case state == grace.RunRunning:
		if run.Auto && run.Kind != grace.TriggerManual {
			m.auto.Inc()
		}
		return
	case run.Undone():
		m.rollbacks.Inc()
	}
	service, playbook := string(run.Service), string(run.Playbook.ID)
	m.runs.WithLabelValues(m.runLabels.labels(service, playbook, string(run.Code), string(state))...).Inc()
	if state == grace.RunSucceeded && run.Code != grace.CodeManual && !run.Unsure() {
		m.recovery.WithLabelValues(m.recoveryLabels.labels(service, playbook, string(run.Kind))...).Observe(run.RecoveredIn.D().Seconds())
	}
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: storeTime})
}

// storeCollector reads what lives in the store when it is asked. What cannot be
// read is left out; grace_store_up is what /readyz says.
type storeCollector struct{ d *Daemon }

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// Describe meets prometheus.Collector. Nothing is promised: the set depends on
// what can be read.
func (storeCollector) Describe(chan<- *prometheus.Desc) {}

// Collect meets prometheus.Collector.
func (c storeCollector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), storeTime)
	defer cancel()
	gauge := func(name, help string, v float64, labels ...string) {
		var names []string
		if len(labels) > 0 {
			names = []string{"kind"}
		}
		out <- prometheus.MustNewConstMetric(describe(name, help, names...), prometheus.GaugeValue, v, labels...)
	}
	up := 0.0
	if c.d.ready(ctx) == nil {
		up = 1
	}
	if counts, err := c.d.store.Count(ctx, c.d.store.Q(), now().Add(-24*time.Hour)); err == nil {
		gauge("grace_queue_depth", "What waits, by kind.", float64(counts.PendingTriggers), "triggers")
		gauge("grace_queue_depth", "What waits, by kind.", float64(counts.PendingApprovals), "approvals")
		gauge("grace_open_runs", "Runs that have not ended.", float64(counts.OpenRuns))
		gauge("grace_open_incidents", "Incidents that are open.", float64(counts.OpenIncidents))
	}
	gauge("grace_store_up", "1 when GRACE is ready: its store can be read and written.", up)
	steps, last := c.d.clock.stepped()
	out <- prometheus.MustNewConstMetric(describe("grace_clock_steps_total", "How often the wall clock was set since the start."),
		prometheus.CounterValue, float64(steps))
	gauge("grace_clock_last_step_seconds", "By how much the wall clock was set the last time; 0 when it was not.", last.Seconds())
	pending, stuck, refused := c.d.loop.WriteQueue()
	gauge("grace_queue_depth", "What waits, by kind.", float64(pending), "writes")
	waited := 0.0
	if !stuck.IsZero() {
		waited = now().Sub(stuck).Seconds()
	}
	gauge("grace_write_queue_stuck_seconds", "For how long nothing of the write queue could be written; 0 while it can.", waited)
	out <- prometheus.MustNewConstMetric(describe("grace_writes_refused_total", "Changes that were dropped because the store did not take them; the audit log names each."),
		prometheus.CounterValue, float64(refused))
	rules := c.d.loop.RuleStats()
	gauge("grace_rules_unmapped", "Rules that have found what no declared service is; it is shown all the same.", float64(rules.Unmapped))
	gauge("grace_recording_rules_failing", "Recording rules that cannot be evaluated.", float64(rules.Failing))
	if queued, _, err := c.d.engine.Depth(); err == nil {
		gauge("grace_queue_depth", "What waits, by kind.", float64(queued), "runs")
	}
	if lag, err := c.d.loop.EventLag(ctx); err == nil {
		gauge("grace_event_lag", "Committed events that this process has not carried to the mesh yet.", float64(lag))
	}
	if lag, err := c.d.loop.EngineLag(ctx); err == nil {
		gauge("grace_engine_lag_seconds", "Age of the oldest approved run that has not started.", lag.Seconds())
	}
	if k, err := c.d.loop.KPIs(ctx); err == nil {
		for name, v := range k.Metrics() {
			if name == core.MetricMeanTimeToRecover {
				continue // a histogram has this name
			}
			gauge(strings.ReplaceAll(name, ".", "_"), "Key figure over the last 24 hours (docs/kpis.md).", v)
		}
	}
}
