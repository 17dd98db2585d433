package daemon

import (
	"context"
	"fmt"
	"os"
	"time"

	"grace"
	"grace/internal/config"
	"grace/internal/decide"
	"grace/internal/httpclient"
	"grace/internal/loop"
	"grace/internal/series"
	"grace/sensor/alertmanager"
	"grace/sensor/otlp"
	"grace/sensor/probe"
	"grace/sensor/prometheus"
	"grace/sensor/remotewrite"
)

// DecideConfig is the part of a configuration that decisions look at.
func DecideConfig(cfg *config.Config) decide.Config {
	return decide.Config{
		Services: cfg.Services, Playbooks: cfg.Playbooks, Diagnose: cfg.Diagnose, Propose: cfg.Propose, Govern: cfg.Govern,
		PredictEvery: cfg.Predict.Every.D(), HoldDown: cfg.HoldDown.D(), RecoverWithin: cfg.RecoverWithin.D(),
	}
}

func loopConfig(cfg *config.Config, origins map[string]any) loop.Config {
	return loop.Config{
		Config:     DecideConfig(cfg),
		Objectives: cfg.Objectives, Limits: cfg.Limits, Recordings: cfg.Recordings, RuleMap: loop.RuleMap{ServiceLabel: cfg.Rules.ServiceLabel, Rules: cfg.RuleMap()}, Probes: cfg.Probes(), Sense: cfg.Sense, Predict: cfg.Predict, TimeZone: cfg.Location.String(), Learn: cfg.Learn, ApprovalTTL: cfg.ApprovalTTL.D(), Mode: cfg.Mode, GroupWait: cfg.Diagnose.GroupWait.D(), AlertSource: fmt.Sprintf("%+v", origins[alertmanager.Sensor]), Sources: origins, EscalateAfter: cfg.EscalateAfter.D(), EscalateCritical: cfg.EscalateAfterCritical.D(),
	}
}

// buildSensors makes the sensors of a configuration. They do nothing yet. What
// they measure goes to db, of its past history is told.
func (d *Daemon) buildSensors(cfg *config.Config, origins map[string]any, history history, db *series.DB) ([]source, error) {
	var out []source
	for _, spec := range cfg.Sensors {
		src := source{service: spec.Service(), origin: origins[spec.Name()]}
		var err error
		switch {
		case spec.Probe != nil:
			src.kind, src.interval = spec.Probe.Type, spec.Probe.Interval.D()
			src.Sensor, err = probe.New(*spec.Probe)
		case spec.PromQL != nil:
			src.kind, src.interval = "promql", spec.PromQL.Interval.D()
			for _, q := range spec.PromQL.Queries {
				src.interval = max(src.interval, q.Interval.D())
			}
			src.Sensor, err = newQuerier(*spec.PromQL, spec.WarmUp, history, db, d.log)
			if src.origin != nil { // it reads the past of what is wanted when it starts
				src.origin = [...]any{src.origin, cfg.Objectives, cfg.Limits}
			}
		default:
			src.kind, src.interval = "prometheus", spec.Prometheus.Interval.D()
			src.Sensor, err = prometheus.New(*spec.Prometheus, db)
		}
		if err != nil {
			return nil, fmt.Errorf("sensor %q: %w", spec.Name(), err)
		}
		out = append(out, src)
	}
	if a := cfg.Alertmanager; a.URL != "" {
		reader, err := d.alertReader(a)
		if err != nil {
			return nil, err
		}
		out = append(out, source{Sensor: reader, kind: "alertmanager", interval: a.ReadEvery.D(), origin: origins[alertmanager.Sensor]})
	}
	for _, s := range d.opts.sensors {
		out = append(out, source{Sensor: s, kind: "extension", origin: origins[s.Name()]})
	}
	return out, nil
}

// origin is what makes a sensor. Secrets are in it by reference: they are read for
// every request, and no reload changes them.
type origin struct {
	spec any
	ca   string // the text of the file that says whom to trust, which is read once
}

func originOf(spec any, client httpclient.Config) origin {
	o := origin{spec: spec}
	if client.TLS.CA != "" {
		text, err := os.ReadFile(client.TLS.CA)
		if o.ca = string(text); err != nil { // then it cannot be built
			o.ca = err.Error()
		}
	}
	return o
}

// origins tells what makes each sensor, see loop.Config. What comes from elsewhere
// may mean something else with every change of the file.
func (d *Daemon) origins(cfg *config.Config) map[string]any {
	rest := *cfg
	rest.Needs = nil // what this machine has
	out := map[string]any{
		"": rest, alertmanager.Sensor: originOf(cfg.Alertmanager, cfg.Alertmanager.HTTP.Config()),
		otlp.Sensor: cfg.Telemetry.Config, remotewrite.Sensor: cfg.Telemetry.Config,
	}
	for _, dom := range d.domains {
		out[dom.Name()] = "a domain"
	}
	for _, s := range d.opts.sensors {
		out[s.Name()] = "an extension"
	}
	for _, spec := range cfg.Sensors {
		var client httpclient.Config
		switch {
		case spec.Probe != nil:
			client = spec.Probe.Client
		case spec.PromQL != nil:
			client = spec.PromQL.Client
		default:
			client = spec.Prometheus.Client
		}
		out[spec.Name()] = originOf(spec, client)
	}
	return out
}

// startSensors runs those of a list that do not run.
func (d *Daemon) startSensors(list []source) {
	for _, src := range list {
		if r, reads := src.Sensor.(*alertmanager.Reader); reads && !d.sensors.named(src.Name()) {
			d.alerts.Store(r)
		}
	}
	d.sensors.start(list)
}

// prober takes verification's measurements.
type prober struct{ d *Daemon }

const probeTimeout = 5 * time.Second

// Probe meets grace.Prober.
func (p prober) Probe(ctx context.Context, _ grace.ServiceID, c grace.Check, since time.Time) grace.Reading {
	switch c.Type {
	case grace.CheckHTTPHealth:
		return p.check(ctx, probe.Target{Type: probe.HTTP, URL: c.URL, Status: c.Status})
	case grace.CheckCommand:
		return p.check(ctx, probe.Target{Type: probe.Command, Argv: c.Argv})
	case grace.CheckExpr, grace.CheckTrend, grace.CheckCapacity:
		return p.d.loop.Measure(ctx, c, since)
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
	out := grace.Reading{At: r.At, OK: !r.Fault, Detail: r.Detail} // a check that could not be made is no data
	if r.OK {
		out.Value = 1
	}
	return out
}
