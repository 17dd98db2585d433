package config

import (
	"os"
	"path/filepath"
	"testing"
)

// FuzzLint: whatever a playbook file holds, every complaint has a place.
func FuzzLint(f *testing.F) {
	files, err := filepath.Glob("testdata/folder/*/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	more, err := filepath.Glob("testdata/folder/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range append(files, more...) {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("id: x\ntitle: X\nrisk: low\ntriggers: [service_down]\nsteps: [{name: a, action: http, with: {url: x}}]\n"))
	f.Add([]byte("- id: x\n- id: x\n"))
	f.Add([]byte("id: [\n"))
	f.Add([]byte("&a {id: *a}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, p := range Lint("playbook.yaml", data, testOptions()) {
			if p.File != "playbook.yaml" || p.Line < 1 || p.Column < 1 || p.Message == "" {
				t.Fatalf("a problem without a place: %+v", p)
			}
		}
	})
}
