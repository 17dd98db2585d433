package loop

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"grace/internal/event"
	"grace/internal/store"

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
	l.apply(t, event.Given{Incidents: []grace.Incident{old}})
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
	patience := st.escalateAfter(service)
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
		l.apply(t, event.Given{Runs: []grace.Run{{
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
	l.apply(t, event.Given{
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
	pass(again.Add(st.escalateAfter(service)))
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
		l.looking.Store(now.UnixMilli())
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
	if due := l.overdue(st, nil, ended.Add(st.escalateAfter(s.Service))); len(due) != 1 {
		t.Error("not told when it is time")
	}
}

// TestAnotherFault: an incident of a service hushes no other fault of it, whether
// another signal fires or the same one means something else; each is told once. Who
// looks after the first as what it was is told of the other by an incident of its own.
func TestAnotherFault(t *testing.T) {
	t.Parallel()
	for _, acknowledged := range []bool{false, true} {
		l := steppedLoop(t, 1, nil)
		service, st, now := benchService(0), l.stages.Load(), l.Now()
		signal := func(key string, code grace.Code, text string) grace.Signal {
			return grace.Signal{
				Key: grace.SignalKey(key), Service: service, Sensor: key, Metric: key, Kind: grace.SignalProbe, Code: code, State: grace.SignalFiring,
				Severity: grace.SeverityWarning, Since: now, At: now, Message: text,
			}
		}
		pass := func(signals ...grace.Signal) []grace.Incident {
			t.Helper()
			for range 2 {
				if err := l.escalate(t.Context(), st, nil, signals, now); err != nil {
					t.Fatal(err)
				}
				now = now.Add(st.escalateAfter(service))
			}
			open, err := l.Store.OpenIncidents(t.Context(), l.Store.Q())
			if err != nil {
				t.Fatal(err)
			}
			return open
		}
		updates := func() (n int) {
			t.Helper()
			events, err := l.Store.Events(t.Context(), l.Store.Q(), 0, []string{"incident.opened", "incident.updated"}, 100)
			if err != nil {
				t.Fatal(err)
			}
			return len(events)
		}
		disk, probe := signal("disk", grace.CodeCapacity, "disk 95 > 80"), signal("up", grace.CodeElevatedErrors, "answered 500")
		open := pass(disk)
		if len(open) != 1 || open[0].Title != string(service)+" is sick, and nothing that helps is being done" {
			t.Fatalf("the first: %+v", open)
		}
		if acknowledged {
			if _, err := l.AcknowledgeIncident(t.Context(), open[0].ID, "ann", "the disk is known"); err != nil {
				t.Fatal(err)
			}
		}
		before := updates()
		probe.Since = now
		last := func(open []grace.Incident) grace.Incident { return open[len(open)-1] }
		if open = pass(disk, probe); updates() != before+1 || !strings.Contains(last(open).Detail, "answered 500") {
			t.Errorf("acknowledged %t: another signal: %d told, %+v", acknowledged, updates()-before, open)
		}
		if want := 1; acknowledged {
			if want = 2; len(open) != want || open[0].Acknowledged == nil || open[1].Acknowledged != nil {
				t.Errorf("%d incidents, want %d: %+v", len(open), want, open)
			}
		} else if len(open) != want {
			t.Errorf("%d incidents, want %d: %+v", len(open), want, open)
		}
		probe.Code, probe.Message = grace.CodeServiceDown, "connection refused"
		if open = pass(disk, probe); updates() != before+2 || !strings.Contains(last(open).Detail, "connection refused") {
			t.Errorf("acknowledged %t: it means something else: %d told, %+v", acknowledged, updates()-before, open)
		}
		probe.Code = grace.CodeElevatedErrors
		if pass(disk, probe); updates() != before+2 {
			t.Errorf("acknowledged %t: what was told is told again", acknowledged)
		}
		// What is only to be looked at is another fault by every rule.
		sick := []grace.Signal{disk, probe}
		for i, rule := range []string{"MemoryLow", "ClockSkew", "ClockSkew"} {
			s := signal(fmt.Sprint(rule, i), grace.CodeInvestigation, rule+" fires")
			s.Metric, s.Since = rule, now
			sick = append(sick, s)
			if open = pass(sick...); updates() != before+3+min(i, 1) || !strings.Contains(last(open).Detail, sick[min(i, 1)+2].Message) {
				t.Errorf("acknowledged %t: %s: %d told, %+v", acknowledged, s.Key, updates()-before, open)
			}
		}
	}
}

// TestUnfounded: a question about what is not watched any more is taken back.
func TestUnfounded(t *testing.T) {
	t.Parallel()
	l := steppedLoop(t, 1, nil)
	service, now := benchService(0), l.Now()
	s := grace.Signal{Key: "a", Service: service, Metric: "up", State: grace.SignalFiring, Severity: grace.SeverityCritical, Since: now, At: now}
	run := grace.Run{
		ID: "r", Service: service, Status: grace.RunAwaitingApproval, Decision: "d", Playbook: grace.Playbook{ID: "p"}, Revision: 1, CreatedAt: now,
		Condition: []grace.SignalKey{"a", "b"},
	}
	l.apply(t, event.Given{Runs: []grace.Run{run}, Signals: []grace.Signal{s}})
	unfounded := func() bool {
		t.Helper()
		over, _, err := l.unfounded(t.Context(), store.RunHead{ID: run.ID, Service: service})
		if err != nil {
			t.Fatal(err)
		}
		return over
	}
	if unfounded() {
		t.Error("one of its signals is there")
	}
	s.Gone = true
	l.apply(t, event.Given{Signals: []grace.Signal{s}})
	if !unfounded() {
		t.Error("none is there any more")
	}
}

// TestRecovering: the symptoms of what depends on a service that has just recovered
// are told to be its, and not to be of no rule.
func TestRecovering(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	l := unwired(t, func() time.Time { return now })
	fired := now
	l.mirror.signals([]grace.Signal{{Key: "db/probe/up", Service: "db", State: grace.SignalOK, Severity: grace.SeverityCritical, At: now.Add(5 * time.Second), Fired: fired}})
	l.conditions["web"] = &condition{since: now, worst: grace.Signal{Service: "web", Code: grace.CodeServiceDown}}
	if now = fired.Add(10 * time.Second); !strings.HasPrefix(l.whyNot("web"), "db, on which it depends, recovered") {
		t.Errorf("a moment later: %s", l.whyNot("web"))
	}
	if now = fired.Add(time.Minute); strings.Contains(l.whyNot("web"), "recovered") {
		t.Errorf("a minute later: %s", l.whyNot("web"))
	}
}

// TestReasonOfNow: a run that was decided a moment ago begins before somebody is told
// that nothing is done; and an incident says why nothing is done now, not why nothing
// was when it was opened.
func TestReasonOfNow(t *testing.T) {
	t.Parallel()
	l := steppedLoop(t, 1, nil)
	service, st, now := benchService(0), l.stages.Load(), l.Now()
	run := grace.Run{ID: "r-1", Service: service, Code: grace.CodeServiceDown, Status: grace.RunApproved, Decision: "d", Playbook: grace.Playbook{ID: "p"}, CreatedAt: now}
	write := func(status grace.RunStatus) {
		run.Status, run.Revision = status, run.Revision+1
		if status.Terminal() {
			run.EndedAt = &now
		}
		l.apply(t, event.Given{Runs: []grace.Run{run}})
	}
	s := grace.Signal{
		Key: "a", Service: service, Sensor: "probe", Metric: "up", Kind: grace.SignalProbe, Code: grace.CodeServiceDown, State: grace.SignalFiring,
		Severity: grace.SeverityCritical, Since: now.Add(-time.Hour), At: now, Message: "down",
	}
	look := func() []grace.Incident {
		t.Helper()
		if err := l.escalate(t.Context(), st, nil, []grace.Signal{s}, now); err != nil {
			t.Fatal(err)
		}
		open, err := l.Store.OpenIncidents(t.Context(), l.Store.Q())
		if err != nil {
			t.Fatal(err)
		}
		return open
	}
	write(grace.RunApproved)
	if open := look(); len(open) != 0 {
		t.Errorf("it is about to start: %+v", open)
	}
	write(grace.RunAwaitingApproval)
	now = now.Add(startGrace)
	if open := look(); len(open) != 1 || !strings.Contains(open[0].Detail, "waits for a person's answer") {
		t.Fatalf("%+v", open)
	}
	write(grace.RunExpired)
	now = now.Add(rewordEvery)
	if open := look(); len(open) != 1 || strings.Contains(open[0].Detail, "answer") || !strings.Contains(open[0].Detail, "down; GRACE does not act: ") {
		t.Errorf("nobody has answered: %+v", open)
	}
}

// TestNeedless: a question that was asked for the change window alone is taken back when
// one opens; what a person wants, or was asked for another reason too, is not.
func TestNeedless(t *testing.T) {
	t.Parallel()
	window := grace.Reason{Gate: "change_window", Code: grace.ReasonOutsideWindow}
	for _, tt := range []struct {
		kind    grace.TriggerKind
		reasons []grace.Reason
		want    bool
	}{
		{grace.TriggerReactive, []grace.Reason{window, {Gate: "mode", OK: true}}, true},
		{grace.TriggerReactive, []grace.Reason{window, {Gate: "critical_target", Code: grace.ReasonCriticalTarget}}, false},
		{grace.TriggerManual, []grace.Reason{window}, false},
		{grace.TriggerReactive, nil, false},
	} {
		l := steppedLoop(t, 1, nil)
		run := grace.Run{ID: "r", Service: benchService(0), Kind: tt.kind, Status: grace.RunAwaitingApproval, Decision: "d", Revision: 1, CreatedAt: l.Now()}
		l.apply(t, event.Given{Runs: []grace.Run{run}, Decisions: []grace.Decision{{ID: "d", Service: run.Service, Reasons: tt.reasons, At: l.Now()}}})
		if over, _, err := l.needless(t.Context(), store.RunHead{ID: "r", Service: run.Service}); err != nil || over != tt.want {
			t.Errorf("%s %v: %t (%v)", tt.kind, tt.reasons, over, err)
		}
		if !l.windowOpened() || l.windowOpened() {
			t.Error("without windows every time is inside: it opened at the start, and once")
		}
	}
}
