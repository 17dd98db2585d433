package store_test

import (
	"context"
	"strings"
	"testing"

	"grace"
	"grace/internal/event"
	"grace/internal/store"
)

// exec runs SQL written for SQLite on either database.
func exec(t *testing.T, s *store.Store, text string) error {
	t.Helper()
	if s.Postgres() {
		text = strings.ReplaceAll(text, "grace_", "grace.")
	}
	_, err := s.Q().Exec(t.Context(), text)
	return err
}

func mustExec(t *testing.T, s *store.Store, text string) {
	t.Helper()
	if err := exec(t, s, text); err != nil {
		t.Fatal(err)
	}
}

func dropTriggers(t *testing.T, s *store.Store) {
	t.Helper()
	if s.Postgres() {
		mustExec(t, s, "DROP TRIGGER gx_audit_append_only ON grace_audit_log")
		return
	}
	mustExec(t, s, "DROP TRIGGER gx_audit_no_update")
	mustExec(t, s, "DROP TRIGGER gx_audit_no_delete")
	mustExec(t, s, "DROP TRIGGER gx_audit_no_insert")
}

func TestAuditEntries(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		ctx, q := t.Context(), s.Q()
		for i := range 5 {
			e := entry("run/r-1")
			if i == 2 {
				e.Object, e.Actor = "run/r-2", "token:ops"
			}
			e.At = at(i)
			apply(t, s, event.Given{Audit: []grace.AuditEntry{e}})
		}
		var got []int64
		page := store.Page{Limit: 2}
		for {
			entries, next, err := s.AuditEntries(ctx, q, store.AuditFilter{}, page)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				got = append(got, e.Seq)
			}
			if page.Cursor = next; next == "" {
				break
			}
		}
		equal(t, got, []int64{5, 4, 3, 2, 1})
		for name, c := range map[string]struct {
			filter store.AuditFilter
			want   int
		}{
			"object":      {store.AuditFilter{Object: "run/r-2"}, 1},
			"actor":       {store.AuditFilter{Actor: "token:ops"}, 1},
			"actor grace": {store.AuditFilter{Actor: grace.Self}, 4},
			"service":     {store.AuditFilter{Service: "cart"}, 5},
			"from to":     {store.AuditFilter{From: at(1), To: at(3)}, 2},
		} {
			entries, _, err := s.AuditEntries(ctx, q, c.filter, store.Page{})
			if err != nil || len(entries) != c.want {
				t.Errorf("%s: %d entries, error %v; want %d", name, len(entries), err, c.want)
			}
		}
		entries, _, err := s.AuditEntries(ctx, q, store.AuditFilter{Object: "run/r-2"}, store.Page{})
		e := must[[]grace.AuditEntry](t)(entries, err)[0]
		equal(t, e.At, at(2))
		equal(t, string(e.Detail), `{"b":1,"a":"\u003cé\u003e"}`)
	})
}

func TestAuditLogRefusesChange(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		apply(t, s, event.Given{Audit: []grace.AuditEntry{entry("run/r-1")}})
		attempts := []string{"UPDATE grace_audit_log SET actor = 'x'", "DELETE FROM grace_audit_log"}
		if s.Postgres() {
			attempts = append(attempts, "TRUNCATE grace_audit_log")
		} else {
			attempts = append(attempts, "REPLACE INTO grace_audit_log SELECT * FROM grace_audit_log")
		}
		for _, text := range attempts {
			if err := exec(t, s, text); err == nil || !strings.Contains(err.Error(), "append-only") {
				t.Errorf("%s: error %v, want a refusal", text, err)
			}
		}
		if r := must[store.AuditReport](t)(s.VerifyAudit(t.Context())); !r.OK || r.Entries != 1 {
			t.Errorf("report %+v", r)
		}
	})
}

func TestVerifyAuditNamesTheBrokenRow(t *testing.T) {
	const columns = "at, actor, action, object, service, reason, detail, leaf, prev_hash, hash"
	cases := map[string]struct {
		tamper   []string
		brokenAt int64
		kind     string
	}{
		"untouched":            {nil, 0, ""},
		"actor changed":        {[]string{"UPDATE grace_audit_log SET actor = 'x' WHERE seq = 3"}, 3, "changed"},
		"time changed":         {[]string{"UPDATE grace_audit_log SET at = at + 1 WHERE seq = 3"}, 3, "changed"},
		"detail changed":       {[]string{"UPDATE grace_audit_log SET detail = '{}' WHERE seq = 1"}, 1, "changed"},
		"leaf changed":         {[]string{"UPDATE grace_audit_log SET leaf = 'ff' WHERE seq = 4"}, 4, "changed"},
		"hash changed":         {[]string{"UPDATE grace_audit_log SET hash = 'ff' WHERE seq = 6"}, 6, "changed"},
		"removed at the start": {[]string{"DELETE FROM grace_audit_log WHERE seq = 1"}, 1, "removed"},
		"removed inside":       {[]string{"DELETE FROM grace_audit_log WHERE seq = 3"}, 3, "removed"},
		"removed at the tail":  {[]string{"DELETE FROM grace_audit_log WHERE seq >= 5"}, 5, "removed"},
		"all removed":          {[]string{"DELETE FROM grace_audit_log"}, 1, "removed"},
		"inserted behind": {[]string{
			"INSERT INTO grace_audit_log (seq, " + columns + ") SELECT 7, " + columns + " FROM grace_audit_log WHERE seq = 6",
		}, 7, "inserted"},
		"inserted behind, head moved": {[]string{
			"INSERT INTO grace_audit_log (seq, " + columns + ") SELECT 7, " + columns + " FROM grace_audit_log WHERE seq = 6",
			"UPDATE grace_head SET seq = 7",
		}, 7, "reordered"},
		"inserted in front": {[]string{
			"INSERT INTO grace_audit_log (seq, " + columns + ") SELECT 0, " + columns + " FROM grace_audit_log WHERE seq = 6",
		}, 0, "inserted"},
		"inserted inside, others moved up": {[]string{
			"UPDATE grace_audit_log SET seq = seq + 100 WHERE seq > 3",
			"UPDATE grace_audit_log SET seq = seq - 99 WHERE seq > 100",
			"INSERT INTO grace_audit_log (seq, " + columns + ") SELECT 4, " + columns + " FROM grace_audit_log WHERE seq = 3",
			"UPDATE grace_head SET seq = 7",
		}, 4, "reordered"},
		"removed at the tail, head moved to another hash": {[]string{
			"DELETE FROM grace_audit_log WHERE seq >= 5", "UPDATE grace_head SET seq = 4",
		}, 4, "changed"},
	}
	onBoth(t, func(t *testing.T, s *store.Store) {
		for range 6 {
			apply(t, s, event.Given{Audit: []grace.AuditEntry{entry("run/r-1")}})
		}
		dropTriggers(t, s)
		mustExec(t, s, "CREATE TABLE saved_log AS SELECT * FROM grace_audit_log")
		mustExec(t, s, "CREATE TABLE saved_head AS SELECT * FROM grace_head")
		for name, c := range cases {
			t.Run(name, func(t *testing.T) {
				for _, text := range c.tamper {
					mustExec(t, s, text)
				}
				r := must[store.AuditReport](t)(s.VerifyAudit(t.Context()))
				if r.OK != (c.tamper == nil) || r.BrokenAt != c.brokenAt || r.Kind != c.kind {
					t.Errorf("report %+v, want broken at %d, %s", r, c.brokenAt, c.kind)
				}
				if !r.OK && r.Detail == "" {
					t.Error("a broken log without a word about it")
				}
				for _, table := range []string{"log", "head"} {
					target := map[string]string{"log": "grace_audit_log", "head": "grace_head"}[table]
					mustExec(t, s, "DELETE FROM "+target)
					mustExec(t, s, "INSERT INTO "+target+" SELECT * FROM saved_"+table)
				}
			})
		}
	})
}

// The head is read before the rows; entries that come in between are not
// taken for inserted ones.
func TestVerifyAuditWhileAppending(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		apply(t, s, event.Given{Audit: []grace.AuditEntry{entry("run/r-1")}})
		ctx, stop := context.WithCancel(t.Context())
		stopped := make(chan error, 1)
		go func() {
			for ctx.Err() == nil {
				if err := tryApply(context.WithoutCancel(ctx), s, event.Given{Audit: []grace.AuditEntry{entry("run/r-1")}}); err != nil {
					stopped <- err
					return
				}
			}
			stopped <- nil
		}()
		for range 20 {
			if r := must[store.AuditReport](t)(s.VerifyAudit(t.Context())); !r.OK {
				t.Errorf("report %+v", r)
			}
		}
		stop()
		if err := <-stopped; err != nil {
			t.Fatal(err)
		}
	})
}
