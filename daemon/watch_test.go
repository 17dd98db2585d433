package daemon

import (
	"bytes"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"grace/internal/config"
	"grace/internal/httpclient"
)

// manager is the service manager's end of sd_notify. It gives what it is told,
// of repeated states the first.
func manager(t *testing.T) <-chan string {
	t.Helper()
	dir, err := os.MkdirTemp("", "grace-sd") //nolint:usetesting // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	address := &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"}
	conn, err := net.ListenUnixgram("unixgram", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		_ = os.RemoveAll(dir)
	})
	t.Setenv("NOTIFY_SOCKET", address.Name)
	t.Setenv("WATCHDOG_USEC", "30000")
	states := make(chan string, 10)
	go func() {
		buf, last := make([]byte, 100), ""
		for {
			n, err := conn.Read(buf)
			if err != nil {
				close(states)
				return
			}
			if s := string(buf[:n]); s != last {
				states <- s
				last = s
			}
		}
	}()
	return states
}

func started(t *testing.T, text string, opts ...Option) *Daemon {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "grace.yaml")
	if err := os.WriteFile(file, []byte("listen: 127.0.0.1:0\ndata_dir: "+filepath.Join(dir, "data")+"\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, problems := Load(file)
	if cfg == nil {
		t.Fatal(problems)
	}
	d, err := New(cfg, opts...)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestWatched: whoever watches GRACE hears of it while it can decide and write,
// and no longer.
func TestWatched(t *testing.T) {
	states := manager(t)
	var beats atomic.Int64
	watcher := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/s3cret" {
			beats.Add(1)
			return
		}
		w.WriteHeader(http.StatusNotFound)
	}))
	defer watcher.Close()
	t.Setenv("HEARTBEAT", watcher.URL+"/s3cret")
	d := started(t, "heartbeat: {url: '${env:HEARTBEAT}', interval: 1s}\n")
	for _, want := range []string{"READY=1", "WATCHDOG=1"} {
		if s := <-states; s != want {
			t.Errorf("it said %q, want %q", s, want)
		}
	}
	cfg := config.Heartbeat{URL: "${env:HEARTBEAT}"}
	client, err := httpclient.New(cfg.Config())
	if err != nil {
		t.Fatal(err)
	}
	if err := d.beat(t.Context(), client, cfg); err != nil || beats.Load() == 0 {
		t.Errorf("%d heartbeats, %v", beats.Load(), err)
	}
	// By the configured proxy, never by that of the environment.
	t.Setenv("HTTP_PROXY", watcher.URL)
	t.Setenv("http_proxy", watcher.URL)
	t.Setenv("HEARTBEAT", "http://watch.invalid/s3cret")
	if err := d.beat(t.Context(), client, cfg); err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("by the environment's proxy: %v", err)
	}
	byProxy, err := httpclient.New(config.HTTPClient{Proxy: watcher.URL}.Config())
	if err != nil {
		t.Fatal(err)
	}
	if err := d.beat(t.Context(), byProxy, cfg); err != nil {
		t.Errorf("by the configured proxy: %v", err)
	}
	t.Setenv("HEARTBEAT", watcher.URL+"/other-s3cret")
	if err := d.beat(t.Context(), client, cfg); err == nil || strings.Contains(err.Error(), "other-s3cret") {
		t.Errorf("a refused heartbeat: %v", err)
	}
	t.Setenv("HEARTBEAT", watcher.URL+"/s3cret")

	d.store.Close() // from now on it can neither decide nor write
	for d.alive(t.Context()) == nil {
		time.Sleep(20 * time.Millisecond) // what was found writable counts for 5 s
	}
	before := beats.Load()
	if err := d.beat(t.Context(), client, cfg); err == nil || beats.Load() != before {
		t.Errorf("a heartbeat without a store: %v", err)
	}
	if err := d.Stop(t.Context()); err != nil {
		t.Logf("stopping without a store: %v", err)
	}
	if s := <-states; s != "STOPPING=1" {
		t.Errorf("at the end it said %q", s)
	}
}

// A start is no reason for a warning: the first heartbeat waits for the first
// reconcile cycle.
func TestFirstHeartbeat(t *testing.T) {
	beat := make(chan struct{}, 10)
	watcher := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { beat <- struct{}{} }))
	defer watcher.Close()
	var out bytes.Buffer // slog's handler lets one write at a time
	d := started(t, "heartbeat: {url: '"+watcher.URL+"', interval: 1h}\n", WithLogger(slog.New(slog.NewTextHandler(&out, nil))))
	<-beat // within a second or two, not after the interval
	if err := d.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "no heartbeat was sent") {
		t.Errorf("it warned:\n%s", out.String())
	}
}

// A decider that stands still is not alive, however well the store is.
func TestStandingDecider(t *testing.T) {
	d := started(t, "")
	defer func() { _ = d.Stop(t.Context()) }()
	for d.alive(t.Context()) != nil {
		time.Sleep(20 * time.Millisecond)
	}
	last := d.loop.Reconciled()
	if err := deciding(last, last.Add(decidedWithin)); err != nil {
		t.Error(err)
	}
	if deciding(last, last.Add(decidedWithin+1)) == nil || deciding(time.Time{}, last) == nil {
		t.Error("a decider that stands still is alive")
	}
}

func TestSupervisor(t *testing.T) {
	env := func(pairs ...string) func(string) string {
		return func(name string) string {
			for i := 0; i < len(pairs); i += 2 {
				if pairs[i] == name {
					return pairs[i+1]
				}
			}
			return ""
		}
	}
	if s := newSupervisor(env()); s.socket != "" || s.every != 0 || s.say("READY=1") != nil {
		t.Errorf("without a service manager: %+v", s)
	}
	if s := newSupervisor(env("NOTIFY_SOCKET", "@a", "WATCHDOG_USEC", "3000000")); s.socket != "\x00a" || s.every != time.Second {
		t.Errorf("%+v", s)
	}
	if s := newSupervisor(env("NOTIFY_SOCKET", "/n", "WATCHDOG_USEC", "3000000", "WATCHDOG_PID", "1")); s.every != 0 {
		t.Errorf("the watchdog is another process's: %+v", s)
	}
	if err := (supervisor{socket: "/nowhere/at/all"}).say("READY=1"); err == nil {
		t.Error("nobody listens, and that is no error")
	}
}
