package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"grace"
	"grace/internal/httpclient"
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

	URL        string            // http; also unix:///run/app.sock:/path
	Method     string            // http; default GET
	Client     httpclient.Config // http; its Redirects are set by FollowRedirects
	Status     int               // http; default any 2xx
	Body       Body              // http; what must hold of the first MiB of the answer
	MaxLatency grace.Duration    // http, tcp; default no limit
	// FollowRedirects judges what a redirect leads to. Otherwise a redirect is
	// a failure (a login page is no success), unless its status is wanted.
	FollowRedirects bool

	Address string // tcp; host:port, or unix:///run/app.sock

	Argv   []string          // command; exit code 0 passes; no secrets
	Env    map[string]string // command; besides PATH, HOME and LANG; may hold secret references
	Format string            // command; how its output is read: empty, nagios, prometheus or json

	Timeout grace.Duration // of one check; default 5s
}

// Validate names everything that is wrong with the target.
func (t Target) Validate() error {
	var errs []error
	if t.Timeout < 0 || t.MaxLatency < 0 {
		errs = append(errs, errors.New("timeout and max_latency must not be negative"))
	}
	switch t.Type {
	case HTTP:
		_, _, err := httpclient.Target(t.URL)
		errs = append(errs, err, t.Client.Validate(), t.Body.Validate())
		if t.Method != "" && !httpclient.Token(t.Method) {
			errs = append(errs, grace.Field("method", "%q is no HTTP method: want one word, for example GET or HEAD", t.Method))
		}
		if t.Status != 0 && (t.Status < 100 || t.Status > 599) {
			errs = append(errs, grace.Field("status", "%d is no HTTP status", t.Status))
		}
	case TCP:
		errs = append(errs, validAddress(t.Address))
	case Command:
		errs = append(errs, validArgv(t.Argv), validFormat(t.Format))
	default:
		errs = append(errs, grace.Field("type", "%q: want http, tcp or command", t.Type))
	}
	return errors.Join(errs...)
}

func validAddress(address string) error {
	if path, ok := strings.CutPrefix(address, "unix://"); ok {
		if !strings.HasPrefix(path, "/") {
			return grace.Field("address", "%q: want unix:// and an absolute path", address)
		}
		return nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || port == "" {
		return grace.Field("address", "%q: want host:port", address)
	}
	if httpclient.NoHost(host) {
		return grace.Field("address", "%q: %s is no IP address, and no name of a host", address, host)
	}
	if n, err := strconv.Atoi(port); err == nil && (n < 1 || n > 65535) {
		return grace.Field("address", "%q: a port is a number from 1 to 65535", address)
	}
	return nil
}

func validArgv(argv []string) error {
	if len(argv) == 0 || argv[0] == "" {
		return grace.Field("argv", "is missing: give the program and its arguments as a list; there is no shell")
	}
	for i, arg := range argv {
		if strings.Contains(arg, "${env:") || strings.Contains(arg, "${file:") {
			return grace.Field(fmt.Sprintf("argv[%d]", i), "holds a secret, and every user of the host can read argv: pass it in env")
		}
	}
	return nil
}

// Result of one check.
type Result struct {
	OK       bool
	Fault    bool           // GRACE could not look: nothing is known of the target
	Code     grace.Code     // of a failure: what it means by itself
	Severity grace.Severity // of a failure, where the check says so itself
	Detail   string         // what was seen; never holds a secret
	Latency  time.Duration  // also of a failure
	Answered bool           // something came back, good or bad
	Status   int            // of an HTTP answer; 0 without one
	Numbers  []Number
	At       time.Time // when the check began: what it saw may be as old
}

// Number is a value that a command returned.
type Number struct {
	Name  string
	Value float64
	Unit  string
}

// fault is the result of a check that could not be made.
func fault(format string, args ...any) Result {
	return Result{Fault: true, Detail: fmt.Sprintf(format, args...)}
}

// Checker takes measurements of one target. It is safe for concurrent use.
type Checker struct {
	target  Target
	url     string
	body    condition
	client  *httpclient.Client
	timeout time.Duration
	since   func(time.Time) time.Duration
}

// NewChecker makes a checker, or says what is wrong with the target.
func NewChecker(t Target) (*Checker, error) {
	if err := t.Validate(); err != nil {
		return nil, err
	}
	c := &Checker{target: t, timeout: t.Timeout.D(), since: time.Since}
	if c.timeout == 0 {
		c.timeout = DefaultTimeout
	}
	if t.Type != HTTP {
		return c, nil
	}
	var socket string
	var err error
	if c.url, socket, err = httpclient.Target(t.URL); err != nil {
		return nil, err
	}
	if c.body, err = t.Body.compile(); err != nil {
		return nil, err
	}
	client := t.Client
	client.Anew = true
	if socket != "" {
		client.UnixSocket = socket
	}
	client.Redirects = httpclient.RedirectNever
	if t.FollowRedirects {
		client.Redirects = httpclient.RedirectAnywhere
	}
	c.client, err = httpclient.New(client)
	return c, err
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
	took := c.since(began)
	if err := httpclient.Overran(took, c.timeout); err != nil {
		r = fault("%v", err)
	}
	r.At = began
	if r.Latency == 0 {
		r.Latency = took
	}
	if limit := c.target.MaxLatency.D(); limit > 0 && r.OK && r.Latency > limit {
		r.OK, r.Code = false, grace.CodeLatencySpike
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

// refused is the result of an error without an answer.
func refused(err error) Result {
	r := Result{Detail: err.Error(), Code: grace.CodeServiceDown}
	switch httpclient.Classify(err) {
	case httpclient.Own:
		r.Fault, r.Code = true, ""
	case httpclient.Slow:
		r.Code = grace.CodeLatencySpike
	case httpclient.Down:
	}
	return r
}
