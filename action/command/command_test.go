package command_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"grace"
	"grace/action/command"
	"grace/gracetest"
	"grace/internal/patience"
)

const secret = `s3cr"et value`

// longSecret shrinks so much by redaction that the oldest of what was kept
// comes into what is shown.
var longSecret = strings.Repeat("0123456789", 40) + "end"

// The test binary is the program that is run: its part is chosen by argv.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "child" {
		// Not os.Exit: a binary built with -race sleeps for a second in it.
		_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT_GROUP, uintptr(child(os.Args[2], os.Args[3:])), 0, 0)
	}
	os.Exit(m.Run())
}

func child(part string, args []string) int {
	switch part {
	case "exit":
		code, _ := strconv.Atoi(args[0])
		fmt.Fprintln(os.Stderr, "leaving with", code)
		return code
	case "env":
		for _, kv := range os.Environ() {
			fmt.Println(kv)
		}
	case "json":
		fmt.Println("working")
		fmt.Printf("{\"replicas\": 3, \"up\": true, \"token\": %q, \"list\": []}\n\n", os.Getenv("TOKEN"))
	case "complain": // says what is wrong, and then something else elsewhere
		fmt.Fprintln(os.Stderr, "the disk is full")
		fmt.Println("bye")
		return 1
	case "flood":
		line := strings.Repeat("z", 1023)
		for range 2048 {
			fmt.Println(line)
		}
		fmt.Println("the end")
	case "flood-secret":
		w := bufio.NewWriter(os.Stdout)
		for range 2000 {
			fmt.Fprint(w, os.Getenv("TOKEN"), " ")
		}
		_ = w.Flush()
	case "binary":
		_, _ = os.Stdout.Write([]byte{'a', 0, 0xff, 'b'})
	case "family": // starts a child that does not listen to SIGTERM, and waits
		pidFile := args[0]
		proc, err := os.StartProcess(os.Args[0], []string{os.Args[0], "child", "stubborn", pidFile},
			&os.ProcAttr{Files: []*os.File{nil, os.Stdout, os.Stderr}})
		if err != nil {
			return 1
		}
		_, _ = proc.Wait()
	case "stubborn":
		ignoreTerm()
		_ = os.WriteFile(args[0]+".tmp", []byte(strconv.Itoa(os.Getpid())), 0o600)
		_ = os.Rename(args[0]+".tmp", args[0])
		time.Sleep(time.Minute)
	case "daemon": // leaves a child that holds the output open
		_, err := os.StartProcess(os.Args[0], []string{os.Args[0], "child", "linger"},
			&os.ProcAttr{Files: []*os.File{nil, os.Stdout, os.Stderr}})
		if err != nil {
			return 1
		}
		fmt.Println("started")
	case "linger":
		time.Sleep(2 * time.Second)
	case "suicide":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		time.Sleep(time.Minute)
	default:
		return guardedChild(part, args)
	}
	return 0
}

func run(part string, args ...any) map[string]any {
	return map[string]any{"argv": append([]any{os.Args[0], "child", part}, args...)}
}

func with(m map[string]any, kv ...any) map[string]any {
	for i := 0; i < len(kv); i += 2 {
		m[kv[i].(string)] = kv[i+1]
	}
	return m
}

func TestConformance(t *testing.T) {
	t.Setenv("COMMAND_TOKEN", secret)
	t.Setenv("COMMAND_LONG", longSecret)
	token := map[string]any{"TOKEN": "${env:COMMAND_TOKEN}"}
	retryable := func(want bool) func(*testing.T, grace.Outcome) {
		return func(t *testing.T, out grace.Outcome) {
			if out.Retryable != want {
				t.Errorf("retryable %v, want %v", out.Retryable, want)
			}
		}
	}
	gracetest.Action(t, func(*testing.T) grace.Action { return command.New() }, []gracetest.ActionCase{
		{Name: "succeeds", With: run("exit", 0), Want: grace.OutcomeSucceeded},
		{Name: "a wanted code", With: with(run("exit", 3), "ok_codes", []any{0, 3}), Want: grace.OutcomeSucceeded},
		{Name: "an unwanted code", With: run("exit", 3), Want: grace.OutcomeFailed, Check: func(t *testing.T, out grace.Outcome) {
			if !out.Retryable || !strings.Contains(out.Error, "code 3, want 0: leaving with 3") {
				t.Errorf("%+v", out)
			}
		}},
		{Name: "the errors count", With: run("complain"), Want: grace.OutcomeFailed, Check: func(t *testing.T, out grace.Outcome) {
			if !strings.HasSuffix(out.Error, ": the disk is full") || !strings.Contains(out.Output, "bye") {
				t.Errorf("%+v", out)
			}
		}},
		{Name: "ended by a signal", With: run("suicide"), Want: grace.OutcomeUnknown, Check: retryable(true)},
		{Name: "no such program", With: map[string]any{"argv": []any{"/nonexistent/program"}}, Want: grace.OutcomeFailed, Check: retryable(false)},
		{Name: "no such directory", With: with(run("exit", 0), "dir", "/nonexistent"), Want: grace.OutcomeFailed},
		{Name: "secret in the environment", With: with(run("env"), "env", token), Want: grace.OutcomeSucceeded, Secrets: []string{secret}},
		{Name: "secret in many places", With: with(run("flood-secret"), "env", map[string]any{"TOKEN": "${env:COMMAND_LONG}"}), Want: grace.OutcomeSucceeded, Secrets: []string{longSecret, "012345", "9end"}},
		{Name: "data", With: with(run("json"), "env", token), Want: grace.OutcomeSucceeded, Secrets: []string{secret}, Check: func(t *testing.T, out grace.Outcome) {
			if out.Data["replicas"] != "3" || out.Data["up"] != "true" || out.Data["token"] != "[secret]" || len(out.Data) != 3 {
				t.Errorf("data %v", out.Data)
			}
		}},
		{Name: "secret not set", With: with(run("env"), "env", map[string]any{"T": "${env:COMMAND_NOT_SET}"}), Want: grace.OutcomeFailed, Check: retryable(false)},
		{Name: "binary output", With: run("binary"), Want: grace.OutcomeSucceeded},
		{Name: "flood", With: run("flood"), Want: grace.OutcomeSucceeded, Check: func(t *testing.T, out grace.Outcome) {
			if !strings.HasSuffix(out.Output, "the end") || !strings.HasPrefix(out.Output, "[20") {
				t.Errorf("kept %q ... %q", out.Output[:40], out.Output[len(out.Output)-20:])
			}
		}},
		{Name: "leaves a daemon", With: run("daemon"), Want: grace.OutcomeSucceeded, Check: func(t *testing.T, out grace.Outcome) {
			if !strings.HasPrefix(out.Output, "started\n[it left running: command.test (pid ") || out.Ended.Sub(out.Started) > 1900*time.Millisecond {
				t.Errorf("waited %s for a child that was left behind", out.Ended.Sub(out.Started))
			}
		}},
		{Name: "timeout", With: run("linger"), Timeout: 100 * time.Millisecond, Want: grace.OutcomeUnknown, Check: func(t *testing.T, out grace.Outcome) {
			if !strings.Contains(out.Error, "its time was over") {
				t.Errorf("says %q", out.Error)
			}
		}},
		{Name: "no argv", With: map[string]any{}, Invalid: true},
		{Name: "a shell line", With: map[string]any{"argv": []any{"systemctl restart nginx"}}, Invalid: true},
		{Name: "text for argv", With: map[string]any{"argv": "systemctl"}, Invalid: true},
		{Name: "secret in argv", With: map[string]any{"argv": []any{"curl", "-H", "X: ${env:COMMAND_TOKEN}"}}, Invalid: true},
		{Name: "secret file in argv", With: map[string]any{"argv": []any{"x", "${file:/etc/token}"}}, Invalid: true},
		{Name: "secret in dir", With: with(run("exit", 0), "dir", "/${env:COMMAND_TOKEN}"), Invalid: true},
		{Name: "bad variable", With: with(run("exit", 0), "env", map[string]any{"A=B": "c"}), Invalid: true},
		{Name: "bad code", With: with(run("exit", 0), "ok_codes", []any{256}), Invalid: true},
		{Name: "misspelt key", With: with(run("exit", 0), "okcodes", []any{0}), Invalid: true},
		{Name: "negative kill_after", With: with(run("exit", 0), "kill_after", "-1s"), Invalid: true},
	})
}

func TestEnvironmentIsMinimal(t *testing.T) {
	t.Setenv("COMMAND_UNLISTED", "x")
	t.Setenv("COMMAND_LISTED", "y")
	t.Setenv("LANG", "C.UTF-8")
	out := command.New().Do(t.Context(), grace.ActionRequest{
		Run: "r-1", Step: "restart", Service: "shop", Phase: grace.PhaseUndo, Attempt: 2, IdempotencyKey: "r-1/restart/undo",
		With: with(run("env"), "inherit", []any{"COMMAND_LISTED"}, "env", map[string]any{"N": 5}),
	})
	lines := "\n" + out.Output + "\n"
	for _, want := range []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "LANG=C.UTF-8", "COMMAND_LISTED=y", "N=5",
		"GRACE_RUN=r-1", "GRACE_STEP=restart", "GRACE_SERVICE=shop", "GRACE_PHASE=undo", "GRACE_ATTEMPT=2", "GRACE_IDEMPOTENCY_KEY=r-1/restart/undo",
	} {
		if !strings.Contains(lines, "\n"+want+"\n") {
			t.Errorf("the program did not get %s", want)
		}
	}
	if strings.Contains(lines, "COMMAND_UNLISTED") {
		t.Error("the program got a variable that was not listed")
	}
}

// A timeout must reach children too, also those that do not listen to SIGTERM:
// whether the program itself outlives kill_after or goes at once.
func TestTimeoutEndsTheGroup(t *testing.T) {
	for _, killAfter := range []string{"100ms", "1m"} {
		t.Run(killAfter, func(t *testing.T) { timeoutEndsTheGroup(t, killAfter) })
	}
}

func timeoutEndsTheGroup(t *testing.T, killAfter string) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan grace.Outcome, 1)
	go func() {
		done <- command.New().Do(ctx, grace.ActionRequest{With: with(run("family", pidFile), "kill_after", killAfter)})
	}()
	pid := waitForPID(t, pidFile)
	cancel()
	out := <-done
	if out.Status != grace.OutcomeUnknown || !strings.Contains(out.Error, "was stopped because the run was aborted") {
		t.Errorf("%s: %s", out.Status, out.Error)
	}
	patience.Until(t, func() error {
		if !dead(pid) {
			return fmt.Errorf("child %d still runs", pid)
		}
		return nil
	})
}

func waitForPID(t *testing.T, file string) int {
	t.Helper()
	var data []byte
	patience.Until(t, func() (err error) {
		data, err = os.ReadFile(file)
		return err
	})
	pid, err := strconv.Atoi(string(data))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// dead is also true of a zombie that nobody has reaped yet.
func dead(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return true
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}

func ignoreTerm() { signal.Ignore(syscall.SIGTERM) }
