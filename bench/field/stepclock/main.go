// Command stepclock builds GRACE so that its wall clock can be set while it
// runs, and no other's: the same sources, with a time package whose Now adds
// the seconds that a file holds. The machine's clock stays as it is, and so do
// GRACE's timers and its monotonic clock, as when a real clock is set.
//
//	stepclock OUTPUT
//
// The environment variable GRACE_FIELD_CLOCK of what was built names the file:
// eight bytes, a little-endian number. Without it the clock is the machine's.
package main

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// The line of time.Now that reads the clock, and what takes its place.
const (
	reads = "\tsec, nsec, mono := runtimeNow()\n"
	adds  = reads + "\tsec += stepped()\n"
)

//go:embed stepped.go.txt
var stepped []byte

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: stepclock OUTPUT")
		os.Exit(2)
	}
	if err := build(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "stepclock:", err)
		os.Exit(1)
	}
}

func build(output string) error {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("ask for GOROOT: %w", err)
	}
	folder := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	original := filepath.Join(folder, "time.go")
	source, err := os.ReadFile(original)
	if err != nil {
		return fmt.Errorf("read the time package: %w", err)
	}
	if strings.Count(string(source), reads) != 1 {
		return errors.New("time.Now of this Go does not read the clock as expected")
	}
	dir, err := os.MkdirTemp("", "stepclock-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	changed, added, list := filepath.Join(dir, "time.go"), filepath.Join(dir, "stepped.go"), filepath.Join(dir, "overlay.json")
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{
		original: changed, filepath.Join(folder, "stepped_field.go"): added,
	}})
	if err != nil {
		return err
	}
	for path, text := range map[string][]byte{
		changed: []byte(strings.Replace(string(source), reads, adds, 1)), added: stepped, list: overlay,
	} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return err
		}
	}
	cmd := exec.Command("go", "build", "-trimpath", "-overlay", list, "-o", output, "./cmd/grace") //nolint:gosec // the output is the caller's
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build GRACE with a clock that can be set: %w", err)
	}
	return nil
}
