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
)

// Finding is what one look at the surroundings found.
type Finding struct {
	Kind   string `json:"kind" doc:"sensor, query, objective, limit, check, metric, program, secret or receiver"`
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
	exprs, rules := judged(cfg), ruleExprs(cfg)
	db, err := lookInto(cfg, exprs, rules)
	if err != nil {
		return nil, err
	}
	list, err := d.buildSensors(soon(cfg), nil, nil, db)
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
			default:
				seen[i] = lookOnce(ctx, src)
			}
			db.Observe(seen[i].samples...)
		})
	}
	looking.Wait()
	for _, s := range seen {
		out = append(out, s.sensor)
	}
	more, err := selected(ctx, db, exprs)
	if err != nil {
		return nil, err
	}
	out = append(out, more...)
	out = append(out, rulesSeen(db, cfg, rules)...)
	out = append(out, unanswered(seen, exprs)...)
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

// gap is a query that a sensor asks and that gave nothing.
type gap struct{ metric, query, why string }

// lookEvery is the interval of sensors that are to look once: they begin within
// one, spread over it.
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
	answered, remote := false, 0
	for _, a := range q.Look(ctx) {
		failed := a.Samples[0].Kind == grace.SampleSensorError
		answered = answered || !failed
		empty := a.Elements == 0 && a.Query.Remote == nil // of what expressions ask they say it
		if failed || !empty {
			out.samples = append(out.samples, a.Samples...)
		}
		if !failed && a.Query.Remote != nil {
			remote++
		}
		switch {
		case failed || empty:
			why := cmp.Or(a.Problem, "its query has an empty answer: see in Prometheus whether all names and labels in it are there")
			out.gaps = append(out.gaps, gap{a.Query.Name, src.Name() + "/" + a.Query.String(), why})
		case a.Problem != "":
			partly = append(partly, a.Query.String()+": "+a.Problem)
		}
	}
	if !answered {
		out.gaps = nil // the sensor says it, once
	}
	if len(out.samples) == 0 {
		out.sensor = Finding{Kind: "sensor", Name: src.Name(), State: FoundWarning, Detail: "it answers, and no query has a value"}
		return out
	}
	own := slices.DeleteFunc(slices.Clone(out.samples), func(s grace.Sample) bool { return s.Service == "" && s.Kind == grace.SampleSeries })
	if out.sensor = finding(src, own, nil); len(own) == 0 {
		out.sensor.State, out.sensor.Detail = FoundOK, fmt.Sprintf("it answers what %d expressions ask", remote)
	}
	if len(partly) > 0 && out.sensor.State == FoundOK {
		out.sensor.State, out.sensor.Detail = FoundWarning, grace.Printable(strings.Join(partly, "; "))
	}
	return out
}

// lookOnce runs a sensor until its first samples have come.
func lookOnce(ctx context.Context, src source) sight {
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
		if len(samples) > 0 {
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
	return sight{finding(src, samples, err), samples, nil}
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
