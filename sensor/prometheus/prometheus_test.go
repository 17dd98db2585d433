package prometheus_test

import (
	"context"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"grace"
	"grace/gracetest"
	"grace/internal/httpclient"
	"grace/internal/patience"
	"grace/sensor/prometheus"
)

// target answers each scrape with the next page; the last one stays.
func target(t *testing.T, pages ...string) string {
	t.Helper()
	var mu sync.Mutex
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		page := pages[0]
		if len(pages) > 1 {
			pages = pages[1:]
		}
		if page == "500" {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		fmt.Fprint(w, page)
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// scrapes runs a sensor for n scrapes and gives the samples of each.
func scrapes(t *testing.T, n int, cfg prometheus.Config) [][]grace.Sample {
	t.Helper()
	cfg.Name, cfg.Service, cfg.Interval = "metrics", "shop", grace.Duration(20*time.Millisecond)
	if cfg.Timeout == 0 {
		cfg.Timeout = grace.Duration(5 * time.Second)
	}
	s, err := prometheus.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out [][]grace.Sample
	sink := grace.SinkFunc(func(_ context.Context, samples ...grace.Sample) error {
		if out = append(out, samples); len(out) == n {
			cancel()
		}
		return nil
	})
	if err := s.Run(ctx, sink); err != nil {
		t.Fatal(err)
	}
	if len(out) < n {
		t.Fatalf("%d scrapes, want %d", len(out), n)
	}
	for _, samples := range out {
		if samples[0].Metric != "up" || samples[0].Kind != grace.SampleProbe && samples[0].Kind != grace.SampleSensorError {
			t.Fatalf("the first sample is %+v", samples[0])
		}
	}
	return out[:n]
}

func value(samples []grace.Sample, metric string) float64 {
	for _, s := range samples {
		if s.Metric == metric {
			return s.Value
		}
	}
	return math.NaN()
}

const page1 = `# TYPE requests_total counter
requests_total{code="200",path="/a"} 100
requests_total{code="200",path="/b"} 50
requests_total{code="500",path="/a"} 1
# TYPE temperature gauge
temperature{room="a"} 20
temperature{room="b"} 22.5
untyped_thing 7
# TYPE latency_seconds histogram
latency_seconds_bucket{path="/a",le="0.1"} 10
latency_seconds_bucket{path="/a",le="0.5"} 10
latency_seconds_bucket{path="/a",le="1"} 10
latency_seconds_bucket{path="/a",le="+Inf"} 10
latency_seconds_sum{path="/a"} 0.5
latency_seconds_count{path="/a"} 10
# TYPE size_bytes summary
size_bytes{quantile="0.5"} 3
size_bytes_sum 30
size_bytes_count 10
`

const page2 = `# TYPE requests_total counter
requests_total{code="200",path="/a"} 130
requests_total{code="200",path="/b"} 20
requests_total{code="500",path="/a"} 11
requests_total{code="500",path="/b"} 5
# TYPE latency_seconds histogram
latency_seconds_bucket{path="/a",le="0.1"} 60
latency_seconds_bucket{path="/a",le="0.5"} 100
latency_seconds_bucket{path="/a",le="1"} 110
latency_seconds_bucket{path="/a",le="+Inf"} 110
latency_seconds_sum{path="/a"} 12
latency_seconds_count{path="/a"} 110
`

func TestMetrics(t *testing.T) {
	ok := map[string]string{"code": "200"}
	bad := map[string]string{"code": "500"}
	metrics := []prometheus.Metric{
		{Name: "all", Source: "requests_total", As: "rate"},
		{Name: "ok", Source: "requests_total", Labels: ok},
		{Name: "heat", Source: "temperature", Labels: map[string]string{"room": "b"}, As: "value"},
		{Name: "thing", Source: "untyped_thing"},
		{Name: "ratio", Source: "requests_total", Labels: bad, As: "ratio", Over: &prometheus.Series{Source: "requests_total"}, Scale: 100},
		{Name: "p50", Source: "latency_seconds", As: "quantile", Quantile: .5, Scale: 1000, Unit: "ms"},
		{Name: "p90", Source: "latency_seconds", As: "quantile", Quantile: .9},
		{Name: "count", Source: "latency_seconds_count"},
		{Name: "sum", Source: "size_bytes_sum"},
		{Name: "speed", Source: "requests_total", Labels: bad, As: "per_second"},
		{Name: "none", Source: "no_such_family"},
		{Name: "unmatched", Source: "temperature", Labels: map[string]string{"room": "c"}},
		{Name: "wrong", Source: "latency_seconds"},
	}
	got := scrapes(t, 2, prometheus.Config{URL: target(t, page1, page2), Metrics: metrics})
	check := func(scrape int, want map[string]float64) {
		t.Helper()
		for name, w := range want {
			if v := value(got[scrape], name); math.Abs(v-w) > 1e-9 {
				t.Errorf("scrape %d: %s is %v, want %v", scrape, name, v, w)
			}
		}
		if len(got[scrape]) != len(want) {
			t.Errorf("scrape %d: %d samples, want %d: %+v", scrape, len(got[scrape]), len(want), got[scrape])
		}
	}
	check(0, map[string]float64{"up": 1, "all": 151, "ok": 150, "heat": 22.5, "thing": 7, "count": 10, "sum": 30})
	// Requests grew by 30, by 20 (reset from 50), by 10 and by 5 (new): 15 of 65.
	// 100 observations: 50 up to 0.1, 40 more up to 0.5, 10 more up to 1.
	elapsed := got[1][0].At.Sub(got[0][0].At).Seconds()
	check(1, map[string]float64{
		"up": 1, "all": 166, "ok": 150, "ratio": 100 * 15.0 / 65, "p50": 100, "p90": .5, "count": 110, "speed": 15 / elapsed,
	})
	for _, text := range []string{"none: no such series: no_such_family", `unmatched: no such series: temperature{room="c"}`, "wrong: it is a histogram"} {
		if !strings.Contains(got[0][0].Message, text) {
			t.Errorf("up says %q, want %q", got[0][0].Message, text)
		}
	}
}

func hist(le01, le1, inf int) string {
	return fmt.Sprintf("# TYPE h histogram\nh_bucket{le=\"0.1\"} %d\nh_bucket{le=\"1\"} %d\nh_bucket{le=\"+Inf\"} %d\nh_sum 1\nh_count %d\n", le01, le1, inf, inf)
}

func TestQuantileEdges(t *testing.T) {
	for _, tt := range []struct {
		name  string
		pages []string
		want  float64 // NaN: no sample
	}{
		{"nothing observed", []string{hist(5, 5, 5), hist(5, 5, 5)}, math.NaN()},
		{"reset counts from zero", []string{hist(100, 100, 100), hist(0, 10, 10)}, .1 + .9*.5},
		{"reset although a bucket grew", []string{hist(5, 100, 100), hist(10, 20, 20)}, .1},
		{"above the last bound", []string{hist(0, 0, 0), hist(0, 0, 10)}, 1},
		{"in the first bucket", []string{hist(0, 0, 0), hist(10, 10, 10)}, .05},
		{"bridges a failed scrape", []string{hist(0, 0, 0), "500", hist(10, 10, 10)}, .05},
		{"not from one scrape", []string{hist(5, 5, 5)}, math.NaN()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := len(tt.pages)
			got := scrapes(t, n, prometheus.Config{
				URL: target(t, tt.pages...), Metrics: []prometheus.Metric{{Name: "q", Source: "h", As: "quantile", Quantile: .5}},
			})
			v := value(got[n-1], "q")
			if math.IsNaN(tt.want) != math.IsNaN(v) || math.Abs(v-tt.want) > 1e-9 {
				t.Errorf("%v, want %v", v, tt.want)
			}
		})
	}
}

func TestRatioWithoutErrorsYet(t *testing.T) {
	got := scrapes(t, 2, prometheus.Config{
		URL:     target(t, "all_total 10\n", "all_total 20\n"),
		Metrics: []prometheus.Metric{{Name: "r", Source: "errors_total", As: "ratio", Over: &prometheus.Series{Source: "all_total"}}},
	})
	if v := value(got[1], "r"); v != 0 {
		t.Errorf("ratio %v, want 0", v)
	}
	if m := got[1][0].Message; !strings.Contains(m, "errors_total, counted as 0") {
		t.Errorf("up says %q", m)
	}
}

func headers(value string) httpclient.Config {
	return httpclient.Config{Auth: httpclient.Auth{Headers: map[string]string{"A": value}}}
}

func TestFailures(t *testing.T) {
	t.Setenv("SCRAPE_TOKEN", "t0ken")
	hang := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(hang.Close)
	closed := httptest.NewServer(nil)
	closed.Close()
	away := httptest.NewServer(http.RedirectHandler(target(t, page1), http.StatusFound))
	t.Cleanup(away.Close)
	const many = "x 1\n" +
		"# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n"
	for name, tt := range map[string]struct {
		cfg  prometheus.Config
		code grace.Code // empty: GRACE's own fault
		want string
	}{
		"status":        {prometheus.Config{URL: target(t, "500")}, grace.CodeElevatedErrors, "answered 500"},
		"redirect":      {prometheus.Config{URL: away.URL}, grace.CodeElevatedErrors, "answered 302"},
		"not metrics":   {prometheus.Config{URL: target(t, "<html>")}, grace.CodeElevatedErrors, "read the metrics"},
		"body limit":    {prometheus.Config{URL: target(t, strings.Repeat("# a comment\n", 100)), BodyLimit: 1000}, "", "raise body_limit"},
		"sample limit":  {prometheus.Config{URL: target(t, many), SampleLimit: 4}, "", "more than 4"},
		"timeout":       {prometheus.Config{URL: hang.URL, Timeout: grace.Duration(50 * time.Millisecond)}, grace.CodeLatencySpike, "no whole answer within 50ms"},
		"refused":       {prometheus.Config{URL: closed.URL, Client: headers("${env:SCRAPE_TOKEN}")}, grace.CodeServiceDown, "refused"},
		"secret absent": {prometheus.Config{URL: closed.URL, Client: headers("${env:SCRAPE_NOT_SET}")}, "", "SCRAPE_NOT_SET"},
	} {
		t.Run(name, func(t *testing.T) {
			got := scrapes(t, 1, tt.cfg)[0]
			kind := grace.SampleProbe
			if tt.code == "" {
				kind = grace.SampleSensorError
			}
			if len(got) != 1 || got[0].Value != 0 || !strings.Contains(got[0].Message, tt.want) || got[0].Kind != kind || got[0].Code != tt.code && tt.code != "" {
				t.Errorf("%+v, want one failed up with %q", got, tt.want)
			}
		})
	}
	if up := scrapes(t, 1, prometheus.Config{URL: target(t, many), SampleLimit: 5})[0][0]; up.Value != 1 {
		t.Errorf("at the limit: %+v", up)
	}
}

func TestValidate(t *testing.T) {
	good := prometheus.Config{Name: "m", Service: "s", URL: "http://127.0.0.1/metrics", Metrics: []prometheus.Metric{{Name: "a", Source: "b"}}}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	metric := func(m prometheus.Metric) func(*prometheus.Config) {
		return func(c *prometheus.Config) { c.Metrics = []prometheus.Metric{m} }
	}
	for want, change := range map[string]func(*prometheus.Config){
		"name: is missing":                  func(c *prometheus.Config) { c.Name = "" },
		"service: is missing":               func(c *prometheus.Config) { c.Service = "" },
		"url":                               func(c *prometheus.Config) { c.URL = "127.0.0.1/metrics" },
		"must not be negative":              func(c *prometheus.Config) { c.BodyLimit = -1 },
		"severity":                          func(c *prometheus.Config) { c.Severity = "page" },
		"metrics[1].name: a is there twice": func(c *prometheus.Config) { c.Metrics = append(c.Metrics, c.Metrics...) },
		"metrics[0].name: up is there":      metric(prometheus.Metric{Name: "up", Source: "b"}),
		"metrics[0].source: is missing":     metric(prometheus.Metric{Name: "a"}),
		"metrics[0].as: \"sum\"":            metric(prometheus.Metric{Name: "a", Source: "b", As: "sum"}),
		"quantile: 1.5":                     metric(prometheus.Metric{Name: "a", Source: "b", As: "quantile", Quantile: 1.5}),
		"quantile: 0":                       metric(prometheus.Metric{Name: "a", Source: "b", As: "quantile"}),
		"over: is missing":                  metric(prometheus.Metric{Name: "a", Source: "b", As: "ratio"}),
		"scale":                             metric(prometheus.Metric{Name: "a", Source: "b", Scale: math.Inf(1)}),
	} {
		c := good
		change(&c)
		if _, err := prometheus.New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestConformance(t *testing.T) {
	url := target(t, page1)
	gracetest.Sensor(t, func(t *testing.T) grace.Sensor {
		s, err := prometheus.New(prometheus.Config{
			Name: "metrics", Service: "shop", URL: url, Interval: grace.Duration(10 * time.Millisecond), Timeout: grace.Duration(time.Second),
			Metrics: []prometheus.Metric{{Name: "heat", Source: "temperature"}, {Name: "none", Source: "none"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}, gracetest.SensorCase{Service: "shop", Metrics: []string{"up", "heat"}})
}

// What an unmodified Prometheus exposes about itself is read as it is.
func TestRealPrometheus(t *testing.T) {
	bin, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("Prometheus is missing; install it with: apt-get install prometheus")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, []byte("global: {scrape_interval: 1h}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "--config.file="+config, "--storage.tsdb.path="+dir, "--web.listen-address="+addr)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	s, err := prometheus.New(prometheus.Config{
		Name: "prom", Service: "prometheus", URL: "http://" + addr + "/metrics", Interval: grace.Duration(50 * time.Millisecond), Timeout: grace.Duration(2 * time.Second),
		Metrics: []prometheus.Metric{
			{Name: "goroutines", Source: "go_goroutines"},
			{Name: "ok_rate", Source: "prometheus_http_requests_total", Labels: map[string]string{"handler": "/metrics", "code": "200"}, As: "per_second"},
			{Name: "p99", Source: "prometheus_http_request_duration_seconds", Labels: map[string]string{"handler": "/metrics"}, As: "quantile", Quantile: .99, Scale: 1000, Unit: "ms"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	rec := &gracetest.Recorder{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, rec) }()
	patience.Until(t, func() error {
		all := rec.Samples()
		if goroutines, rate, p99 := value(all, "goroutines"), value(all, "ok_rate"), value(all, "p99"); goroutines <= 0 || rate <= 0 || p99 <= 0 {
			return fmt.Errorf("of %d samples, goroutines %v, ok_rate %v, p99 %v", len(all), goroutines, rate, p99)
		}
		return nil
	})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
