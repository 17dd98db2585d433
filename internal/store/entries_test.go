package store_test

import (
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"grace"
	"grace/internal/event"
	"grace/internal/store"
)

// noState are the tables that are not the state of what GRACE watches and does, and why
// no entry of a log tells of their rows.
var noState = map[string]string{
	"audit_log":   "the permanent log itself",
	"operations":  "the operational log itself",
	"head":        "where the logs end",
	"events":      "the outbox: what an event is told as",
	"meta":        "the version of the schema, the check of the key",
	"blobs":       "parts of snapshots, kept before the decision that names them",
	"cursors":     "how far a reader of the outbox has come",
	"receivers":   "how far a receiver of notifications has come",
	"notify_refs": "what a receiver calls a message that it has got",
	"notify_open": "how far the ladder has come with what is open",
	"claims":      "which replica does what",
	"spent":       "what counts once, until it is forgotten",
	"raised":      "who reported about a service, until it is forgotten",
}

// everything has one of each event, as its test needs it: with all that it can change.
func everything() []event.Event {
	later := t0.Add(time.Minute)
	r, next, still := run("r-1", 1, grace.RunAwaitingApproval), run("r-1", 2, grace.RunCancelled), run("r-1", 3, grace.RunCancelled)
	inc := grace.Incident{ID: "i-1", Kind: grace.IncidentUnhealed, State: grace.IncidentOpen, Service: "web", OpenedAt: t0}
	refreshed := inc
	refreshed.Detail = "why"
	trigger := grace.Trigger{ID: "t-1", State: grace.TriggerPending, Service: "web", At: t0}
	foretold := grace.Prediction{ID: "p-1", Key: "k", Service: "web", At: t0, Made: t0, Outcome: grace.PredictionOpen}
	letter := event.DeadLetter{ID: "chat:1", Receiver: "chat", Error: "no", At: t0}
	asked := letter
	asked.Retry = true
	tried := asked
	tried.Attempts = 1
	snapshot := func(id string, kind grace.RecordKind) grace.Recorded {
		return grace.Recorded{ID: id, Kind: kind, Service: "web", At: t0, Snapshot: json.RawMessage(`{}`)}
	}
	return []event.Event{
		event.SignalChanged{Signal: grace.Signal{Key: "web/up", Service: "web", State: grace.SignalFiring, At: t0}, Trigger: &trigger, Owner: "me", At: t0},
		event.SignalChanged{Signal: grace.Signal{Key: "web/up", Service: "web", State: grace.SignalFiring, At: later, Gone: true}, Owner: "me", At: t0},
		event.SignalsAsked{Keys: []grace.SignalKey{"web/up"}, Owner: "me", At: t0},
		event.SignalForgotten{Key: "web/up", Service: "web", Actor: "token:ada", At: t0},
		event.Predicted{Prediction: foretold, Telling: event.Silenced, At: t0},
		event.RuleJudged{Rule: "trend", False: 3, Of: 10, At: t0},
		event.ClockSet{By: time.Hour, Owner: "me", At: t0},
		event.WriteRefused{Key: "k", Service: "web", Reason: "no", At: t0},
		event.Posted{Events: []grace.Event{{Type: "deploy"}}},
		event.Decided{
			Decision: grace.Decision{ID: "d-1", Verdict: grace.VerdictRequireApproval, Service: "web", Run: r.ID, At: t0},
			Snapshot: snapshot("d-1", grace.RecordDecision), Run: &r, Answer: later,
		},
		event.TriggersAnswered{Triggers: []grace.Trigger{trigger}, State: grace.TriggerDecided, At: t0},
		event.Admitted{Snapshot: snapshot("a-1", grace.RecordAdmission)},
		event.ApprovalAnswered{Approval: grace.Approval{ID: "r-1", Run: "r-1", State: grace.ApprovalExpired, Revision: 2, At: t0}, At: t0},
		event.RunMoved{
			Run: next, Moves: []event.Move{{Action: "cancelled"}}, Learned: &grace.LearningEntry{ID: "l-1", Run: "r-1", At: t0},
			Abort: &grace.AbortRequest{Run: "r-2", At: t0}, At: t0,
		},
		event.RunMoved{Run: still, At: t0},
		event.AbortRequested{Request: grace.AbortRequest{Run: "r-1", Actor: "token:ada", At: t0}, Service: "web"},
		event.IncidentChanged{Incident: inc, What: event.IncidentOpened, At: t0},
		event.IncidentChanged{Incident: refreshed, What: event.IncidentRefreshed, At: t0},
		event.SilenceChanged{Silence: grace.Silence{ID: "s-1", Service: "web", Ends: later}, Actor: "token:ada", At: t0},
		event.ModeSet{Mode: grace.ModeSetting{Mode: grace.ModeStopped, Revision: 1, Since: t0, Actor: "token:ada"}},
		event.ConfigReloaded{Actor: "token:ada", At: t0},
		event.LetterChanged{Letter: letter, At: t0},
		event.LetterChanged{Letter: asked, Actor: "token:ada", At: t0},
		event.LetterChanged{Letter: tried, Quiet: true, At: t0},
		event.LetterDelivered{ID: letter.ID, At: t0},
		event.NotifyStep{Type: "self_heal.notify.escalated", Subject: "incident/i-1", Reason: "nobody answers", At: t0},
		event.TokenChanged{Name: "ada", Role: "viewer", Actor: "token:bo", At: t0},
		event.SessionEnded{ID: "x", Actor: "token:ada", At: t0},
		event.Pruned{Table: "runs", Rows: 1, Before: t0, At: t0},
	}
}

// Every event is written, and whatever table of state it changes, a log has an entry of
// it. Tokens, which the store changes by itself, are asked for too; a new table must
// be named here, or say why it is no state.
func TestEveryChangeHasItsEntry(t *testing.T) {
	kinds := eventTypes(t)
	onBoth(t, func(t *testing.T, s *store.Store) {
		tables := tablesOf(t, s)
		changed := map[string]bool{}
		step := func(what string, do func(ctx context.Context, tx store.Tx) error) {
			t.Helper()
			before := contents(t, s, tables)
			if err := s.Do(t.Context(), do); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			after := contents(t, s, tables)
			logged := after["audit_log"] != before["audit_log"] || after["operations"] != before["operations"]
			for name := range after {
				if after[name] == before[name] || noState[name] != "" {
					continue
				}
				changed[name] = true
				if !logged {
					t.Errorf("%s changed the table %s, and neither log has an entry of it", what, name)
				}
			}
		}
		missing := maps.Clone(kinds)
		for _, e := range everything() {
			name := strings.TrimPrefix(fmt.Sprintf("%T", e), "event.")
			delete(missing, name)
			step(name, func(ctx context.Context, tx store.Tx) error { return s.Append(ctx, tx, e) })
		}
		if len(missing) > 0 {
			t.Errorf("events without a case here: %v", slices.Sorted(maps.Keys(missing)))
		}
		before := contents(t, s, tables)
		if _, err := s.CreateToken(t.Context(), "token:bo", store.NewToken{Name: "eve", Role: "viewer"}); err != nil {
			t.Fatal(err)
		}
		if err := s.RevokeToken(t.Context(), "token:bo", "eve"); err != nil {
			t.Fatal(err)
		}
		if after := contents(t, s, tables); after["audit_log"] == before["audit_log"] {
			t.Error("tokens were created and revoked without an entry")
		}
		changed["tokens"] = true
		for _, name := range tables {
			if noState[name] == "" && !changed[name] {
				t.Errorf("no event changes the table %s: add a case, or say in noState why it is no state", name)
			}
			if noState[name] != "" && changed[name] {
				t.Errorf("the table %s is changed by events and named as no state", name)
			}
		}
	})
}

// eventTypes reads the names of the closed set from the package itself.
func eventTypes(t *testing.T) map[string]bool {
	t.Helper()
	files, err := filepath.Glob("../event/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %d files", err, len(files))
	}
	out := map[string]bool{}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Name.Name == "derive" && fn.Recv != nil {
				if id, ok := fn.Recv.List[0].Type.(*ast.Ident); ok && id.Name != "Given" {
					out[id.Name] = true
				}
			}
		}
	}
	return out
}

// tablesOf gives the store's own tables, without their prefix.
func tablesOf(t *testing.T, s *store.Store) []string {
	t.Helper()
	text := "SELECT substr(name, 7) FROM sqlite_master WHERE type = 'table' AND substr(name, 1, 6) = 'grace_'"
	if s.Postgres() {
		text = "SELECT tablename FROM pg_tables WHERE schemaname = 'grace'"
	}
	rows, err := s.Q().Query(t.Context(), text)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		out = append(out, name)
	}
	if err := rows.Err(); err != nil || len(out) < 15 {
		t.Fatalf("%v %v", out, err)
	}
	return out
}

// contents gives all rows of each table as text.
func contents(t *testing.T, s *store.Store, tables []string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, name := range tables {
		text := "SELECT COALESCE(group_concat(row, char(10)), '') FROM (SELECT " + columnsOf(t, s, name) + " AS row FROM grace_" + name + " ORDER BY 1)"
		if s.Postgres() {
			text = "SELECT COALESCE(string_agg(r::text, chr(10) ORDER BY r::text), '') FROM grace." + name + " AS r"
		}
		var all string
		if err := s.Q().QueryRow(t.Context(), text).Scan(&all); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out[name] = all
	}
	return out
}

// columnsOf gives the columns of a table of SQLite as one text.
func columnsOf(t *testing.T, s *store.Store, table string) string {
	t.Helper()
	if s.Postgres() {
		return ""
	}
	rows, err := s.Q().Query(t.Context(), "SELECT name FROM pragma_table_info('grace_"+table+"')")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		out = append(out, "COALESCE("+name+", '')")
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return strings.Join(out, " || '|' || ")
}

// writers are the files that change tables of state, each with an entry: Append, and
// what the store does by itself.
var writers = []string{"append.go", "aborts.go", "tokens.go", "prune.go"}

// Nothing but the writers changes a table of state.
func TestOnlyWritersWrite(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	changes := regexp.MustCompile(`(?:INSERT INTO|UPDATE|DELETE FROM)\s+grace_(\w+)`)
	found := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") || name == "schema.go" {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range changes.FindAllStringSubmatch(string(text), -1) {
			found++
			if noState[m[1]] == "" && m[1] != "audit_log" && !slices.Contains(writers, name) {
				t.Errorf("%s changes the table %s: make it an event, and have Append write it", name, m[1])
			}
		}
	}
	if found < 10 {
		t.Errorf("found %d statements that change something: the pattern does not see them", found)
	}
}
