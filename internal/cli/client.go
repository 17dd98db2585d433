package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"grace/internal/api"
)

// maxAnswer bounds what is read of one answer.
const maxAnswer = 64 << 20

// Client speaks the HTTP API. It never retries: what was asked once is done at
// most once.
type Client struct {
	base  string
	token string
	http  *http.Client
}

// Answer is what the API said, typed and as it came.
type Answer[T any] struct {
	Value T
	Raw   json.RawMessage
}

// Page is one page of a list, newest first.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next"`
}

// NewClient makes a client of the daemon at a base URL.
func NewClient(base, token string, timeout time.Duration) *Client {
	return &Client{base: strings.TrimRight(base, "/"), token: token, http: &http.Client{Timeout: timeout}}
}

// Call does one request and decodes the answer.
func Call[T any](ctx context.Context, c *Client, method, path string, query url.Values, body any) (Answer[T], error) {
	var got Answer[T]
	raw, err := c.Do(ctx, method, path, query, body)
	if err != nil {
		return got, err
	}
	got.Raw = raw
	if len(raw) == 0 {
		return got, nil
	}
	if err := json.Unmarshal(raw, &got.Value); err != nil {
		return got, &Failure{Code: ExitFailed, Message: fmt.Sprintf("%s %s: the answer is not what this version expects: %v", method, path, err), Hint: "compare grace version with the daemon's", Cause: err}
	}
	return got, nil
}

// Do does one request and gives the answer as it came.
func (c *Client) Do(ctx context.Context, method, path string, query url.Values, body any) (json.RawMessage, error) {
	target := c.base + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	var payload io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("write request: %w", err)
		}
		payload = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, target, payload)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(err)
	}
	defer func() { _ = resp.Body.Close() }() // it was read
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, c.unreachable(err)
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		return nil, c.refused(resp, data)
	}
	return data, nil
}

func (c *Client) unreachable(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	return &Failure{
		Code: ExitUnreachable, Message: fmt.Sprintf("no answer from %s: %v", c.base, err),
		Hint: "is the daemon running? start it with: grace serve --config FILE; or name it with --url or GRACE_URL", Cause: err,
	}
}

// refused turns an error answer into a failure with its exit code.
func (c *Client) refused(resp *http.Response, data []byte) error {
	var p api.Problem
	_ = json.Unmarshal(data, &p) // an answer that is no problem document has a status at least
	f := &Failure{Code: ExitFailed, Message: p.Detail, Hint: p.Hint}
	if f.Message == "" {
		f.Message = c.base + " answered " + resp.Status
	}
	for _, e := range p.Errors {
		f.Message += "\n  " + strings.TrimPrefix(e.Location+": "+e.Message, ": ")
		if e.Hint != "" {
			f.Message += " (" + e.Hint + ")"
		}
	}
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		f.Code = ExitNotAllowed
		if c.token == "" {
			f.Hint = "give a token by GRACE_TOKEN or --token-file; the daemon wrote one to <data_dir>/cli.token"
		}
	case http.StatusNotFound:
		f.Code = ExitNotFound
	case http.StatusConflict, http.StatusPreconditionFailed, http.StatusGone:
		f.Code = ExitConflict
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		f.Code = ExitUsage
		if p.ExpiredAt != nil {
			f.Code = ExitConflict
		}
	case http.StatusTooManyRequests:
		if after := resp.Header.Get("Retry-After"); after != "" && f.Hint == "" {
			f.Hint = "try again in " + after + " s"
		}
	}
	if f.Code == ExitFailed && p.RequestID != "" {
		f.Message += " (request " + p.RequestID + ")"
	}
	return f
}

// ListQuery holds what every list takes.
type ListQuery struct {
	Limit  int // 0 is the API's own
	Cursor string
}

// Values gives the query, with those of the pairs of name and value that have
// a value.
func (q ListQuery) Values(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			v.Set(pairs[i], pairs[i+1])
		}
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	if q.Cursor != "" {
		v.Set("cursor", q.Cursor)
	}
	return v
}

// Segment makes an id fit for a path.
func Segment[S ~string](id S) string { return url.PathEscape(string(id)) }

// MaxPage is the most the API gives in one page, maxPages the most that are
// read of a list that is shown whole.
const (
	MaxPage  = 200
	maxPages = 100
)

// CallAll reads every page of a short list, and gives it as one page.
func CallAll[T any](ctx context.Context, c *Client, path string) (Answer[Page[T]], error) {
	var all Answer[Page[T]]
	items := []json.RawMessage{}
	q := ListQuery{Limit: MaxPage}
	for range maxPages {
		p, err := Call[Page[json.RawMessage]](ctx, c, http.MethodGet, path, q.Values(), nil)
		if err != nil {
			return all, err
		}
		items = append(items, p.Value.Items...)
		if q.Cursor = p.Value.Next; q.Cursor == "" {
			break
		}
	}
	raw, err := json.Marshal(map[string]any{"items": items})
	if err != nil {
		return all, fmt.Errorf("join pages: %w", err)
	}
	all.Raw = raw
	if err := json.Unmarshal(raw, &all.Value); err != nil {
		return all, &Failure{Code: ExitFailed, Message: fmt.Sprintf("GET %s: the answer is not what this version expects: %v", path, err), Hint: "compare grace version with the daemon's", Cause: err}
	}
	return all, nil
}
