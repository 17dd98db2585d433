package loop

import (
	"context"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"grace"
	"grace/internal/event"
	"grace/internal/heal"
	"grace/internal/mesh"
	"grace/internal/store"
)

// update rewrites what the scenarios expect: go test ./internal/loop -run
// TestScenarios -update. Read the difference before you keep it.
var update = flag.Bool("update", false, "rewrite the expected audit logs of the scenarios")

// TestScenarios plays testdata/*.txtar: the whole loop on a real store, in
// virtual time. testdata/README.md explains the files.
func TestScenarios(t *testing.T) {
	if path := os.Getenv("GRACE_REPLAYED"); path != "" { // for make replay
		t.Cleanup(func() {
			if err := os.WriteFile(path, event.Encode(map[string]any{"replay": &replayed.sum}), 0o600); err != nil {
				t.Error(err)
			}
		})
	}
	for _, path := range scenarioFiles(t) {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { playFile(t, path) })
		})
	}
}

func scenarioFiles(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	return paths
}

func playFile(t *testing.T, path string) {
	arc, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	base, err := os.ReadFile("testdata/base.yaml")
	if err != nil {
		t.Fatal(err)
	}
	cfg := readConfig(t, base, section(arc, "config.yaml"))
	cfg.Sources = map[string]any{"": "the script"}
	got := play(t, cfg, readScript(t, string(section(arc, "script"))))
	names := []string{"audit", "runs"}
	if *update {
		for i, name := range names {
			setSection(arc, name, got[i])
		}
		if err := os.WriteFile(path, txtar.Format(arc), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	for i, name := range names {
		if diff := cmp.Diff(string(section(arc, name)), got[i]); diff != "" {
			t.Errorf("%s is not as expected (-want +got); -update rewrites it:\n%s", name, diff)
		}
	}
}

func section(arc *txtar.Archive, name string) []byte {
	for _, f := range arc.Files {
		if f.Name == name {
			return f.Data
		}
	}
	return nil
}

func setSection(arc *txtar.Archive, name, text string) {
	for i := range arc.Files {
		if arc.Files[i].Name == name {
			arc.Files[i].Data = []byte(text)
			return
		}
	}
	arc.Files = append(arc.Files, txtar.File{Name: name, Data: []byte(text)})
}

// play runs a scenario and gives its audit log and its runs.
func play(t *testing.T, cfg Config, s *script) []string {
	// The loop's ticks fall 300 ms after the samples, never on them.
	time.Sleep(time.Until(s.from.Add(-700 * time.Millisecond)))
	ctx, cancel := context.WithCancel(t.Context())
	st, err := store.Open(ctx, store.Options{URL: "sqlite:" + filepath.Join(t.TempDir(), "grace.db"), AuditKey: []byte("a key for tests, 32 bytes long..")})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, script: s, used: map[string]int{}}
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	e := &engine{
		t: t, ctx: ctx, pause: map[grace.RunID]time.Duration{},
		inbox: map[grace.RunID]chan grace.ControlMessage{}, lost: map[grace.RunID]string{},
	}
	l, err := New(cfg, Deps{
		Store: st, Engine: e, Bus: mesh.New(), Log: log, Now: func() time.Time { return time.Now().UTC() }, Owner: "test",
		Runner: &heal.Runner{Actions: map[string]grace.Action{"sim": w}, Prober: w, Clock: heal.NewWallClock(), Owner: "test"},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.loop, e.l = l, l
	err = st.Do(ctx, func(ctx context.Context, tx store.Tx) error {
		return st.Append(ctx, tx, event.Given{Learning: s.learned})
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := backfill(ctx, l, s.history...); err != nil {
		t.Fatal(err)
	}
	l.refitSome() // or the first look would be at the same time as the first forecast
	if err := l.Start(ctx); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cancel()
		e.done.Wait()
		l.Stop()
		st.Close()
	}()
	for now := s.from; !now.After(s.to); {
		time.Sleep(time.Until(now))
		samples, next := w.due(now)
		if err := l.Observe(ctx, samples...); err != nil {
			t.Fatal(err)
		}
		for len(s.happens) > 0 && !s.happens[0].at.After(now) {
			if err := w.happen(ctx, e, s.happens[0]); err != nil {
				t.Fatalf("%s %s: %v", now.Format(time.TimeOnly), s.happens[0].what, err)
			}
			s.happens = s.happens[1:]
		}
		if len(s.happens) > 0 && (next.IsZero() || s.happens[0].at.Before(next)) {
			next = s.happens[0].at
		}
		if next.IsZero() {
			next = s.to.Add(1)
		}
		now = next
	}
	synctest.Wait()
	return newReport(t, l).texts(w)
}

// exceptions are the reasons and states that no scenario can show.
func exceptions() map[string]string {
	return map[string]string{
		string(grace.ReasonPassed):     "it is not a no",
		string(grace.ReasonOverridden): "it is not a no, either",
		string(grace.ReasonInhibited):  "a victim gets no diagnosis, so no decision of its own: the cause's names it",
	}
}

// TestScenariosCoverEverything wants a scenario for every reason that a stage
// can give and for every state of a run: a new constant without one fails.
func TestScenariosCoverEverything(t *testing.T) {
	var all strings.Builder
	for _, path := range scenarioFiles(t) {
		arc, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(section(arc, "audit"))
		all.Write(section(arc, "runs"))
	}
	text := all.String()
	excepted := exceptions()
	for _, kind := range []struct{ typ, pattern string }{
		{"ReasonCode", `: %s \(actual `},
		{"RunStatus", `(?m) run\.%s `},
	} {
		values := constantsOf(t, kind.typ)
		if len(values) < 10 {
			t.Fatalf("only %d constants of %s: %v", len(values), kind.typ, values)
		}
		for _, v := range values {
			shown := regexp.MustCompile(fmt.Sprintf(kind.pattern, regexp.QuoteMeta(v))).MatchString(text)
			_, except := excepted[v]
			switch {
			case !shown && !except:
				t.Errorf("no scenario shows %s %q: add one to testdata, or to exceptions the reason why none can", kind.typ, v)
			case shown && except:
				t.Errorf("a scenario shows %s %q: it is no exception any more", kind.typ, v)
			}
			delete(excepted, v)
		}
	}
	for v := range excepted {
		t.Errorf("exception %q is no constant", v)
	}
}

// constantsOf gives the values of a type's constants in package grace.
func constantsOf(t *testing.T, typ string) []string {
	t.Helper()
	paths, err := filepath.Glob("../../*.go")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, path := range paths {
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			if id, ok := spec.Type.(*ast.Ident); !ok || id.Name != typ {
				return true
			}
			for _, v := range spec.Values {
				if lit, ok := v.(*ast.BasicLit); ok {
					s, err := strconv.Unquote(lit.Value)
					if err != nil {
						t.Fatal(err)
					}
					out = append(out, s)
				}
			}
			return true
		})
	}
	slices.Sort(out)
	return out
}
