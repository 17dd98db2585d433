package predict

import (
	"math"
	"strings"
	"testing"
	"time"

	"grace"
	"grace/internal/detect"
	"grace/internal/forecast"
)

// rhythm is three weeks of a daily rhythm, a sample a minute.
func rhythm(i int) float64 {
	return 100 + 50*math.Sin(2*math.Pi*float64(i%1440)/1440) + 3*noise(i)
}

// watched plays samples, a minute each, into the agent of one series without a
// threshold, and looks every minute from a sample on.
func watched(t *testing.T, falls bool, n, lookFrom int, value func(i int) float64) (*Agent, Result) {
	t.Helper()
	a := earned(DefaultConfig(), nil)
	h := a.Open(Series{Service: "cart", Metric: "p99", Role: grace.RoleLatency, Falls: falls})
	var all Result
	for i := range n {
		at := start.Truncate(24 * time.Hour).Add(time.Duration(i) * time.Minute)
		a.Append(h, at.UnixMilli(), value(i))
		if i%60 == 0 || i >= lookFrom {
			r := a.Evaluate(at)
			all.Published = append(all.Published, r.Published...)
			all.Shadow = append(append(all.Shadow, r.Shadow...), r.Advice...)
			all.Resolved = append(all.Resolved, r.Resolved...)
		}
	}
	return a, all
}

// What the evaluation measures is what runs: a series whose threshold is learned
// has the detectors' State, fed with each of its samples, and a detection is a
// claim where it is on the side on which the series gets worse.
func TestAnomalyIsTheDetector(t *testing.T) {
	n := 20*1440 + 600
	odd := func(i int) float64 {
		v := rhythm(i)
		if i >= 20*1440+300 { // far below what it ever was
			v -= 120
		}
		return v
	}
	var alone detect.State
	fired := 0
	for i := range n {
		d := alone.Observe(start.Truncate(24*time.Hour).Add(time.Duration(i)*time.Minute).UnixMilli(), odd(i))
		if d.Fired && i >= 20*1440 {
			if d.Up {
				t.Errorf("%d: %+v", i, d)
			}
			fired++
		}
	}
	if fired == 0 {
		t.Fatal("the detectors see nothing")
	}
	for _, falls := range []bool{false, true} {
		a, all := watched(t, falls, n, 20*1440, odd)
		if a.at(0).odd.State != alone {
			t.Error("the agent's State is another one")
		}
		claims := 0
		for _, p := range all.Shadow {
			if p.Rule == "anomaly" && p.At.After(start.Add(19*24*time.Hour)) {
				claims++
				if p.Likelihood <= 0 || p.Low >= p.High || !p.Learned || len(p.Evidence) != 2 {
					t.Errorf("%+v", p)
				}
			}
		}
		// Where it falls at once there is a breach before it is looked at twice.
		if !falls && claims != 0 || falls && claims > fired {
			t.Errorf("falls %v: %d claims of %d detections", falls, claims, fired)
		}
		if len(all.Published) != 0 {
			t.Errorf("an untried rule speaks: %+v", all.Published)
		}
	}
}

// A night unlike any before is odd with its first samples, before it is a breach
// of what was learned.
func TestAnomalyForesees(t *testing.T) {
	from := 5*1440 - 120
	_, all := watched(t, false, from+60, from-10, func(i int) float64 {
		v := rhythm(i)
		if i >= from {
			v += min(15+float64(i-from), 40)
		}
		return v
	})
	hit := false
	for _, p := range all.Resolved {
		hit = hit || p.Rule == "anomaly" && p.Outcome == grace.PredictionTruePositive && p.Lead > 0 && p.Published == nil
	}
	if !hit {
		t.Errorf("not foreseen: %+v", all)
	}
}

// A series has the detectors while nobody sets a threshold.
func TestAttend(t *testing.T) {
	cfg := DefaultConfig()
	a := earned(cfg, nil)
	id := Series{Service: "cart", Metric: "latency_ms", Role: grace.RoleLatency}
	h := a.Open(id)
	b := a.Open(Series{Service: "cart", Metric: "requests", Role: grace.RoleTraffic})
	if a.at(h).odd == nil || a.at(b).odd != nil {
		t.Error("a series of a role that learns has detectors, another has none")
	}
	a.Reconfigure(cfg, []Target{target()})
	if a.at(h).odd != nil {
		t.Error("a threshold was set")
	}
	a.Reconfigure(cfg, nil)
	if a.at(h).odd == nil {
		t.Error("the threshold is gone")
	}
	cfg.Learn = false
	a.Reconfigure(cfg, nil)
	if a.at(h).odd != nil {
		t.Error("nothing is to be learned")
	}
}

// A disk that fills since four days is said to be full in time, with a band, and
// long before there is history enough for a forecast; downwards too.
func TestFill(t *testing.T) {
	for _, falls := range []bool{false, true} {
		limit := Target{Service: "db", Metric: "disk", Op: ">", Threshold: 90, Code: grace.CodeCapacity, Unit: "%"}
		turn := func(v float64) float64 { return v }
		if falls {
			limit.Op, limit.Threshold = "<", 10
			turn = func(v float64) float64 { return 100 - v }
		}
		a := earned(DefaultConfig(), []Target{limit})
		h := a.Open(Series{Service: "db", Metric: "disk", Role: grace.RoleCapacity})
		at := start
		for i := range 4 * 24 * 4 {
			at = at.Add(15 * time.Minute)
			a.Append(h, at.UnixMilli(), turn(40+0.1*float64(i)+0.5*noise(i))) // 0.4 an hour: full in 29 h
		}
		refit, w := Refit{}, forecast.Workspace{}
		if !a.NextRefit(&refit, 10) {
			t.Fatal("there is nothing to forecast")
		}
		refit.Run(&w, forecast.Default())
		a.Refitted(&refit)
		r := a.Evaluate(at)
		if len(r.Published) != 0 || len(r.Advice) != 1 || r.Advice[0].Rule != "fill" {
			t.Fatalf("%+v", r)
		}
		p := r.Advice[0]
		// At 78.4 now, 11.6 are left.
		if want := at.Add(29 * time.Hour); p.BreachAt.Before(want.Add(-2*time.Hour)) || p.BreachAt.After(want.Add(2*time.Hour)) {
			t.Errorf("full at %v, want %v", p.BreachAt, want)
		}
		if p.Low > limit.Threshold || p.High < limit.Threshold || p.High-p.Low > 10 || p.High == p.Low {
			t.Errorf("band %v to %v", p.Low, p.High)
		}
		if !strings.Contains(p.Evidence[0], "at the limit "+p.BreachAt.Format("2006-01-02 15:04")+" UTC, with 80 % between ") {
			t.Errorf("%q", p.Evidence)
		}
		// It is full when it was to be.
		for i := 4 * 24 * 4; i < 6*24*4; i++ {
			at = at.Add(15 * time.Minute)
			a.Append(h, at.UnixMilli(), turn(40+0.1*float64(i)+0.5*noise(i)))
			r = a.Evaluate(at)
			for _, p := range r.Resolved {
				if p.Rule == "fill" {
					if p.Outcome != grace.PredictionTruePositive || p.Lead.D() < 24*time.Hour {
						t.Errorf("%+v", p)
					}
					return
				}
			}
		}
		t.Error("not resolved")
	}
}

// What was claimed of a learned threshold before a restart goes on when the
// history is back, and is held to the threshold of then.
func TestLearnedAfterRestart(t *testing.T) {
	first := start.Truncate(24 * time.Hour)
	made := first.Add(80 * time.Hour)
	a := earned(DefaultConfig(), nil)
	h := a.Open(Series{Service: "cart", Metric: "p99", Role: grace.RoleLatency})
	entry := grace.Prediction{
		ID: "x", Service: "cart", Metric: "p99", Code: grace.CodeLatencySpike, Rule: "anomaly", Learned: true, Threshold: 123,
		Made: made, At: made, BreachAt: made, Until: made.Add(20 * time.Minute), Outcome: grace.PredictionOpen, Score: 0.6,
	}
	never := entry
	never.ID, never.Code = "y", grace.CodeCapacity
	a.Restore([]grace.Prediction{entry, never})
	for i := range 81 * 60 {
		at := first.Add(time.Duration(i) * time.Minute)
		a.Append(h, at.UnixMilli(), 50+3*noise(i))
		r := Result{}
		if !at.Before(made) {
			r = a.Evaluate(at)
			if w := &a.at(h).watches[0]; w.claim(ruleNumber("anomaly")) != nil && w.threshold != 123 {
				t.Fatalf("held to %v", w.threshold)
			}
		}
		for _, p := range r.Resolved {
			if p.ID != "x" || p.Outcome != grace.PredictionFalsePositive {
				t.Errorf("%+v", p)
			}
			if len(a.pending) != 1 {
				t.Errorf("%+v", a.pending)
			}
			a.Prune(at, at)
			if len(a.pending) != 0 {
				t.Errorf("%+v", a.pending)
			}
			return
		}
	}
	t.Error("not resolved")
}
