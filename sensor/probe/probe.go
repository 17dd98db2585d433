// Package probe is the sensor that asks a service from outside: over HTTP, by a
// TCP connection, or with a command.
//
// A [Checker] takes one measurement, bounded by its timeout; verification uses
// it as it is. A [Probe] is a grace.Sensor: it checks on an interval, begins at
// an offset drawn from its seed (so that many probes do not all ask at once)
// and yields
//
//	http_health | tcp_health | command_health   probe: 1 passed, 0 failed, with the reason
//	probe_duration_seconds                      metric, of HTTP and TCP: how long it took, also to fail
//	probe_http_status_code                      metric, of HTTP: 0 when there was no answer
//	<number>                                    metric, of a command with a format
//
// The metrics are named as blackbox_exporter names them. A target that does not answer
// is a failed sample. What a failure means, unless Config.Code says otherwise:
//
//	refused, reset, no route to it, no such host, exit   service_down
//	no answer in time after the connection was accepted  latency_spike
//	a status or body that was not wanted, a redirect     elevated_errors
//
// A check that could not be made for GRACE's own reasons is no failure: a secret
// that is missing or holds a line break, a program that is not there or cannot
// be run (exit codes 126 and 127), a script that its interpreter cannot run, an
// address that cannot exist, a proxy that is away or refuses, no permission, no
// network, no file descriptors; nor is one during which GRACE itself stood still. Its
// sample has the kind sensor_error.
//
// A sample is dated when its check began, so that it is no evidence of anything
// later.
//
// Checks of one probe never overlap; a slow one delays the next. Samples that
// the sink refuses are counted in Lost.
package probe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"grace"
)

// Defaults of Config.
const (
	DefaultInterval = 10 * time.Second
	DefaultTimeout  = 5 * time.Second
)

// Metrics of a probe.
const (
	Duration   = "probe_duration_seconds"
	StatusCode = "probe_http_status_code"
)

// Config of a probe. Left out values get the defaults named at the fields.
type Config struct {
	Name     string
	Service  grace.ServiceID
	Interval grace.Duration // default 10s
	Code     grace.Code     // of every failure; default by what went wrong
	Severity grace.Severity // default critical
	Seed     uint64         // of the first check's offset within the interval
	Target
}

// Validate names everything that is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	if c.Name == "" {
		errs = append(errs, grace.Field("name", "is missing"))
	}
	if c.Service == "" {
		errs = append(errs, grace.Field("service", "is missing: say which service the probe is about"))
	}
	if c.Interval < 0 {
		errs = append(errs, grace.Field("interval", "%s is negative", c.Interval))
	}
	if !c.Severity.Valid() {
		errs = append(errs, grace.Field("severity", "%q: want info, warning or critical", c.Severity))
	}
	return errors.Join(append(errs, c.Target.Validate())...)
}

func (c Config) withDefaults() Config {
	if c.Interval == 0 {
		c.Interval = grace.Duration(DefaultInterval)
	}
	if c.Timeout == 0 {
		c.Timeout = min(grace.Duration(DefaultTimeout), c.Interval)
	}
	if c.Severity == "" {
		c.Severity = grace.SeverityCritical
	}
	return c
}

// Probe is the sensor.
type Probe struct {
	cfg     Config
	checker *Checker
	lost    atomic.Uint64
}

var _ grace.Sensor = (*Probe)(nil)

// New makes a probe, or says what is wrong with its configuration.
func New(cfg Config) (*Probe, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("probe %s: %w", cfg.Name, err)
	}
	cfg = cfg.withDefaults()
	checker, err := NewChecker(cfg.Target)
	if err != nil {
		return nil, fmt.Errorf("probe %s: %w", cfg.Name, err)
	}
	return &Probe{cfg: cfg, checker: checker}, nil
}

// Name gives the configured name.
func (p *Probe) Name() string { return p.cfg.Name }

// Lost counts samples that the sink refused.
func (p *Probe) Lost() uint64 { return p.lost.Load() }

// Check takes one measurement now.
func (p *Probe) Check(ctx context.Context) Result { return p.checker.Check(ctx) }

// Run checks until ctx is done.
func (p *Probe) Run(ctx context.Context, sink grace.Sink) error {
	next := time.NewTimer(p.offset())
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-next.C:
		}
		began := time.Now()
		result := p.checker.Check(ctx)
		if ctx.Err() != nil {
			return nil // cut short by the end: it says nothing about the target
		}
		samples := p.samples(result)
		if err := sink.Observe(ctx, samples...); err != nil {
			p.lost.Add(uint64(len(samples)))
		}
		next.Reset(max(0, p.cfg.Interval.D()-time.Since(began)))
	}
}

// offset lies within the interval and is the same for the same seed and name.
func (p *Probe) offset() time.Duration {
	h := fnv.New64a()
	_, _ = h.Write([]byte(p.cfg.Name))
	rnd := rand.New(rand.NewPCG(p.cfg.Seed, h.Sum64()))
	return time.Duration(rnd.Int64N(int64(p.cfg.Interval)))
}

func (p *Probe) samples(r Result) []grace.Sample {
	health := grace.Sample{
		Service: p.cfg.Service, Sensor: p.cfg.Name, Metric: p.cfg.Type + "_health",
		Kind: grace.SampleProbe, At: r.At, Severity: cmp.Or(r.Severity, p.cfg.Severity), Message: r.Detail,
	}
	switch {
	case r.Fault:
		health.Kind = grace.SampleSensorError
	case r.OK:
		health.Value = 1
	default:
		health.Code = cmp.Or(p.cfg.Code, r.Code)
	}
	out := []grace.Sample{health}
	for _, n := range r.Numbers {
		out = append(out, grace.Sample{
			Service: p.cfg.Service, Sensor: p.cfg.Name, Metric: n.Name, Kind: grace.SampleMetric, Value: n.Value, Unit: n.Unit, At: r.At,
		})
	}
	if r.Fault || p.cfg.Type == Command {
		return out
	}
	metric := grace.Sample{Service: p.cfg.Service, Sensor: p.cfg.Name, Kind: grace.SampleMetric, At: r.At}
	metric.Metric, metric.Value, metric.Unit = Duration, r.Latency.Seconds(), "s"
	out = append(out, metric)
	if p.cfg.Type == HTTP {
		metric.Metric, metric.Value, metric.Unit = StatusCode, float64(r.Status), ""
		out = append(out, metric)
	}
	return out
}
