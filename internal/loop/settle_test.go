package loop_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"grace"
	"grace/internal/patience"
	"grace/internal/store"
)

// TestQuestionIsTakenBack: what has passed while a person was asked needs no
// answer; when it comes again it is asked again.
func TestQuestionIsTakenBack(t *testing.T) {
	t.Parallel()
	cfg := quick()
	cfg.Mode = grace.ModeAskAlways
	r := newRig(t, "sqlite:"+t.TempDir()+"/grace.db", cfg)
	r.down("catalog")
	first := r.wait("catalog", grace.RunAwaitingApproval)
	r.probe("catalog", 1)
	over := r.wait("catalog", grace.RunCancelled)
	a, err := r.store.Approval(t.Context(), r.store.Q(), grace.ApprovalID(over.ID))
	if err != nil || over.ID != first.ID || a.State != grace.ApprovalCancelled || a.Reason != "what began it has passed" {
		t.Fatalf("run %s of %s, its question %+v, %v", over.ID, first.ID, a, err)
	}
	r.down("catalog")
	if again := r.wait("catalog", grace.RunAwaitingApproval); again.ID == first.ID {
		t.Error("it is not asked again")
	}
}

// TestModeEnds: that the time of a mode is over is on record, and told with what
// is in force from then on.
func TestModeEnds(t *testing.T) {
	t.Parallel()
	r := newRig(t, "sqlite:"+t.TempDir()+"/grace.db", quick())
	soon := time.Now().Add(50 * time.Millisecond)
	set, err := r.loop.SetMode(t.Context(), grace.ModeSetting{Mode: grace.ModeObserveOnly, Reason: "migration", Expires: &soon}, "token:ada")
	if err != nil {
		t.Fatal(err)
	}
	patience.Until(t, func() error {
		now, err := r.store.Mode(t.Context(), r.store.Q())
		if err != nil || now.Mode != grace.ModeAutonomous || now.Revision != set.Revision+1 || now.Actor != grace.Self || !strings.Contains(now.Reason, "migration") {
			return fmt.Errorf("the mode is %+v, %w", now, err)
		}
		return nil
	})
	entries, _, err := r.store.AuditEntries(t.Context(), r.store.Q(), store.AuditFilter{Object: "mode"}, store.Page{})
	if err != nil || len(entries) != 3 {
		t.Errorf("audit %+v, %v; want the first start, the person's, and its end", entries, err)
	}
}
