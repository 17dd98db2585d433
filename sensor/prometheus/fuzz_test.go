package prometheus

import (
	"math"
	"testing"
	"time"

	"grace"
)

// FuzzExposition: whatever a target answers, twice, every sample is a number of
// the configured service, and the first says whether the answer could be read.
func FuzzExposition(f *testing.F) {
	const (
		plain     = "# TYPE m counter\nm{a=\"b\"} 3\nm{a=\"c\"} 4\n"
		histogram = "# TYPE h histogram\nh_bucket{le=\"0.1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 0.3\nh_count 2\n"
		summary   = "# TYPE s summary\ns{quantile=\"0.9\"} 7\ns_sum 9\ns_count 3\n"
	)
	f.Add(plain+histogram, plain+histogram)
	f.Add(histogram, "# TYPE h histogram\nh_bucket{le=\"NaN\"} 1\nh_count 1e308\n")
	f.Add("m 1e309\nm NaN\n", "m -Inf\n")
	f.Add(summary, "s{quantile=\"0.9\"} NaN\n# TYPE s gauge\n")
	f.Add("m{a=\"\xff\"} 1 9223372036854775807\n", "\x00")
	cfg := Config{Name: "n", Service: "svc", URL: "http://127.0.0.1/metrics"}
	labels := map[string]string{"a": "b"}
	for i, m := range []Metric{
		{Source: "m", As: AsValue},
		{Source: "m", Labels: labels, As: AsRate},
		{Source: "m", As: AsPerSecond},
		{Source: "m", Labels: labels, As: AsRatio, Over: &Series{Source: "m"}},
		{Source: "h", As: AsQuantile, Quantile: 0.99},
		{Source: "h_count", As: AsRate, Scale: 1000},
		{Source: "s_sum", As: AsValue},
		{Source: "s", As: AsQuantile, Quantile: 0.9},
	} {
		m.Name = string(rune('a' + i))
		cfg.Metrics = append(cfg.Metrics, m)
	}
	s, err := New(cfg)
	if err != nil {
		f.Fatal(err)
	}
	at := time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, first, second string) {
		before, err := s.parse([]byte(first), "text/plain", at)
		if err != nil {
			before = nil
		}
		now, err := s.parse([]byte(second), "text/plain", at.Add(15*time.Second))
		var fail *failure
		if err != nil {
			fail = &failure{err: err, code: grace.CodeElevatedErrors}
		}
		samples := s.samples(before, now, fail)
		if len(samples) == 0 || samples[0].Metric != upMetric || (samples[0].Value == 1) != (err == nil) {
			t.Fatalf("%+v, %v", samples, err)
		}
		for _, sample := range samples {
			if math.IsNaN(sample.Value) || math.IsInf(sample.Value, 0) || sample.Service != "svc" || sample.At.IsZero() || sample.Metric == "" {
				t.Errorf("not a sample: %+v", sample)
			}
			if sample.Kind != grace.SampleProbe && sample.Kind != grace.SampleMetric {
				t.Errorf("kind %q", sample.Kind)
			}
		}
	})
}
