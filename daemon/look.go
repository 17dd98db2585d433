package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"grace"
	"grace/internal/config"
	"grace/internal/notify"
)

// Finding is what one look at the surroundings found.
type Finding struct {
	Kind   string `json:"kind" doc:"sensor, metric, program, secret or receiver"`
	Name   string `json:"name"`
	State  string `json:"state" doc:"ok, warning or failed"`
	Detail string `json:"detail,omitempty"`
}

// States of a finding.
const (
	FoundOK      = "ok"
	FoundWarning = "warning"
	FoundFailed  = "failed"
)

// lookTime is how long a sensor may take for its first sample, unless its own
// timeout is longer.
const lookTime = 10 * time.Second

// Look asks every sensor of a configuration once, and, with tell, has every
// receiver send a test message. Nothing is stored, and nothing is acted on.
func Look(ctx context.Context, cfg *config.Config, tell bool) ([]Finding, error) {
	var out []Finding
	for _, n := range cfg.Needs {
		f := Finding{Kind: n.Kind, Name: n.Name, State: FoundOK, Detail: n.Key}
		if n.Problem != "" {
			f.State, f.Detail = FoundFailed, n.Key+": "+n.Problem
		}
		out = append(out, f)
	}
	d := &Daemon{opts: collect(nil), log: slog.New(slog.DiscardHandler), cfg: cfg}
	none := grace.SinkFunc(func(context.Context, ...grace.Sample) error { return nil })
	list, err := d.lookers(soon(cfg), none)
	if err != nil {
		return nil, err
	}
	found := make([]Finding, len(list))
	seen := make([][]grace.Sample, len(list))
	var looking sync.WaitGroup
	for i, src := range list {
		looking.Go(func() { found[i], seen[i] = lookOnce(ctx, src) })
	}
	looking.Wait()
	out = append(out, found...)
	out = append(out, metricsSeen(cfg, slices.Concat(seen...))...)
	if !tell {
		return out, nil
	}
	n, err := notify.New(notifySettings(cfg), notify.Deps{Now: now, Log: d.log})
	if err != nil {
		return out, fmt.Errorf("build the receivers: %w", err)
	}
	tests, err := n.Test(ctx, "", "grace check")
	if err != nil {
		return out, fmt.Errorf("test the receivers: %w", err)
	}
	for _, t := range tests {
		f := Finding{Kind: "receiver", Name: t.Receiver, State: FoundOK}
		if !t.OK {
			f.State, f.Detail = FoundFailed, t.Error
		}
		out = append(out, f)
	}
	return out, nil
}

// lookEvery is the interval of sensors that are to look once: they begin within
// one, spread over it.
const lookEvery = grace.Duration(200 * time.Millisecond)

// soon gives a configuration whose sensors look at once.
func soon(cfg *config.Config) *config.Config {
	out := *cfg
	out.Sensors = slices.Clone(cfg.Sensors)
	for i, s := range out.Sensors {
		switch {
		case s.Probe != nil:
			p := *s.Probe
			p.Interval, s.Probe = lookEvery, &p
		case s.PromQL != nil:
			p := *s.PromQL
			p.Interval, p.Queries = lookEvery, slices.Clone(p.Queries)
			for j := range p.Queries {
				p.Queries[j].Interval = lookEvery
			}
			s.PromQL = &p
		case s.Prometheus != nil:
			p := *s.Prometheus
			p.Interval, s.Prometheus = lookEvery, &p
		}
		out.Sensors[i] = s
	}
	return &out
}

// lookers are the sensors of a configuration without their history, which a
// look does not need.
func (d *Daemon) lookers(cfg *config.Config, none grace.Sink) ([]source, error) {
	list, err := d.buildSensors(cfg, none)
	for i, src := range list {
		if q, ok := src.Sensor.(*querier); ok {
			list[i].Sensor = q.Sensor
		}
	}
	return list, err
}

// lookOnce runs a sensor until its first samples have come.
func lookOnce(ctx context.Context, src source) (Finding, []grace.Sample) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	var mu sync.Mutex
	var samples []grace.Sample
	first := make(chan struct{})
	var once sync.Once
	sink := grace.SinkFunc(func(_ context.Context, more ...grace.Sample) error {
		mu.Lock()
		defer mu.Unlock()
		samples = append(samples, more...)
		if len(samples) > 0 {
			once.Do(func() { close(first) })
		}
		return nil
	})
	ended := make(chan error, 1)
	go func() {
		defer func() {
			if v := recover(); v != nil {
				ended <- fmt.Errorf("panic: %v", v)
			}
		}()
		ended <- src.Run(ctx, sink)
	}()
	var err error
	select {
	case <-first:
		cancel()
		<-ended //nolint:errcheck // it was seen to work; how it ends when stopped says nothing
	case err = <-ended:
	case <-ctx.Done():
		<-ended //nolint:errcheck // likewise
	}
	mu.Lock()
	defer mu.Unlock()
	return finding(src, samples, err), samples
}

// finding judges what a sensor said.
func finding(src source, samples []grace.Sample, err error) Finding {
	f := Finding{Kind: "sensor", Name: src.Name(), State: FoundOK}
	var metrics []string
	for _, s := range samples {
		switch {
		case s.Kind == grace.SampleSensorError:
			f.State, f.Detail = FoundFailed, "GRACE cannot look: "+s.Message
			return f
		case s.Kind == grace.SampleProbe && s.Value == 0:
			f.State, f.Detail = FoundWarning, fmt.Sprintf("it looked, and %s is not well: %s", s.Service, s.Message)
		case s.Metric != "":
			metrics = append(metrics, s.Metric)
		}
	}
	switch {
	case err != nil && len(samples) == 0:
		f.State, f.Detail = FoundFailed, err.Error()
	case len(samples) == 0 && src.kind == "alertmanager":
		f.Detail = "no alert is firing"
	case len(samples) == 0:
		f.State, f.Detail = FoundFailed, fmt.Sprintf("no sample came in %s", lookTime)
	case f.Detail == "":
		slices.Sort(metrics)
		f.Detail = strings.Join(slices.Compact(metrics), ", ")
	}
	f.Detail = grace.Printable(f.Detail)
	return f
}

// metricsSeen says of each metric that is judged whether a look brought it.
func metricsSeen(cfg *config.Config, samples []grace.Sample) []Finding {
	type metric struct {
		service grace.ServiceID
		name    string
	}
	seen := map[metric]bool{}
	for _, s := range samples {
		seen[metric{s.Service, s.Metric}] = s.Kind != grace.SampleSensorError
	}
	var wanted []metric
	want := func(service grace.ServiceID, name string) {
		if m := (metric{service, name}); name != "" && !slices.Contains(wanted, m) {
			wanted = append(wanted, m)
		}
	}
	for _, o := range cfg.Objectives {
		want(o.Service, o.Metric)
		want(o.Service, o.Total)
	}
	for _, l := range cfg.Limits {
		want(l.Service, l.Metric)
	}
	var out []Finding
	for _, m := range wanted {
		f := Finding{Kind: "metric", Name: string(m.service) + "/" + m.name, State: FoundOK}
		if !seen[m] {
			f.State, f.Detail = FoundWarning, "no sensor gave it in one look: rates come with the second, and what others send is not seen here"
		}
		out = append(out, f)
	}
	return out
}
