package daemon_test

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"grace"
	"grace/internal/patience"
	"grace/internal/systemdtest"
)

const alertmanagerHint = "install it with: apt-get install prometheus-alertmanager"

// startAlertmanager runs an unmodified Alertmanager that sends everything to a
// webhook, and gives its address.
func startAlertmanager(t *testing.T, url, bearer string) client {
	t.Helper()
	program, err := exec.LookPath("prometheus-alertmanager")
	if err != nil {
		t.Skipf("prometheus-alertmanager is missing; %s", alertmanagerHint)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "alertmanager.yml")
	text := fmt.Sprintf(`route: {receiver: grace, group_by: [alertname], group_wait: 100ms, group_interval: 300ms, repeat_interval: 4h}
receivers:
  - name: grace
    webhook_configs:
      - url: %q
        send_resolved: true
        http_config: {authorization: {type: Bearer, credentials: %q}}
`, url, bearer)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "--config.file="+file, "--storage.path="+dir, "--web.listen-address=127.0.0.1:0", "--cluster.listen-address=")
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	addr := make(chan string, 1)
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(log); lines.Scan(); {
			if _, after, ok := strings.Cut(lines.Text(), `msg="Listening on" address=`); ok {
				addr <- strings.Fields(after)[0]
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-read
		_ = cmd.Wait()
	})
	select {
	case a := <-addr:
		return client{t: t, base: "http://" + a}
	case <-read:
		t.Fatal("Alertmanager ended at once")
	}
	return client{}
}

// post gives Alertmanager an alert as Prometheus does.
func postAlert(am client, started time.Time, ended *time.Time) {
	am.t.Helper()
	alert := map[string]any{
		"labels":       map[string]string{"alertname": "UnitDown", "instance": "host:9100", "severity": "critical"},
		"annotations":  map[string]string{"summary": "the unit is down"},
		"startsAt":     started,
		"generatorURL": "http://prometheus/graph",
	}
	if ended != nil {
		alert["endsAt"] = ended
	}
	am.call(http.MethodPost, "/api/v2/alerts", []any{alert}, nil)
}

// seeRun is waitRun, but leaves it to Alertmanager to say how the service is.
func seeRun(c client, service string, state grace.RunStatus) grace.Run {
	c.t.Helper()
	var run grace.Run
	patience.Until(c.t, func() error {
		if run, _ = c.run(service); run.Status != state {
			return fmt.Errorf("the run of %s is %q (%s), want %s", service, run.Status, run.Error, state)
		}
		return nil
	})
	return run
}

func TestAlertmanagerHealsAUnit(t *testing.T) {
	if _, err := exec.LookPath("prometheus-alertmanager"); err != nil {
		t.Skipf("prometheus-alertmanager is missing; %s", alertmanagerHint)
	}
	m := systemdtest.Start(t)
	t.Setenv("XDG_RUNTIME_DIR", m.RuntimeDir)
	t.Setenv("GRACE_TEST_BEARER", "from-alertmanager")
	m.Unit("web.service", "[Service]\nExecStart=/bin/sleep 600\nRestart=no\n")
	if out, err := m.Systemctl("start", "web.service"); err != nil {
		t.Fatal(err, out)
	}
	m.WaitState("web.service", "active")
	_, c := newHome(t, `
alertmanager:
  bearer: ${env:GRACE_TEST_BEARER}
  map: [{match: {alertname: UnitDown}, service: web, code: service_down}]
services:
  - name: web
    criticality: medium
    bindings:
      restart_service:
        auto: true
        impact: low
        steps:
          - name: restart
            action: systemd
            with: {unit: web, verb: restart, bus: user}
            irreversible: true
        verify:
          - {name: active, type: command, argv: [env, XDG_RUNTIME_DIR=`+m.RuntimeDir+`, systemctl, --user, is-active, web.service], interval: 100ms}
        settle: 5s
        soak: 500ms
`).embed(t)
	am := startAlertmanager(t, c.base+"/api/alertmanager", "from-alertmanager")

	crashed := m.MainPID("web.service")
	if err := syscall.Kill(crashed, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	m.WaitState("web.service", "failed")
	started := time.Now().UTC()
	postAlert(am, started, nil)

	seeRun(c, "web", grace.RunVerifying)
	var health grace.HealthState
	c.call(http.MethodGet, "/api/health/state?service=web", nil, &health)
	if health.Status != grace.HealthCritical {
		t.Errorf("web is %s while the alert fires", health.Status)
	}
	ended := time.Now().UTC()
	postAlert(am, started, &ended)
	run := seeRun(c, "web", grace.RunSucceeded)
	if state, pid := m.ActiveState("web.service"), m.MainPID("web.service"); state != "active" || pid == crashed || pid == 0 {
		t.Errorf("the unit is %s with pid %d (crashed: %d)", state, pid, crashed)
	}
	if !run.Auto || run.Steps[0].Action != "systemd" {
		t.Errorf("run %+v", run)
	}
	patience.Until(t, func() error {
		c.call(http.MethodGet, "/api/health/state?service=web", nil, &health)
		if health.Status != grace.HealthHealthy {
			return errors.New("web is " + string(health.Status) + " after the alert was resolved")
		}
		return nil
	})
	c.verifyAudit()

	wrong := client{t: t, base: c.base, token: "something else"}
	if status, _, err := wrong.try(http.MethodPost, "/api/alertmanager", map[string]any{"version": "4"}); err != nil || status != http.StatusUnauthorized {
		t.Errorf("the webhook with a wrong token: %d %v", status, err)
	}
}
