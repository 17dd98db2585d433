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
	"slices"
	"strings"
	"testing"
	"time"

	"grace"
	"grace/gracetest"
	"grace/internal/patience"
	"grace/sensor/promql"
)

// peer is Debian's Prometheus, unmodified.
type peer struct {
	url  string
	args []string
	cmd  *exec.Cmd
	out  bytes.Buffer
}

// realPrometheus starts one on a directory of data that scrapes itself, and an address besides.
func realPrometheus(t *testing.T, data, target string) *peer {
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
	text := "global: {scrape_interval: 200ms}\nscrape_configs:\n  - {job_name: prom, static_configs: [{targets: ['" + addr + "']}]}\n"
	if target != "" {
		text += "  - {job_name: target, static_configs: [{targets: ['" + target + "']}]}\n"
	}
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &peer{url: "http://" + addr, args: []string{bin, "--config.file=" + config, "--storage.tsdb.path=" + data, "--storage.tsdb.retention.time=10y", "--web.listen-address=" + addr}}
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("Prometheus said:\n%s", p.out.String())
		}
	})
	p.start(t)
	return p
}

func (p *peer) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

func (p *peer) start(t *testing.T) {
	t.Helper()
	p.cmd = exec.Command(p.args[0], p.args[1:]...)
	p.cmd.Stderr = &p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	patience.Until(t, func() error {
		resp, err := http.Get(p.url + "/-/ready")
		if err != nil {
			return err
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New("not ready: " + resp.Status)
		}
		return nil
	})
}

func TestRealPrometheus(t *testing.T) {
	t.Parallel()
	url := realPrometheus(t, t.TempDir(), "").url
	told := &problems{}
	s := newSensor(t, promql.Config{
		URL: url, Report: told.report,
		Interval: grace.Duration(100 * time.Millisecond), Timeout: grace.Duration(10 * time.Second), Seed: 1,
		Queries: []promql.Query{
			{Name: "up_by_job", Query: "up", ServiceLabel: "job"},
			{Name: "goroutines", Query: "go_goroutines", Service: "prometheus", Unit: "1", Role: grace.RoleSaturation},
			{Name: "two", Query: "1+1", Service: "prometheus"},
			{Name: "undefined", Query: "go_goroutines * NaN", Service: "prometheus"},
			{Name: "several", Query: "prometheus_http_requests_total", ServiceLabel: "job"},
			{Name: "wrong", Query: "mad_over_time(up[1m])", Service: "prometheus"},
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, &gracetest.Recorder{}) }()
	patience.Until(t, func() error {
		for _, metric := range []string{"up_by_job", "goroutines", "two", "undefined", "several"} {
			if n := s.took(t, metric); n < 2 {
				return fmt.Errorf("%d samples of %s: %+v", n, metric, s.Stats())
			}
		}
		return nil
	})
	addr := strings.TrimPrefix(url, "http://")
	for text, want := range map[string]string{
		"up_by_job": `{__name__="up_by_job", exported_job="prom", instance="` + addr + `", job="prom", service="prom"} 1`,
		"two":       `{__name__="two", job="prom", service="prometheus"} 2`,
		"undefined": `{__name__="undefined", exported_job="prom", instance="` + addr + `", job="prom", service="prometheus"} NaN`,
	} {
		if got := s.says(t, text, time.Now()); len(got) != 1 || got[0] != want {
			t.Errorf("%q, want %s", got, want)
		}
	}
	if got := s.says(t, "several", time.Now()); len(got) < 2 {
		t.Errorf("%q", got)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	told.mu.Lock()
	defer told.mu.Unlock()
	if want := `wrong: the query failed: bad_data: invalid parameter "query": 1:1: parse error: unknown function with name "mad_over_time"`; !slices.Equal(told.list, []string{want}) {
		t.Errorf("reported %q, want %q alone", told.list, want)
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
		URL:     realPrometheus(t, data, "").url,
		Queries: []promql.Query{{Name: "queue", Query: "queue", ServiceLabel: "app"}},
	})
	next := first
	n, err := s.WarmUp(t.Context(), first, time.Minute, func(_ context.Context, metric string, at time.Time) error {
		if at.After(last) {
			return nil // Prometheus repeats the newest value for five minutes
		}
		own := `{__name__="queue", app="%s", job="prom", service="%[1]s"} %v`
		want := []string{fmt.Sprintf(own, "shop", shape(at.Unix())), fmt.Sprintf(own, "till", -shape(at.Unix()))}
		if got := s.says(t, metric, at); !slices.Equal(got, want) || !at.Equal(next) {
			t.Fatalf("%q at %s, want %q at %s", got, at, want, next)
		}
		next = at.Add(time.Minute)
		return nil
	})
	if err != nil || !next.After(last) {
		t.Errorf("the samples end before %s, %d in all: %v", next, n, err)
	}
}
