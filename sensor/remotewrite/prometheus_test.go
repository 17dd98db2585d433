package remotewrite

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"grace"
	"grace/internal/patience"
	"grace/internal/series"
)

// An unmodified Prometheus remote-writes what it measures of itself. It sends
// version 1.0, and 2.0 where it can.
func TestRealPrometheus(t *testing.T) {
	t.Parallel()
	bin, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("Prometheus is missing; install it with: apt-get install prometheus")
	}
	messages := map[string]string{"1.0": ""}
	if help, _ := exec.Command(bin, "--help").CombinedOutput(); strings.Contains(string(help), "io.prometheus.write.v2.Request") {
		messages["2.0"] = ", protobuf_message: io.prometheus.write.v2.Request"
	} else {
		t.Log("this Prometheus does not send version 2.0")
	}
	for name, message := range messages {
		t.Run(name, func(t *testing.T) {
			sink := &recorder{values: map[string][]float64{}}
			db, err := series.New(series.DefaultConfig(), series.Options{
				Sinks: []series.Sink{sink}, Known: func(s grace.ServiceID) bool { return s == "prometheus" },
			})
			if err != nil {
				t.Fatal(err)
			}
			p99, err := series.Compile("histogram_quantile(0.99, sum by (job, le) (rate(prometheus_http_request_duration_seconds_bucket[1m])))")
			if err != nil {
				t.Fatal(err)
			}
			db.Watch([]*series.Expr{p99})
			h, err := New(DefaultConfig(), db, nil)
			if err != nil {
				t.Fatal(err)
			}
			answers := make(chan string, 1000)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				kept := httptest.NewRecorder()
				h.ServeHTTP(kept, r)
				maps.Copy(w.Header(), kept.Header())
				w.WriteHeader(kept.Code)
				if kept.Code != http.StatusNoContent {
					answers <- fmt.Sprint(kept.Code, kept.Body)
				}
			}))
			defer server.Close()
			startPrometheus(t, bin, server.URL, message)
			refused := func() {
				select {
				case a := <-answers:
					t.Fatalf("answered %s", a)
				default:
				}
			}
			for _, missing := range []string{"prometheus/up{", "prometheus/process_cpu_seconds_rate{", "prometheus/go_goroutines{"} {
				patience.Until(t, func() error {
					refused()
					if text := sink.text(); !strings.Contains(text, missing) {
						return fmt.Errorf("%q did not come out; there were %.2000s", missing, text)
					}
					return nil
				})
			}
			patience.Until(t, func() error {
				refused()
				r, err := db.Evaluate(t.Context(), p99, time.Now())
				if err != nil || len(r.Elements) != 1 || !(r.Elements[0].Value > 0) || r.Elements[0].Labels["job"] != "prometheus" {
					return fmt.Errorf("%s gives %+v, %w", p99, r.Elements, err)
				}
				return nil
			})
			for _, c := range db.Stats().Samples {
				if c.Reason.Refused() && c.Count > 0 {
					t.Errorf("%d samples refused: %v", c.Count, c.Reason)
				}
			}
		})
	}
}

func startPrometheus(t *testing.T, bin, target, message string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	text := "global: {scrape_interval: 500ms}\n" +
		"scrape_configs: [{job_name: prometheus, static_configs: [{targets: ['" + addr + "']}]}]\n" +
		"remote_write: [{url: '" + target + "/api/v1/write', queue_config: {batch_send_deadline: 100ms}" + message + "}]\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+addr, "--log.level=error")
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
}
