package otlp_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	metrics "go.opentelemetry.io/proto/otlp/metrics/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"

	"grace/internal/series"
	"grace/sensor/otlp"
)

const (
	delta      = metrics.AggregationTemporality_AGGREGATION_TEMPORALITY_DELTA
	cumulative = metrics.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE
)

func sum(name string, temporality metrics.AggregationTemporality, monotonic bool, points ...*metrics.NumberDataPoint) *metrics.Metric {
	return &metrics.Metric{Name: name, Data: &metrics.Metric_Sum{Sum: &metrics.Sum{
		DataPoints: points, AggregationTemporality: temporality, IsMonotonic: monotonic,
	}}}
}

func since(start time.Duration, p *metrics.NumberDataPoint) *metrics.NumberDataPoint {
	p.StartTimeUnixNano = nano(start)
	return p
}

func flagged(at time.Duration) *metrics.NumberDataPoint {
	return &metrics.NumberDataPoint{TimeUnixNano: nano(at), Flags: 1}
}

func histogram(name string, temporality metrics.AggregationTemporality, points ...*metrics.HistogramDataPoint) *metrics.Metric {
	return &metrics.Metric{Name: name, Unit: "s", Data: &metrics.Metric_Histogram{Histogram: &metrics.Histogram{
		DataPoints: points, AggregationTemporality: temporality,
	}}}
}

// buckets has the bounds 0.1 and 1.
func buckets(start, at time.Duration, counts ...uint64) *metrics.HistogramDataPoint {
	return &metrics.HistogramDataPoint{
		StartTimeUnixNano: nano(start), TimeUnixNano: nano(at), BucketCounts: counts, ExplicitBounds: []float64{0.1, 1},
	}
}

func exponential(name string, temporality metrics.AggregationTemporality, points ...*metrics.ExponentialHistogramDataPoint) *metrics.Metric {
	return &metrics.Metric{Name: name, Unit: "s", Data: &metrics.Metric_ExponentialHistogram{ExponentialHistogram: &metrics.ExponentialHistogram{
		DataPoints: points, AggregationTemporality: temporality,
	}}}
}

func grown(start, at time.Duration, scale, offset int32, counts ...uint64) *metrics.ExponentialHistogramDataPoint {
	return &metrics.ExponentialHistogramDataPoint{
		StartTimeUnixNano: nano(start), TimeUnixNano: nano(at), Scale: scale,
		Positive: &metrics.ExponentialHistogramDataPoint_Buckets{Offset: offset, BucketCounts: counts},
	}
}

func TestPoints(t *testing.T) {
	const s = time.Second
	integer := &metrics.NumberDataPoint{TimeUnixNano: nano(20 * s), Value: &metrics.NumberDataPoint_AsInt{AsInt: -7}}
	for name, tt := range map[string]struct {
		metrics []*metrics.Metric
		want    map[string][]float64
		refused int64
		message string
	}{
		"gauge":                   {metrics: []*metrics.Metric{gauge("heat", number(10*s, 1.5), integer)}, want: map[string][]float64{"shop/heat": {1.5, -7}}},
		"cumulative monotonic":    {metrics: []*metrics.Metric{sum("orders", cumulative, true, since(0, number(10*s, 20)), since(0, number(20*s, 50)))}, want: map[string][]float64{"shop/orders_rate": {2, 3}}},
		"of unknown start":        {metrics: []*metrics.Metric{sum("orders", cumulative, true, number(10*s, 20), number(20*s, 50))}, want: map[string][]float64{"shop/orders_rate": {3}}},
		"reset, falling":          {metrics: []*metrics.Metric{sum("orders", cumulative, true, number(10*s, 20), number(20*s, 10))}, want: map[string][]float64{"shop/orders_rate": {1}}},
		"reset, by start":         {metrics: []*metrics.Metric{sum("orders", cumulative, true, since(0, number(10*s, 20)), since(15*s, number(20*s, 60)))}, want: map[string][]float64{"shop/orders_rate": {2, 6}}},
		"start after the point":   {metrics: []*metrics.Metric{sum("orders", cumulative, true, since(0, number(10*s, 20)), since(25*s, number(20*s, 50)))}, want: map[string][]float64{"shop/orders_rate": {2, 3}}},
		"cumulative up and down":  {metrics: []*metrics.Metric{sum("queue", cumulative, false, number(10*s, 20), number(20*s, 5))}, want: map[string][]float64{"shop/queue": {20, 5}}},
		"delta":                   {metrics: []*metrics.Metric{sum("orders", delta, true, since(0, number(10*s, 20)), since(10*s, number(20*s, 50)))}, want: map[string][]float64{"shop/orders_rate": {2, 5}}},
		"delta of unknown start":  {metrics: []*metrics.Metric{sum("orders", delta, true, number(10*s, 20), number(20*s, 50))}, want: map[string][]float64{"shop/orders_rate": {5}}},
		"delta up and down":       {metrics: []*metrics.Metric{sum("queue", delta, false, since(0, number(10*s, 20)), since(10*s, number(20*s, -50)))}, want: map[string][]float64{"shop/queue_rate": {2, -5}}},
		"no recorded value":       {metrics: []*metrics.Metric{sum("orders", cumulative, true, number(10*s, 20), flagged(20*s), number(30*s, 50), number(40*s, 60))}, want: map[string][]float64{"shop/orders_rate": {1}}},
		"not a number":            {metrics: []*metrics.Metric{gauge("heat", number(10*s, math.NaN()), number(20*s, math.Inf(1)), number(30*s, 1))}, want: map[string][]float64{"shop/heat": {1}}},
		"duplicate":               {metrics: []*metrics.Metric{gauge("heat", number(10*s, 1), number(10*s, 1), number(20*s, 2))}, want: map[string][]float64{"shop/heat": {1, 2}}},
		"summary":                 {metrics: []*metrics.Metric{summary("wait", 0, 10*s, 10), summary("wait", 0, 20*s, 40)}, want: map[string][]float64{"shop/wait_rate": {1, 3}, "shop/wait_sum_rate": {.5, 1.5}, "shop/wait_p50": {.5, .5}, "shop/wait_p99_9": {.999, .999}}},
		"no temporality":          {metrics: []*metrics.Metric{sum("orders", 0, true, number(10*s, 1), number(20*s, 2)), gauge("heat", number(10*s, 1))}, want: map[string][]float64{"shop/heat": {1}}, refused: 2, message: "2 of 3 points refused: orders: its aggregation temporality is neither"},
		"no value":                {metrics: []*metrics.Metric{gauge("heat", &metrics.NumberDataPoint{TimeUnixNano: nano(10 * s)}, number(20*s, 1))}, want: map[string][]float64{"shop/heat": {1}}, refused: 1, message: "heat: a point has no value"},
		"no data":                 {metrics: []*metrics.Metric{{Name: "empty"}, gauge("heat", number(20*s, 1))}, want: map[string][]float64{"shop/heat": {1}}, message: "empty: it has no data"},
		"no name":                 {metrics: []*metrics.Metric{gauge("", number(10*s, 1)), gauge("heat", number(20*s, 1))}, want: map[string][]float64{"shop/heat": {1}}, refused: 1, message: "__name__"},
		"no time":                 {metrics: []*metrics.Metric{gauge("heat", &metrics.NumberDataPoint{Value: integer.Value}, number(20*s, 1))}, want: map[string][]float64{"shop/heat": {1}}, refused: 1, message: "is older than"},
		"a year behind":           {metrics: []*metrics.Metric{gauge("heat", number(-365*24*time.Hour, 1), number(20*s, 1))}, want: map[string][]float64{"shop/heat": {1}}, refused: 1, message: "is the sender's clock right?"},
		"a year ahead":            {metrics: []*metrics.Metric{histogram("wait", delta, buckets(0, 365*24*time.Hour, 1, 1, 1)), gauge("heat", number(365*24*time.Hour, 1), number(20*s, 1))}, want: map[string][]float64{"shop/heat": {1}}, refused: 2, message: "is the sender's clock right?"},
		"time beyond all":         {metrics: []*metrics.Metric{gauge("heat", &metrics.NumberDataPoint{TimeUnixNano: math.MaxUint64, Value: integer.Value}, number(20*s, 1))}, want: map[string][]float64{"shop/heat": {1}}, refused: 1, message: "is the sender's clock right?"},
		"counts without bounds":   {metrics: []*metrics.Metric{histogram("wait", delta, buckets(0, 10*s, 1, 1)), gauge("heat", number(20*s, 1))}, want: map[string][]float64{"shop/heat": {1}}, refused: 1, message: "bounds"},
		"scale beyond all":        {metrics: []*metrics.Metric{exponential("wait", delta, grown(0, 10*s, math.MinInt32, 0, 1)), gauge("heat", number(20*s, 1))}, want: map[string][]float64{"shop/heat": {1}}, refused: 1, message: "its scale is -2147483648, want -4 to 20"},
		"buckets beyond numbers":  {metrics: []*metrics.Metric{exponential("wait", delta, grown(0, 10*s, 0, math.MaxInt32, 1, 1)), gauge("heat", number(20*s, 1))}, want: map[string][]float64{"shop/heat": {1}}, refused: 1, message: "beyond all numbers"},
		"quantiles beyond use":    {metrics: []*metrics.Metric{{Name: "wait", Data: &metrics.Metric_Summary{Summary: &metrics.Summary{DataPoints: []*metrics.SummaryDataPoint{{QuantileValues: make([]*metrics.SummaryDataPoint_ValueAtQuantile, 101)}}}}}, gauge("heat", number(20*s, 1))}, want: map[string][]float64{"shop/heat": {1}}, refused: 1, message: "101 quantiles, the limit is 100"},
		"more buckets than known": {metrics: []*metrics.Metric{exponential("wait", delta, grown(0, 10*s, 20, 0, make([]uint64, 5000)...)), gauge("heat", number(20*s, 1))}, want: map[string][]float64{"shop/heat": {1}}, refused: 1, message: "5000 buckets, the limit is 4096"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, nil)
			partial := h.send(t, request(tt.metrics...))
			if diff := cmp.Diff(tt.want, h.sink.got(), cmpopts.EquateApprox(1e-3, 0)); diff != "" {
				t.Error(diff)
			}
			if partial.GetRejectedDataPoints() != tt.refused || !strings.Contains(partial.GetErrorMessage(), tt.message) || (tt.message == "") != (partial == nil) {
				t.Errorf("refused %v, want %d with %q", partial, tt.refused, tt.message)
			}
			if st := h.Stats(); st.RefusedPoints != uint64(tt.refused) || st.Requests != 1 || st.Refused != 0 {
				t.Errorf("%+v", st)
			}
		})
	}
}

func summary(name string, start, at time.Duration, count uint64) *metrics.Metric {
	return &metrics.Metric{Name: name, Unit: "s", Data: &metrics.Metric_Summary{Summary: &metrics.Summary{DataPoints: []*metrics.SummaryDataPoint{{
		StartTimeUnixNano: nano(start), TimeUnixNano: nano(at), Count: count, Sum: .5 * float64(count),
		QuantileValues: []*metrics.SummaryDataPoint_ValueAtQuantile{{Quantile: .5, Value: .5}, {Quantile: .999, Value: .999}},
	}}}}}
}

// A summary that is refused is one point, whatever samples it has.
func TestSummaryCountsOnce(t *testing.T) {
	h := newHouse(t, nil)
	partial := h.send(t, request(summary("wait", 0, 365*24*time.Hour, 10)))
	if partial.GetRejectedDataPoints() != 1 {
		t.Errorf("%v", partial)
	}
}

// Of a summary there is what Prometheus has of one, also where the built-in rules have no
// use for it: its sum gives the mean.
func TestSummaryIsWhole(t *testing.T) {
	h := newHouse(t, nil, func(c *series.Config, _ *series.Options) { c.NoDefaultRules, c.KeepUnmapped = false, false })
	exprs := h.watch(t, "rate(wait_sum[1m]) / rate(wait_count[1m])", "wait{quantile='0.5'}")
	const s = time.Second
	for i := range time.Duration(7) {
		m := summary("wait", 0, i*10*s, 20*uint64(i))
		m.GetSummary().DataPoints[0].Sum = 5 * float64(i)
		if partial := h.send(t, request(m)); partial != nil {
			t.Fatal(partial)
		}
	}
	for i, want := range []float64{0.25, 0.5} {
		if got := h.says(t, exprs[i], began.Add(60*s)); !(math.Abs(got-want) <= 1e-9) {
			t.Errorf("%s is %v, want %v", exprs[i], got, want)
		}
	}
}

func TestLabels(t *testing.T) {
	list := &common.AnyValue{Value: &common.AnyValue_ArrayValue{ArrayValue: &common.ArrayValue{Values: []*common.AnyValue{
		{Value: &common.AnyValue_IntValue{IntValue: 1}},
		{Value: &common.AnyValue_StringValue{StringValue: "b"}},
		{},
		{Value: &common.AnyValue_DoubleValue{DoubleValue: math.Inf(1)}},
		{Value: &common.AnyValue_KvlistValue{KvlistValue: &common.KeyValueList{Values: []*common.KeyValue{str("k", "v")}}}},
	}}}}
	for name, tt := range map[string]struct {
		resource []*common.KeyValue
		scope    string
		point    []*common.KeyValue
		drop     []string
		want     string
	}{
		"service": {resource: []*common.KeyValue{str("service.name", "shop")}, want: "shop/m"},
		"what describes is left out": {
			resource: []*common.KeyValue{
				str("service.name", "shop"), str("service.version", "2"), str("service.instance.id", "i"), str("process.pid", "7"),
				str("telemetry.sdk.name", "otel"), str("k8s.deployment.uid", "u"), str("host.name", "h"),
			},
			want: `shop/m{host_name="h",service_instance_id="i"}`,
		},
		"a process without instance": {resource: []*common.KeyValue{str("service.name", "shop"), str("process.pid", "7"), str("process.command", "x")}, want: `shop/m{process_pid="7"}`},
		"no service, nothing is left out": {
			resource: []*common.KeyValue{str("process.pid", "7"), str("service", "host-1")}, want: `host-1/m{process_pid="7"}`,
		},
		"own list": {resource: []*common.KeyValue{str("service.name", "shop"), str("service.version", "2"), str("host.name", "h")}, drop: []string{"host.*"}, want: `shop/m{service_version="2"}`},
		"scope":    {resource: []*common.KeyValue{str("service.name", "shop")}, scope: "lib", want: `shop/m{otel_scope_name="lib"}`},
		"the nearest counts": {
			resource: []*common.KeyValue{str("service.name", "shop"), str("a", "far")}, point: []*common.KeyValue{str("a", "near"), str("a", "second")},
			want: `shop/m{a="near"}`,
		},
		"values": {
			resource: []*common.KeyValue{str("service.name", "shop")},
			point: []*common.KeyValue{
				{Key: "b", Value: &common.AnyValue{Value: &common.AnyValue_BoolValue{BoolValue: true}}},
				{Key: "d", Value: &common.AnyValue{Value: &common.AnyValue_DoubleValue{DoubleValue: .5}}},
				{Key: "i", Value: &common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: 200}}},
				{Key: "l", Value: list},
				{Key: "n"},
				{Key: "x", Value: &common.AnyValue{Value: &common.AnyValue_BytesValue{BytesValue: []byte{1, 2}}}},
			},
			want: `shop/m{b="true",d="0.5",i="200",l="[1,\"b\",null,\"+Inf\",{\"k\":\"v\"}]",x="AQI="}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, func(c *otlp.Config) {
				if tt.drop != nil {
					c.DropResource = tt.drop
				}
			})
			req := request(gauge("m", number(time.Second, 1, tt.point...)))
			req.ResourceMetrics[0].Resource = &resource.Resource{Attributes: tt.resource}
			req.ResourceMetrics[0].ScopeMetrics[0].Scope = &common.InstrumentationScope{Name: tt.scope}
			if partial := h.send(t, req); partial != nil {
				t.Error(partial)
			}
			if diff := cmp.Diff(map[string][]float64{tt.want: {1}}, h.sink.got()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// One client with a hundred thousand series, and others with few: it is told,
// the first of its series and those of the others are kept.
func TestManySeries(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil, func(c *series.Config, _ *series.Options) { c.Limits.SeriesPerSource = 1000 })
	const all, each = 100_000, 10_000
	refused := int64(0)
	for first := 0; first < all; first += each {
		points := make([]*metrics.NumberDataPoint, each)
		for i := range points {
			points[i] = number(time.Second, 1, str("user.id", fmt.Sprint(first+i)))
		}
		partial := h.send(t, request(gauge("m", points...)))
		refused += partial.GetRejectedDataPoints()
		if first > 0 && !strings.Contains(partial.GetErrorMessage(), "raise telemetry.limits.series_per_source") {
			t.Fatalf("%v", partial)
		}
	}
	if kept := len(h.sink.got()); kept != 1000 || refused != all-1000 {
		t.Errorf("kept %d, refused %d", kept, refused)
	}
	body := marshal(t, request(gauge("m", number(time.Second, 1, str("user.id", "other")))))
	req := post(body)
	req.RemoteAddr = "192.0.2.77:1"
	if _, good, _ := h.do(t, req); good.GetPartialSuccess() != nil {
		t.Errorf("another client: %v", good)
	}
	if partial := h.send(t, request(gauge("m", number(2*time.Second, 2, str("user.id", "0"))))); partial != nil {
		t.Errorf("a series that was kept: %v", partial)
	}
}

func TestHugeAttribute(t *testing.T) {
	h := newHouse(t, nil)
	partial := h.send(t, request(
		gauge("m", number(time.Second, 1, str("body", strings.Repeat("x", 1<<20))), number(time.Second, 2)),
	))
	if partial.GetRejectedDataPoints() != 1 || !strings.Contains(partial.GetErrorMessage(), "a label has 1048576 bytes") || len(partial.GetErrorMessage()) > 1000 {
		t.Errorf("%v", partial)
	}
	if diff := cmp.Diff(map[string][]float64{"shop/m": {2}}, h.sink.got()); diff != "" {
		t.Error(diff)
	}
}

// What a resource brings is written for every one of its points: one that brings
// too much is refused before that, and the next one is taken.
func TestHugeResource(t *testing.T) {
	const s = time.Second
	many := make([]*common.KeyValue, 200)
	for i := range many {
		many[i] = str(fmt.Sprint("a", i), "x")
	}
	for name, tt := range map[string]struct {
		attributes []*common.KeyValue
		metric     string
		want       string
	}{
		"bytes":      {[]*common.KeyValue{str("service.name", "shop"), str("a", strings.Repeat("x", 1<<20))}, "m", "3 labels of 1048608 bytes, the limit is 128 of 16384"},
		"attributes": {many, "m", "201 labels of"},
		"name":       {nil, strings.Repeat("m", 3000), "its name has 3000 bytes, the limit is 2048"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, nil)
			req := request(gauge(tt.metric, number(s, 1), number(2*s, 1)), histogram(tt.metric, delta, buckets(0, s, 1, 1, 1)))
			req.ResourceMetrics[0].Resource.Attributes = tt.attributes
			req.ResourceMetrics = append(req.ResourceMetrics, request(gauge("m", number(s, 7))).ResourceMetrics...)
			partial := h.send(t, req)
			if partial.GetRejectedDataPoints() != 3 || !strings.Contains(partial.GetErrorMessage(), tt.want) {
				t.Errorf("%v", partial)
			}
			if diff := cmp.Diff(map[string][]float64{"shop/m": {7}}, h.sink.got()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Reasons hold names that the sender chose: there are not more of them than a
// person reads.
func TestMessageIsShort(t *testing.T) {
	h := newHouse(t, nil)
	var list []*metrics.Metric
	for i := range 1000 {
		list = append(list, gauge(fmt.Sprintf("%d-%s", i, strings.Repeat("é", 200)), &metrics.NumberDataPoint{TimeUnixNano: nano(0)}))
	}
	partial := h.send(t, request(list...))
	if partial.GetRejectedDataPoints() != 1000 || len(partial.GetErrorMessage()) > 5000 || !strings.Contains(partial.GetErrorMessage(), "and other metrics") {
		t.Errorf("%d refused, %d bytes", partial.GetRejectedDataPoints(), len(partial.GetErrorMessage()))
	}
}
