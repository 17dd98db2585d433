// Package guard starts a program that does not outlive what it was started for.
//
// A time limit that lives in the process which set it dies with that process:
// after a kill -9 the program goes on, and acts on what has long been judged
// without it. So a second process stands between the two:
//
//	this process ── control pipe ──> guard ── starts, waits for ──> program
//	             <── reports ───────                                in a group of its own
//
// The guard ends the program's process group (SIGTERM, after KillAfter SIGKILL)
//
//   - when the control pipe gives EOF: this process holds its only writing end,
//     so it has asked for it (the context of Wait ended) or is dead, however it
//     died;
//   - when Limit is over, though this process is stopped (SIGSTOP) and cannot ask.
//
// A program that has ended by itself is never touched again, nor is what it left
// running. What it moved into another process group or session is out of reach,
// too: that is how a daemon says that it is meant to stay.
//
// The guard is this executable again (child.Name is its argv[0]): every binary that
// imports the package can become one, before anything else of it runs. It is in
// a process group of its own, so that neither an interrupt nor a stop typed at
// the terminal reaches it; it lets SIGTERM, SIGINT, SIGQUIT and SIGHUP pass. Its
// name is not that of the program it guards for, so that killing all processes
// of that name leaves it its work. When the guard itself is killed, this process
// kills the group; on Linux the kernel kills the program (not its children)
// though this process is dead as well.
package guard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"grace/internal/guard/child"
)

var (
	// ErrNotGuarded is that there is no guard, so the program was not started.
	ErrNotGuarded = errors.New("its guard process could not be started")
	// ErrLost is the end of a guard that has not said how its program ended.
	ErrLost = errors.New("its guard process ended early")
)

// hungAfter is how long after the time for SIGKILL a guard that was asked to
// end its program is taken for hung.
const hungAfter = 2 * time.Second

// Limits say how long a program may run.
type Limits struct {
	Limit     time.Duration // 0: no limit
	KillAfter time.Duration // between SIGTERM and SIGKILL
}

// Process is a program under guard.
type Process struct {
	PID int // of the program, the leader of its process group

	limits  Limits
	cmd     *exec.Cmd // the guard
	control *os.File  // held open for as long as the program may run
	reports *os.File
}

// End is how a program ended.
type End struct {
	Status  syscall.WaitStatus // of the program
	Stopped error              // why it was stopped, nil when it ended by itself
}

// Start starts program under a guard. It takes what exec.Cmd.Start takes, but
// no ExtraFiles and no SysProcAttr, and gives the errors that it gives,
// besides ErrNotGuarded. After ErrLost the program may have run.
func Start(program *exec.Cmd, limits Limits) (*Process, error) {
	if program.Err != nil {
		return nil, program.Err
	}
	path, err := child.Self()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotGuarded, err)
	}
	theirControl, control, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotGuarded, err)
	}
	defer theirControl.Close()
	reports, theirReports, err := os.Pipe()
	if err != nil {
		_ = control.Close()
		return nil, fmt.Errorf("%w: %w", ErrNotGuarded, err)
	}
	defer theirReports.Close()
	p := &Process{limits: limits, cmd: program, control: control, reports: reports}
	target := program.Path
	program.Args = append(child.Arguments(limits.Limit, limits.KillAfter, program.Dir, target), program.Args...)
	program.Path, program.Dir = path, ""
	program.ExtraFiles = []*os.File{theirControl, theirReports}
	program.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := program.Start(); err != nil {
		p.close()
		return nil, fmt.Errorf("%w: %w", ErrNotGuarded, err)
	}
	// Else this process would wait for itself when the guard is killed.
	_ = theirReports.Close()
	first := p.first()
	if first.Kind == child.Started {
		p.PID = int(first.Value)
		return p, nil
	}
	p.close()
	_ = program.Wait()
	if first.Kind == child.NotStarted {
		return nil, &os.PathError{Op: "fork/exec", Path: target, Err: syscall.Errno(first.Value)}
	}
	return nil, fmt.Errorf("%w (%s)", ErrLost, program.ProcessState)
}

// startTime is how long a guard may take to report that it has started the program: ms,
// unless it was stopped or the machine stands still.
const startTime = 30 * time.Second

// first gives the guard's first report; a guard that gives none in time is killed, and
// the program with it.
func (p *Process) first() child.Report {
	late := time.AfterFunc(startTime, func() { _ = p.cmd.Process.Kill() })
	defer late.Stop()
	return p.next()
}

// Wait waits until the program has ended. When ctx ends first, the program's
// group is ended, and so it is by the guard when the limit is over. The error is
// ErrLost, or tells what was wrong with the output as exec.Cmd.Wait does.
func (p *Process) Wait(ctx context.Context) (End, error) {
	defer p.close()
	told := make(chan child.Report, 1)
	go func() { told <- p.next() }()
	var end End
	var last child.Report
	select {
	case last = <-told:
	case <-ctx.Done():
		end.Stopped = ctx.Err()
		_, _ = p.control.Write([]byte{0}) // else it takes this process for dead
		_ = p.control.Close()
		last = p.ending(told)
	}
	if last.Kind == child.Nothing {
		p.killGroup()
	}
	err := p.cmd.Wait()
	if last.Kind == child.Nothing {
		return end, fmt.Errorf("%w (%s)", ErrLost, p.cmd.ProcessState)
	}
	if last.Kind == child.OverLimit && end.Stopped == nil {
		end.Stopped = context.DeadlineExceeded
	}
	end.Status = syscall.WaitStatus(last.Value)
	if _, exited := errors.AsType[*exec.ExitError](err); exited {
		err = nil // of the guard, after its report
	}
	return end, err
}

// ending waits for a guard that was asked to end its program.
func (p *Process) ending(told <-chan child.Report) child.Report {
	hung := time.NewTimer(p.limits.KillAfter + hungAfter)
	defer hung.Stop()
	select {
	case last := <-told:
		return last
	case <-hung.C:
	}
	p.killGroup()
	_ = p.cmd.Process.Kill()
	return <-told
}

func (p *Process) killGroup() { _ = syscall.Kill(-p.PID, syscall.SIGKILL) }

func (p *Process) close() {
	_ = p.control.Close()
	_ = p.reports.Close()
}

// next gives the guard's next child.Report, nothing when there will be none.
func (p *Process) next() child.Report {
	var r [child.ReportSize]byte
	if _, err := io.ReadFull(p.reports, r[:]); err != nil {
		return child.Report{}
	}
	return child.ParseReport(r)
}
