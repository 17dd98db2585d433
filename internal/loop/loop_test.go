package loop_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"grace"
	"grace/internal/event"
	"grace/internal/loop"
	"grace/internal/patience"
	"grace/internal/stage/govern"
	"grace/internal/store"
)

func quick() loop.Config {
	cfg := shop(2)
	cfg.GroupWait = 0
	return cfg
}

func TestHealsByItself(t *testing.T) {
	eachDatabase(t, func(t *testing.T, url string) {
		r := newRig(t, url, quick())
		r.down("catalog")
		run := r.wait("catalog", grace.RunSucceeded, grace.RunEscalated, grace.RunRolledBack)
		if run.Status != grace.RunSucceeded || !run.Auto {
			t.Fatalf("run %s, auto %v: %s", run.Status, run.Auto, run.Error)
		}
		if calls := r.thing.called(); len(calls) != 2 {
			t.Errorf("calls %v, want one for each step", calls)
		}
		report, err := r.store.VerifyAudit(t.Context())
		if err != nil || !report.OK {
			t.Errorf("audit %+v, %v", report, err)
		}
		learned, err := r.store.LearningSince(t.Context(), r.store.Q(), time.Time{})
		if err != nil || len(learned) != 1 || learned[0].Result != grace.ResultSuccess {
			t.Errorf("learned %+v, %v", learned, err)
		}
		pending, err := r.store.PendingTriggers(t.Context(), r.store.Q(), 10)
		if err != nil || len(pending) != 0 {
			t.Errorf("triggers still pending: %+v, %v", pending, err)
		}
	})
}

func TestVictimIsLeftAlone(t *testing.T) {
	r := newRig(t, "sqlite:"+t.TempDir()+"/grace.db", func() loop.Config {
		cfg := quick()
		cfg.GroupWait = 5 * time.Second // a busy machine is to tell of all three within it
		return cfg
	}())
	r.down("frontend")
	r.down("catalog")
	r.down("cache")
	run := r.wait("cache", grace.RunSucceeded)
	dec, err := r.store.Decision(t.Context(), r.store.Q(), run.Decision)
	if err != nil {
		t.Fatal(err)
	}
	for _, victim := range []grace.ServiceID{"catalog", "frontend"} {
		if !slices.Contains(dec.Diagnosis.Victims, victim) {
			t.Errorf("%s is not named a victim: %v", victim, dec.Diagnosis.Victims)
		}
	}
}

func TestApprovalByAPerson(t *testing.T) {
	eachDatabase(t, func(t *testing.T, url string) {
		cfg := quick()
		cfg.Mode = grace.ModeAskAlways
		r := newRig(t, url, cfg)
		r.down("catalog")
		run := r.wait("catalog", grace.RunAwaitingApproval)
		if len(r.thing.called()) > 0 {
			t.Fatal("acted before it was approved")
		}
		if _, err := r.loop.DecideApproval(t.Context(), grace.ApprovalID(run.ID), true, "go on", "token:ann", 1); err != nil {
			t.Fatal(err)
		}
		r.wait("catalog", grace.RunSucceeded)
		_, err := r.loop.DecideApproval(t.Context(), grace.ApprovalID(run.ID), false, "too late", "token:bob", 0)
		decided, ok := errors.AsType[*loop.DecidedError](err)
		if !ok || decided.Approval.Actor != "token:ann" {
			t.Errorf("second decision: %v, want already decided by token:ann", err)
		}
	})
}

func TestAbortInterruptsAndUndoes(t *testing.T) {
	r := newRig(t, "sqlite:"+t.TempDir()+"/grace.db", quick())
	r.thing.block, r.thing.entered = make(chan struct{}), make(chan struct{}, 1)
	r.down("catalog")
	r.entered()
	run := r.wait("catalog", grace.RunRunning)
	r.thing.mu.Lock()
	block := r.thing.block
	r.thing.block = nil // the undo does not hang
	r.thing.mu.Unlock()
	defer close(block)
	if err := r.loop.Abort(t.Context(), run.ID, "token:ann", "stop it"); err != nil {
		t.Fatal(err)
	}
	got := r.wait("catalog", grace.RunRolledBack)
	if got.Abort == nil || got.Abort.Actor != "token:ann" {
		t.Errorf("abort on record: %+v", got.Abort)
	}
	err := r.loop.Abort(t.Context(), run.ID, "token:ann", "again")
	if _, ok := errors.AsType[*loop.EndedError](err); !ok {
		t.Errorf("abort of an ended run: %v", err)
	}
}

// TestRestartGoesOn stops the process in the middle of a step and starts
// another one on the same database.
func TestRestartGoesOn(t *testing.T) {
	eachDatabase(t, func(t *testing.T, url string) {
		cfg := quick()
		r := newRig(t, url, cfg)
		block := make(chan struct{})
		r.thing.block, r.thing.entered = block, make(chan struct{}, 1)
		r.down("catalog")
		r.entered()
		r.stop()
		r.thing.mu.Lock()
		r.thing.block = nil
		r.thing.mu.Unlock()
		close(block)
		r.start(cfg)
		r.down("catalog") // without new evidence the step would not be done again
		run := r.wait("catalog", grace.RunSucceeded)
		if !run.Steps[0].Resumed {
			t.Errorf("the interrupted step is not marked as resumed: %+v", run.Steps[0])
		}
		report, err := r.store.VerifyAudit(t.Context())
		if err != nil || !report.OK {
			t.Errorf("audit %+v, %v", report, err)
		}
	})
}

func TestObserveOnlyRecordsWhatWouldHaveRun(t *testing.T) {
	cfg := quick()
	cfg.Mode = grace.ModeObserveOnly
	r := newRig(t, "sqlite:"+t.TempDir()+"/grace.db", cfg)
	r.down("catalog")
	run := r.wait("catalog", grace.RunObservedOnly)
	if !slices.ContainsFunc(run.Reasons, func(g grace.Reason) bool { return g.Code == grace.ReasonModeObserve }) {
		t.Errorf("reasons %v, want %s", run.Reasons, grace.ReasonModeObserve)
	}
	if len(r.thing.called()) > 0 {
		t.Error("acted")
	}
}

// Whoever stops everything and resumes finds GRACE ready to heal what is still
// sick.
func TestStoppedAndResumed(t *testing.T) {
	cfg := quick()
	cfg.Mode = grace.ModeStopped
	r := newRig(t, "sqlite:"+t.TempDir()+"/grace.db", cfg)
	r.down("catalog")
	patience.Until(t, func() error {
		d, err := r.store.LastDecision(t.Context(), r.store.Q(), "catalog")
		if err == nil && (d.Verdict != grace.VerdictDeny || d.Run != "") {
			t.Fatalf("decision %s with run %q, want a deny without a run", d.Verdict, d.Run)
		}
		return err
	})
	if _, err := r.loop.SetMode(t.Context(), grace.ModeSetting{Mode: grace.ModeAutonomous, Reason: "fixed"}, "token:ann"); err != nil {
		t.Fatal(err)
	}
	r.wait("catalog", grace.RunSucceeded)
}

// What was decided is asked again before it starts: a configuration that became
// stricter holds back what a person approves later, too.
func TestStricterConfigurationBitesBeforeStart(t *testing.T) {
	deny := func(cfg *loop.Config) {
		cfg.Govern.Policies = append([]govern.Policy{{Name: "freeze", Action: govern.ActionSelfHeal, Decision: "deny"}}, cfg.Govern.Policies...)
	}
	for _, tc := range []struct {
		name   string
		change func(*loop.Config)
		want   grace.RunStatus
		code   grace.ReasonCode
	}{
		{"execute off", func(cfg *loop.Config) { cfg.Govern.Execute = false }, grace.RunObservedOnly, grace.ReasonExecuteOff},
		{"observe only", func(cfg *loop.Config) { cfg.Govern.ObserveOnly = true }, grace.RunObservedOnly, grace.ReasonModeObserve},
		{"a policy denies", deny, grace.RunDenied, grace.ReasonPolicyDeny},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := quick()
			cfg.Mode = grace.ModeAskAlways
			r := newRig(t, "sqlite:"+t.TempDir()+"/grace.db", cfg)
			r.down("catalog")
			run := r.wait("catalog", grace.RunAwaitingApproval)
			tc.change(&cfg)
			if err := r.loop.Reconfigure(t.Context(), cfg, "token:ops"); err != nil {
				t.Fatal(err)
			}
			if _, err := r.loop.DecideApproval(t.Context(), grace.ApprovalID(run.ID), true, "go on", "token:ann", 0); err != nil {
				t.Fatal(err)
			}
			got := r.wait("catalog", tc.want, grace.RunSucceeded)
			if got.Status != tc.want || len(r.thing.called()) > 0 {
				t.Errorf("state %s after %v, want %s and nothing done", got.Status, r.thing.called(), tc.want)
			}
			if !slices.ContainsFunc(got.Reasons, func(g grace.Reason) bool { return g.Code == tc.code }) {
				t.Errorf("reasons %v, want %s", got.Reasons, tc.code)
			}
			entries, _, err := r.store.AuditEntries(t.Context(), r.store.Q(), store.AuditFilter{Object: "config"}, store.Page{})
			if err != nil || len(entries) != 1 || entries[0].Actor != "token:ops" {
				t.Errorf("the new configuration is not in the audit log: %+v, %v", entries, err)
			}
		})
	}
}

// TestStricterWhileItLooks: a configuration that wants a person by now holds a
// run back that has begun and changed nothing yet.
func TestStricterWhileItLooks(t *testing.T) {
	cfg := quick()
	cfg.Playbooks[0].Steps[0].Snapshot = &grace.Call{Action: "fake", With: map[string]any{}}
	r := newRig(t, "sqlite:"+t.TempDir()+"/grace.db", cfg)
	block := make(chan struct{})
	r.thing.mu.Lock()
	r.thing.block, r.thing.entered, r.thing.useless = block, make(chan struct{}, 1), true
	r.thing.mu.Unlock()
	r.down("catalog")
	r.entered()
	cfg.Playbooks = slices.Clone(cfg.Playbooks)
	cfg.Playbooks[0].Auto = false
	if err := r.loop.Reconfigure(t.Context(), cfg, "token:ops"); err != nil {
		t.Fatal(err)
	}
	r.down("catalog")
	close(block)
	r.wait("catalog", grace.RunCancelled, grace.RunAwaitingApproval) // and a person is asked
	if calls := r.thing.called(); len(calls) != 1 || !strings.HasSuffix(calls[0], "/snapshot") {
		t.Errorf("%v was done without a person, want a snapshot alone", calls)
	}
}

// Approvals given together do not start more at once than the limit.
func TestApprovedTogetherKeepTheLimit(t *testing.T) {
	cfg := quick()
	cfg.Mode = grace.ModeAskAlways
	cfg.Propose.MaxConcurrent = 1
	cfg.Services = append(cfg.Services, grace.Service{ID: "mail", Criticality: grace.CriticalityMedium}, grace.Service{ID: "search", Criticality: grace.CriticalityMedium})
	r := newRig(t, "sqlite:"+t.TempDir()+"/grace.db", cfg)
	r.thing.block, r.thing.entered = make(chan struct{}), make(chan struct{}, 2)
	r.down("catalog")
	first := r.wait("catalog", grace.RunAwaitingApproval)
	r.down("mail")
	second := r.wait("mail", grace.RunAwaitingApproval)
	approve := func(id grace.RunID) {
		t.Helper()
		if _, err := r.loop.DecideApproval(t.Context(), grace.ApprovalID(id), true, "go on", "token:ann", 0); err != nil {
			t.Fatal(err)
		}
	}
	approve(first.ID)
	r.entered()
	approve(second.ID)
	patience.Until(t, func() error {
		waiting := r.wait("mail", grace.RunAwaitingApproval, grace.RunApproved, grace.RunRunning)
		err := fmt.Errorf("the second is %s while the first acts: %v", waiting.Status, waiting.Reasons)
		if waiting.Status == grace.RunRunning {
			t.Fatal(err)
		}
		if slices.ContainsFunc(waiting.Reasons, func(g grace.Reason) bool { return g.Code == grace.ReasonConcurrency }) {
			return nil
		}
		return err
	})
	close(r.thing.block)
	r.wait("catalog", grace.RunSucceeded)
}

// An abort that was asked for while nobody drove the run ends the step that the
// next process finds unfinished.
func TestAbortWhileNobodyDrives(t *testing.T) {
	cfg := quick()
	r := newRig(t, "sqlite:"+t.TempDir()+"/grace.db", cfg)
	block := make(chan struct{})
	r.thing.block, r.thing.entered = block, make(chan struct{}, 1)
	r.down("catalog")
	r.entered()
	run := r.wait("catalog", grace.RunRunning)
	r.stop()
	s, err := store.Open(t.Context(), store.Options{URL: r.url, AuditKey: []byte("a key for tests, 32 bytes long..")})
	if err != nil {
		t.Fatal(err)
	}
	err = s.Do(t.Context(), func(ctx context.Context, tx store.Tx) error {
		return s.Append(ctx, tx, event.Given{Aborts: []grace.AbortRequest{{Run: run.ID, Actor: "token:ann", Reason: "stop", At: time.Now()}}})
	})
	s.Close()
	if err != nil {
		t.Fatal(err)
	}
	r.thing.mu.Lock()
	r.thing.block, r.thing.calls = nil, nil
	r.thing.mu.Unlock()
	close(block)
	r.start(cfg)
	got := r.wait("catalog", grace.RunRolledBack, grace.RunSucceeded)
	for _, key := range r.thing.called() {
		if strings.Contains(key, "/do/") {
			t.Errorf("state %s; done again in spite of the abort: %v", got.Status, r.thing.called())
		}
	}
}
