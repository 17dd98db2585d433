package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"grace"
)

// inFolder writes files and loads the one of the configuration.
func inFolder(t *testing.T, files map[string]string) (*Config, Problems) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Load(filepath.Join(dir, "grace.yaml"), testOptions())
}

const ruledConfig = `
services: [{name: web, criticality: medium}]
objectives: [{name: Own, service: web, expr: up < 1, code: service_down}]
rule_files: [rules/*.yaml]
slos: [slo.yaml]
telemetry: {}
rules:
  interval: 20s
  severities: {ticket: info}
  map:
    - {match: {alertname: "Slow*"}, service: web, code: latency_spike}
    - {match: {job: db}, code: capacity, severity: critical}
`

const ruledRules = `
groups:
  - name: a
    interval: 2m
    labels: {severity: ticket}
    rules:
      - {record: job:up:sum, expr: sum by (job) (up)}
      - {alert: Slow, expr: latency > 1, for: 5m, keep_firing_for: 1m, annotations: {summary: slow}}
      - {alert: Few, expr: 'job:up:sum{job="db"} < 2'}
      - {alert: Same, expr: up == 0}
      - {alert: Same, expr: up == 0, labels: {severity: page}}
      - {alert: Own, expr: up == 0, labels: {code: elevated_errors, service: "{{ $labels.app }}"}}
  - name: b
    rules:
      - {alert: Same, expr: up == 0, labels: {severity: page}}
      - {alert: Same, expr: up != 1, labels: {severity: page}}
      - {record: nobody:looks, expr: up}
`

// Rules become objectives and recordings, each with a name of its own.
func TestRules(t *testing.T) {
	t.Parallel()
	cfg, problems := inFolder(t, map[string]string{
		"grace.yaml": ruledConfig, "rules/a.yaml": ruledRules,
		"slo.yaml": "service: web\nslos: [{name: pages, objective: 99, sli: {events: {error_query: 'sum(rate(e[{{.window}}]))', total_query: 'sum(rate(t[{{.window}}]))'}}}]",
	})
	if cfg == nil {
		t.Fatal(problems)
	}
	var b strings.Builder
	for _, o := range cfg.Objectives {
		fmt.Fprintf(&b, "%s %s %s %s %s %v\n", o.Name, o.Code, o.Severity, o.For, o.Interval, o.Labels["alertname"])
	}
	want := `Own service_down  0s 0s 
Slow latency_spike info 5m0s 0s Slow
Few capacity critical 0s 2m0s Few
Same.ticket investigation info 0s 0s Same
Same.page.a investigation critical 0s 0s Same
Own.ticket elevated_errors info 0s 0s Own
Same.page.b investigation critical 0s 0s Same
Same.page.b.2 investigation critical 0s 0s Same
pages-burn-1h elevated_errors critical 0s 20s pages-burn-1h
pages-burn-6h elevated_errors critical 0s 20s pages-burn-6h
pages-burn-1d elevated_errors warning 0s 20s pages-burn-1d
pages-burn-3d elevated_errors warning 0s 20s pages-burn-3d
`
	if b.String() != want {
		t.Errorf("objectives:\n%s\nwant\n%s", b.String(), want)
	}
	if len(cfg.Recordings) != 3 || cfg.Recordings[0].Interval != 2*time.Minute || cfg.Recordings[1].Interval != 20*time.Second || len(cfg.Recordings[2].Rules) != 4 {
		t.Errorf("%+v", cfg.Recordings)
	}
	f := cfg.RuleFiles[0]
	if f.Alerts != 7 || f.Recordings != 2 || fmt.Sprint(f.Unused) != "[nobody:looks]" || len(f.Predicted) != 2 || fmt.Sprint(f.Services) != "map[web:[Slow]]" || len(f.AtRunTime) != 6 || len(f.Undeclared) != 0 || f.Unsent != nil {
		t.Errorf("%+v", f)
	}
	if o := cfg.Objectives[1]; o.Text != "slow" || o.KeepFiring != grace.Duration(time.Minute) || o.Labels["severity"] != "ticket" {
		t.Errorf("%+v", o)
	}
	for _, p := range problems {
		if !strings.Contains(p.Message, "no playbook that is bound to web") {
			t.Error(p)
		}
	}
}

// One mistake in a rule refuses all of the configuration.
func TestRulesRefused(t *testing.T) {
	t.Parallel()
	cfg, problems := inFolder(t, map[string]string{"grace.yaml": "rule_files: [a.yaml]", "a.yaml": "groups: [{name: a, rules: [{alert: A, expr: up ==}]}]"})
	if cfg != nil || len(problems) != 1 || filepath.Base(problems[0].File) != "a.yaml" || problems[0].Line != 1 || !strings.Contains(problems[0].Message, "group a, rule A: not PromQL") {
		t.Errorf("%v", problems)
	}
}

// Hundreds of rules are told of in a few lines.
func TestManyRules(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("groups:\n- name: many\n  rules:\n")
	for i := range 300 {
		fmt.Fprintf(&b, "  - {alert: Rule%d, expr: 'sum(metric_%d) > %d', labels: {code: odd, service: s%d}}\n", i, i, i, i)
	}
	_, problems := inFolder(t, map[string]string{"grace.yaml": "rule_files: [a.yaml]", "a.yaml": b.String()})
	if len(problems) != 3 || len(problems.String()) > 2500 {
		t.Errorf("%d problems:\n%s", len(problems), problems)
	}
}

// A rule that looks at no series, as the Watchdog that is always on, has nothing that its source
// is asked for: it is one of GRACE's own.
func TestWatchdog(t *testing.T) {
	t.Parallel()
	cfg, problems := inFolder(t, map[string]string{
		"grace.yaml": "sensors: [{name: eu, type: promql, url: \"http://127.0.0.1:1\"}]\nrule_files: [{files: a.yaml, source: eu}]",
		"a.yaml":     "groups: [{name: a, rules: [{alert: Watchdog, expr: vector(1), labels: {severity: none}}, {alert: Down, expr: up == 0}]}]",
	})
	if cfg == nil {
		t.Fatal(problems)
	}
	if o := cfg.Objectives; len(o) != 2 || o[0].Source != "" || o[1].Source != "eu" || len(cfg.Sensors[0].PromQL.Queries) != 1 {
		t.Errorf("%+v, asked %+v", o, cfg.Sensors[0].PromQL.Queries)
	}
}

// What a scraped page, or a program, gives is not known beforehand: nothing is said to be missing.
func TestAnyMetric(t *testing.T) {
	t.Parallel()
	for sensor, open := range map[string]bool{
		`{name: s, type: prometheus, service: web, url: "http://127.0.0.1:1/metrics"}`:  true,
		`{name: s, type: command, service: web, argv: [/bin/true], format: prometheus}`: true,
		`{name: s, type: http, service: web, url: "http://127.0.0.1:1"}`:                false,
	} {
		cfg, problems := inFolder(t, map[string]string{
			"grace.yaml": "services: [{name: web, criticality: low}]\nsensors: [" + sensor + "]\nrule_files: [a.yaml]",
			"a.yaml":     "groups: [{name: a, rules: [{alert: Hot, expr: node_load1 > 5, labels: {service: web}}]}]",
		})
		if cfg == nil {
			t.Fatal(problems)
		}
		if unsent := cfg.RuleFiles[0].Unsent; (len(unsent) == 0) != open {
			t.Errorf("%s: %q", sensor, unsent)
		}
	}
}

// TestSources: what rules, SLOs, objectives and limits ask of a source is a query of its
// sensor, each once; what rules record is the source's own.
func TestSources(t *testing.T) {
	cfg, problems := inFolder(t, map[string]string{
		"rules.yaml": ruledRules,
		"slo.yaml":   "service: web\nslos: [{name: pages, objective: 99, sli: {events: {error_query: 'sum(rate(e[{{.window}}]))', total_query: 'sum(rate(t[{{.window}}]))'}}}]",
		"grace.yaml": `
services: [{name: web, criticality: medium}]
sensors:
  - {name: eu, type: promql, url: "http://127.0.0.1:1", interval: 20s}
  - {name: us, type: promql, url: "http://127.0.0.1:2", interval: 5m, queries: [{name: own, service: web, query: own}]}
rule_files: [{files: "rules.*", source: eu}, {files: rules.yaml, source: us}]
slos: [{files: slo.yaml, source: us}]
objectives:
  - {name: down, service: web, source: eu, expr: up == 0, code: service_down}
  - {name: flaky, service_label: job, source: eu, expr: up < 1, code: service_down}
limits: [{name: full, source: us, expr: disk / size > 0.9, code: capacity}]
`,
	})
	if cfg == nil {
		t.Fatal(problems)
	}
	asked := func(i int) map[string]string {
		out := map[string]string{}
		for _, q := range cfg.Sensors[i].PromQL.Queries {
			if before, twice := out[q.Query]; twice && q.Remote != nil {
				t.Errorf("%s is asked twice, too: %s", q.Query, before)
			}
			out[q.Query] = fmt.Sprintf("%t %s %s %s", q.Remote != nil, q.Interval, q.Labels["slo"], strings.Join(q.By, ","))
		}
		return out
	}
	resolve := strings.Join(cfg.Objectives[2].Resolve, ",")
	for query, by := range map[string]string{"up": resolve, "latency": resolve, `job:up:sum{job="db"}`: resolve} {
		if got := asked(0); got[query] != "true 0s  "+by || len(got) != 3 {
			t.Errorf("%s: %q of %v", query, got[query], got)
		}
	}
	got := asked(1)
	for query, want := range map[string]string{"own": "false 0s  ", "disk / size": "true 0s  service", "sum(rate(t[5m]))": "false 15s web/pages ", "latency": "true 0s"} {
		if !strings.HasPrefix(got[query], want) {
			t.Errorf("%s: %q, want %q in %v", query, got[query], want, got)
		}
	}
	if len(cfg.Recordings) != 0 {
		t.Errorf("recorded here: %+v", cfg.Recordings)
	}
	names := map[string]string{}
	for _, o := range cfg.Objectives {
		names[o.Name] = fmt.Sprintf("%s %s", o.Source, o.Interval)
	}
	for name, want := range map[string]string{"down": "eu 20s", "Slow.eu": "eu 20s", "Slow.us": "us 5m0s", "pages-burn-1h": " 15s"} {
		if names[name] != want {
			t.Errorf("%s: %q, want %q of %v", name, names[name], want, names)
		}
	}
}
