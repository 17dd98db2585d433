package promql_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"grace"
	"grace/gracetest"
	"grace/internal/patience"
	"grace/sensor/promql"
)

// realPrometheus starts Debian's, unmodified, on a directory of data, and gives
// its URL.
func realPrometheus(t *testing.T, data string) string {
	t.Helper()
	bin, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("Prometheus is missing; install it with: apt-get install prometheus")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	config := filepath.Join(t.TempDir(), "prometheus.yml")
	text := "global: {scrape_interval: 200ms}\nscrape_configs: [{job_name: prom, static_configs: [{targets: ['" + addr + "']}]}]\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd := exec.Command(bin, "--config.file="+config, "--storage.tsdb.path="+data, "--storage.tsdb.retention.time=10y", "--web.listen-address="+addr)
	cmd.Stderr = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("Prometheus said:\n%s", out.String())
		}
	})
	patience.Until(t, func() error {
		resp, err := http.Get("http://" + addr + "/-/ready")
		if err != nil {
			return err
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New("not ready: " + resp.Status)
		}
		return nil
	})
	return "http://" + addr
}

func TestRealPrometheus(t *testing.T) {
	t.Parallel()
	url := realPrometheus(t, t.TempDir())
	told := &problems{}
	s := newSensor(t, promql.Config{
		URL: url, Report: told.report,
		Interval: grace.Duration(100 * time.Millisecond), Timeout: grace.Duration(10 * time.Second), Seed: 1,
		Queries: []promql.Query{
			{Name: "up_by_job", Query: "up", ServiceLabel: "job"},
			{Name: "goroutines", Query: "go_goroutines", Service: "prometheus", Unit: "1", Role: grace.RoleSaturation},
			{Name: "two", Query: "1+1", Service: "prometheus"},
			{Name: "raw", Query: "go_goroutines[1m]", Service: "prometheus"},
			{Name: "nan", Query: "go_goroutines * NaN", Service: "prometheus"},
			{Name: "ambiguous", Query: "prometheus_http_requests_total", ServiceLabel: "job"},
			{Name: "wrong", Query: "mad_over_time(up[1m])", Service: "prometheus"},
		},
	})
	rec := &gracetest.Recorder{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, rec) }()
	patience.Until(t, func() error {
		all := rec.Samples()
		if len(values(all, "up_by_job")) > 1 && len(values(all, "goroutines")) > 1 && len(values(all, "two")) > 1 && len(values(all, "raw")) > 3 {
			return nil
		}
		return fmt.Errorf("of %d samples: %+v", len(all), s.Stats())
	})
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	raw := time.Time{}
	for _, sample := range rec.Samples() {
		switch sample.Metric {
		case "up_by_job":
			if sample.Value != 1 || sample.Service != "prom" {
				t.Errorf("%+v", sample)
			}
		case "goroutines":
			if sample.Value < 1 || sample.Labels[promql.RoleLabel] != "saturation" || time.Since(sample.At).Abs() > time.Minute {
				t.Errorf("%+v", sample)
			}
		case "two":
			if sample.Value != 2 {
				t.Errorf("%+v", sample)
			}
		case "raw":
			if !sample.At.After(raw) {
				t.Errorf("%s comes after %s", sample.At, raw)
			}
			raw = sample.At
		case "wrong":
			if sample.Kind != grace.SampleSensorError {
				t.Errorf("%+v", sample)
			}
		default:
			t.Errorf("%+v", sample)
		}
	}
	told.mu.Lock()
	defer told.mu.Unlock()
	found := map[string]bool{}
	for _, p := range told.list {
		found[p] = true
	}
	for _, want := range []string{
		"ambiguous: left out: more than one series of prom: aggregate them by job",
		`wrong: the query failed: bad_data: invalid parameter "query": 1:1: parse error: unknown function with name "mad_over_time"`,
	} {
		if !found[want] {
			t.Errorf("reported %q, want %q too", told.list, want)
		}
	}
}

// Nine days of a minute's step are more than Prometheus gives in one answer.
func TestRealPrometheusWarmUp(t *testing.T) {
	t.Parallel()
	tool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is missing; install it with: apt-get install prometheus")
	}
	const points = 12_000
	last := time.Now().Add(-time.Hour).Truncate(time.Minute)
	first := last.Add(-(points - 1) * time.Minute)
	shape := func(at int64) float64 { return math.Round(100 * math.Sin(float64(at%86400)/86400*2*math.Pi)) }
	var b bytes.Buffer
	b.WriteString("# TYPE queue gauge\n")
	for i := range points {
		at := first.Add(time.Duration(i) * time.Minute).Unix()
		fmt.Fprintf(&b, "queue{app=\"shop\"} %v %d\nqueue{app=\"till\"} %v %d\n", shape(at), at, -shape(at), at)
	}
	b.WriteString("# EOF\n")
	data := t.TempDir()
	input := filepath.Join(data, "history.txt")
	if err := os.WriteFile(input, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(tool, "tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=720h", input, data).CombinedOutput(); err != nil {
		t.Fatalf("promtool: %v\n%s", err, out)
	}
	s := newSensor(t, promql.Config{
		URL:     realPrometheus(t, data),
		Queries: []promql.Query{{Name: "queue", Query: "queue", ServiceLabel: "app"}, {Name: "wrong", Query: "queue[1m]", Service: "x"}},
	})
	rec := &gracetest.Recorder{}
	n, err := s.WarmUp(t.Context(), rec, first, time.Minute)
	if err == nil {
		t.Error("a range vector has no history, and nothing was said")
	}
	next := map[grace.ServiceID]time.Time{"shop": first, "till": first}
	for _, sample := range rec.Samples() {
		if sample.At.After(last) {
			continue // Prometheus repeats the newest value for five minutes
		}
		want := shape(sample.At.Unix())
		if sample.Service == "till" {
			want = -want
		}
		if !sample.At.Equal(next[sample.Service]) || sample.Value != want {
			t.Fatalf("%+v, want %v at %s", sample, want, next[sample.Service])
		}
		next[sample.Service] = sample.At.Add(time.Minute)
	}
	for service, at := range next {
		if !at.After(last) {
			t.Errorf("of %s the samples end before %s, %d in all: %v", service, at, n, err)
		}
	}
}
