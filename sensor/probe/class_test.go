package probe_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"grace"
	"grace/gracetest"
	"grace/internal/httpclient"
	"grace/sensor/probe"
)

// What a failure means, and what is none: GRACE's own faults say nothing about
// the target.
func TestClasses(t *testing.T) {
	srv := server(t)
	t.Setenv("PROBE_LINES", "two\nlines")
	script := func(text string) string {
		t.Helper()
		path := filepath.Join(t.TempDir(), "script")
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil { //nolint:gosec // it is to be run
			t.Fatal(err)
		}
		return path
	}
	web := func(path string, change func(*probe.Target)) probe.Target {
		target := probe.Target{Type: probe.HTTP, URL: srv.URL + path}
		if change != nil {
			change(&target)
		}
		return target
	}
	cmd := func(argv ...string) probe.Target { return probe.Target{Type: probe.Command, Argv: argv} }
	closed := closedPort(t)
	proxy := func(status int) string {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		t.Cleanup(srv.Close)
		return strings.TrimPrefix(srv.URL, "http://")
	}
	by := func(proxy string) probe.Target {
		return web("/ok", func(t *probe.Target) { t.Client.Proxy = proxy })
	}
	header := func(value string) func(*probe.Target) {
		return func(t *probe.Target) { t.Client.Headers = map[string]string{"A": value} }
	}
	for name, tt := range map[string]struct {
		target probe.Target
		code   grace.Code // empty: a sensor error
	}{
		"refused":                      {probe.Target{Type: probe.HTTP, URL: "http://" + closed}, grace.CodeServiceDown},
		"no such socket":               {probe.Target{Type: probe.HTTP, URL: "unix:///nowhere/app.sock"}, grace.CodeServiceDown},
		"server error":                 {web("/busy", nil), grace.CodeElevatedErrors},
		"redirect":                     {web("/away", nil), grace.CodeElevatedErrors},
		"body":                         {web("/ok", func(t *probe.Target) { t.Body.Contains = "ill" }), grace.CodeElevatedErrors},
		"timeout":                      {web("/hang", func(t *probe.Target) { t.Timeout = grace.Duration(100 * time.Millisecond) }), grace.CodeLatencySpike},
		"too slow":                     {web("/slow", func(t *probe.Target) { t.MaxLatency = grace.Duration(time.Millisecond) }), grace.CodeLatencySpike},
		"tcp refused":                  {probe.Target{Type: probe.TCP, Address: closed}, grace.CodeServiceDown},
		"exit code":                    {cmd("false"), grace.CodeServiceDown},
		"secret missing":               {web("/ok", header("${env:PROBE_NOT_SET}")), ""},
		"secret of lines":              {web("/ok", header("${env:PROBE_LINES}")), ""},
		"no such port":                 {probe.Target{Type: probe.TCP, Address: "127.0.0.1:no-such-port"}, ""},
		"no program":                   {cmd("/nowhere/program"), ""},
		"not executable":               {cmd("/etc/passwd"), ""},
		"no interpreter":               {cmd(script("#!/nowhere/python\n")), ""},
		"env finds none":               {cmd(script("#!/usr/bin/env no-such-interpreter\n")), ""},
		"shell finds none":             {cmd("sh", "-c", "no-such-program"), ""},
		"no such word":                 {cmd("sh", "-c", "no-such-program || exit 1"), ""},
		"no shell script":              {cmd("sh", "-c", "if"), ""},
		"proxy wants login":            {by("http://" + proxy(407)), ""},
		"proxy wants login of CONNECT": {probe.Target{Type: probe.HTTP, URL: "https://" + closed, Client: httpclient.Config{Proxy: "http://" + proxy(407)}}, ""},
		"proxy reaches nobody":         {probe.Target{Type: probe.HTTP, URL: "https://" + closed, Client: httpclient.Config{Proxy: "http://" + proxy(502)}}, grace.CodeServiceDown},
		"SOCKS forbids":                {by("socks5://" + socks(t, 2)), ""},
		"SOCKS wants login":            {by("socks5://" + socks(t, -1)), ""},
		"SOCKS finds it refused":       {by("socks5://" + socks(t, 5)), grace.CodeServiceDown},
		"proxy unknown":                {web("/ok", func(t *probe.Target) { t.Client.Proxy = "http://proxy.invalid:3128" }), ""},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.target.Timeout == 0 {
				tt.target.Timeout = grace.Duration(10 * time.Second)
			}
			p, err := probe.New(probe.Config{Name: "web", Service: "shop", Interval: grace.Duration(10 * time.Millisecond), Target: tt.target})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			rec := &gracetest.Recorder{}
			done := make(chan error, 1)
			go func() { done <- p.Run(ctx, rec) }()
			got := rec.Wait(t, 1)[0]
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			want := grace.SampleProbe
			if tt.code == "" {
				want = grace.SampleSensorError
			}
			if got.Kind != want || got.Code != tt.code || got.Value != 0 || got.Message == "" || strings.Contains(got.Message, "lines\n") {
				t.Errorf("%s %s %q, want %s %s", got.Kind, got.Code, got.Message, want, tt.code)
			}
		})
	}
}

// socks is a SOCKS proxy that gives one reply to every request; -1 is one that
// wants to know who asks.
func socks(t *testing.T, reply int) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			buf := make([]byte, 300)
			_, _ = conn.Read(buf)
			if reply < 0 {
				_, _ = conn.Write([]byte{5, 0xff})
			} else {
				_, _ = conn.Write([]byte{5, 0})
				_, _ = conn.Read(buf)
				_, _ = conn.Write([]byte{5, byte(reply), 0, 1, 0, 0, 0, 0, 0, 0})
			}
			_ = conn.Close()
		}
	}()
	return l.Addr().String()
}

// A script that does not work says nothing of the target; one that says what it
// saw does.
func TestScriptsThatDoNotWork(t *testing.T) {
	for name, tt := range map[string]struct {
		stderr string
		fault  bool
	}{
		"python module":    {"Traceback (most recent call last):\n  File \"c.py\", line 1, in <module>\nModuleNotFoundError: No module named 'psycopg2'\n", true},
		"python syntax":    {"  File \"c.py\", line 1\n    x = (\n        ^\nSyntaxError: '(' was never closed\n", true},
		"python name":      {"Traceback (most recent call last):\n  File \"c.py\", line 1, in <module>\nNameError: name 'q' is not defined\n", true},
		"python file":      {"/usr/bin/python3: can't open file '/nope.py': [Errno 2] No such file or directory\n", true},
		"python refused":   {"Traceback (most recent call last):\n  File \"c.py\", line 1, in <module>\nConnectionRefusedError: [Errno 111] Connection refused\n", false},
		"python assertion": {"Traceback (most recent call last):\n  File \"c.py\", line 1, in <module>\nAssertionError: NameError: in the answer\n", false},
		"bash":             {"bash: line 1: jq: command not found\n", true},
		"dash":             {"/opt/check.sh: 3: jq: not found\n", true},
		"bash syntax":      {"bash: -c: line 1: syntax error near unexpected token `fi'\n", true},
		"node":             {"node:internal/modules/cjs/loader:1210\n  throw err;\n  ^\n\nError: Cannot find module 'pg'\nRequire stack:\n", true},
		"node module":      {"Error [ERR_MODULE_NOT_FOUND]: Cannot find package 'pg' imported from /c.mjs\n", true},
		"ruby":             {"<internal:rubygems>:85:in `require': cannot load such file -- pg (LoadError)\n\tfrom c.rb:1:in `<main>'\n", true},
		"ruby refused":     {"c.rb:1:in `connect': Connection refused - connect(2) (Errno::ECONNREFUSED)\n", false},
		"perl":             {"Can't locate DBI.pm in @INC (you may need to install the DBI module) at c.pl line 1.\nBEGIN failed--compilation aborted at c.pl line 1.\n", true},
		"page not found":   {"curl: (22) The requested URL returned error: 404\nweb: not found\n", false},
		"nothing":          {"", false},
	} {
		t.Run(name, func(t *testing.T) {
			checker, err := probe.NewChecker(probe.Target{
				Type: probe.Command, Argv: []string{"sh", "-c", `printf %s "$SAID" >&2; exit 1`}, Env: map[string]string{"SAID": tt.stderr},
				Timeout: grace.Duration(10 * time.Second),
			})
			if err != nil {
				t.Fatal(err)
			}
			if r := checker.Check(t.Context()); r.OK || r.Fault != tt.fault {
				t.Errorf("%+v, want a sensor error: %v", r, tt.fault)
			}
		})
	}
}

func TestConfiguredCodeWins(t *testing.T) {
	p, err := probe.New(probe.Config{
		Name: "web", Service: "shop", Interval: grace.Duration(10 * time.Millisecond), Code: grace.CodeServiceDown,
		Target: probe.Target{Type: probe.HTTP, URL: server(t).URL + "/busy"},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	rec := &gracetest.Recorder{}
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx, rec) }()
	if got := rec.Wait(t, 1)[0]; got.Code != grace.CodeServiceDown {
		t.Errorf("%+v", got)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestBodies(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/text" {
			fmt.Fprint(w, "<h1>ok</h1> 3 jobs")
			return
		}
		fmt.Fprint(w, `{"status":"ok","n":3,"checks":[{"name":"db","up":true}],"none":null}`)
	}))
	t.Cleanup(srv.Close)
	for _, tt := range []struct {
		path   string
		body   probe.Body
		ok     bool
		detail string
	}{
		{"/text", probe.Body{Contains: "ok", NotContains: "error", Regex: `\d+ jobs`}, true, "200"},
		{"/text", probe.Body{NotContains: "ok"}, false, `with "ok"`},
		{"/text", probe.Body{Regex: `^ok`}, false, "nothing in it matches ^ok"},
		{"/text", probe.Body{JSON: map[string]string{"status": "ok"}}, false, "not JSON"},
		{"/json", probe.Body{JSON: map[string]string{"status": "ok", "n": "3", "checks.0.up": "true", "none": "null"}}, true, "200"},
		{"/json", probe.Body{JSON: map[string]string{"$.checks.[0].name": "db"}}, true, "200"},
		{"/json", probe.Body{JSON: map[string]string{"checks.0.up": "false"}}, false, `its checks.0.up is "true", want "false"`},
		{"/json", probe.Body{JSON: map[string]string{"checks.1.up": "true"}}, false, "no checks.1.up"},
	} {
		c, err := probe.NewChecker(probe.Target{Type: probe.HTTP, URL: srv.URL + tt.path, Body: tt.body})
		if err != nil {
			t.Fatal(err)
		}
		if r := c.Check(t.Context()); r.OK != tt.ok || !strings.Contains(r.Detail, tt.detail) {
			t.Errorf("%+v: %+v, want %q", tt.body, r, tt.detail)
		}
	}
	for _, bad := range []probe.Body{{Regex: "("}, {JSON: map[string]string{"": "x"}}} {
		if bad.Validate() == nil {
			t.Errorf("%+v is valid", bad)
		}
	}
}

func TestUnixSockets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.URL.Path) })} //nolint:gosec // of a test
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	for name, target := range map[string]probe.Target{
		"url":         {Type: probe.HTTP, URL: "unix://" + path + ":/healthz", Body: probe.Body{Contains: "/healthz"}},
		"unix_socket": {Type: probe.HTTP, URL: "http://app/healthz", Client: httpclient.Config{UnixSocket: path}, Body: probe.Body{Contains: "/healthz"}},
		"tcp":         {Type: probe.TCP, Address: "unix://" + path},
	} {
		c, err := probe.NewChecker(target)
		if err != nil {
			t.Fatal(err)
		}
		if r := c.Check(t.Context()); !r.OK {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestNumbers(t *testing.T) {
	for name, tt := range map[string]struct {
		format, script, want string
		ok, fault            bool
		severity             grace.Severity
	}{
		"nagios ok":       {format: "nagios", script: `echo "DISK OK - 3 GB | /=2643MB;5948;5958;0;5968 'a b'=95% c=U"`, ok: true, want: "/=2643MB a b=95%"},
		"nagios warning":  {format: "nagios", script: `echo "LOAD WARNING | load1=7.5;5;10"; exit 1`, severity: grace.SeverityWarning, want: "load1=7.5"},
		"nagios critical": {format: "nagios", script: `echo "down"; exit 2`, severity: grace.SeverityCritical},
		"nagios unknown":  {format: "nagios", script: `echo "no idea"; exit 3`, fault: true},
		"nagios long":     {format: "nagios", script: "printf 'OK | a=1s\\nmore text\\n| b=-2e-3ms\\n'", ok: true, want: "a=1s b=-0.002ms"},
		"prometheus":      {format: "prometheus", script: "printf '# TYPE q gauge\\nq 3\\nm{a=\"1\"} 4\\nn NaN\\n'", ok: true, want: `q=3 m{a="1"}=4`},
		"not prometheus":  {format: "prometheus", script: "echo '<html>'", fault: true},
		"json":            {format: "json", script: `echo '{"queue": 3, "age": 1.5}'`, ok: true, want: "age=1.5 queue=3"},
		"json and fails":  {format: "json", script: `echo '{"queue": 3}'; exit 1`, want: "queue=3"},
		"not numbers":     {format: "json", script: `echo '{"queue": "many"}'`, fault: true},
		"stderr is aside": {format: "json", script: `echo '{"queue": 3}'; echo warning >&2`, ok: true, want: "queue=3"},
		"plain":           {script: `echo '{"queue": 3}'`, ok: true},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := probe.NewChecker(probe.Target{Type: probe.Command, Argv: []string{"sh", "-c", tt.script}, Format: tt.format})
			if err != nil {
				t.Fatal(err)
			}
			r := c.Check(t.Context())
			var numbers []string
			for _, n := range r.Numbers {
				numbers = append(numbers, fmt.Sprintf("%s=%v%s", n.Name, n.Value, n.Unit))
			}
			if r.OK != tt.ok || r.Fault != tt.fault || r.Severity != tt.severity || strings.Join(numbers, " ") != tt.want {
				t.Errorf("%+v, numbers %q; want %q", r, numbers, tt.want)
			}
		})
	}
	if _, err := probe.NewChecker(probe.Target{Type: probe.Command, Argv: []string{"x"}, Format: "xml"}); err == nil {
		t.Error("format xml is taken")
	}
}
