package sim

import (
	"os"
	"path/filepath"
	"testing"
)

// TestStories plays the stories in which a bug was found, made smaller by
// `grace-demo sim --save`: they end well now.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/stories/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		st, err := Parse(data)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		r, err := Play(t.Context(), st, Mutations{})
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, v := range r.Violations {
			t.Errorf("%s: %s", file, v)
		}
		if len(r.Lines()) < 10 {
			t.Errorf("%s: only %d entries: nothing happened", file, len(r.Lines()))
		}
	}
}
