package loop_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"grace"
	"grace/internal/loop"
	"grace/internal/patience"
	"grace/internal/store"
)

// TestByHandOnAWellService: a run that a person wants where nothing is wrong is
// told as that, teaches nothing, and holds nothing back when a real outage
// comes right after it failed.
func TestByHandOnAWellService(t *testing.T) {
	t.Parallel()
	cfg := quick()
	cfg.Services[1].Bindings = map[grace.PlaybookID]grace.Binding{"restart_service": cfg.Playbooks[0].Binding}
	r := newRig(t, "sqlite:"+t.TempDir()+"/grace.db", cfg)
	r.probe("catalog", 1)
	r.setUseless(true)
	want := loop.ByHand{Playbook: "restart_service", Service: "catalog", Reason: "it feels slow"}
	dec, err := r.loop.RunByHand(t.Context(), want, "token:ada")
	if err != nil {
		t.Fatal(err)
	}
	if dec.Diagnosis.Code != grace.CodeManual || dec.Run == "" {
		t.Fatalf("decided for %s, run %q: %v", dec.Diagnosis.Code, dec.Run, dec.Failed())
	}
	run := r.wait("catalog", grace.RunRolledBack, grace.RunEscalated)
	if run.Code != grace.CodeManual || run.Asked == nil || run.Asked.Actor != "token:ada" || run.Asked.Text != "it feels slow" {
		t.Errorf("run for %s, asked for by %+v", run.Code, run.Asked)
	}
	entries, err := r.store.LearningSince(t.Context(), r.store.Q(), time.Time{})
	if err != nil || len(entries) != 1 || entries[0].Result != grace.ResultNeutral {
		t.Errorf("learned %+v, %v", entries, err)
	}
	r.setUseless(false)
	r.down("catalog")
	if healed := r.wait("catalog", grace.RunSucceeded); healed.Kind != grace.TriggerReactive {
		t.Errorf("healed by a %s run", healed.Kind)
	}
	patience.Until(t, func() error { // they may be some seconds old
		k, err := r.loop.KPIs(t.Context())
		if err != nil {
			return err
		}
		if k.Failed24h != 0 || k.Proposals24h > 1 || k.AutoApproved24h > 1 {
			t.Fatalf("%d failed of %d proposals, %d approved without a person", k.Failed24h, k.Proposals24h, k.AutoApproved24h)
		}
		if k.Succeeded24h != 1 || k.Proposals24h != 1 {
			return fmt.Errorf("%d succeeded of %d proposals, want the one of GRACE's own", k.Succeeded24h, k.Proposals24h)
		}
		return nil
	})
}

// TestByHandIsTold: metrics and log hear of a person's decisions, the refused
// ones, too; where something is wrong, the run is for that.
func TestByHandIsTold(t *testing.T) {
	t.Parallel()
	cfg := quick()
	cfg.Mode = grace.ModeStopped
	r := newRig(t, "sqlite:"+t.TempDir()+"/grace.db", cfg)
	var told atomic.Int32
	r.loop.Stats().OnDecision = func(d grace.Decision, _ time.Duration) {
		if d.Diagnosis.Kind == grace.TriggerManual {
			told.Add(1)
		}
	}
	r.down("catalog")
	dec, err := r.loop.RunByHand(t.Context(), loop.ByHand{Playbook: "restart_service", Service: "catalog", Reason: "now"}, "token:ada")
	if err != nil {
		t.Fatal(err)
	}
	if dec.Verdict != grace.VerdictDeny || told.Load() != 1 {
		t.Errorf("%s was told %d times", dec.Verdict, told.Load())
	}
	if dec.Diagnosis.Code != grace.CodeServiceDown {
		t.Errorf("decided for %s though it is down", dec.Diagnosis.Code)
	}
	entries, _, err := r.store.AuditEntries(t.Context(), r.store.Q(), store.AuditFilter{Object: "decision/" + string(dec.ID)}, store.Page{})
	if err != nil || len(entries) != 1 || !strings.HasPrefix(entries[0].Reason, "now; ") {
		t.Errorf("audit %+v, %v", entries, err)
	}
}

func (r *rig) setUseless(is bool) {
	r.thing.mu.Lock()
	defer r.thing.mu.Unlock()
	r.thing.useless = is
}

// TestByHandInAStorm: the circuit breaker holds a run by hand back, unless the
// person lets it pass; then it begins while too much is sick.
func TestByHandInAStorm(t *testing.T) {
	t.Parallel()
	cfg := quick()
	cfg.Propose.StormServices = 2
	cfg.Services[1].Bindings = map[grace.PlaybookID]grace.Binding{"restart_service": cfg.Playbooks[0].Binding}
	for _, id := range []grace.ServiceID{"x1", "x2", "x3"} {
		cfg.Services = append(cfg.Services, grace.Service{ID: id, Criticality: grace.CriticalityLow})
	}
	r := newRig(t, "sqlite:"+t.TempDir()+"/grace.db", cfg)
	for _, id := range []grace.ServiceID{"x1", "x2", "x3"} {
		r.down(id)
	}
	r.probe("catalog", 1)
	patience.Until(t, func() error {
		sick := 0
		for _, s := range r.loop.Signals() {
			if s.State == grace.SignalFiring && !s.Unconfirmed {
				sick++
			}
		}
		if sick != 3 {
			return fmt.Errorf("%d of 3 are shown to be sick: %+v", sick, r.loop.Signals())
		}
		return nil
	})
	want := loop.ByHand{Playbook: "restart_service", Service: "catalog", Reason: "it is slow"}
	dec, err := r.loop.RunByHand(t.Context(), want, "token:ada")
	if err != nil {
		t.Fatal(err)
	}
	if failed := dec.Failed(); dec.Run != "" || len(failed) != 1 || failed[0].Code != grace.ReasonStorm {
		t.Fatalf("run %q, refused by %v: want the circuit breaker alone", dec.Run, failed)
	}
	want.Override = true
	if dec, err = r.loop.RunByHand(t.Context(), want, "token:ada"); err != nil || dec.Run == "" {
		t.Fatalf("no run, %v: %v", dec.Failed(), err)
	}
	r.wait("catalog", grace.RunSucceeded)
}

// TestByHandElsewhere: who wants a playbook that is for other services is not
// sent to write a binding that would change nothing.
func TestByHandElsewhere(t *testing.T) {
	t.Parallel()
	cfg := quick()
	cfg.Playbooks[0].Services = []grace.ServiceID{"shop"}
	r := newRig(t, "sqlite:"+t.TempDir()+"/grace.db", cfg)
	_, err := r.loop.RunByHand(t.Context(), loop.ByHand{Playbook: cfg.Playbooks[0].ID, Service: "catalog", Reason: "it hangs"}, "token:ada")
	if err == nil || !strings.Contains(err.Error(), "its key services names shop, and not catalog") {
		t.Errorf("refused with %v", err)
	}
}

// TestByHandUnasked: a source is asked before a run by hand, with the values of the configuration:
// one of others that change the question would be undone whatever it did.
func TestByHandUnasked(t *testing.T) {
	t.Parallel()
	cfg := quick()
	p := &cfg.Playbooks[0]
	p.Parameters = append(p.Parameters, grace.Parameter{Name: "shard", Type: grace.ParameterString, Default: "a"}, grace.Parameter{Name: "most", Type: grace.ParameterInt, Default: 5})
	bound := p.Binding
	bound.Verify = []grace.Check{{Type: grace.CheckExpr, Source: "eu", Expr: `queue{shard="${shard}"} < ${most}`}}
	cfg.Services[1].Bindings = map[grace.PlaybookID]grace.Binding{"restart_service": bound}
	r := newRig(t, "sqlite:"+t.TempDir()+"/grace.db", cfg)
	for _, tt := range []struct {
		given map[string]any
		want  string
	}{
		{map[string]any{"shard": "b"}, `verified by queue{shard="b"}, which eu is not asked for`},
		{map[string]any{"shard": "a", "most": 7}, ""},
	} {
		want := loop.ByHand{Playbook: "restart_service", Service: cfg.Services[1].ID, Parameters: tt.given, Reason: "it hangs"}
		_, err := r.loop.RunByHand(t.Context(), want, "token:ada")
		if _, invalid := errors.AsType[*loop.InvalidError](err); invalid != (tt.want != "") || invalid && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: %v", tt.given, err)
		}
	}
}

// TestMembersInTurn: of two members of a group that are both well, and of which
// one is enough, the second run waits until the first has ended, though both were
// approved before.
func TestMembersInTurn(t *testing.T) {
	t.Parallel()
	cfg := quick()
	cfg.Mode = grace.ModeAskAlways
	cfg.Services = []grace.Service{
		{ID: "front", Criticality: grace.CriticalityMedium, Groups: []grace.Group{{Need: 1, Of: []grace.ServiceID{"app-1", "app-2"}}}},
		{ID: "app-1", Criticality: grace.CriticalityMedium},
		{ID: "app-2", Criticality: grace.CriticalityMedium},
	}
	r := newRig(t, "sqlite:"+t.TempDir()+"/grace.db", cfg)
	r.thing.block, r.thing.entered = make(chan struct{}), make(chan struct{}, 2)
	r.probe("app-1", 1)
	r.probe("app-2", 1)
	for _, id := range []grace.ServiceID{"app-1", "app-2"} {
		if _, err := r.loop.RunByHand(t.Context(), loop.ByHand{Playbook: "restart_service", Service: id, Reason: "new build"}, "token:ann"); err != nil {
			t.Fatal(err)
		}
		r.wait(id, grace.RunAwaitingApproval)
	}
	for _, id := range []grace.ServiceID{"app-1", "app-2"} {
		run := r.wait(id, grace.RunAwaitingApproval)
		if _, err := r.loop.DecideApproval(t.Context(), grace.ApprovalID(run.ID), true, "go on", "token:bob", 0); err != nil {
			t.Fatal(err)
		}
		if id == "app-1" {
			r.entered()
		}
	}
	patience.Until(t, func() error {
		run := r.wait("app-2", grace.RunAwaitingApproval, grace.RunApproved, grace.RunRunning)
		err := fmt.Errorf("the second is %s while the first acts: %v", run.Status, run.Reasons)
		if run.Status == grace.RunRunning {
			t.Fatal(err)
		}
		if slices.ContainsFunc(run.Reasons, func(g grace.Reason) bool { return g.Code == grace.ReasonRedundancy }) {
			return nil
		}
		return err
	})
	close(r.thing.block)
}
