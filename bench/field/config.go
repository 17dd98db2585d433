package main

import (
	"fmt"
	"path/filepath"
	"strings"
)

func (s *stack) nginx(name string) string {
	return fmt.Sprintf(`daemon off;
worker_processes 1;
pid %[1]s/%[2]s.pid;
error_log %[1]s/%[2]s-error.log;
events {}
http {
  access_log off;
  client_body_temp_path %[1]s/%[2]s-body;
  proxy_temp_path %[1]s/%[2]s-proxy;
  fastcgi_temp_path %[1]s/%[2]s-fastcgi;
  uwsgi_temp_path %[1]s/%[2]s-uwsgi;
  scgi_temp_path %[1]s/%[2]s-scgi;
  server { listen %[3]s; root %[1]s; }
}
`, s.dir, name, s.at(name))
}

func (s *stack) haproxy() string {
	return fmt.Sprintf(`defaults
  mode http
  timeout connect 500ms
  timeout client 5s
  timeout server 1s
  option redispatch
  retries 2
frontend edge
  bind %s
  default_backend web
backend web
  option httpchk GET /
  default-server check inter 500ms fall 1 rise 1
  server web1 %s
  server web2 %s
`, s.at("edge"), s.at("web1"), s.at("web2"))
}

func (s *stack) prometheus() string {
	return fmt.Sprintf(`global: {scrape_interval: 1s, scrape_timeout: 900ms, evaluation_interval: 1s}
alerting:
  alertmanagers: [{static_configs: [{targets: ["%s"]}]}]
rule_files: [rules.yaml]
scrape_configs:
  - job_name: app
    static_configs: [{targets: ["%s"]}]
  - job_name: alerting
    static_configs:
      - {targets: ["%s"], labels: {service: billing}}
      - {targets: ["%s"], labels: {service: ledger}}
`, s.at("alertmanager"), s.at("orders"), s.at("billing"), s.at("ledger"))
}

// config is GRACE's, as the operator of this stack would write it: sensors look
// every second because the campaign lasts for minutes.
func (s *stack) config(self string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `listen: "%s"
data_dir: %s
mode: autonomous
hold_down: 4s
recover_within: 30s
escalate_after: %s
escalate_after_critical: %s
sense: {stale_after: 8s, flap_window: 40s, flap_transitions: 4}
diagnose: {group_wait: 1s}
predict: {every: 5s}
trust: {predictive_shadow: true}
propose: {rate_per_hour: 60, duplicate_window: 15s, backoff_base: 10s, backoff_max: 20s}
services:
  - {name: edge, criticality: high, depends_on: [{any_of: [web1, web2]}]}
  - {name: web1, criticality: medium}
  - {name: web2, criticality: medium}
  - {name: orders, criticality: high, depends_on: [redis]}
  - {name: shaky, criticality: medium}
  - {name: redis, criticality: medium}
  - {name: db, criticality: critical}
  - {name: spool, criticality: medium}
  - {name: billing, criticality: medium}
  - {name: ledger, criticality: medium}
alertmanager: {url: "http://%s", bearer: "${env:FIELD_BEARER}", read_every: 5s}
sensors:
`, s.at("grace"), filepath.Join(s.dir, "data"), patience, patienceCritical, s.at("alertmanager"))
	for _, name := range []string{"edge", "web1", "web2"} {
		fmt.Fprintf(&b, "  - {name: %[1]s-http, type: http, service: %[1]s, url: \"http://%[2]s/\", interval: 1s, timeout: 900ms}\n", name, s.at(name))
	}
	for _, name := range []string{"orders", "shaky"} {
		fmt.Fprintf(&b, "  - {name: %[1]s-http, type: http, service: %[1]s, url: \"http://%[2]s/healthz\", interval: 1s, timeout: 900ms}\n", name, s.at(name))
	}
	command := func(service, code string, argv ...string) {
		fmt.Fprintf(&b, "  - {name: %[1]s-look, type: command, service: %[1]s, code: %[2]s, argv: [\"%[3]s\", look, \"%[4]s\"], interval: 1s, timeout: 4s}\n",
			service, code, self, strings.Join(argv, `", "`))
	}
	command("redis", "service_down", "redis", s.at("redis"))
	command("db", "db_locked", "db", s.db)
	command("spool", "disk_full", "spool", s.spool)
	fmt.Fprintf(&b, `  - name: prometheus
    type: promql
    url: "http://%s"
    interval: 1s
    warm_up: 1m
    queries:
      - {name: open_connections, service: orders, query: 'open_connections{job="app"}'}
objectives:
  - {name: leak, service: orders, expr: 'open_connections{service="orders"} > %d', code: connection_leak, severity: critical}
playbooks:
`, s.at("prometheus"), leakLimit)
	return b.String() + s.playbooks(self)
}

func (s *stack) playbooks(self string) string {
	var b strings.Builder
	for _, p := range remedies() {
		fmt.Fprintf(&b, `  - id: %s
    title: %[1]s
    risk: low
    impact: low
    auto: true
    triggers: [%s]
    steps:
      - name: %s
        action: command
        with: {argv: ["%s", ctl, "http://%s", %[3]s, "${service}"]}
        timeout: 20s
        irreversible: true
    verify: [{type: http_health, url: "http://%[5]s/well/${service}", interval: 1s, min_samples: 2}]
    settle: 10s
    soak: 2s
    watchdog: 1m
`, p.id, p.triggers, p.verb, self, s.at("control"))
	}
	return b.String()
}

// remedy is a playbook of the operator's: one command.
type remedy struct{ id, triggers, verb string }

func remedies() []remedy {
	return []remedy{
		{"bounce", "service_down, latency_spike, elevated_errors, connection_leak", "restart"},
		{"clean_up", "disk_full", "clean"},
		{"end_session", "db_locked", "unlock"},
	}
}
