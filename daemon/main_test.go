package daemon_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"grace"
	"grace/daemon"
	"grace/internal/patience"
)

// childConfig makes the test binary a daemon with that configuration.
const childConfig = "GRACE_TEST_DAEMON_CONFIG"

func TestMain(m *testing.M) {
	if path := os.Getenv(childConfig); path != "" {
		if err := serveChild(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// The parallel tests wait for leases to end more than for a processor. But
	// each has processes of its own, and too many at once only wait in turn.
	flag.Parse()
	if err := flag.Set("test.parallel", strconv.Itoa(min(8, 2+runtime.NumCPU()))); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// serveChild is a daemon process: it prints where it listens, and stops on
// SIGTERM.
func serveChild(path string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	cfg, problems := daemon.Load(path)
	if cfg == nil {
		return problems.Err()
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo}))
	d, err := daemon.New(cfg, daemon.WithConfigFile(path), daemon.WithLogger(log))
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	for !answers(d) {
		select {
		case err := <-ended:
			return err
		case <-time.After(10 * time.Millisecond):
		}
	}
	fmt.Println(d.Addr())
	return <-ended
}

func answers(d *daemon.Daemon) bool {
	if d.Addr() == nil {
		return false
	}
	status, _, err := client{base: "http://" + d.Addr().String()}.try(http.MethodGet, "/healthz", nil)
	return err == nil && status == http.StatusOK
}

// home is a data folder with its configuration.
type home struct{ dir, file string }

// newHome writes a configuration. listen, data_dir and what makes tests quick
// stand before the given text.
func newHome(t *testing.T, text string) home {
	t.Helper()
	h := home{dir: filepath.Join(t.TempDir(), "data")}
	h.file = filepath.Join(filepath.Dir(h.dir), "grace.yaml")
	h.write(t, text)
	return h
}

func (h home) write(t *testing.T, text string) {
	t.Helper()
	text = "listen: 127.0.0.1:0\ndata_dir: " + h.dir + "\nmode: autonomous\nhold_down: 0s\ndiagnose: {group_wait: 0s}\n" + text
	if err := os.WriteFile(h.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// embed starts a daemon in this process.
func (h home) embed(t *testing.T, opts ...daemon.Option) (*daemon.Daemon, client) {
	t.Helper()
	d, err := h.build(t, opts...)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, d) })
	return d, h.client(t, d.Addr().String())
}

func (h home) build(t *testing.T, opts ...daemon.Option) (*daemon.Daemon, error) {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	opts = append([]daemon.Option{daemon.WithConfigFile(h.file), daemon.WithLogger(log)}, opts...)
	cfg, problems := daemon.Load(h.file, opts...)
	if cfg == nil {
		t.Fatal(problems)
	}
	return daemon.New(cfg, opts...)
}

func stop(t *testing.T, d *daemon.Daemon) {
	t.Helper()
	ctx, cancel := patience.Context(t)
	defer cancel()
	if err := d.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
}

// process is a daemon in a process of its own.
type process struct {
	client
	cmd    *exec.Cmd
	stderr *bytes.Buffer
	exited chan struct{}
}

// spawn starts a daemon as a process.
func (h home) spawn(t *testing.T, env ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(os.Args[0]), stderr: &bytes.Buffer{}, exited: make(chan struct{})}
	// A race detector that waits a second at the exit only costs time.
	p.cmd.Env = append(os.Environ(), append(env, childConfig+"="+h.file, "GORACE=atexit_sleep_ms=0")...)
	p.cmd.Stderr = p.stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	addr, readErr := bufio.NewReader(stdout).ReadString('\n')
	go func() {
		defer close(p.exited)
		_ = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("daemon %d:\n%s", p.cmd.Process.Pid, tail(p.stderr.String()))
		}
	})
	if readErr != nil {
		<-p.exited
		t.Fatalf("the daemon did not start: %s", p.stderr)
	}
	p.client = h.client(t, strings.TrimSpace(addr))
	return p
}

// tail gives the end of a log, without the requests that only ask.
func tail(log string) string {
	var lines []string
	for line := range strings.Lines(log) {
		if !strings.Contains(line, "method=GET") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-80):], "")
}

// kill is kill -9.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// terminate asks the daemon to stop and waits for it.
func (p *process) terminate(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	patience.Next(t, "end of the daemon that was asked to stop", p.exited)
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("the daemon stopped with %d: %s", code, p.stderr)
	}
}

// client speaks to a daemon's API with the token it left in its data folder.
type client struct {
	t           *testing.T
	base, token string
}

func (h home) client(t *testing.T, addr string) client {
	t.Helper()
	token, err := os.ReadFile(filepath.Join(h.dir, "cli.token"))
	if err != nil {
		t.Fatal(err)
	}
	return client{t: t, base: "http://" + addr, token: strings.TrimSpace(string(token))}
}

var transport = &http.Transport{DisableKeepAlives: true} // so that no connection outlives its test

// try makes one request.
func (c client) try(method, path string, body any) (status int, answer []byte, err error) {
	status, answer, _, err = c.answer(method, path, body)
	return status, answer, err
}

// answer is try with the answer's header.
func (c client) answer(method, path string, body any) (status int, answer []byte, header http.Header, err error) {
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return 0, nil, nil, err
		}
		in = bytes.NewReader(b)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second) // for a child, which asks again
	if c.t != nil {
		cancel()
		ctx, cancel = patience.Context(c.t)
	}
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, in)
	if err != nil {
		return 0, nil, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	return resp.StatusCode, answer, resp.Header, err
}

// call makes one request that must succeed, and decodes the answer.
func (c client) call(method, path string, body, into any) {
	c.t.Helper()
	status, answer, err := c.try(method, path, body)
	if err != nil || status/100 != 2 {
		c.t.Fatalf("%s %s: %d %s %v", method, path, status, answer, err)
	}
	if into == nil {
		return
	}
	if err := json.Unmarshal(answer, into); err != nil {
		c.t.Fatalf("%s %s: %v in %s", method, path, err, answer)
	}
}

type list[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next"`
}

func items[T any](c client, path string) []T {
	c.t.Helper()
	var l list[T]
	c.call(http.MethodGet, path, nil, &l)
	return l.Items
}

// alert makes a service sick.
func (c client) alert(service string) {
	c.t.Helper()
	patience.Until(c.t, func() error { return c.unlessAway(http.MethodPost, "/api/health/ingest_signal", alertOf(service), nil) })
}

// unlessAway is call, but for a database that has not come back yet.
func (c client) unlessAway(method, path string, body, into any) error {
	c.t.Helper()
	status, answer, err := c.try(method, path, body)
	if err == nil && status == http.StatusServiceUnavailable {
		return fmt.Errorf("%s %s: %d %s", method, path, status, answer)
	}
	if err == nil && status/100 == 2 && into != nil {
		err = json.Unmarshal(answer, into)
	}
	if err != nil || status/100 != 2 {
		c.t.Fatalf("%s %s: %d %s %v", method, path, status, answer, err)
	}
	return nil
}

// run gives the newest run of a service.
func (c client) run(service string) (grace.Run, bool) {
	c.t.Helper()
	runs := items[grace.Run](c, "/api/runs?limit=1&service="+service)
	if len(runs) == 0 {
		return grace.Run{}, false
	}
	return runs[0], true
}

// waitRun waits until the newest run of a service is in a state.
func (c client) waitRun(service string, state grace.RunStatus) grace.Run {
	c.t.Helper()
	var run grace.Run
	patience.Until(c.t, func() error {
		var newest list[grace.Run]
		if err := c.unlessAway(http.MethodGet, "/api/runs?limit=1&service="+service, nil, &newest); err != nil {
			return err
		}
		if len(newest.Items) == 0 {
			// What was only told before a kill is no evidence: it is repeated.
			_, _, _ = c.try(http.MethodPost, "/api/health/ingest_signal", alertOf(service))
			return errors.New("no run of " + service)
		}
		run = newest.Items[0]
		if run.Status != state {
			if state == grace.RunSucceeded {
				c.playSource(run)
			}
			return fmt.Errorf("the run of %s is %s (%s), want %s", service, run.Status, run.Error, state)
		}
		return nil
	})
	return run
}

// playSource does what the source of an alert does: it resolves it when the
// service is well, and repeats it while that is not so and GRACE waits for fresh
// evidence.
func (c client) playSource(run grace.Run) {
	resolved := run.Status == grace.RunVerifying
	switch run.Status {
	case grace.RunVerifying, grace.RunRunning, grace.RunCancelled:
	case grace.RunApproved:
		if len(run.Reasons) == 0 {
			return
		}
	default:
		return
	}
	for _, key := range run.Condition {
		alert := alertOf(string(run.Service))
		alert["resolved"] = resolved
		if parts := strings.SplitN(string(key), "/", 4); len(parts) == 4 {
			alert["fingerprint"] = parts[3]
		}
		// The daemon, or its database, may be away: then it is said again.
		_, _, _ = c.try(http.MethodPost, "/api/health/ingest_signal", alert)
	}
}

// verifyAudit reads the whole audit log through the API.
func (c client) verifyAudit() {
	c.t.Helper()
	var report struct {
		OK      bool
		Entries int
		Detail  string
	}
	c.call(http.MethodGet, "/api/log/verify", nil, &report)
	if !report.OK || report.Entries == 0 {
		c.t.Errorf("audit log: %+v", report)
	}
}
