package daemon_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"grace"
	"grace/internal/patience"
)

// smallDisk mounts a file system of its own.
func smallDisk(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("a small disk cannot be mounted here (it needs root): %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount the small disk: %v", err)
		}
	})
	return dir
}

// fill leaves no room on the disk of a folder, until the file is removed.
func fill(t *testing.T, dir string) (filler string) {
	t.Helper()
	filler = filepath.Join(dir, "filler")
	f, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 4096); ; {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			return filler
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// refused wants an answer 503 with the reason and when to come back.
func refused(c client, method, path string, body any, reason string) error {
	status, answer, header, err := c.answer(method, path, body)
	var p struct{ Status int }
	_ = json.Unmarshal(answer, &p)
	switch {
	case err != nil:
		return err
	case status != http.StatusServiceUnavailable || p.Status != status:
		return fmt.Errorf("%s %s: %d %s", method, path, status, answer)
	case !strings.Contains(string(answer), reason):
		return fmt.Errorf("%s %s does not say %q: %s", method, path, reason, answer)
	case header.Get("Retry-After") == "":
		return fmt.Errorf("%s %s: no Retry-After", method, path)
	}
	return nil
}

func firing(service string, n int) map[string]any {
	return map[string]any{
		"service": service, "kind": "alert", "code": "service_down", "severity": "critical", "message": "down", "fingerprint": fmt.Sprint(n),
	}
}

// TestFullDisk: while the log cannot be written nothing is done and nothing is
// accepted; when there is room again everything goes on, a run in its place.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t, "size=24m")
	g := newTarget(t)
	h := newHome(t, "")
	h.dir = filepath.Join(disk, "data")
	h.write(t, fiveSteps(g, []string{inStep, between, "later"}))
	p := h.spawn(t)
	step := g.hold("POST", "/do/in-step-s3", true)
	p.alert(inStep)
	step.wait(t, "step 3")

	filler := fill(t, disk)
	sent, accepted := 0, 0
	patience.Until(t, func() error {
		sent++
		err := refused(p.client, http.MethodPost, "/api/health/ingest_signal", firing("later", sent), "the disk is full")
		if err != nil {
			accepted = sent
		}
		return err
	})
	// That it could be written is believed for five seconds.
	patience.Until(t, func() error { return refused(p.client, http.MethodGet, "/readyz", nil, "the disk is full") })
	saysSo(t, p.client)
	g.release() // step 3 has had its effect; its record cannot be written
	const watched = 1500 * time.Millisecond
	for began := time.Now(); time.Since(began) < watched; time.Sleep(50 * time.Millisecond) {
		if err := refused(p.client, http.MethodPost, "/api/health/ingest_signal", firing(between, 1), "the disk is full"); err != nil {
			t.Fatal(err)
		}
	}
	before, _ := p.run(inStep)
	if n := g.called(string(before.ID) + "/do/s4"); n != 0 {
		t.Error("a step was done though the one before it is not on record")
	}
	if _, there := p.run(between); there {
		t.Error("a run was started on a full disk")
	}

	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	patience.Until(t, func() error {
		status, answer, err := p.try(http.MethodGet, "/readyz", nil)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("readyz: %d %s", status, answer)
		}
		return err
	})
	patience.Until(t, func() error {
		var h grace.HealthState
		if err := p.unlessAway(http.MethodGet, "/api/health/state?service=core.database", nil, &h); err != nil || h.Status != grace.HealthHealthy {
			return fmt.Errorf("core.database is %s %w", h.Status, err)
		}
		return nil
	})
	p.alert(between)
	for _, service := range []string{inStep, between} {
		run := p.waitRun(service, grace.RunSucceeded)
		auditedOnce(t, p.client, service, run)
		for i := 1; i <= 5; i++ {
			if n := g.called(fmt.Sprintf("%s/do/s%d", run.ID, i)); n != 1 {
				t.Errorf("%s: step %d was called %d times", service, i, n)
			}
		}
	}
	if after, _ := p.run(inStep); after.ID != before.ID {
		t.Error("the run did not go on: there is another one")
	}
	t.Logf("%d of %d alerts were accepted on the full disk", accepted, sent)
	p.verifyAudit()
	p.terminate(t)
}

// saysSo wants that everything that tells of GRACE tells that it cannot write.
func saysSo(t *testing.T, c client) {
	t.Helper()
	states := map[string]grace.HealthState{}
	for _, service := range []string{"core", "core.database"} {
		var h grace.HealthState
		c.call(http.MethodGet, "/api/health/state?service="+service, nil, &h)
		states["/api/health/state of "+service] = h
	}
	var detail struct{ Health grace.HealthState }
	c.call(http.MethodGet, "/api/services/core.database", nil, &detail)
	states["/api/services/core.database"] = detail.Health
	for where, h := range states {
		if h.Status != grace.HealthCritical || !strings.Contains(strings.Join(h.TopSymptoms, "\n"), "the disk is full") {
			t.Errorf("%s: %s %q", where, h.Status, h.TopSymptoms)
		}
	}
	if _, page, err := c.try(http.MethodGet, "/metrics", nil); err != nil || !strings.Contains(string(page), "\ngrace_store_up 0\n") {
		t.Errorf("grace_store_up is not 0: %v", err)
	}
}

// TestReadOnlyDisk: a daemon whose disk turns read-only refuses, and says why.
func TestReadOnlyDisk(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t, "size=24m")
	h := newHome(t, "")
	h.dir = filepath.Join(disk, "data")
	g := newTarget(t)
	h.write(t, web(g))
	if err := os.MkdirAll(h.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("", disk, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	d, err := h.build(t)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Start(t.Context()); !errors.Is(err, syscall.EROFS) {
		t.Errorf("start on a read-only disk: %v", err)
	}
}

// TestDamagedDatabase: a page that is not one is found, and nothing is done.
func TestDamagedDatabase(t *testing.T) {
	t.Parallel()
	g := newTarget(t)
	h := newHome(t, fiveSteps(g, []string{inStep}))
	p := h.spawn(t)
	p.alert(inStep)
	run := p.waitRun(inStep, grace.RunSucceeded)
	p.terminate(t)
	file := filepath.Join(h.dir, "grace.db")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const page = 4096
	for i := page; i < len(data); i++ { // the first page, with the schema's root, stays
		data[i] = byte(i * 7)
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := h.build(t)
	if err != nil {
		t.Fatal(err)
	}
	calls := g.called(string(run.ID) + "/do/s1")
	if err := d.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "restore it from a backup") {
		t.Errorf("start on a damaged database: %v", err)
	}
	stop(t, d)
	if g.called(string(run.ID)+"/do/s1") != calls {
		t.Error("something was done")
	}
}

// TestBadConfiguration: at the start nothing is touched; at a reload the old
// one stays in force.
func TestBadConfiguration(t *testing.T) {
	t.Parallel()
	g := newTarget(t)
	h := newHome(t, fiveSteps(g, []string{inStep}))
	p := h.spawn(t)
	for name, text := range map[string]string{
		"not YAML":    "services: [}\n",
		"binary":      "\x00\xff\xfe\x01",
		"unknown key": "servces: []\n",
		"wrong type":  "services: 7\n",
	} {
		h.write(t, text)
		if name == "binary" {
			if err := os.WriteFile(h.file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		status, answer, err := p.try(http.MethodPost, "/api/config/reload", nil)
		if err != nil || status != http.StatusUnprocessableEntity || !strings.Contains(string(answer), filepath.Base(h.file)) {
			t.Errorf("%s: %d %s %v", name, status, answer, err)
		}
	}
	h.write(t, "services: 7\n")
	p.alert(inStep)
	p.waitRun(inStep, grace.RunSucceeded)
	p.verifyAudit()
}
