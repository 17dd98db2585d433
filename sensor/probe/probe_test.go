package probe_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"grace"
	"grace/gracetest"
	"grace/internal/httpclient"
	"grace/internal/patience"
	"grace/sensor/probe"
)

func server(t *testing.T) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/ok", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "all is well") })
	mux.HandleFunc("/busy", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/ok", http.StatusFound) })
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://elsewhere.invalid/", http.StatusFound)
	})
	mux.HandleFunc("/hang", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("/slow", func(http.ResponseWriter, *http.Request) { time.Sleep(30 * time.Millisecond) })
	mux.HandleFunc("/auth", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer t0ken" {
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return srv
}

func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestCheck(t *testing.T) {
	srv := server(t)
	t.Setenv("PROBE_TOKEN", "t0ken")
	addr := srv.Listener.Addr().String()
	web := func(path string) probe.Target { return probe.Target{Type: probe.HTTP, URL: srv.URL + path} }
	cmd := func(argv ...string) probe.Target { return probe.Target{Type: probe.Command, Argv: argv} }
	with := func(t probe.Target, change func(*probe.Target)) probe.Target { change(&t); return t }
	for _, tt := range []struct {
		name     string
		target   probe.Target
		ok       bool
		answered bool
		detail   string
	}{
		{"ok", web("/ok"), true, true, "200 OK"},
		{"not 2xx", web("/busy"), false, true, "answered 503 Service Unavailable, want 2xx"},
		{"wanted status", with(web("/busy"), func(t *probe.Target) { t.Status = 503 }), true, true, "503"},
		{"unwanted status", with(web("/ok"), func(t *probe.Target) { t.Status = 204 }), false, true, "want 204"},
		{"contains", with(web("/ok"), func(t *probe.Target) { t.Body.Contains = "well" }), true, true, "200"},
		{"does not contain", with(web("/ok"), func(t *probe.Target) { t.Body.Contains = "ill" }), false, true, `without "ill"`},
		{"redirect", web("/moved"), false, true, "302 Found to /ok"},
		{"redirect followed", with(web("/moved"), func(t *probe.Target) { t.FollowRedirects = true }), true, true, "200"},
		{"redirect wanted", with(web("/moved"), func(t *probe.Target) { t.Status = 302 }), true, true, "302"},
		{"redirect to another host", web("/away"), false, true, "302"},
		{"method", with(web("/ok"), func(t *probe.Target) { t.Method = "HEAD" }), true, true, "200"},
		{"header", with(web("/auth"), func(t *probe.Target) {
			t.Client.Headers = map[string]string{"Authorization": "Bearer ${env:PROBE_TOKEN}"}
		}), true, true, "200"},
		{"secret missing", with(web("/auth"), func(t *probe.Target) {
			t.Client.Headers = map[string]string{"Authorization": "Bearer ${env:PROBE_NOT_SET}"}
		}), false, false, "PROBE_NOT_SET"},
		{"timeout", with(web("/hang"), func(t *probe.Target) { t.Timeout = grace.Duration(50 * time.Millisecond) }), false, false, "no answer within 50ms"},
		{"too slow", with(web("/slow"), func(t *probe.Target) { t.MaxLatency = grace.Duration(10 * time.Millisecond) }), false, true, "want at most 10ms"},
		{"refused", probe.Target{Type: probe.HTTP, URL: "http://" + closedPort(t)}, false, false, "refused"},
		{"tcp", probe.Target{Type: probe.TCP, Address: addr}, true, true, "connected"},
		{"tcp refused", probe.Target{Type: probe.TCP, Address: closedPort(t)}, false, false, "refused"},
		{"command", cmd("echo", "fine"), true, true, "fine"},
		{"command fails", cmd("sh", "-c", "echo worse; echo bad >&2; exit 3"), false, true, "exit status 3: bad"},
		{"command missing", cmd("/nonexistent/program"), false, false, "no such file"},
		{"command timeout", with(cmd("sleep", "60"), func(t *probe.Target) { t.Timeout = grace.Duration(50 * time.Millisecond) }), false, false, "no answer within"},
		{"command secret", with(cmd("sh", "-c", "echo got $T; exit 1"), func(t *probe.Target) {
			t.Env = map[string]string{"T": "${env:PROBE_TOKEN}"}
		}), false, true, "got [secret]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := probe.NewChecker(tt.target)
			if err != nil {
				t.Fatal(err)
			}
			r := c.Check(t.Context())
			if r.OK != tt.ok || r.Answered != tt.answered || !strings.Contains(r.Detail, tt.detail) || r.At.IsZero() || r.Latency <= 0 {
				t.Errorf("%+v, want ok %v answered %v with %q", r, tt.ok, tt.answered, tt.detail)
			}
			if strings.Contains(r.Detail, "t0ken") {
				t.Error("the detail holds a secret")
			}
		})
	}
}

func TestValidate(t *testing.T) {
	good := probe.Config{Name: "web", Service: "shop", Target: probe.Target{Type: probe.TCP, Address: "127.0.0.1:80"}}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*probe.Config){
		"name":     func(c *probe.Config) { c.Name = "" },
		"service":  func(c *probe.Config) { c.Service = "" },
		"interval": func(c *probe.Config) { c.Interval = -1 },
		"severity": func(c *probe.Config) { c.Severity = "page" },
		"type":     func(c *probe.Config) { c.Type = "icmp" },
		"address":  func(c *probe.Config) { c.Address = "127.0.0.1" },
		"timeout":  func(c *probe.Config) { c.Timeout = -1 },
		"url":      func(c *probe.Config) { c.Target = probe.Target{Type: probe.HTTP, URL: "/x"} },
		"status":   func(c *probe.Config) { c.Target = probe.Target{Type: probe.HTTP, URL: "http://x", Status: 20} },
		"method":   func(c *probe.Config) { c.Target = probe.Target{Type: probe.HTTP, URL: "http://x", Method: "GE T"} },
		"headers": func(c *probe.Config) {
			c.Target = probe.Target{Type: probe.HTTP, URL: "http://x", Client: httpclient.Config{Auth: httpclient.Auth{Headers: map[string]string{"X-Api Key": "k"}}}}
		},
		"argv": func(c *probe.Config) { c.Target = probe.Target{Type: probe.Command} },
		"secret in argv": func(c *probe.Config) {
			c.Target = probe.Target{Type: probe.Command, Argv: []string{"x", "${env:T}"}}
		},
	} {
		c := good
		change(&c)
		if _, err := probe.New(c); err == nil || !strings.Contains(err.Error(), strings.Fields(name)[len(strings.Fields(name))-1]) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestConformance(t *testing.T) {
	srv := server(t)
	for _, target := range []probe.Target{
		{Type: probe.HTTP, URL: srv.URL + "/ok"},
		{Type: probe.HTTP, URL: srv.URL + "/busy"},
		{Type: probe.TCP, Address: closedPort(t)},
		{Type: probe.Command, Argv: []string{"true"}},
	} {
		t.Run(target.Type+target.URL, func(t *testing.T) {
			gracetest.Sensor(t, func(t *testing.T) grace.Sensor {
				p, err := probe.New(probe.Config{Name: "web", Service: "shop", Interval: grace.Duration(10 * time.Millisecond), Target: target})
				if err != nil {
					t.Fatal(err)
				}
				return p
			}, gracetest.SensorCase{Service: "shop", Metrics: []string{target.Type + "_health"}})
		})
	}
}

func TestSamples(t *testing.T) {
	srv := server(t)
	p, err := probe.New(probe.Config{
		Name: "web", Service: "shop", Interval: grace.Duration(10 * time.Millisecond), Code: grace.CodeDegradation,
		Target: probe.Target{Type: probe.HTTP, URL: srv.URL + "/busy"},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	rec := &gracetest.Recorder{}
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx, rec) }()
	got := rec.Wait(t, 2)
	rec.Fail(errors.New("log is full"))
	rec.WaitRefused(time.Minute, 2)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if h := got[0]; h.Metric != "http_health" || h.Kind != grace.SampleProbe || h.Value != 0 || h.Code != grace.CodeDegradation || h.Severity != grace.SeverityCritical {
		t.Errorf("health %+v", h)
	}
	if l := got[1]; l.Metric != probe.Duration || l.Kind != grace.SampleMetric || l.Value <= 0 || l.Unit != "s" || !l.At.Equal(got[0].At) {
		t.Errorf("duration %+v", l)
	}
	if s := got[2]; s.Metric != probe.StatusCode || s.Value != http.StatusServiceUnavailable {
		t.Errorf("status %+v", s)
	}
	if p.Lost() < 2 {
		t.Errorf("lost %d", p.Lost())
	}
}

// A check that the end of the sensor cuts short says nothing of the target.
func TestEndIsNoFailure(t *testing.T) {
	asked := make(chan struct{}, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	defer srv.Close()
	p, err := probe.New(probe.Config{
		Name: "web", Service: "shop", Interval: grace.Duration(time.Millisecond),
		Target: probe.Target{Type: probe.HTTP, URL: srv.URL, Timeout: grace.Duration(time.Minute)},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	rec := &gracetest.Recorder{}
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx, rec) }()
	<-asked
	cancel()
	if err := <-done; err != nil || len(rec.Samples()) != 0 {
		t.Errorf("error %v, samples %v", err, rec.Samples())
	}
}

// Probes begin apart, each at its own offset, and then keep their interval.
func TestSchedule(t *testing.T) {
	starts := map[time.Duration]bool{}
	for seed := range uint64(5) {
		synctest.Test(t, func(t *testing.T) {
			p, err := probe.New(probe.Config{
				Name: "p", Service: "s", Seed: seed, Interval: grace.Duration(10 * time.Second),
				Target: probe.Target{Type: probe.TCP, Address: "127.0.0.1:no-such-port"}, // fails without a packet
			})
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			rec := &gracetest.Recorder{}
			ctx, cancel := context.WithTimeout(t.Context(), 35*time.Second)
			defer cancel()
			if err := p.Run(ctx, rec); err != nil {
				t.Fatal(err)
			}
			got := rec.Samples()
			if len(got) < 3 {
				t.Fatalf("%d checks in 35 s", len(got))
			}
			first := got[0].At.Sub(began)
			if first < 0 || first >= 10*time.Second {
				t.Errorf("the first check came after %s", first)
			}
			for i := 1; i < len(got); i++ {
				if gap := got[i].At.Sub(got[i-1].At); gap != 10*time.Second {
					t.Errorf("check %d came %s after the one before", i, gap)
				}
			}
			starts[first] = true
		})
	}
	if len(starts) < 4 {
		t.Errorf("five seeds began at only %d different times", len(starts))
	}
}

func TestRealNginx(t *testing.T) {
	bin, err := exec.LookPath("nginx")
	if err != nil {
		bin = "/usr/sbin/nginx"
		if _, err := os.Stat(bin); err != nil {
			t.Skip("nginx is missing; install it with: apt-get install nginx-light")
		}
	}
	dir, addr := t.TempDir(), closedPort(t)
	conf := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf("daemon off; pid %[1]s/pid; error_log %[1]s/err; events {} http { access_log off; client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s; server { listen %[2]s; location / { return 200 'hello\\n'; } } }", dir, addr)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := probe.NewChecker(probe.Target{Type: probe.HTTP, URL: "http://" + addr, Body: probe.Body{Contains: "hello"}})
	if err != nil {
		t.Fatal(err)
	}
	if r := c.Check(t.Context()); r.OK {
		t.Fatalf("healthy before it was started: %+v", r)
	}
	cmd := exec.Command(bin, "-c", conf, "-p", dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop := func() {
		if !stopped {
			stopped = true
			_ = cmd.Process.Signal(os.Interrupt)
			_ = cmd.Wait()
		}
	}
	defer stop()
	patience.Until(t, func() error {
		if r := c.Check(t.Context()); !r.OK {
			return fmt.Errorf("not healthy: %+v", r)
		}
		return nil
	})
	stop()
	if r := c.Check(t.Context()); r.OK {
		t.Errorf("healthy after it was stopped: %+v", r)
	}
}
