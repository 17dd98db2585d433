package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

const referenceFile = "../../docs/cli.md"

func testApp() *app {
	return newApp(strings.NewReader(""), &bytes.Buffer{}, &bytes.Buffer{}, func(string) (string, bool) { return "", false })
}

func TestReference(t *testing.T) {
	t.Parallel()
	want := reference(newRoot(testApp()))
	if *update {
		if err := os.WriteFile(referenceFile, want, 0o644); err != nil { //nolint:gosec // documentation is for everybody
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(referenceFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("docs/cli.md is out of date (-commands +file); run: go test ./cmd/grace -run TestReference -update\n%s", diff)
	}
}

func TestEveryCommandExplainsItself(t *testing.T) {
	t.Parallel()
	for _, line := range commandsWithout(newRoot(testApp())) {
		t.Error(line)
	}
}

func commandsWithout(c *cobra.Command) []string {
	var out []string
	for _, sub := range c.Commands() {
		if sub.Short == "" {
			out = append(out, sub.CommandPath()+" has no short text")
		}
		if strings.HasSuffix(sub.Short, ".") {
			out = append(out, sub.CommandPath()+": the short text ends in a full stop")
		}
		out = append(out, commandsWithout(sub)...)
	}
	return out
}
