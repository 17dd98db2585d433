package store_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"grace"
	"grace/internal/event"
	"grace/internal/store"
)

// TestForgedRowsAreRefused: who can write to the database, but has no key, gets
// nothing of it acted on.
func TestForgedRowsAreRefused(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		ctx, q := t.Context(), s.Q()
		secret := must[string](t)(s.CreateToken(ctx, "ana", store.NewToken{Name: "ci", Role: "viewer"}))
		forged := func(what string, err error) {
			t.Helper()
			if !errors.Is(err, store.ErrForged) {
				t.Errorf("%s: %v", what, err)
			}
		}
		hash := store.HashToken(secret)
		token := func() error { _, err := s.TokenByHash(ctx, q, hash); return err }
		if err := token(); err != nil {
			t.Fatal(err)
		}
		mustExec(t, s, "UPDATE grace_tokens SET role = 'admin'")
		forged("a token with another role", token())
		mustExec(t, s, "UPDATE grace_tokens SET role = 'viewer'")
		mustExec(t, s, "INSERT INTO grace_tokens (name, hash, role, created_at) VALUES ('evil', '"+store.HashToken("grace_evil")+"', 'admin', 1)")
		_, err := s.TokenByHash(ctx, q, store.HashToken("grace_evil"))
		forged("a token put in", err)
		mustExec(t, s, "CREATE TABLE saved_tokens AS SELECT * FROM grace_tokens")
		if err := s.RevokeToken(ctx, "ana", "ci"); err != nil {
			t.Fatal(err)
		}
		mustExec(t, s, "DELETE FROM grace_tokens")
		mustExec(t, s, "INSERT INTO grace_tokens SELECT * FROM saved_tokens")
		forged("a token as it was before it was revoked", token())
		for _, tk := range must[[]store.Token](t)(s.ListTokens(ctx, q)) {
			if !tk.Forged {
				t.Errorf("the list takes %s for genuine", tk.Name)
			}
		}

		apply(t, s, event.Given{
			Approvals: []grace.Approval{{ID: "a-1", Run: "r-1", State: grace.ApprovalPending, Revision: 1, At: t0}},
			Decisions: []grace.Decision{{ID: "d-1", Service: "cart", Verdict: grace.VerdictDeny, At: t0}},
		})
		apply(t, s, event.Given{Silences: []grace.Silence{{ID: "s-1", Ends: at(60)}}})
		mustExec(t, s, "INSERT INTO grace_silences (id, ends_at, doc) VALUES ('s-2', 9999999999999, '{}')")
		if list := must[[]grace.Silence](t)(s.Silences(ctx, q, t0)); len(list) != 1 || list[0].ID != "s-1" {
			t.Errorf("silences %+v", list)
		}
		mustExec(t, s, `UPDATE grace_approvals SET state = 'approved', doc = replace(doc, '"pending"', '"approved"')`)
		mustExec(t, s, `UPDATE grace_decisions SET doc = '{"id":"d-1","service":"cart","decision":"allow"}'`)
		_, err = s.Approval(ctx, q, "a-1")
		forged("an approval", err)
		_, err = s.Decision(ctx, q, "d-1")
		forged("a decision", err)
	})
}

// TestForgedModeIsObserveOnly: whatever is done to the mode beside GRACE, it
// then only observes, until a person sets a mode again.
func TestForgedModeIsObserveOnly(t *testing.T) {
	mode := func(revision int, m grace.Mode) event.Given {
		set := grace.ModeSetting{Mode: m, Revision: revision, Since: t0, Actor: "ana", Reason: "because"}
		detail, err := json.Marshal(set)
		if err != nil {
			t.Fatal(err)
		}
		return event.Given{Mode: &set, Audit: []grace.AuditEntry{{At: t0, Actor: "ana", Action: "mode.x", Object: "mode", Detail: detail}}}
	}
	onBoth(t, func(t *testing.T, s *store.Store) {
		now := func() grace.ModeSetting { return must[grace.ModeSetting](t)(s.Mode(t.Context(), s.Q())) }
		apply(t, s, mode(1, grace.ModeAutonomous))
		now()
		mustExec(t, s, "CREATE TABLE saved_mode AS SELECT * FROM grace_mode")
		revision := 1
		for name, attack := range map[string][]string{
			"changed":  {`UPDATE grace_mode SET doc = replace(doc, '"stopped"', '"autonomous"')`},
			"put back": {"DELETE FROM grace_mode", "INSERT INTO grace_mode SELECT * FROM saved_mode"},
			"deleted":  {"DELETE FROM grace_mode"},
		} {
			revision++
			apply(t, s, mode(revision, grace.ModeStopped))
			if m := now(); m.At(t0) != grace.ModeStopped {
				t.Fatalf("%+v", m)
			}
			for _, text := range attack {
				mustExec(t, s, text)
			}
			m := now()
			if m.At(t0) != grace.ModeObserveOnly || m.Revision != revision || !strings.Contains(m.Reason, "beside GRACE") {
				t.Errorf("%s: %+v", name, m)
			}
			revision++
			apply(t, s, mode(m.Revision+1, grace.ModeAskAlways))
			if m := now(); m.At(t0) != grace.ModeAskAlways {
				t.Errorf("%s: a person cannot set a mode again: %+v", name, m)
			}
		}
	})
}

// TestLogCutOff: entries cut off together with the head are found: at once by
// the process that wrote them, at the next start by the checkpoint kept outside.
func TestLogCutOff(t *testing.T) {
	dir := t.TempDir()
	url, points := "sqlite:"+filepath.Join(dir, "grace.db"), filepath.Join(dir, "audit.checkpoints")
	options := store.Options{URL: url, AuditKey: key, Checkpoints: points, Now: func() time.Time { return t0 }}
	s := must[*store.Store](t)(store.Open(t.Context(), options))
	write := func() error {
		return tryApply(t.Context(), s, event.Given{Audit: []grace.AuditEntry{entry("run/r-1")}})
	}
	for range 3 {
		if err := write(); err != nil {
			t.Fatal(err)
		}
	}
	dropTriggers(t, s)
	mustExec(t, s, "CREATE TABLE saved_head AS SELECT * FROM grace_head")
	for range 3 {
		if err := write(); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // the second time there is nothing new
		if err := s.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if data, err := os.ReadFile(points); err != nil || strings.Count(string(data), "\n") != 1 || !strings.HasPrefix(string(data), "6:") {
		t.Fatalf("%q, %v", data, err)
	}
	report := must[store.AuditReport](t)(s.VerifyAudit(t.Context()))
	if !report.OK || report.Checkpoints != 1 {
		t.Fatalf("%+v", report)
	}
	kept := store.Checkpoint{Seq: report.HeadSeq, Hash: report.HeadHash}
	for _, text := range []string{"DELETE FROM grace_audit_log WHERE seq > 3", "DELETE FROM grace_head", "INSERT INTO grace_head SELECT * FROM saved_head"} {
		mustExec(t, s, text)
	}
	if err := write(); !errors.Is(err, store.ErrForged) {
		t.Errorf("written behind a log that was cut off: %v", err)
	}
	if r := must[store.AuditReport](t)(s.VerifyAudit(t.Context())); r.OK || r.BrokenAt != 4 {
		t.Errorf("%+v", r)
	}
	s.Close()
	if _, err := store.Open(t.Context(), options); !errors.Is(err, store.ErrForged) || !strings.Contains(err.Error(), "ends with entry 3") || !strings.Contains(err.Error(), points) {
		t.Errorf("opened a log that was cut off: %v", err)
	}
	options.Inspect, options.Checkpoints = true, ""
	s = must[*store.Store](t)(store.Open(t.Context(), options))
	defer s.Close()
	if r := must[store.AuditReport](t)(s.VerifyAudit(t.Context())); !r.OK {
		t.Errorf("the log is sound in itself: %+v", r)
	}
	if r := must[store.AuditReport](t)(s.VerifyAudit(t.Context(), kept)); r.OK || r.Kind != "removed" || r.BrokenAt != 6 {
		t.Errorf("what was expected is not there: %+v", r)
	}
	if r := must[store.AuditReport](t)(s.VerifyAudit(t.Context(), store.Checkpoint{Seq: 2, Hash: kept.Hash})); r.OK || r.BrokenAt != 2 {
		t.Errorf("an entry with another hash than expected: %+v", r)
	}
}

// TestKeyWithoutItsDatabase: a database that was deleted does not begin anew
// unseen.
func TestKeyWithoutItsDatabase(t *testing.T) {
	dir := t.TempDir()
	options := store.Options{URL: "sqlite:" + filepath.Join(dir, "grace.db"), AuditKey: key, Checkpoints: filepath.Join(dir, "audit.checkpoints")}
	s := must[*store.Store](t)(store.Open(t.Context(), options))
	apply(t, s, event.Given{Audit: []grace.AuditEntry{entry("run/r-1")}})
	if err := s.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Close()
	for _, ending := range []string{"", "-wal", "-shm"} {
		_ = os.Remove(filepath.Join(dir, "grace.db"+ending))
	}
	if _, err := store.Open(t.Context(), options); !errors.Is(err, store.ErrForged) || !strings.Contains(err.Error(), "another database") {
		t.Errorf("a new database was taken for the old one: %v", err)
	}
}

// TestHeadSetByHand: the head carries a seal.
func TestHeadSetByHand(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		apply(t, s, event.Given{Audit: []grace.AuditEntry{entry("run/r-1")}})
		mustExec(t, s, "UPDATE grace_head SET seq = 0, hash = ''")
		if err := tryApply(t.Context(), s, event.Given{Audit: []grace.AuditEntry{entry("run/r-1")}}); !errors.Is(err, store.ErrForged) {
			t.Errorf("the log began anew: %v", err)
		}
	})
}

// TestOlderViewIsNoForgery: a transaction that began before the mode was set, or
// before entries were appended, sees the state of then; nobody is alarmed.
func TestOlderViewIsNoForgery(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		set := func(revision int) {
			apply(t, s, event.Given{
				Mode:  &grace.ModeSetting{Mode: grace.ModeAutonomous, Revision: revision, Since: t0},
				Audit: []grace.AuditEntry{entry("mode")},
			})
		}
		set(1)
		done := make(chan error, 1)
		go func() {
			for i := range 50 {
				if err := tryApply(ctx, s, event.Given{
					Mode:  &grace.ModeSetting{Mode: grace.ModeAutonomous, Revision: i + 2, Since: t0},
					Audit: []grace.AuditEntry{entry("mode")},
				}); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
		for running := true; running; {
			select {
			case err := <-done:
				if err != nil {
					t.Error(err)
				}
				running = false
			default:
			}
			if m := must[grace.ModeSetting](t)(s.Mode(ctx, s.Q())); m.Mode != grace.ModeAutonomous {
				t.Fatalf("an alarm for nothing: %+v", m)
			}
			if err := s.Checkpoint(ctx); err != nil {
				t.Fatal(err)
			}
			if r := must[store.AuditReport](t)(s.VerifyAudit(ctx)); !r.OK {
				t.Fatalf("an alarm for nothing: %+v", r)
			}
		}
	})
}
