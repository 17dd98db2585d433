package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"grace"
)

// The types of a Target.
const (
	HTTP    = "http"
	TCP     = "tcp"
	Command = "command"
)

// maxBody bounds how much of an HTTP answer is searched.
const maxBody = 1 << 20

// Target is what a check asks, and what it wants to hear. Which fields count
// depends on Type.
type Target struct {
	Type string // http, tcp or command

	URL        string            // http
	Method     string            // http; default GET
	Headers    map[string]string // http; values may hold secret references
	Status     int               // http; default any 2xx
	Contains   string            // http; must be within the first MiB of the answer
	MaxLatency grace.Duration    // http, tcp; default no limit

	Address string // tcp; host:port

	Argv []string          // command; exit code 0 passes; no secrets
	Env  map[string]string // command; besides PATH, HOME and LANG; may hold secret references

	Timeout grace.Duration // of one check; default 5s
}

// Validate names everything that is wrong with the target.
func (t Target) Validate() error {
	var errs []error
	if t.Timeout < 0 || t.MaxLatency < 0 {
		errs = append(errs, errors.New("timeout and max_latency must not be less than nothing"))
	}
	switch t.Type {
	case HTTP:
		u, err := url.Parse(t.URL)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			errs = append(errs, fmt.Errorf("url %q: want http:// or https:// and a host", t.URL))
		}
		if t.Status != 0 && (t.Status < 100 || t.Status > 599) {
			errs = append(errs, fmt.Errorf("status %d is no HTTP status", t.Status))
		}
	case TCP:
		if _, port, err := net.SplitHostPort(t.Address); err != nil || port == "" {
			errs = append(errs, fmt.Errorf("address %q: want host:port", t.Address))
		}
	case Command:
		errs = append(errs, validArgv(t.Argv))
	default:
		errs = append(errs, fmt.Errorf("type %q: want http, tcp or command", t.Type))
	}
	return errors.Join(errs...)
}

func validArgv(argv []string) error {
	if len(argv) == 0 || argv[0] == "" {
		return errors.New("argv is missing: give the program and its arguments as a list; there is no shell")
	}
	for i, arg := range argv {
		if strings.Contains(arg, "${env:") || strings.Contains(arg, "${file:") {
			return fmt.Errorf("argv[%d] holds a secret, and every user of the host can read argv: pass it in env", i)
		}
	}
	return nil
}

// Result of one check.
type Result struct {
	OK       bool
	Detail   string // what was seen; never holds a secret
	Latency  time.Duration
	Answered bool // something came back, good or bad; only then Latency counts
	At       time.Time
}

// Checker takes measurements of one target. It is safe for concurrent use.
type Checker struct {
	target  Target
	client  *http.Client
	timeout time.Duration
}

// NewChecker makes a checker, or says what is wrong with the target.
func NewChecker(t Target) (*Checker, error) {
	if err := t.Validate(); err != nil {
		return nil, err
	}
	c := &Checker{target: t, timeout: t.Timeout.D()}
	if c.timeout == 0 {
		c.timeout = DefaultTimeout
	}
	if t.Type == HTTP {
		c.client = newClient(t.Status)
	}
	return c, nil
}

// newClient makes a client that connects anew every time: a kept connection
// goes on working after a server has stopped to accept others.
func newClient(status int) *http.Client {
	client := &http.Client{CheckRedirect: func(req *http.Request, via []*http.Request) error {
		first := via[0].URL
		wantsRedirect := status >= 300 && status < 400
		if wantsRedirect || req.URL.Scheme != first.Scheme || req.URL.Host != first.Host {
			return http.ErrUseLastResponse
		}
		if len(via) > 5 {
			return errors.New("more than 5 redirects")
		}
		return nil
	}}
	if def, ok := http.DefaultTransport.(*http.Transport); ok {
		tr := def.Clone()
		tr.DisableKeepAlives = true
		client.Transport = tr
	}
	return client
}

// Check takes one measurement.
func (c *Checker) Check(ctx context.Context) Result {
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, fmt.Errorf("no answer within %s", c.timeout))
	defer cancel()
	began := time.Now()
	var r Result
	switch c.target.Type {
	case HTTP:
		r = c.http(ctx)
	case TCP:
		r = c.tcp(ctx)
	default:
		r = c.command(ctx)
	}
	r.At = time.Now()
	if r.Latency == 0 {
		r.Latency = r.At.Sub(began)
	}
	if limit := c.target.MaxLatency.D(); limit > 0 && r.OK && r.Latency > limit {
		r.OK = false
		r.Detail = fmt.Sprintf("answered after %s, want at most %s", r.Latency.Round(time.Millisecond), limit)
	}
	r.Detail = grace.CleanOutput(r.Detail)
	return r
}

// why gives the reason that the timeout was given, where it is one.
func why(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

func (c *Checker) http(ctx context.Context) Result {
	method := c.target.Method
	if method == "" {
		method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(ctx, method, c.target.URL, nil)
	if err != nil {
		return Result{Detail: err.Error()}
	}
	var secrets []string
	for k, v := range c.target.Headers {
		value, found, err := grace.ExpandSecrets(v)
		if err != nil {
			return Result{Detail: fmt.Sprintf("header %s: %v", k, err)}
		}
		secrets = append(secrets, found...)
		req.Header.Set(k, value)
		if strings.EqualFold(k, "Host") {
			req.Host = value
		}
	}
	began := time.Now()
	resp, err := c.client.Do(req)
	if err != nil {
		return Result{Detail: grace.Redact(why(ctx, err).Error(), secrets)}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return Result{Detail: "the answer broke off: " + why(ctx, err).Error()}
	}
	r := Result{OK: true, Answered: true, Latency: time.Since(began), Detail: resp.Status}
	switch {
	case c.target.Status == 0 && (resp.StatusCode < 200 || resp.StatusCode > 299):
		r.OK, r.Detail = false, fmt.Sprintf("answered %s, want 2xx", resp.Status)
	case c.target.Status != 0 && resp.StatusCode != c.target.Status:
		r.OK, r.Detail = false, fmt.Sprintf("answered %s, want %d", resp.Status, c.target.Status)
	case !strings.Contains(string(body), c.target.Contains):
		r.OK, r.Detail = false, fmt.Sprintf("answered %s without %q", resp.Status, c.target.Contains)
	}
	return r
}

func (c *Checker) tcp(ctx context.Context) Result {
	began := time.Now()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", c.target.Address)
	if err != nil {
		return Result{Detail: why(ctx, err).Error()}
	}
	_ = conn.Close()
	return Result{OK: true, Answered: true, Latency: time.Since(began), Detail: "connected to " + c.target.Address}
}
