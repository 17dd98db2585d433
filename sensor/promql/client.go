package promql

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"grace"
)

// instant asks what a query is now: elements with one number each. The time is ours: every
// element has the same, also if the server's clock is wrong.
func (s *Sensor) instant(ctx context.Context, query string, at time.Time) ([]row, notes, *failure) {
	found, n, fail := s.ask(ctx, "/api/v1/query", url.Values{"query": {query}, "time": {seconds(at)}})
	if slices.ContainsFunc(found, func(r row) bool { return len(r.points) > 1 }) {
		return nil, n, &failure{err: errRange, answered: true, final: true}
	}
	return slices.DeleteFunc(found, func(r row) bool { return len(r.points) == 0 }), n, fail
}

// between asks what a query was, from the first to the last time inclusive.
func (s *Sensor) between(ctx context.Context, query string, first, last time.Time, step time.Duration) ([]row, notes, *failure) {
	return s.ask(ctx, "/api/v1/query_range", url.Values{
		"query": {query}, "start": {seconds(first)}, "end": {seconds(last)},
		"step": {strconv.FormatFloat(step.Seconds(), 'f', -1, 64)},
	})
}

func seconds(t time.Time) string {
	return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64)
}

// ask sends one question and reads its answer.
func (s *Sensor) ask(ctx context.Context, path string, form url.Values) ([]row, notes, *failure) {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return nil, notes{}, &failure{err: ctx.Err()}
	}
	s.asked.Add(1)
	limited, cancel := context.WithTimeoutCause(ctx, s.cfg.Timeout.D(), fmt.Errorf("no whole answer within %s", s.cfg.Timeout))
	defer cancel()
	form.Set("timeout", strconv.FormatFloat(s.cfg.Timeout.D().Seconds(), 'f', -1, 64)+"s")
	found, n, fail := s.post(limited, path, form)
	if fail != nil {
		s.failed.Add(1)
		if cause := context.Cause(limited); cause != nil {
			fail.err, fail.away = cause, false
		}
	}
	if len(n.warnings) > 0 {
		s.warned.Add(1)
	}
	return found, n, fail
}

// post sends a form, because a query may be longer than a URL may be; a server
// that allows only GET (a read-only proxy) is asked so.
func (s *Sensor) post(ctx context.Context, path string, form url.Values) ([]row, notes, *failure) {
	resp, secrets, err := s.request(ctx, http.MethodPost, path, form)
	if err == nil && (resp.StatusCode == http.StatusMethodNotAllowed || resp.StatusCode == http.StatusNotImplemented) {
		_ = resp.Body.Close()
		resp, secrets, err = s.request(ctx, http.MethodGet, path, form)
	}
	clean := func(err error) error { return errors.New(grace.CleanOutput(grace.Redact(err.Error(), secrets))) }
	if err != nil {
		return nil, notes{}, &failure{err: fmt.Errorf("ask: %w", clean(err)), away: true}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, s.cfg.BodyLimit+1))
	if err != nil {
		return nil, notes{}, &failure{err: fmt.Errorf("read the answer: %w", clean(err))}
	}
	if int64(len(body)) > s.cfg.BodyLimit {
		err := fmt.Errorf("%w: the answer has over %d bytes: raise body_limit, or aggregate in the query", errTooMuch, s.cfg.BodyLimit)
		return nil, notes{}, &failure{err: err, answered: true, tooMuch: true}
	}
	found, n, err := parse(body, s.cfg.SeriesLimit)
	if err == nil && resp.StatusCode/100 == 2 {
		return found, n, nil
	}
	return nil, n, judge(resp, err, clean)
}

// judge tells what kind of failure an answer is.
func judge(resp *http.Response, err error, clean func(error) error) *failure {
	f := &failure{retryAfter: retryAfter(resp.Header.Get("Retry-After"))}
	if said, ok := errors.AsType[*errQuery](err); ok {
		f.err, f.answered = clean(said), true
		// Prometheus calls a question that is wrong bad_data, and one that would
		// take too much execution; Mimir and Thanos say both with 422 or 400.
		f.final = resp.StatusCode/100 == 4 && resp.StatusCode != http.StatusTooManyRequests
		f.tooMuch = said.kind == "execution" || said.kind == "timeout" || said.kind == "too_large" ||
			strings.Contains(said.text, "exceed") || strings.Contains(said.text, "too many") || resp.StatusCode == http.StatusRequestEntityTooLarge
		return f
	}
	if resp.StatusCode/100 != 2 {
		f.err = fmt.Errorf("the API answered %s, want 200", resp.Status)
		f.final = resp.StatusCode/100 == 4 && resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusRequestTimeout
		f.tooMuch = resp.StatusCode == http.StatusRequestEntityTooLarge || resp.StatusCode == http.StatusUnprocessableEntity
		// So answers a Prometheus that still reads its own log, and a proxy before one that is not there.
		f.away = resp.StatusCode == http.StatusBadGateway || resp.StatusCode == http.StatusServiceUnavailable
		return f
	}
	f.err, f.answered, f.final = clean(err), errors.Is(err, errTooMuch), true
	return f
}

// retryAfter reads seconds or a date; nothing sensible is 0.
func retryAfter(header string) time.Duration {
	if n, err := strconv.ParseInt(header, 10, 32); err == nil && n > 0 {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(header); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

// request sends one request.
func (s *Sensor) request(ctx context.Context, method, path string, form url.Values) (*http.Response, []string, error) {
	target := strings.TrimRight(s.url, "/") + path
	var body io.Reader
	if method == http.MethodGet {
		target += "?" + form.Encode()
	} else {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return s.client.Do(req)
}
