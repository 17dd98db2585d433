package httpclient_test

import (
	"context"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"grace/internal/httpclient"
	"grace/internal/patience"
)

func client(t *testing.T, cfg httpclient.Config) *httpclient.Client {
	t.Helper()
	c, err := httpclient.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func ask(t *testing.T, c *httpclient.Client, method, url string) (status int, body string, err error) {
	t.Helper()
	ctx, cancel := patience.Context(t)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader("q=1"))
	if err != nil {
		return 0, "", err
	}
	resp, _, err := c.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	data, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(data), nil
}

func TestCredentials(t *testing.T) {
	t.Setenv("HC_TOKEN", "t0ken")
	t.Setenv("HC_BAD", "two\nlines")
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Header.Get("Authorization")+r.Header.Get("X-Key")+r.Host)
	}))
	t.Cleanup(srv.Close)
	host := srv.Listener.Addr().String()
	for name, tt := range map[string]struct {
		auth       httpclient.Auth
		want, fail string
	}{
		"none":    {want: host},
		"bearer":  {auth: httpclient.Auth{BearerToken: "${env:HC_TOKEN}"}, want: "Bearer t0ken" + host},
		"basic":   {auth: httpclient.Auth{Username: "u", Password: "${env:HC_TOKEN}"}, want: "Basic dTp0MGtlbg==" + host},
		"header":  {auth: httpclient.Auth{Headers: map[string]string{"X-Key": "k${env:HC_TOKEN}", "Host": "other.test"}}, want: "kt0kenother.test"},
		"missing": {auth: httpclient.Auth{BearerToken: "${env:HC_NOT_SET}"}, fail: "HC_NOT_SET"},
		"newline": {auth: httpclient.Auth{Headers: map[string]string{"X-Key": "${env:HC_BAD}"}}, fail: "header X-Key: its value holds a line break"},
	} {
		t.Run(name, func(t *testing.T) {
			_, body, err := ask(t, client(t, httpclient.Config{Auth: tt.auth}), "GET", srv.URL)
			if tt.fail == "" && (err != nil || body != tt.want) {
				t.Errorf("%q %v, want %q", body, err, tt.want)
			}
			if tt.fail != "" && (err == nil || !strings.Contains(err.Error(), tt.fail) || httpclient.Classify(err) != httpclient.Own || strings.Contains(err.Error(), "lines")) {
				t.Errorf("%v, want %q as GRACE's own fault", err, tt.fail)
			}
		})
	}
}

func TestRedirects(t *testing.T) {
	var leaked atomic.Bool
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Key") != "" || r.Header.Get("Authorization") != "" {
			leaked.Store(true)
		}
		_, _ = io.WriteString(w, "other")
	}))
	t.Cleanup(other.Close)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/here":
			http.Redirect(w, r, "/end", http.StatusMovedPermanently)
		case "/there":
			http.Redirect(w, r, other.URL, http.StatusFound)
		case "/kept":
			http.Redirect(w, r, "/end", http.StatusPermanentRedirect)
		default:
			data, _ := io.ReadAll(r.Body)
			_, _ = io.WriteString(w, "end "+r.Method+" "+string(data))
		}
	}))
	t.Cleanup(srv.Close)
	for _, tt := range []struct {
		redirects          httpclient.Redirects
		method, path, want string
		status             int
	}{
		{httpclient.RedirectNever, "GET", "/here", "", 301},
		{httpclient.RedirectSameOrigin, "GET", "/here", "end GET", 200},
		{httpclient.RedirectSameOrigin, "GET", "/there", "", 302},
		{httpclient.RedirectAnywhere, "GET", "/there", "other", 200},
		{httpclient.RedirectSameOrigin, "POST", "/kept", "end POST q=1", 200},
	} {
		cfg := httpclient.Config{Redirects: tt.redirects, Auth: httpclient.Auth{Headers: map[string]string{"X-Key": "k", "Authorization": "secret"}}}
		status, body, err := ask(t, client(t, cfg), tt.method, srv.URL+tt.path)
		if err != nil || status != tt.status || tt.want != "" && !strings.HasPrefix(body, tt.want) {
			t.Errorf("%s %s: %d %q %v", tt.method, tt.path, status, body, err)
		}
	}
	if leaked.Load() {
		t.Error("another host got a header that was not meant for it")
	}
	_, _, err := ask(t, client(t, httpclient.Config{Redirects: httpclient.RedirectAnywhere}), "POST", srv.URL+"/here")
	if err == nil || !strings.Contains(err.Error(), srv.URL+"/here") || !strings.Contains(err.Error(), srv.URL+"/end") {
		t.Errorf("a POST that became a GET: %v, want both addresses named", err)
	}
}

// The proxy is the configured one, never that of the environment.
func TestProxies(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "by proxy to "+r.URL.Host)
	}))
	t.Cleanup(proxy.Close)
	t.Setenv("HTTP_PROXY", proxy.URL)
	t.Setenv("http_proxy", proxy.URL)
	if _, _, err := ask(t, client(t, httpclient.Config{}), "GET", "http://nobody.invalid/"); err == nil {
		t.Error("the environment's proxy was asked")
	}
	if _, body, err := ask(t, client(t, httpclient.Config{Proxy: proxy.URL}), "GET", "http://nobody.invalid/"); err != nil || body != "by proxy to nobody.invalid" {
		t.Errorf("%q %v", body, err)
	}
	proxy.Close()
	if _, _, err := ask(t, client(t, httpclient.Config{Proxy: proxy.URL}), "GET", "http://nobody.invalid/"); httpclient.Classify(err) != httpclient.Own {
		t.Errorf("a proxy that is away counts against the target: %v", err)
	}
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.URL.Path) })}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	url, socket, err := httpclient.Target("unix://" + path + ":/healthz")
	if err != nil {
		t.Fatal(err)
	}
	if _, body, err := ask(t, client(t, httpclient.Config{UnixSocket: socket}), "GET", url); err != nil || body != "/healthz" {
		t.Errorf("%q %v", body, err)
	}
	for _, bad := range []string{"unix://", "unix://relative", "unix:///s:path", "ftp://x", "127.0.0.1", "http://"} {
		if _, _, err := httpclient.Target(bad); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

func TestTLS(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(srv.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		tls httpclient.TLS
		ok  bool
	}{
		"stranger":   {httpclient.TLS{}, false},
		"trusted":    {httpclient.TLS{CA: ca}, true},
		"insecure":   {httpclient.TLS{Insecure: true}, true},
		"other name": {httpclient.TLS{CA: ca, ServerName: "other.test"}, false},
	} {
		_, _, err := ask(t, client(t, httpclient.Config{TLS: tt.tls}), "GET", srv.URL)
		if (err == nil) != tt.ok || err != nil && httpclient.Classify(err) != httpclient.Own {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestClassify(t *testing.T) {
	closed := httptest.NewServer(nil)
	closed.Close()
	reset := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
		}
	}))
	t.Cleanup(reset.Close)
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(silent.Close)
	for name, tt := range map[string]struct {
		url  string
		want httpclient.Class
	}{
		"refused":         {closed.URL, httpclient.Down},
		"reset":           {reset.URL, httpclient.Down},
		"slow":            {silent.URL, httpclient.Slow},
		"impossible port": {"http://127.0.0.1:99999/", httpclient.Own},
	} {
		limit := time.Hour
		if tt.want == httpclient.Slow {
			limit = time.Second
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), limit, errors.New("no answer in time"))
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, tt.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = client(t, httpclient.Config{Anew: true}).Do(req) //nolint:bodyclose // there is none
		cancel()
		if err == nil || httpclient.Classify(err) != tt.want {
			t.Errorf("%s: %v is %v, want %v", name, err, httpclient.Classify(err), tt.want)
		}
	}
	op := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	for _, tt := range []struct {
		err  error
		want httpclient.Class
	}{
		{op(os.NewSyscallError("socket", syscall.EMFILE)), httpclient.Own},
		{op(os.NewSyscallError("socket", syscall.ENFILE)), httpclient.Own},
		{op(os.NewSyscallError("connect", syscall.EACCES)), httpclient.Own},
		{op(os.NewSyscallError("connect", syscall.EADDRNOTAVAIL)), httpclient.Own},
		{op(os.NewSyscallError("connect", syscall.EHOSTUNREACH)), httpclient.Down},
		{op(os.NewSyscallError("connect", syscall.ENETUNREACH)), httpclient.Own},
		{op(os.NewSyscallError("connect", syscall.ENETDOWN)), httpclient.Own},
		{&net.OpError{Op: "proxyconnect", Net: "tcp", Err: op(&net.DNSError{Err: "no such host", IsNotFound: true})}, httpclient.Own},
		{op(os.NewSyscallError("connect", syscall.ECONNREFUSED)), httpclient.Down},
		{op(&net.DNSError{Err: "no such host", IsNotFound: true}), httpclient.Down},
		{op(&net.DNSError{Err: "server misbehaving", IsTemporary: true}), httpclient.Own},
		{op(&net.DNSError{Err: "unknown port", IsNotFound: true}), httpclient.Own},
	} {
		if got := httpclient.Classify(tt.err); got != tt.want {
			t.Errorf("%v is %v, want %v", tt.err, got, tt.want)
		}
	}
}

func TestValidate(t *testing.T) {
	for want, cfg := range map[string]httpclient.Config{
		"bearer_token: excludes":          {Auth: httpclient.Auth{BearerToken: "a", Username: "b"}},
		"password: there is no username":  {Auth: httpclient.Auth{Password: "a"}},
		"no header name":                  {Auth: httpclient.Auth{Headers: map[string]string{"X-Api Key": "a"}}},
		"headers.X-Key: it holds a line":  {Auth: httpclient.Auth{Headers: map[string]string{"X-Key": "a\nb"}}},
		"headers.authorization: excludes": {Auth: httpclient.Auth{BearerToken: "a", Headers: map[string]string{"authorization": "b"}}},
		"go together":                     {TLS: httpclient.TLS{Cert: "a"}},
		"ca: open":                        {TLS: httpclient.TLS{CA: "no-such-file"}},
		"proxy":                           {Proxy: "proxy:3128"},
		"unix_socket":                     {UnixSocket: "run/app.sock"},
	} {
		if _, err := httpclient.New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
