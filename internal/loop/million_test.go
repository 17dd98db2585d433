package loop

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"grace"
	"grace/internal/forecast"
	"grace/internal/series"
	"grace/internal/stage/predict"
)

// fleet is many series of many services, each with a threshold, on the agents
// of shards.
type fleet struct {
	db     *series.DB
	agents []*predict.Agent
	keys   [][]byte
	at     time.Time
}

type sink struct{ agent *predict.Agent }

func (s sink) Open(t series.Series) uint32 {
	return uint32(s.agent.Open(predict.Series{Service: t.Service, Metric: t.Metric, Labels: t.Labels, Role: t.Role}))
}
func (s sink) Append(h uint32, at int64, v float64) { s.agent.Append(predict.Handle(h), at, v) }
func (s sink) Close(h uint32)                       { s.agent.Close(predict.Handle(h)) }

func (f *fleet) Shards() int { return len(f.agents) }

func (f *fleet) Do(shard int, do func(*predict.Agent)) {
	f.db.Do(shard, func(series.Sink) { do(f.agents[shard]) })
}

// newFleet has n series on so many shards: of 10 metrics of each service, on n/services/10
// instances. Their thresholds are set, or to be learned.
func newFleet(b testing.TB, n, services, shards int, set bool) *fleet {
	b.Helper()
	const metrics = 10
	f := &fleet{at: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)}
	var targets []predict.Target
	for i := range services * metrics {
		if !set {
			break
		}
		targets = append(targets, predict.Target{
			Service: grace.ServiceID(fmt.Sprintf("service-%d", i/metrics)), Metric: fmt.Sprintf("m%d_usage", i%metrics),
			Op: ">", Threshold: 95, Code: grace.CodeCapacity, Impact: grace.ImpactLow,
		})
	}
	cfg := series.DefaultConfig()
	cfg.Limits.SeriesPerSource = n
	cfg.Rules = []series.Rule{{Metric: "m*_usage", Role: grace.RoleSaturation}}
	var sinks []series.Sink
	gate := predict.NewGate(predict.DefaultGateConfig(), &sync.Mutex{})
	for range shards {
		agent := predict.New(predict.DefaultConfig(), targets, gate)
		f.agents = append(f.agents, agent)
		sinks = append(sinks, sink{agent})
	}
	var err error
	f.db, err = series.New(cfg, series.Options{Sinks: sinks, Now: func() time.Time { return f.at }})
	if err != nil {
		b.Fatal(err)
	}
	for i := range n {
		var key []byte
		key = series.AppendLabel(key, series.MetricLabel, fmt.Sprintf("m%d_usage", i%metrics))
		key = series.AppendLabel(key, "instance", fmt.Sprintf("10.0.%d.%d:9100", i/metrics/services/250, i/metrics/services%250))
		key = series.AppendLabel(key, "service", fmt.Sprintf("service-%d", i/metrics%services))
		f.keys = append(f.keys, key)
	}
	return f
}

// scrape sends one sample of every series, some time after the last.
func (f *fleet) scrape(b testing.TB, later time.Duration) {
	f.at = f.at.Add(later)
	const request = 2000
	for from := 0; from < len(f.keys); from += request {
		batch := f.db.Begin(series.From{Sensor: "bench", Source: "bench"})
		for i, key := range f.keys[from:min(from+request, len(f.keys))] {
			wave := float64((i*7 + int(f.at.Unix()/30)*13) % 40)
			batch.Append(key, series.Meta{Kind: series.KindGauge}, series.Sample{At: f.at.UnixMilli(), Value: 40 + wave})
		}
		if r := batch.End(); r.Samples != min(request, len(f.keys)-from) || r.Refused() > 0 {
			b.Fatalf("%d samples, %v", r.Samples, r.Err())
		}
	}
}

// look looks at every series as the loop does, and gives the longest time that
// a shard was held.
func (f *fleet) look() (longest time.Duration) {
	for i := range f.agents {
		for done := false; !done; {
			began := time.Now()
			f.Do(i, func(a *predict.Agent) { _, done = a.Step(f.at, lookAtOnce) })
			longest = max(longest, time.Since(began))
		}
	}
	return longest
}

// A series that has lived for four weeks, with what its past teaches and what is forecast of
// it, takes 3 KiB at most in all that is kept of it.
func TestBytesOfASeries(t *testing.T) {
	const n = 3200
	for threshold, set := range map[string]bool{"set": true, "learned": false} {
		f := newFleet(t, n, 20, 1, set)
		before := inUse()
		for range 4 * 7 * 24 {
			f.scrape(t, time.Hour)
		}
		f.look()
		var r predict.Refit
		var w forecast.Workspace
		fitted := 0
		for f.agents[0].NextRefit(&r, n) {
			r.Run(&w, forecast.SeasonalNaive{})
			f.agents[0].Refitted(&r)
			fitted++
		}
		f.look()
		if set != (fitted == n) {
			t.Errorf("%d forecasts of series with thresholds that are %s", fitted, threshold)
		}
		each := float64(inUse()-before) / n
		t.Logf("a series with a threshold that is %s takes %.0f bytes", threshold, each)
		if each > 3072 {
			t.Errorf("a series with a threshold that is %s takes %.0f bytes, more than 3 KiB", threshold, each)
		}
		runtime.KeepAlive(f)
	}
}

// BenchmarkMillionSeries: an operation is a scrape of every series and a look at
// every series, as every 30 s. B/series is memory in use, longest-wait-ms how
// long a sample waited for a look at most, by the time a shard was held.
func BenchmarkMillionSeries(b *testing.B) {
	const n = 1_000_000
	before := inUse()
	f := newFleet(b, n, 1000, 16, true)
	keys := inUse() // what the sender holds
	for range 70 {  // full rings
		f.scrape(b, 30*time.Second)
	}
	var longest, looking time.Duration
	b.ReportAllocs()
	for b.Loop() {
		f.scrape(b, 30*time.Second)
		began := time.Now()
		longest = max(longest, f.look())
		looking += time.Since(began)
	}
	b.ReportMetric(float64(inUse()-keys)/n, "B/series")
	b.ReportMetric(float64(inUse()-before)/(1<<30), "GiB")
	b.ReportMetric(float64(longest)/1e6, "longest-wait-ms")
	b.ReportMetric(float64(looking)/float64(b.N)/n, "ns/look")
	b.ReportMetric(float64(b.Elapsed()-looking)/float64(b.N)/n, "ns/sample")
	runtime.KeepAlive(f)
}

func inUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
