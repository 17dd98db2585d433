package grace_test

import (
	"bufio"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// floors is the building: a package imports strictly lower floors only, so
// that neighbours never see each other and a change stays where it is made. A
// name that ends in /* stands for all packages below it. (The table is read
// here by go/parser, not by go list, whose result the test cache would keep.)
func floors() []struct {
	floor    int
	packages []string
} {
	return []struct {
		floor    int
		packages []string
	}{
		{9, []string{
			"examples/*", // an extension author's view: may use what is public
			"bench/*",    // drives real processes
		}},
		{8, []string{"cmd/*"}},
		{7, []string{"daemon", "internal/cli"}},
		{6, []string{"internal/config", "internal/sim", "internal/api"}},
		{5, []string{"internal/loop", "internal/notify"}},
		{4, []string{"internal/heal", "internal/store", "internal/flow", "internal/decide"}},
		{3, slices.Concat(pure(), []string{
			"internal/rulefile", "sensor/*", "action/*", "domain/*", "gracetest", "internal/pgtest", "internal/systemdtest", "internal/clitest",
		})},
		{2, ground()},
		{1, []string{".", "console", "examples/shop", "internal/guard/child"}},
	}
}

// pure lists the stages that decide: functions of explicit state and input.
func pure() []string {
	return []string{
		"internal/stage/sense", "internal/stage/predict", "internal/stage/diagnose", "internal/stage/propose",
		"internal/stage/govern", "internal/stage/admit", "internal/stage/verify", "internal/stage/learn", "internal/event",
	}
}

// ground lists what several stages and edges stand on: mathematics over numbers
// alone, the graph, the log, the words for reasons, the intake that every
// telemetry edge hands its series to, and the transaction.
func ground() []string {
	return []string{"internal/forecast", "internal/detect", "internal/breach", "internal/series", "internal/labelmap", "internal/annotation", "internal/httpclient", "internal/exposition", "internal/explain", "internal/gate", "internal/content", "internal/patience", "internal/guard", "internal/healthgraph", "internal/audit", "internal/mesh", "internal/dbtx"}
}

// replayed lists what must not know the clock or the world: the stages, and
// the mathematics below them.
func replayed() []string {
	return append(pure(), "internal/forecast", "internal/detect", "internal/breach", "internal/explain", "internal/gate", "internal/content", "internal/healthgraph", "internal/audit", "internal/decide")
}

// testOnly packages may be imported by every _test.go file, whatever its floor,
// and by the benches that run a PostgreSQL of their own.
func testOnly() []string {
	return []string{"gracetest", "internal/pgtest", "internal/systemdtest", "internal/clitest", "internal/patience"}
}

// banned says what a deciding stage may not import, and why.
func banned() map[string]string {
	const (
		replay = "replay, backtest and simulation run this code: "
		io     = replay + "what it needs from outside is an argument"
		random = replay + "take a seed as an argument"
		alone  = replay + "it has no goroutines, its caller locks"
	)
	return map[string]string{
		"log": replay + "it reports by its result, which is recorded", "log/slog": replay + "it reports by its result, which is recorded",
		"os": io, "os/exec": io, "io/fs": io, "net": io, "net/http": io, "database/sql": io, "syscall": io,
		"math/rand": random, "math/rand/v2": random, "crypto/rand": random,
		"sync": alone, "sync/atomic": alone, "context": replay + "it does not wait, and facts travel in structs",
	}
}

// clocks are the functions of package time that read or await the clock.
func clocks() []string {
	return []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTicker", "NewTimer"}
}

const maxLines = 600 // of a Go file; aim at 400

// source is one parsed Go file.
type source struct {
	dir, path string // slash-separated, from the module's root
	test      bool
	ast       *ast.File
	imports   []string
	lines     int
}

// parsed reads the module once for all tests, which change nothing in it.
// A dozen readings of one tree take half a minute.
var parsed = sync.OnceValues(parse)

func sources(t *testing.T) []source {
	t.Helper()
	all, err := parsed()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 50 {
		t.Fatalf("found %d Go files: the walk does not see the module", len(all))
	}
	return all
}

func parse() ([]source, error) {
	files, err := tree()
	if err != nil {
		return nil, err
	}
	var out []source
	for _, p := range files {
		if path.Ext(p) != ".go" {
			continue
		}
		data, err := os.ReadFile(filepath.FromSlash(p))
		if err != nil {
			return nil, err
		}
		f, err := parser.ParseFile(token.NewFileSet(), p, data, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, fmt.Errorf("parse: %w", err)
		}
		s := source{dir: path.Dir(p), path: p, test: strings.HasSuffix(p, "_test.go"), ast: f, lines: strings.Count(string(data), "\n")}
		for _, imp := range f.Imports {
			name, err := strconv.Unquote(imp.Path.Value)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", p, err)
			}
			s.imports = append(s.imports, name)
		}
		out = append(out, s)
	}
	return out, nil
}

// walk lists the module's own files.
func walk(t *testing.T) []string {
	t.Helper()
	out, err := tree()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func tree() ([]string, error) {
	var out []string
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && p != "." && (name == ".git" || name == "bin" || name == "node_modules" || name == "grace-data") {
			return filepath.SkipDir
		}
		if d.Type().IsRegular() {
			out = append(out, filepath.ToSlash(p))
		}
		return nil
	})
	return out, err
}

// floorOf gives 0 for a package that has none. An exact name wins over one
// that ends in /*.
func floorOf(dir string) int {
	wide := 0
	for _, f := range floors() {
		for _, p := range f.packages {
			if p == dir {
				return f.floor
			}
			if prefix, ok := strings.CutSuffix(p, "*"); ok && strings.HasPrefix(dir, prefix) && wide == 0 {
				wide = f.floor
			}
		}
	}
	if wide == 0 || !strings.HasPrefix(dir, "examples/shop/") {
		return wide
	}
	return floorOf("cmd/*") // the shop's own command
}

func TestFloors(t *testing.T) {
	for _, s := range sources(t) {
		floor := floorOf(s.dir)
		if floor == 0 {
			t.Errorf("%s: package %s is on no floor: give it one in the table of this test and in an ADR", s.path, s.dir)
			continue
		}
		for _, imp := range s.imports {
			dir, ours := strings.CutPrefix(imp, "grace/")
			if imp == "grace" {
				dir, ours = ".", true
			}
			if !ours || s.test && (slices.Contains(testOnly(), dir) || dir == s.dir) {
				continue
			}
			if slices.Contains(testOnly(), dir) && !slices.Contains(testOnly(), s.dir) && !strings.HasPrefix(s.dir, "examples/") && !slices.Contains([]string{"bench/chaos", "bench/field", "bench/load"}, s.dir) {
				t.Errorf("%s imports %s, which is for tests", s.path, dir)
			}
			if other := floorOf(dir); other >= floor {
				t.Errorf("%s (floor %d) imports %s (floor %d): only lower floors may be imported; declare the interface you need", s.path, floor, dir, other)
			}
		}
	}
}

// TestProduction: what shows GRACE, simulates it or tests it is no part of the
// program that runs it.
func TestProduction(t *testing.T) {
	imports := map[string][]string{}
	for _, s := range sources(t) {
		if !s.test {
			imports[s.dir] = append(imports[s.dir], s.imports...)
		}
	}
	reached := map[string]string{"cmd/grace": ""} // by what
	for next := []string{"cmd/grace"}; len(next) > 0; next = next[1:] {
		for _, imp := range imports[next[0]] {
			dir, ours := strings.CutPrefix(imp, "grace/")
			if _, known := reached[dir]; ours && !known {
				reached[dir] = next[0]
				next = append(next, dir)
			}
		}
	}
	if len(reached) < 20 || reached["daemon"] == "" {
		t.Fatalf("only %d packages are reached: the imports are not followed", len(reached))
	}
	for dir, by := range reached {
		if strings.HasPrefix(dir, "examples/") || dir == "internal/sim" || slices.Contains(testOnly(), dir) {
			t.Errorf("%s imports %s: the production binary has it", by, dir)
		}
	}
}

// TestPublicSurface: an extension author's examples use nothing internal.
func TestPublicSurface(t *testing.T) {
	for _, s := range sources(t) {
		for _, imp := range s.imports {
			if strings.HasPrefix(s.dir, "examples/") && strings.HasPrefix(imp, "grace/internal/") {
				t.Errorf("%s imports %s: a package outside this module could not", s.path, imp)
			}
		}
	}
}

// TestEngine: nobody but flow, its tests included, knows the durable engine, so
// that another one can take its place there.
func TestEngine(t *testing.T) {
	const engine, adapter = "github.com/dbos-inc/dbos-transact-golang", "internal/flow"
	known := false
	for _, s := range sources(t) {
		for _, imp := range s.imports {
			if imp != engine && !strings.HasPrefix(imp, engine+"/") {
				continue
			}
			known = known || s.dir == adapter
			if s.dir != adapter {
				t.Errorf("%s imports %s: only %s knows the durable engine. Take a dbtx.Tx where you need a transaction (flow.Tx hands out one of the engine's, flow.Enqueue takes any), and add to %s what else you need of it", s.path, imp, adapter, adapter)
			}
		}
	}
	if !known {
		t.Errorf("%s does not import %s: name the engine's module here", adapter, engine)
	}
}

func TestPureStages(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || !slices.Contains(replayed(), s.dir) {
			continue
		}
		for _, imp := range s.imports {
			if why, is := banned()[imp]; is {
				t.Errorf("%s imports %s: %s", s.path, imp, why)
			}
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s starts a goroutine: a deciding stage is a function of its input", s.path)
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clocks(), n.Sel.Name) {
					t.Errorf("%s uses time.%s: the time is an argument", s.path, n.Sel.Name)
				}
			}
			return true
		})
	}
}

func TestPackageDocs(t *testing.T) {
	docs := map[string]string{}
	for _, s := range sources(t) {
		if s.test || strings.Contains(s.dir, "testdata") {
			continue
		}
		docs[s.dir] += s.ast.Doc.Text()
		want := "Package " + s.ast.Name.Name + " "
		if s.ast.Name.Name == "main" {
			want = "Command "
		}
		if s.ast.Doc != nil && !strings.HasPrefix(s.ast.Doc.Text(), want) {
			t.Errorf("%s: the comment over package does not begin with %q", s.path, want)
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(docs)) {
		if len(docs[dir]) < 60 {
			t.Errorf("package %s has no doc that tells its contract: states, ordering, failures", dir)
		}
	}
}

func TestFileLength(t *testing.T) {
	for _, s := range sources(t) {
		if s.lines > maxLines {
			t.Errorf("%s has %d lines, want at most %d: split it by concept", s.path, s.lines, maxLines)
		}
	}
}

// TestNoInit: registration is explicit, by options. A guard process is the one
// exception: it has to be what a binary becomes before its own main runs.
func TestNoInit(t *testing.T) {
	for _, s := range sources(t) {
		if s.dir == "internal/guard/child" {
			continue
		}
		for _, d := range s.ast.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s has an init function", s.path)
			}
		}
	}
}

// TestNoMachinePaths: nothing in the tree depends on where it was written.
func TestNoMachinePaths(t *testing.T) {
	places := []string{"/" + "work/", "/" + "root/", "/" + "home/", "/" + "Users/"}
	texts := []string{".go", ".md", ".yaml", ".yml", ".json", ".txt", ".txtar", ".sh", ".css", ".html", ".mod", ""}
	for _, p := range walk(t) {
		if !slices.Contains(texts, path.Ext(p)) {
			continue
		}
		for i, line := range readLines(t, p) {
			for _, place := range places {
				if strings.Contains(line, place) {
					t.Errorf("%s:%d names a place of one machine: %s", p, i+1, strings.TrimSpace(line))
				}
			}
		}
	}
}

func readLines(t *testing.T, p string) []string {
	t.Helper()
	f, err := os.Open(filepath.FromSlash(p))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var lines []string
	in := bufio.NewScanner(f)
	in.Buffer(nil, 64<<20)
	for in.Scan() {
		lines = append(lines, in.Text())
	}
	if err := in.Err(); err != nil {
		t.Fatalf("%s: %v", p, err)
	}
	return lines
}

// Tests begin with rows as they are, by event.Given. What runs has only what happened.
func TestGivenIsForTests(t *testing.T) {
	used := 0
	for _, s := range sources(t) {
		if s.dir == "internal/event" {
			continue
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok || sel.Sel.Name != "Given" {
				return true
			}
			if id, ok := sel.X.(*ast.Ident); ok && id.Name == "event" {
				used++
				if !s.test {
					t.Errorf("%s uses event.Given, which is for tests: make what happens an event of its own", s.path)
				}
			}
			return true
		})
	}
	if used == 0 {
		t.Error("nobody uses event.Given: delete it")
	}
}
