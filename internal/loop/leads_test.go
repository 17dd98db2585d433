package loop

import (
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"grace"
	"grace/internal/decide"
	"grace/internal/mesh"
	"grace/internal/stage/diagnose"
	"grace/internal/stage/govern"
	"grace/internal/stage/learn"
	"grace/internal/stage/predict"
	"grace/internal/stage/propose"
	"grace/internal/stage/sense"
	"grace/internal/store"
)

// leadConfig has a service whose latency has a limit, and a queue of the broker that it
// depends on through its worker.
func leadConfig() Config {
	cfg := Config{
		Config: decide.Config{
			Diagnose: diagnose.DefaultConfig(), Propose: propose.DefaultConfig(), Govern: govern.DefaultConfig(),
			Services: []grace.Service{{ID: "api", DependsOn: []grace.ServiceID{"worker"}}, {ID: "worker", DependsOn: []grace.ServiceID{"broker"}}, {ID: "broker"}},
		},
		Objectives: []sense.Objective{{Name: "latency", Service: "api", Expr: `latency_ms{service="api"} > 500`, Code: grace.CodeLatencySpike, Severity: grace.SeverityWarning}},
		Limits:     []sense.Limit{{Name: "queue depth", Service: "broker", Expr: `queue_depth{service="broker"} > 1e9`, Code: grace.CodeCapacity}},
		Sense:      sense.DefaultConfig(), Predict: predict.DefaultConfig(), Learn: learn.DefaultConfig(),
	}
	cfg.Govern.PredictiveShadow = false
	return cfg
}

// surges gives a queue that surges every two hours or so, and a latency that follows it by
// four minutes: a sample of each every 30 s.
func surges() func() (depth, latency float64) {
	r := rand.New(rand.NewPCG(1, 1))
	var depths []float64
	left, extra := 0, 0.0
	return func() (float64, float64) {
		if left == 0 && r.IntN(240) == 0 {
			left = 30
		}
		extra *= 0.8
		if left > 0 {
			left--
			extra += 40
		}
		depths = append(depths, 50+extra+10*r.NormFloat64())
		return depths[len(depths)-1], 100 + 2*depths[max(len(depths)-1-8, 0)] + 10*r.NormFloat64()
	}
}

// A latency is foretold by the queue of what its service depends on, in shadow first, and by
// what is in the ledger published; once the dependency is no more, it is not.
func TestLeadOfADependency(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	now := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	s, err := store.Open(ctx, store.Options{URL: "sqlite:" + t.TempDir() + "/grace.db", AuditKey: []byte("a key for tests, 32 bytes long..")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	cfg := leadConfig()
	l, err := New(cfg, Deps{Store: s, Engine: idle{}, Log: slog.New(slog.DiscardHandler), Bus: mesh.New(), Now: func() time.Time { return now }, Owner: "me"})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Load(ctx); err != nil {
		t.Fatal(err)
	}
	next := surges()
	play := func(hours int) {
		for range hours * 120 {
			now = now.Add(30 * time.Second)
			depth, latency := next()
			sample := func(service grace.ServiceID, metric string, v float64) grace.Sample {
				return grace.Sample{Service: service, Metric: metric, Kind: grace.SampleMetric, Value: v, At: now}
			}
			if err := l.Observe(ctx, sample("broker", "queue_depth", depth), sample("api", "latency_ms", latency)); err != nil {
				t.Fatal(err)
			}
			if err := l.Step(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	ledger := func() (out []grace.Prediction) {
		for page := (store.Page{Limit: 500}); ; {
			list, next, err := s.Predictions(ctx, s.Q(), store.PredictionFilter{Rule: "lead"}, page)
			if err != nil {
				t.Fatal(err)
			}
			if out = append(out, list...); next == "" {
				return out
			}
			page.Cursor = next
		}
	}
	play(14 * 24)
	entries := ledger()
	hits, falses, published := 0, 0, 0
	var leads []time.Duration
	for _, p := range entries {
		if p.Service != "api" || !strings.HasPrefix(p.Evidence[0], "queue depth of broker leads by 4 min: r = 0.") {
			t.Errorf("%+v", p)
		}
		if p.Outcome == grace.PredictionTruePositive {
			hits++
			leads = append(leads, p.Lead.D())
		}
		if p.Outcome == grace.PredictionFalsePositive {
			falses++
		}
		if p.Published != nil {
			published++
		}
	}
	slices.Sort(leads)
	t.Logf("%d hits, %d false, %d published, leads %v", hits, falses, published, leads)
	if hits < 8 || falses > hits/4 || published == 0 || published > len(entries)-7 || leads[len(leads)/2] < 3*time.Minute {
		t.Errorf("%d hits, %d false, %d published, leads %v", hits, falses, published, leads)
	}

	cfg.Services = []grace.Service{{ID: "api"}, {ID: "worker", DependsOn: []grace.ServiceID{"broker"}}, {ID: "broker"}}
	if err := l.Reconfigure(ctx, cfg, "ann"); err != nil {
		t.Fatal(err)
	}
	play(24)
	if after := ledger(); len(after) != len(entries) {
		t.Errorf("it depends on nothing, and there are %d predictions more", len(after)-len(entries))
	}
}

// A backtest goes by the same dependencies.
func TestBacktestOfADependency(t *testing.T) {
	t.Parallel()
	l, err := New(leadConfig(), Deps{Now: time.Now, Owner: "me"})
	if err != nil {
		t.Fatal(err)
	}
	b := l.NewPredictionBacktest()
	next, at := surges(), time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	for range 14 * 2880 {
		at = at.Add(30 * time.Second)
		depth, latency := next()
		for i := range b.Expressions {
			e := &b.Expressions[i]
			v := map[string]float64{"queue depth": depth, "latency": latency}[e.Name]
			if !e.Take(map[string]string{"service": string(e.Service)}, at, v) || math.IsNaN(v) {
				t.Fatalf("whose is it? %+v", e)
			}
		}
	}
	for _, r := range b.Report().Rules {
		if r.Rule == "lead" && r.Foreseen >= 8 && r.PublishedForeseen > 0 && r.MedianLead.D() >= 3*time.Minute {
			return
		}
	}
	t.Errorf("%+v", b.Report().Rules)
}
