package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"grace"
	"grace/daemon"
	"grace/internal/patience"
)

func TestSecondDaemonIsRefused(t *testing.T) {
	h := newHome(t, "")
	first, c := h.embed(t)
	second, err := h.build(t)
	if err != nil {
		t.Fatal(err)
	}
	err = second.Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), "in use by another GRACE") || !strings.Contains(err.Error(), h.dir) {
		t.Fatalf("second daemon on one data folder: %v", err)
	}
	stop(t, second)
	c.verifyAudit() // the first one has not noticed
	stop(t, first)
	third, _ := h.embed(t)
	if third.Addr() == nil {
		t.Error("no address")
	}
}

func TestPortInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	h := newHome(t, "")
	text, err := os.ReadFile(h.file)
	if err != nil {
		t.Fatal(err)
	}
	text = []byte(strings.Replace(string(text), "127.0.0.1:0", taken.Addr().String(), 1))
	if err := os.WriteFile(h.file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := h.build(t)
	if err != nil {
		t.Fatal(err)
	}
	err = d.Start(t.Context())
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), taken.Addr().String()) || !strings.Contains(err.Error(), "Set listen") {
		t.Fatalf("start on a port in use: %v", err)
	}
	if _, err := os.Stat(h.dir); err == nil {
		t.Error("the data folder was touched")
	}
}

func TestBadDatabase(t *testing.T) {
	h := newHome(t, "")
	if err := os.MkdirAll(filepath.Join(h.dir, "grace.db"), 0o700); err != nil {
		t.Fatal(err)
	}
	d, err := h.build(t)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "open the store") {
		t.Fatalf("start on a folder as database: %v", err)
	}
	stop(t, d)
}

func TestStopLeavesNothing(t *testing.T) {
	before := goroutines()
	t.Run("life", func(t *testing.T) {
		g := newTarget(t)
		d, c := newHome(t, web(g)).embed(t)
		c.waitRun("web", grace.RunSucceeded)
		stream := openStream(t, c)
		stop(t, d)
		stop(t, d) // again does nothing
		if _, err := io.Copy(io.Discard, stream); errors.Is(err, context.DeadlineExceeded) {
			t.Error("an event stream was left open")
		}
		if err := d.Reload(t.Context()); err == nil {
			t.Error("a stopped daemon was reloaded")
		}
		if err := d.Start(t.Context()); err == nil {
			t.Error("a stopped daemon was started again")
		}
	})
	patience.Until(t, func() error {
		if left := extra(before, goroutines()); len(left) > 0 {
			return errors.New("goroutines are left:\n" + strings.Join(left, "\n\n"))
		}
		return nil
	})
}

// openStream subscribes to events: Stop must not wait for such clients.
func openStream(t *testing.T, c client) io.Reader {
	t.Helper()
	ctx, cancel := patience.Context(t)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/api/events/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp.Body
}

// goroutines gives the stack of every goroutine, by its number.
func goroutines() map[string]string {
	buf := make([]byte, 4<<20)
	buf = buf[:runtime.Stack(buf, true)]
	out := map[string]string{}
	for stack := range strings.SplitSeq(string(buf), "\n\n") {
		id, _, _ := strings.Cut(stack, " [")
		out[id] = stack
	}
	return out
}

func extra(before, now map[string]string) []string {
	var left []string
	for id, stack := range now {
		if _, was := before[id]; !was && !strings.Contains(stack, "testing.(*T).Run") {
			left = append(left, stack)
		}
	}
	return left
}

// TestStopWhileReloading: neither may wait for the other for ever.
func TestStopWhileReloading(t *testing.T) {
	g := newTarget(t)
	d, c := newHome(t, web(g)).embed(t)
	var reloads atomic.Int64
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() {
			for {
				status, _, err := c.try(http.MethodPost, "/api/config/reload", nil)
				if err != nil || status/100 != 2 {
					return
				}
				reloads.Add(1)
			}
		})
	}
	patience.Until(t, func() error {
		if n := reloads.Load(); n < 10 {
			return fmt.Errorf("%d reloads", n)
		}
		return nil
	})
	stop(t, d)
	asking.Wait()
}

func TestReload(t *testing.T) {
	g := newTarget(t)
	h := newHome(t, web(g))
	_, c := h.embed(t)
	c.waitRun("web", grace.RunSucceeded)

	h.write(t, web(g)+"  - {name: web-health, type: http, service: wob, url: 'http://127.0.0.1:1'}\n")
	status, answer, err := c.try(http.MethodPost, "/api/config/reload", nil)
	if err != nil || status != http.StatusUnprocessableEntity {
		t.Fatalf("a bad file: %d %s %v", status, answer, err)
	}
	for _, want := range []string{"grace.yaml:", "wob", "nothing has changed"} {
		if !strings.Contains(string(answer), want) {
			t.Errorf("the answer lacks %q: %s", want, answer)
		}
	}
	if n := len(items[struct{}](c, "/api/services?limit=200")); n != 5 {
		t.Errorf("%d services after a bad file, want web and the four of core", n)
	}

	// The new file watches another service with a sensor of its own.
	h.write(t, strings.NewReplacer("name: web\n", "name: shop\n", "web-health", "shop-health", "service: web", "service: shop",
		"/do/web", "/do/shop").Replace(web(g)))
	c.call(http.MethodPost, "/api/config/reload", nil, nil)
	c.waitRun("shop", grace.RunSucceeded)
	if status, _, err := c.try(http.MethodGet, "/api/services/web", nil); err != nil || status != http.StatusNotFound {
		t.Errorf("the removed service: %d %v", status, err)
	}
	if _, ok := c.run("web"); !ok {
		t.Error("the removed service's run is gone")
	}
}

// TestReloadOfTheSame: a file that is read again as it was leaves what is seen, and
// the sensors that see it; another one begins with those that it says something new of.
func TestReloadOfTheSame(t *testing.T) {
	t.Parallel()
	g := newTarget(t)
	text := strings.Replace(web(g), "name: web-health, ", "name: web-health, headers: {X-A: b}, ", 1)
	h := newHome(t, text)
	d, c := h.embed(t)
	c.waitSignal("web", "web-health", func(s grace.Signal) bool { return !s.Unconfirmed && !s.At.IsZero() })
	since := func() time.Time {
		t.Helper()
		v, err := sensorView(c, "web-health")
		if err != nil {
			t.Fatal(err)
		}
		return v.Since
	}
	began := since()
	for range 5 {
		if err := d.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s, err := c.signalOf("web", "web-health"); err != nil || s.Unconfirmed {
			t.Errorf("after a reload: %+v, %v", s, err)
		}
	}
	if !since().Equal(began) {
		t.Errorf("the sensor runs since %s, was %s", since(), began)
	}
	h.write(t, strings.Replace(text, "X-A: b", "X-A: c", 1))
	if err := d.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !since().After(began) {
		t.Error("a sensor that is asked otherwise did not begin anew")
	}
}

func TestNoFileNoReload(t *testing.T) {
	h := newHome(t, "")
	d, _ := h.embed(t, daemon.WithConfigFile(""))
	if err := d.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "not started from a file") {
		t.Errorf("reload without a file: %v", err)
	}
}
