package loop

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"grace"
	"grace/internal/decide"
	"grace/internal/event"
	"grace/internal/gate"
	"grace/internal/heal"
	"grace/internal/stage/sense"
	"grace/internal/store"
)

// apply writes a change as another process would.
func (l *Loop) apply(t *testing.T, c event.Given) {
	t.Helper()
	if err := l.Store.Do(t.Context(), func(ctx context.Context, tx store.Tx) error { return l.Store.Append(ctx, tx, c) }); err != nil {
		t.Fatal(err)
	}
}

// evidenceNow is what a decision about a signal would rest on.
func (l *Loop) evidenceNow(t *testing.T, service grace.ServiceID, key grace.SignalKey) gate.EvidenceState {
	t.Helper()
	signals, err := l.signalsNow(t.Context(), l.Store.Q(), service)
	if err != nil {
		t.Fatal(err)
	}
	return decide.Evidence([]grace.SignalKey{key}, signals).State
}

// foreseenNow is the same of what is foreseen.
func (l *Loop) foreseenNow(service grace.ServiceID, code grace.Code) gate.EvidenceState {
	st, now := l.stages.Load(), l.Now()
	return st.rules.Foreseen(now, l.evidenceSince(), l.mirror.current(now, st.rules.PredictionsFresh()), service, code, 0).State
}

// wound gives a loop whose clock is moved by hand, some time after it began.
func wound(t *testing.T, change func(*Config)) (l *Loop, tick func()) {
	t.Helper()
	l = steppedLoop(t, 4, change)
	var passed time.Duration
	start := l.Now()
	l.Now = func() time.Time { return start.Add(passed) }
	return l, func() { passed += time.Second }
}

// TestForeseenBeforeAReload: a prediction from before a change of the configuration
// shows nothing after it, however late it is heard or written.
func TestForeseenBeforeAReload(t *testing.T) {
	t.Parallel()
	l, tick := wound(t, nil)
	tick()
	service := benchService(1)
	p := grace.Prediction{
		Key: grace.SignalKey(string(service) + "/x/y"), ID: "a", Rule: "trend", Service: service, Code: grace.CodeCapacity, Title: "t",
		At: l.Now(), Made: l.Now(), Likelihood: 0.95,
	}
	heard := grace.Event{Type: event.TypePrediction, Payload: event.Encode(event.Foresight{Service: service, Code: p.Code, Owner: "test", Prediction: p})}
	l.handleEvent(heard)
	if got := l.foreseenNow(service, p.Code); got != gate.EvidenceFresh {
		t.Fatalf("before: %q", got)
	}
	l.mu.Lock()
	l.enqueue(nil, pendingWrite{prediction: &predictionWrite{Prediction: p, state: event.Standing, owner: l.Owner}}) // written with what the reload changes
	l.mu.Unlock()
	tick()
	if err := l.Reconfigure(t.Context(), l.stages.Load().Config, "test"); err != nil {
		t.Fatal(err)
	}
	if got := l.foreseenNow(service, p.Code); got != gate.EvidenceUnconfirmed {
		t.Errorf("written with the reload: %q", got)
	}
	l.handleEvent(heard)
	if got := l.foreseenNow(service, p.Code); got != gate.EvidenceUnconfirmed {
		t.Errorf("heard late: %q", got)
	}
	tick()
	p.At = l.Now()
	l.handleEvent(grace.Event{Type: event.TypePrediction, Payload: event.Encode(event.Foresight{Service: service, Code: p.Code, Owner: "test", Prediction: p})})
	if got := l.foreseenNow(service, p.Code); got != gate.EvidenceFresh {
		t.Errorf("made anew: %q", got)
	}
}

// TestWordFromBefore: what another replica saw before this process began, or before
// its configuration changed, is no evidence, whatever is known of the signal here;
// what it sees afterwards is.
func TestWordFromBefore(t *testing.T) {
	t.Parallel()
	service := benchService(1)
	key := grace.SignalKey(string(service) + "/probe/up")
	word := func(at time.Time) grace.Signal {
		return grace.Signal{
			Key: key, Service: service, Sensor: "probe", Metric: "up", Kind: grace.SignalProbe, Configured: true, Code: grace.CodeServiceDown,
			State: grace.SignalFiring, Severity: grace.SeverityCritical, Since: at, At: at, Fired: at, FailingSince: at.Add(-5 * time.Second),
		}
	}
	for _, tt := range []struct {
		name               string
		configured, stored bool
		reload             bool
	}{
		{"of a probe without data here", true, false, false},
		{"of a stored one", true, true, false},
		{"of a stored one, after a reload", true, true, true},
		{"of a probe without data, after a reload", true, false, true},
		{"of one that nobody knows here", false, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l, tick := wound(t, func(cfg *Config) {
				if tt.configured {
					cfg.Probes = []sense.Probe{{Service: service, Sensor: "probe", Metric: "up"}}
				}
			})
			if tt.stored {
				if err := l.persist(t.Context(), []grace.Signal{word(l.Now().Add(-time.Minute))}); err != nil {
					t.Fatal(err)
				}
				if err := l.Load(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			before := l.Now().Add(-2 * time.Second)
			if tt.reload {
				tick()
				before = l.Now()
				tick()
				if err := l.Reconfigure(t.Context(), l.stages.Load().Config, "test"); err != nil {
					t.Fatal(err)
				}
			}
			tell := func(s grace.Signal) gate.EvidenceState {
				l.apply(t, event.Given{Signals: []grace.Signal{s}})
				l.handleEvent(grace.Event{Type: event.TypeSignal, Actor: "another", Payload: event.Encode(s)})
				return l.evidenceNow(t, service, key)
			}
			if got := tell(word(before)); got != gate.EvidenceUnconfirmed {
				t.Errorf("from before: %q", got)
			}
			tick()
			if got := tell(word(l.Now())); got != gate.EvidenceFresh {
				t.Errorf("from now: %q", got)
			}
		})
	}
}

// TestAskedAgainBeforeTheFirstStep: a snapshot takes its time, in which the other
// member of a group may go down.
func TestAskedAgainBeforeTheFirstStep(t *testing.T) {
	t.Parallel()
	service, other := benchService(1), benchService(2)
	l, tick := wound(t, func(cfg *Config) {
		cfg.Services[0].Groups = []grace.Group{{Of: []grace.ServiceID{service, other}, Need: 1}}
		cfg.Mode = grace.ModeAutonomous
		cfg.Govern.Execute = true
	})
	see := func(id grace.ServiceID, value float64) {
		t.Helper()
		for range 3 {
			tick()
			sample := grace.Sample{Service: id, Sensor: "probe", Metric: "up", Kind: grace.SampleProbe, Code: grace.CodeLatencySpike, Severity: grace.SeverityCritical, Value: value, At: l.Now()}
			if err := l.Observe(t.Context(), sample); err != nil {
				t.Fatal(err)
			}
		}
	}
	p := grace.Proposal{
		ID: "p", Service: service, Code: grace.CodeLatencySpike, Playbook: "restart_service", Risk: grace.RiskLow, Impact: grace.ImpactLow,
		Auto: true, Confidence: 0.99, Kind: grace.TriggerReactive,
	}
	run := grace.Run{
		ID: "r", Service: service, Code: p.Code, Kind: p.Kind, Decision: "d", Condition: []grace.SignalKey{grace.SignalKey(string(service) + "/probe/up")},
		Status: grace.RunRunning,
	}
	l.apply(t, event.Given{Decisions: []grace.Decision{{ID: "d", Verdict: grace.VerdictRequireApproval, Service: service, Run: "r", Proposal: &p, At: l.Now()}}})
	see(service, 0)
	see(other, 1)
	if decided, err := l.permitFirst(t.Context(), l.stages.Load(), run); !decided || err != nil {
		t.Errorf("while the other is well: %t, %v", decided, err)
	}
	if err := l.Reconfigure(t.Context(), l.stages.Load().Config, "test"); err != nil {
		t.Fatal(err)
	}
	see(service, 0)
	if decided, err := l.permitFirst(t.Context(), l.stages.Load(), run); decided {
		t.Errorf("before the other was looked at since a reload: %v", err)
	}
	see(other, 1)
	if decided, err := l.permitFirst(t.Context(), l.stages.Load(), run); !decided || err != nil {
		t.Errorf("once it was: %t, %v", decided, err)
	}
	see(other, 0)
	if decided, err := l.permitFirst(t.Context(), l.stages.Load(), run); !decided || err == nil {
		t.Errorf("once it is down: %t, %v", decided, err)
	}
}

// TestVerifiedRightAfterStandingStill: what was seen before the process was stopped
// clears no condition, also when the verification is the first that looks.
func TestVerifiedRightAfterStandingStill(t *testing.T) {
	t.Parallel()
	l, tick := wound(t, nil)
	start := l.Now()
	var stood time.Duration
	l.Elapsed = func() time.Duration { return l.Now().Sub(start) + stood }
	l.noticeStill()
	service := benchService(1)
	run := grace.Run{Service: service, Kind: grace.TriggerReactive, Condition: []grace.SignalKey{grace.SignalKey(string(service) + "/probe/up")}}
	pass := func() {
		t.Helper()
		tick()
		sample := grace.Sample{Service: service, Sensor: "probe", Metric: "up", Kind: grace.SampleProbe, Value: 1, Severity: grace.SeverityCritical, At: l.Now()}
		if err := l.Observe(t.Context(), sample); err != nil {
			t.Fatal(err)
		}
	}
	pass()
	if c := l.condition(t.Context(), run); !c.Clear {
		t.Errorf("it passed: %+v", c)
	}
	stood = time.Minute
	if c := l.condition(t.Context(), run); c.Clear {
		t.Errorf("it passed before the process stood still: %+v", c)
	}
	pass()
	if c := l.condition(t.Context(), run); !c.Clear {
		t.Errorf("it passed again: %+v", c)
	}
}

// TestVerifiedByWhatWasSentBefore: an alert that nobody has sent since a run's last step
// says neither that the remedy helped nor that it did not.
func TestVerifiedByWhatWasSentBefore(t *testing.T) {
	t.Parallel()
	l, tick := wound(t, nil)
	service, stepped := benchService(1), l.Now().Add(time.Second)
	key := grace.SignalKey(string(service) + "/alertmanager/Down/f1")
	run := grace.Run{Service: service, Kind: grace.TriggerReactive, Condition: []grace.SignalKey{key}, Steps: []grace.StepRecord{{EndedAt: &stepped}}}
	look := func(repeated time.Time, over bool) heal.Condition {
		t.Helper()
		tick()
		s := grace.Sample{
			Service: service, Sensor: "alertmanager", Metric: "Down", Kind: grace.SampleAlert, Fingerprint: "f1", Severity: grace.SeverityCritical,
			At: l.Now(), Listed: !over, Resolved: over, Repeated: repeated,
		}
		if err := l.Observe(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		return l.condition(t.Context(), run)
	}
	if c := look(stepped, false); c.Clear || !c.Open {
		t.Errorf("sent before the step: %+v", c)
	}
	if c := look(stepped.Add(time.Second), false); c.Clear || c.Open {
		t.Errorf("sent after it: %+v", c)
	}
	if c := look(time.Time{}, true); !c.Clear {
		t.Errorf("over: %+v", c)
	}
}

// TestStormOfWhatIsStored: what is only known from before a start opens no circuit
// breaker; seen again, it does.
func TestStormOfWhatIsStored(t *testing.T) {
	t.Parallel()
	st, err := buildStages(benchConfig(10))
	if err != nil {
		t.Fatal(err)
	}
	for _, unconfirmed := range []bool{true, false} {
		var signals []grace.Signal
		for i := range 8 {
			signals = append(signals, grace.Signal{
				Key: grace.SignalKey(fmt.Sprintf("%s/probe/up", benchService(i))), Service: benchService(i), Code: grace.CodeServiceDown,
				State: grace.SignalFiring, Severity: grace.SeverityCritical, Unconfirmed: unconfirmed,
			})
		}
		want := 8
		if unconfirmed {
			want = 0
		}
		if sick := st.rules.Look(time.Now(), signals, nil).Sick; len(sick) != want {
			t.Errorf("unconfirmed %t: %d count", unconfirmed, len(sick))
		}
		if sick := unseenSick(grace.Incident{Services: []grace.ServiceID{benchService(0)}}, signals); (len(sick) == 1) != unconfirmed {
			t.Errorf("unconfirmed %t: of an open storm %v count as not seen", unconfirmed, sick)
		}
	}
}

// TestAvertedIsSeen: that what was foreseen has not come is shown by data alone, of
// what it was foreseen by, and since the start.
func TestAvertedIsSeen(t *testing.T) {
	t.Parallel()
	service := benchService(1)
	l, tick := wound(t, func(cfg *Config) {
		cfg.Limits = []sense.Limit{{Name: "disk", Service: service, Expr: fmt.Sprintf(`disk{service=%q} > 95`, service), Code: grace.CodeCapacity}}
	})
	run := grace.Run{Service: service, Code: grace.CodeCapacity, Kind: grace.TriggerProactive, Decision: "d"}
	l.apply(t, event.Given{Decisions: []grace.Decision{{ID: "d", Service: service, At: l.Now(), Diagnosis: grace.Diagnosis{
		Cause: service, Code: run.Code, Kind: run.Kind, At: l.Now(),
		Evidence: []grace.Evidence{{Service: service, Code: run.Code, Signal: grace.SignalKey(string(service) + `/predict/disk{mount="/"}/capacity`)}},
	}}}})
	for range 600 { // until predictions would have been made anew
		tick()
	}
	clear := func() bool { return l.condition(t.Context(), run).Clear }
	if clear() {
		t.Error("there is no data at all")
	}
	pass := func(metric string, kind grace.SampleKind) {
		t.Helper()
		tick()
		sample := grace.Sample{Service: service, Sensor: "probe", Metric: metric, Kind: kind, Value: 1, Severity: grace.SeverityCritical, At: l.Now()}
		if err := l.Observe(t.Context(), sample); err != nil {
			t.Fatal(err)
		}
	}
	pass("up", grace.SampleProbe)
	if clear() {
		t.Error("nothing is measured of what was foreseen")
	}
	pass("disk", grace.SampleMetric)
	if !clear() {
		t.Error("it is measured, and all that is seen is well")
	}
	for range 600 {
		tick()
	}
	pass("up", grace.SampleProbe)
	if clear() {
		t.Error("it is not measured any more")
	}
}

// TestVerifiedByTheFirstPass: that the newest sample passes is not yet that it is over,
// nor that the remedy did not help.
func TestVerifiedByTheFirstPass(t *testing.T) {
	t.Parallel()
	l, tick := wound(t, nil)
	service := benchService(1)
	run := grace.Run{Service: service, Kind: grace.TriggerReactive, Condition: []grace.SignalKey{grace.SignalKey(string(service) + "/probe/up")}}
	look := func(value float64) heal.Condition {
		t.Helper()
		tick()
		s := grace.Sample{Service: service, Sensor: "probe", Metric: "up", Kind: grace.SampleProbe, Severity: grace.SeverityCritical, Value: value, At: l.Now()}
		if err := l.Observe(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		return l.condition(t.Context(), run)
	}
	look(0)
	look(0)
	if c := look(0); c.Clear || c.Open {
		t.Errorf("down: %+v", c)
	}
	if c := look(1); c.Clear || !c.Open {
		t.Errorf("up once: %+v", c)
	}
	if c := look(1); !c.Clear {
		t.Errorf("up twice: %+v", c)
	}
}

// TestOverBeforeItsTurn: what another replica has seen to, while this one waited for its
// turn to decide, needs no decision of its own.
func TestOverBeforeItsTurn(t *testing.T) {
	t.Parallel()
	l := steppedLoop(t, 3, nil)
	service := benchService(1)
	look := func(value float64) {
		t.Helper()
		s := grace.Sample{Service: service, Sensor: "probe", Metric: "up", Kind: grace.SampleProbe, Code: grace.CodeServiceDown, Severity: grace.SeverityCritical, Value: value, At: time.Now()}
		if err := l.Observe(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		look(0)
	}
	st := l.stages.Load()
	sc := l.look(st)
	for range 3 {
		look(1)
	}
	said, err := l.decideTogether(t.Context(), st, sc, []workItem{{diagnosis: sc.Diagnoses[0]}})
	if err != nil || len(said) != 1 || !passes(said[0]) {
		t.Fatalf("%+v, %v", said, err)
	}
	if dec, err := l.Store.LastDecision(t.Context(), l.Store.Q(), service); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("on record: %+v, %v", dec, err)
	}
}

// TestRunAbout: what a late word of the same adds nothing to is an open run, or the last
// one when it healed what is over.
func TestRunAbout(t *testing.T) {
	t.Parallel()
	at := time.Now()
	over := grace.Decision{Service: "web", Reasons: []grace.Reason{{Gate: "evidence", Code: grace.ReasonCleared}}}
	open := grace.Decision{Service: "web", Reasons: []grace.Reason{{Gate: "open", Code: grace.ReasonDuplicate}}}
	past := func(status grace.RunStatus) []grace.PastRun {
		return []grace.PastRun{{Run: "r-1", Service: "web", Status: grace.RunSucceeded, At: at.Add(-time.Hour)}, {Run: "r-2", Service: "web", Status: status, At: at}}
	}
	running := []grace.OpenRun{{Run: "r-3", Service: "web"}}
	for name, tt := range map[string]struct {
		open []grace.OpenRun
		past []grace.PastRun
		dec  grace.Decision
		want grace.RunID
	}{
		"one is open":               {running, past(grace.RunSucceeded), open, "r-3"},
		"one has healed it":         {nil, past(grace.RunSucceeded), over, "r-2"},
		"the last one did not":      {nil, past(grace.RunRolledBack), over, ""},
		"it is not over":            {nil, past(grace.RunSucceeded), open, ""},
		"nothing was done about it": {nil, nil, over, ""},
	} {
		if got := runAbout(tt.open, tt.past, tt.dec); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}
