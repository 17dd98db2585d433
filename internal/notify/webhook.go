package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"text/template"
	"time"

	"grace"
	"grace/internal/event"
	"grace/internal/httpclient"
)

// webhook posts a body of the operator's own shape.
type webhook struct {
	cfg     Receiver
	http    *http.Client
	body    *template.Template
	headers map[string]*template.Template
	now     func() time.Time
}

// maxBody of a request that a template makes.
const maxBody = 256 << 10

// reference is a secret's place in a template.
var reference = regexp.MustCompile(`\$\{((?:env|file):[^}]*)\}`)

// parse reads a template. A reference to a secret becomes a call, so that
// neither a secret is read as a template nor a message as a reference.
func parse(name, text string) (*template.Template, error) {
	text = reference.ReplaceAllStringFunc(text, func(ref string) string {
		return "{{secret " + strconv.Quote(ref) + "}}"
	})
	return template.New(name).Option("missingkey=error").Funcs(template.FuncMap{
		"json":   func(v any) (string, error) { b, err := json.Marshal(v); return string(b), err },
		"secret": func(string) (string, error) { return "", nil },
	}).Parse(text)
}

func newWebhook(r Receiver, client *http.Client) (*webhook, error) {
	h := &webhook{cfg: r, http: client, headers: map[string]*template.Template{}, now: time.Now}
	sample := &Message{Kind: Asked, Question: &Question{}, Services: []grace.ServiceID{"web"}, Teams: []string{"team"}}
	check := func(key, text string) (*template.Template, error) {
		t, err := parse(key, text)
		if err == nil {
			var out bytes.Buffer
			err = t.Execute(&out, sample)
		}
		if err != nil {
			return nil, grace.Field(key, "%w", err)
		}
		return t, nil
	}
	var err error
	if r.Body != "" {
		if h.body, err = check("body", r.Body); err != nil {
			return nil, err
		}
	}
	for _, k := range slices.Sorted(maps.Keys(r.Headers)) {
		if err := httpclient.ValidHeader(k, ""); err != nil {
			return nil, err
		}
		if h.headers[k], err = check("headers."+k, r.Headers[k]); err != nil {
			return nil, err
		}
	}
	return h, nil
}

func (h *webhook) send(ctx context.Context, m *Message, _ Thread) (Thread, error) {
	var s secrets
	render := func(t *template.Template) (string, error) {
		t, err := t.Clone()
		if err != nil {
			return "", err
		}
		t.Funcs(template.FuncMap{"secret": func(ref string) (string, error) { return s.expand(t.Name(), ref), s.err }})
		var out bytes.Buffer
		if err := t.Execute(&out, m); err != nil {
			if s.err != nil {
				return "", s.err // it may be there later
			}
			return "", &refusal{s.hide(err)}
		}
		if out.Len() > maxBody {
			return "", &refusal{errors.New("the template's text is larger than 256 KiB")}
		}
		return out.String(), nil
	}
	r := request{body: event.Encode(m), headers: map[string]string{"Idempotency-Key": m.Key}}
	if h.body != nil {
		text, err := render(h.body)
		if err != nil {
			return Thread{}, err
		}
		r.body = []byte(text)
	}
	for name, t := range h.headers {
		text, err := render(t)
		if err != nil {
			return Thread{}, err
		}
		r.headers[name] = text
	}
	r.url = s.expand("url", h.cfg.URL)
	key := s.expand("hmac", h.cfg.HMAC)
	if s.err != nil {
		return Thread{}, s.err
	}
	if key != "" {
		r.headers["X-Grace-Signature"] = Sign([]byte(key), h.now(), r.body)
	}
	return Thread{}, s.hide(post(ctx, h.http, r))
}

// Sign gives the header that proves who sent a body and when: t=SECONDS and
// v1=HEX, the HMAC-SHA256 of SECONDS, a dot and the body. A receiver that
// refuses old times cannot be told the same twice.
func Sign(key []byte, at time.Time, body []byte) string {
	seconds := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(seconds + "."))
	mac.Write(body)
	return "t=" + seconds + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}
