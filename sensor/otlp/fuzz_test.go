package otlp_test

import (
	"bytes"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	collector "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	metrics "go.opentelemetry.io/proto/otlp/metrics/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"grace/sensor/otlp"
)

// seeds hold every kind of metric, good and bad.
func seeds() []*collector.ExportMetricsServiceRequest {
	const s = time.Second
	stale := buckets(0, 30*s, 0, 0, 0)
	stale.Flags = 1
	return []*collector.ExportMetricsServiceRequest{
		{},
		request(gauge("heat", number(10*s, 1.5, str("a", "b")), flagged(20*s), number(30*s, math.NaN()))),
		request(sum("orders", cumulative, true, since(0, number(10*s, 20)), since(15*s, number(20*s, 5)))),
		request(sum("queue", delta, false, number(10*s, 20), number(20*s, -5)), sum("none", 0, true, number(10*s, 1))),
		request(histogram("wait", cumulative, buckets(0, 10*s, 10, 0, 0), buckets(0, 20*s, 10, 100, 0), stale, buckets(0, 40*s, 1, 1))),
		request(exponential("wait", delta, grown(0, 10*s, 3, -7, 5, 0, 5), grown(10*s, 20*s, -2, 1, 1), grown(20*s, 30*s, 20, math.MaxInt32, 1))),
		request(summary("wait", 0, 10*s, 10), summary("wait", 0, 20*s, 40), &metrics.Metric{Name: "empty"}),
		request(gauge("far", number(1e5*time.Hour, 1), &metrics.NumberDataPoint{TimeUnixNano: math.MaxUint64})),
	}
}

// outcome is what became of a body.
type outcome struct {
	Status   int
	Rejected int64
	Values   map[string][]float64
}

func judge(t *testing.T, body []byte, kind string) outcome {
	t.Helper()
	h := newHouse(t, func(c *otlp.Config) { c.MaxDecoded, c.MaxParts = 1<<20, 10_000 })
	h.watch(t, `{__name__=~".+"}`) // so that histograms are kept
	resp, good, bad := h.post(t, body, kind)
	out := outcome{resp.StatusCode, good.GetPartialSuccess().GetRejectedDataPoints(), h.sink.got()}
	st := h.Stats()
	switch {
	case out.Status == 200:
		if out.Rejected > int64(st.Points) || out.Rejected > 0 && good.GetPartialSuccess().GetErrorMessage() == "" {
			t.Errorf("of %d points %v", st.Points, good)
		}
	case out.Status != 400 && out.Status != 413 || bad.GetMessage() == "" || bad.GetCode() == 0 || len(out.Values) > 0:
		t.Errorf("status %d, %v, %v", out.Status, bad, out.Values)
	}
	for name, values := range out.Values {
		for i, v := range values {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				t.Errorf("value %d of %s is %v", i, name, v)
			}
		}
		for i, at := range h.sink.at[name] {
			if i > 0 && at <= h.sink.at[name][i-1] {
				t.Errorf("%s: %d comes after %d", name, at, h.sink.at[name][i-1])
			}
		}
	}
	return out
}

// FuzzProtobuf: whatever is sent is taken or refused with a reason, what comes
// out are numbers in order, and the same request in JSON fares the same.
func FuzzProtobuf(f *testing.F) {
	for _, s := range seeds() {
		f.Add(marshal(f, s))
	}
	f.Add([]byte("hello"))
	f.Add(bytes.Repeat([]byte{0x0a, 0}, 20_000))
	f.Fuzz(func(t *testing.T, body []byte) {
		direct := judge(t, body, typeProtobuf)
		req := &collector.ExportMetricsServiceRequest{}
		if direct.Status != 200 || proto.Unmarshal(body, req) != nil {
			return
		}
		text, err := protojson.Marshal(req)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(direct, judge(t, text, typeJSON), cmpopts.EquateEmpty()); diff != "" && len(text) < 1<<20 {
			t.Errorf("as JSON (+) it fares otherwise:\n%s", diff)
		}
	})
}

// FuzzJSON is the same for what is sent as JSON.
func FuzzJSON(f *testing.F) {
	for _, s := range seeds() {
		text, err := protojson.Marshal(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"resourceMetrics":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},"scopeMetrics":[{"metrics":[
		{"name":"m","sum":{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[{"timeUnixNano":"1772357430000000000","asInt":"7",
		"exemplars":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","asDouble":1}]}]}}]}]}]}`))
	f.Add([]byte(`{"resourceMetrics":null,"x":[[[[]]]]}`))
	f.Add([]byte(`{"resourceMetrics":[{},{},`))
	f.Fuzz(func(t *testing.T, body []byte) { judge(t, body, typeJSON) })
}
