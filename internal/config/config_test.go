package config

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grace"
	"grace/action/command"
	"grace/action/httpcall"
	"grace/action/systemd"
	"grace/domain/core"
	"grace/internal/stage/govern"
	"grace/internal/stage/propose"
	"grace/internal/stage/sense"
	"grace/internal/store"
)

// productionOptions has the real actions and playbooks, so that the examples are judged as
// the daemon does it.
func productionOptions() Options {
	o := Options{Actions: map[string]func(map[string]any) error{}, SeedPlaybooks: core.Playbooks(), ReservedSensors: []string{"alertmanager", "core"}}
	for _, a := range []grace.Action{httpcall.New(), command.New(), systemd.New()} {
		o.Actions[a.Name()] = a.Validate
	}
	return o
}

func parse(t *testing.T, text string, o Options) *Config {
	t.Helper()
	cfg, problems := Parse("grace.yaml", []byte(text), "/etc/grace", o)
	if len(problems) != 0 {
		t.Fatalf("problems:\n%s", problems)
	}
	return cfg
}

// TestEmptyFile: with nothing said GRACE only observes, and every stage has
// its own defaults.
func TestEmptyFile(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "---\n", "services:\ntrust:\n"} {
		cfg := parse(t, text, testOptions())
		if cfg.Mode != grace.ModeObserveOnly {
			t.Errorf("%q: mode is %s", text, cfg.Mode)
		}
		if cfg.Listen != "127.0.0.1:8000" || cfg.DataDir != "grace-data" || cfg.ApprovalTTL.D() != 30*time.Minute {
			t.Errorf("%q: listen %s, data_dir %s, approval_ttl %s", text, cfg.Listen, cfg.DataDir, cfg.ApprovalTTL)
		}
		if diff := cmp.Diff(sense.DefaultConfig(), cfg.Sense); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(propose.DefaultConfig(), cfg.Propose); diff != "" {
			t.Error(diff)
		}
		want := govern.DefaultConfig()
		if diff := cmp.Diff(want, cfg.Govern); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(store.DefaultRetention(), store.Retention(cfg.Retention)); diff != "" {
			t.Error(diff)
		}
		if len(cfg.Playbooks) != len(testOptions().SeedPlaybooks) {
			t.Errorf("%d playbooks", len(cfg.Playbooks))
		}
	}
}

func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../../examples/*/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, path := range files {
		if _, problems := Load(path, productionOptions()); problems.Err() != nil {
			t.Errorf("problems:\n%s", problems)
		}
	}
}

func TestNginxExample(t *testing.T) {
	cfg, problems := Load("../../examples/nginx/grace.yaml", productionOptions())
	if len(problems) > 0 {
		t.Fatalf("problems:\n%s", problems)
	}
	p, ok := cfg.Playbook("restart_service")
	if !ok {
		t.Fatal("no restart_service")
	}
	bound, ok := p.Bind(cfg.Services[0])
	if !ok || !bound.Auto || bound.Impact != grace.ImpactLow || len(bound.Verify) != 1 || bound.Settle.D() != 15*time.Second {
		t.Errorf("bound %v: %+v", ok, bound)
	}
	if got := cfg.Sensors[0]; got.Name() != "nginx-http" || got.Service() != "nginx" || got.Probe.Interval.D() != 2*time.Second || got.Probe.Code != "" {
		t.Errorf("sensor %+v", got.Probe)
	}
	want := []sense.Probe{{Service: "nginx", Sensor: "nginx-http", Metric: "http_health", Severity: grace.SeverityCritical, Interval: 2 * time.Second}}
	if diff := cmp.Diff(want, cfg.Probes()); diff != "" {
		t.Error(diff)
	}
	if cfg.Mode != grace.ModeAutonomous || cfg.Govern.MaxBlastRadius != 0 {
		t.Errorf("mode %s, max_blast_radius %d", cfg.Mode, cfg.Govern.MaxBlastRadius)
	}
}

// TestPlaybookOverSeed: a configured playbook changes only what it gives.
func TestPlaybookOverSeed(t *testing.T) {
	cfg := parse(t, "playbooks:\n- {id: restart_service, risk: moderate, auto: true, settle: 1m}\n- {id: rollback_flag, auto: false, triggers: elevated_errors}\n", testOptions())
	restart, _ := cfg.Playbook("restart_service")
	if restart.Title != "Restart" || restart.Risk != grace.RiskMedium || !restart.Auto || restart.Settle.D() != time.Minute || len(restart.Triggers) != 1 {
		t.Errorf("restart_service: %+v", restart)
	}
	flag, _ := cfg.Playbook("rollback_flag")
	if flag.Auto || len(flag.Parameters) != 2 || !cmp.Equal(flag.Triggers, []grace.Code{grace.CodeElevatedErrors}) {
		t.Errorf("rollback_flag: %+v", flag)
	}
	if _, ok := cfg.Playbook("nothing"); ok {
		t.Error("found a playbook that is not there")
	}
}

// TestDomainServices: services of domains may be named, and be added to.
func TestDomainServices(t *testing.T) {
	o := testOptions()
	o.ExtraServices = []grace.Service{{ID: "core.database", Domain: "core", Criticality: grace.CriticalityCritical, DependsOn: []grace.ServiceID{"core.task_executor"}}, {ID: "core.task_executor", Domain: "core"}}
	cfg := parse(t, "services:\n- {name: web, criticality: low, depends_on: core.database}\n- {name: core.database, owner: dba}\n", o)
	want := []grace.Service{
		{ID: "core.database", Domain: "core", Owner: "dba", Criticality: grace.CriticalityCritical, DependsOn: []grace.ServiceID{"core.task_executor"}},
		{ID: "core.task_executor", Domain: "core"},
		{ID: "web", Criticality: grace.CriticalityLow, DependsOn: []grace.ServiceID{"core.database"}},
	}
	if diff := cmp.Diff(want, cfg.Services); diff != "" {
		t.Error(diff)
	}
}

func TestPlaybooksDir(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const steps = "  steps: [{name: a, action: http, with: {url: 'http://127.0.0.1/${n}'}, irreversible: true}]\n  verify: [{type: http_health, url: 'http://127.0.0.1/'}]\n"
	write("one.yaml", strings.ReplaceAll("id: one\nrisk: low\nimpact: low\ntriggers: x\nparameters: [{name: n, type: int, default: 1}]\n"+steps, "\n  ", "\n")[0:])
	write("many.yaml", "- {id: restart_service, auto: true}\n")
	cfg, problems := Parse("grace.yaml", []byte("playbooks_dir: ."), dir, testOptions())
	if len(problems) > 0 && problems.Err() != nil {
		t.Fatalf("problems:\n%s", problems)
	}
	one, ok := cfg.Playbook("one")
	if !ok || one.Title != "one" || one.Steps[0].With["url"] != "http://127.0.0.1/${n}" {
		t.Errorf("one: %+v", one)
	}
	if restart, _ := cfg.Playbook("restart_service"); !restart.Auto {
		t.Error("restart_service was not changed")
	}
}

func TestEnvironment(t *testing.T) {
	env := map[string]string{EnvAutoproveLowRisk: "off", EnvPredictiveShadow: "0", EnvObserveOnly: "YES", EnvExecute: "false"}
	o := testOptions()
	o.LookupEnv = func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	got := parse(t, "trust: {execute: true, observe_only: false}", o).Govern
	if got.AutoproveLowRisk || got.PredictiveShadow || !got.ObserveOnly || got.Execute {
		t.Errorf("%+v", got)
	}
	for _, bad := range []string{"", "maybe", "2", "true "} {
		env[EnvExecute] = bad
		cfg, problems := Parse("grace.yaml", nil, ".", o)
		if cfg != nil || len(problems) != 1 || problems[0].Key != EnvExecute || problems[0].Hint == "" {
			t.Errorf("%q: %v", bad, problems)
		}
	}
}

// TestSettingsKeepTheirTypes: an action sees what was written.
func TestSettingsKeepTheirTypes(t *testing.T) {
	cfg := parse(t, `
playbooks:
  - id: p
    risk: low
    impact: low
    triggers: [x]
    steps:
      - name: a
        action: http
        irreversible: true
        with: {url: u, int: 0x10, float: 1.5, yes: true, text: "1", none: ~, list: [1, a], map: {k: {n: 1_000}}, date: 2020-01-01}
    verify: [{type: http_health, url: "http://127.0.0.1/"}]
`, testOptions())
	p, _ := cfg.Playbook("p")
	want := map[string]any{
		"url": "u", "int": 16, "float": 1.5, "yes": true, "text": "1", "none": nil,
		"list": []any{1, "a"}, "map": map[string]any{"k": map[string]any{"n": 1000}}, "date": "2020-01-01",
	}
	if diff := cmp.Diff(want, p.Steps[0].With); diff != "" {
		t.Error(diff)
	}
}

// TestChangeWindows: a window without a zone has the file's.
func TestChangeWindows(t *testing.T) {
	cfg := parse(t, "time_zone: Europe/Berlin\nchange_windows:\n- {name: a, start: '09:00', end: '17:00'}\n- {name: b, start: '09:00', end: '17:00', time_zone: UTC}\n", testOptions())
	if w := cfg.Govern.Windows; len(w) != 2 || w[0].TimeZone != "Europe/Berlin" || w[1].TimeZone != "UTC" {
		t.Errorf("%+v", w)
	}
	if cfg.Location.String() != "Europe/Berlin" {
		t.Errorf("location %s", cfg.Location)
	}
}

// A service has its own zone, over that of its domain; without any it has none.
func TestServiceZone(t *testing.T) {
	o := testOptions()
	o.ExtraServices = []grace.Service{{ID: "shop", TimeZone: "Asia/Tokyo"}, {ID: "web", TimeZone: "Asia/Tokyo"}}
	cfg := parse(t, "time_zone: Europe/Berlin\nservices:\n- {name: shop, time_zone: America/New_York}\n- {name: cart}\n- {name: web, owner: us}\n", o)
	got := map[grace.ServiceID]string{}
	for _, s := range cfg.Services {
		got[s.ID] = s.TimeZone
	}
	if diff := cmp.Diff(map[grace.ServiceID]string{"shop": "America/New_York", "cart": "", "web": "Asia/Tokyo"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestUnreadable(t *testing.T) {
	cfg, problems := Load("testdata/no-such-file.yaml", testOptions())
	if cfg != nil || problems.Err() == nil || !strings.Contains(problems.String(), "no-such-file.yaml: cannot be read") {
		t.Errorf("%v", problems)
	}
}

// TestSchema: it is JSON, it is strict everywhere, and every reference in it
// leads somewhere.
func TestSchema(t *testing.T) {
	var schema map[string]any
	if err := json.Unmarshal(Schema(), &schema); err != nil {
		t.Fatal(err)
	}
	defs := schema["$defs"].(map[string]any)
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok && defs[strings.TrimPrefix(ref, "#/$defs/")] == nil {
				t.Errorf("%s: %s leads nowhere", path, ref)
			}
			if v["properties"] != nil && v["additionalProperties"] != false {
				t.Errorf("%s takes unknown keys", path)
			}
			for k, x := range v {
				walk(path+"/"+k, x)
			}
		case []any:
			for _, x := range v {
				walk(path, x)
			}
		}
	}
	walk("", schema)
	enum := defs["playbook"].(map[string]any)["properties"].(map[string]any)["risk"].(map[string]any)["enum"]
	if diff := cmp.Diff([]any{"low", "medium", "high", "moderate"}, enum); diff != "" {
		t.Error(diff)
	}
}

// TestEveryKeyIsDocumented: the reference explains every key.
func TestEveryKeyIsDocumented(t *testing.T) {
	seen := map[reflect.Type]bool{}
	var walk func(reflect.Type)
	walk = func(section reflect.Type) {
		if seen[section] {
			return
		}
		seen[section] = true
		for _, f := range fieldsOf(section) {
			if f.doc == "" {
				t.Errorf("%s: %s has no doc tag", section, f.name)
			}
			if inner := sectionType(f.typ); inner != nil {
				walk(inner)
			}
		}
	}
	walk(reflect.TypeFor[file]())
}

func TestReference(t *testing.T) {
	golden(t, "../../docs/configuration.md", string(Reference()))
}

func TestSize(t *testing.T) {
	for text, want := range map[string]Size{"0B": 0, "512B": 512, "64KiB": 64 << 10, "1 MiB": 1 << 20, "2GiB": 2 << 30} {
		got, err := parseSize(text)
		if err != nil || got != want {
			t.Errorf("%s: %d, %v", text, got, err)
		}
		if again, err := parseSize(got.String()); err != nil || again != got {
			t.Errorf("%s: printed as %s, read as %d: %v", text, got, again, err)
		}
	}
	for _, bad := range []string{"", "1", "1MB", "-1B", "1.5MiB", "99999999999999999999B", "9223372036854775807GiB"} {
		if got, err := parseSize(bad); err == nil {
			t.Errorf("%q reads as %d", bad, got)
		}
	}
}

func TestNearest(t *testing.T) {
	known := []string{"criticality", "depends_on", "name", "labels"}
	for got, want := range map[string]string{
		"critcality": "criticality", "Criticality": "criticality", "depends": "depends_on", "nmae": "name",
		"label": "labels", "zzz": "", "x": "", strings.Repeat("a", 10_000): "",
	} {
		if n := nearest(got, known); n != want {
			t.Errorf("%.20s: %q, want %q", got, n, want)
		}
	}
}

// TestBuiltinAliases: they are what the vocabulary reads as another code.
func TestBuiltinAliases(t *testing.T) {
	for _, a := range builtinAliases() {
		if c := grace.Code(a).Canonical(); !slices.Contains(builtinCodes(), string(c)) {
			t.Errorf("%s is read as %s", a, c)
		}
	}
}
