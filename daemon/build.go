package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"grace"
	"grace/internal/api"
	"grace/internal/config"
	"grace/internal/loop"
	"grace/sensor/alertmanager"
	"grace/sensor/otlp"
	"grace/sensor/probe"
	"grace/sensor/prometheus"
	"grace/sensor/remotewrite"
)

func loopConfig(cfg *config.Config) loop.Config {
	return loop.Config{
		Services: cfg.Services, Playbooks: cfg.Playbooks, Objectives: cfg.Objectives, Limits: cfg.Limits, Probes: cfg.Probes(),
		Sense: cfg.Sense, Predict: cfg.Predict, Diagnose: cfg.Diagnose, Propose: cfg.Propose, Govern: cfg.Govern, Learn: cfg.Learn,
		ApprovalTTL: cfg.ApprovalTTL.D(), Mode: cfg.Mode, GroupWait: cfg.Diagnose.GroupWait.D(), PredictEvery: cfg.Predict.Every.D(),
		AlertSource: fmt.Sprintf("%+v", cfg.Alertmanager),
		HoldDown:    cfg.HoldDown.D(), RecoverWithin: cfg.RecoverWithin.D(),
		EscalateAfter: cfg.EscalateAfter.D(), EscalateCritical: cfg.EscalateAfterCritical.D(),
	}
}

// buildSensors makes the sensors of a configuration. They do nothing yet. What
// they read of the past goes to history.
func (d *Daemon) buildSensors(cfg *config.Config, history grace.Sink) ([]grace.Sensor, error) {
	var out []grace.Sensor
	for _, spec := range cfg.Sensors {
		var s grace.Sensor
		var err error
		switch {
		case spec.Probe != nil:
			s, err = probe.New(*spec.Probe)
		case spec.PromQL != nil:
			s, err = newQuerier(*spec.PromQL, spec.WarmUp, history, d.log)
		default:
			s, err = prometheus.New(*spec.Prometheus)
		}
		if err != nil {
			return nil, fmt.Errorf("sensor %q: %w", spec.Name(), err)
		}
		out = append(out, s)
	}
	return append(out, d.opts.sensors...), nil
}

// sensorNames are the sources that nobody outside may speak as.
func (d *Daemon) sensorNames() []string {
	names := []string{alertmanager.Sensor, otlp.Sensor, remotewrite.Sensor, "objective"}
	for _, spec := range d.config().Sensors {
		names = append(names, spec.Name())
	}
	for _, s := range d.opts.sensors {
		names = append(names, s.Name())
	}
	for _, domain := range d.domains {
		names = append(names, domain.Name())
	}
	return names
}

// sensors runs a set of sensors that can be swapped.
type sensors struct {
	log    *slog.Logger
	sink   grace.Sink
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// replace stops the running sensors, waits for them, and runs the given ones.
func (s *sensors) replace(list []grace.Sensor) {
	if s.cancel != nil {
		s.cancel()
		s.done.Wait()
		s.cancel = nil
	}
	if len(list) == 0 {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	for _, sensor := range list {
		s.done.Go(func() {
			if err := sensor.Run(ctx, s.sink); err != nil && ctx.Err() == nil {
				s.log.Error("sensor gave up; its signals go stale", "sensor", sensor.Name(), "error", err)
			}
		})
	}
}

// alertmanager gives what the webhook trusts now, its secrets resolved.
func (d *Daemon) alertmanager() api.Alertmanager {
	c := d.config().Alertmanager
	out := api.Alertmanager{Mapping: alertmanager.Mapping{
		ServiceLabel: c.ServiceLabel, CodeLabel: c.CodeLabel, SeverityLabel: c.SeverityLabel,
	}}
	for _, r := range c.Map {
		out.Mapping.Map = append(out.Mapping.Map, alertmanager.Rule{Match: r.Match, Service: r.Service, Code: r.Code, Severity: r.Severity})
	}
	bearer, _, err := grace.ExpandSecrets(c.Bearer)
	hmac, _, errHMAC := grace.ExpandSecrets(c.HMAC)
	if err != nil || errHMAC != nil {
		// Without its secret the webhook only takes tokens of our own.
		d.log.Error("the Alertmanager webhook's secret cannot be read", "bearer", err, "hmac", errHMAC)
		return out
	}
	out.Bearer, out.HMAC = bearer, []byte(hmac)
	return out
}

// prober takes verification's measurements.
type prober struct{ d *Daemon }

const probeTimeout = 5 * time.Second

// Probe meets grace.Prober.
func (p prober) Probe(ctx context.Context, service grace.ServiceID, c grace.Check, since time.Time) grace.Reading {
	switch c.Type {
	case grace.CheckHTTPHealth:
		return p.check(ctx, probe.Target{Type: probe.HTTP, URL: c.URL, Status: c.Status})
	case grace.CheckCommand:
		return p.check(ctx, probe.Target{Type: probe.Command, Argv: c.Argv})
	case grace.CheckMetricThreshold, grace.CheckMetricTrend, grace.CheckCapacity:
		v, at, every, ok := p.d.loop.Metric(service, c.Metric, since)
		if !ok {
			return grace.Reading{Every: every, Detail: fmt.Sprintf("no sample of %s/%s since %s", service, c.Metric, since.UTC().Format(time.TimeOnly))}
		}
		return grace.Reading{At: at, Value: v, OK: true, Every: every, Detail: fmt.Sprintf("%s %g", c.Metric, v)}
	}
	return grace.Reading{Detail: fmt.Sprintf("unknown check type %q", c.Type)}
}

func (p prober) check(ctx context.Context, t probe.Target) grace.Reading {
	t.Timeout = grace.Duration(probeTimeout)
	checker, err := probe.NewChecker(t)
	if err != nil {
		return grace.Reading{Detail: err.Error()}
	}
	r := checker.Check(ctx)
	out := grace.Reading{At: r.At, OK: true, Detail: r.Detail}
	if r.OK {
		out.Value = 1
	}
	return out
}
