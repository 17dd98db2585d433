package httpcall

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"grace"
	"grace/internal/httpclient"
)

// settings of a step, as package doc tells.
type settings struct {
	Method            grace.Text            `json:"method"`
	URL               grace.Text            `json:"url"`
	Headers           map[string]grace.Text `json:"headers"`
	Body              json.RawMessage       `json:"body"`
	Expect            statuses              `json:"expect"`
	IdempotencyHeader *grace.Text           `json:"idempotency_header"`
	Capture           map[string]grace.Text `json:"capture"`
	TLS               httpclient.TLS        `json:"tls"`
	Proxy             string                `json:"proxy"`
	UnixSocket        string                `json:"unix_socket"`
}

// way is how the request is sent; own tells whether the step says so.
func (s settings) way() (cfg httpclient.Config, own bool) {
	cfg = httpclient.Config{TLS: s.TLS, Proxy: s.Proxy, UnixSocket: s.UnixSocket}
	return cfg, s.TLS != httpclient.TLS{} || s.Proxy != "" || s.UnixSocket != ""
}

// statuses may be written as one number or as a list.
type statuses []int

// UnmarshalJSON reads 200 or [200, 204].
func (s *statuses) UnmarshalJSON(data []byte) error {
	var one int
	if json.Unmarshal(data, &one) == nil {
		*s = statuses{one}
		return nil
	}
	var many []int
	if err := json.Unmarshal(data, &many); err != nil {
		return grace.Field("expect", "want a status or a list of statuses, for example [200, 202]")
	}
	*s = many
	return nil
}

func decode(with map[string]any) (settings, error) {
	var s settings
	err := grace.DecodeSettings(with, &s)
	return s, err
}

func (s settings) validate() error {
	if s.URL == "" {
		return grace.Field("url", "is missing: say which address to call")
	}
	if err := validURL(string(s.URL)); err != nil {
		return err
	}
	if way, own := s.way(); own && !strings.Contains(s.Proxy+s.UnixSocket, "${") {
		if err := way.Validate(); err != nil {
			return err
		}
	}
	if m := s.method(); !httpclient.Token(m) && !strings.Contains(m, "${") {
		return grace.Field("method", "%q is no HTTP method", m)
	}
	for _, k := range slices.Sorted(maps.Keys(s.Headers)) {
		if err := httpclient.ValidHeader(k, string(s.Headers[k])); err != nil {
			return err
		}
	}
	if h := s.idempotencyHeader(); h != "" && !httpclient.Token(h) {
		return grace.Field("idempotency_header", "%q is no header name", h)
	}
	for _, code := range s.Expect {
		if code < 100 || code > 599 {
			return grace.Field("expect", "%d is no HTTP status", code)
		}
	}
	for name, path := range s.Capture {
		if name == "" || path == "" {
			return grace.Field("capture", "want a name and the path of a field, for example replicas: spec.replicas")
		}
	}
	return nil
}

func validURL(raw string) error {
	if strings.HasPrefix(raw, "${") {
		return nil // even the scheme comes later
	}
	if scheme, _, _ := strings.Cut(raw, "/"); !strings.HasSuffix(scheme, ":") {
		return grace.Field("url", "%q has no scheme: write it whole, for example http://%s", raw, strings.TrimLeft(raw, "/"))
	}
	u, err := url.Parse(httpclient.Filled(raw))
	if err != nil {
		return grace.Field("url", "%w", err)
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return grace.Field("url", "%q: want http:// or https:// and a host", raw)
	}
	return nil
}

func (s settings) method() string {
	if s.Method == "" {
		return http.MethodPost
	}
	return strings.ToUpper(string(s.Method))
}

func (s settings) idempotencyHeader() string {
	switch {
	case s.IdempotencyHeader == nil || *s.IdempotencyHeader == "":
		return "Idempotency-Key"
	case *s.IdempotencyHeader == "-":
		return ""
	default:
		return string(*s.IdempotencyHeader)
	}
}

// bodyText gives the body; anything but a string is sent as JSON.
func (s settings) bodyText() (text string, isJSON bool, err error) {
	if len(s.Body) == 0 || bytes.Equal(s.Body, []byte("null")) {
		return "", false, nil
	}
	if s.Body[0] != '"' {
		return string(s.Body), true, nil
	}
	if err := json.Unmarshal(s.Body, &text); err != nil {
		return "", false, fmt.Errorf("read the body: %w", err)
	}
	return text, false, nil
}

func (s settings) expects(status int) bool {
	if len(s.Expect) == 0 {
		return status >= 200 && status < 300
	}
	return slices.Contains(s.Expect, status)
}

func (s settings) wanted() string {
	if len(s.Expect) == 0 {
		return "2xx"
	}
	parts := make([]string, len(s.Expect))
	for i, code := range s.Expect {
		parts[i] = strconv.Itoa(code)
	}
	return strings.Join(parts, " or ")
}

// answer is what is kept of a response's body; whole is false when it was
// longer than that.
type answer struct {
	text  string
	whole bool
}

const cutMark = "\n[the rest was cut]"

// output joins the status line and the body within the limit.
func output(status string, body answer) string {
	text := strings.TrimRight(status+"\n"+body.text, "\n")
	if body.whole && len(text) <= grace.MaxOutput {
		return text
	}
	if limit := grace.MaxOutput - len(cutMark); len(text) > limit {
		text = strings.ToValidUTF8(text[:limit], "")
	}
	return text + cutMark
}

// data gives the values of a JSON answer that later steps may use.
func (s settings) data(body answer) (map[string]string, error) {
	var doc any
	dec := json.NewDecoder(strings.NewReader(body.text))
	dec.UseNumber()
	readable := body.whole && dec.Decode(&doc) == nil
	if !readable {
		if len(s.Capture) == 0 {
			return nil, nil
		}
		if !body.whole {
			return nil, fmt.Errorf("capture: the answer is longer than %d bytes", grace.MaxOutput)
		}
		return nil, errors.New("capture: the answer is not JSON")
	}
	out := map[string]string{}
	if top, ok := doc.(map[string]any); ok {
		for k, v := range top {
			if text, ok := scalar(v); ok {
				out[k] = text
			}
		}
	}
	for name, path := range s.Capture {
		text, ok := scalar(lookup(doc, string(path)))
		if !ok {
			return out, fmt.Errorf("capture %s: the answer has no plain value at %s", name, path)
		}
		out[name] = text
	}
	if len(out) == 0 {
		return nil, nil
	}
	return out, nil
}

// lookup follows a dotted path; a number is an index into a list.
func lookup(doc any, path string) any {
	for key := range strings.SplitSeq(path, ".") {
		switch v := doc.(type) {
		case map[string]any:
			doc = v[key]
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i < 0 || i >= len(v) {
				return nil
			}
			doc = v[i]
		default:
			return nil
		}
	}
	return doc
}

func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return strconv.FormatBool(v), true
	default:
		return "", false
	}
}
