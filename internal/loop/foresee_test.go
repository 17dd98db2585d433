package loop

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grace"
	"grace/internal/decide"
	"grace/internal/event"
	"grace/internal/mesh"
	"grace/internal/stage/diagnose"
	"grace/internal/stage/govern"
	"grace/internal/stage/learn"
	"grace/internal/stage/predict"
	"grace/internal/stage/propose"
	"grace/internal/stage/sense"
	"grace/internal/store"
)

func TestForeseenChange(t *testing.T) {
	now := time.Date(2026, 3, 2, 9, 31, 0, 0, time.UTC)
	p := grace.Prediction{
		ID: "x", Key: "api/predict/latency_ms/latency_spike", Service: "api", Metric: "latency_ms", Code: grace.CodeLatencySpike,
		Likelihood: 0.85, Low: 1, High: 2, BreachAt: now.Add(5 * time.Minute), Suggest: []grace.PlaybookID{"scale_up_instances"},
	}
	for _, tt := range []struct {
		state    event.Telling
		event    string
		shadow   bool
		triggers int
	}{
		{event.InShadow, "", false, 0},
		{event.Silenced, event.TypePrediction, true, 0},
		{event.Standing, event.TypePrediction, false, 1},
		{event.Resolved, event.TypeResolved, false, 0},
	} {
		c := event.Derive((&predictionWrite{Prediction: p, state: tt.state, owner: "me"}).event(now))
		if len(c.Predictions) != 1 || len(c.Triggers) != tt.triggers {
			t.Errorf("state %d: %d entries, %d triggers", tt.state, len(c.Predictions), len(c.Triggers))
		}
		if tt.event == "" {
			if len(c.Outbox) != 0 {
				t.Errorf("state %d: %+v", tt.state, c.Outbox)
			}
			continue
		}
		if len(c.Outbox) != 1 || c.Outbox[0].Type != tt.event {
			t.Fatalf("state %d: %+v", tt.state, c.Outbox)
		}
		var payload map[string]any
		if err := json.Unmarshal(c.Outbox[0].Payload, &payload); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"code", "title", "likelihood", "impact", "breach_at", "band", "suggested_playbooks", "evidence", "prediction"} {
			if _, ok := payload[key]; !ok {
				t.Errorf("state %d: %s is missing", tt.state, key)
			}
		}
		if payload["shadow"] != tt.shadow {
			t.Errorf("state %d: shadow %v", tt.state, payload["shadow"])
		}
	}
}

func TestSuspensionIsOnRecord(t *testing.T) {
	one, two := pendingWrite{suspension: &predict.Suspension{Rule: "trend", False: 3, Of: 12}}, pendingWrite{suspension: &predict.Suspension{Rule: "trend", Back: true, Of: 20}}
	c := event.Derive(one.event(""), two.event(""))
	var got []string
	for i, e := range c.Outbox {
		got = append(got, e.Type, c.Audit[i].Action+" "+c.Audit[i].Object+": "+c.Audit[i].Reason)
	}
	want := []string{
		"self_heal.prediction.suspended", "prediction.suspended rule/trend: 3 of its last 12 published predictions were false",
		"self_heal.prediction.readmitted", "prediction.readmitted rule/trend: in shadow 0 of its last 20 predictions were false",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// The likeliest of several rules' words on a series counts, and one that turned
// does not take another's away.
func TestMirrorOfSeveralRules(t *testing.T) {
	now := time.Date(2026, 3, 2, 9, 31, 0, 0, time.UTC)
	said := func(rule string, likelihood float64, at time.Time) grace.Prediction {
		return grace.Prediction{Key: "k", Rule: rule, Likelihood: likelihood, At: at}
	}
	var m replicatedCache
	m.predictions([]grace.Prediction{said("trend", 0.9, now), said("early", 0.85, now)})
	m.turned([]grace.Prediction{said("early", 0.85, now)})
	rules := func() (out []string) {
		for _, p := range m.current(now, time.Minute) {
			out = append(out, p.Rule)
		}
		return out
	}
	if got := rules(); !slices.Equal(got, []string{"trend"}) {
		t.Errorf("got %v", got)
	}
	m.predictions([]grace.Prediction{said("early", 0.8, now.Add(time.Second))})
	if got := rules(); !slices.Equal(got, []string{"early"}) {
		t.Errorf("got %v", got)
	}
	m.turned([]grace.Prediction{said("early", 0.8, now)})
	if got := rules(); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

// What is not foreseen any more for lack of data is forgotten, and has not turned:
// no question about it is taken back. Nor is it when another replica says it no more.
func TestLostIsNoTurn(t *testing.T) {
	now := time.Date(2026, 3, 2, 9, 31, 0, 0, time.UTC)
	said := grace.Prediction{Key: "k", Service: "api", Rule: "trend", At: now}
	for _, tt := range []struct {
		name string
		end  func(*replicatedCache)
		want []grace.ServiceID
	}{
		{"turned", func(m *replicatedCache) { m.turned([]grace.Prediction{said}) }, []grace.ServiceID{"api"}},
		{"lost", func(m *replicatedCache) { m.lost([]grace.Prediction{said}) }, nil},
		{"not said again", func(*replicatedCache) {}, nil},
	} {
		var m replicatedCache
		m.predictions([]grace.Prediction{said})
		tt.end(&m)
		if got := m.current(now.Add(2*time.Minute), time.Minute); len(got) > 0 {
			t.Errorf("%s: %+v", tt.name, got)
		}
		if got := m.clearedPredictions(); !slices.Equal(got, tt.want) {
			t.Errorf("%s: well again %v, want %v", tt.name, got, tt.want)
		}
	}
}

// After the process has woken, or its configuration changed, what is measured anew
// is foretold anew, and nothing else, also by shards.
func TestForetoldAnew(t *testing.T) {
	for name, begin := range map[string]func(*testing.T, *Loop, *time.Duration){
		"woke": func(_ *testing.T, l *Loop, passed *time.Duration) {
			*passed += stoodStill
			l.noticeStill()
		},
		"configuration": func(t *testing.T, l *Loop, passed *time.Duration) {
			t.Helper()
			*passed += stoodStill
			if err := l.Reconfigure(t.Context(), l.stages.Load().Config, "ann"); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := steppedLoop(t, 3, func(cfg *Config) {
				cfg.Predict, cfg.PredictEvery = predict.DefaultConfig(), time.Second
				cfg.Limits = []sense.Limit{{Name: "queue", Service: benchService(0), Expr: fmt.Sprintf(`queue{service=%q} > 500`, benchService(0)), Code: grace.CodeCapacity}}
			})
			start, passed := time.Now(), 10*time.Second
			l.Now = func() time.Time { return start.Add(passed) }
			l.Elapsed = func() time.Duration { return passed }
			l.beat = passed
			trendWasRight(l)
			shard := predict.New(l.stages.Load().Predict, targetsOf(l.ingest.watches), l.Gate)
			l.Shards = shardsOf{shard}
			agents := []*predict.Agent{l.predict, shard}
			measure := func(value float64) {
				for _, a := range agents {
					a.Observe(predict.Series{Service: benchService(0), Metric: "queue"}, l.Now(), value)
				}
			}
			published := func() (n int) {
				for _, a := range agents {
					n += len(a.Evaluate(l.Now()).Published)
				}
				return n
			}
			for i := range 40 {
				passed += 5 * time.Second
				l.beat = passed
				measure(200 + 5*float64(i))
			}
			if n := published(); n != 2 {
				t.Fatalf("%d are published before", n)
			}
			begin(t, l, &passed)
			// Shards have no targets but those they learn, which would take days here.
			shard.Reconfigure(l.stages.Load().Predict, targetsOf(l.ingest.watches))
			if n := published(); n != 0 {
				t.Errorf("%d are published of what was measured before", n)
			}
			said := map[*predict.Agent]bool{}
			for i := range 40 { // the shard has forgotten what it knew of the target
				passed += 5 * time.Second
				measure(400 + 2*float64(i))
				for _, a := range agents {
					said[a] = said[a] || len(a.Evaluate(l.Now()).Published) > 0
				}
				if i == 0 && !said[l.predict] {
					t.Error("nothing is published when it is measured again")
				}
			}
			if !said[shard] {
				t.Error("the shard publishes nothing")
			}
		})
	}
}

// trendWasRight gives the gate a record of the trend rule, elsewhere.
func trendWasRight(l *Loop) {
	now := l.Now()
	for i := range 20 {
		l.Gate.Learn(grace.Prediction{
			Service: "elsewhere", Metric: strconv.Itoa(i), Rule: "trend", Score: 0.9, Likelihood: 0.9,
			Outcome: grace.PredictionTruePositive, Resolved: &now,
		})
	}
}

// shardsOf has agents beside the loop's own.
type shardsOf []*predict.Agent

func (s shardsOf) Shards() int                            { return len(s) }
func (s shardsOf) Do(shard int, f func(a *predict.Agent)) { f(s[shard]) }

// Shards are looked at in parts, and learn from each other.
func TestShards(t *testing.T) {
	now := time.Date(2026, 3, 2, 9, 31, 0, 0, time.UTC)
	cfg := Config{
		Config: decide.Config{
			Diagnose: diagnose.DefaultConfig(), Propose: propose.DefaultConfig(), Govern: govern.DefaultConfig(), PredictEvery: 2 * time.Second,
		},
		Objectives: []sense.Objective{{Name: "latency", Service: "api", Expr: `latency_ms{service="api"} > 500`, Code: grace.CodeLatencySpike}}, Sense: sense.DefaultConfig(), Predict: predict.DefaultConfig(), Learn: learn.DefaultConfig(),
	}
	cfg.Govern.PredictiveShadow = false
	l, err := New(cfg, Deps{Now: func() time.Time { return now }, Owner: "me"})
	if err != nil {
		t.Fatal(err)
	}
	shards := shardsOf{predict.New(cfg.Predict, targetsOf(l.ingest.watches), l.Gate), predict.New(cfg.Predict, targetsOf(l.ingest.watches), l.Gate)}
	l.Shards = shards
	trendWasRight(l)
	st := l.stages.Load()
	feed := func(a *predict.Agent, labels string, value func(i int) float64) {
		h := a.Open(predict.Series{Service: "api", Metric: "latency", Labels: labels})
		for i := range 40 {
			a.Append(h, now.Add(time.Duration(i-39)*5*time.Second).UnixMilli(), value(i))
		}
	}
	rises := func(i int) float64 { return 200 + 5*float64(i) }
	for _, labels := range []string{"a", "b", "c", "d"} {
		feed(shards[0], labels, rises)
	}
	feed(shards[1], "e", func(int) float64 { return 200 })
	for range 2 { // two seconds: PredictEvery
		l.lookAtShards(st, now)
	}
	var published []string
	for _, s := range l.unsaved.waiting {
		if s.prediction.state == event.Standing {
			published = append(published, s.prediction.Series)
		}
	}
	slices.Sort(published)
	if !slices.Equal(published, []string{"a", "b", "c", "d"}) {
		t.Errorf("published %v", published)
	}
	if records, _ := l.Predicted(); records[0].Published != 4 {
		t.Errorf("%+v", records[0])
	}

	// None comes true: the other shard and the loop's own agent know.
	belief := func(a *predict.Agent) float64 {
		records, _ := a.Stats(now)
		return records[0].Precision
	}
	before := belief(shards[1])
	now = now.Add(21 * time.Minute)
	for _, labels := range []string{"a", "b", "c", "d"} {
		h := shards[0].Open(predict.Series{Service: "api", Metric: "latency", Labels: labels})
		for i := range 240 {
			shards[0].Append(h, now.Add(time.Duration(i-239)*5*time.Second).UnixMilli(), 200)
		}
	}
	for range 2 {
		l.lookAtShards(st, now)
	}
	if after := belief(shards[1]); after >= before || after != belief(l.predict) || after != belief(shards[0]) {
		t.Errorf("precision was %v; is %v, %v and, of the loop's own, %v", before, belief(shards[0]), after, belief(l.predict))
	}
}

// What another system predicts is held to account by the agent that has the
// series; where it names no labels, on the one nearest to its threshold.
func TestForetoldOfShards(t *testing.T) {
	now := time.Date(2026, 3, 2, 9, 31, 0, 0, time.UTC)
	cfg := Config{
		Config: decide.Config{
			Diagnose: diagnose.DefaultConfig(), Propose: propose.DefaultConfig(), Govern: govern.DefaultConfig(),
		},
		Objectives: []sense.Objective{{Name: "latency", Service: "api", Expr: `latency_ms{service="api"} > 500`, Code: grace.CodeLatencySpike}}, Sense: sense.DefaultConfig(), Predict: predict.DefaultConfig(), Learn: learn.DefaultConfig(),
	}
	l, err := New(cfg, Deps{Now: func() time.Time { return now }, Owner: "me"})
	if err != nil {
		t.Fatal(err)
	}
	shards := shardsOf{predict.New(cfg.Predict, targetsOf(l.ingest.watches), l.Gate), predict.New(cfg.Predict, targetsOf(l.ingest.watches), l.Gate)}
	l.Shards = shards
	for i, value := range []float64{200, 320, 480, 300} {
		a := shards[i%2]
		a.Append(a.Open(predict.Series{Service: "api", Metric: "latency", Labels: string(rune('a' + i))}), now.UnixMilli(), value)
	}
	said := grace.Prediction{
		Key: "api/oracle/latency_ms", Service: "api", Metric: "latency_ms", Code: grace.CodeLatencySpike, Likelihood: 0.9,
		BreachAt: now.Add(5 * time.Minute), At: now,
	}
	for _, tt := range []struct{ series, code, want string }{
		{"", "latency_spike", "c"}, {"b", "latency_spike", "b"}, {"x", "latency_spike", "none"}, {"", "capacity", "none"},
	} {
		p := said
		p.Series, p.Code = tt.series, grace.Code(tt.code)
		l.mu.Lock()
		entry, ok := l.foretell(p, now)
		l.mu.Unlock()
		got := entry.Series
		if !ok {
			got = "none"
		}
		if got != tt.want {
			t.Errorf("series %q, code %s: held to account on %q, want %q", tt.series, tt.code, got, tt.want)
		}
	}
}

// After a restart the ledger teaches again, and what is open though its series
// has long gone is closed.
func TestLedgerAfterRestart(t *testing.T) {
	ctx := t.Context()
	now := time.Date(2026, 3, 2, 9, 31, 0, 0, time.UTC)
	s, err := store.Open(ctx, store.Options{URL: "sqlite:" + t.TempDir() + "/grace.db", AuditKey: []byte("a key for tests, 32 bytes long..")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	entry := func(id string, outcome grace.PredictionOutcome, age time.Duration) grace.Prediction {
		p := grace.Prediction{
			ID: id, Key: "k", Service: "api", Metric: "latency_ms", Code: grace.CodeLatencySpike, Rule: "trend", Outcome: outcome, Score: 0.9,
			Made: now.Add(-age), At: now.Add(-age), Until: now.Add(20*time.Minute - age),
		}
		if outcome != grace.PredictionOpen {
			resolved := p.Made.Add(20 * time.Minute)
			p.Resolved = &resolved
		}
		return p
	}
	err = s.Do(ctx, func(ctx context.Context, tx store.Tx) error {
		return s.Append(ctx, tx, event.Given{Predictions: []grace.Prediction{
			entry("a", grace.PredictionFalsePositive, 3*time.Hour), entry("b", grace.PredictionFalsePositive, 2*time.Hour),
			entry("old", grace.PredictionOpen, 48*time.Hour), entry("new", grace.PredictionOpen, time.Minute),
		}})
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Config: decide.Config{
			Diagnose: diagnose.DefaultConfig(), Propose: propose.DefaultConfig(), Govern: govern.DefaultConfig(),
		},
		Sense: sense.DefaultConfig(), Predict: predict.DefaultConfig(), Learn: learn.DefaultConfig(),
	}
	l, err := New(cfg, Deps{Store: s, Now: func() time.Time { return now }, Owner: "me"})
	if err != nil {
		t.Fatal(err)
	}
	before, _ := l.Predicted()
	if err := l.Load(ctx); err != nil {
		t.Fatal(err)
	}
	if after, _ := l.Predicted(); after[0].Precision >= before[0].Precision-0.05 {
		t.Errorf("precision was %v and is %v", before[0].Precision, after[0].Precision)
	}
	open, _, err := s.Predictions(ctx, s.Q(), store.PredictionFilter{Outcome: grace.PredictionOpen}, store.Page{})
	if err != nil || len(open) != 1 || open[0].ID != "new" {
		t.Errorf("open: %+v, %v", open, err)
	}

	// Its series does not come back: a day later it is closed while running.
	for range 25 {
		now = now.Add(time.Hour)
		if err := l.elapse(ctx); err != nil {
			t.Fatal(err)
		}
	}
	list, _, err := s.Predictions(ctx, s.Q(), store.PredictionFilter{Outcome: grace.PredictionUnresolved}, store.Page{})
	if err != nil || len(list) != 2 || list[0].ID != "new" || list[0].Resolved == nil {
		t.Errorf("unresolved: %+v, %v", list, err)
	}
}

// Who owns the clock has forecasts too, some at every Step, and the same ones
// every time.
func TestStepForecasts(t *testing.T) {
	ctx := t.Context()
	const disks = refitsAStep + 2
	play := func() (steps []int, made []grace.Prediction) {
		now := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
		s, err := store.Open(ctx, store.Options{URL: "sqlite:" + t.TempDir() + "/grace.db", AuditKey: []byte("a key for tests, 32 bytes long..")})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		cfg := Config{
			Config: decide.Config{
				Diagnose: diagnose.DefaultConfig(), Propose: propose.DefaultConfig(), Govern: govern.DefaultConfig(),
			},
			Sense: sense.DefaultConfig(), Predict: predict.DefaultConfig(), Learn: learn.DefaultConfig(),
		}
		for i := range disks {
			name := fmt.Sprintf("disk%d", i)
			cfg.Limits = append(cfg.Limits, sense.Limit{Name: name, Service: "db", Expr: name + ` > 95`, Code: grace.CodeCapacity})
		}
		l, err := New(cfg, Deps{Store: s, Engine: idle{}, Log: slog.New(slog.DiscardHandler), Bus: mesh.New(), Now: func() time.Time { return now }, Owner: "me"})
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Load(ctx); err != nil {
			t.Fatal(err)
		}
		for h := range 15 * 24 {
			for i := range disks {
				sample := grace.Sample{
					Service: "db", Metric: fmt.Sprintf("disk%d", i), Kind: grace.SampleMetric, Value: 20 + 0.2*float64(h) + 0.1*float64(h*7%5+i),
					At: now.Add(time.Duration(h-15*24)*time.Hour + time.Minute),
				}
				if err := backfill(ctx, l, sample); err != nil {
					t.Fatal(err)
				}
			}
		}
		for range 3 {
			now = now.Add(30 * time.Second)
			for i := range disks { // they go on: what history alone shows is no reason to speak
				if err := l.Observe(ctx, grace.Sample{
					Service: "db", Metric: fmt.Sprintf("disk%d", i), Kind: grace.SampleMetric, Value: 92 + 0.1*float64(i), At: now,
				}); err != nil {
					t.Fatal(err)
				}
			}
			if err := l.Step(ctx); err != nil {
				t.Fatal(err)
			}
			made, _, err = s.Predictions(ctx, s.Q(), store.PredictionFilter{Rule: "capacity"}, store.Page{})
			if err != nil {
				t.Fatal(err)
			}
			steps = append(steps, len(made))
		}
		return steps, made
	}
	steps, made := play()
	if want := []int{0, refitsAStep, disks}; !slices.Equal(steps, want) {
		t.Errorf("forecast %v, want %v", steps, want)
	}
	again, same := play()
	if !slices.Equal(steps, again) || cmp.Diff(made, same) != "" {
		t.Errorf("the second time %v: %s", again, cmp.Diff(made, same))
	}
	for _, p := range made {
		if p.Published != nil || p.BreachAt.Before(p.At) || p.BreachAt.After(p.At.Add(48*time.Hour)) {
			t.Errorf("%+v", p)
		}
	}
}

// backfill has what was measured before the loop began, the oldest first.
func backfill(ctx context.Context, l *Loop, samples ...grace.Sample) error {
	for i, s := range samples {
		l.Series.Observe(s)
		if i+1 < len(samples) && samples[i+1].At.Equal(s.At) {
			continue
		}
		if err := l.Backfill(ctx, s.Metric, s.At); err != nil {
			return err
		}
	}
	return nil
}
