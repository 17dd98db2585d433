package httpcall_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grace"
	"grace/action/httpcall"
	"grace/gracetest"
)

const secret = `tok"en/with +odd`

// peer is a control API that shows what it was sent.
func peer(t *testing.T) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_ = json.NewEncoder(w).Encode(map[string]any{
			"method": r.Method, "key": r.Header.Get("Idempotency-Key"), "type": r.Header.Get("Content-Type"),
			"authorization": r.Header.Get("Authorization"), "body": string(body), "query": r.URL.RawQuery,
			"host": r.Host, "n": 3, "ok": true, "none": nil, "list": []any{map[string]any{"name": "a"}},
		})
	})
	status := func(code int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			_, _ = io.WriteString(w, body)
		}
	}
	mux.HandleFunc("/busy", status(http.StatusServiceUnavailable, "busy"))
	mux.HandleFunc("/gateway", status(http.StatusBadGateway, ""))
	mux.HandleFunc("/slowdown", status(http.StatusTooManyRequests, ""))
	mux.HandleFunc("/missing", status(http.StatusNotFound, "no such thing"))
	mux.HandleFunc("/accepted", status(http.StatusAccepted, "plain"))
	mux.HandleFunc("/big", status(http.StatusOK, bigBody()))
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://elsewhere.invalid/", http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("/here", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/echo", http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("/hang", func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // the server notices a client that leaves only then
		<-r.Context().Done()
	})
	mux.HandleFunc("/drop", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return srv
}

// bigBody has a secret across the end of what is read, and so many before it
// that redacting them brings that end into what is kept.
func bigBody() string {
	many := strings.Repeat(secret, 200)
	end := grace.MaxOutput + grace.LongestSecret([]string{secret})
	return many + strings.Repeat("x", end-len(many)-6) + secret + strings.Repeat("y", 4096)
}

func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestConformance(t *testing.T) {
	srv := peer(t)
	t.Setenv("HTTPCALL_TOKEN", secret)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	call := func(path string, more ...any) map[string]any {
		with := map[string]any{"url": srv.URL + path}
		for i := 0; i < len(more); i += 2 {
			with[more[i].(string)] = more[i+1]
		}
		return with
	}
	retryable := func(want bool) func(*testing.T, grace.Outcome) {
		return func(t *testing.T, out grace.Outcome) {
			if out.Retryable != want {
				t.Errorf("retryable %v, want %v (%s)", out.Retryable, want, out.Error)
			}
		}
	}
	secrets := []string{secret}
	gracetest.Action(t, func(*testing.T) grace.Action { return httpcall.New() }, []gracetest.ActionCase{
		{Name: "default is a POST", With: call("/echo"), Want: grace.OutcomeSucceeded},
		{Name: "a list of wanted statuses", With: call("/accepted", "expect", []any{200, 202}), Want: grace.OutcomeSucceeded},
		{Name: "one wanted status", With: call("/missing", "expect", 404, "method", "GET"), Want: grace.OutcomeSucceeded},
		{Name: "an unwanted status", With: call("/accepted", "expect", 200), Want: grace.OutcomeFailed, Check: retryable(false)},
		{Name: "5xx may pass", With: call("/busy"), Want: grace.OutcomeFailed, Check: retryable(true)},
		{Name: "a gateway does not know", With: call("/gateway"), Want: grace.OutcomeUnknown, Check: retryable(true)},
		{Name: "a gateway does not know of a read", With: call("/gateway", "method", "GET"), Want: grace.OutcomeFailed, Check: retryable(true)},
		{Name: "429 may pass", With: call("/slowdown"), Want: grace.OutcomeFailed, Check: retryable(true)},
		{Name: "4xx will not pass", With: call("/missing"), Want: grace.OutcomeFailed, Check: retryable(false)},
		{Name: "refused", With: map[string]any{"url": "http://" + closedPort(t)}, Want: grace.OutcomeFailed, Check: retryable(true)},
		{Name: "timeout after sending", With: call("/hang"), Timeout: 100 * time.Millisecond, Want: grace.OutcomeUnknown, Check: func(t *testing.T, out grace.Outcome) {
			// The caller says why it did not wait longer: once is enough.
			if !strings.Contains(out.Error, "/hang had not answered; the request was sent") || strings.Contains(out.Error, "deadline") {
				t.Errorf("says %q", out.Error)
			}
		}},
		{Name: "timeout of a read", With: call("/hang", "method", "GET"), Timeout: 100 * time.Millisecond, Want: grace.OutcomeFailed, Check: retryable(true)},
		{Name: "connection dropped", With: call("/drop", "body", "x"), Want: grace.OutcomeUnknown},
		{Name: "redirect to another host", With: call("/away"), Want: grace.OutcomeFailed},
		{Name: "redirect within the host", With: call("/here", "body", "x"), Want: grace.OutcomeSucceeded},
		{
			Name: "secret in a header", With: call("/echo", "headers", map[string]any{"Authorization": "Bearer ${env:HTTPCALL_TOKEN}"}),
			Want: grace.OutcomeSucceeded, Secrets: secrets,
			Check: func(t *testing.T, out grace.Outcome) {
				if out.Data["authorization"] != "Bearer [secret]" {
					t.Errorf("authorization came back as %q", out.Data["authorization"])
				}
			},
		},
		{
			Name: "secret in a JSON body", With: call("/echo", "body", map[string]any{"list": []any{"${file:" + file + "}"}}),
			Want: grace.OutcomeSucceeded, Secrets: secrets,
		},
		{Name: "secret in an error", With: map[string]any{"url": "http://" + closedPort(t) + "/${file:" + file + "}?t=${env:HTTPCALL_TOKEN}"}, Want: grace.OutcomeFailed, Secrets: secrets},
		{Name: "secret at the cut", With: call("/big", "headers", map[string]any{"A": "${env:HTTPCALL_TOKEN}"}), Want: grace.OutcomeSucceeded, Secrets: []string{secret, "x" + secret[:4]}},
		{Name: "secret that is not there", With: call("/echo", "body", "${env:HTTPCALL_NOT_SET}"), Want: grace.OutcomeFailed, Check: retryable(false)},
		{Name: "captured", With: call("/echo", "capture", map[string]any{"first": "list.0.name"}), Want: grace.OutcomeSucceeded, Check: func(t *testing.T, out grace.Outcome) {
			if out.Data["first"] != "a" || out.Data["n"] != "3" || out.Data["ok"] != "true" {
				t.Errorf("data %v", out.Data)
			}
		}},
		{Name: "capture missing from a read", With: call("/echo", "method", "GET", "capture", map[string]any{"x": "list.7"}), Want: grace.OutcomeFailed},
		{Name: "capture missing from an act", With: call("/accepted", "capture", map[string]any{"x": "y"}), Want: grace.OutcomeUnknown},
		{Name: "no url", With: map[string]any{}, Invalid: true},
		{Name: "no host", With: map[string]any{"url": "/restart"}, Invalid: true},
		{Name: "other scheme", With: map[string]any{"url": "file:///etc/passwd"}, Invalid: true},
		{Name: "misspelt key", With: call("/echo", "headres", map[string]any{}), Invalid: true},
		{Name: "bad header", With: call("/echo", "headers", map[string]any{"A B": "c"}), Invalid: true},
		{Name: "bad header value", With: call("/echo", "headers", map[string]any{"A": "b\nc"}), Invalid: true},
		{Name: "bad status", With: call("/echo", "expect", 20), Invalid: true},
		{Name: "bad method", With: call("/echo", "method", "GET IT"), Invalid: true},
	})
}

func TestValidateWithReferences(t *testing.T) {
	a := httpcall.New()
	for _, url := range []string{"${base}/restart", "http://${service}:${port}/x/${flag}", "https://h/${a b}"} {
		if err := a.Validate(map[string]any{"url": url, "method": "${verb}"}); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestRequestAsSent(t *testing.T) {
	srv := peer(t)
	t.Setenv("HTTPCALL_TOKEN", secret)
	a := httpcall.New()
	do := func(with map[string]any) map[string]string {
		t.Helper()
		with["url"] = srv.URL + "/echo?x=1"
		out := a.Do(t.Context(), grace.ActionRequest{IdempotencyKey: "run-1/scale/do", With: with})
		if out.Status != grace.OutcomeSucceeded {
			t.Fatalf("%s: %s", out.Status, out.Error)
		}
		return out.Data
	}
	got := do(map[string]any{"method": "put", "body": map[string]any{"delta": 2, "t": "${env:HTTPCALL_TOKEN}<"}, "headers": map[string]any{"Host": "shop.test", "X-N": 1}})
	want := map[string]string{
		"method": "PUT", "key": "run-1/scale/do", "type": "application/json", "authorization": "",
		"body": `{"delta":2,"t":"[secret]<"}`, "query": "x=1", "host": "shop.test", "n": "3", "ok": "true",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if got := do(map[string]any{"idempotency_header": "-", "body": "plain"}); got["key"] != "" || got["body"] != "plain" || got["type"] != "" {
		t.Errorf("plain body sent as %v", got)
	}
	if got := do(map[string]any{"idempotency_header": "Authorization"}); got["authorization"] != "run-1/scale/do" {
		t.Errorf("own idempotency header: %v", got)
	}
}

func TestBigAnswerIsCut(t *testing.T) {
	srv := peer(t)
	out := httpcall.New().Do(t.Context(), grace.ActionRequest{With: map[string]any{"url": srv.URL + "/big"}})
	if len(out.Output) > grace.MaxOutput || !strings.HasSuffix(out.Output, "[the rest was cut]") {
		t.Errorf("kept %d bytes ending in %q", len(out.Output), out.Output[len(out.Output)-30:])
	}
}

func TestURLWithoutScheme(t *testing.T) {
	for _, raw := range []string{"127.0.0.1:1/x", "shop:8080/x", "shop/x"} {
		err := httpcall.New().Validate(map[string]any{"url": raw})
		if want := "has no scheme: write it whole, for example http://" + raw; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

func TestOverBeforeItBegan(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	out := httpcall.New().Do(ctx, grace.ActionRequest{With: map[string]any{"url": "http://" + closedPort(t)}})
	if out.Status != grace.OutcomeFailed || !out.Retryable {
		t.Errorf("%+v", out)
	}
}

// A POST that is redirected with 301 would go on as a GET: it is no call then.
// And a step may bring its own certificate authority.
func TestRedirectedPOSTAndTLS(t *testing.T) {
	var methods []string
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		methods = append(methods, r.Method+" "+r.URL.Path)
		if r.URL.Path == "/old" {
			http.Redirect(w, r, "/new", http.StatusMovedPermanently)
		}
	}))
	t.Cleanup(srv.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	do := func(path string, tls map[string]any) grace.Outcome {
		return httpcall.New().Do(t.Context(), grace.ActionRequest{With: map[string]any{"url": srv.URL + path, "tls": tls}})
	}
	if out := do("/old", map[string]any{"ca": ca}); out.Status != grace.OutcomeFailed || !strings.Contains(out.Error, "/new") || len(methods) != 1 {
		t.Errorf("%+v, asked %v", out, methods)
	}
	if out := do("/new", map[string]any{"ca": ca}); out.Status != grace.OutcomeSucceeded {
		t.Errorf("%+v", out)
	}
	if out := do("/new", map[string]any{}); out.Status != grace.OutcomeFailed {
		t.Errorf("a stranger is trusted: %+v", out)
	}
}
