package loop

import (
	"fmt"
	"testing"
	"time"

	"grace"
	"grace/internal/series"
)

// verified is a configuration whose only playbook is verified so, on every service.
func verified(cfg *Config, exprs ...string) {
	p := grace.Playbook{
		ID: "drain", Parameters: []grace.Parameter{{Name: "shard", Type: grace.ParameterString, Default: "a"}, {Name: "limit", Type: grace.ParameterInt, Default: 5}},
		Binding: grace.Binding{Steps: []grace.Step{{Name: "drain", Action: "noop", Irreversible: true}}},
	}
	for _, e := range exprs {
		p.Verify = append(p.Verify, grace.Check{Type: grace.CheckExpr, Expr: e})
	}
	cfg.Playbooks = append(cfg.Playbooks, p)
}

// What a run is verified by is kept before anybody asks, also with parameters that only a
// run by hand has; what the configuration does not know is from the first question on, over
// a reload.
func TestMeasure(t *testing.T) {
	t.Parallel()
	service := benchService(1)
	var cfg Config
	l, pass := wound(t, func(c *Config) {
		verified(c, `queue{service="${service}",shard="${shard}"} < ${limit}`, `depth{service="${service}"} < 5`)
		cfg = *c
	})
	put := func(metric, shard string, v float64) {
		t.Helper()
		s := grace.Sample{Service: service, Sensor: "test", Metric: metric, Kind: grace.SampleMetric, At: l.Now(), Value: v, Labels: map[string]string{"shard": shard}}
		if err := l.Observe(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	since := l.Now()
	ask := func(ok bool, value float64, expr string) {
		t.Helper()
		r := l.Measure(t.Context(), grace.Check{Type: grace.CheckExpr, Expr: fmt.Sprintf(expr, service)}, since)
		if r.OK != ok || r.Value != value {
			t.Errorf("%s: %+v", expr, r)
		}
	}
	both := func(a, b float64) {
		pass()
		put("queue", "a", a)
		put("queue", "b", b)
		put("lag", "a", 1)
	}
	both(3, 9)
	ask(true, 1, `queue{service=%q,shard="a"} < 5`)
	ask(true, 0, `queue{service=%q,shard="b"} < 5`)
	ask(true, 0, `queue{service=%q} < 5`) // one of two fails
	ask(true, 1, `queue{service=%q} < 10`)
	ask(false, 0, `queue{service=%q,shard="c"} < 5`)
	ask(false, 0, `queue{service=%q`)
	ask(false, 0, `queue{service=%q} + on (service) queue < 5`) // it cannot be evaluated
	ask(false, 0, `lag{service=%q} < 5`)
	both(3, 3)
	ask(true, 1, `lag{service=%q} < 5`)
	cfg.Services = cfg.Services[:len(cfg.Services)-1]
	if err := l.Reconfigure(t.Context(), cfg, "test"); err != nil {
		t.Fatal(err)
	}
	ask(true, 1, `lag{service=%q} < 5`)
	since = l.Now().Add(time.Millisecond)
	ask(false, 0, `queue{service=%q,shard="a"} < 5`)
	pass()
	put("queue", "a", 3)
	ask(true, 1, `queue{service=%q,shard="a"} < 5`)
	ask(false, 0, `queue{service=%q} < 5`) // one was measured before
	put("depth", "a", 1)
	ask(true, 1, `depth{service=%q} < 5`)
	cfg.Playbooks = nil // while a run of it is verified
	if err := l.Reconfigure(t.Context(), cfg, "test"); err != nil {
		t.Fatal(err)
	}
	ask(true, 1, `depth{service=%q} < 5`)
}

// What open runs ask is forgotten when they have ended.
func TestMeasuredNoMore(t *testing.T) {
	t.Parallel()
	l, pass := wound(t, func(*Config) {})
	for i := range 3 * int(askedFor/time.Minute) {
		for range 60 {
			pass()
		}
		l.Measure(t.Context(), grace.Check{Type: grace.CheckExpr, Expr: fmt.Sprintf(`queue{run="%d"} < 5`, i)}, l.Now())
	}
	if n := len(l.runChecks); n > int(askedFor/time.Minute)+1 {
		t.Errorf("%d expressions are watched", n)
	}
}

// BenchmarkChecks is what a reload costs by the checks of 1,000 services.
func BenchmarkChecks(b *testing.B) {
	cfg := benchConfig(1000)
	for range 5 {
		verified(&cfg, `histogram_quantile(0.99, sum by (le) (rate(latency_seconds_bucket{service="${service}"}[1m]))) < 0.3`,
			`sum(rate(errors_total{service="${service}"}[1m])) / sum(rate(requests_total{service="${service}"}[1m])) < 0.05`, `up{service="${service}"} == 1`)
	}
	b.Run("compile", func(b *testing.B) {
		for b.Loop() {
			checks(&cfg)
		}
	})
	for metric, what := range map[string]string{"up": "which are looked at", "other_usage": "which are not"} {
		b.Run("watch 100,000 series, "+what, func(b *testing.B) {
			db, err := series.New(series.DefaultConfig(), series.Options{Known: func(grace.ServiceID) bool { return true }})
			if err != nil {
				b.Fatal(err)
			}
			list := checks(&cfg)
			db.Watch(list)
			for i := range 100_000 {
				db.Observe(grace.Sample{
					Service: benchService(i % 1000), Sensor: fmt.Sprint(i / 1000), Metric: metric, Kind: grace.SampleMetric, At: time.Now(), Value: 1,
					Labels: map[string]string{"pod": fmt.Sprint(i)},
				})
			}
			for b.Loop() {
				db.Watch(list)
			}
		})
	}
}
