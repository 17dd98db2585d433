package daemon_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"grace"
	"grace/internal/flow"
	"grace/internal/patience"
)

// record writes a history of open runs as this version leaves them:
//
//	go test ./daemon -run TestRecordHistory -record grace-run-3-schema-10
//
// Do so at a release that changed the schema or what a run does, and keep the
// earlier ones: a run that was open then must go on under every later version.
var record = flag.String("record", "", "name of a history to record in testdata/history")

// history is a database with open runs, and what their target looked like when
// the process that drove them was killed.
type history struct {
	Version string                     `json:"workflow_version"`
	Key     string                     `json:"audit_key"`
	Schema  []string                   `json:"schema"` // tables first
	Rows    map[string][]string        `json:"rows"`   // of each table, a row as JSON in a line
	Runs    map[string]grace.RunID     `json:"runs"`   // by service
	States  map[string]grace.RunStatus `json:"states"`
	Effects []string                   `json:"effects"`
	Calls   map[string]int             `json:"calls"`
}

// placeholder stands for the target's address, which is another every time.
const placeholder = "http://target.invalid"

// longLived are settings under which a history does not grow old.
const longLived = "trust: {approval_ttl: 87600h}\nsense: {alert_stale_after: 87600h}\n"

func TestRecordHistory(t *testing.T) {
	if *record == "" {
		t.Skip("records only with -record NAME")
	}
	g := newTarget(t)
	text := strings.ReplaceAll(fiveSteps(g, moments), "        watchdog: 1h\n", "        watchdog: 87600h\n")
	h := newHome(t, longLived+text)
	p := h.spawn(t, sharedKey)
	gates := map[string]*gate{
		inStep:      g.hold("POST", "/do/in-step-s3", false),
		afterEffect: g.hold("POST", "/do/after-effect-s3", true),
		between:     g.hold("GET", "/snapshot/between-s3", false),
		verifying:   g.hold("GET", "/verify/verifying", false),
		approved:    g.hold("POST", "/do/approved-s1", false),
		undoing:     g.hold("POST", "/undo/undoing-s3", false),
	}
	g.fail("POST", "/do/undoing-s5", true)
	for _, service := range moments {
		p.alert(service)
	}
	approve(p.client, ask(p.client, approved))
	ask(p.client, waiting)
	for service, gate := range gates {
		gate.wait(t, service)
	}
	out := history{Version: flow.Version, Key: strings.TrimPrefix(sharedKey, "GRACE_AUDIT_KEY="), Runs: map[string]grace.RunID{}, States: map[string]grace.RunStatus{}}
	for _, service := range moments {
		run, _ := p.run(service)
		out.Runs[service], out.States[service] = run.ID, run.Status
	}
	p.kill()
	g.mu.Lock()
	out.Effects, out.Calls = slices.Sorted(maps.Keys(g.effects)), maps.Clone(g.calls)
	g.mu.Unlock()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	out.dump(t, filepath.Join(h.dir, "grace.db"), strings.NewReplacer(g.URL, placeholder, host+"-", "host-"))
	b, err := json.MarshalIndent(out, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll("testdata/history", 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("testdata/history", *record+".json"), append(b, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
}

func openSQLite(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// dump reads a database whole.
func (h *history) dump(t *testing.T, path string, put *strings.Replacer) {
	t.Helper()
	db := openSQLite(t, path)
	list, err := db.QueryContext(t.Context(), `SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'
		ORDER BY CASE type WHEN 'table' THEN 0 ELSE 1 END, name`)
	if err != nil {
		t.Fatal(err)
	}
	defer list.Close()
	h.Rows = map[string][]string{}
	var tables []string
	for list.Next() {
		var kind, name, text string
		if err := list.Scan(&kind, &name, &text); err != nil {
			t.Fatal(err)
		}
		h.Schema = append(h.Schema, text)
		if kind == "table" {
			tables = append(tables, name)
		}
	}
	if err := list.Err(); err != nil {
		t.Fatal(err)
	}
	for _, name := range tables {
		if name != "grace_tokens" { // of that machine's command line
			h.Rows[name] = rowsOf(t, db, name, put)
		}
	}
}

func rowsOf(t *testing.T, db *sql.DB, table string, put *strings.Replacer) []string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), "SELECT * FROM "+table)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for rows.Next() {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		row := map[string]any{}
		for i, v := range values {
			if b, isBytes := v.([]byte); isBytes {
				if !utf8.Valid(b) {
					t.Fatalf("%s.%s holds %d bytes that are no text", table, columns[i], len(b))
				}
				v = string(b)
			}
			if v != nil {
				row[columns[i]] = rewrite(table, v, put)
			}
		}
		b, err := json.Marshal(row)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(b))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// rewrite replaces in a text, also where the engine keeps it in base64. The
// audit log must stay as it was written.
func rewrite(table string, v any, put *strings.Replacer) any {
	text, isText := v.(string)
	if !isText || table == "grace_audit_log" {
		return v
	}
	if inner, err := base64.StdEncoding.DecodeString(text); err == nil && json.Valid(inner) {
		return base64.StdEncoding.EncodeToString([]byte(put.Replace(string(inner))))
	}
	return put.Replace(text)
}

// restore makes the database of a history.
func (h *history) restore(t *testing.T, path string, put *strings.Replacer) {
	t.Helper()
	db := openSQLite(t, path)
	rest := slices.IndexFunc(h.Schema, func(text string) bool { return !strings.HasPrefix(text, "CREATE TABLE") })
	exec := func(text string, args ...any) {
		if _, err := db.ExecContext(t.Context(), text, args...); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	for _, text := range h.Schema[:rest] {
		exec(text)
	}
	for table, rows := range h.Rows {
		for _, text := range rows {
			var row map[string]any
			decoder := json.NewDecoder(strings.NewReader(text))
			decoder.UseNumber()
			if err := decoder.Decode(&row); err != nil {
				t.Fatal(err)
			}
			columns := slices.Sorted(maps.Keys(row))
			args := make([]any, len(columns))
			for c := range row {
				row[c] = rewrite(table, row[c], put)
			}
			h.seal(t, table, row)
			for i, c := range columns {
				args[i] = row[c]
				if n, isNumber := row[c].(json.Number); isNumber {
					args[i] = n.String() // the column's affinity makes it a number again
				}
			}
			exec("INSERT INTO "+table+" (\""+strings.Join(columns, "\", \"")+"\") VALUES ("+strings.TrimSuffix(strings.Repeat("?, ", len(args)), ", ")+")", args...)
		}
	}
	for _, text := range h.Schema[rest:] { // indexes and triggers, which would refuse the rows
		exec(text)
	}
}

// seal writes the seals of a row anew, since the target's address in it is
// another now. It needs the key, as everybody does who wants to write to the
// database beside GRACE.
func (h *history) seal(t *testing.T, table string, row map[string]any) {
	t.Helper()
	key, err := hex.DecodeString(h.Key)
	if err != nil {
		t.Fatal(err)
	}
	mac := func(key []byte, parts ...string) []byte {
		m := hmac.New(sha256.New, key)
		for _, p := range parts {
			m.Write(binary.BigEndian.AppendUint64(nil, uint64(len(p))))
			m.Write([]byte(p))
		}
		return m.Sum(nil)
	}
	derive := func(purpose string) []byte {
		m := hmac.New(sha256.New, key)
		m.Write([]byte(purpose))
		return m.Sum(nil)
	}
	if doc, ok := row["doc"].(string); ok && row["seal"] != nil {
		id := row["id"]
		if table == "grace_mode" {
			id = row["revision"]
		}
		row["seal"] = hex.EncodeToString(mac(derive("grace row seal"), table, fmt.Sprint(id), doc))
	}
	for column, name := range map[string]any{"inputs": "", "output": row["function_name"]} {
		text, _ := row[column].(string)
		inner, err := base64.StdEncoding.DecodeString(text)
		var kept struct {
			Value json.RawMessage `json:"value"`
			Seal  string          `json:"seal"`
		}
		if err != nil || json.Unmarshal(inner, &kept) != nil || kept.Seal == "" {
			continue
		}
		kept.Seal = hex.EncodeToString(mac(derive("grace engine seal"), fmt.Sprint(row["workflow_uuid"]), fmt.Sprint(name), string(kept.Value)))
		b, err := json.Marshal(kept)
		if err != nil {
			t.Fatal(err)
		}
		row[column] = base64.StdEncoding.EncodeToString(b)
	}
}

// TestUpgradeWithOpenRuns: runs that were open under an earlier release go on
// under this one, each from where it was, to its end.
func TestUpgradeWithOpenRuns(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/history/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recorded history: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			var past history
			b, err := os.ReadFile(file)
			if err == nil {
				err = json.Unmarshal(b, &past)
			}
			if err != nil {
				t.Fatal(err)
			}
			if past.Version != flow.Version {
				t.Fatalf("the history is of workflow version %s, this is %s: its open runs would be stranded", past.Version, flow.Version)
			}
			replay(t, past)
		})
	}
}

func replay(t *testing.T, past history) {
	g := newTarget(t)
	for _, name := range past.Effects {
		g.effects[name] = true
	}
	maps.Copy(g.calls, past.Calls)
	// The services have no remedy any more: a run keeps the playbook it was
	// decided with.
	text := longLived + "services:\n"
	for _, service := range moments {
		text += fmt.Sprintf("  - {name: %s, criticality: medium}\n", service)
	}
	h := newHome(t, text)
	if err := os.MkdirAll(h.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	past.restore(t, filepath.Join(h.dir, "grace.db"), strings.NewReplacer(placeholder, g.URL))
	p := h.spawn(t, "GRACE_AUDIT_KEY="+past.Key)
	approve(p.client, approvalOf(p.client, past.Runs[waiting]))
	for _, service := range moments {
		want := grace.RunSucceeded
		if service == undoing {
			want = grace.RunRolledBack
		}
		var run grace.Run
		patience.Until(t, func() error {
			p.call(http.MethodGet, "/api/runs/"+string(past.Runs[service]), nil, &run)
			if run.Status != want {
				p.playSource(run)
				return fmt.Errorf("%s was %s and is %s (%s), want %s", service, past.States[service], run.Status, run.Error, want)
			}
			return nil
		})
		nothingTwice(t, g, p.client, service, run)
	}
	p.verifyAudit()
	p.terminate(t)
}
