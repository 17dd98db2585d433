package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"grace"
)

var update = flag.Bool("update", false, "write the golden files anew")

// testOptions is a small world: three actions and the built-in playbooks that
// the files of testdata use.
func testOptions() Options {
	want := func(key string) func(map[string]any) error {
		return func(with map[string]any) error {
			if _, ok := with[key]; !ok {
				return grace.Field(key, "is missing: say what to act on")
			}
			if with["verb"] == "explode" {
				return errors.Join(errors.New("nothing explodes here"), errors.New("it is no bomb")) // names no key
			}
			return nil
		}
	}
	low, high, zero := -3.0, 3.0, 0.0
	return Options{
		Actions: map[string]func(map[string]any) error{"http": want("url"), "command": want("argv"), "systemd": want("unit")},
		SeedPlaybooks: []grace.Playbook{
			{ID: "restart_service", Title: "Restart", Risk: grace.RiskMedium, Impact: grace.ImpactMedium, Triggers: []grace.Code{grace.CodeServiceDown}},
			{ID: "rollback_flag", Title: "Roll back", Risk: grace.RiskLow, Impact: grace.ImpactLow, Auto: true, Triggers: []grace.Code{grace.CodeFlagIssue}, Parameters: []grace.Parameter{
				{Name: "flag", Type: grace.ParameterString, Required: true, NonEmpty: true},
				{Name: "min_delta", Type: grace.ParameterInt, Default: 1},
			}},
			{ID: "scale_up_instances", Title: "Scale", Risk: grace.RiskLow, Impact: grace.ImpactLow, Auto: true, Triggers: []grace.Code{grace.CodeCapacity}, Parameters: []grace.Parameter{
				{Name: "min_delta", Type: grace.ParameterInt, Default: 1, Min: &low, Max: &high},
			}},
			{ID: "increase_logging", Title: "Log more", Risk: grace.RiskLow, Impact: grace.ImpactLow, Auto: true, Triggers: []grace.Code{grace.CodeDegradation}, Parameters: []grace.Parameter{
				{Name: "level", Type: grace.ParameterString, Default: "debug", Allowed: []string{"debug", "info"}},
				{Name: "ttl", Type: grace.ParameterDuration, Default: "15m", Min: &zero},
			}},
		},
		Host: true,
	}
}

// TestMistakes holds what is printed for each kind of mistake.
func TestMistakes(t *testing.T) {
	files, err := filepath.Glob("testdata/mistakes/*.yaml")
	if err != nil || len(files) < 25 {
		t.Fatalf("found %d files: %v", len(files), err)
	}
	for _, path := range files {
		name := strings.TrimSuffix(filepath.Base(path), ".yaml")
		t.Run(name, func(t *testing.T) {
			cfg, problems := Load(path, testOptions())
			if (cfg == nil) != (problems.Err() != nil) {
				t.Errorf("config is nil: %v, error: %v", cfg == nil, problems.Err())
			}
			if len(problems) == 0 {
				t.Error("nothing was found")
			}
			golden(t, strings.TrimSuffix(path, ".yaml")+".txt", strings.ReplaceAll(problems.String(), "testdata/mistakes/", ""))
		})
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (run with -update)", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got), run with -update if that is meant:\n%s", path, diff)
	}
}

// TestWarningsDoNotBlock: what is only worth a look keeps no file from use.
func TestWarningsDoNotBlock(t *testing.T) {
	for _, name := range []string{"secret_literal", "short_watchdog"} {
		cfg, problems := Load("testdata/mistakes/"+name+".yaml", testOptions())
		if cfg == nil || len(problems.Warnings()) == 0 || len(problems.Errors()) != 0 {
			t.Errorf("%s: config %v, problems\n%s", name, cfg != nil, problems)
		}
	}
}

// TestSecretNotPrinted: a problem is shown and logged, so it holds no secret.
func TestSecretNotPrinted(t *testing.T) {
	_, problems := Load("testdata/mistakes/secret_literal.yaml", testOptions())
	for _, secret := range []string{"hunter2", "8f4b1c0a99", "abc", "12345"} {
		if strings.Contains(problems.String(), secret) {
			t.Errorf("%q is in\n%s", secret, problems)
		}
	}
}

func TestLint(t *testing.T) {
	var out strings.Builder
	for _, name := range []string{"a.yaml", "b.yml", "README.txt"} {
		data, err := os.ReadFile("testdata/folder/" + name)
		if err != nil {
			t.Fatal(err)
		}
		out.WriteString(Lint(name, data, testOptions()).String())
	}
	golden(t, "testdata/lint.txt", out.String())
	if got := Lint("empty.yaml", nil, testOptions()); got.Err() == nil {
		t.Error("an empty file passes as a playbook")
	}
}

func TestProblemOrder(t *testing.T) {
	_, problems := Load("testdata/mistakes/playbooks_dir.yaml", testOptions())
	if !slices.IsSortedFunc(problems, func(a, b Problem) int {
		if a.File == b.File {
			return a.Line - b.Line
		}
		return 0
	}) {
		t.Errorf("not in the order of the file:\n%s", problems)
	}
}
