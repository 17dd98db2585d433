package remotewrite

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"

	"grace"
	"grace/internal/series"
)

var start = time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC)

func at(seconds, value float64) series.Sample {
	return series.Sample{At: start.UnixMilli() + int64(seconds*1000), Value: value}
}

// recorder is a sink that remembers values by service/metric{labels}.
type recorder struct {
	mu     sync.Mutex
	series []series.Series
	values map[string][]float64
}

func (r *recorder) Open(s series.Series) uint32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.series = append(r.series, s)
	return uint32(len(r.series) - 1)
}

func (r *recorder) Append(h uint32, _ int64, v float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.series[h]
	n := string(s.Service) + "/" + s.Metric + s.Labels
	r.values[n] = append(r.values[n], math.Round(v*1e4)/1e4)
}

func (r *recorder) Close(uint32) {}

// text lists what came out, sorted.
func (r *recorder) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for n, v := range r.values {
		out = append(out, fmt.Sprint(n, v))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

type bench struct {
	*Handler
	*recorder
	t *testing.T
}

func newBench(t *testing.T, change func(*series.Config, *Config)) *bench {
	t.Helper()
	b := &bench{recorder: &recorder{values: map[string][]float64{}}, t: t}
	tc, c := series.DefaultConfig(), DefaultConfig()
	if change != nil {
		change(&tc, &c)
	}
	in, err := series.New(tc, series.Options{
		Sinks: []series.Sink{b.recorder}, Now: func() time.Time { return start.Add(time.Minute) },
		Known: func(s grace.ServiceID) bool { return s == "cart" },
	})
	if err != nil {
		t.Fatal(err)
	}
	if b.Handler, err = New(c, in, nil); err != nil {
		t.Fatal(err)
	}
	return b
}

const (
	typeV1 = "application/x-protobuf"
	typeV2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
)

func (b *bench) post(kind, encoding string, body []byte) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/api/v1/write", bytes.NewReader(body))
	r.Header.Set("Content-Type", kind)
	r.Header.Set("Content-Encoding", encoding)
	w := httptest.NewRecorder()
	b.ServeHTTP(w, r)
	return w
}

func (b *bench) send(kind string, decoded []byte) *httptest.ResponseRecorder {
	return b.post(kind, "snappy", snappy.Encode(nil, decoded))
}

// check compares an answer; the texts must be in its body.
func check(t *testing.T, w *httptest.ResponseRecorder, status int, texts ...string) {
	t.Helper()
	if w.Code != status {
		t.Errorf("answer %d, want %d: %s", w.Code, status, w.Body)
	}
	for _, text := range texts {
		if !strings.Contains(w.Body.String(), text) {
			t.Errorf("the answer does not say %q: %s", text, w.Body)
		}
	}
}

func good() sent {
	return sent{labels: "jobs_pending{job=cart}", points: []series.Sample{at(0, 1), at(15, 2)}}
}

const goodText = "cart/jobs_pending{job=\"cart\"}[1 2]"

func TestVersions(t *testing.T) {
	list := []sent{
		good(),
		{labels: "http_requests_total{code=200,job=cart}", points: []series.Sample{at(0, 10), at(10, 30)}},
		{labels: "somebodys_gauge{job=other}", points: []series.Sample{at(0, 10)}},
	}
	want := "cart/http_requests_rate{code=\"200\",job=\"cart\"}[2] " + goodText
	t.Run("1.0", func(t *testing.T) {
		b := newBench(t, nil)
		check(t, b.send(typeV1, encode1(list...)), http.StatusNoContent)
		check(t, b.send("", nil), http.StatusNoContent)
		if got := b.text(); got != want {
			t.Errorf("came out %s\nwant %s", got, want)
		}
	})
	t.Run("2.0", func(t *testing.T) {
		b := newBench(t, nil)
		w := b.send(typeV2, encode2(list...))
		check(t, w, http.StatusNoContent)
		if got := b.text(); got != want {
			t.Errorf("came out %s\nwant %s", got, want)
		}
		written(t, w, 5, 0)
	})
}

func written(t *testing.T, w *httptest.ResponseRecorder, samples, histograms int) {
	t.Helper()
	h := w.Header()
	got := fmt.Sprint(h.Get("X-Prometheus-Remote-Write-Samples-Written"), h.Get("X-Prometheus-Remote-Write-Histograms-Written"), h.Get("X-Prometheus-Remote-Write-Exemplars-Written"))
	if want := fmt.Sprint(fmt.Sprint(samples), fmt.Sprint(histograms), "0"); got != want {
		t.Errorf("written %s, want %s", got, want)
	}
}

// Version 2 says what a series is, and when it began.
func TestMetadata(t *testing.T) {
	b := newBench(t, nil)
	check(t, b.send(typeV2, encode2(
		sent{labels: "jobs_pending{job=cart}", kind: typeCounter, unit: "seconds", created: at(-10, 0).At, points: []series.Sample{at(0, 50), at(10, 60)}},
	)), http.StatusNoContent)
	if got, want := b.text(), "cart/jobs_pending_rate{job=\"cart\"}[5 1]"; got != want {
		t.Errorf("came out %s, want %s", got, want)
	}
	if u := b.series[0].Unit; u != "s/s" {
		t.Errorf("unit %q", u)
	}
}

// Labels apart from each other, out of order, and fields nobody knows, are
// unusual and not wrong.
func TestUnusual(t *testing.T) {
	b := newBench(t, nil)
	label := func(n, v string) message { return message{}.bytes(1, []byte(n)).bytes(2, []byte(v)) }
	first := message{}.bytes(1, label("job", "cart")).bytes(2, encodePoint(at(0, 1))).bytes(1, label("__name__", "jobs_pending")).varint(99, 7)
	second := message{}.bytes(1, label("__name__", "jobs_pending")).bytes(1, label("job", "cart")).bytes(2, encodePoint(at(15, 2)))
	body := message{}.bytes(1, first).bytes(3, []byte{8, 1}).double(77, 1).bytes(1, second)
	check(t, b.send(typeV1, body), http.StatusNoContent)
	if got := b.text(); got != goodText {
		t.Errorf("came out %s, want %s", got, goodText)
	}
}

// Bad input is refused with the reason and the place, counted, and nothing of
// the good is lost.
func TestBadInput(t *testing.T) {
	body := encode1(good())
	huge := strings.Repeat("x", 4000)
	var many []string
	for i := range 70 {
		many = append(many, fmt.Sprintf("l%02d=v", i))
	}
	year := 365 * 86400.0
	bad := func(s sent) []byte { return encode1(s, good()) }
	points := []series.Sample{at(0, 1)}
	for _, tt := range []struct {
		name   string
		body   []byte
		texts  []string
		nogood bool
	}{
		{name: "huge label", body: bad(sent{labels: "a_pending{job=cart,l=" + huge + "}", points: points}), texts: []string{"1 of 3 samples", "4000 bytes", "2048", "telemetry.limits.label_length"}},
		{name: "many labels", body: bad(sent{labels: "a_pending{job=cart," + strings.Join(many, ",") + "}", points: points}), texts: []string{"72 labels", "64", "limits.labels"}},
		{name: "no name", body: bad(sent{labels: "{job=cart}", points: points}), texts: []string{"bad_labels", "__name__"}},
		{name: "not UTF-8", body: bad(sent{labels: "a_pending{job=cart,l=\xff}", points: points}), texts: []string{"not UTF-8"}},
		{name: "doubled label", body: bad(sent{labels: "a_pending{job=cart,l=1,l=2}", points: points}), texts: []string{"twice"}},
		{name: "clock a year ahead", body: bad(sent{labels: "a_pending{job=cart}", points: []series.Sample{at(year, 1)}}), texts: []string{"too_far_ahead", "2027-03-01T09:30", "clock"}},
		{name: "clock a year behind", body: bad(sent{labels: "a_pending{job=cart}", points: []series.Sample{at(-year, 1)}}), texts: []string{"too_old", "2025-03-01T09:30", "clock"}},
		{name: "wrong protobuf behind the good", body: append(slices.Clone(body), "wrong"...), texts: []string{"no protobuf", fmt.Sprintf("byte %d", len(body)), "2 samples before were taken"}},
		{name: "truncated protobuf", body: slices.Concat(body, body[:len(body)-3]), texts: []string{"ends within a field"}},
		{name: "a group", body: append(slices.Clone(body), 0x0b), texts: []string{"another type"}},
		{name: "field without number", body: append(slices.Clone(body), 0x02, 0x00), texts: []string{"no number"}},
		{name: "another message", body: []byte(`{"streams": []}`), texts: []string{"no protobuf"}, nogood: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, nil)
			check(t, b.send(typeV1, tt.body), http.StatusBadRequest, tt.texts...)
			if got := b.text(); got != goodText && !tt.nogood {
				t.Errorf("of the good came out %q", got)
			}
			if s := b.Stats(); s.Partial+s.Malformed != 1 {
				t.Errorf("counted as %+v", s)
			}
		})
	}
}

func TestRefusedRequests(t *testing.T) {
	packed := snappy.Encode(nil, encode1(good()))
	long := slices.Concat([]byte{0xff, 0xff, 0xff, 0xff, 0x0f}, packed)
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write(make([]byte, 1<<20))
	z.Close()
	for _, tt := range []struct {
		name, kind, encoding string
		body                 []byte
		status               int
		text                 string
	}{
		{"truncated snappy", typeV1, "snappy", packed[:len(packed)-5], 400, "not a valid snappy block: s2: corrupt input"},
		{"no snappy", typeV1, "snappy", []byte("\x14plain text"), 400, "not a valid snappy block"},
		{"copies from nowhere", typeV1, "snappy", []byte{8, 0, 'a', 0x15, 0x09}, 400, "not a valid snappy block: s2: corrupt input"},
		{"longer than it says", typeV1, "snappy", []byte{1, 4, 'a', 'b'}, 400, "not a valid snappy block: s2: corrupt input"},
		{"empty", typeV1, "snappy", nil, 400, "begin with a length"},
		{"says it has 4 GB", typeV1, "snappy", long, 413, "raise telemetry.max_body"},
		{"larger than allowed", typeV1, "snappy", make([]byte, 1<<20), 413, "larger than 1000000 bytes"},
		{"gzip", typeV1, "gzip", zipped.Bytes(), 415, "want snappy"},
		{"JSON", "application/json", "snappy", packed, 415, "application/x-protobuf"},
		{"another message", typeV1 + ";proto=other", "snappy", packed, 415, "prometheus.WriteRequest"},
		{"no type", "app;;lication", "snappy", packed, 415, "application/x-protobuf"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, func(_ *series.Config, c *Config) { c.MaxBody = 1_000_000 })
			check(t, b.post(tt.kind, tt.encoding, tt.body), tt.status, tt.text)
			if len(b.values) != 0 {
				t.Errorf("came out %s", b.text())
			}
			if s := b.Stats(); s.Malformed+s.TooLarge+s.Unsupported != 1 {
				t.Errorf("counted as %+v", s)
			}
			check(t, b.send(typeV1, encode1(good())), http.StatusNoContent)
		})
	}
	b := newBench(t, nil)
	w := httptest.NewRecorder()
	b.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v1/write", nil))
	check(t, w, http.StatusMethodNotAllowed)
	r := httptest.NewRequest(http.MethodPost, "/api/v1/write", io.MultiReader(bytes.NewReader(packed[:9]), broken{}))
	w = httptest.NewRecorder()
	b.ServeHTTP(w, r)
	check(t, w, http.StatusBadRequest, "cut")
	if b.Stats().Lost != 1 {
		t.Error("a peer that went away is not counted")
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("cut") }

// A client with 100,000 series gets as many as the limit lets in, and the
// others keep theirs.
func TestManySeries(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *series.Config, _ *Config) { c.Limits.SeriesPerSource = 20_000 })
	check(t, b.send(typeV1, encode1(good())), http.StatusNoContent)
	var list []sent
	for i := range 100_000 {
		list = append(list, sent{labels: fmt.Sprintf("a_pending{job=cart,id=%d}", i), points: []series.Sample{at(0, 1)}})
	}
	check(t, b.send(typeV1, encode1(list...)), http.StatusBadRequest,
		"80001 of 100000 samples refused (series_per_source)", "has 20000 series, the limit is 20000", "telemetry.limits.series_per_source")
	r := httptest.NewRequest(http.MethodPost, "/api/v1/write", bytes.NewReader(snappy.Encode(nil, encode1(
		sent{labels: "b_pending{job=cart}", points: []series.Sample{at(0, 1)}},
		sent{labels: "jobs_pending{job=cart}", points: []series.Sample{at(30, 3)}},
	))))
	r.RemoteAddr = "192.0.2.77:1234"
	w := httptest.NewRecorder()
	b.ServeHTTP(w, r)
	check(t, w, http.StatusNoContent)
	if len(b.series) != 20_001 {
		t.Errorf("%d series", len(b.series))
	}
}

func TestOverload(t *testing.T) {
	b := newBench(t, func(_ *series.Config, c *Config) { c.Concurrent = 1 })
	hold, arrived := make(chan struct{}), make(chan struct{})
	done := make(chan int)
	go func() {
		r := httptest.NewRequest(http.MethodPost, "/api/v1/write", io.MultiReader(&gate{hold: hold, arrived: arrived}, bytes.NewReader(snappy.Encode(nil, encode1(good())))))
		w := httptest.NewRecorder()
		b.ServeHTTP(w, r)
		done <- w.Code
	}()
	<-arrived
	w := b.send(typeV1, encode1(good()))
	check(t, w, http.StatusServiceUnavailable, "nothing was taken")
	if w.Header().Get("Retry-After") != "5" {
		t.Errorf("Retry-After %q", w.Header().Get("Retry-After"))
	}
	close(hold)
	if code := <-done; code != http.StatusNoContent {
		t.Errorf("the one that was in: %d", code)
	}
}

// gate is a body that comes late.
type gate struct {
	hold, arrived chan struct{}
	once          sync.Once
}

func (g *gate) Read([]byte) (int, error) {
	g.once.Do(func() { close(g.arrived) })
	<-g.hold
	return 0, io.EOF
}
