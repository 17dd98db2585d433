package main

import (
	"syscall"
	"testing"
)

// TestUndumpable: the commands that GRACE runs must not read its secrets from
// /proc.
func TestUndumpable(t *testing.T) {
	if err := undumpable(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_SET_DUMPABLE, 1, 0) })
	if v, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_GET_DUMPABLE, 0, 0); errno != 0 || v != 0 {
		t.Errorf("dumpable %d, %v", v, errno)
	}
}
