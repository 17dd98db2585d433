package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"grace"
	"grace/internal/event"
	"grace/internal/store"
)

func TestRecordsRoundTrip(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		ctx, q := t.Context(), s.Q()
		breach := at(5)
		signal := grace.Signal{Key: "cart/prom/p99", Service: "cart", State: grace.SignalFiring, Value: 1.5, Since: t0, At: at(1)}
		signal2 := grace.Signal{Key: "catalog/http/up", Service: "catalog", State: grace.SignalOK, Since: t0, At: at(1)}
		trigger := grace.Trigger{ID: "t-1", Kind: grace.TriggerProactive, State: grace.TriggerPending, Service: "cart", BreachAt: &breach, At: at(1)}
		decision := grace.Decision{
			ID: "dec-1", Verdict: grace.VerdictAllow, Service: "cart", Run: "r-1", At: at(1),
			Reasons:   []grace.Reason{{Gate: "impact", Code: grace.ReasonPassed, OK: true}},
			Diagnosis: grace.Diagnosis{ID: "d-1", Since: t0, At: t0}, Proposal: &grace.Proposal{ID: "p-1", At: t0},
		}
		approval := grace.Approval{ID: "r-1", Run: "r-1", State: grace.ApprovalPending, Revision: 1, Expires: at(30), At: at(1)}
		incident := grace.Incident{ID: "i-1", State: grace.IncidentOpen, Title: "broken", Service: "cart", OpenedAt: at(1)}
		learning := grace.LearningEntry{ID: "l-1", Service: "cart", Diagnosis: grace.CodeLatencySpike, Playbook: "scale_up_instances", Result: grace.ResultSuccess, At: at(1)}
		prediction := grace.Prediction{Key: "cart/prom/p99", Service: "cart", Likelihood: .85, BreachAt: at(5), At: at(1)}
		mode := grace.ModeSetting{Mode: grace.ModeAskAlways, Actor: "token:ops", Since: at(1), Revision: 1}

		equal(t, must[grace.ModeSetting](t)(s.Mode(ctx, q)), grace.ModeSetting{})
		apply(t, s, event.Given{
			Signals: []grace.Signal{signal, signal2}, Triggers: []grace.Trigger{trigger}, Decisions: []grace.Decision{decision},
			Approvals: []grace.Approval{approval}, Incidents: []grace.Incident{incident}, Learning: []grace.LearningEntry{learning},
			Predictions: []grace.Prediction{prediction}, Mode: &mode,
		})

		equal(t, must[[]grace.Signal](t)(s.Signals(ctx, q, "")), []grace.Signal{signal, signal2})
		equal(t, must[[]grace.Signal](t)(s.Signals(ctx, q, "catalog")), []grace.Signal{signal2})
		equal(t, must[grace.Trigger](t)(s.Trigger(ctx, q, "t-1")), trigger)
		equal(t, must[[]grace.Trigger](t)(s.PendingTriggers(ctx, q, 10)), []grace.Trigger{trigger})
		equal(t, must[grace.Decision](t)(s.Decision(ctx, q, "dec-1")), decision)
		equal(t, must[grace.Decision](t)(s.LastDecision(ctx, q, "cart")), decision)
		equal(t, must[grace.Approval](t)(s.Approval(ctx, q, "r-1")), approval)
		equal(t, must[grace.Incident](t)(s.Incident(ctx, q, "i-1")), incident)
		equal(t, must[[]grace.LearningEntry](t)(s.LearningSince(ctx, q, at(1))), []grace.LearningEntry{learning})
		equal(t, must[grace.ModeSetting](t)(s.Mode(ctx, q)), mode)

		predictions, _, err := s.Predictions(ctx, q, store.PredictionFilter{Service: "cart"}, store.Page{})
		equal(t, must[[]grace.Prediction](t)(predictions, err), []grace.Prediction{prediction})
		triggers, _, err := s.Triggers(ctx, q, store.TriggerFilter{State: grace.TriggerPending, Kind: grace.TriggerProactive, From: at(1), To: at(2)}, store.Page{})
		equal(t, must[[]grace.Trigger](t)(triggers, err), []grace.Trigger{trigger})
		decisions, _, err := s.Decisions(ctx, q, store.DecisionFilter{Run: "r-1", Verdict: grace.VerdictAllow}, store.Page{})
		equal(t, must[[]grace.Decision](t)(decisions, err), []grace.Decision{decision})
		approvals, _, err := s.Approvals(ctx, q, grace.ApprovalPending, store.Page{})
		equal(t, must[[]grace.Approval](t)(approvals, err), []grace.Approval{approval})
		incidents, _, err := s.Incidents(ctx, q, store.IncidentFilter{State: grace.IncidentOpen}, store.Page{})
		equal(t, must[[]grace.Incident](t)(incidents, err), []grace.Incident{incident})
		learned, _, err := s.Learning(ctx, q, store.LearningFilter{Code: grace.CodeLatencySpike, Playbook: "scale_up_instances"}, store.Page{})
		equal(t, must[[]grace.LearningEntry](t)(learned, err), []grace.LearningEntry{learning})
	})
}

func TestRecordsAreReplaced(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		ctx, q := t.Context(), s.Q()
		trigger := grace.Trigger{ID: "t-1", State: grace.TriggerPending, Service: "cart", At: t0}
		approval := grace.Approval{ID: "r-1", State: grace.ApprovalPending, Revision: 1, At: t0, Expires: at(30)}
		mode := grace.ModeSetting{Mode: grace.ModeAskAlways, Since: t0, Revision: 1}
		// The same key twice in one change: the last counts.
		apply(t, s, event.Given{
			Signals:  []grace.Signal{{Key: "k", State: grace.SignalOK, Since: t0, At: t0}, {Key: "k", State: grace.SignalFiring, Since: t0, At: t0}},
			Triggers: []grace.Trigger{trigger}, Approvals: []grace.Approval{approval}, Mode: &mode,
		})
		equal(t, must[[]grace.Signal](t)(s.Signals(ctx, q, ""))[0].State, grace.SignalFiring)

		trigger.State = grace.TriggerDecided
		approval.State, approval.Revision = grace.ApprovalApproved, 2
		mode.Mode, mode.Revision = grace.ModeStopped, 2
		apply(t, s, event.Given{Triggers: []grace.Trigger{trigger}, Approvals: []grace.Approval{approval}, Mode: &mode})
		equal(t, len(must[[]grace.Trigger](t)(s.PendingTriggers(ctx, q, 10))), 0)
		equal(t, must[grace.Trigger](t)(s.Trigger(ctx, q, "t-1")), trigger)
		equal(t, must[grace.Approval](t)(s.Approval(ctx, q, "r-1")), approval)
		equal(t, must[grace.ModeSetting](t)(s.Mode(ctx, q)), mode)

		for name, c := range map[string]event.Given{
			"approval": {Approvals: []grace.Approval{approval}},
			"mode":     {Mode: &mode},
		} {
			if err := tryApply(ctx, s, c); !errors.Is(err, store.ErrConflict) {
				t.Errorf("%s written over its own revision: error %v, want a conflict", name, err)
			}
		}
	})
}

// The same condition seen again must not make a decided trigger wait anew.
func TestDecidedTriggerStaysDecided(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		for _, state := range []grace.TriggerState{grace.TriggerPending, grace.TriggerDecided, grace.TriggerPending} {
			apply(t, s, event.Given{Triggers: []grace.Trigger{{ID: "t", At: t0, State: state}}})
		}
		got, err := s.Trigger(t.Context(), s.Q(), "t")
		if err != nil || got.State != grace.TriggerDecided {
			t.Errorf("trigger is %s, %v; want decided", got.State, err)
		}
	})
}

func TestManyRowsAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		var c event.Given
		for i := range 100 {
			c.Triggers = append(c.Triggers, grace.Trigger{ID: grace.TriggerID(rune('a'+i%26)) + grace.TriggerID(rune('a'+i/26)), State: grace.TriggerPending, At: t0})
			c.Outbox = append(c.Outbox, message("x"))
		}
		for range 2100 { // more than two batches of verification
			c.Audit = append(c.Audit, entry("run/r-1"))
		}
		apply(t, s, c)
		equal(t, len(must[[]grace.Trigger](t)(s.PendingTriggers(t.Context(), s.Q(), 1000))), 100)
		equal(t, must[store.AuditReport](t)(s.VerifyAudit(t.Context())).Entries, int64(2100))
		equal(t, len(must[[]grace.Event](t)(s.Events(t.Context(), s.Q(), 0, nil, 1000))), 100)
	})
}

func TestTextThatADatabaseWouldRefuse(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		bad := "zero\x00 and \xff"
		apply(t, s, event.Given{
			Audit:  []grace.AuditEntry{{At: t0, Actor: bad, Action: bad, Object: bad, Service: grace.ServiceID(bad), Reason: bad, Detail: json.RawMessage(`"` + bad + `"`)}},
			Outbox: []grace.Event{{Type: bad, Payload: json.RawMessage("\"\xff\"")}},
		})
		if r := must[store.AuditReport](t)(s.VerifyAudit(t.Context())); !r.OK {
			t.Errorf("the log does not verify: %s", r.Detail)
		}
		equal(t, must[[]grace.Event](t)(s.Events(t.Context(), s.Q(), 0, nil, 1))[0].Type, "zero\uFFFD and \uFFFD")
		if _, err := s.Run(t.Context(), s.Q(), grace.RunID(bad)); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("error %v, want not found", err)
		}
	})
}

func TestEvents(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		ctx, q := t.Context(), s.Q()
		want := message("self_heal.run")
		apply(t, s, event.Given{Outbox: []grace.Event{want, message("Self_heal.run"), message("incident.opened"), message("self_healing")}})
		apply(t, s, event.Given{Outbox: []grace.Event{{Type: "without a time"}}})
		want.ID = 1
		equal(t, must[[]grace.Event](t)(s.Events(ctx, q, 0, nil, 1)), []grace.Event{want})
		equal(t, must[int64](t)(s.LastEventID(ctx, q)), int64(5))
		for _, c := range []struct {
			after    int64
			patterns []string
			want     []int64
		}{
			{0, nil, []int64{1, 2, 3, 4, 5}},
			{2, []string{"*"}, []int64{3, 4, 5}},
			{0, []string{"self_heal.*"}, []int64{1}},
			{0, []string{"self_heal.*", "incident.opened"}, []int64{1, 3}},
			{0, []string{"self_heal"}, nil},
			{0, []string{"s%"}, nil},
			{5, nil, nil},
		} {
			var got []int64
			for _, e := range must[[]grace.Event](t)(s.Events(ctx, q, c.after, c.patterns, 10)) {
				got = append(got, e.ID)
			}
			equal(t, got, c.want)
		}
		equal(t, must[[]grace.Event](t)(s.Events(ctx, q, 4, nil, 1))[0].Timestamp, t0)
	})
}

func TestCursors(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		set := func(id int64) {
			err := s.Do(t.Context(), func(ctx context.Context, tx store.Tx) error { return s.SetCursor(ctx, tx, "webhook", id) })
			if err != nil {
				t.Fatal(err)
			}
		}
		equal(t, must[int64](t)(s.Cursor(t.Context(), s.Q(), "webhook")), int64(0))
		set(7)
		set(3)
		equal(t, must[int64](t)(s.Cursor(t.Context(), s.Q(), "webhook")), int64(7))
	})
}

func TestCount(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		old := run("r-0", 1, grace.RunSucceeded)
		old.CreatedAt = at(-60)
		apply(t, s, event.Given{
			Runs:      []grace.Run{old, run("r-1", 1, grace.RunRunning), run("r-2", 1, grace.RunSucceeded)},
			Triggers:  []grace.Trigger{{ID: "a", State: grace.TriggerPending, At: t0}, {ID: "b", State: grace.TriggerDecided, At: t0}},
			Approvals: []grace.Approval{{ID: "r-1", State: grace.ApprovalPending, Revision: 1, At: t0}},
			Incidents: []grace.Incident{{ID: "i", State: grace.IncidentOpen, OpenedAt: t0}},
			Decisions: []grace.Decision{{ID: "d", Verdict: grace.VerdictAllow, At: t0}},
		})
		equal(t, must[store.Counts](t)(s.Count(t.Context(), s.Q(), t0)), store.Counts{
			PendingTriggers: 1, OpenRuns: 1, PendingApprovals: 1, OpenIncidents: 1,
			Runs:      map[grace.RunStatus]int{grace.RunRunning: 1, grace.RunSucceeded: 1},
			Decisions: map[grace.Verdict]int{grace.VerdictAllow: 1},
		})
	})
}

func TestTokens(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		ctx, q := t.Context(), s.Q()
		expires := at(60)
		secret := must[string](t)(s.CreateToken(ctx, "token:root", store.NewToken{Name: "ops", Role: "operator", Expires: &expires}))
		want := store.Token{Name: "ops", Role: "operator", CreatedAt: t0, ExpiresAt: &expires}
		got := must[store.Token](t)(s.TokenByHash(ctx, q, store.HashToken(secret)))
		equal(t, got, want)
		equal(t, []bool{got.Valid(at(59)), got.Valid(at(60))}, []bool{true, false})
		if _, err := s.TokenByHash(ctx, q, store.HashToken(secret+"x")); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("wrong secret: error %v", err)
		}
		if _, err := s.CreateToken(ctx, "grace", store.NewToken{Name: "ops", Role: "admin"}); !errors.Is(err, store.ErrConflict) {
			t.Errorf("name taken: error %v", err)
		}
		for range 2 {
			if err := s.RevokeToken(ctx, "token:root", "ops"); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.RevokeToken(ctx, "token:root", "nobody"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("revoking a missing one: error %v", err)
		}
		tokens := must[[]store.Token](t)(s.ListTokens(ctx, q))
		if len(tokens) != 1 || tokens[0].Valid(t0) {
			t.Errorf("after revoking: %+v", tokens)
		}
		entries, _, err := s.AuditEntries(ctx, q, store.AuditFilter{Object: "token/ops", Actor: "token:root"}, store.Page{})
		if err != nil || len(entries) != 2 || entries[0].Action != "token.revoked" || entries[1].Action != "token.created" {
			t.Errorf("audit: %+v, %v", entries, err)
		}
	})
}

func TestPrune(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		old, recent := at(-100), at(-1)
		runAt := func(id string, state grace.RunStatus, when time.Time) grace.Run {
			r := run(id, 1, state)
			r.CreatedAt = when
			if r.EndedAt != nil {
				r.EndedAt = &when
			}
			return r
		}
		c := event.Given{
			Runs: []grace.Run{runAt("old", grace.RunSucceeded, old), runAt("open", grace.RunRunning, old), runAt("new", grace.RunSucceeded, recent)},
			Decisions: []grace.Decision{
				{ID: "old", At: old, Run: "old"}, {ID: "open", At: old, Run: "open"}, {ID: "new", At: recent},
			},
			Triggers:    []grace.Trigger{{ID: "old", At: old, State: grace.TriggerDecided}, {ID: "pending", At: old, State: grace.TriggerPending}},
			Signals:     []grace.Signal{{Key: "old", At: old, State: grace.SignalOK}, {Key: "firing", At: old, State: grace.SignalFiring}},
			Approvals:   []grace.Approval{{ID: "old", At: old, State: grace.ApprovalDenied, Revision: 1}, {ID: "p", At: old, State: grace.ApprovalPending, Revision: 1}},
			Incidents:   []grace.Incident{{ID: "old", OpenedAt: old, State: grace.IncidentResolved}, {ID: "open", OpenedAt: old, State: grace.IncidentOpen}},
			Learning:    []grace.LearningEntry{{ID: "old", At: old}},
			Predictions: []grace.Prediction{{Key: "k", At: old}, {Key: "k", At: recent}},
			Aborts:      []grace.AbortRequest{{Run: "old", At: old}, {Run: "open", At: old}},
			Audit:       []grace.AuditEntry{entry("run/old")},
			// The first is from before the clock was set back.
			Operations: []grace.AuditEntry{
				{At: at(100), Action: "signal.ok", Object: "signal/ahead"}, {At: old, Action: "signal.ok", Object: "signal/a"}, {At: recent, Action: "signal.firing", Object: "signal/a"},
			},
		}
		for range 1200 { // more than two batches
			e := message("x")
			e.Timestamp = old
			c.Outbox = append(c.Outbox, e)
		}
		apply(t, s, c)
		hour := grace.Duration(time.Hour)
		pruned := must[map[string]int64](t)(s.Prune(t.Context(), t0, store.Retention{
			Signals: hour, Triggers: hour, Decisions: hour, Runs: hour, Approvals: hour, Incidents: hour, Predictions: hour, Events: hour, Operations: hour,
		}))
		equal(t, pruned, map[string]int64{
			"signals": 1, "triggers": 1, "decisions": 1, "runs": 1, "aborts": 1, "approvals": 1, "incidents": 1, "predictions": 1, "events": 1200, "operations": 1,
		})
		equal(t, len(must[[]grace.LearningEntry](t)(s.LearningSince(t.Context(), s.Q(), old))), 1)
		equal(t, must[int64](t)(s.LastEventID(t.Context(), s.Q())), int64(1200))
		report := must[store.AuditReport](t)(s.VerifyAudit(t.Context()))
		equal(t, []any{report.OK, report.Entries}, []any{true, int64(1)})
		said := must[[]grace.AuditEntry](t)(entriesOf(s.Operations(t.Context(), s.Q(), store.AuditFilter{}, store.Page{})))
		kinds := map[string]int{}
		for _, e := range said {
			kinds[e.Action]++
		}
		equal(t, kinds, map[string]int{"signal.firing": 1, "signal.ok": 1, "retention.pruned": 9 + 3})
		one := must[[]grace.AuditEntry](t)(entriesOf(s.Operations(t.Context(), s.Q(), store.AuditFilter{Object: "signal/a"}, store.Page{})))
		equal(t, one[0].At, recent)
	})
}

func entriesOf(list []grace.AuditEntry, _ string, err error) ([]grace.AuditEntry, error) {
	return list, err
}

// The first request to abort a run counts.
func TestAborts(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		ctx, q := t.Context(), s.Q()
		if a := must[*grace.AbortRequest](t)(s.Abort(ctx, q, "r-1")); a != nil {
			t.Errorf("an abort that nobody asked for: %+v", a)
		}
		first := grace.AbortRequest{Run: "r-1", Actor: "token:ops", Reason: "wrong target", At: at(1)}
		second := grace.AbortRequest{Run: "r-1", Actor: "token:other", Reason: "me too", At: at(2)}
		apply(t, s, event.Given{Aborts: []grace.AbortRequest{first}})
		apply(t, s, event.Given{Aborts: []grace.AbortRequest{second}})
		equal(t, must[*grace.AbortRequest](t)(s.Abort(ctx, q, "r-1")), &first)
	})
}
