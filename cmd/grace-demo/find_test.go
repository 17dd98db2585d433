package main

import (
	"os"
	"path/filepath"
	"testing"

	"grace/internal/cli"
)

// program writes something that can be started.
func program(t *testing.T, path string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	return path
}

// TestFindGrace: a named program wins, then the one beside the demo, then PATH.
func TestFindGrace(t *testing.T) {
	beside, onPath := t.TempDir(), t.TempDir()
	self := filepath.Join(beside, "grace-demo")
	t.Setenv("PATH", onPath)

	_, err := lookBeside(self)
	if !cli.IsCode(err, cli.ExitNotFound) {
		t.Errorf("with none anywhere: %v", err)
	}
	second := program(t, filepath.Join(onPath, "grace"))
	if got, err := lookBeside(self); err != nil || got != second {
		t.Errorf("with one in PATH: %s, %v; want %s", got, err, second)
	}
	first := program(t, filepath.Join(beside, "grace"))
	if got, err := lookBeside(self); err != nil || got != first {
		t.Errorf("with one beside: %s, %v; want %s", got, err, first)
	}
	named := program(t, filepath.Join(beside, "other"))
	if got, err := findGrace(named); err != nil || got != named {
		t.Errorf("with one named: %s, %v; want %s", got, err, named)
	}
	if _, err := findGrace(filepath.Join(beside, "none")); !cli.IsCode(err, cli.ExitNotFound) {
		t.Errorf("with a wrong name: %v", err)
	}
}
