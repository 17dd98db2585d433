package main

import (
	"fmt"
	"syscall"
)

// undumpable keeps other processes of the same user, the commands of steps and
// probes among them, from reading this one's memory and environment in /proc:
// the secrets are there.
func undumpable() error {
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_SET_DUMPABLE, 0, 0); errno != 0 {
		return fmt.Errorf("set the process not dumpable: %w", errno)
	}
	return nil
}
