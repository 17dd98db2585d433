package otlp_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	metrics "go.opentelemetry.io/proto/otlp/metrics/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"grace/internal/series"
	"grace/sensor/otlp"
)

// began is when the tests' time starts; the first points come a minute later.
var began = time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC)

func nano(after time.Duration) uint64 { return uint64(began.Add(after).UnixNano()) }

// sink keeps what comes out: values by service/metric{labels}.
type sink struct {
	mu     sync.Mutex
	names  []string
	series []series.Series
	values map[string][]float64
	at     map[string][]int64
	closed int
}

func (s *sink) Open(opened series.Series) uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names = append(s.names, fmt.Sprintf("%s/%s%s", opened.Service, opened.Metric, opened.Labels))
	s.series = append(s.series, opened)
	return uint32(len(s.names) - 1)
}

func (s *sink) Append(h uint32, at int64, v float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.values == nil {
		s.values, s.at = map[string][]float64{}, map[string][]int64{}
	}
	s.values[s.names[h]] = append(s.values[s.names[h]], v)
	s.at[s.names[h]] = append(s.at[s.names[h]], at)
}

func (s *sink) Close(uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed++
}

func (s *sink) got() map[string][]float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.values)
}

// house is a receiver with an intake and its sink.
type house struct {
	*otlp.Receiver
	db   *series.DB
	sink *sink
	now  time.Time
}

func newHouse(t testing.TB, adjust func(*otlp.Config), change ...func(*series.Config, *series.Options)) *house {
	t.Helper()
	h := &house{sink: &sink{}, now: began.Add(time.Minute)}
	tc := series.DefaultConfig()
	tc.KeepUnmapped, tc.NoDefaultRules = true, true
	opt := series.Options{Sinks: []series.Sink{h.sink}, Now: func() time.Time { return h.now }}
	for _, f := range change {
		f(&tc, &opt)
	}
	cfg := otlp.DefaultConfig()
	if adjust != nil {
		adjust(&cfg)
	}
	var err error
	if h.db, err = series.New(tc, opt); err != nil {
		t.Fatal(err)
	}
	if h.Receiver, err = otlp.New(cfg, h.db); err != nil {
		t.Fatal(err)
	}
	return h
}

func str(key, value string) *common.KeyValue {
	return &common.KeyValue{Key: key, Value: &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: value}}}
}

// request holds metrics of the service shop.
func request(list ...*metrics.Metric) *collector.ExportMetricsServiceRequest {
	return &collector.ExportMetricsServiceRequest{ResourceMetrics: []*metrics.ResourceMetrics{{
		Resource:     &resource.Resource{Attributes: []*common.KeyValue{str("service.name", "shop")}},
		ScopeMetrics: []*metrics.ScopeMetrics{{Metrics: list}},
	}}}
}

func gauge(name string, points ...*metrics.NumberDataPoint) *metrics.Metric {
	return &metrics.Metric{Name: name, Unit: "1", Data: &metrics.Metric_Gauge{Gauge: &metrics.Gauge{DataPoints: points}}}
}

func number(at time.Duration, v float64, attributes ...*common.KeyValue) *metrics.NumberDataPoint {
	return &metrics.NumberDataPoint{TimeUnixNano: nano(at), Value: &metrics.NumberDataPoint_AsDouble{AsDouble: v}, Attributes: attributes}
}

func marshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	data, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func zipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

const (
	typeProtobuf = "application/x-protobuf"
	typeJSON     = "application/json"
)

// post sends a body, and gives the answer with its message decoded.
func (h *house) post(t testing.TB, body []byte, kind string, header ...string) (*http.Response, *collector.ExportMetricsServiceResponse, *status.Status) {
	t.Helper()
	req := httptest.NewRequest(http.MethodPost, otlp.Path, bytes.NewReader(body))
	req.Header.Set("Content-Type", kind)
	for pair := range slices.Chunk(header, 2) {
		req.Header.Set(pair[0], pair[1])
	}
	return h.do(t, req)
}

func (h *house) do(t testing.TB, req *http.Request) (*http.Response, *collector.ExportMetricsServiceResponse, *status.Status) {
	t.Helper()
	w := httptest.NewRecorder()
	h.Handler(nil).ServeHTTP(w, req)
	resp := w.Result()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	read := proto.Unmarshal
	if resp.Header.Get("Content-Type") == typeJSON {
		read = protojson.Unmarshal
	}
	good, bad := &collector.ExportMetricsServiceResponse{}, &status.Status{}
	into := proto.Message(good)
	if resp.StatusCode != http.StatusOK {
		into = bad
	}
	if err := read(data, into); err != nil {
		t.Fatalf("the answer %q of type %s: %v", data, resp.Header.Get("Content-Type"), err)
	}
	return resp, good, bad
}

// send expects that a request is taken, and gives what was refused of it.
func (h *house) send(t testing.TB, req *collector.ExportMetricsServiceRequest) *collector.ExportMetricsPartialSuccess {
	t.Helper()
	resp, good, bad := h.post(t, marshal(t, req), typeProtobuf)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d: %v", resp.StatusCode, bad)
	}
	return good.GetPartialSuccess()
}

// watch has expressions looked at, before their series come.
func (h *house) watch(t testing.TB, texts ...string) []*series.Expr {
	t.Helper()
	var list []*series.Expr
	for _, text := range texts {
		e, err := series.Compile(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		list = append(list, e)
	}
	h.db.Watch(list)
	return list
}

// says gives what an expression says of shop at a time; NaN when it gives nothing.
func (h *house) says(t testing.TB, e *series.Expr, at time.Time) float64 {
	t.Helper()
	r, err := h.db.Evaluate(t.Context(), e, at)
	if err != nil || len(r.Elements) > 1 {
		t.Fatalf("%s: %v, %v", e, r.Elements, err)
	}
	if len(r.Elements) == 0 {
		return math.NaN()
	}
	return r.Elements[0].Value
}
