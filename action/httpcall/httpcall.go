// Package httpcall is the action "http": one HTTP request to a control API.
//
// Settings of a step:
//
//	method: POST                  default POST
//	url: http://127.0.0.1:9000/restart
//	headers: {Authorization: "Bearer ${env:SHOP_TOKEN}"}
//	body: {service: "${service}"} a string as it is, anything else as JSON
//	expect: [200, 202]            default any 2xx
//	idempotency_header: X-Request-Id   default Idempotency-Key; "-" sends none
//	capture: {replicas: spec.replicas} named values of a JSON answer
//	tls: {ca, cert, key, server_name, insecure}   for https; files in PEM
//	proxy: http://proxy:3128      default none: HTTP_PROXY does not count
//	unix_socket: /run/app.sock    dialled whatever the URL's host is
//
// Secrets (${env:NAME}, ${file:PATH}) may stand in the URL, the headers and the
// body. They are resolved at the last moment and redacted from whatever is kept.
//
// How a call ends:
//
//	expected status                           succeeded
//	502, 504                                  unknown, retryable: a gateway does not
//	                                          know what became of it
//	other 5xx, 408, 429                       failed, retryable
//	any other status                          failed
//	no connection (refused, no such host)     failed, retryable: nothing was sent
//	no whole answer on a connection           unknown: it may have taken effect
//	  ... either of a GET, HEAD or OPTIONS    failed, retryable: it changes nothing
//
// The request's key goes with every try of a step in the idempotency header, so
// a peer that honours it acts once. Redirects are followed within the same
// scheme and host only, and with the same method; any other is an answer to be
// judged by its status.
//
// The scalar fields at the top of a JSON answer, and what capture names, become
// Outcome.Data. A captured field that is not there fails a read (an undo that
// needs it could not be made later), and leaves any other call unknown: the
// peer did accept it.
package httpcall

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"time"

	"grace"
	"grace/internal/httpclient"
)

// Name under which the action is registered.
const Name = "http"

const maxRedirects = 5

// Option changes an Action.
type Option func(*Action)

// WithTransport sets how requests are sent, for example with a client
// certificate. The default asks without a proxy.
func WithTransport(rt http.RoundTripper) Option {
	return func(a *Action) { a.client.Transport = rt }
}

// Action is the action "http". It is safe for concurrent use.
type Action struct {
	client *http.Client
}

var _ grace.Action = (*Action)(nil)

// New makes the action.
func New(opts ...Option) *Action {
	a := &Action{client: &http.Client{CheckRedirect: sameOrigin}}
	if t, err := httpclient.Transport(httpclient.Config{}); err == nil { // without files it never fails
		a.client.Transport = t
	}
	for _, opt := range opts {
		opt(a)
	}
	return a
}

// sameOrigin keeps credentials and control calls with the host they were meant
// for. A POST that would go on as a GET without its body is no call any more.
func sameOrigin(req *http.Request, via []*http.Request) error {
	first := via[0].URL
	if req.URL.Scheme != first.Scheme || req.URL.Host != first.Host || req.Method != via[0].Method {
		return http.ErrUseLastResponse
	}
	if len(via) > maxRedirects {
		return fmt.Errorf("stopped after %d redirects", maxRedirects)
	}
	return nil
}

// Name gives "http".
func (a *Action) Name() string { return Name }

// Validate judges settings in which ${} are still in place.
func (a *Action) Validate(with map[string]any) error {
	s, err := decode(with)
	if err != nil {
		return err
	}
	return s.validate()
}

// Do sends the request and judges the answer.
func (a *Action) Do(ctx context.Context, req grace.ActionRequest) grace.Outcome {
	started := time.Now()
	c := call{client: a.client}
	out := c.do(ctx, req)
	out.Error = grace.CleanOutput(grace.Redact(out.Error, c.secrets))
	out.Started, out.Ended = started, time.Now()
	return out
}

// call is one request on its way, with the secrets that went into it.
type call struct {
	client   *http.Client
	settings settings
	secrets  []string
}

func (c *call) do(ctx context.Context, req grace.ActionRequest) grace.Outcome {
	if ctx.Err() != nil {
		return failed(true, "not sent")
	}
	s, err := decode(req.With)
	if err != nil {
		return failed(false, "%v", err)
	}
	if err := s.validate(); err != nil {
		return failed(false, "%v", err)
	}
	c.settings = s
	var reached atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { reached.Store(true) },
	})
	hreq, err := c.build(ctx, req)
	if err != nil {
		return failed(false, "%v", err)
	}
	client, done, err := c.sender()
	if err != nil {
		return failed(false, "%v", err)
	}
	defer done()
	resp, err := client.Do(hreq)
	if err != nil {
		if ctx.Err() != nil { // the caller says why
			err = fmt.Errorf("%s %s had not answered", hreq.Method, hreq.URL.Redacted())
		}
		return c.broken(hreq.Method, reached.Load(), err)
	}
	defer resp.Body.Close()
	body, err := c.read(resp.Body)
	if err != nil && ctx.Err() != nil {
		return c.broken(hreq.Method, true, fmt.Errorf("%s %s had not answered in full", hreq.Method, hreq.URL.Redacted()))
	}
	if err != nil {
		return c.broken(hreq.Method, true, fmt.Errorf("read the answer of %s %s: %w", hreq.Method, hreq.URL.Redacted(), err))
	}
	return c.judge(hreq, resp, body)
}

// sender is the action's client, or one of the step's own.
func (c *call) sender() (client *http.Client, done func(), err error) {
	way, own := c.settings.way()
	if !own {
		return c.client, func() {}, nil
	}
	t, err := httpclient.Transport(way)
	if err != nil {
		return nil, nil, err
	}
	return &http.Client{CheckRedirect: sameOrigin, Transport: t}, t.CloseIdleConnections, nil
}

// build makes the request; this is where secrets are resolved.
func (c *call) build(ctx context.Context, req grace.ActionRequest) (*http.Request, error) {
	url, err := c.expand(string(c.settings.URL))
	if err != nil {
		return nil, err
	}
	text, isJSON, err := c.settings.bodyText()
	if err != nil {
		return nil, err
	}
	if text, err = c.expandBody(text, isJSON); err != nil {
		return nil, err
	}
	hreq, err := http.NewRequestWithContext(ctx, c.settings.method(), url, strings.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	if isJSON {
		hreq.Header.Set("Content-Type", "application/json")
	}
	if h := c.settings.idempotencyHeader(); h != "" && req.IdempotencyKey != "" {
		hreq.Header.Set(h, req.IdempotencyKey)
	}
	for k, v := range c.settings.Headers {
		value, err := c.expand(string(v))
		if err != nil {
			return nil, fmt.Errorf("header %s: %w", k, err)
		}
		if strings.EqualFold(k, "Host") {
			hreq.Host = value
			continue
		}
		hreq.Header.Set(k, value)
	}
	return hreq, nil
}

func (c *call) expand(text string) (string, error) {
	out, secrets, err := grace.ExpandSecrets(text)
	c.secrets = append(c.secrets, secrets...)
	return out, err
}

// expandBody resolves the secrets of a body. Within JSON a secret is quoted:
// the references stand inside string literals.
func (c *call) expandBody(text string, isJSON bool) (string, error) {
	if !isJSON {
		return c.expand(text)
	}
	var doc any
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&doc); err != nil {
		return "", fmt.Errorf("read the body: %w", err)
	}
	doc, err := c.expandValue(doc)
	if err != nil {
		return "", fmt.Errorf("body: %w", err)
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(doc); err != nil {
		return "", fmt.Errorf("write the body: %w", err)
	}
	return strings.TrimSuffix(buf.String(), "\n"), nil
}

func (c *call) expandValue(v any) (any, error) {
	var err error
	switch v := v.(type) {
	case string:
		return c.expand(v)
	case []any:
		for i := range v {
			if v[i], err = c.expandValue(v[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for k := range v {
			if v[k], err = c.expandValue(v[k]); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

// broken judges a call without an answer. Once a connection was had, the peer
// may have read the request.
func (c *call) broken(method string, reached bool, err error) grace.Outcome {
	if !reached || readOnly(method) {
		return failed(true, "%v", err)
	}
	return grace.Outcome{
		Status: grace.OutcomeUnknown,
		Error:  fmt.Sprintf("%v; the request was sent and may have taken effect", err),
	}
}

func readOnly(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// read takes what is kept of a body. It reads past the limit by the length of
// the longest secret, redacts, and then drops as much again, so that no secret
// is cut in half and kept.
func (c *call) read(r io.Reader) (answer, error) {
	margin := grace.LongestSecret(c.secrets)
	data, err := io.ReadAll(io.LimitReader(r, int64(grace.MaxOutput+margin+1)))
	if err != nil {
		return answer{}, err
	}
	whole := len(data) <= grace.MaxOutput+margin
	if !whole {
		data = data[:len(data)-1]
	}
	text := grace.Redact(string(data), c.secrets)
	if !whole {
		text = text[:max(0, len(text)-margin)]
	}
	return answer{text: grace.CleanOutput(text), whole: whole}, nil
}

func (c *call) judge(hreq *http.Request, resp *http.Response, body answer) grace.Outcome {
	out := grace.Outcome{Status: grace.OutcomeSucceeded, Output: output(grace.CleanOutput(grace.Redact(resp.Status, c.secrets)), body)}
	if !c.settings.expects(resp.StatusCode) {
		out.Status = grace.OutcomeFailed
		if gateway := resp.StatusCode == http.StatusBadGateway || resp.StatusCode == http.StatusGatewayTimeout; gateway && !readOnly(hreq.Method) {
			out.Status = grace.OutcomeUnknown
		}
		out.Retryable = resp.StatusCode >= 500 ||
			resp.StatusCode == http.StatusRequestTimeout || resp.StatusCode == http.StatusTooManyRequests
		out.Error = fmt.Sprintf("%s %s answered %s, want %s",
			hreq.Method, hreq.URL.Redacted(), resp.Status, c.settings.wanted())
		if to := resp.Header.Get("Location"); to != "" {
			out.Error += "; it points to " + to + ", and redirects to another host, or to another method, are not followed"
		}
		return out
	}
	data, err := c.settings.data(body)
	if err != nil {
		out.Status, out.Error = grace.OutcomeUnknown, err.Error()
		if readOnly(hreq.Method) {
			out.Status = grace.OutcomeFailed
		}
	}
	for k, v := range data {
		data[k] = grace.Redact(v, c.secrets)
	}
	out.Data = data
	return out
}

func failed(retryable bool, format string, args ...any) grace.Outcome {
	return grace.Outcome{Status: grace.OutcomeFailed, Retryable: retryable, Error: fmt.Sprintf(format, args...)}
}
