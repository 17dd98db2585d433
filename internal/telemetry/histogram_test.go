package telemetry_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"grace/internal/telemetry"
)

// buckets sends cumulative counts for le 0.1, 1 and +Inf at a time.
func buckets(b *bench, series string, seconds float64, counts ...float64) telemetry.Report {
	batch := b.Begin(telemetry.From{Sensor: "test", Source: "peer"})
	for i, le := range []string{"0.1", "1", "+Inf"} {
		batch.Points(key(fmt.Sprintf("%s,le=%s}", series, le)), telemetry.Meta{}, at(seconds, counts[i]))
	}
	return batch.End()
}

const classic = "http_request_duration_seconds_bucket{job=cart"

func values(b *bench, metric string) string {
	for n, points := range b.values {
		if strings.HasPrefix(n, "cart/"+metric+"{") {
			return text(points)
		}
	}
	return ""
}

func TestBuckets(t *testing.T) {
	b := newBench(t, nil)
	buckets(b, classic, 0, 5, 5, 5)   // there may be more buckets
	buckets(b, classic, 15, 5, 5, 5)  // the base
	buckets(b, classic, 30, 15, 5, 5) // not rising, as a restart between two buckets makes it
	buckets(b, classic, 45, 25, 25, 25)
	if got := values(b, "http_request_duration_seconds_p50"); got != "30:0.05 45:0.05" {
		t.Errorf("p50 %s", got)
	}
	// Slow ones only, and the half-life makes them the most of all within
	// minutes.
	for i := 0.0; i < 20; i++ {
		buckets(b, classic, 60+15*i, 25, 25+10*(i+1), 25+10*(i+1))
	}
	points := values(b, "http_request_duration_seconds_p50")
	if last := points[strings.LastIndexByte(points, ' ')+1:]; !strings.HasPrefix(last, "345:0.5") {
		t.Errorf("p50 ends with %s", last)
	}
	if got := values(b, "http_request_duration_seconds_rate"); got != "" {
		t.Errorf("a rate that _count gives: %s", got)
	}
	// Began anew: what is counted since is what there was.
	r := buckets(b, classic, 360, 1, 1, 1)
	if r.Count(telemetry.Reset) != 1 {
		t.Error(reasons(r))
	}
}

// Buckets of one scrape come in several requests, in disorder, and some never.
func TestScatteredBuckets(t *testing.T) {
	b := newBench(t, nil)
	one := func(le string, seconds, v float64) telemetry.Report {
		return b.send(classic+",le="+le+"}", telemetry.Meta{}, at(seconds, v))
	}
	for i, le := range []string{"0.1", "1", "+Inf"} {
		one(le, 0, float64(i))
		one(le, 15, float64(i))
	}
	one("0.1", 30, 10)
	one("0.1", 45, 20)
	one("1", 30, 11)
	one("+Inf", 30, 12)
	one("+Inf", 45, 22)
	one("1", 45, 21)
	if got := values(b, "http_request_duration_seconds_p50"); !strings.HasSuffix(got, "45:0.05") {
		t.Errorf("p50 %s", got)
	}
	// One bucket is lost for good; the others go on without it.
	incomplete := 0
	for i := 0.0; i < 36; i++ {
		r := one("0.1", 60+15*i, 30+i)
		incomplete += r.Count(telemetry.Incomplete)
		one("+Inf", 60+15*i, 32+2*i)
	}
	if incomplete == 0 || !strings.Contains(values(b, "http_request_duration_seconds_p50"), " 585:") {
		t.Errorf("%d times given up; p50 %s", incomplete, values(b, "http_request_duration_seconds_p50"))
	}
}

func TestHistogram(t *testing.T) {
	bounds := []float64{0.1, 1}
	for _, tt := range []struct {
		name  string
		delta bool
		start int64
		rate  string
	}{
		{"cumulative", false, 0, "10:3 20:3"},
		{"cumulative with a start", false, at(-10, 0).At, "0:3 10:3 20:3"},
		{"delta", true, 0, "10:6 20:9"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, nil)
			batch := b.Begin(telemetry.From{Sensor: "test"})
			for i := 0.0; i < 3; i++ {
				batch.Histogram(key("http.server.request.duration{job=cart}"), telemetry.Meta{Unit: "s"}, telemetry.Histogram{
					At: at(10*i, 0).At, Start: tt.start, Delta: tt.delta, Bounds: bounds, Counts: []float64{0, 30 * (i + 1), 0},
				})
			}
			bad := telemetry.Histogram{At: at(40, 0).At, Bounds: []float64{2, 1}, Counts: []float64{1, 2, 3}}
			batch.Histogram(key("http.server.request.duration{job=cart}"), telemetry.Meta{Unit: "s"}, bad)
			r := batch.End()
			if r.Count(telemetry.BadHistogram) != 1 || r.RefusedHistograms() != 1 || r.Count(telemetry.Taken) != 3 {
				t.Error(reasons(r))
			}
			if got := values(b, "http_server_request_duration_rate"); got != tt.rate {
				t.Errorf("rate %s, want %s", got, tt.rate)
			}
			if got := values(b, "http_server_request_duration_p50"); !strings.HasSuffix(got, "20:0.55") {
				t.Errorf("p50 %s", got)
			}
		})
	}
}

// Exponential buckets keep their count when they are merged, and put a quantile
// within a bucket of where it is.
func TestExponential(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		schema := rapid.Int32Range(-4, 8).Draw(t, "schema")
		index := rapid.Int32Range(-300, 300).Draw(t, "index")
		counts := rapid.SliceOfN(rapid.Float64Range(0, 1000), 1, 50).Draw(t, "counts")
		zero := rapid.Float64Range(0, 10).Draw(t, "zero")
		var x telemetry.Exponential
		want := zero
		for range 2 {
			x.Begin(schema, zero, 0)
			want = zero
			for i, c := range counts {
				x.Add(index+int32(i), c)
				want += c
			}
		}
		bounds, got := x.Buckets()
		sum := 0.0
		for _, c := range got {
			sum += c
		}
		if len(got) != len(bounds)+1 || math.Abs(sum-want) > 1e-6 {
			t.Fatalf("%d bounds, %d counts, %v observations of %v", len(bounds), len(got), sum, want)
		}
		for i := 1; i < len(bounds); i++ {
			if !(bounds[i] > bounds[i-1]) {
				t.Fatalf("bounds do not rise: %v", bounds)
			}
		}
	})
}

// Whatever is fed, no quantile is outside of the buckets, and no rate negative.
func TestNeverNonsense(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		b := newBench(t, nil)
		batch := b.Begin(telemetry.From{})
		at := start.UnixMilli()
		for range rapid.IntRange(1, 20).Draw(r, "points") {
			at += rapid.Int64Range(-1000, 60_000).Draw(r, "step")
			n := rapid.IntRange(0, 4).Draw(r, "bounds")
			p := telemetry.Histogram{At: at, Delta: rapid.Bool().Draw(r, "delta")}
			for i := range n {
				p.Bounds = append(p.Bounds, float64(i*i)+0.5)
			}
			for range n + 1 {
				p.Counts = append(p.Counts, rapid.Float64Range(0, 1e12).Draw(r, "count"))
			}
			batch.Histogram(key("x_duration{job=cart}"), telemetry.Meta{}, p)
		}
		batch.End()
		for n, points := range b.values {
			for _, p := range points {
				if !(p.Value >= 0) || math.IsInf(p.Value, 0) || !strings.Contains(n, "_rate") && p.Value > 9.5 {
					r.Fatalf("%s: %v", n, p.Value)
				}
			}
		}
	})
}

// A history comes series by series, an hour at a time.
func TestBucketHistory(t *testing.T) {
	b := newBench(t, nil)
	for page := 0.0; page < 3; page++ {
		for i, le := range []string{"+Inf", "0.1", "1"} {
			batch := b.Begin(telemetry.From{Source: "peer", History: true})
			var points []telemetry.Point
			for k := 0.0; k < 60; k++ {
				minute := page*60 + k
				points = append(points, at(60*(minute-200), 10*minute*float64(1+i%2)))
			}
			batch.Points(key(classic+",le="+le+"}"), telemetry.Meta{}, points...)
			batch.End()
		}
	}
	got := values(b, "http_request_duration_seconds_p50")
	if n := strings.Count(got, ":"); n != 119 { // the first page finds out which buckets there are
		t.Errorf("%d quantiles of two pages: %s", n, got)
	}
}
