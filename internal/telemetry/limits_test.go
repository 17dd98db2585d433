package telemetry_test

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"grace"
	"grace/internal/telemetry"
)

func TestLimits(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*telemetry.Limits)
		texts  []string
	}{
		{"of a source", func(l *telemetry.Limits) { l.SeriesPerSource = 10 }, []string{"5 of 15 samples refused (series_per_source)", `source "peer" has 10 series`, "the limit is 10", "telemetry.limits.series_per_source"}},
		{"of a service", func(l *telemetry.Limits) { l.SeriesPerService = 10 }, []string{"5 of 15 samples refused (series_per_service)", "the limit is 10", "telemetry.limits.series_per_service"}},
		{"altogether", func(l *telemetry.Limits) { l.Series = 10 }, []string{"5 of 15 samples refused (series)", "all of them in use", "telemetry.limits.series"}},
		{"of a request", func(l *telemetry.Limits) { l.SamplesPerRequest = 10 }, []string{"5 of 15 samples refused (samples_per_request)", "the limit is 10", "telemetry.limits.samples_per_request"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, func(c *telemetry.Config, _ *telemetry.Options) { tt.change(&c.Limits) })
			for round := 0.0; round < 2; round++ {
				batch := b.Begin(telemetry.From{Source: "peer"})
				for i := range 15 {
					batch.Points(key(fmt.Sprintf("jobs_pending{id=%02d,job=cart}", i)), telemetry.Meta{}, at(round, 1))
				}
				r := batch.End()
				if r.Count(telemetry.Taken) != 10 || r.Refused() != 5 {
					t.Errorf("round %v: %s", round, reasons(r))
				}
				for _, text := range tt.texts {
					if err := r.Err(); err == nil || !strings.Contains(err.Error(), text) {
						t.Errorf("round %v: %v does not say %q", round, err, text)
					}
				}
			}
			if len(b.values) != 10 {
				t.Errorf("%d series", len(b.values))
			}
		})
	}
}

// When all places are taken, a silent series goes before one that only does not
// change, and one that an objective wants never does.
func TestEviction(t *testing.T) {
	var told []telemetry.Eviction
	b := newBench(t, func(c *telemetry.Config, o *telemetry.Options) {
		c.Limits.Series = 4
		o.Wanted = func(_ grace.ServiceID, m string) bool { return m == "wanted" }
		o.Evicted = func(e telemetry.Eviction) { told = append(told, e) }
	})
	b.send("wanted{job=cart}", telemetry.Meta{}, at(0, 1))
	b.send("silent_pending{job=cart}", telemetry.Meta{}, at(0, 1))
	for hour := 0.0; hour < 5; hour++ {
		b.now = start.Add(time.Duration(hour) * time.Hour)
		b.send("constant_pending{job=cart}", telemetry.Meta{}, at(hour*3600, 7))
		b.send("living_pending{job=cart}", telemetry.Meta{}, at(hour*3600, hour))
	}
	if r := b.send("first_pending{job=cart}", telemetry.Meta{}, at(4*3600, 1)); r.Err() != nil {
		t.Error(r.Err())
	}
	b.now = b.now.Add(time.Second)
	if r := b.send("second_pending{job=cart}", telemetry.Meta{}, at(4*3600, 1)); r.Err() != nil {
		t.Error(r.Err())
	}
	if r := b.send("third_pending{job=cart}", telemetry.Meta{}, at(4*3600, 1)); r.Count(telemetry.Full) != 1 {
		t.Errorf("a living series was thrown out: %s, %v", reasons(r), told)
	}
	want := `[{silent_pending{job="cart"} it was silent 0} {constant_pending{job="cart"} it did not change 0}]`
	if got := fmt.Sprint(told); got != want {
		t.Errorf("evicted %s, want %s", got, want)
	}
	if got := fmt.Sprint(b.closed); got != `[cart/silent_pending{job="cart"} cart/constant_pending{job="cart"}]` {
		t.Errorf("closed %s", got)
	}
	if s := b.Stats(); s.Evicted != 2 || s.Series != 4 {
		t.Errorf("%+v", s)
	}
}

func TestForget(t *testing.T) {
	b := newBench(t, nil)
	buckets(b, "http_request_duration_seconds_bucket{job=cart", 0, 0, 0, 0)
	b.send("jobs_pending{job=cart}", telemetry.Meta{}, at(0, 1))
	b.Sweep()
	if s := b.Stats(); s.Series != 5 || s.Forgotten != 0 {
		t.Errorf("before: %+v", s)
	}
	b.now = start.Add(25 * time.Hour)
	b.Sweep()
	b.Sweep()
	b.Sweep()
	if s := b.Stats(); s.Series != 0 || s.Sources != 0 || len(b.closed) != len(b.series) {
		t.Errorf("after: %+v, closed %d of %d", s, len(b.closed), len(b.series))
	}
}

// A series without a good sample yet, such as the quantile of nothing, does not
// come and go.
func TestForgetNothingYet(t *testing.T) {
	b := newBench(t, nil)
	for i := range 3 {
		b.send("jobs_pending{job=cart}", telemetry.Meta{}, telemetry.Point{At: start.Add(time.Duration(i) * time.Second).UnixMilli(), Value: math.NaN()})
		b.Sweep()
	}
	if s := b.Stats(); s.Opened != 1 || s.Forgotten != 0 || s.Series != 1 {
		t.Errorf("%+v, want one series, opened once", s)
	}
	b.now = start.Add(25 * time.Hour)
	b.Sweep()
	if s := b.Stats(); s.Series != 0 || s.Forgotten != 1 {
		t.Errorf("after a day: %+v, want it forgotten", s)
	}
}

func TestReconfigure(t *testing.T) {
	wanted := false
	b := newBench(t, func(_ *telemetry.Config, o *telemetry.Options) {
		o.Wanted = func(_ grace.ServiceID, m string) bool { return wanted && m == "odd" }
	})
	b.send("odd{job=cart}", telemetry.Meta{}, at(0, 1))
	b.send("jobs_pending{job=cart}", telemetry.Meta{}, at(0, 1))
	b.send("work_queue_depth{job=cart}", telemetry.Meta{}, at(0, 1))
	wanted = true
	cfg := telemetry.DefaultConfig()
	cfg.Rules = []telemetry.Rule{{Metric: "work_queue_depth", As: "depth", Role: grace.RoleSaturation}}
	if err := b.Reconfigure(cfg); err != nil {
		t.Fatal(err)
	}
	b.send("odd{job=cart}", telemetry.Meta{}, at(1, 1))
	b.send("jobs_pending{job=cart}", telemetry.Meta{}, at(1, 1))
	b.send("work_queue_depth{job=cart}", telemetry.Meta{}, at(1, 1))
	var names []string
	for _, s := range b.series {
		names = append(names, s.Metric)
	}
	if got := fmt.Sprint(names); got != "[jobs_pending work_queue_depth odd depth]" {
		t.Errorf("opened %s", got)
	}
	if got := fmt.Sprint(b.closed); got != `[cart/work_queue_depth{job="cart"}]` {
		t.Errorf("closed %s", got)
	}
	if len(b.out) != 1 || b.out[0].Metric != "odd" {
		t.Errorf("forwarded %v", b.out)
	}
	cfg.Rules = []telemetry.Rule{{Metric: "x", Role: "hot"}}
	if err := b.Reconfigure(cfg); err == nil || !strings.Contains(err.Error(), "rules[0].role") {
		t.Errorf("%v", err)
	}
}

// Labels in another order are the same series.
func TestOrder(t *testing.T) {
	b := newBench(t, nil)
	label := func(k []byte, n, v string) []byte { return telemetry.AppendLabel(k, n, v) }
	sorted := label(label(label(nil, "__name__", "jobs_pending"), "a", "1"), "job", "cart")
	other := label(label(label(nil, "job", "cart"), "a", "1"), "__name__", "jobs_pending")
	for i := 0.0; i < 3; i++ {
		batch := b.Begin(telemetry.From{})
		batch.Points(other, telemetry.Meta{}, at(2*i, i))
		batch.Points(sorted, telemetry.Meta{}, at(2*i+1, i))
		if r := batch.End(); r.Count(telemetry.Taken) != 2 {
			t.Error(reasons(r))
		}
	}
	if len(b.series) != 1 || b.Stats().Series != 2 {
		t.Errorf("%d series, %+v", len(b.series), b.Stats())
	}
	if got := text(b.values[name(b.series[0])]); got != "0:0 1:0 2:1 3:1 4:2 5:2" {
		t.Errorf("came out %s", got)
	}
}

// A pair of senders that differ by their replica label: their series are one,
// one of them is listened to, and the other takes over when it falls silent.
func TestReplicas(t *testing.T) {
	b := newBench(t, nil)
	key := func(replica string) []byte {
		k := telemetry.AppendLabel([]byte(nil), "__name__", "jobs_pending")
		return telemetry.AppendLabel(telemetry.AppendLabel(k, "job", "cart"), "prometheus_replica", replica)
	}
	send := func(replica string, second, v float64, want telemetry.Reason) {
		t.Helper()
		b.now = start.Add(time.Duration(second * float64(time.Second)))
		batch := b.Begin(telemetry.From{Source: replica})
		batch.Points(key(replica), telemetry.Meta{}, at(second, v))
		if r := batch.End(); r.Count(want) != 1 || r.Err() != nil {
			t.Errorf("%s at %v: %s", replica, second, reasons(r))
		}
	}
	send("a", 0, 1, telemetry.Taken)
	send("b", 5, 100, telemetry.Duplicate)
	send("a", 15, 2, telemetry.Taken)
	send("b", 20, 100, telemetry.Duplicate)
	send("b", 50, 3, telemetry.Taken) // a has been silent for 35 s
	send("a", 55, 100, telemetry.Duplicate)
	send("b", 65, 4, telemetry.Taken)
	if len(b.series) != 1 || strings.Contains(name(b.series[0]), "replica") {
		t.Fatalf("series %+v", b.series)
	}
	if got := text(b.values[name(b.series[0])]); got != "0:1 15:2 50:3 65:4" {
		t.Errorf("came out %s", got)
	}
}

// Many senders of the same and of other series at once, with evictions: what is
// handed over comes out, or is counted.
func TestConcurrent(t *testing.T) {
	sinks := make([]telemetry.Sink, 4)
	for i := range sinks {
		sinks[i] = &recorder{values: map[string][]telemetry.Point{}}
	}
	cfg := telemetry.DefaultConfig()
	cfg.Limits.Series = 600
	var mu sync.Mutex
	now := start
	in, err := telemetry.New(cfg, telemetry.Options{
		Sinks: sinks, Known: func(grace.ServiceID) bool { return true },
		Wanted:  func(_ grace.ServiceID, m string) bool { return m == "jobs_pending" },
		Forward: func([]grace.Sample) error { return nil },
		Now: func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			now = now.Add(time.Second)
			return now
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	total := 0
	for worker := range 4 {
		wg.Go(func() {
			sent := 0
			for round := range 60 {
				b := in.Begin(telemetry.From{Source: fmt.Sprint(worker)})
				for i := range 40 {
					p := at(float64(round*20), float64(i))
					b.Points(key(fmt.Sprintf("jobs_pending{id=%d,job=s%d}", i, round%3)), telemetry.Meta{}, p)
					b.Points(key(fmt.Sprintf("other_pending{id=%d,job=s%d}", i+round, worker)), telemetry.Meta{}, p)
					b.Points(key(fmt.Sprintf("x_duration_seconds_bucket{id=%d,job=s%d,le=%d}", round%2, worker, i%8)), telemetry.Meta{}, p)
				}
				r := b.End()
				sum := 0
				for reason := telemetry.Taken; reason <= telemetry.Full; reason++ {
					if reason != telemetry.Reset {
						sum += r.Count(reason)
					}
				}
				if sum != r.Samples || r.Samples != 120 {
					t.Errorf("%d samples: %s", r.Samples, reasons(r))
				}
				sent += r.Samples
				if round%10 == 0 {
					in.Sweep()
					in.Stats()
				}
			}
			mu.Lock()
			total += sent
			mu.Unlock()
		})
	}
	wg.Go(func() {
		for range 5 {
			if err := in.Reconfigure(cfg); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	var counted uint64
	for _, c := range in.Stats().Samples {
		if c.Reason != telemetry.Reset {
			counted += c.Count
		}
	}
	if counted != uint64(total) {
		t.Errorf("%d samples, %d counted", total, counted)
	}
	now = now.Add(100 * 24 * time.Hour)
	for range 5 {
		in.Sweep()
	}
	open := 0
	for _, s := range sinks {
		r := s.(*recorder)
		open += len(r.series) - len(r.closed)
	}
	if s := in.Stats(); s.Series != 0 || open != 0 {
		t.Errorf("after all were forgotten %d series, %d of them not closed", s.Series, open)
	}
}
