package otlp_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	metrics "go.opentelemetry.io/proto/otlp/metrics/v1"
)

const (
	bucketsP99 = "histogram_quantile(0.99, sum by (le) (rate(wait_bucket[1m])))"
	bucketsP50 = "histogram_quantile(0.5, sum by (le) (rate(wait_bucket[1m])))"
	nativeP99  = "histogram_quantile(0.99, sum(rate(wait[1m])))"
	nativeP50  = "histogram_quantile(0.5, sum(rate(wait[1m])))"
	nativeAll  = "histogram_count(wait)"
	nativeSum  = "histogram_sum(wait)"
)

func ends[P interface {
	*metrics.HistogramDataPoint | *metrics.ExponentialHistogramDataPoint
}](p P) P {
	switch p := any(p).(type) {
	case *metrics.HistogramDataPoint:
		p.Flags = 1
	case *metrics.ExponentialHistogramDataPoint:
		p.Flags = 1
	}
	return p
}

// Histograms with bounds are what Prometheus has them as, those with growing buckets are
// native ones; deltas add up to the same.
func TestHistograms(t *testing.T) {
	const s = time.Second
	counted := func(p *metrics.ExponentialHistogramDataPoint, sum float64) *metrics.ExponentialHistogramDataPoint {
		for _, c := range p.GetPositive().GetBucketCounts() {
			p.Count += c
		}
		p.Sum = &sum
		return p
	}
	withSum := func(p *metrics.HistogramDataPoint, sum float64) *metrics.HistogramDataPoint {
		p.Sum = &sum
		return p
	}
	infinite := buckets(0, 10*s, 10, 0, 0)
	infinite.ExplicitBounds = []float64{1, math.Inf(1)}
	without := &metrics.HistogramDataPoint{StartTimeUnixNano: nano(0), TimeUnixNano: nano(10 * s), Count: 30}
	mirrored := counted(grown(0, 10*s, 0, 0, 1), 0)
	mirrored.Negative, mirrored.ZeroCount, mirrored.ZeroThreshold, mirrored.Count = mirrored.Positive, 8, .25, 10
	for name, tt := range map[string]struct {
		metric *metrics.Metric
		at     time.Duration
		want   map[string]float64
	}{
		"cumulative": {histogram("wait", cumulative, buckets(0, 10*s, 10, 0, 0), buckets(0, 20*s, 10, 100, 0)), 20 * s, map[string]float64{
			bucketsP50: .1 + .9*45/100, bucketsP99: .1 + .9*98.9/100, `wait_bucket{le="0.1"}`: 10, `wait_bucket{le="1"}`: 110, `wait_bucket{le="+Inf"}`: 110, "wait_count": 110, "wait_sum": math.NaN(),
		}},
		"reset": {histogram("wait", cumulative, buckets(0, 10*s, 10, 0, 0), buckets(15*s, 20*s, 0, 100, 0)), 20 * s, map[string]float64{
			bucketsP50: .1 + .9*45/100, bucketsP99: .1 + .9*98.9/100, `wait_bucket{le="0.1"}`: 0, `wait_bucket{le="1"}`: 100, "resets(wait_bucket{le='0.1'}[1m])": 1,
		}},
		"delta": {histogram("wait", delta, withSum(buckets(0, 10*s, 10, 0, 0), .5), withSum(buckets(10*s, 20*s, 0, 100, 5), 50)), 20 * s, map[string]float64{
			`wait_bucket{le="0.1"}`: 10, `wait_bucket{le="1"}`: 110, `wait_bucket{le="+Inf"}`: 115, "wait_count": 115, "wait_sum": 50.5,
			bucketsP50: .1 + .9*57.5/110, // rate goes back to where each was 0: 115 altogether, 110 of them up to 1 and none up to 0.1
		}},
		"no buckets":     {histogram("wait", delta, without), 10 * s, map[string]float64{`wait_bucket{le="+Inf"}`: 30, "wait_count": 30}},
		"up to +Inf":     {histogram("wait", cumulative, infinite), 10 * s, map[string]float64{`wait_bucket{le="1"}`: 10, `wait_bucket{le="+Inf"}`: 10, "count(wait_bucket)": 2}},
		"no value":       {histogram("wait", cumulative, buckets(0, 10*s, 1, 2, 3), ends(buckets(0, 20*s, 0, 0, 0))), 20 * s, map[string]float64{"wait_count": math.NaN(), "count(wait_bucket)": math.NaN()}},
		"no value, bare": {histogram("wait", cumulative, without, ends(&metrics.HistogramDataPoint{TimeUnixNano: nano(20 * s)})), 20 * s, map[string]float64{"wait_count": math.NaN(), "count(wait_bucket)": math.NaN()}},
		"native": {exponential("wait", cumulative, counted(grown(0, 10*s, 0, 1, 5, 5), 40)), 10 * s, map[string]float64{
			nativeAll: 10, nativeSum: 40, "histogram_quantile(0.5, wait)": 4, "histogram_quantile(0.99, wait)": 4 * math.Exp2(.98),
		}},
		"native, from its start": {exponential("wait", cumulative, counted(grown(0, 10*s, 0, 1, 5, 5), 40), counted(grown(0, 20*s, 0, 1, 5, 55), 400)), 20 * s, map[string]float64{
			nativeAll: 60, nativeP99: 4 * math.Exp2(54.4/55),
		}},
		"native, finer than is kept": {exponential("wait", cumulative, counted(grown(0, 10*s, 10, -1024, 1, 2, 3, 4, 0, 0, 0, 0, 5), 8)), 10 * s, map[string]float64{
			// Four at a time: 10 above 2^-1, then none, then 5, of a 256th of a doubling each.
			nativeAll: 15, "histogram_quantile(0.2, wait)": math.Exp2(-1 + .3/256), "histogram_quantile(0.8, wait)": math.Exp2(-1 + 2.4/256),
		}},
		"native, both signs": {exponential("wait", cumulative, mirrored), 10 * s, map[string]float64{
			nativeAll: 10, "histogram_quantile(0.5, wait)": 0, "histogram_quantile(1, wait)": 2, "histogram_quantile(0, wait)": -2, "histogram_fraction(-0.25, 0.25, wait)": .8,
		}},
		"native delta": {exponential("wait", delta, counted(grown(0, 10*s, 0, 1, 5, 5), 40), counted(grown(10*s, 20*s, 0, 3, 10), 120)), 20 * s, map[string]float64{
			nativeAll: 20, nativeSum: 160, "histogram_quantile(0.75, wait)": 8 * math.Exp2(.5), nativeP50: 8 * math.Exp2(.5),
		}},
		"native, falls":          {exponential("wait", cumulative, counted(grown(0, 10*s, 0, 1, 9), 9), counted(grown(0, 20*s, 0, 1, 4), 4)), 20 * s, map[string]float64{nativeAll: 4, "resets(wait[1m])": 1}},
		"native, no value":       {exponential("wait", cumulative, counted(grown(0, 10*s, 0, 1, 9), 9), ends(grown(0, 20*s, 99, 0))), 20 * s, map[string]float64{nativeAll: math.NaN()}},
		"native delta, no value": {exponential("wait", delta, counted(grown(0, 10*s, 0, 1, 9), 9), ends(grown(0, 20*s, 0, 0))), 20 * s, map[string]float64{nativeAll: math.NaN()}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, nil)
			var texts []string
			for text := range tt.want {
				texts = append(texts, text)
			}
			watched := h.watch(t, texts...)
			if partial := h.send(t, request(tt.metric)); partial != nil {
				t.Fatal(partial)
			}
			got := map[string]float64{}
			for i, e := range watched {
				got[texts[i]] = h.says(t, e, began.Add(tt.at))
			}
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateApprox(1e-9, 0), cmpopts.EquateNaNs()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Deltas of other buckets each time add up: what was slow a minute ago does not
// become fast because nothing slow came since.
func TestExponentialDeltasAddUp(t *testing.T) {
	h := newHouse(t, nil)
	e := h.watch(t, "histogram_quantile(0.99, wait)")[0]
	const s = time.Second
	// 90 observations of about 1, 10 of about 1000, then single ones in between.
	slow := make([]uint64, 11)
	slow[0], slow[10] = 90, 10
	for i, p := range []*metrics.ExponentialHistogramDataPoint{
		grown(0, 10*s, 0, -1, slow...),
		grown(10*s, 11*s, 0, 3, 1),
		grown(11*s, 12*s, 3, 8, 1, 0, 0, 0, 0, 0, 0, 0, 1),
		grown(12*s, 13*s, 0, -3, 1),
	} {
		for _, c := range p.Positive.BucketCounts {
			p.Count += c
		}
		if partial := h.send(t, request(exponential("wait", delta, p))); partial != nil {
			t.Fatal(partial)
		}
		if v := h.says(t, e, time.Unix(0, int64(p.TimeUnixNano))); !(v >= 512 && v <= 1024) {
			t.Errorf("point %d: p99 is %v", i, v)
		}
	}
}

// A histogram that is refused is one point, whatever series it has; so is one that says
// something else of its count than of its buckets.
func TestRefusedHistograms(t *testing.T) {
	const s = time.Second
	for name, tt := range map[string]struct {
		metric *metrics.Metric
		text   string
	}{
		"far ahead":      {histogram("wait", delta, buckets(0, 365*24*time.Hour, 1, 1, 1)), "is the sender's clock right?"},
		"bounds fall":    {histogram("wait", delta, &metrics.HistogramDataPoint{TimeUnixNano: nano(s), ExplicitBounds: []float64{2, 1}, BucketCounts: []uint64{1, 1, 1}}), "do not rise"},
		"many buckets":   {histogram("wait", delta, &metrics.HistogramDataPoint{TimeUnixNano: nano(s), ExplicitBounds: make([]float64, 600), BucketCounts: make([]uint64, 601)}), "601 buckets, the limit is 512"},
		"another count":  {exponential("wait", cumulative, grown(0, s, 0, 0, 1)), "bad_histogram"},
		"coarse":         {exponential("wait", cumulative, grown(0, s, -5, 0)), "its scale is -5"},
		"beyond numbers": {exponential("wait", cumulative, grown(0, s, -4, 64, 1)), "beyond all numbers"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, nil)
			h.watch(t, `{__name__=~"wait.*"}`)
			partial := h.send(t, request(tt.metric))
			if partial.GetRejectedDataPoints() != 1 || !strings.Contains(partial.GetErrorMessage(), tt.text) {
				t.Errorf("%v, want 1 with %q", partial, tt.text)
			}
		})
	}
}

// The rates of a histogram's series add up: of 300 and 100 a second it is 400.
func TestHistogramRatesAddUp(t *testing.T) {
	h := newHouse(t, nil)
	rates := h.watch(t, "sum(rate(wait_count[1m]))", "sum(rate(wait_bucket{le='+Inf'}[1m]))", "max(rate(wait_count[1m]))")
	const s = time.Second
	for i := range time.Duration(7) {
		var points []*metrics.HistogramDataPoint
		for route, rate := range map[string]uint64{"a": 300, "b": 100} {
			p := buckets(0, i*10*s, rate*10*uint64(i), 0, 0)
			p.Attributes = []*common.KeyValue{str("route", route)}
			points = append(points, p)
		}
		if partial := h.send(t, request(histogram("wait", cumulative, points...))); partial != nil {
			t.Fatal(partial)
		}
	}
	for i, want := range []float64{400, 400, 300} {
		if got := h.says(t, rates[i], began.Add(60*s)); !(math.Abs(got-want) <= 1) {
			t.Errorf("%s is %v, want %v", rates[i], got, want)
		}
	}
}
