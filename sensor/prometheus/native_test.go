package prometheus

import (
	"bytes"
	"encoding/binary"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	client "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"

	"grace/internal/exposition"
)

// TestNativeHistograms: a target that has them gives them to a sensor that asks, beside
// the classic ones, whose bounds are written as in pages of text.
func TestNativeHistograms(t *testing.T) {
	t.Parallel()
	registry := client.NewRegistry()
	latency := client.NewHistogram(client.HistogramOpts{Name: "latency", Help: "s", Buckets: []float64{1, 8}, NativeHistogramBucketFactor: 1.1})
	wait := client.NewSummary(client.SummaryOpts{Name: "wait", Help: "s", Objectives: map[float64]float64{1: 0.01}})
	registry.MustRegister(latency, wait)
	server := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	defer server.Close()
	ask := func(native bool) *exposition.Page {
		s, err := New(Config{Name: "m", Service: "shop", URL: server.URL, Native: native}, nil)
		if err != nil {
			t.Fatal(err)
		}
		page, fail := s.ask(t.Context())
		if fail != nil {
			t.Fatal(fail)
		}
		return page
	}
	sameElsewhere := []string{`latency_bucket{le="1"}`, `latency_bucket{le="8"}`, `latency_bucket{le="+Inf"}`, `latency_count`, `wait{quantile="1"}`, `wait_sum`}
	const quantile, count = `histogram_quantile(0.5, latency)`, `histogram_count(rate(latency[1m]))`
	native, text := newScraped(t, append(sameElsewhere, quantile, count)...), newScraped(t, append(sameElsewhere, quantile)...)
	for sec := 0; sec <= 20; sec += 10 {
		for range 10 {
			latency.Observe(4)
			wait.Observe(2)
		}
		for s, page := range map[*scraped]*exposition.Page{native: ask(true), text: ask(false)} {
			if err := s.page(page, after(sec)); err != nil {
				t.Fatal(err)
			}
		}
	}
	got, other := native.says(t, 20), text.says(t, 20)
	for _, expr := range sameElsewhere {
		for labels, v := range other[expr] {
			if got[expr][labels] != v {
				t.Errorf("%s: %v, want as in text %v", expr, got[expr], other[expr])
			}
		}
		if len(other[expr]) != 1 {
			t.Errorf("%s: %v", expr, other[expr])
		}
	}
	if v := got[quantile]["map[]"]; !(v > 3.8 && v < 4.2) || len(other[quantile]) != 0 {
		t.Errorf("the median is %v in protobuf and %v in text", got[quantile], other[quantile])
	}
	if v := got[count]["map[]"]; v != 0.416667 { // 20 and half a step's 5, in a minute
		t.Errorf("%v observations a second", got[count])
	}
}

// TestNativeThatIsNone: lists of a histogram that do not fit together fail the page, and
// nothing else.
func TestNativeThatIsNone(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		family := &dto.MetricFamily{Name: new("latency"), Type: dto.MetricType_HISTOGRAM.Enum(), Metric: []*dto.Metric{{Histogram: &dto.Histogram{
			SampleCount: new(uint64(3)), Schema: new(int32(3)), ZeroThreshold: new(1e-9),
			PositiveSpan: []*dto.BucketSpan{{Offset: new(int32(1)), Length: new(uint32(1000))}}, PositiveDelta: []int64{1, 2},
		}}}}
		if r.URL.Path == "/count" {
			h := family.Metric[0].Histogram
			h.PositiveSpan[0].Length, h.SampleCount = new(uint32(2)), new(uint64(1)) // two buckets hold 1 and 3
		}
		body, _ := proto.Marshal(family)
		w.Header().Set("Content-Type", "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited")
		_, _ = w.Write(append(binary.AppendUvarint(nil, uint64(len(body))), body...))
	}))
	defer server.Close()
	for _, path := range []string{"/spans", "/count"} {
		s, err := New(Config{Name: "m", Service: "shop", URL: server.URL + path, Native: true}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if page, fail := s.ask(t.Context()); fail == nil || fail.own || !strings.Contains(fail.Error(), "read the metrics") {
			t.Errorf("%s: %v, %+v", path, fail, page)
		}
	}
}

// FuzzNative: whatever bytes a target answers, a page is read or refused.
func FuzzNative(f *testing.F) {
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{4, 10, 2, 'a', 'b'}, 3))
	f.Fuzz(func(t *testing.T, body []byte) {
		s := newScraped(t, `{service="shop"}`)
		page, err := exposition.Parse(body, "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited", 0)
		if err == nil {
			if err := s.page(page, after(0)); err != nil {
				t.Error(err)
			}
		}
	})
}
