//go:build !linux

package child

import (
	"os"
	"syscall"
)

// Self is this executable, for want of a better way by its name.
func Self() (string, error) { return os.Executable() }

func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func setName() {}
