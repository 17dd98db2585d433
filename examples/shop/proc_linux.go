package shop

import (
	"os/exec"
	"syscall"
)

// ownSession lets a process outlive the one that starts it.
func ownSession(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
}

// dieWithParent has the kernel kill a child whose starting thread ended.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
