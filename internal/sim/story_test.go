package sim

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestStoryText: what is printed of a failure is the story.
func TestStoryText(t *testing.T) {
	for seed := range uint64(300) {
		want := Write(seed)
		got, err := Parse(Format(want, nil, nil))
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("seed %d (-written +read):\n%s", seed, diff)
		}
	}
}

func TestStoryTextRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"no archive":                         "no file named story",
		"-- story --\nseed x\n":              "line 1",
		"-- story --\nseed 1\nwind 3\n":      "line 2: \"wind\": unknown word",
		"-- story --\nat 1m crash size=3\n":  "unknown word",
		"-- story --\nseed 1\nlength 1m0s\n": "replicas",
		"-- story --\nservice s00 low s\n":   "unknown word",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// TestMinimise: a planted bug's story gets small, and still fails.
func TestMinimise(t *testing.T) {
	skipUnderRace(t)
	m := Mutations{SkipApproval: true}
	for seed := range uint64(40) {
		st := Write(seed)
		r, err := Play(t.Context(), st, m)
		if err != nil {
			t.Fatal(err)
		}
		broken := func(v Violation) bool { return v.Check == "allowed_first" }
		if len(st.Events) < 4 || len(st.Services) > 12 || !slices.ContainsFunc(r.Violations, broken) {
			continue
		}
		text, err := Explain(t.Context(), st, m, "allowed_first")
		if err != nil {
			t.Fatal(err)
		}
		small, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if len(small.Events) > 2 || len(small.Services) >= len(st.Services) {
			t.Errorf("seed %d: %d of %d events and %d of %d services are left:\n%s", seed, len(small.Events), len(st.Events), len(small.Services), len(st.Services), text)
		}
		if r, err = Play(t.Context(), small, m); err != nil || !slices.ContainsFunc(r.Violations, broken) {
			t.Errorf("seed %d: the small story does not fail: %v", seed, err)
		}
		return
	}
	t.Fatal("no seed shows the bug")
}
