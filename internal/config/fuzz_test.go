package config

import (
	"os"
	"path/filepath"
	"testing"
)

// FuzzParse: whatever the bytes are, there is either a configuration or a
// problem with a place, and never a panic.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/mistakes/*.yaml", "testdata/folder/*", "testdata/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, path := range files {
			data, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg, problems := Parse("fuzz.yaml", data, dir, testOptions())
		if (cfg == nil) != (problems.Err() != nil) {
			t.Fatalf("config is nil: %v, error: %v", cfg == nil, problems.Err())
		}
		for _, p := range append(problems, Lint("fuzz.yaml", data, testOptions())...) {
			if p.File == "fuzz.yaml" && (p.Line < 1 || p.Column < 1 || p.Message == "") {
				t.Fatalf("a problem without a place: %+v", p)
			}
		}
	})
}
