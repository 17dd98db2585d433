package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSecretsOfThisHost: a secret that cannot be used as it is, is named, and
// never shown.
func TestSecretsOfThisHost(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	for name, tt := range map[string]struct{ env, file, want string }{
		"fine":                {env: "hunter2", file: "hunter3\n"},
		"newline at the end":  {env: "hunter2\n", file: "hunter3", want: "of ${env:GRACE_TEST_SECRET} holds a line break"},
		"newline inside":      {env: "hunter2", file: "hunter3\nhunter4\n", want: "} holds a line break"},
		"space around":        {env: " hunter2", file: "hunter3", want: "begins or ends with a space"},
		"empty variable":      {env: "", file: "hunter3", want: "the variable GRACE_TEST_SECRET is not set or empty"},
		"empty file":          {env: "hunter2", file: "\n", want: "secret is empty"},
		"carriage return too": {env: "hunter2", file: "hunter3\rhunter4", want: "} holds a line break"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("GRACE_TEST_SECRET", tt.env)
			if err := os.WriteFile(secret, []byte(tt.file), 0o600); err != nil {
				t.Fatal(err)
			}
			text := `services: [{name: shop, criticality: low}]
notify: {receivers: [{name: a, type: webhook, url: "${env:GRACE_TEST_SECRET}"}, {name: b, type: webhook, url: "${file:` + secret + `}"}]}
`
			cfg, problems := Parse("x.yaml", []byte(text), dir, testOptions())
			if cfg == nil {
				t.Fatalf("refused:\n%s", problems)
			}
			got := problems.String()
			if tt.want != "" && !strings.Contains(got, tt.want) || tt.want == "" && strings.Contains(got, "secret of") {
				t.Errorf("want %q in\n%s", tt.want, got)
			}
			if strings.Contains(got, "hunter") {
				t.Errorf("a secret is in\n%s", got)
			}
			if len(cfg.Needs) != 2 {
				t.Errorf("needs: %+v", cfg.Needs)
			}
		})
	}
}

// TestEveryProblemHasAHint: who reads a problem learns what to do.
func TestEveryProblemHasAHint(t *testing.T) {
	t.Parallel()
	files, _ := filepath.Glob("testdata/mistakes/*.yaml")
	for _, path := range files {
		_, problems := Load(path, testOptions())
		for _, p := range problems {
			if p.Hint == "" || p.Line == 0 && !strings.Contains(p.Message, "cannot be read") {
				t.Errorf("%s", p)
			}
		}
	}
}

// TestDefaultDataDir: the default folder is looked at as one that was given is.
func TestDefaultDataDir(t *testing.T) {
	t.Chdir(t.TempDir())
	parse := func() string {
		cfg, problems := Parse("x.yaml", []byte("services: [{name: shop, criticality: low}]\n"), ".", testOptions())
		if cfg == nil {
			t.Fatalf("refused:\n%s", problems)
		}
		return problems.String()
	}
	if got := parse(); strings.Contains(got, "data_dir") {
		t.Errorf("it can be made:\n%s", got)
	}
	if err := os.WriteFile("grace-data", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := parse(); !strings.Contains(got, "data_dir: ") || !strings.Contains(got, "grace-data\" is a file") {
		t.Errorf("nothing is said of it:\n%s", got)
	}
}

func TestDidYouMean(t *testing.T) {
	if got := didYouMean("zzz", []string{"up", "", "up", "down"}); got != "known: down, up" {
		t.Errorf("%q", got)
	}
	if got := didYouMean("zzz", []string{""}); got != "" {
		t.Errorf("%q", got)
	}
}
