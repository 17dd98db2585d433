package probe

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"grace"
	"grace/internal/httpclient"
)

// Body is what must hold of an answer's body. Every condition that is given
// must.
type Body struct {
	Contains    string
	NotContains string
	Regex       string            // RE2; found anywhere
	JSON        map[string]string // path to the value it must have: {status: ok, "db.0.up": "true"}
}

// Validate names what is wrong with the conditions.
func (b Body) Validate() error {
	_, err := b.compile()
	return err
}

// condition is a compiled Body.
type condition struct {
	Body
	regex *regexp.Regexp
}

func (b Body) compile() (condition, error) {
	c := condition{Body: b}
	if b.Regex != "" {
		var err error
		if c.regex, err = regexp.Compile(b.Regex); err != nil {
			return c, grace.Field("regex", "%w", err)
		}
	}
	for path := range b.JSON {
		if path == "" {
			return c, grace.Field("json", "a path is empty: write the keys with dots, for example status.database")
		}
	}
	return c, nil
}

// unmet says which condition does not hold; empty is none.
func (c condition) unmet(body []byte) string {
	text := string(body)
	switch {
	case !strings.Contains(text, c.Contains):
		return fmt.Sprintf("without %q", c.Contains)
	case c.NotContains != "" && strings.Contains(text, c.NotContains):
		return fmt.Sprintf("with %q", c.NotContains)
	case c.regex != nil && !c.regex.MatchString(text):
		return fmt.Sprintf("and nothing in it matches %s", c.regex)
	case len(c.JSON) == 0:
		return ""
	}
	var doc any
	if err := json.Unmarshal(body, &doc); err != nil {
		return "and it is not JSON"
	}
	for path, want := range c.JSON {
		got, ok := lookup(doc, path)
		if !ok {
			return fmt.Sprintf("and its JSON has no %s", path)
		}
		if got != want {
			return fmt.Sprintf("and its %s is %.100q, want %q", path, got, want)
		}
	}
	return ""
}

// lookup finds the value at a path of keys and indices, as text.
func lookup(doc any, path string) (string, bool) {
	for key := range strings.SplitSeq(strings.TrimPrefix(strings.TrimPrefix(path, "$"), "."), ".") {
		switch node := doc.(type) {
		case map[string]any:
			next, ok := node[key]
			if !ok {
				return "", false
			}
			doc = next
		case []any:
			i, err := strconv.Atoi(strings.Trim(key, "[]"))
			if err != nil || i < 0 || i >= len(node) {
				return "", false
			}
			doc = node[i]
		default:
			return "", false
		}
	}
	if text, ok := doc.(string); ok {
		return text, true
	}
	out, err := json.Marshal(doc)
	return string(out), err == nil
}

func (c *Checker) http(ctx context.Context) Result {
	method := c.target.Method
	if method == "" {
		method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(ctx, method, c.url, nil)
	if err != nil {
		return fault("%v", err)
	}
	began := time.Now()
	resp, secrets, err := c.client.Do(req)
	if err != nil {
		return refused(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		r := Result{Detail: "the answer broke off: " + why(ctx, err).Error(), Code: grace.CodeServiceDown}
		if ctx.Err() != nil {
			r.Code = grace.CodeLatencySpike
		}
		return r
	}
	r := Result{Answered: true, Status: resp.StatusCode, Latency: time.Since(began), Code: grace.CodeElevatedErrors}
	wanted := "2xx"
	if c.target.Status != 0 {
		wanted = strconv.Itoa(c.target.Status)
	}
	to := resp.Header.Get("Location")
	switch {
	case c.target.Status == 0 && resp.StatusCode/100 == 3 && to != "":
		r.Detail = fmt.Sprintf("answered %s to %s, want 2xx: set follow_redirects: true to judge the page it leads to", resp.Status, to)
	case c.target.Status == 0 && resp.StatusCode/100 != 2, c.target.Status != 0 && resp.StatusCode != c.target.Status:
		r.Detail = fmt.Sprintf("answered %s, want %s", resp.Status, wanted)
	default:
		if unmet := c.body.unmet(body); unmet != "" {
			r.Detail = fmt.Sprintf("answered %s %s", resp.Status, unmet)
			break
		}
		r.OK, r.Code, r.Detail = true, "", resp.Status
	}
	r.Detail = grace.Redact(r.Detail, secrets)
	return r
}

func (c *Checker) tcp(ctx context.Context) Result {
	network, address := "tcp", c.target.Address
	if path, ok := strings.CutPrefix(address, "unix://"); ok {
		network, address = "unix", path
	}
	began := time.Now()
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		if httpclient.Classify(err) == httpclient.Own {
			return fault("%v", err)
		}
		return Result{Detail: why(ctx, err).Error(), Code: grace.CodeServiceDown}
	}
	_ = conn.Close()
	return Result{OK: true, Answered: true, Latency: time.Since(began), Detail: "connected to " + c.target.Address}
}
