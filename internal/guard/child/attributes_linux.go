package child

import (
	"syscall"
	"unsafe"
)

// Self is this executable as it was started: its file may have been replaced
// since (an update), and another version would not be understood.
func Self() (string, error) { return "/proc/self/exe", nil }

// attributes of the program. That the kernel kills it when the guard is killed
// counts from the thread which started it: init runs on the first one, which
// lasts as long as the process.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// setName is for lists that show no arguments, where it would be "exe".
func setName() {
	name := append([]byte(Name), 0)
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_SET_NAME, uintptr(unsafe.Pointer(&name[0])), 0)
}
