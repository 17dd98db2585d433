package loop

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"grace"
	"grace/internal/stage/predict"
	"grace/internal/stage/sense"
)

// TestDriftOverAgents: metrics of one service that several agents watch drift together. Once
// the rule has shown that it is right, that is published, a proactive trigger comes of it,
// and it is said no more when too few of them drift.
func TestDriftOverAgents(t *testing.T) {
	service := benchService(0)
	names := []string{"disk", "memory", "queue"}
	l := steppedLoop(t, 1, func(cfg *Config) {
		cfg.Predict, cfg.PredictEvery = predict.DefaultConfig(), 30*time.Second
		cfg.Govern.PredictiveShadow = false
		for _, name := range names {
			cfg.Limits = append(cfg.Limits, sense.Limit{Name: name, Service: service, Expr: fmt.Sprintf(`%s{service=%q} > 5000`, name, service), Code: grace.CodeCapacity})
		}
	})
	now := l.Now().Truncate(time.Millisecond)
	l.Now = func() time.Time { return now }
	for i := range 20 {
		l.Gate.Learn(grace.Prediction{
			Service: "elsewhere", Metric: strconv.Itoa(i), Rule: "drift", Score: 0.5, Likelihood: 0.9,
			Outcome: grace.PredictionTruePositive, Resolved: &now,
		})
	}
	// The own agent has one of them, each shard another.
	shards := shardsOf{predict.New(l.stages.Load().Predict, targetsOf(l.ingest.watches), l.Gate), predict.New(l.stages.Load().Predict, targetsOf(l.ingest.watches), l.Gate)}
	l.Shards = shards
	agents := append([]*predict.Agent{l.predict}, shards...)
	var said []grace.Prediction
	var triggers []grace.Trigger
	play := func(n int, value func(metric, i int) float64) {
		for i := range n {
			now = now.Add(5 * time.Second)
			for k, name := range names {
				agents[k].Observe(predict.Series{Service: service, Metric: name}, now, value(k, i))
			}
			batch := l.forecaster.evaluate(l.stages.Load(), now)
			for range 6 { // seconds, of which a pass over the shards takes thirty
				l.stepShards(l.stages.Load(), now, func(r predict.Result) { batch = append(batch, l.foresee(l.stages.Load(), r)...) })
			}
			for _, w := range batch {
				if p := w.prediction; p != nil && p.Metric == predict.Joint {
					said = append(said, p.Prediction)
					if e := p.event(now); e.Trigger != nil {
						triggers = append(triggers, *e.Trigger)
					}
				}
			}
		}
	}
	play(70, func(_, i int) float64 { return 200 + float64(i) + float64(i*7%5)/5 })
	if len(said) == 0 || said[0].Published == nil || said[0].Code != grace.CodeDegradation || said[0].Service != service {
		t.Fatalf("said %+v", said)
	}
	if len(triggers) == 0 || triggers[0].Code != grace.CodeDegradation || triggers[0].Kind != grace.TriggerProactive {
		t.Errorf("triggers %+v", triggers)
	}
	told := len(said)
	play(150, func(k, i int) float64 {
		if k == 0 {
			return 270 + float64(i*7%5)
		}
		return 270 + float64(i) + float64(i*7%5)/5
	})
	ended := slices.ContainsFunc(said[told:], func(p grace.Prediction) bool { return p.Ended != nil && p.ID == said[0].ID })
	if last := said[len(said)-1]; !ended || last.Ended == nil && last.Outcome == grace.PredictionOpen {
		t.Errorf("it is still said: %+v", last)
	}
	if _, wanted := l.measured(service, predict.Joint); wanted {
		t.Error("measured, though no sample came to the expressions")
	}
	for i, name := range names {
		at := now.Add(time.Duration(i-len(names)) * time.Second)
		if err := l.Observe(t.Context(), grace.Sample{Service: service, Metric: name, Kind: grace.SampleMetric, Value: 200, At: at}); err != nil {
			t.Fatal(err)
		}
	}
	if m, wanted := l.measured(service, predict.Joint); !wanted || !m.at.Equal(now.Add(-3*time.Second)) {
		t.Errorf("measured %v, want when the oldest was, %v", m.at, now.Add(-3*time.Second))
	}
}
