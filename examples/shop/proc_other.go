//go:build !linux

package shop

import "os/exec"

// ownSession does nothing here: the platform gets the terminal's signals too.
func ownSession(*exec.Cmd) {}

// dieWithParent does nothing here: children end when standard input closes.
func dieWithParent(*exec.Cmd) {}
