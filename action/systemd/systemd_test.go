package systemd_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"grace"
	"grace/action/systemd"
	"grace/gracetest"
	"grace/internal/systemdtest"
)

func TestConformance(t *testing.T) {
	m := systemdtest.Start(t)
	m.Unit("sleeper.service", "[Service]\nExecStart=/bin/sleep 600\n")
	m.Unit("running.service", "[Service]\nExecStart=/bin/sleep 600\n")
	m.Unit("broken.service", "[Service]\nType=oneshot\nExecStart=/bin/false\n")
	m.Unit("slow.service", "[Service]\nType=oneshot\nExecStart=/bin/sleep 600\n")
	m.Unit("needy.service", "[Unit]\nRequires=broken.service\nAfter=broken.service\n[Service]\nExecStart=/bin/sleep 600\n")
	if out, err := m.Systemctl("start", "running.service"); err != nil {
		t.Fatal(err, out)
	}
	with := func(unit, verb string) map[string]any {
		return map[string]any{"unit": unit, "verb": verb, "bus": "user"}
	}
	mayPass := func(want bool) func(*testing.T, grace.Outcome) {
		return func(t *testing.T, out grace.Outcome) {
			if out.Retryable != want {
				t.Errorf("retryable %v, want %v: %s", out.Retryable, want, out.Error)
			}
		}
	}
	newAction := func(*testing.T) grace.Action { return systemd.New(systemd.WithRuntimeDir(m.RuntimeDir)) }
	gracetest.Action(t, newAction, []gracetest.ActionCase{
		{Name: "status", With: with("running", "status"), Want: grace.OutcomeSucceeded},
		{Name: "start", With: with("sleeper.service", "start"), Want: grace.OutcomeSucceeded, Check: func(t *testing.T, out grace.Outcome) {
			if out.Data["active_state"] != "inactive" || m.ActiveState("sleeper.service") != "active" {
				t.Errorf("before %v, now %s", out.Data, m.ActiveState("sleeper.service"))
			}
		}},
		{Name: "stop", With: with("sleeper", "stop"), Want: grace.OutcomeSucceeded, Check: func(t *testing.T, out grace.Outcome) {
			if out.Data["active_state"] != "active" || m.ActiveState("sleeper.service") != "inactive" {
				t.Errorf("before %v, now %s", out.Data, m.ActiveState("sleeper.service"))
			}
		}},
		{Name: "failing job", With: with("broken", "start"), Want: grace.OutcomeFailed, Check: mayPass(true)},
		{Name: "failing dependency", With: with("needy", "start"), Want: grace.OutcomeFailed, Check: mayPass(true)},
		{Name: "time over", With: with("slow", "start"), Timeout: 200 * time.Millisecond, Want: grace.OutcomeUnknown},
		{Name: "no such unit", With: with("nothing-here", "restart"), Want: grace.OutcomeFailed, Check: mayPass(false)},
		{Name: "no unit", With: map[string]any{"verb": "restart"}, Invalid: true},
		{Name: "no verb", With: map[string]any{"unit": "x"}, Invalid: true},
		{Name: "other verb", With: with("x", "mask"), Invalid: true},
		{Name: "other bus", With: map[string]any{"unit": "x", "verb": "start", "bus": "session"}, Invalid: true},
		{Name: "a pattern", With: with("ngin*", "start"), Invalid: true},
		{Name: "misspelt key", With: map[string]any{"unit": "x", "verb": "start", "buss": "user"}, Invalid: true},
	})
}

func TestCheckThenAct(t *testing.T) {
	m := systemdtest.Start(t)
	m.Unit("web.service", "[Service]\nExecStart=/bin/sleep 600\n")
	t.Setenv("XDG_RUNTIME_DIR", m.RuntimeDir)
	do := func(verb string) string {
		t.Helper()
		out := systemd.New().Do(t.Context(), grace.ActionRequest{With: map[string]any{"unit": "web", "verb": verb, "bus": "user"}})
		if out.Status != grace.OutcomeSucceeded {
			t.Fatalf("%s: %s: %s", verb, out.Status, out.Error)
		}
		return out.Output
	}
	do("start")
	first := m.MainPID("web.service")
	if said := do("start"); !strings.Contains(said, "already active") {
		t.Errorf("starting an active unit: %s", said)
	}
	if again := m.MainPID("web.service"); again != first {
		t.Errorf("starting an active unit gave it another process: %d, then %d", first, again)
	}
	do("restart")
	if again := m.MainPID("web.service"); again == first || again == 0 {
		t.Errorf("a restart left the process %d", again)
	}
}

// A program that dies while it is being started must not look healthy.
func TestRestartOfWhatDiesAtOnce(t *testing.T) {
	m := systemdtest.Start(t)
	m.Unit("dies.service", "[Service]\nType=notify\nExecStart=/bin/false\n")
	out := systemd.New(systemd.WithRuntimeDir(m.RuntimeDir)).Do(t.Context(), grace.ActionRequest{
		With: map[string]any{"unit": "dies", "verb": "restart", "bus": "user"},
	})
	if out.Status != grace.OutcomeFailed || !out.Retryable {
		t.Errorf("%+v", out)
	}
}

func TestManagerNotReached(t *testing.T) {
	out := systemd.New(systemd.WithRuntimeDir(t.TempDir())).Do(t.Context(), grace.ActionRequest{
		With: map[string]any{"unit": "x", "verb": "start", "bus": "user"},
	})
	if out.Status != grace.OutcomeFailed || !out.Retryable || !strings.Contains(out.Error, "user manager") {
		t.Errorf("%+v", out)
	}
}

// The session bus is used where the private socket is not there.
func TestSessionBus(t *testing.T) {
	m := systemdtest.Start(t)
	bus := filepath.Join(m.RuntimeDir, "bus")
	if _, err := os.Stat(bus); err != nil {
		t.Skip("no session bus; install it with: apt-get install dbus-user-session")
	}
	m.Unit("web.service", "[Service]\nExecStart=/bin/sleep 600\n")
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path="+bus)
	for _, verb := range []string{"start", "restart", "stop"} {
		out := systemd.New().Do(t.Context(), grace.ActionRequest{With: map[string]any{"unit": "web", "verb": verb, "bus": "user"}})
		if out.Status != grace.OutcomeSucceeded {
			t.Fatalf("%s: %s: %s", verb, out.Status, out.Error)
		}
	}
}

// TestStartLimit: what was started too often is reset first, and what still
// fails says that this is why.
func TestStartLimit(t *testing.T) {
	m := systemdtest.Start(t)
	mended := filepath.Join(t.TempDir(), "mended")
	m.Unit("php8.2-fpm.service", "[Unit]\nStartLimitIntervalSec=600\nStartLimitBurst=2\n[Service]\nType=exec\nExecStart=/bin/sh -c 'test -e "+mended+" && exec sleep 600'\n")
	restart := func() grace.Outcome {
		return systemd.New(systemd.WithRuntimeDir(m.RuntimeDir)).Do(t.Context(), grace.ActionRequest{
			With: map[string]any{"unit": "php8.2-fpm", "verb": "restart", "bus": "user"},
		})
	}
	for range 4 {
		_, _ = m.Systemctl("start", "php8.2-fpm.service")
	}
	m.WaitState("php8.2-fpm.service", "failed")
	if err := os.WriteFile(mended, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := m.Systemctl("start", "php8.2-fpm.service"); err == nil {
		t.Fatalf("systemd has no limit here: %s", out)
	}
	for i := range 5 { // the later ones are of a unit that is active
		out := restart()
		if out.Status != grace.OutcomeSucceeded || m.ActiveState("php8.2-fpm.service") != "active" {
			t.Errorf("restart %d: %+v", i+1, out)
		}
	}
}
