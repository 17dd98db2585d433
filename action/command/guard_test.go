package command_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"grace"
	"grace/action/command"
	"grace/internal/patience"
)

// lateBy is when an orphan would act. It is never waited for: a group that is
// gone without having acted never will.
const lateBy = 10 * time.Second

// guardedChild are the parts of tests about who outlives whom.
func guardedChild(part string, args []string) int {
	switch part {
	case "grace": // TIMEOUT PART ARGS: runs the action in a process of its own, says how it ended, and waits
		limit, _ := time.ParseDuration(args[0])
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		var more []any
		for _, a := range args[2:] {
			more = append(more, a)
		}
		out := command.New().Do(ctx, grace.ActionRequest{With: with(run(args[1], more...), "kill_after", "100ms")})
		fmt.Printf("%s %s\n", out.Status, out.Error)
		_, _ = io.Copy(io.Discard, os.Stdin)
	case "late": // DIR: a grandchild acts late, and does not listen to SIGTERM
		tellIDs(args[0], "program")
		proc := spawn("late-grandchild", args[0])
		if proc == nil {
			return 1
		}
		_, _ = proc.Wait()
	case "late-grandchild":
		ignoreTerm()
		tellIDs(args[0], "grandchild")
		time.Sleep(lateBy)
		_ = os.WriteFile(filepath.Join(args[0], "acted"), nil, 0o600)
	case "daemon-when-told": // DIR: leaves a daemon when there is a file go
		tellIDs(args[0], "program")
		for !exists(filepath.Join(args[0], "go")) {
			time.Sleep(time.Millisecond)
		}
		if spawn("staying", args[0]) == nil {
			return 1
		}
	case "staying":
		tellIDs(args[0], "daemon")
		time.Sleep(time.Minute)
	case "inherited": // what a program gets besides its arguments
		status, _ := os.ReadFile("/proc/self/status")
		for line := range strings.Lines(string(status)) {
			if strings.HasPrefix(line, "Sig") {
				fmt.Print(line)
			}
		}
		for _, pid := range []string{"self", strconv.Itoa(os.Getppid())} {
			files, _ := filepath.Glob("/proc/" + pid + "/fd/*")
			for _, f := range files {
				to, _ := os.Readlink(f)
				kind, _, _ := strings.Cut(to, ":")
				fmt.Println("file", pid == "self", filepath.Base(f), kind+":")
			}
		}
		fmt.Println("leader", os.Getpid() == syscall.Getpgrp())
	}
	return 0
}

// ids of a process.
type ids struct{ pid, group, parent int }

// spawn starts a part that holds no output open.
func spawn(part, dir string) *os.Process {
	proc, err := os.StartProcess(os.Args[0], []string{os.Args[0], "child", part, dir}, &os.ProcAttr{Files: []*os.File{nil, nil, nil}})
	if err != nil {
		return nil
	}
	return proc
}

func tellIDs(dir, name string) {
	file := filepath.Join(dir, name)
	_ = os.WriteFile(file+".tmp", fmt.Appendf(nil, "%d %d %d", os.Getpid(), syscall.Getpgrp(), os.Getppid()), 0o600)
	_ = os.Rename(file+".tmp", file)
}

func askIDs(t *testing.T, dir, name string) (p ids) {
	t.Helper()
	patience.Until(t, func() error {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		_, err = fmt.Sscan(string(data), &p.pid, &p.group, &p.parent)
		return err
	})
	return p
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// helper is a GRACE that can be killed.
type helper struct {
	cmd  *exec.Cmd
	says *bufio.Reader
}

func startHelper(t *testing.T, limit time.Duration, part, dir string) helper {
	t.Helper()
	cmd := exec.Command(os.Args[0], "child", "grace", limit.String(), part, dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return helper{cmd, bufio.NewReader(out)}
}

func (h helper) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := h.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// stop returns when the helper stands still.
func (h helper) stop(t *testing.T) {
	t.Helper()
	h.signal(t, syscall.SIGSTOP)
	patience.Until(t, func() error {
		if !h.stopped() {
			return errors.New("the helper is not stopped")
		}
		return nil
	})
}

func (h helper) stopped() bool {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", h.cmd.Process.Pid))
	return strings.Contains(string(stat), ") T ")
}

// members of a process group that are no zombies.
func members(t *testing.T, group int) (pids []string) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range stats {
		data, _ := os.ReadFile(file)
		at := strings.LastIndex(string(data), ") ")
		if at < 0 {
			continue // it has gone meanwhile
		}
		if f := strings.Fields(string(data)[at+2:]); f[0] != "Z" && f[2] == strconv.Itoa(group) {
			pids = append(pids, filepath.Base(filepath.Dir(file)))
		}
	}
	return pids
}

// neverActs returns when nobody of the group is left, and nobody has acted.
func neverActs(t *testing.T, dir string, group int) {
	t.Helper()
	patience.Until(t, func() error {
		if left := members(t, group); len(left) > 0 {
			return fmt.Errorf("of group %d there are %v", group, left)
		}
		return nil
	})
	if exists(filepath.Join(dir, "acted")) {
		t.Error("the grandchild has acted")
	}
}

func TestKilledGRACETakesTheProgramAlong(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := startHelper(t, time.Hour, "late", dir)
	group := askIDs(t, dir, "grandchild").group
	h.signal(t, syscall.SIGKILL)
	neverActs(t, dir, group)
}

func TestStoppedGRACEKeepsTheTimeLimit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := startHelper(t, 2*time.Second, "late", dir)
	group := askIDs(t, dir, "grandchild").group
	h.stop(t)
	neverActs(t, dir, group)
	if !h.stopped() {
		t.Error("the helper is not stopped any more: this shows nothing")
	}
	h.signal(t, syscall.SIGCONT)
	if line, err := h.says.ReadString('\n'); err != nil || !strings.HasPrefix(line, "unknown ") || !strings.Contains(line, "its time was over") {
		t.Errorf("says %q, %v", line, err)
	}
}

func TestDaemonOutlivesGRACE(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(t *testing.T, h helper, dir string, program ids){
		"told": func(t *testing.T, h helper, dir string, _ ids) {
			leave(t, dir)
			if line, err := h.says.ReadString('\n'); err != nil || !strings.HasPrefix(line, "succeeded ") {
				t.Errorf("says %q, %v", line, err)
			}
		},
		// GRACE has not heard of the program's end, and its death is no reason
		// to end what the program left.
		"stopped": func(t *testing.T, h helper, dir string, program ids) {
			h.stop(t)
			leave(t, dir)
			patience.Until(t, func() error {
				if !dead(program.parent) {
					return fmt.Errorf("the guard %d still runs", program.parent)
				}
				return nil
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			h := startHelper(t, time.Hour, "daemon-when-told", dir)
			program := askIDs(t, dir, "program")
			end(t, h, dir, program)
			daemon := askIDs(t, dir, "daemon")
			t.Cleanup(func() { _ = syscall.Kill(daemon.pid, syscall.SIGKILL) })
			h.signal(t, syscall.SIGKILL)
			_ = h.cmd.Wait()
			if dead(daemon.pid) || daemon.group != program.pid {
				t.Errorf("the daemon %+v of program %+v is gone", daemon, program)
			}
		})
	}
}

func leave(t *testing.T, dir string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestKilledGuard(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	done := make(chan grace.Outcome, 1)
	go func() { done <- command.New().Do(t.Context(), grace.ActionRequest{With: run("late", dir)}) }()
	program, grandchild := askIDs(t, dir, "program"), askIDs(t, dir, "grandchild")
	for _, harmless := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGKILL} {
		if err := syscall.Kill(program.parent, harmless); err != nil {
			t.Fatalf("%v: %v", harmless, err)
		}
	}
	if out := <-done; out.Status != grace.OutcomeUnknown || !out.Retryable || !strings.Contains(out.Error, "its guard process ended early (signal: killed); it may have taken effect") {
		t.Errorf("%+v", out)
	}
	neverActs(t, dir, grandchild.group)
}

// With nobody left to end the group, the kernel ends the program.
func TestKilledGuardOfStoppedGRACE(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := startHelper(t, time.Hour, "late", dir)
	program, grandchild := askIDs(t, dir, "program"), askIDs(t, dir, "grandchild")
	t.Cleanup(func() { _ = syscall.Kill(grandchild.pid, syscall.SIGKILL) })
	h.stop(t)
	if err := syscall.Kill(program.parent, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	patience.Until(t, func() error {
		if !dead(program.pid) {
			return fmt.Errorf("program %d still runs", program.pid)
		}
		return nil
	})
	if exists(filepath.Join(dir, "acted")) {
		t.Error("the program has ended by itself")
	}
}

// A program gets what it got without a guard, and neither gets GRACE's sockets.
func TestInheritsNothingOfTheGuard(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	direct, err := exec.Command(os.Args[0], "child", "inherited").Output()
	if err != nil {
		t.Fatal(err)
	}
	out := command.New().Do(t.Context(), grace.ActionRequest{With: run("inherited")})
	if out.Status != grace.OutcomeSucceeded {
		t.Fatalf("%+v", out)
	}
	guardFiles := map[string]string{}
	for line := range strings.Lines(out.Output) {
		if f := strings.Fields(line); f[0] == "file" && f[1] == "false" {
			guardFiles[f[2]] = f[3]
		}
	}
	if got, want := inherited(out.Output), inherited(string(direct)); got != want {
		t.Errorf("the program got\n%swant\n%s", got, want)
	}
	if !strings.Contains(out.Output, "leader true") {
		t.Error("the program does not lead its process group")
	}
	for file, kind := range guardFiles {
		if kind == "socket:" {
			t.Errorf("the guard holds socket %s", file)
		}
	}
	if guardFiles["3"] != "pipe:" || guardFiles["4"] != "pipe:" {
		t.Errorf("this did not look at the guard: %v", guardFiles)
	}
}

// inherited are the lines about signals, and about files that came from
// outside: what a program opens itself is neither a pipe nor a socket.
func inherited(output string) string {
	var b strings.Builder
	for line := range strings.Lines(output) {
		f := strings.Fields(line)
		signals := strings.HasPrefix(f[0], "Sig") && f[0] != "SigQ:"
		if signals || f[0] == "file" && f[1] == "true" && (f[3] == "pipe:" || f[3] == "socket:") {
			b.WriteString(line)
		}
	}
	return b.String()
}

func BenchmarkTrue(b *testing.B) {
	for b.Loop() {
		if out := command.New().Do(b.Context(), grace.ActionRequest{With: map[string]any{"argv": []any{"/bin/true"}}}); out.Status != grace.OutcomeSucceeded {
			b.Fatalf("%+v", out)
		}
	}
}
