package notify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"grace"
	"grace/internal/httpclient"
)

// maxAnswer is how much of an answer is looked at.
const maxAnswer = 4 << 10

// newClient follows no redirects: headers and addresses hold secrets.
func newClient(r Receiver) (*http.Client, error) {
	cfg := httpclient.Config{TLS: r.TLS.TLS, Proxy: r.Proxy}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	transport, err := httpclient.Transport(cfg)
	if err != nil {
		return nil, err
	}
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     transport,
	}, nil
}

// secrets expands references and remembers what was put in.
type secrets struct {
	values []string
	err    error
}

// expand gives a text with its references resolved. The first error stays.
func (s *secrets) expand(key, text string) string {
	out, values, err := grace.ExpandSecrets(text)
	if err != nil && s.err == nil {
		s.err = fmt.Errorf("%s: %w", key, err)
	}
	s.values = append(s.values, values...)
	return out
}

// hide takes the secrets out of an error, keeping what it means for a retry.
func (s *secrets) hide(err error) error {
	if err == nil {
		return nil
	}
	hidden := errors.New(grace.Redact(err.Error(), s.values))
	if _, ok := errors.AsType[*refusal](err); ok {
		return &refusal{hidden}
	}
	if l, ok := errors.AsType[*later](err); ok {
		return &later{hidden, l.after}
	}
	if p, ok := errors.AsType[*partly](err); ok {
		return &partly{hidden, p.final, p.had}
	}
	return hidden
}

// request is one POST.
type request struct {
	url     string
	headers map[string]string
	body    []byte
}

// post sends it and judges the answer.
func post(ctx context.Context, client *http.Client, r request) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, bytes.NewReader(r.body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "grace")
	for k, v := range r.headers {
		req.Header.Set(k, v)
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // only told; the status counts
	return judge(resp.StatusCode, resp.Header.Get("Retry-After"), string(answer))
}

// judge tells what a status means for the message.
func judge(status int, retryAfter, answer string) error {
	if status/100 == 2 {
		return nil
	}
	err := fmt.Errorf("answered %d %s", status, http.StatusText(status))
	if text := clean(answer, 200); text != "" {
		err = fmt.Errorf("%w: %s", err, text)
	}
	switch {
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable && retryAfter != "":
		return &later{err, parseRetryAfter(retryAfter)}
	case status/100 == 5, status == http.StatusRequestTimeout, status == http.StatusTooEarly:
		return err
	}
	return &refusal{err}
}

// parseRetryAfter reads seconds; a date, which nobody here sends, is a minute.
func parseRetryAfter(text string) time.Duration {
	n, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	switch {
	case text == "":
		return 10 * time.Second
	case err != nil || !(n >= 0): // NaN is a number to strconv
		return time.Minute
	}
	return time.Duration(min(n, longestWait.Seconds()) * float64(time.Second))
}
