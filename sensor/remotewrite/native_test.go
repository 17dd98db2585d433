package remotewrite

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"grace/internal/series"
)

// watch has the expressions looked at, and gives what each says at a time: the value of
// its only element, NaN for none.
func (b *bench) watch(texts ...string) func(at time.Time) []float64 {
	b.t.Helper()
	var list []*series.Expr
	for _, text := range texts {
		e, err := series.Compile(text)
		if err != nil {
			b.t.Fatal(err)
		}
		list = append(list, e)
	}
	b.db.Watch(list)
	return func(at time.Time) (out []float64) {
		b.t.Helper()
		for _, e := range list {
			r, err := b.db.Evaluate(b.t.Context(), e, at)
			switch {
			case err != nil:
				b.t.Fatal(err)
			case len(r.Elements) == 0:
				out = append(out, math.NaN())
			case len(r.Elements) == 1:
				out = append(out, math.Round(r.Elements[0].Value*1e6)/1e6)
			default:
				b.t.Fatalf("%s gives %d elements", e, len(r.Elements))
			}
		}
		return out
	}
}

const waits = "http_request_duration_seconds"

func (b *bench) expect(got func(time.Time) []float64, after time.Duration, want ...float64) {
	b.t.Helper()
	// To the sixth digit, as they are rounded.
	if got := fmt.Sprint(got(start.Add(after))); got != fmt.Sprint(want) {
		b.t.Errorf("after %s: %s, want %v", after, got, want)
	}
}

func TestNativeHistograms(t *testing.T) {
	list := []sent{{labels: waits + "{job=cart}", natives: []message{
		nativeHistogram(at(0, 0).At, 3, -8, 1, 1, 1, 1),
		nativeHistogram(at(10, 0).At, 3, -8, 11, 11, 11, 11),
		nativeHistogram(at(20, 0).At, 99, 0, 1),
	}}}
	for kind, body := range map[string][]byte{typeV1: encode1(list...), typeV2: encode2(list...)} {
		b := newBench(t, nil)
		got := b.watch("histogram_quantile(0.5, rate("+waits+"[1m]))", "histogram_quantile(0.99, sum(rate("+waits+"[1m])))", "histogram_count("+waits+")")
		w := b.send(kind, body)
		check(t, w, http.StatusBadRequest, "1 of 3 native histograms refused", "schema 99")
		if kind == typeV2 {
			written(t, w, 0, 2)
		}
		// 40 observations, 10 in each of four buckets of an eighth of a doubling, the last
		// from 2^(-6/8) to 2^(-5/8).
		b.expect(got, 10*time.Second, round(math.Exp2(-7./8)), round(math.Exp2(-(6-0.96)/8)), 44)
	}
}

func round(v float64) float64 { return math.Round(v*1e6) / 1e6 }

// Buckets with bounds of their own; lists in several parts are one.
func TestCustomBuckets(t *testing.T) {
	custom := func(after float64, each int64) message {
		return message{}.varint(1, uint64(3*each)).varint(4, zig(-53)).bytes(11, message{}.varint(1, 0).varint(2, 3)).
			bytes(12, []byte{byte(zig(each))}).bytes(12, []byte{0}).varint(12, 0).
			double(16, 0.1).double(16, 0.2).varint(15, uint64(at(after, 0).At))
	}
	b := newBench(t, nil)
	got := b.watch("histogram_quantile(0.5, rate(rpc_duration_seconds[1m]))", "histogram_count(rpc_duration_seconds)")
	check(t, b.send(typeV1, encode1(sent{labels: "rpc_duration_seconds{job=cart}", natives: []message{custom(0, 2), custom(10, 12)}}, good())), http.StatusNoContent)
	b.expect(got, 10*time.Second, 0.15, 36)
	if !strings.Contains(b.text(), goodText) {
		t.Errorf("came out %s", b.text())
	}
}

// What begins anew is seen by its counts, whatever the sender says: what a chunk keeps of
// a hint is no more than that.
func TestNativeResets(t *testing.T) {
	hinted := func(m message, hint uint64) message { return m.varint(14, hint) }
	for name, tt := range map[string]struct {
		natives []message
		resets  float64
		total   float64
	}{
		"falls":             {[]message{nativeHistogram(at(0, 0).At, 3, 0, 9), nativeHistogram(at(10, 0).At, 3, 0, 4)}, 1, 4},
		"rises":             {[]message{nativeHistogram(at(0, 0).At, 3, 0, 3), nativeHistogram(at(10, 0).At, 3, 0, 4)}, 0, 4},
		"falls, denied":     {[]message{nativeHistogram(at(0, 0).At, 3, 0, 9), hinted(nativeHistogram(at(10, 0).At, 3, 0, 4), 2)}, 1, 4},
		"no hint there is":  {[]message{hinted(nativeHistogram(at(0, 0).At, 3, 0, 3), 300), hinted(nativeHistogram(at(10, 0).At, 3, 0, 4), 1<<40)}, 0, 4},
		"ended":             {[]message{nativeHistogram(at(0, 0).At, 3, 0, 3), stale(10)}, 0, math.NaN()},
		"ended, and begins": {[]message{nativeHistogram(at(0, 0).At, 3, 0, 9), stale(5), nativeHistogram(at(10, 0).At, 3, 0, 4)}, 1, 4},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			got := b.watch("resets("+waits+"[1m])", "histogram_count("+waits+")")
			check(t, b.send(typeV1, encode1(sent{labels: waits + "{job=cart}", natives: tt.natives})), http.StatusNoContent)
			b.expect(got, 10*time.Second, tt.resets, tt.total)
		})
	}
}

// stale is what ends a series, and says nonsense besides.
func stale(after float64) message {
	return message{}.double(3, math.Float64frombits(value.StaleNaN)).bytes(11, message{}.varint(1, 1).varint(2, 1<<30)).varint(15, uint64(at(after, 0).At))
}

// handed is a sink that keeps what it gets.
type handed struct {
	samples []series.Sample
	metas   []series.Meta
}

func (h *handed) Append(_ []byte, meta series.Meta, samples ...series.Sample) bool {
	h.samples, h.metas = append(h.samples, samples...), append(h.metas, meta)
	return true
}

// What Prometheus' own encoding writes comes out as it went in, of both versions.
func TestNativeFields(t *testing.T) {
	spans := []histogram.Span{{Offset: -3, Length: 2}, {Offset: 4, Length: 1}}
	integers := []*histogram.Histogram{
		{
			CounterResetHint: histogram.CounterReset, Schema: 8, ZeroThreshold: 1e-9, ZeroCount: 4, Count: 20, Sum: -3.5,
			PositiveSpans: spans, PositiveBuckets: []int64{1, 2, -1}, NegativeSpans: spans, NegativeBuckets: []int64{5, -4, 2},
		},
		{CounterResetHint: histogram.GaugeType, Schema: -4, Count: 6, PositiveSpans: spans, PositiveBuckets: []int64{1, 2, -1}, NegativeSpans: []histogram.Span{}},
		{Schema: -53, Count: 5, Sum: 1, PositiveSpans: []histogram.Span{{Offset: 1, Length: 2}}, PositiveBuckets: []int64{2, 1}, NegativeSpans: []histogram.Span{}, CustomValues: []float64{-1, 2.5, 7}},
	}
	var v1, v2 []message
	var want []series.Sample
	add := func(one, two interface{ Marshal() ([]byte, error) }) {
		t.Helper()
		for list, m := range map[*[]message]interface{ Marshal() ([]byte, error) }{&v1: one, &v2: two} {
			data, err := m.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			*list = append(*list, data)
		}
	}
	for i, h := range integers {
		ms := start.UnixMilli() + int64(i)
		one, two := prompb.FromIntHistogram(ms, h), writev2.FromIntHistogram(7, ms, h)
		add(&one, &two)
		want = append(want, series.Sample{At: ms, Histogram: h})
		f := h.ToFloat(nil)
		ms += 100
		if f.NegativeSpans == nil {
			f.NegativeSpans = []histogram.Span{}
		}
		f.Count += .5
		oneF, twoF := prompb.FromFloatHistogram(ms, f), writev2.FromFloatHistogram(7, ms, f)
		add(&oneF, &twoF)
		want = append(want, series.Sample{At: ms, Float: f})
	}
	for began, decode := range map[int64]func(*decoder) error{
		0: func(d *decoder) error {
			d.body = encode1(sent{labels: waits, natives: v1})
			return d.v1()
		},
		7: func(d *decoder) error {
			d.body = encode2(sent{labels: waits, natives: v2})
			return d.v2()
		},
	} {
		var d decoder
		out := &handed{}
		d.reset(out, nil)
		if err := decode(&d); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, out.samples); diff != "" {
			t.Error(diff)
		}
		for _, m := range out.metas {
			if m.Start != began {
				t.Errorf("began at %d, want %d", m.Start, began)
			}
		}
	}
}

// A few bytes claim no memory, and what is no histogram costs only itself.
func TestNativeBombs(t *testing.T) {
	spans := func(n int) (m message) {
		for range n {
			m = m.bytes(11, nil)
		}
		return m.varint(15, uint64(at(0, 0).At))
	}
	for name, tt := range map[string]struct {
		native message
		text   string
	}{
		"buckets":        {nativeHistogram(at(0, 0).At, 3, 0, make([]int64, 5000)...), "5000 buckets, spans or bounds, the limit is 4096"},
		"spans":          {spans(5000), "5000 buckets, spans or bounds, the limit is 4096"},
		"bytes":          {spans(1 << 20), "bytes, the limit is 262144"},
		"a wide span":    {message{}.varint(1, 1).bytes(11, message{}.varint(2, 1<<31)).bytes(12, []byte{2}).varint(15, uint64(at(0, 0).At)), "bad_histogram"},
		"far":            {nativeHistogram(at(0, 0).At, 0, math.MaxInt32, 1, 1), "bad_histogram"},
		"counts too few": {nativeHistogram(at(0, 0).At, 0, 0, 1, 1).varint(1, 1), "bad_histogram"},
		"bounds that sink": {message{}.varint(1, 1).varint(4, zig(-53)).bytes(11, message{}.varint(1, 0).varint(2, 1)).bytes(12, []byte{2}).
			double(16, 2).double(16, 1).varint(15, uint64(at(0, 0).At)), "bad_histogram"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			got := b.watch("histogram_count(" + waits + ")")
			check(t, b.send(typeV1, encode1(sent{labels: waits + "{job=cart}", natives: []message{tt.native}}, good())), http.StatusBadRequest, tt.text)
			if b.text() != goodText {
				t.Errorf("of the good came out %s", b.text())
			}
			check(t, b.send(typeV1, encode1(sent{labels: waits + "{job=cart}", natives: []message{nativeHistogram(at(10, 0).At, 3, 0, 4)}})), http.StatusNoContent)
			b.expect(got, 10*time.Second, 4)
		})
	}
	b := newBench(t, nil)
	check(t, b.send(typeV1, encode1(sent{labels: waits + "{job=cart}", natives: []message{{0x0b}}})), http.StatusBadRequest, "no protobuf", "in a native histogram")
}
