package daemon

import (
	"context"
	"encoding/pem"
	"errors"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"grace"
	"grace/internal/config"
	"grace/internal/patience"
	"grace/internal/series"
	"grace/sensor/alertmanager"
)

// allSensors has a sensor of every kind, and what else tells them what to do.
const allSensors = `
services: [{name: web, criticality: medium}]
sensors:
  - {name: front, type: http, url: 'https://127.0.0.1:1', service: web, headers: {X: '${env:TOKEN}'}, json: {a: "1"}, tls: {ca: CA}}
  - {name: port, type: tcp, address: '127.0.0.1:1', service: web}
  - {name: script, type: command, argv: ['true'], env: {A: b}, service: web}
  - name: page
    type: prometheus
    url: http://127.0.0.1:1/metrics
    service: web
  - {name: prom, type: promql, url: 'http://127.0.0.1:1', queries: [{name: slow, query: up, service: web}]}
objectives: [{name: slow, service: web, expr: 'slow{service="web"} > 1', code: latency_spike}]
change_windows: [{name: night, start: "01:00", end: "05:00", time_zone: Europe/Berlin}]
telemetry: {rules: [{metric: 'http_*', role: latency}]}
alertmanager: {url: 'http://127.0.0.1:1', map: [{match: {alertname: Down}, service: web}], http: {tls: {ca: CA}}}
`

// TestReadAgain: a file that is read again as it was makes the same configuration
// of the loop, and the same sensors; another makes others of those alone that it
// says something new of.
func TestReadAgain(t *testing.T) {
	t.Setenv("TOKEN", "x")
	dir := t.TempDir()
	ca, file := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "grace.yaml")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	srv := httptest.NewTLSServer(nil)
	defer srv.Close()
	trust := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}))
	write(ca, trust)
	text := strings.ReplaceAll(allSensors, "CA", ca)
	d := &Daemon{opts: collect(nil), log: slog.New(slog.DiscardHandler)}
	load := func() (*config.Config, []source) {
		t.Helper()
		cfg, problems := config.Load(file, d.opts.configOptions())
		if cfg == nil {
			t.Fatal(problems.Err())
		}
		d.cfg = cfg
		list, err := d.buildSensors(cfg, d.origins(cfg), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		return cfg, list
	}
	write(file, text)
	was, before := load()
	loopWas := loopConfig(was, d.origins(was))
	for name, tt := range map[string]struct {
		text, trust string
		other       []string
	}{
		"the same":      {text, trust, nil},
		"an address":    {strings.Replace(text, "'127.0.0.1:1', service", "'127.0.0.1:2', service", 1), trust, []string{"port"}},
		"a page":        {strings.Replace(text, "1/metrics", "2/metrics", 1), trust, []string{"page"}},
		"a reference":   {strings.Replace(text, "${env:TOKEN}", "${env:HOME}", 1), trust, []string{"front"}},
		"whom to trust": {text, trust + "\n", []string{"front", alertmanager.Sensor}},
		"a query":       {strings.Replace(text, "query: up", "query: down", 1), trust, []string{"prom"}},
		"how often":     {strings.Replace(text, "map: [", "read_every: 7s, map: [", 1), trust, []string{alertmanager.Sensor}},
	} {
		write(file, tt.text)
		write(ca, tt.trust)
		is, list := load()
		origins := d.origins(is)
		var other []string
		for i, src := range list {
			if !src.same(before[i]) {
				other = append(other, src.Name())
			}
		}
		if !slices.Equal(other, tt.other) {
			t.Errorf("%s: %v are others, want %v", name, other, tt.other)
		}
		loopIs := loopConfig(is, origins)
		if same := reflect.DeepEqual(loopWas, loopIs); same != (tt.other == nil) {
			t.Errorf("%s: the loop is told the same: %t", name, same)
		}
		if alerts := loopWas.AlertSource != loopIs.AlertSource; alerts != slices.Contains(tt.other, alertmanager.Sensor) {
			t.Errorf("%s: alerts are read in another way: %t", name, alerts)
		}
	}
}

// needle looks once, and then rarely.
type needle struct {
	name  string
	runs  atomic.Int32
	ended atomic.Pointer[error] // why, the last time
}

func (n *needle) Name() string { return n.name }

func (n *needle) Run(ctx context.Context, sink grace.Sink) error {
	n.runs.Add(1)
	err := sink.Observe(ctx, grace.Sample{Service: "web", Sensor: n.name, Metric: "m", Kind: grace.SampleProbe, Value: 1, At: now()})
	<-ctx.Done()
	why := context.Cause(ctx)
	n.ended.Store(&why)
	return err
}

// TestSensorsGoOn: what is as it was goes on over a change of the others, and what
// was stopped has ended, and knows whether another one of its name begins.
func TestSensorsGoOn(t *testing.T) {
	t.Parallel()
	var samples atomic.Int32
	s := &sensors{log: slog.New(slog.DiscardHandler), now: now, sink: grace.SinkFunc(func(context.Context, ...grace.Sample) error {
		samples.Add(1)
		return nil
	})}
	defer s.halt(nil)
	a, b := &needle{name: "a"}, &needle{name: "b"}
	s.start([]source{{Sensor: a, origin: 1}, {Sensor: b, origin: 1}})
	patience.Until(t, func() error {
		if samples.Load() != 2 {
			return context.DeadlineExceeded
		}
		return nil
	})
	began := map[string]time.Time{}
	for _, v := range s.views() {
		began[v.Name] = v.Since
	}
	other, c := &needle{name: "b"}, &needle{name: "c"}
	list := []source{{Sensor: &needle{name: "a"}, origin: 1}, {Sensor: other, origin: 2}, {Sensor: c}}
	for range 5 {
		stopped := s.halt(list)
		s.start(list)
		for _, src := range stopped {
			if src.Sensor == grace.Sensor(a) {
				t.Error("a was stopped, which is as it was")
			}
		}
	}
	patience.Until(t, func() error {
		if a.runs.Load() != 1 || b.runs.Load() != 1 || other.runs.Load() != 1 || c.runs.Load() != 5 { // of what nobody can tell
			return context.DeadlineExceeded
		}
		return nil
	})
	s.halt(list[:2])
	if !errors.Is(*b.ended.Load(), series.ErrReplaced) || errors.Is(*c.ended.Load(), series.ErrReplaced) {
		t.Errorf("b ended because %v, c because %v", *b.ended.Load(), *c.ended.Load())
	}
	s.start(list)
	views := s.views()
	if len(views) != 3 || !views[0].Since.Equal(began["a"]) || !views[1].Since.After(began["b"]) {
		t.Errorf("%+v, began %v", views, began)
	}
}
