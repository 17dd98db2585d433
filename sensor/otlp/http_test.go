package otlp_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"

	"grace"
	"grace/sensor/otlp"
)

func post(body []byte) *http.Request {
	req := httptest.NewRequest(http.MethodPost, otlp.Path, bytes.NewReader(body))
	req.Header.Set("Content-Type", typeProtobuf)
	return req
}

func TestHTTP(t *testing.T) {
	good := marshal(t, request(gauge("heat", number(time.Second, 1))))
	asJSON, err := protojson.Marshal(request(gauge("heat", number(time.Second, 1))))
	if err != nil {
		t.Fatal(err)
	}
	bomb := zipped(t, make([]byte, 4<<20))
	// Points of two bytes, each of a hundred in memory.
	small := append([]byte{0x0a, 0}, bytes.Repeat([]byte{0x0a, 0}, 600_000)...)
	for name, tt := range map[string]struct {
		method string
		kind   string
		coding string
		body   []byte
		status int
		code   codes.Code
		text   string
	}{
		"protobuf":        {body: good, status: 200},
		"gzip":            {body: zipped(t, good), coding: "gzip", status: 200},
		"identity":        {body: good, coding: "identity", status: 200},
		"JSON":            {kind: "application/json; charset=utf-8", body: asJSON, status: 200},
		"JSON, gzip":      {kind: typeJSON, coding: "gzip", body: zipped(t, asJSON), status: 200},
		"nothing":         {status: 200},
		"GET":             {method: http.MethodGet, status: 405, code: codes.Unimplemented, text: "want POST"},
		"type":            {kind: "text/plain", body: good, status: 415, text: "content type"},
		"no type":         {kind: "-", body: good, status: 415, text: "content type"},
		"coding":          {coding: "br", body: good, status: 415, text: "content encoding"},
		"no protobuf":     {body: []byte("hello"), status: 400, text: "read the request"},
		"cut protobuf":    {body: good[:len(good)-3], status: 400, text: "read the request"},
		"no JSON":         {kind: typeJSON, body: []byte("{"), status: 400, text: "read the request"},
		"other JSON":      {kind: typeJSON, body: []byte(`{"resourceMetrics": 7}`), status: 400, text: "read the request"},
		"no gzip":         {coding: "gzip", body: good, status: 400, text: "gzip"},
		"cut gzip":        {coding: "gzip", body: zipped(t, good)[:len(zipped(t, good))-9], status: 400, text: "unexpected EOF"},
		"gzip bomb":       {coding: "gzip", body: bomb, status: 413, code: codes.ResourceExhausted, text: "raise telemetry.max_body"},
		"long":            {body: make([]byte, 1<<20+1), status: 413, code: codes.ResourceExhausted, text: "raise telemetry.max_body"},
		"long gzip":       {coding: "gzip", body: append(zipped(t, nil), bytes.Repeat(zipped(t, nil), 60_000)...), status: 413, code: codes.ResourceExhausted, text: "raise telemetry.max_body"},
		"small parts":     {body: small[:1<<20], status: 413, code: codes.ResourceExhausted, text: "raise max_parts"},
		"small JSON":      {kind: typeJSON, body: []byte(`{"resourceMetrics":[` + strings.Repeat("{},", 300_000) + `{}]}`), status: 413, code: codes.ResourceExhausted, text: "raise max_parts"},
		"deep":            {body: deep(t, 100), status: 400, text: "deep"},
		"deep JSON":       {kind: typeJSON, body: []byte(strings.Repeat(`{"resourceMetrics":[`, 100)), status: 400, text: "read the request"},
		"not UTF-8":       {body: bytes.Replace(good, []byte("heat"), []byte("h\xffat"), 1), status: 400, text: "UTF-8"},
		"unknown field":   {body: append(good, 0xfa, 0x01, 1, 'x'), status: 200},
		"unknown in JSON": {kind: typeJSON, body: []byte(`{"resourceMetrics":[],"more":{"a":[1]}}`), status: 200},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, func(c *otlp.Config) { c.MaxDecoded, c.MaxParts = 1<<20, 100_000 })
			req := post(tt.body)
			if tt.method != "" {
				req.Method = tt.method
			}
			if tt.kind != "" {
				req.Header.Set("Content-Type", tt.kind)
			}
			if tt.coding != "" {
				req.Header.Set("Content-Encoding", tt.coding)
			}
			resp, ok, bad := h.do(t, req)
			if tt.code == codes.OK && tt.status >= 400 {
				tt.code = codes.InvalidArgument
			}
			if resp.StatusCode != tt.status || codes.Code(bad.GetCode()) != tt.code || !strings.Contains(bad.GetMessage(), tt.text) {
				t.Errorf("status %d, %v; want %d, %v with %q", resp.StatusCode, bad, tt.status, tt.code, tt.text)
			}
			want := typeProtobuf
			if strings.HasPrefix(tt.kind, typeJSON) || tt.status == 415 && tt.coding == "" {
				want = typeJSON
			}
			if kind := resp.Header.Get("Content-Type"); kind != want {
				t.Errorf("answered in %s, want %s", kind, want)
			}
			if tt.status == 200 && ok.GetPartialSuccess() != nil {
				t.Error(ok)
			}
			if tt.method != "" && resp.Header.Get("Allow") != http.MethodPost {
				t.Errorf("Allow is %q", resp.Header.Get("Allow"))
			}
			st := h.Stats()
			if st.Requests != 1 || (st.Refused == 1) != (tt.status != 200) || st.Later != 0 {
				t.Errorf("%+v", st)
			}
			// A good one after it is taken.
			if partial := h.send(t, request(gauge("after", number(time.Second, 1)))); partial != nil || len(h.sink.got()["shop/after"]) != 1 {
				t.Errorf("after it: %v", partial)
			}
		})
	}
}

// deep is a list within a list within a list.
func deep(t *testing.T, n int) []byte {
	t.Helper()
	value := []byte{}
	wrap := func(field byte, inner []byte) []byte {
		out := []byte{field<<3 | 2}
		for l := len(inner); ; l >>= 7 {
			if l < 0x80 {
				out = append(out, byte(l))
				break
			}
			out = append(out, byte(l)|0x80)
		}
		return append(out, inner...)
	}
	for range n {
		value = wrap(5, wrap(1, value)) // AnyValue.array_value, ArrayValue.values
	}
	pair := wrap(2, value)
	return wrap(1, wrap(1, wrap(1, pair))) // ResourceMetrics, Resource, KeyValue
}

func TestOverload(t *testing.T) {
	h := newHouse(t, func(c *otlp.Config) {
		c.Concurrent, c.Waiting, c.RetryAfter = 1, 1, grace.Duration(1500*time.Millisecond)
	})
	// Two requests whose bodies do not end fill the house.
	var ends []*io.PipeWriter
	done := make(chan int, 2)
	reading := make(chan struct{}, 2)
	for range 2 {
		ends = append(ends, h.stall(done, reading))
	}
	<-reading
	<-reading
	resp, _, bad := h.post(t, nil, typeJSON)
	if resp.StatusCode != 429 || resp.Header.Get("Retry-After") != "2" || codes.Code(bad.GetCode()) != codes.ResourceExhausted {
		t.Errorf("%d, %v, %v", resp.StatusCode, resp.Header, bad)
	}
	for _, w := range ends {
		_ = w.Close()
	}
	for range ends {
		if code := <-done; code != 200 {
			t.Errorf("one that waited got %d", code)
		}
	}
	if st := h.Stats(); st.Later != 1 || st.Refused != 0 {
		t.Errorf("%+v", st)
	}
	if h.send(t, request(gauge("heat", number(time.Second, 1)))) != nil {
		t.Error("refused although there is room again")
	}
}

// stall sends a request that ends when what it gives is closed, and tells when it is
// being read and what it was answered.
func (h *house) stall(done chan<- int, reading chan struct{}) *io.PipeWriter {
	r, w := io.Pipe()
	go func() {
		req := httptest.NewRequest(http.MethodPost, otlp.Path, &watched{Reader: r, reading: reading})
		req.Header.Set("Content-Type", typeProtobuf)
		rec := httptest.NewRecorder()
		h.Handler(nil).ServeHTTP(rec, req)
		done <- rec.Code
	}()
	return w
}

// watched tells when somebody begins to read it.
type watched struct {
	io.Reader
	reading chan struct{}
	told    bool
}

func (w *watched) Read(p []byte) (int, error) {
	if !w.told {
		w.told = true
		w.reading <- struct{}{}
	}
	return w.Reader.Read(p)
}

// A sender that stalls is sent away, and does not keep others out.
func TestStalledBody(t *testing.T) {
	h := newHouse(t, func(c *otlp.Config) { c.ReadTimeout = grace.Duration(50 * time.Millisecond) })
	srv := httptest.NewServer(h.Handler(nil))
	t.Cleanup(srv.Close)
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /v1/metrics HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: 10\r\n\r\nabc", typeProtobuf)
	answer := make([]byte, 12)
	if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != "HTTP/1.1 408" {
		t.Errorf("%q, %v", answer, err)
	}
}

func TestValidate(t *testing.T) {
	for want, change := range map[string]func(*otlp.Config){
		"max_decoded: 0":             func(c *otlp.Config) { c.MaxDecoded = 0 },
		"max_parts: -1":              func(c *otlp.Config) { c.MaxParts = -1 },
		"concurrent: 0":              func(c *otlp.Config) { c.Concurrent = 0 },
		"waiting: 0":                 func(c *otlp.Config) { c.Waiting = 0 },
		"max_wait: 0s":               func(c *otlp.Config) { c.MaxWait = 0 },
		"read_timeout: 0s":           func(c *otlp.Config) { c.ReadTimeout = 0 },
		"retry_after: 1ms is less":   func(c *otlp.Config) { c.RetryAfter = grace.Duration(time.Millisecond) },
		"drop_resource[1]: is":       func(c *otlp.Config) { c.DropResource = []string{"a", ""} },
		`[0]: "*.a.*" has more than`: func(c *otlp.Config) { c.DropResource = []string{"*.a.*"} },
	} {
		cfg := otlp.DefaultConfig()
		change(&cfg)
		if _, err := otlp.New(cfg, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
