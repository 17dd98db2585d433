// Package systemdtest starts a real systemd user manager for tests.
//
// [Start] runs `systemd --user` as a child of the test, in a runtime directory
// and with a unit path of its own, so that nothing of the host's is touched. It
// stops the manager and its units when the test ends. Where systemd is missing
// or cannot run (a container without a writable cgroup tree) the test is
// skipped with the reason.
//
// The manager is reached by its private socket: no D-Bus daemon is needed.
// Code under test finds it when XDG_RUNTIME_DIR is [Manager.RuntimeDir].
package systemdtest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"grace/internal/patience"
)

const (
	startWithin = 2 * time.Minute
	stopWithin  = time.Minute
	binary      = "/usr/lib/systemd/systemd"
	hint        = "install it with: apt-get install systemd"
)

// Manager is a running user manager.
type Manager struct {
	// RuntimeDir is the manager's XDG_RUNTIME_DIR.
	RuntimeDir string
	// UnitDir holds the unit files written by Unit.
	UnitDir string

	tb     testing.TB
	home   string
	cgroup []string
	cmd    *exec.Cmd
	exited chan struct{}
	log    bytes.Buffer // read only after exited is closed
}

// Start starts a manager, or skips the test when that is not possible here.
func Start(tb testing.TB) *Manager {
	tb.Helper()
	if _, err := os.Stat(binary); err != nil {
		tb.Skipf("systemd is missing (%v); %s", err, hint)
	}
	if _, err := exec.LookPath("systemctl"); err != nil {
		tb.Skipf("systemctl is missing; %s", hint)
	}
	// The manager refuses to start where systemd was not booted. On a machine
	// of this test alone the sign of it is a directory.
	if err := os.MkdirAll("/run/systemd/system", 0o755); err != nil {
		tb.Skipf("systemd was not booted here, and the test may not pretend it: %v", err)
	}
	m := &Manager{tb: tb, exited: make(chan struct{})}
	m.directories()
	if err := m.start(); err != nil {
		tb.Skipf("systemd --user does not run here: %v", err)
	}
	return m
}

// directories makes the manager's folders. They are not tb.TempDir: the name
// of a test would make the socket's path longer than the 107 bytes allowed.
func (m *Manager) directories() {
	m.tb.Helper()
	root, err := os.MkdirTemp("", "gsd")
	if err != nil {
		m.tb.Fatal(err)
	}
	m.tb.Cleanup(func() { _ = os.RemoveAll(root) })
	m.RuntimeDir = filepath.Join(root, "run")
	m.home = filepath.Join(root, "home")
	m.UnitDir = filepath.Join(root, "units")
	for _, dir := range []string{m.RuntimeDir, m.home, m.UnitDir} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			m.tb.Fatal(err)
		}
	}
}

func (m *Manager) start() error {
	m.ownCgroup()
	// The shell moves itself into the cgroup before it becomes the manager:
	// moved later, its first units would already be elsewhere.
	script := "for c in \"$@\"; do echo $$ > $c/cgroup.procs || exit 1; done; exec " + binary + " --user --unit=basic.target"
	m.cmd = exec.Command("/bin/sh", append([]string{"-c", script, "sh"}, m.cgroup...)...)
	m.cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + m.home,
		"XDG_RUNTIME_DIR=" + m.RuntimeDir,
		// The trailing folder brings basic.target and shutdown.target.
		"SYSTEMD_UNIT_PATH=" + m.UnitDir + ":/usr/lib/systemd/user",
	}
	m.cmd.Stdout, m.cmd.Stderr = &m.log, &m.log
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := m.cmd.Start(); err != nil {
		m.removeCgroup()
		return err
	}
	go func() {
		defer close(m.exited)
		_ = m.cmd.Wait()
	}()
	m.tb.Cleanup(m.stop)
	if !m.within(startWithin, m.ready) {
		m.stop()
		return fmt.Errorf("it was not ready within %s: %s", startWithin, strings.TrimSpace(m.log.String()))
	}
	return nil
}

func (m *Manager) ready() bool {
	out, err := m.Systemctl("is-active", "basic.target")
	return err == nil && strings.TrimSpace(out) == "active"
}

// ownCgroup makes a cgroup for the manager in every hierarchy that systemd
// uses and that may be written to. Two managers in one cgroup would kill each
// other's units of the same name. The name is that of the manager's folder in
// every hierarchy, because systemd takes it to be the same in all.
func (m *Manager) ownCgroup() {
	name := "grace-test-" + filepath.Base(filepath.Dir(m.RuntimeDir))
	for _, root := range []string{"/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"} {
		if _, err := os.Stat(filepath.Join(root, "cgroup.procs")); err != nil {
			continue
		}
		dir := filepath.Join(root, name)
		if os.Mkdir(dir, 0o755) == nil {
			m.cgroup = append(m.cgroup, dir)
		}
	}
}

// removeCgroup removes the cgroups bottom up; os.RemoveAll cannot, because
// their files cannot be removed.
func (m *Manager) removeCgroup() {
	for _, root := range m.cgroup {
		var dirs []string
		_ = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		for _, dir := range slices.Backward(dirs) {
			// A cgroup is busy until the kernel has let go of its last process.
			m.poll(time.Second, func() bool { return os.Remove(dir) == nil || errors.Is(statErr(dir), os.ErrNotExist) })
		}
	}
}

// stop ends the manager, which ends its units; what is left of it is killed.
func (m *Manager) stop() {
	_ = m.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-m.exited:
	case <-time.After(stopWithin):
		_ = m.cmd.Process.Kill()
		<-m.exited
	}
	m.killLeft()
	m.removeCgroup()
}

// killLeft kills what still is in the manager's own cgroups.
func (m *Manager) killLeft() {
	for _, root := range m.cgroup {
		_ = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.Name() != "cgroup.procs" {
				return nil //nolint:nilerr // a cgroup that is gone needs no killing
			}
			data, _ := os.ReadFile(path)
			for field := range strings.FieldsSeq(string(data)) {
				if pid, err := strconv.Atoi(field); err == nil && pid > 1 {
					_ = syscall.Kill(pid, syscall.SIGKILL)
				}
			}
			return nil
		})
	}
}

// Unit writes a unit file and makes the manager read it.
func (m *Manager) Unit(name, content string) {
	m.tb.Helper()
	if err := os.WriteFile(filepath.Join(m.UnitDir, name), []byte(content), 0o600); err != nil {
		m.tb.Fatal(err)
	}
	if out, err := m.Systemctl("daemon-reload"); err != nil {
		m.tb.Fatalf("reload the units: %v: %s", err, out)
	}
}

// Systemctl runs systemctl against this manager and gives what it printed.
func (m *Manager) Systemctl(args ...string) (string, error) {
	cmd := exec.Command("systemctl", append([]string{"--user", "--no-pager"}, args...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + m.home, "XDG_RUNTIME_DIR=" + m.RuntimeDir}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("systemctl %s: %w", strings.Join(args, " "), err)
	}
	return string(out), nil
}

// ActiveState gives a unit's state: active, inactive, failed, ...
func (m *Manager) ActiveState(unit string) string {
	m.tb.Helper()
	return m.property(unit, "ActiveState")
}

// MainPID gives the pid of a service's main process, 0 when it has none.
func (m *Manager) MainPID(unit string) int {
	m.tb.Helper()
	pid, err := strconv.Atoi(m.property(unit, "MainPID"))
	if err != nil {
		m.tb.Fatalf("main pid of %s: %v", unit, err)
	}
	return pid
}

// WaitState waits until a unit has the state, and fails the test otherwise.
func (m *Manager) WaitState(unit, state string) {
	m.tb.Helper()
	patience.Until(m.tb, func() error {
		if m.ActiveState(unit) == state {
			return nil
		}
		status, _ := m.Systemctl("status", unit)
		return fmt.Errorf("%s is not %s:\n%s", unit, state, status)
	})
}

func (m *Manager) property(unit, name string) string {
	m.tb.Helper()
	out, err := m.Systemctl("show", "--property="+name, "--value", unit)
	if err != nil {
		m.tb.Fatalf("%s of %s: %v: %s", name, unit, err, out)
	}
	return strings.TrimSpace(out)
}

// within polls while the manager runs.
func (m *Manager) within(limit time.Duration, cond func() bool) bool {
	held := false
	m.poll(limit, func() bool {
		held = cond()
		select {
		case <-m.exited:
			return true
		default:
			return held
		}
	})
	return held
}

// poll asks again and again: neither systemd's state nor a cgroup tells a test
// by itself.
func (m *Manager) poll(limit time.Duration, cond func() bool) {
	for deadline := time.Now().Add(limit); !cond() && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond)
	}
}

func statErr(path string) error {
	_, err := os.Stat(path)
	return err
}
