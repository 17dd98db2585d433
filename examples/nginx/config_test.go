package nginx_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"grace/daemon"
)

// The configurations that a newcomer copies are valid, without a warning.
func TestConfigurations(t *testing.T) {
	dir := t.TempDir()
	files := map[string]string{"grace.yaml": "grace.yaml", "README.md": filepath.Join(dir, "readme.yaml"), "docs/trust.md": filepath.Join(dir, "trust.yaml")}
	write(t, files["README.md"], blocks(t, "../../README.md")[0])
	policies := blocks(t, "../../docs/trust.md")
	if len(policies) != 3 {
		t.Fatalf("docs/trust.md has %d blocks of YAML, want the policies, more of them, and the windows", len(policies))
	}
	services := "services:\n"
	for _, name := range []string{"payments", "ledger", "store"} {
		services += "  - {name: " + name + ", criticality: low}\n"
	}
	write(t, files["docs/trust.md"], services+strings.Join(policies, ""))
	for from, path := range files {
		cfg, problems := daemon.Load(path)
		if cfg == nil || len(problems) > 0 {
			t.Errorf("the configuration of %s:\n%v", from, problems)
		}
	}
}

// blocks gives the YAML blocks of a document.
func blocks(t *testing.T, path string) []string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, part := range strings.Split(string(data), "```yaml\n")[1:] {
		text, _, closed := strings.Cut(part, "```")
		if !closed {
			t.Fatalf("%s: a block of YAML is not closed", path)
		}
		out = append(out, text)
	}
	if len(out) == 0 {
		t.Fatalf("%s has no block of YAML", path)
	}
	return out
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
