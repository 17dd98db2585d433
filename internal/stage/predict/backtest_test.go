package predict

import (
	"sync"
	"testing"
	"time"

	"grace"
	"grace/internal/forecast"
)

// leaks takes the past of two services: one leaks as many times, the other is well.
func leaks(b *Backtest, n int) {
	at := start
	for range n {
		for i := range 3 * 240 {
			at = at.Add(15 * time.Second)
			b.Take(Series{Service: "cart", Metric: "latency_ms"}, at, leak(i))
			b.Take(Series{Service: "web", Metric: "latency_ms"}, at, 200+4*noise(i))
			b.Take(Series{Service: "cart", Metric: "unwatched"}, at, 1)
		}
	}
}

func leakBacktest(n int) Backtested {
	cfg := DefaultConfig()
	var w forecast.Workspace
	web := target()
	web.Service = "web"
	b := NewBacktest(cfg, []Target{target(), web}, Zones{}, nil, &sync.Mutex{}, func(r *Refit) { r.Run(&w, forecast.Default()) })
	leaks(b, n)
	return b.Report()
}

// A rule that nobody trusts at first is right in shadow, and acts once it has a record.
func TestBacktest(t *testing.T) {
	got := leakBacktest(12)
	if got.Series != 2 || got.Values != 2*12*720 || got.Breaches != 12 || got.Foreseen != 12 || !got.From.Equal(start.Add(15*time.Second)) || got.To.Sub(start) != 36*time.Hour {
		t.Errorf("%+v", got)
	}
	if got.PublishedForeseen < 3 || got.PublishedForeseen > 11 {
		t.Errorf("%d of 12 breaches were foreseen by what acts", got.PublishedForeseen)
	}
	trend := got.Rules[0]
	if trend.Rule != "trend" || trend.TruePositives != 12 || trend.Foreseen != 12 || trend.Breaches != 12 {
		t.Errorf("%+v", trend)
	}
	if trend.Claims != trend.TruePositives+trend.FalsePositives+trend.Unresolved+trend.Open || trend.Published < trend.PublishedTruePositives {
		t.Errorf("they do not add up: %+v", trend)
	}
	if trend.PublishedTruePositives != trend.PublishedForeseen || trend.Precision < 0.8 || trend.Low >= trend.Precision || trend.MedianLead <= 0 || trend.PublishedMedianLead <= 0 {
		t.Errorf("%+v", trend)
	}
	for _, s := range trend.Services {
		if s.Service == "cart" && s.Breaches != 12 || s.Service == "web" && (s.Breaches != 0 || s.TruePositives != 0) {
			t.Errorf("%+v", s)
		}
	}
}

// It knows nothing of what comes later: a longer past says the same of its beginning.
func TestBacktestKnowsNoFuture(t *testing.T) {
	short, long := leakBacktest(4), leakBacktest(12)
	if short.Rules[0].Published > long.Rules[0].Published || short.PublishedForeseen > 1 {
		t.Errorf("of 4 leaks %d would have been published, of 12 %d", short.Rules[0].Published, long.Rules[0].Published)
	}
}

// What is open at the end is counted as such.
func TestBacktestLeavesOpen(t *testing.T) {
	cfg := DefaultConfig()
	b := NewBacktest(cfg, []Target{target()}, Zones{}, nil, &sync.Mutex{}, func(*Refit) {})
	at := start
	for i := range 480 + 60 { // on its way
		at = at.Add(15 * time.Second)
		b.Take(Series{Service: "cart", Metric: "latency_ms"}, at, leak(i))
	}
	got := b.Report()
	if len(got.Rules) == 0 || got.Rules[0].Open != 1 || got.Breaches != 0 || got.Rules[0].Services[0].Service != grace.ServiceID("cart") {
		t.Errorf("%+v", got)
	}
}
