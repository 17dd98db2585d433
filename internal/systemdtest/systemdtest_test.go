package systemdtest_test

import (
	"os"
	"syscall"
	"testing"

	"grace/internal/systemdtest"
)

const sleeper = "[Service]\nExecStart=/bin/sleep 600\nRestart=no\n"

func TestManagersAreApart(t *testing.T) {
	a, b := systemdtest.Start(t), systemdtest.Start(t)
	for _, m := range []*systemdtest.Manager{a, b} {
		m.Unit("sleeper.service", sleeper)
		if out, err := m.Systemctl("start", "sleeper.service"); err != nil {
			t.Fatal(err, out)
		}
		m.WaitState("sleeper.service", "active")
	}
	if a.MainPID("sleeper.service") == b.MainPID("sleeper.service") {
		t.Fatal("both managers show the same process")
	}
	if out, err := a.Systemctl("stop", "sleeper.service"); err != nil {
		t.Fatal(err, out)
	}
	if got := a.ActiveState("sleeper.service"); got != "inactive" {
		t.Errorf("stopped unit is %s", got)
	}
	if got := b.ActiveState("sleeper.service"); got != "active" {
		t.Errorf("the other manager's unit is %s", got)
	}
}

func TestNothingIsLeft(t *testing.T) {
	var pid int
	var dir string
	t.Run("manager", func(t *testing.T) {
		m := systemdtest.Start(t)
		m.Unit("sleeper.service", sleeper)
		if out, err := m.Systemctl("start", "sleeper.service"); err != nil {
			t.Fatal(err, out)
		}
		pid, dir = m.MainPID("sleeper.service"), m.RuntimeDir
	})
	if pid == 0 {
		t.Skip("no manager here")
	}
	if err := syscall.Kill(pid, 0); err == nil {
		t.Errorf("process %d of the unit still runs", pid)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Errorf("%s is still there", dir)
	}
}
