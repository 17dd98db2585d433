package telemetry_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grace"
	"grace/internal/telemetry"
)

var start = time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC)

// recorder is a sink that remembers.
type recorder struct {
	series []telemetry.Series
	values map[string][]telemetry.Point // by service/metric{labels}
	closed []string
}

func name(s telemetry.Series) string { return string(s.Service) + "/" + s.Metric + s.Labels }

func (r *recorder) Open(s telemetry.Series) uint32 {
	r.series = append(r.series, s)
	return uint32(len(r.series) - 1)
}

func (r *recorder) Append(h uint32, at int64, v float64) {
	n := name(r.series[h])
	r.values[n] = append(r.values[n], telemetry.Point{At: at, Value: v})
}

func (r *recorder) Close(h uint32) { r.closed = append(r.closed, name(r.series[h])) }

// bench is an intake with one shard that is recorded.
type bench struct {
	*telemetry.Intake
	*recorder
	t   *testing.T
	now time.Time
	out []grace.Sample
	err error
	opt telemetry.Options
}

func newBench(t *testing.T, change func(*telemetry.Config, *telemetry.Options)) *bench {
	b := &bench{t: t, now: start, recorder: &recorder{values: map[string][]telemetry.Point{}}}
	cfg := telemetry.DefaultConfig()
	cfg.MaxAhead = grace.Duration(10 * time.Minute) // most tests do not move the clock
	b.opt = telemetry.Options{
		Sinks: []telemetry.Sink{b.recorder}, Now: func() time.Time { return b.now },
		Known:   func(s grace.ServiceID) bool { return s == "cart" },
		Forward: func(s []grace.Sample) error { b.out = append(b.out, s...); return b.err },
	}
	if change != nil {
		change(&cfg, &b.opt)
	}
	in, err := telemetry.New(cfg, b.opt)
	if err != nil {
		t.Fatal(err)
	}
	b.Intake = in
	return b
}

// key makes a key of "name{a=b,c=d}".
func key(text string) []byte {
	metric, rest, _ := strings.Cut(text, "{")
	k := telemetry.AppendLabel(nil, telemetry.MetricLabel, metric)
	for l := range strings.SplitSeq(strings.TrimSuffix(rest, "}"), ",") {
		n, v, _ := strings.Cut(l, "=")
		k = telemetry.AppendLabel(k, n, v)
	}
	return k
}

// at is a point some seconds after the start.
func at(seconds, value float64) telemetry.Point {
	return telemetry.Point{At: start.UnixMilli() + int64(seconds*1000), Value: value}
}

func (b *bench) send(series string, meta telemetry.Meta, points ...telemetry.Point) telemetry.Report {
	batch := b.Begin(telemetry.From{Sensor: "test", Source: "peer"})
	batch.Points(key(series), meta, points...)
	return batch.End()
}

// text writes points as "seconds:value".
func text(points []telemetry.Point) string {
	var out []string
	for _, p := range points {
		out = append(out, fmt.Sprintf("%g:%.4g", float64(p.At-start.UnixMilli())/1000, p.Value))
	}
	return strings.Join(out, " ")
}

func reasons(r telemetry.Report) string {
	var out []string
	for reason := telemetry.Taken; reason <= telemetry.Full; reason++ {
		if n := r.Count(reason); n > 0 {
			out = append(out, fmt.Sprintf("%v=%d", reason, n))
		}
	}
	return strings.Join(out, " ")
}

func TestHygiene(t *testing.T) {
	stale := math.Float64frombits(0x7ff0000000000002)
	const gauge, counter = "jobs_pending{job=cart}", "http_requests_total{job=cart}"
	for _, tt := range []struct {
		name, series string
		meta         telemetry.Meta
		points       []telemetry.Point
		want, counts string
	}{
		{name: "a gauge", series: gauge, points: []telemetry.Point{at(0, 1), at(15, 2)}, want: "0:1 15:2", counts: "taken=2"},
		{name: "doubled", series: gauge, points: []telemetry.Point{at(0, 1), at(0, 1), at(15, 2)}, want: "0:1 15:2", counts: "taken=2 duplicate=1"},
		{name: "out of order and late", series: gauge, points: []telemetry.Point{at(90, 1), at(60, 2), at(10, 3), at(91, 4)}, want: "90:1 91:4", counts: "taken=2 out_of_order=1 late=1"},
		{name: "no numbers", series: gauge, points: []telemetry.Point{at(0, math.NaN()), at(1, math.Inf(1)), at(2, math.Inf(-1)), at(3, 4)}, want: "3:4", counts: "taken=1 not_a_number=3"},
		{name: "clock a year ahead", series: gauge, points: []telemetry.Point{at(365*86400, 1), at(1, 2)}, want: "1:2", counts: "taken=1 too_far_ahead=1"},
		{name: "clock a year behind", series: gauge, points: []telemetry.Point{at(-365*86400, 1), at(1, 2)}, want: "1:2", counts: "taken=1 too_old=1"},
		{name: "huge and negative", series: gauge, points: []telemetry.Point{at(0, 1e100), at(1, -1e100), at(2, 0)}, want: "0:1e+100 1:-1e+100 2:0", counts: "taken=3"},
		{name: "beyond what can be calculated with", series: gauge, points: []telemetry.Point{at(0, math.MaxFloat64), at(1, -math.MaxFloat64), at(2, 0)}, want: "2:0", counts: "taken=1 not_a_number=2"},
		{name: "a counter whose rate would overflow", series: counter, points: []telemetry.Point{at(0, 0), at(0.001, 1.7e308), at(1, 5)}, want: "1:5", counts: "taken=2 not_a_number=1"},
		{name: "a counter", series: counter, points: []telemetry.Point{at(0, 100), at(10, 150), at(20, 150)}, want: "10:5 20:0", counts: "taken=3"},
		{name: "a counter that began anew", series: counter, points: []telemetry.Point{at(0, 100), at(10, 150), at(20, 30)}, want: "10:5 20:3", counts: "taken=3 counter_reset=1"},
		{name: "a counter that ended and came back", series: counter, points: []telemetry.Point{at(0, 100), at(10, 150), at(15, stale), at(100, 7), at(110, 17)}, want: "10:5 110:1", counts: "taken=4 stale_marker=1"},
		{name: "a counter that began just now", series: counter, meta: telemetry.Meta{Kind: telemetry.KindCounter, Start: at(-10, 0).At}, points: []telemetry.Point{at(0, 100), at(10, 150)}, want: "0:10 10:5", counts: "taken=2"},
		{name: "deltas", series: counter, meta: telemetry.Meta{Kind: telemetry.KindDelta}, points: []telemetry.Point{at(0, 100), at(10, 50), at(15, 50)}, want: "10:5 15:10", counts: "taken=3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, nil)
			r := b.send(tt.series, tt.meta, tt.points...)
			if got := reasons(r); got != tt.counts {
				t.Errorf("counts %q, want %q", got, tt.counts)
			}
			for _, points := range b.values {
				if got := text(points); got != tt.want {
					t.Errorf("came out %q, want %q", got, tt.want)
				}
			}
			if len(b.values) != 1 {
				t.Errorf("%d series", len(b.values))
			}
		})
	}
}

func TestForward(t *testing.T) {
	b := newBench(t, func(_ *telemetry.Config, o *telemetry.Options) {
		o.Wanted = func(_ grace.ServiceID, m string) bool { return m == "own_rate" || m == "odd" }
	})
	b.err = errors.New("the store is away")
	b.send("odd{job=cart}", telemetry.Meta{}, at(0, 1))
	b.err = nil
	b.out = nil
	b.send("odd{job=cart}", telemetry.Meta{}, at(15, 2))
	want := []grace.Sample{
		{Service: "cart", Sensor: "test", Metric: "odd", Kind: grace.SampleMetric, Value: 1, At: start},
		{Service: "cart", Sensor: "test", Metric: "odd", Kind: grace.SampleMetric, Value: 2, At: start.Add(15 * time.Second)},
	}
	if d := cmp.Diff(want, b.out); d != "" {
		t.Error(d)
	}
	b.out = nil
	for i := 0.0; i < 3; i++ {
		batch := b.Begin(telemetry.From{Sensor: "test", Source: "peer"})
		batch.Points(key("own_total{instance=a,job=cart}"), telemetry.Meta{}, at(10*i, 20*i))
		batch.Points(key("own_total{instance=b,job=cart}"), telemetry.Meta{}, at(10*i, 30*i))
		batch.End()
	}
	values := []float64{}
	for _, s := range b.out {
		values = append(values, s.Value)
	}
	if !slices.Equal(values, []float64{5, 5}) {
		t.Errorf("rates of both instances %v, want 2+3 twice", values)
	}
}
