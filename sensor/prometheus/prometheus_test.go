package prometheus_test

import (
	"context"
	"fmt"
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
	"grace/internal/series"
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
	s, err := prometheus.New(cfg, database(t))
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

// page is what a target exposes.
const page = "# TYPE temperature gauge\ntemperature{room=\"a\"} 20\n"

// database keeps no series.
func database(t *testing.T, exprs ...string) *series.DB {
	t.Helper()
	db, err := series.New(series.DefaultConfig(), series.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var list []*series.Expr
	for _, text := range exprs {
		e, err := series.Compile(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, e)
	}
	db.Watch(list)
	return db
}

// What a sensor told of has ended when it is told to end for good, and is lost when it breaks,
// or another one of its name begins.
func TestEnd(t *testing.T) {
	t.Parallel()
	for name, lost := range map[string]bool{"for good": false, "replaced": true, "broken": true} {
		db := database(t, "sum(up) < 2", "sum(temperature) < 2")
		ctx, cancel := context.WithCancelCause(t.Context())
		s, err := prometheus.New(prometheus.Config{Name: "metrics", Service: "shop", URL: target(t, page), Interval: grace.Duration(20 * time.Millisecond), Timeout: grace.Duration(5 * time.Second)}, db)
		if err != nil {
			t.Fatal(err)
		}
		func() {
			defer func() { _ = recover() }()
			err = s.Run(ctx, grace.SinkFunc(func(context.Context, ...grace.Sample) error {
				switch name {
				case "broken":
					panic("here")
				case "replaced":
					cancel(series.ErrReplaced)
				default:
					cancel(nil)
				}
				return nil
			}))
		}()
		cancel(nil)
		for _, text := range []string{"sum(up) < 2", "sum(temperature) < 2"} {
			e, _ := series.Compile(text)
			r, evalErr := db.Evaluate(t.Context(), e, time.Now().Add(time.Second))
			if err != nil || evalErr != nil || (r.Lost() != "") != lost {
				t.Errorf("%s, %s: %q, %v, %v", name, text, r.Lost(), err, evalErr)
			}
		}
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
	away := httptest.NewServer(http.RedirectHandler(target(t, page), http.StatusFound))
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
	good := prometheus.Config{Name: "m", Service: "s", URL: "http://127.0.0.1/metrics"}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*prometheus.Config){
		"name: is missing":     func(c *prometheus.Config) { c.Name = "" },
		"service: is missing":  func(c *prometheus.Config) { c.Service = "" },
		"url":                  func(c *prometheus.Config) { c.URL = "127.0.0.1/metrics" },
		"must not be negative": func(c *prometheus.Config) { c.BodyLimit = -1 },
		"severity":             func(c *prometheus.Config) { c.Severity = "page" },
	} {
		c := good
		change(&c)
		if _, err := prometheus.New(c, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestConformance(t *testing.T) {
	url := target(t, page)
	gracetest.Sensor(t, func(t *testing.T) grace.Sensor {
		s, err := prometheus.New(prometheus.Config{
			Name: "metrics", Service: "shop", URL: url, Interval: grace.Duration(10 * time.Millisecond), Timeout: grace.Duration(time.Second),
		}, database(t))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}, gracetest.SensorCase{Service: "shop", Metrics: []string{"up"}})
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
	exprs := []string{
		`go_goroutines{job="prom"} > 0`,
		`rate(prometheus_http_requests_total{handler="/metrics",code="200"}[2s]) > 0`,
		`histogram_quantile(0.99, rate(prometheus_http_request_duration_seconds_bucket{handler="/metrics"}[2s])) > 0`,
	}
	db := database(t, exprs...)
	s, err := prometheus.New(prometheus.Config{
		Name: "prom", Service: "prometheus", URL: "http://" + addr + "/metrics", Interval: grace.Duration(50 * time.Millisecond), Timeout: grace.Duration(2 * time.Second),
	}, db)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, &gracetest.Recorder{}) }()
	patience.Until(t, func() error {
		for _, text := range exprs {
			got, err := db.Query(t.Context(), text, time.Now())
			if err != nil {
				return err
			}
			if len(got) != 1 {
				return fmt.Errorf("%s: %v", text, got)
			}
		}
		return nil
	})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
