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
	"grace/domain/core"
	"grace/internal/diagnose"
	"grace/internal/govern"
	"grace/internal/heal"
	"grace/internal/learn"
	"grace/internal/predict"
	"grace/internal/propose"
	"grace/internal/sense"
	"grace/internal/store"
)

// unwired is a loop without a store: for what is computed in memory alone.
func unwired(t interface{ Fatal(...any) }, now func() time.Time) *Loop {
	services := []grace.Service{
		{ID: "web", Criticality: grace.CriticalityMedium, DependsOn: []grace.ServiceID{"db"}},
		{ID: "db", Criticality: grace.CriticalityCritical},
	}
	l, err := New(Config{
		Services: services, Sense: sense.DefaultConfig(), Predict: predict.DefaultConfig(), Diagnose: diagnose.DefaultConfig(),
		Propose: propose.DefaultConfig(), Govern: govern.DefaultConfig(), Learn: learn.DefaultConfig(), HoldDown: 30 * time.Second,
		Probes: []sense.Probe{
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
		got := evidenceOf(condition, slices.Collect(maps.Values(known)))
		if (got.State == propose.EvidenceFresh) != want {
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
					lasts = lasts || p.service == id && looked[p] && passed-began > st.patience(id)
				}
				if lasts && !told {
					t.Fatalf("%s is sick since %v, it is %s, its patience is %s, and it is not overdue", id, since, passed, st.patience(id))
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

// TestWhatResolvesItselfPutsNothingOff: when a storm is over, or data is back,
// what is still sick is told at once; when a person resolved it, after a while.
func TestWhatResolvesItselfPutsNothingOff(t *testing.T) {
	t.Parallel()
	l := steppedLoop(t, 1, nil)
	now := l.Now()
	began := now.Add(-time.Hour)
	for actor, want := range map[string]bool{"": false, "token:ann": true} {
		inc := grace.Incident{
			ID: "i-" + grace.IncidentID(hash(actor)), Kind: grace.IncidentBlind, State: grace.IncidentResolved, Sensor: "probe",
			Services: []grace.ServiceID{benchService(0)}, OpenedAt: began, ResolvedAt: &now, ResolvedBy: actor,
		}
		if err := l.Store.Do(t.Context(), func(ctx context.Context, tx store.Tx) error {
			return l.Store.Apply(ctx, tx, incidentChange(inc, "incident.resolved", "test", "", now))
		}); err != nil {
			t.Fatal(err)
		}
		c := &condition{since: began, told: []grace.IncidentID{inc.ID}}
		l.conditions = map[grace.ServiceID]*condition{benchService(0): c}
		if err := l.noteTold(t.Context(), nil, now); err != nil {
			t.Fatal(err)
		}
		if anew := c.since.Equal(now); anew != want {
			t.Errorf("resolved by %q: the clock starts anew: %t", actor, anew)
		}
	}
}

// TestVictimsOfWhatIsSilenced: a silence of the cause does not hush its victims.
func TestVictimsOfWhatIsSilenced(t *testing.T) {
	t.Parallel()
	l := steppedLoop(t, 3, nil)
	now := l.Now()
	cause, victim, quiet := benchService(0), benchService(1), benchService(2)
	for _, id := range []grace.ServiceID{cause, quiet} {
		if _, err := l.AddSilence(t.Context(), grace.Silence{Service: string(id), Ends: now.Add(time.Hour), Reason: "new disk"}, "token:ann"); err != nil {
			t.Fatal(err)
		}
	}
	now = l.Now()
	st := l.stages.Load()
	lasts := lasting{service: cause, victims: []grace.ServiceID{quiet, victim}, since: now.Add(-time.Hour), severity: grace.SeverityCritical, text: "down"}
	for range 2 {
		if err := l.openUnhealed(t.Context(), st, lasts, now); err != nil {
			t.Fatal(err)
		}
	}
	open, err := l.Store.OpenIncidents(t.Context(), l.Store.Q())
	if err != nil {
		t.Fatal(err)
	}
	if len(open) != 1 || open[0].Service != victim || open[0].Covers(cause) || open[0].Covers(quiet) || !strings.Contains(open[0].Detail, "is silenced") {
		t.Errorf("%+v, want one incident of the victim that nobody silenced", open)
	}
}

// TestWhyNothingIsDone: that a remedy was proposed a moment ago, and not done,
// is told with why it was not done.
func TestWhyNothingIsDone(t *testing.T) {
	t.Parallel()
	for _, state := range []grace.RunState{grace.RunObservedOnly, grace.RunDenied, grace.RunExpired} {
		l := steppedLoop(t, 1, nil)
		now, id := l.Now(), benchService(0)
		run := grace.Run{
			ID: "r-1", Service: id, Code: grace.CodeServiceDown, Kind: grace.TriggerReactive, State: state, Playbook: grace.Playbook{ID: "restart_service"},
			Reasons:  []grace.Reason{{Gate: "policy", Code: grace.ReasonPolicyDeny, Actual: "night-freeze says deny", Required: "no policy that denies"}},
			Revision: 1, SickSince: now.Add(-time.Hour), CreatedAt: now.Add(-time.Minute), EndedAt: &now,
		}
		if err := l.Store.Do(t.Context(), func(ctx context.Context, tx store.Tx) error {
			return l.Store.Apply(ctx, tx, grace.Change{Runs: []grace.Run{run}})
		}); err != nil {
			t.Fatal(err)
		}
		l.considered["d"] = consideration{at: now, service: id, failed: []grace.Reason{{Gate: "playbook", Code: grace.ReasonDuplicate, Actual: "proposed"}}}
		lasts := lasting{service: id, since: now.Add(-time.Hour), severity: grace.SeverityCritical, text: "down"}
		if err := l.openUnhealed(t.Context(), l.stages.Load(), lasts, now); err != nil {
			t.Fatal(err)
		}
		open, err := l.Store.OpenIncidents(t.Context(), l.Store.Q())
		if err != nil || len(open) != 1 {
			t.Fatalf("%+v, %v; want one incident", open, err)
		}
		if !strings.Contains(open[0].Detail, "night-freeze says deny") {
			t.Errorf("%s: %q does not say why", state, open[0].Detail)
		}
	}
}

// TestWhyNotOfWhatIsJustDiagnosed: the cause of what lasts may be found only now;
// that nothing is decided yet is no lack of a diagnosis.
func TestWhyNotOfWhatIsJustDiagnosed(t *testing.T) {
	t.Parallel()
	l := steppedLoop(t, 2, nil)
	now, cause, victim := l.Now(), benchService(0), benchService(1)
	since := now.Add(-time.Hour)
	l.conditions = map[grace.ServiceID]*condition{victim: {since: since, confirmed: true}, cause: {since: since, confirmed: true}}
	diagnoses := []grace.Diagnosis{{Cause: cause, Code: grace.CodeServiceDown, Victims: []grace.ServiceID{victim}}}
	for _, want := range []bool{true, false} {
		due := l.overdue(l.stages.Load(), diagnoses, now)
		if len(due) != 1 || due[0].service != cause || due[0].undecided != want {
			t.Fatalf("%+v, want the cause, undecided: %t", due, want)
		}
		if want {
			if err := l.openUnhealed(t.Context(), l.stages.Load(), due[0], now); err != nil {
				t.Fatal(err)
			}
		}
		l.considered["d"] = consideration{at: now, service: cause}
	}
	open, err := l.Store.OpenIncidents(t.Context(), l.Store.Q())
	if err != nil || len(open) != 1 || !strings.Contains(open[0].Detail, "decided in a moment") {
		t.Errorf("%+v, %v; want one that says that it is not decided yet", open, err)
	}
}

// TestVictimsAreToldAtOnce: when a cause is told, so are the victims that are sick
// by then; those that recovered are not.
func TestVictimsAreToldAtOnce(t *testing.T) {
	t.Parallel()
	l := steppedLoop(t, 4, nil)
	now, cause, late, well := l.Now(), benchService(0), benchService(1), benchService(2)
	l.conditions = map[grace.ServiceID]*condition{
		cause: {since: now.Add(-time.Hour), confirmed: true}, late: {since: now, confirmed: true}, well: {since: now, clear: now, confirmed: true},
	}
	diagnoses := []grace.Diagnosis{{Cause: cause, Code: grace.CodeServiceDown, Victims: []grace.ServiceID{late, well}}}
	for range 2 {
		due := l.overdue(l.stages.Load(), diagnoses, now)
		if len(due) != 1 {
			t.Fatalf("%+v, want the cause", due)
		}
		if err := l.openUnhealed(t.Context(), l.stages.Load(), due[0], now); err != nil {
			t.Fatal(err)
		}
	}
	open, err := l.Store.OpenIncidents(t.Context(), l.Store.Q())
	if err != nil || len(open) != 1 || !open[0].Covers(late) || open[0].Covers(well) || open[0].News != "" {
		t.Errorf("%+v, %v; want one incident of cause and victim", open, err)
	}
}

// TestWhyNotOfWhatFlaps: that it passes now and then is the reason, also while it
// fails; a rule for its code there may well be.
func TestWhyNotOfWhatFlaps(t *testing.T) {
	t.Parallel()
	l := unwired(t, time.Now)
	for state, want := range map[grace.SignalState]string{
		grace.SignalFiring: "it fails only now and then", grace.SignalUnstable: "it keeps changing",
	} {
		l.conditions["web"] = &condition{worst: grace.Signal{Code: grace.CodeServiceDown, State: state, Flapping: true}}
		if why := l.whyNot("web"); !strings.HasPrefix(why, want) || !strings.HasSuffix(why, "while it passes") {
			t.Errorf("%s: %q", state, why)
		}
	}
}

// TestSickInAStorm: what becomes sick while a storm lasts, and its victims, are
// told too, many at once; what was told is not told again, unless it had been well
// meanwhile. What is silenced is not told, but its victims are.
func TestSickInAStorm(t *testing.T) {
	t.Parallel()
	l := steppedLoop(t, 12, nil)
	st, now := l.stages.Load(), l.Now()
	reason := grace.Reason{Gate: "storm", Code: grace.ReasonStorm, Actual: "2 of 8 services sick", Required: "at most 1"}
	l.stormNow.Store(&reason)
	own := grace.Incident{
		ID: "i-own", Kind: grace.IncidentUnhealed, State: grace.IncidentOpen, Service: benchService(5), Severity: grace.SeverityWarning, OpenedAt: now,
	}
	quiet := grace.Silence{ID: "s-1", Service: string(benchService(6)), Reason: "maintenance", Starts: now, Ends: now.Add(24 * time.Hour)}
	if err := l.Store.Do(t.Context(), func(ctx context.Context, tx store.Tx) error {
		c := stormOpened([]grace.ServiceID{benchService(0), benchService(1)}, reason, now)
		c.Incidents, c.Silences = append(c.Incidents, own), []grace.Silence{quiet}
		return l.Store.Apply(ctx, tx, c)
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
	if want := "4 more services are sick"; !strings.HasPrefix(inc.Title, want) || !strings.HasSuffix(inc.Detail, reason.String()) {
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

// TestNothingLeftToShowItWell: when the last signals of a service are gone, its
// incident says so and is a person's to resolve; it hides nothing that comes later.
func TestNothingLeftToShowItWell(t *testing.T) {
	t.Parallel()
	l := steppedLoop(t, 2, func(cfg *Config) { cfg.HoldDown = 30 * time.Second })
	gone, other, st := benchService(0), benchService(1), l.stages.Load()
	opened := l.Now().Add(-time.Hour)
	inc := grace.Incident{
		ID: "i-1", Kind: grace.IncidentUnhealed, State: grace.IncidentOpen, Service: gone, Services: []grace.ServiceID{other},
		Severity: grace.SeverityCritical, Since: opened, OpenedAt: opened,
	}
	if err := l.Store.Do(t.Context(), func(ctx context.Context, tx store.Tx) error {
		return l.Store.Apply(ctx, tx, incidentChange(inc, "incident.opened", "test", "", opened))
	}); err != nil {
		t.Fatal(err)
	}
	ok := func(id grace.ServiceID) grace.Signal {
		return grace.Signal{Key: grace.SignalKey(id), Service: id, State: grace.SignalOK, Severity: grace.SeverityCritical}
	}
	look := func(now time.Time, signals ...grace.Signal) grace.Incident {
		if err := l.resolveIncidents(t.Context(), st, []grace.Incident{inc}, nil, signals, now); err != nil {
			t.Fatal(err)
		}
		var err error
		if inc, err = l.Store.Incident(t.Context(), l.Store.Q(), inc.ID); err != nil {
			t.Fatal(err)
		}
		return inc
	}
	if look(l.Now(), ok(gone), ok(other)); inc.Manual || inc.State != grace.IncidentOpen {
		t.Fatalf("%+v: want it open, for the hold-down", inc)
	}
	look(l.Now().Add(time.Second), ok(other))
	if look(l.Now().Add(time.Hour), ok(other)); !inc.Manual || inc.State != grace.IncidentOpen || !strings.Contains(inc.News, "nothing watches "+string(gone)) {
		t.Errorf("%+v: want it kept for a person", inc)
	}
	if covered([]grace.Incident{inc}, lasting{service: gone, since: l.Now()}) {
		t.Error("it hides what begins later")
	}
	if !covered([]grace.Incident{inc}, lasting{service: gone, since: opened}) {
		t.Error("what it is about is told again")
	}
}

// TestReloadsPutNothingOff: what is not seen is told in time, however often the
// configuration is read again.
func TestReloadsPutNothingOff(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	l := unwired(t, func() time.Time { return now })
	l.epoch.Store(now.UnixMilli())
	st := l.stages.Load()
	l.sense.Expect(st.Probes)
	began := now
	for ; now.Sub(began) < 2*st.EscalateCritical; now = now.Add(10 * time.Second) {
		blind := l.blindness(st, l.sense.Signals(), now)
		l.epoch.Store(now.UnixMilli()) // a reload
		if told := len(blind) > 0; told != (now.Sub(began) >= st.EscalateCritical) {
			t.Fatalf("after %s without a sample: told %t", now.Sub(began), told)
		}
	}
}

// TestResolvedByHandIsNotToldAtOnce: who resolves the incident of what lasts
// hears of it again after a while, not a second later.
func TestResolvedByHandIsNotToldAtOnce(t *testing.T) {
	t.Parallel()
	l := steppedLoop(t, 1, nil)
	id, st := benchService(0), l.stages.Load()
	sick := []grace.Signal{{
		Key: "a", Service: id, Sensor: "probe", Metric: "up", Kind: grace.SignalProbe, State: grace.SignalFiring, Severity: grace.SeverityCritical,
		Since: l.Now().Add(-time.Hour), At: l.Now(), Message: "down",
	}}
	open := func() []grace.Incident {
		if err := l.escalate(t.Context(), st, nil, sick, l.Now()); err != nil {
			t.Fatal(err)
		}
		list, err := l.Store.OpenIncidents(t.Context(), l.Store.Q())
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	told := open()
	if len(told) != 1 {
		t.Fatalf("%+v, want one incident", told)
	}
	open() // one pass that sees it open
	if _, err := l.ResolveIncident(t.Context(), told[0].ID, "token:ann", "I know"); err != nil {
		t.Fatal(err)
	}
	if again := open(); len(again) != 0 {
		t.Errorf("told again at once: %+v", again)
	}
}

// TestOwnPartsAreNoServicesOfAShare: GRACE's own parts, which are well while
// everything else is down, do not keep the circuit breaker from opening.
func TestOwnPartsAreNoServicesOfAShare(t *testing.T) {
	t.Parallel()
	cfg := benchConfig(4)
	cfg.Propose = propose.DefaultConfig()
	for _, id := range []grace.ServiceID{core.Database, core.TaskExecutor, core.ReflectionService, core.TriggerMesh} {
		cfg.Services = append(cfg.Services, grace.Service{ID: id, Domain: core.Name})
	}
	st, err := buildStages(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var diagnoses []grace.Diagnosis
	for i := range 4 {
		diagnoses = append(diagnoses, grace.Diagnosis{Cause: benchService(i), Kind: grace.TriggerReactive, Severity: grace.SeverityCritical})
	}
	sick := st.storming(append(diagnoses, grace.Diagnosis{Cause: core.TriggerMesh, Kind: grace.TriggerReactive, Severity: grace.SeverityCritical}))
	r, storm := propose.New(st.Propose, st.graph, nil).Storm(propose.State{Sick: sick, Total: population(st, sick)})
	if want := "4 of 4 services sick"; !storm || r.Actual != want {
		t.Errorf("open: %t, %s; want it open, %s", storm, r.Actual, want)
	}
}

// TestWorseIsTold: an incident that covers a condition does not hush that it has
// become critical.
func TestWorseIsTold(t *testing.T) {
	t.Parallel()
	l := steppedLoop(t, 1, nil)
	now := l.Now()
	lasts := lasting{service: benchService(0), since: now.Add(-time.Hour), severity: grace.SeverityWarning, text: "slow"}
	for _, severity := range []grace.Severity{grace.SeverityWarning, grace.SeverityCritical, grace.SeverityWarning} {
		lasts.severity = severity
		if err := l.openUnhealed(t.Context(), l.stages.Load(), lasts, now); err != nil {
			t.Fatal(err)
		}
	}
	open, err := l.Store.OpenIncidents(t.Context(), l.Store.Q())
	if err != nil {
		t.Fatal(err)
	}
	if len(open) != 1 || open[0].Severity != grace.SeverityCritical || !strings.Contains(open[0].News, "critical now") {
		t.Errorf("%+v, want one incident, critical by now", open)
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
	if e := evidenceFrom(new(l.newest(row))); e.State != propose.EvidenceFresh {
		t.Errorf("it fires: %+v", e)
	}
	probe(1)
	if e := evidenceFrom(new(l.newest(row))); e.State != propose.EvidencePassing {
		t.Errorf("it has passed, which is not durable yet: %+v", e)
	}
	alert := grace.Signal{Key: "web/am/Down", Service: "web", Kind: grace.SignalAlert, State: grace.SignalFiring, At: now, Expires: now.Add(time.Minute)}
	if e := evidenceFrom(new(l.newest(alert))); e.State != propose.EvidenceFresh {
		t.Errorf("an alert: %+v", e)
	}
	now = now.Add(2 * time.Minute)
	if e := evidenceFrom(new(l.newest(alert))); e.State != propose.EvidenceNoData {
		t.Errorf("an alert that was sent to another replica and not repeated: %+v", e)
	}
}

// TestTouched: an alert is to be confirmed anew when what is watched of its
// service changes, not by any other change.
func TestTouched(t *testing.T) {
	t.Parallel()
	now := func() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }
	before, same, other := unwired(t, now).stages.Load(), unwired(t, now).stages.Load(), *unwired(t, now).stages.Load()
	other.Probes = other.Probes[1:]
	alert := grace.Signal{Service: "web", Kind: grace.SignalAlert}
	if touched(before, same, alert) {
		t.Error("nothing has changed")
	}
	if !touched(before, &other, alert) {
		t.Error("a probe of its service is gone")
	}
	if alert.Service = "db"; touched(before, &other, alert) {
		t.Error("a probe of another service is gone")
	}
}

// TestSilencedAtItsSource: nothing is done to a service one of whose alerts is
// silenced by its sender, whatever else says that it is sick.
func TestSilencedAtItsSource(t *testing.T) {
	t.Parallel()
	fresh := propose.Evidence{State: propose.EvidenceFresh}
	quiet := grace.Signal{Key: "web/am/Down", Kind: grace.SignalAlert, State: grace.SignalFiring, Silenced: "silence 1 (ann: new disk)"}
	if e := unlessSilenced(fresh, []grace.Signal{{State: grace.SignalFiring}, quiet}); e.State != propose.EvidenceSilenced || !strings.Contains(e.Text, "ann") {
		t.Errorf("%+v", e)
	}
	quiet.State = grace.SignalOK // it was silenced, and is over
	if e := unlessSilenced(fresh, []grace.Signal{quiet}); e.State != propose.EvidenceFresh {
		t.Errorf("%+v", e)
	}
}
