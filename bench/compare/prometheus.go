package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"text/template"
	"time"
)

// speed is what differs between the usual settings and the fast ones.
type speed struct {
	Scrape, For, Rate, GroupWait, GroupInterval string
	prometheus, alertmanager                    string // addresses
}

// usualSpeed has the defaults of Debian's packages and the `for` that guides
// suggest.
func usualSpeed() speed {
	return speed{
		Scrape: "15s", For: "1m", Rate: "1m", GroupWait: "30s", GroupInterval: "5m",
		prometheus: "127.0.0.1:9091", alertmanager: "127.0.0.1:9191",
	}
}

// fastSpeed is as fast as alerting on rates gets without seeing single
// requests.
func fastSpeed() speed {
	return speed{
		Scrape: "1s", For: "5s", Rate: "5s", GroupWait: "1s", GroupInterval: "5s",
		prometheus: "127.0.0.1:9092", alertmanager: "127.0.0.1:9192",
	}
}

// prometheus is Prometheus with Alertmanager and a receiver that restarts the
// service an alert is about.
type prometheus struct {
	speed    speed
	running  []*process
	receiver *http.Server
}

// The thresholds are those of GRACE's configuration for the shop.
const (
	prometheusConfig = `global:
  scrape_interval: {{.Scrape}}
  scrape_timeout: 1s
  evaluation_interval: {{.Scrape}}
rule_files: [rules.yml]
alerting:
  alertmanagers:
    - static_configs:
        - targets: ["{{.Alertmanager}}"]
scrape_configs:
  - job_name: shop
    static_configs:
{{- range .Services}}
      - targets: ["{{.Address}}"]
        labels: {service: {{.Name}}}
{{- end}}
`
	alertRules = `groups:
  - name: shop
    rules:
      - alert: ServiceDown
        expr: up == 0 or shop_instances_serving < 1
        for: {{.For}}
      - alert: HighErrorRate
        expr: rate(shop_errors_total[{{.Rate}}]) / on (service) sum by (service) (rate(shop_requests_total[{{.Rate}}])) > 0.05
        for: {{.For}}
      - alert: HighLatency
        expr: histogram_quantile(0.95, rate(shop_request_duration_seconds_bucket[{{.Rate}}])) > 0.4
        for: {{.For}}
      - alert: HighMemory
        expr: shop_heap_bytes > 32 * 1024 * 1024
        for: {{.For}}
      - alert: BreakerOpen
        expr: shop_breaker_open > 0
        for: {{.For}}
`
	alertmanagerConfig = `route:
  receiver: restart
  group_by: [alertname, service]
  group_wait: {{.GroupWait}}
  group_interval: {{.GroupInterval}}
  repeat_interval: 3h
receivers:
  - name: restart
    webhook_configs:
      - url: http://{{.Hook}}/
        send_resolved: false
`
)

// named is a service and where it is.
type named struct{ Name, Address string }

// render fills a template of this file, in which nothing can fail.
func render(text string, data any) string {
	var out bytes.Buffer
	if err := template.Must(template.New("").Parse(text)).Execute(&out, data); err != nil {
		return err.Error()
	}
	return out.String()
}

func sortedServices(s site) []named {
	var out []named
	for _, name := range slices.Sorted(maps.Keys(s.services)) {
		out = append(out, named{name, s.services[name]})
	}
	return out
}

func (p *prometheus) start(ctx context.Context, s site) error {
	data := struct {
		speed
		Alertmanager, Hook string
		Services           []named
	}{p.speed, p.speed.alertmanager, s.hook, sortedServices(s)}
	for name, text := range map[string]string{
		"prometheus.yml": prometheusConfig, "rules.yml": alertRules, "alertmanager.yml": alertmanagerConfig,
	} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(render(text, data)), 0o600); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	if err := p.receive(s); err != nil {
		return err
	}
	am, err := launch(s.dir, "alertmanager", "prometheus-alertmanager", "--config.file=alertmanager.yml", "--storage.path=alerts",
		"--web.listen-address="+p.speed.alertmanager, "--cluster.listen-address=")
	if err != nil {
		return err
	}
	p.running = append(p.running, am)
	prom, err := launch(s.dir, "prometheus", "prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=series",
		"--web.listen-address="+p.speed.prometheus)
	if err != nil {
		return err
	}
	p.running = append(p.running, prom)
	if err := am.ready(ctx, "http://"+p.speed.alertmanager+"/-/ready"); err != nil {
		return err
	}
	return prom.ready(ctx, "http://"+p.speed.prometheus+"/-/ready")
}

// restartPause keeps one condition that raises several alerts about a service
// from restarting it several times.
const restartPause = 30 * time.Second

// receive restarts the service of each firing alert.
func (p *prometheus) receive(s site) error {
	ln, err := net.Listen("tcp", s.hook)
	if err != nil {
		return fmt.Errorf("listen for alerts: %w", err)
	}
	var mu sync.Mutex
	last := map[string]time.Time{}
	p.receiver = &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var hook struct {
			Alerts []struct {
				Status string            `json:"status"`
				Labels map[string]string `json:"labels"`
			} `json:"alerts"`
		}
		if err := json.NewDecoder(http.MaxBytesReader(w, req.Body, 1<<20)).Decode(&hook); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		for _, a := range hook.Alerts {
			service := a.Labels["service"]
			mu.Lock()
			due := a.Status == "firing" && service != "" && time.Since(last[service]) > restartPause
			if due {
				last[service] = time.Now()
			}
			mu.Unlock()
			if !due {
				continue
			}
			if err := exchange(req.Context(), http.MethodPost, s.control+"/services/"+service+"/restart", "", nil, nil); err != nil {
				http.Error(w, err.Error(), http.StatusBadGateway) // Alertmanager comes again
				return
			}
		}
	})}
	go func() { _ = p.receiver.Serve(ln) }() // ends with stop
	return nil
}

// calm: nothing fires or is about to.
func (p *prometheus) calm(ctx context.Context) (bool, error) {
	var answer struct {
		Data struct {
			Alerts []any `json:"alerts"`
		} `json:"data"`
	}
	err := exchange(ctx, http.MethodGet, "http://"+p.speed.prometheus+"/api/v1/alerts", "", nil, &answer)
	for _, proc := range p.running {
		err = errors.Join(err, proc.alive())
	}
	return len(answer.Data.Alerts) == 0, err
}

func (p *prometheus) processes() []*process { return p.running }

func (p *prometheus) stop() {
	for _, proc := range slices.Backward(p.running) {
		proc.stop()
	}
	if p.receiver != nil {
		_ = p.receiver.Close()
	}
}
