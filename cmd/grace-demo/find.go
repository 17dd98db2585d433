package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"grace/internal/cli"
)

// findGrace gives the program that the demo starts as GRACE: the one that was
// named; else the one beside this program, which is of the same build; else
// that of PATH. It is looked for before anything is started.
func findGrace(named string) (string, error) {
	if named != "" {
		path, err := exec.LookPath(named)
		if err != nil {
			return "", &cli.Failure{Code: cli.ExitNotFound, Message: fmt.Sprintf("--grace %s is no program that can be started: %v", named, err), Hint: "build one with: make build; it is bin/grace then", Cause: err}
		}
		return path, nil
	}
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	return lookBeside(self)
}

// lookBeside gives grace from the folder of a program, or from PATH.
func lookBeside(self string) (string, error) {
	beside := filepath.Join(filepath.Dir(self), "grace")
	if path, err := exec.LookPath(beside); err == nil {
		return path, nil
	}
	path, err := exec.LookPath("grace")
	if err != nil {
		return "", &cli.Failure{
			Code: cli.ExitNotFound, Message: fmt.Sprintf("the program grace is neither %s nor in PATH", beside),
			Hint: "build both with: make build; or name it with --grace PATH", Cause: err,
		}
	}
	return path, nil
}
