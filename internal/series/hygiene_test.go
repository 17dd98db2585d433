package series

import (
	"math"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
)

const gauge, counter = "jobs_pending{job=cart}", "http_requests_total{job=cart}"

type hygiene struct {
	name, series string
	meta         Meta
	samples      []Sample
	want, counts string
}

func cases() []hygiene {
	inf, delta := math.Inf(1), Meta{Kind: KindDelta}
	return []hygiene{
		{name: "a gauge", series: gauge, samples: []Sample{at(0, 1), at(15, 2)}, want: "0:1 15:2", counts: "taken=2"},
		{name: "doubled", series: gauge, samples: []Sample{at(0, 1), at(0, 1), at(15, 2)}, want: "0:1 15:2", counts: "taken=2 duplicate=1"},
		{name: "out of order and late", series: gauge, samples: []Sample{at(90, 1), at(60, 2), at(10, 3), at(91, 4)}, want: "90:1 91:4", counts: "taken=2 out_of_order=1 late=1"},
		{name: "at the limit of what is late", series: gauge, samples: []Sample{at(90, 1), at(30, 2), at(29.999, 3)}, want: "90:1", counts: "taken=1 out_of_order=1 late=1"},
		{name: "no numbers", series: gauge, samples: []Sample{at(0, math.NaN()), at(1, inf), at(2, -inf), at(3, 4)}, want: "3:4", counts: "taken=1 not_a_number=3"},
		{name: "clock a year ahead", series: gauge, samples: []Sample{at(365*86400, 1), at(1, 2)}, want: "1:2", counts: "taken=1 too_far_ahead=1"},
		{name: "as far ahead as may be", series: gauge, samples: []Sample{at(600, 1), at(600.001, 2)}, want: "600:1", counts: "taken=1 too_far_ahead=1"},
		{name: "clock a year behind", series: gauge, samples: []Sample{at(-365*86400, 1), at(1, 2)}, want: "1:2", counts: "taken=1 too_old=1"},
		{name: "as old as may be", series: gauge, samples: []Sample{at(-10800.001, 1), at(-10800, 2)}, want: "-10800:2", counts: "taken=1 too_old=1"},
		{name: "huge and negative", series: gauge, samples: []Sample{at(0, 1e100), at(1, -1e100), at(2, 0)}, want: "0:1e+100 1:-1e+100 2:0", counts: "taken=3"},
		{name: "beyond what can be calculated with", series: gauge, samples: []Sample{at(0, math.MaxFloat64), at(1, -math.MaxFloat64), at(2, 0)}, want: "2:0", counts: "taken=1 not_a_number=2"},
		{name: "a counter whose rate would overflow", series: counter, samples: []Sample{at(0, 0), at(0.001, 1.7e308), at(1, 5)}, want: "1:5", counts: "taken=2 not_a_number=1"},
		{name: "a counter", series: counter, samples: []Sample{at(0, 100), at(10, 150), at(20, 150)}, want: "10:5 20:0", counts: "taken=3"},
		{name: "a counter that was nothing at first", series: counter, samples: []Sample{at(0, math.NaN()), at(10, 150), at(20, 160)}, want: "20:1", counts: "taken=2 not_a_number=1"},
		{name: "a counter that is nothing in between", series: counter, samples: []Sample{at(0, 100), at(10, math.NaN()), at(20, 150)}, want: "20:2.5", counts: "taken=2 not_a_number=1"},
		{name: "a counter that began anew", series: counter, samples: []Sample{at(0, 100), at(10, 150), at(20, 30)}, want: "10:5 20:3", counts: "taken=3 counter_reset=1"},
		{name: "a counter that ended and came back", series: counter, samples: []Sample{at(0, 100), at(10, 150), at(15, stale), at(100, 7), at(110, 17)}, want: "10:5 110:1", counts: "taken=4 stale_marker=1"},
		{name: "a counter that began just now", series: counter, meta: Meta{Kind: KindCounter, Start: at(-10, 0).At}, samples: []Sample{at(0, 100), at(10, 150)}, want: "0:10 10:5", counts: "taken=2"},
		{name: "a counter that begins where it is measured", series: counter, meta: Meta{Kind: KindCounter, Start: at(0, 0).At}, samples: []Sample{at(0, 100), at(10, 150)}, want: "10:5", counts: "taken=2"},
		{name: "deltas", series: counter, meta: delta, samples: []Sample{at(0, 100), at(10, 50), at(15, 50)}, want: "10:5 15:10", counts: "taken=3"},
		{name: "deltas with a start", series: counter, meta: Meta{Kind: KindDelta, Start: at(-10, 0).At}, samples: []Sample{at(0, 100), at(10, 50)}, want: "0:10 10:5", counts: "taken=2"},
		{name: "deltas that end", series: counter, meta: delta, samples: []Sample{at(0, 100), at(10, 50), at(11, stale), at(100, 7), at(110, 20)}, want: "10:5 110:2", counts: "taken=4 stale_marker=1"},
		{name: "a delta that is no number", series: counter, meta: delta, samples: []Sample{at(0, 100), at(10, math.NaN()), at(20, 50), at(30, inf), at(40, 40)}, want: "20:2.5 40:2", counts: "taken=3 not_a_number=2"},
		{name: "a delta twice", series: counter, meta: delta, samples: []Sample{at(0, 100), at(10, 50), at(10, 50), at(20, 20)}, want: "10:5 20:2", counts: "taken=3 duplicate=1"},
	}
}

// What is forecast of samples as senders have them.
func TestHygiene(t *testing.T) {
	for _, tt := range cases() {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, nil)
			report := r.send(tt.series, tt.meta, tt.samples...)
			if got := reasonsOf(&report); got != tt.counts {
				t.Errorf("counts %q, want %q", got, tt.counts)
			}
			for _, points := range r.values {
				if got := text(points); got != tt.want {
					t.Errorf("came out %q, want %q", got, tt.want)
				}
			}
			if len(r.values) != 1 {
				t.Errorf("%d series", len(r.values))
			}
		})
	}
}

// That an expression looks at a series changes nothing of its forecast: but it keeps
// what is no number as well.
func TestHygieneOfKept(t *testing.T) {
	for _, tt := range cases() {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, nil)
			r.watch(`{job="cart"} > 1`)
			r.send(tt.series, tt.meta, tt.samples...)
			for _, points := range r.values {
				if got := text(points); got != tt.want {
					t.Errorf("came out %q, want %q", got, tt.want)
				}
			}
			if len(r.values) != 1 {
				t.Errorf("%d series", len(r.values))
			}
		})
	}
}

// A rule may say that numbers are what was added.
func TestDeltaByRule(t *testing.T) {
	r := newRig(t, func(c *Config, _ *Options) {
		c.Rules = []Rule{{Metric: "added", Kind: KindDelta, Role: "traffic"}}
	})
	r.watch(`increase(added[1m]) > 5`)
	r.send("added{job=cart}", Meta{}, at(0, 100), at(10, 50), at(20, 30), at(30, 30))
	if got := text(r.values[name(r.series[0])]); got != "10:5 20:3 30:3" {
		t.Errorf("came out %q", got)
	}
	got := evaluate(t, r.DB, compiled(t, `max_over_time(added[1m]) > 5`), after(30))
	if len(got.Elements) != 1 || got.Elements[0].Value != 210 {
		t.Errorf("kept %+v, want what was added, added up", got.Elements)
	}
}

func whole(seconds float64, counts ...int64) Sample {
	h := &histogram.Histogram{Schema: 0, PositiveSpans: []histogram.Span{{Offset: 0, Length: uint32(len(counts))}}}
	last := int64(0)
	for _, c := range counts {
		h.PositiveBuckets, last = append(h.PositiveBuckets, c-last), c
		h.Count += uint64(c)
		h.Sum += float64(c)
	}
	return Sample{At: at(seconds, 0).At, Histogram: h}
}

// wholeOf is a histogram with some observations.
func wholeOf(n float64) *histogram.Histogram { return whole(0, int64(n), 1).Histogram }

// Deltas of histograms are added up, in whole and in decimal counts.
func TestDeltaHistograms(t *testing.T) {
	for _, decimal := range []bool{false, true} {
		r := newRig(t, nil)
		e := r.watch(`histogram_count(x) > 5`)[0]
		sum := 0.0
		for i := range 5 {
			s := whole(float64(i), int64(i+1), 2)
			if decimal {
				s.Float, s.Histogram = s.Histogram.ToFloat(nil), nil
			}
			sum += float64(i + 3)
			if report := r.send("x{job=cart}", Meta{Kind: KindDelta}, s); report.Count(Taken) != 1 {
				t.Fatal(reasonsOf(&report))
			}
			got := evaluate(t, r.DB, e, after(float64(i)))
			if len(got.Elements) != 1 || got.Elements[0].Value != sum {
				t.Errorf("decimal %v: kept %+v, want a count of %v", decimal, got.Elements, sum)
			}
		}
	}
}

// A histogram that does not fit together is refused, and counted as one.
func TestBadHistogram(t *testing.T) {
	r := newRig(t, nil)
	r.watch(`histogram_count(x) > 5`)
	bad := whole(1, 1, 2)
	bad.Histogram.Count = 77
	decimal := whole(2, 1, 2)
	decimal.Float, decimal.Histogram = decimal.Histogram.ToFloat(nil), nil
	decimal.Float.PositiveBuckets = decimal.Float.PositiveBuckets[:1]
	report := r.send("x{job=cart}", Meta{}, whole(0, 1, 2), bad, decimal, whole(3, 2, 2))
	if got := reasonsOf(&report); got != "taken=2 bad_histogram=2" || report.RefusedHistograms() != 2 || report.Refused() != 2 {
		t.Errorf("%s, %d histograms", got, report.RefusedHistograms())
	}
	if got := evaluate(t, r.DB, compiled(t, `histogram_count(x) > 5`), after(3)); len(got.Elements) != 1 || got.Elements[0].Value != 4 {
		t.Errorf("kept %+v, want the last one", got.Elements)
	}
}
