package httpclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"grace"
)

const (
	maxRedirects = 5
	// freshConns is how long connections are kept: a name is looked up again
	// after at most this long.
	freshConns = time.Minute
	// dialTimeout bounds one try to connect; the context's deadline may be
	// earlier.
	dialTimeout = 30 * time.Second
)

// Client sends requests. It is safe for concurrent use.
type Client struct {
	cfg       Config
	http      *http.Client
	transport http.RoundTripper
	dropped   atomic.Int64 // Unix ms of when kept connections were dropped last
}

// Option changes a Client.
type Option func(*Client)

// WithTransport replaces how requests are sent, for tests.
func WithTransport(rt http.RoundTripper) Option {
	return func(c *Client) { c.transport = rt }
}

// New makes a client, or says what is wrong with its configuration or files.
func New(cfg Config, opts ...Option) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg}
	for _, opt := range opts {
		opt(c)
	}
	if c.transport == nil {
		t, err := Transport(cfg)
		if err != nil {
			return nil, err
		}
		c.transport = t
	}
	c.http = &http.Client{Transport: c.transport, CheckRedirect: c.redirect}
	c.dropped.Store(time.Now().UnixMilli())
	return c, nil
}

// Transport is how a Config's requests are sent, for a client that judges
// answers and redirects itself.
func Transport(cfg Config) (*http.Transport, error) {
	conf, err := cfg.TLS.Config()
	if err != nil {
		return nil, grace.Under("tls", err)
	}
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}
	t := &http.Transport{
		DialContext: dialer.DialContext, TLSClientConfig: conf, ForceAttemptHTTP2: true, DisableKeepAlives: cfg.Anew,
		TLSHandshakeTimeout: dialTimeout, IdleConnTimeout: freshConns, MaxIdleConnsPerHost: 4,
		MaxResponseHeaderBytes: 1 << 20,
	}
	if cfg.UnixSocket != "" {
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", cfg.UnixSocket)
		}
	}
	if cfg.Proxy != "" {
		proxy, err := url.Parse(cfg.Proxy)
		if err != nil {
			return nil, grace.Field("proxy", "%w", err)
		}
		t.Proxy = http.ProxyURL(proxy)
		t.OnProxyConnectResponse = func(_ context.Context, _ *url.URL, _ *http.Request, resp *http.Response) error {
			if resp.StatusCode/100 == 4 { // another: it could not reach the peer
				return proxyRefuses(resp)
			}
			return nil
		}
	}
	return t, nil
}

// proxyRefuses is a fault of GRACE's configuration or of its proxy.
func proxyRefuses(resp *http.Response) error {
	return &Fault{fmt.Errorf("the proxy answered %s", resp.Status)}
}

// redirect decides about one redirect.
func (c *Client) redirect(req *http.Request, via []*http.Request) error {
	first, last := via[0], via[len(via)-1]
	if req.Method != first.Method {
		return fmt.Errorf("%s %s is redirected to %s, which would send it without its body: use the address it points to",
			first.Method, last.URL.Redacted(), req.URL.Redacted())
	}
	same := req.URL.Scheme == first.URL.Scheme && req.URL.Host == first.URL.Host
	switch {
	case c.cfg.Redirects == RedirectNever, c.cfg.Redirects == RedirectSameOrigin && !same, c.cfg.UnixSocket != "" && !same:
		return http.ErrUseLastResponse
	case len(via) > maxRedirects:
		return fmt.Errorf("more than %d redirects, the last to %s", maxRedirects, req.URL.Redacted())
	}
	if !same { // what may hold a secret stays with the host it was meant for
		req.Header.Del("Authorization")
		for k := range c.cfg.Headers {
			req.Header.Del(k)
		}
	}
	return nil
}

// Do sends a request with the credentials as they are now. The error never
// holds a secret; secrets are given so that what the answer repeats of them can
// be redacted too.
func (c *Client) Do(req *http.Request) (resp *http.Response, secrets []string, err error) {
	secrets, err = c.authorize(req)
	if err != nil {
		return nil, secrets, err
	}
	if now := time.Now().UnixMilli(); now-c.dropped.Load() > freshConns.Milliseconds() {
		c.dropped.Store(now)
		c.http.CloseIdleConnections()
	}
	var connected atomic.Bool
	ctx := httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		GotConn:     func(httptrace.GotConnInfo) { connected.Store(true) },
		ConnectDone: func(_, _ string, err error) { connected.Store(connected.Load() || err == nil) },
	})
	resp, err = c.http.Do(req.WithContext(ctx))
	if err != nil {
		if cause := context.Cause(req.Context()); cause != nil && !errors.Is(err, cause) {
			err = cause
		}
		return nil, secrets, &Error{err: err, text: grace.CleanOutput(grace.Redact(err.Error(), secrets)), Connected: connected.Load(), TimedOut: timedOut(req.Context(), err)}
	}
	if c.cfg.Proxy != "" && resp.StatusCode == http.StatusProxyAuthRequired {
		_ = resp.Body.Close() // what the proxy says is no answer
		return nil, secrets, proxyRefuses(resp)
	}
	return resp, secrets, nil
}

func timedOut(ctx context.Context, err error) bool {
	var t interface{ Timeout() bool }
	return errors.Is(ctx.Err(), context.DeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}

// authorize sets the headers.
func (c *Client) authorize(req *http.Request) (secrets []string, err error) {
	expand := func(what, text string, set func(string)) {
		value, found, e := grace.ExpandSecrets(text)
		secrets = append(secrets, found...)
		switch {
		case e != nil:
			err = errors.Join(err, &Fault{fmt.Errorf("%s: %w", what, e)})
		case hasControl(value):
			err = errors.Join(err, &Fault{fmt.Errorf("%s: its value holds a line break or another control character: write the secret without one", what)})
		default:
			set(value)
		}
	}
	for k, v := range c.cfg.Headers {
		if e := ValidHeader(k, v); e != nil {
			err = errors.Join(err, &Fault{e})
			continue
		}
		expand("header "+k, v, func(value string) {
			if strings.EqualFold(k, "Host") {
				req.Host = value
				return
			}
			req.Header.Set(k, value)
		})
	}
	if c.cfg.BearerToken != "" {
		expand("bearer_token", c.cfg.BearerToken, func(value string) { req.Header.Set("Authorization", "Bearer "+value) })
	}
	if c.cfg.Username != "" {
		expand("username", c.cfg.Username, func(user string) {
			expand("password", c.cfg.Password, func(password string) { req.SetBasicAuth(user, password) })
		})
	}
	return secrets, err
}

// CloseIdleConnections drops kept connections.
func (c *Client) CloseIdleConnections() { c.http.CloseIdleConnections() }
