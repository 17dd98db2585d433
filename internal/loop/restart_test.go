package loop

import (
	"context"
	"testing"
	"time"

	"grace"
	"grace/internal/event"
	"grace/internal/gate"
	"grace/internal/stage/propose"
	"grace/internal/stage/sense"
	"grace/internal/store"
)

// asked is an engine that takes all and does nothing.
type asked struct{}

func (asked) Enqueue(context.Context, store.Tx, grace.RunID, any) error { return nil }

func (asked) Send(context.Context, store.Tx, grace.RunID, string, grace.ControlMessage) error {
	return nil
}

func (asked) Failed([]grace.RunID) (map[grace.RunID]string, error) { return nil, nil }

// again gives a loop that was started over what another one left, by its clock.
func again(t *testing.T, cfg Config, deps Deps) *Loop {
	t.Helper()
	deps.Engine = asked{}
	l, err := New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return l
}

// TestAnswerIsSeen: what answers a replica that has seen nothing yet stays evidence for
// the one that has.
func TestAnswerIsSeen(t *testing.T) {
	t.Parallel()
	l, tick := wound(t, nil)
	service := benchService(1)
	alert := func() {
		t.Helper()
		tick()
		s := grace.Sample{Service: service, Sensor: "alertmanager", Metric: "Down", Kind: grace.SampleAlert, Fingerprint: "f", Severity: grace.SeverityCritical, Code: grace.CodeServiceDown, At: l.Now()}
		if err := l.Observe(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		l.Relay(t.Context())
	}
	key := grace.SignalKey(string(service) + "/alertmanager/Down/f")
	alert()
	word, _ := l.sense.Signal(key)
	alert()
	word.Unconfirmed = true
	l.handleEvent(grace.Event{Type: event.TypeSignal, Actor: "another", Payload: event.Encode(word)})
	l.handleEvent(grace.Event{Type: event.TypeAsked, Actor: "another", Payload: event.Encode([]grace.SignalKey{key})})
	for range 10 {
		alert()
	}
	if got := l.evidenceNow(t, service, key); got != gate.EvidenceFresh {
		t.Errorf("seen since: %q (unconfirmed: %t)", got, l.mirror.isUnconfirmed(key))
	}
}

// TestWebhookAfterReading: an alert that webhooks repeat fires, though the list that held
// it is not read any more.
func TestWebhookAfterReading(t *testing.T) {
	t.Parallel()
	l, tick := wound(t, nil)
	service := benchService(1)
	key := grace.SignalKey(string(service) + "/alertmanager/Down/f")
	send := func(listed bool, expires time.Duration) {
		t.Helper()
		s := grace.Sample{Service: service, Sensor: "alertmanager", Metric: "Down", Kind: grace.SampleAlert, Fingerprint: "f", Severity: grace.SeverityCritical, Code: grace.CodeServiceDown, At: l.Now(), Listed: listed}
		if expires > 0 {
			s.Expires = l.Now().Add(expires)
		}
		if err := l.Observe(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	tick()
	send(true, 100*time.Second) // a reading
	for range 60 {
		tick()
	}
	send(false, 0) // a webhook: the API of the Alertmanager does not answer from now on
	for i := range 200 {
		tick()
		if i%60 == 59 {
			send(false, 0)
		}
		if err := l.elapse(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	send(false, 0)
	if got := l.evidenceNow(t, service, key); got != gate.EvidenceFresh {
		t.Errorf("said by a webhook this moment: %q", got)
	}
}

// TestListedAlertOverARestart: what an Alertmanager lists, and has for long, is not stale
// before it could be read after a start.
func TestListedAlertOverARestart(t *testing.T) {
	t.Parallel()
	service := benchService(1)
	l := steppedLoop(t, 3, nil)
	start, passed := l.Now(), 10*time.Second
	l.Now = func() time.Time { return start.Add(passed) }
	l.Elapsed = func() time.Duration { return passed }
	l.beat = passed
	key := grace.SignalKey(string(service) + "/alertmanager/Down/f")
	read := func(l *Loop) {
		t.Helper()
		s := grace.Sample{Service: service, Sensor: "alertmanager", Metric: "Down", Kind: grace.SampleAlert, Fingerprint: "f", Severity: grace.SeverityCritical, Code: grace.CodeServiceDown, At: l.Now(), Listed: true, Expires: l.Now().Add(100 * time.Second)}
		if err := l.Observe(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 { // 10 minutes
		read(l)
		passed += 30 * time.Second
		if err := l.elapse(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	read(l)
	passed += time.Second
	deps := l.Deps
	deps.Now, deps.Elapsed = l.Now, l.Elapsed
	l2 := again(t, l.stages.Load().Config, deps)
	for i := range 3 {
		passed += time.Second
		if err := l2.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
		s, _ := l2.sense.Signal(key)
		if s.State != grace.SignalFiring {
			t.Errorf("%d s after the start, 2 s + %d s after the last good reading, none has failed: %s (%s)", i+1, i, s.State, s.Message)
		}
	}
	read(l2)
}

// TestStormOverARestart: while a storm lasts that is only known from before a start, what
// becomes sick is not acted on either.
func TestStormOverARestart(t *testing.T) {
	t.Parallel()
	l := steppedLoop(t, 10, func(c *Config) {
		c.Propose = propose.DefaultConfig()
		c.Mode = grace.ModeAskAlways
		c.Govern.Execute = true
	})
	start := l.Now()
	var signals []grace.Signal
	var sick []grace.ServiceID
	for i := range 9 {
		id := benchService(i)
		sick = append(sick, id)
		signals = append(signals, grace.Signal{Key: grace.SignalKey(string(id) + "/probe/up"), Service: id, Sensor: "probe", Metric: "up", Kind: grace.SignalProbe, Code: grace.CodeServiceDown, State: grace.SignalFiring, Severity: grace.SeverityCritical, Since: start.Add(-time.Minute), At: start.Add(-time.Second), Fired: start.Add(-time.Second), Message: "down"})
	}
	inc := grace.Incident{ID: "storm-x", Kind: grace.IncidentStorm, State: grace.IncidentOpen, Services: sick, Severity: grace.SeverityCritical, Since: start.Add(-time.Minute), OpenedAt: start.Add(-time.Minute)}
	l.apply(t, event.Given{Signals: signals, Incidents: []grace.Incident{inc}})
	passed := time.Duration(0)
	deps := l.Deps
	deps.Now, deps.Elapsed = func() time.Time { return start.Add(passed) }, func() time.Duration { return passed }
	l2 := again(t, l.stages.Load().Config, deps)
	for i := range 30 {
		passed += time.Second
		for k := range append(sick, benchService(9)) {
			if k == 9 && i >= 3 || k < 9 && i >= 15+k {
				if err := l2.Observe(t.Context(), grace.Sample{Service: benchService(k), Sensor: "probe", Metric: "up", Kind: grace.SampleProbe, Code: grace.CodeServiceDown, Severity: grace.SeverityCritical, At: l2.Now()}); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := l2.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	heads, err := l2.Store.OpenRunHeads(t.Context(), l2.Store.Q())
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range heads {
		t.Errorf("in the storm: run %s of %s is %s", h.ID, h.Service, h.State)
	}
}

// TestBlindAfterAWake: a sensor that could not look before the process stood still may
// look again before somebody is told.
func TestBlindAfterAWake(t *testing.T) {
	t.Parallel()
	service := benchService(1)
	l := steppedLoop(t, 3, func(cfg *Config) {
		cfg.Probes = []sense.Probe{{Service: service, Sensor: "probe", Metric: "up", Interval: 5 * time.Second, Severity: grace.SeverityCritical}}
	})
	start, passed := l.Now(), 10*time.Second
	l.Now = func() time.Time { return start.Add(passed) }
	l.Elapsed = func() time.Duration { return passed }
	l.beat = passed
	send := func(kind grace.SampleKind) {
		t.Helper()
		if err := l.Observe(t.Context(), grace.Sample{Service: service, Sensor: "probe", Metric: "up", Kind: kind, Value: 1, At: l.Now(), Severity: grace.SeverityCritical, Message: "network is unreachable"}); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		passed += time.Second
		send(grace.SampleProbe)
		if err := l.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	passed += time.Second
	send(grace.SampleSensorError)
	if err := l.Step(t.Context()); err != nil {
		t.Fatal(err)
	}
	passed += 8 * time.Hour
	for i := range 20 {
		passed += time.Second
		if i >= 5 {
			send(grace.SampleProbe)
		}
		if err := l.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
		open, err := l.Store.OpenIncidents(t.Context(), l.Store.Q())
		if err != nil || len(open) > 0 {
			t.Fatalf("%d s after it woke: %+v (%v)", i+1, open, err)
		}
	}
}

// TestQuestionOverAnotherConfiguration: a question about what is not watched any more
// since a start is taken back.
func TestQuestionOverAnotherConfiguration(t *testing.T) {
	t.Parallel()
	service := benchService(1)
	l := steppedLoop(t, 3, func(cfg *Config) {
		cfg.Probes = []sense.Probe{{Service: service, Sensor: "old", Metric: "up", Interval: 5 * time.Second, Severity: grace.SeverityCritical, Code: grace.CodeServiceDown}}
	})
	start := l.Now()
	key := grace.SignalKey(string(service) + "/old/up")
	l.apply(t, event.Given{
		Signals:   []grace.Signal{{Key: key, Service: service, Sensor: "old", Metric: "up", Kind: grace.SignalProbe, Configured: true, Code: grace.CodeServiceDown, State: grace.SignalFiring, Severity: grace.SeverityCritical, Since: start.Add(-time.Minute), At: start, Fired: start}},
		Runs:      []grace.Run{{ID: "r", Service: service, Code: grace.CodeServiceDown, Kind: grace.TriggerReactive, Status: grace.RunAwaitingApproval, Playbook: grace.Playbook{ID: "restart_service"}, Decision: "d", Revision: 1, CreatedAt: start, Condition: []grace.SignalKey{key}}},
		Approvals: []grace.Approval{{ID: "r", Run: "r", Service: service, Playbook: "restart_service", State: grace.ApprovalPending, Revision: 1, Expires: start.Add(30 * time.Minute), At: start}},
	})
	cfg := l.stages.Load().Config
	cfg.Probes = []sense.Probe{{Service: service, Sensor: "new", Metric: "up", Interval: 5 * time.Second, Severity: grace.SeverityCritical, Code: grace.CodeServiceDown}}
	var passed time.Duration
	deps := l.Deps
	deps.Now, deps.Elapsed = func() time.Time { return start.Add(passed) }, func() time.Duration { return passed }
	l2 := again(t, cfg, deps)
	for range 60 {
		passed += time.Second
		sample := grace.Sample{Service: service, Sensor: "new", Metric: "up", Kind: grace.SampleProbe, At: l2.Now(), Severity: grace.SeverityCritical, Code: grace.CodeServiceDown}
		if err := l2.Observe(t.Context(), sample); err != nil {
			t.Fatal(err)
		}
		if err := l2.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	a, err := l2.Store.Approval(t.Context(), l2.Store.Q(), "r")
	if err != nil || a.State != grace.ApprovalCancelled {
		t.Errorf("%+v (%v)", a, err)
	}
}

// TestTheOtherIncidentIsResolved: what a person resolves though it lasts is not told
// again a moment later, while another incident of the service is open.
func TestTheOtherIncidentIsResolved(t *testing.T) {
	t.Parallel()
	l := steppedLoop(t, 3, nil)
	st, service, start := l.stages.Load(), benchService(1), l.Now()
	a := grace.Signal{Key: "a", Service: service, Sensor: "probe", Metric: "up", Kind: grace.SignalProbe, Code: grace.CodeServiceDown, State: grace.SignalFiring, Severity: grace.SeverityCritical, Since: start, At: start, Message: "down"}
	b := grace.Signal{Key: "b", Service: service, Sensor: "disk", Metric: "disk", Kind: grace.SignalObjective, Code: grace.CodeCapacity, State: grace.SignalFiring, Severity: grace.SeverityWarning, Message: "disk full"}
	l.epoch.Store(start.Add(-time.Hour).UnixMilli())
	list := []grace.Signal{a}
	step := func(from, to int) {
		for i := from; i < to; i++ {
			now := start.Add(time.Duration(i) * time.Second)
			if err := l.escalate(t.Context(), st, nil, list, now); err != nil {
				t.Fatal(err)
			}
		}
	}
	step(0, 310)
	open := func(n int) []grace.Incident {
		t.Helper()
		open, err := l.Store.OpenIncidents(t.Context(), l.Store.Q())
		if err != nil || len(open) != n {
			t.Fatalf("%d open, want %d: %+v (%v)", len(open), n, open, err)
		}
		return open
	}
	if _, err := l.AcknowledgeIncident(t.Context(), open(1)[0].ID, "ann", "mine"); err != nil {
		t.Fatal(err)
	}
	b.Since, b.At = start.Add(310*time.Second), start.Add(310*time.Second)
	list = []grace.Signal{a, b}
	step(310, 640)
	if _, err := l.ResolveIncident(t.Context(), open(2)[1].ID, "ann", "I know"); err != nil {
		t.Fatal(err)
	}
	step(640, 700)
	open(1)
	step(700, 1000)
	open(2) // it has its time again
}
