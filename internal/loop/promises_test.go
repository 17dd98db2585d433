package loop

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"grace"
	"grace/internal/decide"
	"grace/internal/event"
	"grace/internal/explain"
	"grace/internal/gate"
	"grace/internal/heal"
	"grace/internal/stage/diagnose"
	"grace/internal/stage/govern"
	"grace/internal/stage/learn"
	"grace/internal/stage/predict"
	"grace/internal/stage/propose"
	"grace/internal/stage/sense"
	"grace/internal/store"
)

// unwired is a loop without a store: for what is computed in memory alone.
func unwired(t interface{ Fatal(...any) }, now func() time.Time) *Loop {
	services := []grace.Service{
		{ID: "web", Criticality: grace.CriticalityMedium, DependsOn: []grace.ServiceID{"db"}},
		{ID: "db", Criticality: grace.CriticalityCritical},
	}
	l, err := New(Config{
		Config: decide.Config{
			Services: services, Diagnose: diagnose.DefaultConfig(), Propose: propose.DefaultConfig(), Govern: govern.DefaultConfig(), HoldDown: 30 * time.Second,
		},
		Sense: sense.DefaultConfig(), Predict: predict.DefaultConfig(), Learn: learn.DefaultConfig(), Probes: []sense.Probe{
			{Service: "web", Sensor: "probe", Metric: "up"},
			{Service: "db", Sensor: "probe", Metric: "up"},
			{Service: "web", Sensor: "slow", Metric: "up"},
			{Service: "db", Sensor: "slow", Metric: "up"},
		},
	}, Deps{Log: slog.New(slog.DiscardHandler), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestNoActionWithoutFreshEvidence: evidence is fresh exactly when a signal of
// the condition fires and its newest sample, seen since the start, says so.
func TestNoActionWithoutFreshEvidence(t *testing.T) {
	t.Parallel()
	states := []grace.SignalState{grace.SignalUnknown, grace.SignalOK, grace.SignalFiring, grace.SignalStale, grace.SignalUnstable}
	rapid.Check(t, func(t *rapid.T) {
		known := map[grace.SignalKey]grace.Signal{}
		var condition []grace.SignalKey
		for _, key := range []grace.SignalKey{"web/a/x", "web/b/x", "web/c/x"} {
			if rapid.Bool().Draw(t, "named") {
				condition = append(condition, key)
			}
			if rapid.Bool().Draw(t, "known") {
				known[key] = grace.Signal{
					Key: key, State: rapid.SampledFrom(states).Draw(t, "state"), Passing: rapid.Bool().Draw(t, "passing"),
					Unconfirmed: rapid.Bool().Draw(t, "unconfirmed"), Silenced: rapid.SampledFrom([]string{"", "somebody"}).Draw(t, "silenced"),
				}
			}
		}
		want := slices.ContainsFunc(condition, func(key grace.SignalKey) bool {
			s, found := known[key]
			return found && s.State == grace.SignalFiring && !s.Passing && !s.Unconfirmed && s.Silenced == ""
		})
		got := decide.Evidence(condition, slices.Collect(maps.Values(known)))
		if (got.State == gate.EvidenceFresh) != want {
			t.Fatalf("%v of %v is %q, want fresh: %t", condition, known, got.State, want)
		}
	})
}

// TestNoSilence: whatever samples come, restarts, reloads and clock steps: what
// has been sick for longer than its patience, and has not been clear for the
// hold-down, is overdue, and what is well is not.
func TestNoSilence(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		passed := time.Duration(0) // that no step of the clock moves
		wall := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		now := func() time.Time { return wall.Add(passed) }
		l := unwired(t, now)
		l.epoch.Store(now().UnixMilli())
		services := []grace.ServiceID{"db", "web"}
		looks := map[string]int{"probe": 1, "slow": 4} // each so many rounds
		type probe struct {
			service grace.ServiceID
			sensor  string
		}
		sick := map[probe]bool{}
		since := map[probe]time.Duration{} // since when it is known to be sick
		looked := map[probe]bool{}         // since the start
		for round := range rapid.IntRange(10, 120).Draw(t, "rounds") {
			switch rapid.IntRange(0, 19).Draw(t, "what") {
			case 0, 1, 2:
				p := probe{rapid.SampledFrom(services).Draw(t, "service"), rapid.SampledFrom([]string{"probe", "slow"}).Draw(t, "sensor")}
				sick[p] = !sick[p]
			case 3:
				l = restarted(t, l, now)
				clear(looked)
			case 4:
				step := time.Duration(rapid.IntRange(-900, 900).Draw(t, "step")) * time.Second
				wall = wall.Add(step)
				if step.Abs() >= heal.ClockStep {
					shifted := l.sense.ClockStepped(now(), step)
					l.mirror.clockStepped(now(), step)
					l.mirror.signals(shifted)
					l.shifted.Add(int64(step))
					l.epoch.Add(min(0, step.Milliseconds()))
				}
			}
			passed += 5 * time.Second
			for _, p := range []probe{{"db", "probe"}, {"db", "slow"}, {"web", "probe"}, {"web", "slow"}} {
				if round%looks[p.sensor] != 0 {
					continue
				}
				v := 1.0
				if sick[p] {
					v = 0
				}
				looked[p] = true
				l.mirror.signals(l.sense.Observe(grace.Sample{Service: p.service, Sensor: p.sensor, Metric: "up", Kind: grace.SampleProbe, Value: v, At: now(), Severity: grace.SeverityCritical}))
				s, _ := l.sense.Signal(grace.SignalKey(string(p.service) + "/" + p.sensor + "/up"))
				switch {
				case s.State != grace.SignalFiring || !sick[p]:
					delete(since, p)
				case since[p] == 0:
					since[p] = passed
				}
			}
			l.shiftClocks()
			st := l.stages.Load()
			l.watchConditions(st, l.mirror.allSignals(), now())
			due := l.overdue(st, nil, now())
			for _, id := range services {
				told := slices.ContainsFunc(due, func(c lasting) bool { return c.service == id })
				lasts := false
				for p, began := range since {
					lasts = lasts || p.service == id && looked[p] && passed-began > st.escalateAfter(id)
				}
				if lasts && !told {
					t.Fatalf("%s is sick since %v, it is %s, its patience is %s, and it is not overdue", id, since, passed, st.escalateAfter(id))
				}
				if told && l.conditions[id] == nil {
					t.Fatalf("%s is overdue without a condition", id)
				}
			}
		}
	})
}

func signalOf(l *Loop, id grace.ServiceID) grace.Signal {
	s, _ := l.sense.Signal(grace.SignalKey(string(id) + "/probe/up"))
	return s
}

// restarted is a new process that loads what another one stored.
func restarted(t interface{ Fatal(...any) }, old *Loop, now func() time.Time) *Loop {
	l := unwired(t, now)
	l.epoch.Store(now().UnixMilli())
	l.sense.Expect(l.stages.Load().Probes)
	stored := slices.Clone(old.mirror.allSignals())
	l.sense.Restore(stored, now())
	l.mirror.unconfirm(stored, now())
	return l
}

// TestStaleElsewhere: that another replica has no data of a service is that
// replica's fault, and does not hide what this one sees.
func TestStaleElsewhere(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	l := unwired(t, func() time.Time { return now })
	for i := range 3 {
		at := now.Add(time.Duration(i) * 5 * time.Second)
		l.sense.Observe(grace.Sample{Service: "web", Sensor: "probe", Metric: "up", Kind: grace.SampleProbe, At: at, Severity: grace.SeverityCritical})
	}
	own := signalOf(l, "web")
	older := own
	older.State, older.At = grace.SignalStale, now
	l.heard(older, false)
	if l.unsaved.pending() != 1 || l.unsaved.waiting[0].signal.State != grace.SignalFiring {
		t.Errorf("%+v waits to be said, want that it fires", l.unsaved.waiting)
	}
	older.At = own.At
	l.heard(older, false)
	if l.unsaved.pending() != 1 {
		t.Error("what this process has not seen since either was contradicted")
	}
}

// TestOwnWordsHeardLate: what this process has said itself says nothing new to it,
// however late it comes back.
func TestOwnWordsHeardLate(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	l := unwired(t, func() time.Time { return now })
	looks := func(from int, value float64) (last []grace.Signal) {
		for i := range 2 {
			last = l.sense.Observe(grace.Sample{
				Service: "web", Sensor: "probe", Metric: "up", Kind: grace.SampleProbe, Value: value,
				At: now.Add(time.Duration(from+i) * time.Second), Severity: grace.SeverityCritical,
			})
		}
		return last
	}
	firing := looks(0, 0)[0]
	looks(2, 1)
	l.heard(firing, true)
	if l.unsaved.pending() > 0 {
		t.Errorf("%+v waits to be said", l.unsaved.waiting)
	}
	if l.heard(firing, false); l.unsaved.pending() != 1 {
		t.Error("of another replica it is contradicted")
	}
}

// TestSickInAStorm: what becomes sick while a storm lasts, and its victims, are
// told too, many at once; what was told is not told again, unless it had been well
// meanwhile. What is silenced is not told, but its victims are.
func TestSickInAStorm(t *testing.T) {
	t.Parallel()
	l := steppedLoop(t, 12, nil)
	st, now := l.stages.Load(), l.Now()
	reason := grace.Reason{Gate: "storm", Code: grace.ReasonStorm, Actual: grace.Numbers{"sick": 2, "services": 8}, Required: grace.Numbers{"services": 1}}
	l.stormNow.Store(&reason)
	own := grace.Incident{
		ID: "i-own", Kind: grace.IncidentUnhealed, State: grace.IncidentOpen, Service: benchService(5), Severity: grace.SeverityWarning, OpenedAt: now,
	}
	quiet := grace.Silence{ID: "s-1", Service: string(benchService(6)), Reason: "maintenance", Starts: now, Ends: now.Add(24 * time.Hour)}
	if err := l.Store.Do(t.Context(), func(ctx context.Context, tx store.Tx) error {
		return l.Store.Append(ctx, tx, stormOpened([]grace.ServiceID{benchService(0), benchService(1)}, reason, now),
			event.Given{Incidents: []grace.Incident{own}, Silences: []grace.Silence{quiet}})
	}); err != nil {
		t.Fatal(err)
	}
	sick := func(i int, victims ...grace.ServiceID) lasting {
		return lasting{service: benchService(i), victims: victims, since: now}
	}
	storm := func() (inc grace.Incident, all []grace.Incident) {
		t.Helper()
		all, err := l.Store.OpenIncidents(t.Context(), l.Store.Q())
		if err != nil {
			t.Fatal(err)
		}
		return all[slices.IndexFunc(all, isStorm)], all
	}
	look := func(after time.Duration, due ...lasting) grace.Incident {
		t.Helper()
		_, all := storm()
		if err := l.widenStorm(t.Context(), st, all, due, now.Add(after)); err != nil {
			t.Fatal(err)
		}
		inc, _ := storm()
		return inc
	}
	told := func() int {
		t.Helper()
		events, err := l.Store.Events(t.Context(), l.Store.Q(), 0, []string{"self_heal.storm.widened"}, 10)
		if err != nil {
			t.Fatal(err)
		}
		return len(events)
	}
	due := []lasting{sick(0), sick(2)}
	if inc := look(0, due...); inc.Covers(benchService(2)) {
		t.Error("told before others could come")
	}
	due = append(due, sick(3, benchService(4)), sick(5), sick(6, benchService(7)))
	inc := look(gather, due...)
	for i := range 8 {
		if want := i != 5 && i != 6; inc.Covers(benchService(i)) != want {
			t.Errorf("service %d: %v, want named: %t", i, inc.Services, want)
		}
	}
	if want := "4 more services are sick"; !strings.HasPrefix(inc.Title, want) || !strings.HasSuffix(inc.Detail, explain.Line(reason)) {
		t.Errorf("%q, %q; want %s, and why nothing is done", inc.Title, inc.Detail, want)
	}
	if look(time.Hour, due...); told() != 1 {
		t.Errorf("told %d times, want once", told())
	}
	well := map[grace.ServiceID]time.Time{benchService(0): now.Add(time.Hour), benchService(2): now.Add(2 * time.Hour)}
	if err := l.noteRecovered(t.Context(), inc, well, time.Minute, now.Add(2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if inc = look(3*time.Hour, sick(0), sick(1)); told() != 2 || inc.Title != string(benchService(0))+" is sick too while the circuit breaker is open: nothing is done automatically" {
		t.Errorf("told %d times: %s, want again that %s is sick, which had been well", told(), inc.Title, benchService(0))
	}
	if look(4*time.Hour, sick(0), sick(1)); told() != 2 {
		t.Errorf("told %d times, want twice", told())
	}
}

// TestReloadsPutNothingOff: what is not seen is told in time, however often the
// configuration is read again.
func TestReloadsPutNothingOff(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	l := unwired(t, func() time.Time { return now })
	l.epoch.Store(now.UnixMilli())
	l.looking.Store(now.UnixMilli())
	st := l.stages.Load()
	l.sense.Expect(st.Probes)
	began := now
	for ; now.Sub(began) < 2*st.EscalateCritical; now = now.Add(10 * time.Second) {
		blind := l.blindness(st, l.sense.Signals(), now)
		l.epoch.Store(now.UnixMilli()) // a reload
		l.looking.Store(now.UnixMilli())
		if told := len(blind) > 0; told != (now.Sub(began) >= st.EscalateCritical) {
			t.Fatalf("after %s without a sample: told %t", now.Sub(began), told)
		}
	}
}

// TestNewestEvidence: what this process has seen pass since a row was written
// counts before it is durable, and so does that an alert's time is over.
func TestNewestEvidence(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	l := unwired(t, func() time.Time { return now })
	probe := func(v float64) {
		now = now.Add(5 * time.Second)
		l.sense.Observe(grace.Sample{Service: "web", Sensor: "probe", Metric: "up", Kind: grace.SampleProbe, Value: v, At: now})
	}
	probe(0)
	probe(0)
	row := signalOf(l, "web")
	if e := evidenceOf(l.newest(row)); e.State != gate.EvidenceFresh {
		t.Errorf("it fires: %+v", e)
	}
	probe(1)
	if e := evidenceOf(l.newest(row)); e.State != gate.EvidencePassing {
		t.Errorf("it has passed, which is not durable yet: %+v", e)
	}
	alert := grace.Signal{Key: "web/am/Down", Service: "web", Kind: grace.SignalAlert, State: grace.SignalFiring, At: now, Expires: now.Add(time.Minute)}
	if e := evidenceOf(l.newest(alert)); e.State != gate.EvidenceFresh {
		t.Errorf("an alert: %+v", e)
	}
	now = now.Add(2 * time.Minute)
	if e := evidenceOf(l.newest(alert)); e.State != gate.EvidenceNoData {
		t.Errorf("an alert that was sent to another replica and not repeated: %+v", e)
	}
}

func evidenceOf(s grace.Signal) gate.Evidence {
	return decide.Evidence([]grace.SignalKey{s.Key}, []grace.Signal{s})
}
