package loop

import (
	"testing"
	"time"

	"grace"
)

// TestAnOlderIncidentIsResolved: that a person resolves an incident of before says
// nothing of the condition that lasts now, of which nobody was told.
func TestAnOlderIncidentIsResolved(t *testing.T) {
	t.Parallel()
	l := steppedLoop(t, 3, nil)
	st, service, began := l.stages.Load(), benchService(1), l.Now()
	old := grace.Incident{
		ID: "i-old", Kind: grace.IncidentRun, State: grace.IncidentOpen, Service: service, Run: "r-old", Manual: true,
		Severity: grace.SeverityWarning, Since: began.Add(-time.Hour), OpenedAt: began.Add(-time.Hour), Title: "an earlier run was aborted",
	}
	l.apply(t, grace.Change{Incidents: []grace.Incident{old}})
	sick := grace.Signal{Key: "k", Service: service, Kind: grace.SignalProbe, State: grace.SignalFiring, Severity: grace.SeverityCritical, Since: began, At: began}
	pass := func(now time.Time) {
		t.Helper()
		incidents, err := l.Store.OpenIncidents(t.Context(), l.Store.Q())
		if err != nil {
			t.Fatal(err)
		}
		l.watchConditions(st, []grace.Signal{sick}, now)
		if err := l.noteTold(t.Context(), incidents, now); err != nil {
			t.Fatal(err)
		}
	}
	patience := st.patience(service)
	pass(began)
	pass(began.Add(patience - time.Minute))
	if _, err := l.ResolveIncident(t.Context(), "i-old", "ann", "that was yesterday's"); err != nil {
		t.Fatal(err)
	}
	pass(began.Add(patience - time.Second))
	pass(began.Add(patience))
	if due := l.overdue(st, nil, began.Add(patience)); len(due) != 1 {
		t.Errorf("nobody is told: it counts since %s after it began", l.conditions[service].since.Sub(began))
	}
}

// TestARunOfSomethingElse: a run that a person wanted where nothing was wrong acts
// on no condition that comes after it.
func TestARunOfSomethingElse(t *testing.T) {
	t.Parallel()
	for code, want := range map[grace.Code]int{grace.CodeManual: 1, grace.CodeServiceDown: 0} {
		l := steppedLoop(t, 1, nil)
		service, now := benchService(0), l.Now()
		began := now.Add(-time.Hour)
		l.apply(t, grace.Change{Runs: []grace.Run{{
			ID: "r-backup", Service: service, Code: code, Kind: grace.TriggerManual, Status: grace.RunRunning, Playbook: grace.Playbook{ID: "backup"},
			Decision: "d", Revision: 1, CreatedAt: began, StartedAt: &began,
		}}})
		sick := []grace.Signal{{
			Key: "a", Service: service, Sensor: "probe", Metric: "up", Kind: grace.SignalProbe, State: grace.SignalFiring, Severity: grace.SeverityCritical,
			Since: now.Add(-30 * time.Minute), At: now, Message: "down",
		}}
		if err := l.escalate(t.Context(), l.stages.Load(), nil, sick, now); err != nil {
			t.Fatal(err)
		}
		if open, err := l.Store.OpenIncidents(t.Context(), l.Store.Q()); err != nil || len(open) != want {
			t.Errorf("a run for %s: %d incidents, want %d (%v)", code, len(open), want, err)
		}
	}
}

// TestARunThatWaitsKeepsNoIncident: an incident resolves itself though a run waits to
// start, so that the next outage is told.
func TestARunThatWaitsKeepsNoIncident(t *testing.T) {
	t.Parallel()
	l := steppedLoop(t, 1, func(cfg *Config) { cfg.HoldDown = 30 * time.Second })
	service, st, start := benchService(0), l.stages.Load(), l.Now()
	opened := start.Add(-3 * time.Hour)
	l.apply(t, grace.Change{
		Runs: []grace.Run{{
			ID: "r-1", Service: service, Code: grace.CodeManual, Kind: grace.TriggerManual, Status: grace.RunApproved, Playbook: grace.Playbook{ID: "p"},
			Decision: "d", Revision: 1, CreatedAt: opened,
		}},
		Incidents: []grace.Incident{{
			ID: "i-1", Kind: grace.IncidentUnhealed, State: grace.IncidentOpen, Service: service, Severity: grace.SeverityCritical, Since: opened, OpenedAt: opened,
		}},
	})
	s := grace.Signal{Key: "a", Service: service, Sensor: "probe", Metric: "up", Kind: grace.SignalProbe, State: grace.SignalOK, Severity: grace.SeverityCritical, Since: opened, At: start, Message: "down"}
	pass := func(now time.Time) {
		t.Helper()
		if err := l.escalate(t.Context(), st, nil, []grace.Signal{s}, now); err != nil {
			t.Fatal(err)
		}
	}
	pass(start)
	pass(start.Add(time.Minute))
	again := start.Add(time.Hour)
	s.State, s.Since = grace.SignalFiring, again
	pass(again)
	pass(again.Add(st.patience(service)))
	open, err := l.Store.OpenIncidents(t.Context(), l.Store.Q())
	if err != nil || len(open) != 1 || open[0].ID == "i-1" {
		t.Errorf("sick again, and told by: %+v (%v)", open, err)
	}
}

// TestBlindOverRestarts: restarts put off by moments alone that somebody is told of
// what is not seen.
func TestBlindOverRestarts(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	seen := now
	s := grace.Signal{
		Key: "web/probe/up", Service: "web", Sensor: "probe", Metric: "up", Kind: grace.SignalProbe, Configured: true, State: grace.SignalStale,
		Severity: grace.SeverityCritical, Since: seen.Add(time.Minute), At: seen, Fired: seen, Message: "up: no data",
	}
	var told time.Time
	for range 10 {
		l := unwired(t, func() time.Time { return now })
		l.epoch.Store(now.UnixMilli())
		st := l.stages.Load()
		for range 60 {
			l.watchConditions(st, []grace.Signal{s}, now)
			if told.IsZero() && len(l.blindness(st, []grace.Signal{s}, now)) > 0 {
				told = now
			}
			now = now.Add(time.Second)
		}
	}
	if d := told.Sub(s.Since); told.IsZero() || d < 5*time.Minute || d > 5*time.Minute+2*confirmGrace {
		t.Errorf("told %s after it was known", d)
	}
}

// TestAfterASilence: that the process stood still does not give a condition back the
// time that a silence took from it.
func TestAfterASilence(t *testing.T) {
	t.Parallel()
	l := steppedLoop(t, 3, nil)
	st, began := l.stages.Load(), l.Now()
	s := grace.Signal{Key: "k", Service: benchService(1), Kind: grace.SignalProbe, State: grace.SignalFiring, Severity: grace.SeverityCritical, Since: began, At: began}
	l.watchConditions(st, []grace.Signal{s}, began)
	ended := began.Add(time.Hour)
	l.conditions[s.Service].anew(ended)
	l.woke.Store(true)
	doubted := s
	doubted.Unconfirmed = true
	l.watchConditions(st, []grace.Signal{doubted}, ended.Add(15*time.Second))
	l.watchConditions(st, []grace.Signal{s}, ended.Add(20*time.Second))
	if due := l.overdue(st, nil, ended.Add(20*time.Second)); len(due) > 0 {
		t.Errorf("told 20 s after the silence: it counts since %s after it began", l.conditions[s.Service].since.Sub(began))
	}
	if due := l.overdue(st, nil, ended.Add(st.patience(s.Service))); len(due) != 1 {
		t.Error("not told when it is time")
	}
}
