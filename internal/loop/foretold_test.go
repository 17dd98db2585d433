package loop

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"grace"
	"grace/internal/event"
	"grace/internal/stage/diagnose"
	"grace/internal/stage/predict"
	"grace/internal/stage/sense"
)

// What others leave open is filled in, and where a series is held against a threshold of
// that code they are held to account, also when they name no metric.
func TestPostedIsFilledIn(t *testing.T) {
	t.Parallel()
	measured, other := benchService(0), benchService(1)
	l := steppedLoop(t, 3, func(cfg *Config) {
		cfg.Predict, cfg.Govern.PredictiveShadow = predict.DefaultConfig(), false
		cfg.Objectives = []sense.Objective{{Name: "queue", Service: measured, Expr: `queue{service="` + string(measured) + `"} > 500`, Code: grace.CodeCapacity}}
		cfg.Playbooks[0].Triggers = append(slices.Clone(cfg.Playbooks[0].Triggers), grace.CodeCapacity)
		for i := range cfg.Services {
			cfg.Services[i].Criticality = grace.CriticalityLow
		}
	})
	now, playbook := time.Now().UTC(), l.stages.Load().Playbooks[0].ID
	l.Now = func() time.Time { return now }
	l.predict.Observe(predict.Series{Service: measured, Metric: "queue"}, now, 400)
	post := func(p grace.Prediction) grace.Prediction {
		t.Helper()
		p.Key, p.At, p.Likelihood = grace.SignalKey(p.Service)+"/x//"+grace.SignalKey(p.Code), now, 0.9
		out := l.posted([]grace.Prediction{p})
		if len(out) != 1 || out[0].prediction.state != event.Standing {
			t.Fatalf("%+v", out)
		}
		return out[0].prediction.Prediction
	}
	p := post(grace.Prediction{Service: measured, Code: grace.CodeCapacity})
	if p.Rule != predict.RuleExternal || p.Metric != "queue" || p.Outcome != grace.PredictionOpen || p.Published == nil || !p.BreachAt.Equal(now.Add(10*time.Minute).Truncate(time.Millisecond)) {
		t.Errorf("%+v", p)
	}
	if p.Impact != grace.ImpactLow || !slices.Equal(p.Suggest, []grace.PlaybookID{playbook}) {
		t.Errorf("impact %s, suggests %v", p.Impact, p.Suggest)
	}
	p = post(grace.Prediction{Service: other, Code: grace.CodeCapacity, Impact: grace.ImpactHigh, Suggest: []grace.PlaybookID{"theirs"}, BreachAt: now.Add(time.Hour)})
	if p.Outcome != "" || p.Published == nil || p.Metric != "capacity" || p.Impact != grace.ImpactHigh || p.Suggest[0] != "theirs" || !p.BreachAt.Equal(now.Add(time.Hour)) {
		t.Errorf("of what nobody measures: %+v", p)
	}
	p = post(grace.Prediction{Service: "undeclared", Code: "unheard of"})
	if p.Impact != grace.ImpactMedium || len(p.Suggest) != 0 || p.Rule != predict.RuleExternal {
		t.Errorf("of an unknown service: %+v", p)
	}

	// None began: it was wrong, and so the gate knows.
	r := predict.Result{}
	for range 150 {
		now = now.Add(15 * time.Second)
		l.predict.Observe(predict.Series{Service: measured, Metric: "queue"}, now, 400)
		more := l.predict.Evaluate(now)
		r.Resolved = append(r.Resolved, more.Resolved...)
	}
	if len(r.Resolved) != 1 || r.Resolved[0].Outcome != grace.PredictionFalsePositive || r.Resolved[0].Rule != predict.RuleExternal {
		t.Errorf("%+v", r.Resolved)
	}
}

// What GRACE hears of its own prediction is known to a replica, and what it hears of an event
// without an entry of the ledger is not.
func TestHeardPrediction(t *testing.T) {
	t.Parallel()
	l := steppedLoop(t, 1, nil)
	p := grace.Prediction{ID: "x", Key: "k", Service: benchService(0), Code: grace.CodeCapacity, Likelihood: 0.9, At: l.Now(), Rule: predict.RuleExternal}
	own := event.Derive((&predictionWrite{Prediction: p, state: event.Standing, owner: "another"}).event(l.Now())).Outbox[0]
	foreign := own
	foreign.Payload = []byte(`{"code":"capacity","title":"t","likelihood":0.85,"impact":"low","suggested_playbooks":[]}`)
	l.hearPrediction(foreign)
	if n := len(l.mirror.current(l.Now(), time.Minute)); n != 0 {
		t.Errorf("%d are known", n)
	}
	for range 2 {
		l.hearPrediction(own)
	}
	if got := l.mirror.current(l.Now(), time.Minute); len(got) != 1 || got[0].Key != "k" {
		t.Errorf("%+v", got)
	}
	if l.unsaved.pending() != 0 {
		t.Error("what is heard is written again")
	}
}

func TestForeseenImpact(t *testing.T) {
	t.Parallel()
	var got []string
	for _, c := range []grace.Criticality{grace.CriticalityLow, grace.CriticalityMedium, grace.CriticalityHigh, grace.CriticalityCritical, grace.CriticalityUnknown} {
		for _, s := range []grace.Severity{grace.SeverityInfo, grace.SeverityWarning, grace.SeverityCritical} {
			got = append(got, string(diagnose.ForeseenImpact(s, c)))
		}
	}
	if want := "low low medium low medium medium low medium medium medium medium high medium medium high"; strings.Join(got, " ") != want {
		t.Errorf("%v", got)
	}
}

// The impact of what GRACE foresees itself follows the objective's severity and the service,
// also where each element names its own, and what a configuration says of a limit stands.
func TestImpactOfOwnPredictions(t *testing.T) {
	t.Parallel()
	cfg := &Config{}
	cfg.Services = []grace.Service{{ID: "db", Criticality: grace.CriticalityCritical}, {ID: "batch", Criticality: grace.CriticalityLow}}
	cfg.Objectives = []sense.Objective{
		{Name: "severe", Service: "db", Expr: "a > 1", Severity: grace.SeverityCritical}, {Name: "plain", Service: "batch", Expr: "a > 1"}, {Name: "any", Expr: "a > 1", Severity: grace.SeverityCritical},
	}
	cfg.Limits = []sense.Limit{{Name: "disk", Service: "batch", Expr: "d > 1", Impact: grace.ImpactCritical}, {Name: "room", Service: "db", Expr: "d > 1"}}
	a := predict.New(predict.DefaultConfig(), targetsOf(watches(cfg)), predict.NewGate(predict.DefaultGateConfig(), &sync.Mutex{}))
	for _, tt := range []struct {
		service grace.ServiceID
		metric  string
		want    grace.Impact
	}{
		{"db", "severe", grace.ImpactHigh},
		{"batch", "plain", grace.ImpactLow},
		{"db", "any", grace.ImpactHigh},
		{"batch", "any", grace.ImpactMedium},
		{"stranger", "any", grace.ImpactHigh},
		{"batch", "disk", grace.ImpactCritical},
		{"db", "room", grace.ImpactMedium},
	} {
		at := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
		var missed []grace.Prediction
		for i := range 10 { // it is breached at once, and nobody foresaw it
			at = at.Add(5 * time.Second)
			a.Observe(predict.Series{Service: tt.service, Metric: tt.metric}, at, float64(i)-3)
			missed = append(missed, a.Evaluate(at).Resolved...)
		}
		if len(missed) != 1 || missed[0].Impact != tt.want {
			t.Errorf("%s of %s: %+v, want impact %s", tt.metric, tt.service, missed, tt.want)
		}
	}
}
