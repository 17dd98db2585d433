package loop

import (
	"fmt"
	"testing"
	"time"

	"grace"
	"grace/internal/stage/sense"
)

// TestShownIsNewest: where a person looks stands what was seen last, though nothing
// was published since the last change; what is published and stored stays as it is.
func TestShownIsNewest(t *testing.T) {
	l := steppedLoop(t, 2, func(cfg *Config) {
		cfg.Objectives = []sense.Objective{{
			Name: "many", Service: benchService(0), Expr: fmt.Sprintf(`conns{service=%q} > 100`, benchService(0)), Code: grace.CodeCapacity, Severity: grace.SeverityWarning,
		}}
	})
	now := time.Now().Truncate(time.Second)
	l.Now = func() time.Time { return now }
	look := func(conns float64) {
		t.Helper()
		now = now.Add(10 * time.Second)
		err := l.Observe(t.Context(),
			grace.Sample{Service: benchService(0), Sensor: "prom", Metric: "conns", Kind: grace.SampleMetric, Value: conns, At: now},
			grace.Sample{Service: benchService(1), Sensor: "http", Metric: "up", Kind: grace.SampleProbe, Message: "refused", At: now})
		if err != nil {
			t.Fatal(err)
		}
	}
	for range 4 {
		look(175)
	}
	published, since := l.Signals(), now
	last, err := l.Store.LastEventID(t.Context(), l.Store.Q())
	if err != nil {
		t.Fatal(err)
	}
	for range 21 {
		look(660)
	}
	worst := func(i int) grace.Signal { return l.Symptoms()[benchService(i)].Worst }
	if s := worst(0); s.Value != 660 || s.Message != "conns 660 > 100" || !s.At.Equal(now) || !s.Since.Before(since) {
		t.Errorf("shown: %+v", s)
	}
	if s := worst(1); s.Message != "up failed 25 times: refused" {
		t.Errorf("shown: %+v", s)
	}
	for _, h := range l.Health() {
		want := map[grace.ServiceID]string{benchService(0): "conns 660 > 100 (since ", benchService(1): "up failed 25 times: refused (since "}[h.Service]
		if len(h.TopSymptoms) != 1 || len(h.TopSymptoms[0]) < len(want) || h.TopSymptoms[0][:len(want)] != want {
			t.Errorf("%s: %q, want %q", h.Service, h.TopSymptoms, want)
		}
	}
	after, err := l.Store.LastEventID(t.Context(), l.Store.Q())
	if err != nil || after != last {
		t.Errorf("events %d to %d, %v", last, after, err)
	}
	if have := fmt.Sprint(l.Signals()); have != fmt.Sprint(published) {
		t.Errorf("published: %s, want %v", have, published)
	}
	stored, err := l.Store.Signals(t.Context(), l.Store.Q(), benchService(0))
	if err != nil || len(stored) != 1 || stored[0].Value != 175 {
		t.Fatalf("stored: %+v, %v", stored, err)
	}
	if newest := l.Latest(stored); newest[0].Value != 660 || stored[0].Value != 175 {
		t.Errorf("shown: %+v, stored %+v", newest, stored)
	}
}

// BenchmarkHealth is an assessment of 1,000 services, of which one in ten is sick, or
// all are, with five signals each whose samples have come since the last change.
func BenchmarkHealth(b *testing.B) {
	for _, sick := range []int{10, 1} {
		b.Run(fmt.Sprintf("one_in_%d", sick), func(b *testing.B) {
			const services, probes = 1000, 5
			l := steppedLoop(b, services, func(cfg *Config) { cfg.Sense.MaxSeries = 2 * services * probes })
			now := time.Now()
			l.Now = func() time.Time { return now }
			for range 4 {
				now = now.Add(time.Second)
				var samples []grace.Sample
				for i := range services * probes {
					s := grace.Sample{Service: benchService(i % services), Sensor: "http", Metric: fmt.Sprint("up", i%probes, i/services), Kind: grace.SampleProbe, Value: 1, At: now}
					if i%services%sick == 0 {
						s.Value, s.Message = 0, "connection refused"
					}
					samples = append(samples, s)
				}
				if err := l.Observe(b.Context(), samples...); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				l.assess(l.stages.Load(), now)
			}
		})
	}
}
