// Package child is the guard process of package guard, seen from within.
//
// It imports little, and nothing of GRACE, so that its init comes before that
// of nearly all packages of a binary: in cmd/grace 1 ms of init comes before it,
// in package guard it would be 4 ms.
package child

import (
	"os"
	"os/signal"
	"syscall"
	"time"
)

// Name is argv[0] of a guard. It and the settings of the guard stand before
// the program's own arguments in the list of processes.
const Name = "step-guard"

// The files that a guard is given besides standard input, output and errors.
const (
	controlFile = 3
	reportFile  = 4
)

// orphaned is how long a program that does not listen may go on once the parent is
// dead: the next one judges the service in a moment.
const orphaned = time.Second

// settings is how many arguments follow Name: limit, kill after, dir, path.
const settings = 4

// Arguments of a guard, which those of the program follow.
func Arguments(limit, killAfter time.Duration, dir, path string) []string {
	return []string{Name, limit.String(), killAfter.String(), dir, path}
}

// A guard is made here, and not in main, so that every binary has one without
// a line of its own, and before the other packages cost time or do anything.
func init() { //nolint:gochecknoinits // see above
	if len(os.Args) > 1+settings && os.Args[0] == Name {
		serve(os.Args[1:])
		// Not os.Exit: a binary built with -race sleeps for a second in it.
		syscall.Exit(0)
	}
}

// serve is the whole life of a guard.
func serve(args []string) {
	limit, err := time.ParseDuration(args[0])
	if err != nil {
		return
	}
	killAfter, err := time.ParseDuration(args[1])
	if err != nil {
		return
	}
	setName()
	letPass(syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM)
	syscall.CloseOnExec(controlFile)
	syscall.CloseOnExec(reportFile)
	if !parentLives() {
		return
	}
	// Not os.StartProcess: it probes the kernel with a child of its own first.
	pid, err := syscall.ForkExec(args[3], args[settings:], &syscall.ProcAttr{
		Dir: args[2], Env: os.Environ(), Files: []uintptr{0, 1, 2}, Sys: attributes(),
	})
	if err != nil {
		errno, _ := err.(syscall.Errno) //nolint:errorlint // as forkExec gives it
		Report{NotStarted, uint32(errno)}.send()
		return
	}
	Report{Started, uint32(pid)}.send() //nolint:gosec // a process id is positive
	watch(pid, limit, killAfter).send()
}

// watch gives how the program ended, and sees to it that it does.
func watch(pid int, limit, killAfter time.Duration) Report {
	over := make(chan syscall.WaitStatus, 1)
	go func() { over <- wait(pid) }()
	gone := make(chan bool, 1) // whether the parent said so before
	go func() {
		told := false
		for b := make([]byte, 1); ; {
			n, err := syscall.Read(controlFile, b)
			if err != syscall.EINTR && n <= 0 {
				gone <- told
				return
			}
			told = told || n > 0
		}
	}()
	var limitOver <-chan time.Time
	if limit > 0 {
		limitOver = time.After(limit)
	}
	kind := Ended
	select {
	case status := <-over:
		return Report{kind, uint32(status)}
	case told := <-gone:
		if !told {
			killAfter = min(killAfter, orphaned)
		}
	case <-limitOver:
		kind = OverLimit
	}
	select {
	case status := <-over: // by itself: what it left is meant to stay
		return Report{Ended, uint32(status)}
	default:
	}
	_ = syscall.Kill(-pid, syscall.SIGTERM)
	select {
	case status := <-over:
		// The program went; whatever it started and that did not listen goes too.
		_ = syscall.Kill(-pid, syscall.SIGKILL)
		return Report{kind, uint32(status)}
	case <-time.After(killAfter):
		_ = syscall.Kill(-pid, syscall.SIGKILL)
		return Report{kind, uint32(<-over)}
	}
}

func wait(pid int) syscall.WaitStatus {
	var status syscall.WaitStatus
	for {
		if _, err := syscall.Wait4(pid, &status, 0, nil); err != syscall.EINTR {
			return status
		}
	}
}

// letPass catches signals for nothing. They are not ignored: the program would
// inherit that, as it does what is ignored already.
func letPass(signals ...os.Signal) {
	for _, s := range signals {
		if !signal.Ignored(s) {
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
}

// parentLives is false when nobody holds the control pipe any more: then
// nothing is to be started.
func parentLives() bool {
	if syscall.SetNonblock(controlFile, true) != nil {
		return false
	}
	var err error = syscall.EINTR
	for err == syscall.EINTR {
		_, err = syscall.Read(controlFile, make([]byte, 1))
	}
	// The parent may have left its own end of the reports in any state.
	return err == syscall.EAGAIN && syscall.SetNonblock(controlFile, false) == nil && syscall.SetNonblock(reportFile, false) == nil
}
