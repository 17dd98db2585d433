package daemon

import (
	"cmp"
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
	"grace/internal/series"
	"grace/sensor/prometheus"
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

// lookTime is how long the look of one sensor may take.
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
	list, err := d.buildSensors(soon(cfg), nil, none)
	if err != nil {
		return nil, err
	}
	seen := make([]sight, len(list))
	var looking sync.WaitGroup
	for i, src := range list {
		looking.Go(func() {
			switch q, ok := src.Sensor.(*querier); {
			case ok:
				seen[i] = lookQueries(ctx, src, q)
			case i < len(cfg.Sensors):
				seen[i] = lookOnce(ctx, src, cfg.Sensors[i].Prometheus)
			default:
				seen[i] = lookOnce(ctx, src, nil)
			}
		})
	}
	looking.Wait()
	for _, s := range seen {
		out = append(out, s.sensor)
	}
	out = append(out, metricsSeen(cfg, seen)...)
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

// sight is what one look at a sensor gave.
type sight struct {
	sensor  Finding
	samples []grace.Sample
	gaps    []gap
}

// gap is a metric that a sensor is to give and did not.
type gap struct {
	service grace.ServiceID // none of a query whose answer names it
	metric  string
	why     string
}

// lookEvery is the interval of sensors that are to look once: they begin within
// one, spread over it, and look again while metrics are missing that need it.
const lookEvery = grace.Duration(500 * time.Millisecond)

// soon gives a configuration whose sensors look at once.
func soon(cfg *config.Config) *config.Config {
	out := *cfg
	out.Sensors = slices.Clone(cfg.Sensors)
	for i, s := range out.Sensors {
		switch {
		case s.Probe != nil:
			p := *s.Probe
			p.Interval, s.Probe = lookEvery, &p
		case s.Prometheus != nil:
			p := *s.Prometheus
			p.Interval, s.Prometheus = lookEvery, &p
		}
		out.Sensors[i] = s
	}
	return &out
}

// lookQueries asks every query of a sensor once.
func lookQueries(ctx context.Context, src source, q *querier) sight {
	ctx, cancel := context.WithTimeoutCause(ctx, lookTime, fmt.Errorf("no answer within %s", lookTime))
	defer cancel()
	var out sight
	var partly []string
	answered := false
	for _, a := range q.Look(ctx) {
		out.samples = append(out.samples, a.Samples...)
		failed := len(a.Samples) > 0 && a.Samples[0].Kind == grace.SampleSensorError
		answered = answered || !failed
		switch {
		case failed || len(a.Samples) == 0:
			why := cmp.Or(a.Problem, "its query has an empty answer: see in Prometheus whether all names and labels in it are there")
			out.gaps = append(out.gaps, gap{a.Query.Service, a.Query.Name, why})
		case a.Problem != "":
			partly = append(partly, a.Query.Name+": "+a.Problem)
		}
	}
	if !answered {
		out.gaps = nil // the sensor says it, once
	}
	if len(out.samples) == 0 {
		out.sensor = Finding{Kind: "sensor", Name: src.Name(), State: FoundWarning, Detail: "it answers, and no query has a value"}
		return out
	}
	out.sensor = finding(src, out.samples, nil)
	if len(partly) > 0 && out.sensor.State == FoundOK {
		out.sensor.State, out.sensor.Detail = FoundWarning, grace.Printable(strings.Join(partly, "; "))
	}
	return out
}

// lookOnce runs a sensor until its first samples have come, and, of a page that is
// scraped, until each of its metrics has come or is said to be missing.
func lookOnce(ctx context.Context, src source, page *prometheus.Config) sight {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	var mu sync.Mutex
	var samples []grace.Sample
	enough := make(chan struct{})
	var once sync.Once
	sink := grace.SinkFunc(func(_ context.Context, more ...grace.Sample) error {
		mu.Lock()
		defer mu.Unlock()
		samples = append(samples, more...)
		if _, wait := missing(page, samples); len(samples) > 0 && !wait {
			once.Do(func() { close(enough) })
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
	case <-enough:
		cancel()
		<-ended //nolint:errcheck // it was seen to work; how it ends when stopped says nothing
	case err = <-ended:
	case <-ctx.Done():
		<-ended //nolint:errcheck // likewise
	}
	mu.Lock()
	defer mu.Unlock()
	gaps, _ := missing(page, samples)
	return sight{finding(src, samples, err), samples, gaps}
}

// missing names the metrics that a page that was read did not give, and tells
// whether another look may bring one of them.
func missing(page *prometheus.Config, samples []grace.Sample) (gaps []gap, wait bool) {
	var said []string
	came := map[string]bool{}
	for _, s := range samples {
		switch {
		case s.Kind == grace.SampleMetric:
			came[s.Metric] = true
		case s.Kind == grace.SampleSensorError || s.Value == 0:
			return nil, false
		default:
			said = strings.Split(s.Message, "; ")
		}
	}
	if page == nil || len(samples) == 0 {
		return nil, false
	}
	for _, m := range page.Metrics {
		if came[m.Name] {
			continue
		}
		g := gap{page.Service, m.Name, fmt.Sprintf("no value in %s: a rate, ratio or quantile needs something to happen meanwhile", lookTime)}
		i := slices.IndexFunc(said, func(text string) bool { return strings.HasPrefix(text, m.Name+": ") })
		if i >= 0 {
			g.why = strings.TrimPrefix(said[i], m.Name+": ") + " (compare source and labels with the page)"
		}
		gaps, wait = append(gaps, g), wait || i < 0
	}
	return gaps, wait
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

// metricsSeen says of each metric that is judged whether a look brought it, and of
// each other one that a sensor is to give that it did not.
func metricsSeen(cfg *config.Config, looks []sight) []Finding {
	type metric struct {
		service grace.ServiceID
		name    string
	}
	seen := map[metric]bool{}
	why := map[metric]string{}
	var wanted []metric
	want := func(service grace.ServiceID, name string) {
		if m := (metric{service, name}); name != "" && !slices.Contains(wanted, m) {
			wanted = append(wanted, m)
		}
	}
	expr := func(service grace.ServiceID, text string) {
		if e, err := series.Compile(text); err == nil {
			for _, metric := range e.Metrics() {
				want(service, metric)
			}
		}
	}
	for _, o := range cfg.Objectives {
		expr(o.Service, o.Expr)
	}
	for _, l := range cfg.Limits {
		expr(l.Service, l.Expr)
	}
	for _, look := range looks {
		for _, s := range look.samples {
			seen[metric{s.Service, s.Metric}] = s.Kind != grace.SampleSensorError
		}
		for _, g := range look.gaps {
			why[metric{g.service, g.metric}] = g.why
			if g.service != "" || !slices.ContainsFunc(wanted, func(m metric) bool { return m.name == g.metric }) {
				want(g.service, g.metric)
			}
		}
	}
	var out []Finding
	for _, m := range wanted {
		f := Finding{Kind: "metric", Name: strings.TrimPrefix(string(m.service)+"/"+m.name, "/"), State: FoundOK}
		if !seen[m] {
			f.State = FoundWarning
			f.Detail = grace.Printable(cmp.Or(why[m], why[metric{"", m.name}], "no sensor gave it in one look; what others send is not seen here"))
		}
		out = append(out, f)
	}
	return out
}
