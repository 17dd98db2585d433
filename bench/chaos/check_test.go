package main

import (
	"testing"
	"time"

	"grace"
)

// TestChecks plants each thing that chaos looks for.
func TestChecks(t *testing.T) {
	ended := grace.Run{
		ID: "r1", Service: "svc0", Status: grace.RunSucceeded,
		Steps: []grace.StepRecord{{Name: "s1", State: grace.StepSucceeded}},
	}
	open := ended
	open.ID, open.Status = "r2", grace.RunVerifying
	again := ended
	again.ID = "r3"
	part := grace.Run{ID: "r4", Service: "core.database", Status: grace.RunCancelled}
	begun := part
	begun.StartedAt = &time.Time{}
	trigger := grace.Trigger{ID: "t1", Service: "svc0", State: grace.TriggerDecided}
	pending := trigger
	pending.State = grace.TriggerPending
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	healed := ended
	healed.Condition, healed.EndedAt = []grace.SignalKey{"svc0/alert"}, &at
	late, anew := trigger, trigger
	late.Signal, late.At = "svc0/alert", at
	anew.Signal, anew.At = "svc0/alert", at.Add(time.Second)
	decided := []grace.Decision{{ID: "d1", Triggers: []grace.TriggerID{"t1"}}}
	once := map[string]int{"r1/do/s1": 1}
	entry := grace.AuditEntry{Object: "run/r1", Action: "run.step_succeeded", Reason: "s1"}

	for name, c := range map[string]struct {
		check                     func(r *result)
		lost, doubled, violations int
	}{
		"nothing": {func(r *result) {
			checkTriggers(r, []grace.Trigger{trigger}, decided, nil)
			checkRuns(r, []grace.Run{ended}, []grace.ServiceID{"svc0"})
			checkSteps(r, []grace.AuditEntry{entry, {Object: "run/r2", Action: entry.Action, Reason: "s1"}})
			checkEffects(r, []grace.Run{ended}, once)
		}, 0, 0, 0},
		"a trigger without a decision":   {func(r *result) { checkTriggers(r, []grace.Trigger{trigger}, nil, nil) }, 1, 0, 1},
		"one that another's run heals":   {func(r *result) { checkTriggers(r, []grace.Trigger{late}, nil, []grace.Run{healed}) }, 0, 0, 0},
		"one of another signal":          {func(r *result) { checkTriggers(r, []grace.Trigger{late}, nil, []grace.Run{ended}) }, 1, 0, 1},
		"one from after the run":         {func(r *result) { checkTriggers(r, []grace.Trigger{anew}, nil, []grace.Run{healed}) }, 1, 0, 1},
		"a trigger that waits":           {func(r *result) { checkTriggers(r, []grace.Trigger{pending}, decided, []grace.Run{ended}) }, 1, 0, 1},
		"an accepted one without a run":  {func(r *result) { checkRuns(r, []grace.Run{ended}, []grace.ServiceID{"svc1"}) }, 1, 0, 1},
		"a run that does not end":        {func(r *result) { checkRuns(r, []grace.Run{open}, nil) }, 1, 0, 2},
		"two runs":                       {func(r *result) { checkRuns(r, []grace.Run{ended, again}, nil) }, 0, 1, 1},
		"a part of GRACE is well again":  {func(r *result) { checkRuns(r, []grace.Run{part, part}, nil) }, 0, 0, 0},
		"what began and was cancelled":   {func(r *result) { checkRuns(r, []grace.Run{begun}, nil) }, 0, 0, 1},
		"a step recorded twice":          {func(r *result) { checkSteps(r, []grace.AuditEntry{entry, entry}) }, 0, 1, 1},
		"two effects of a key":           {func(r *result) { checkEffects(r, []grace.Run{ended}, map[string]int{"r1/do/s1": 2}) }, 0, 1, 1},
		"no effect of a step":            {func(r *result) { checkEffects(r, []grace.Run{ended}, nil) }, 0, 0, 1},
		"an effect that nobody recorded": {func(r *result) { checkEffects(r, nil, once) }, 0, 0, 1},
	} {
		var r result
		c.check(&r)
		if r.Lost != c.lost || r.Doubled != c.doubled || len(r.Violations) != c.violations {
			t.Errorf("%s: lost %d, doubled %d, %q", name, r.Lost, r.Doubled, r.Violations)
		}
	}
}

// TestTakeover: the time without an owner ends when another process has the
// run, and begins anew when the database comes back.
func TestTakeover(t *testing.T) {
	w := &watch{killed: map[string]time.Time{}, orphan: map[string]orphan{}}
	w.judge(map[string]string{"r1": "host-7-x"}, 0)
	w.kill(7)
	w.judge(map[string]string{"r1": "host-7-x", "r2": "host-77-x"}, 1)
	if len(w.orphan) != 1 {
		t.Fatalf("orphans %v", w.orphan)
	}
	w.judge(map[string]string{"r1": "host-7-x"}, 1)
	w.judge(map[string]string{"r1": "host-8-x"}, 1)
	if got := w.times(); got.Count != 1 || len(w.orphan) != 0 {
		t.Errorf("%+v, orphans %v", got, w.orphan)
	}
	if got := percentiles([]time.Duration{3 * time.Second, time.Second, 2 * time.Second, 9 * time.Second}); got != (times{4, 3, 9, 9}) {
		t.Errorf("%+v", got)
	}
}
