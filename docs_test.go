package grace_test

import (
	"go/ast"
	"go/token"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

// A document that says something of the code is held to it here. What it can
// say wrong without a machine's noticing is kept small.

// page is one Markdown file.
type page struct {
	path  string
	prose string   // without blocks of code
	code  []string // lines of blocks of code, and pieces of inline code
}

var (
	inlineCode = regexp.MustCompile("`[^`\n]+`")
	link       = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading    = regexp.MustCompile(`(?m)^#+ (.+)$`)
)

func pages(t *testing.T) map[string]page {
	t.Helper()
	out := map[string]page{}
	for _, p := range walk(t) {
		if path.Ext(p) == ".md" {
			out[p] = readPage(t, p)
		}
	}
	if len(out) < 15 {
		t.Fatalf("found %d documents: the walk does not see them", len(out))
	}
	return out
}

func readPage(t *testing.T, p string) page {
	t.Helper()
	out := page{path: p}
	var prose strings.Builder
	fenced := false
	for _, line := range readLines(t, p) {
		fence := strings.HasPrefix(strings.TrimSpace(line), "```")
		switch {
		case fence:
			fenced = !fenced
		case fenced || strings.HasPrefix(line, "    "):
			out.code = append(out.code, strings.TrimSpace(line))
		default:
			prose.WriteString(line + "\n")
			for _, c := range inlineCode.FindAllString(line, -1) {
				out.code = append(out.code, strings.Trim(c, "`"))
			}
		}
	}
	if fenced {
		t.Errorf("%s: a block of code is not closed", p)
	}
	out.prose = prose.String()
	return out
}

// anchors are the fragments that a page's headings have on GitHub.
func (p page) anchors() []string {
	var out []string
	for _, m := range heading.FindAllStringSubmatch(p.prose, -1) {
		out = append(out, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			}
			return -1
		}, m[1]))
	}
	return out
}

func TestDocsLinks(t *testing.T) {
	all := pages(t)
	for _, p := range all {
		for _, m := range link.FindAllStringSubmatch(inlineCode.ReplaceAllString(p.prose, ""), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			file, fragment, _ := strings.Cut(m[1], "#")
			to := p.path
			if file != "" {
				to = path.Join(path.Dir(p.path), file)
			}
			if _, err := os.Stat(filepath.FromSlash(to)); err != nil {
				t.Errorf("%s links to %s, which is not there", p.path, m[1])
				continue
			}
			if fragment != "" && !slices.Contains(all[to].anchors(), fragment) {
				t.Errorf("%s links to %s, but %s has no such heading", p.path, m[1], to)
			}
		}
	}
}

// references are the documents that are made from the commands of a program.
func references() map[string]string {
	return map[string]string{"grace": "docs/cli.md", "grace-demo": "docs/demo.md"}
}

// TestDocsCommands: every command that a document shows is one that the
// reference of its program knows, and so are its flags.
func TestDocsCommands(t *testing.T) {
	commands, global := map[string]map[string][]string{}, map[string][]string{}
	for program, file := range references() {
		commands[program], global[program] = commandLine(t, file)
	}
	shown := 0
	for _, p := range pages(t) {
		if slices.Contains(slices.Collect(maps.Values(references())), p.path) {
			continue
		}
		for _, line := range p.code {
			line, _, _ = strings.Cut(line, " # ")
			words := strings.Fields(strings.TrimPrefix(line, "$ "))
			if len(words) < 2 || words[1] == "=" {
				continue
			}
			program := strings.TrimPrefix(words[0], "bin/")
			if known := commands[program]; known != nil {
				shown++
				checkShown(t, p.path, line, program, words[1:], known, global[program])
			}
		}
	}
	if shown < 30 {
		t.Errorf("only %d commands were found in the documents", shown)
	}
}

// checkShown holds one command line to the commands and flags that there are.
func checkShown(t *testing.T, page, line, program string, words []string, commands map[string][]string, global []string) {
	t.Helper()
	name := program
	for _, w := range words[:min(len(words), 2)] {
		if longer := name + " " + w; commands[longer] != nil {
			name = longer
		}
	}
	if commands[name] == nil || name == program && !strings.HasPrefix(words[0], "-") {
		t.Errorf("%s shows %q: there is no such command", page, line)
		return
	}
	if len(words) > 1 && name != program && isGroup(commands, name) && !strings.HasPrefix(words[1], "-") {
		t.Errorf("%s shows %q: %s has no command %s", page, line, name, words[1])
	}
	for _, w := range words {
		flag, _, _ := strings.Cut(w, "=")
		if strings.HasPrefix(flag, "--") && !slices.Contains(commands[name], flag) && !slices.Contains(global, flag) {
			t.Errorf("%s shows %q: %s has no flag %s", page, line, name, flag)
		}
	}
}

// commandLine reads a generated reference: the flags of each command, and
// those of all.
func commandLine(t *testing.T, file string) (commands map[string][]string, global []string) {
	t.Helper()
	flag := regexp.MustCompile("^\\| `(?:-\\w, )?(--[a-z-]+)")
	commands = map[string][]string{}
	current := ""
	for _, line := range readLines(t, filepath.FromSlash(file)) {
		if name, ok := strings.CutPrefix(line, "### "); ok {
			current = name
			commands[current] = []string{"--help"}
			// A group's flags are those of its commands, too.
			if words := strings.Fields(name); len(words) > 2 {
				commands[current] = append(commands[current], commands[words[0]+" "+words[1]]...)
			}
		}
		if m := flag.FindStringSubmatch(line); m != nil {
			if current == "" {
				global = append(global, m[1])
			} else {
				commands[current] = append(commands[current], m[1])
			}
		}
	}
	if len(commands) < 2 || len(global) < 2 {
		t.Fatalf("%s has %d commands and %d common flags: it is not read right", file, len(commands), len(global))
	}
	return commands, global
}

func isGroup(commands map[string][]string, name string) bool {
	for c := range commands {
		if strings.HasPrefix(c, name+" ") {
			return true
		}
	}
	return false
}

// TestDocsEnums: a state or a reason that an operator can meet is explained.
func TestDocsEnums(t *testing.T) {
	for _, e := range []struct {
		enum, in string
		least    int
	}{
		{"ReasonCode", "docs/trust.md", 30},
		{"RunStatus", "docs/run-states.md", 15},
		{"StepState", "docs/run-states.md", 6},
		{"Verdict", "docs/trust.md", 5},
		{"Mode", "docs/trust.md", 4},
		{"CheckType", "docs/playbooks.md", 5},
	} {
		values := constants(t, e.enum)
		if len(values) < e.least {
			t.Errorf("found %d values of %s, want at least %d", len(values), e.enum, e.least)
		}
		text := readPage(t, e.in).prose
		for _, v := range values {
			if !strings.Contains(text, "`"+v+"`") {
				t.Errorf("%s does not explain `%s` (%s)", e.in, v, e.enum)
			}
		}
	}
}

// constants gives the values of a type's string constants in this package.
func constants(t *testing.T, typeName string) []string {
	t.Helper()
	var out []string
	for _, s := range sources(t) {
		if s.dir != "." || s.test {
			continue
		}
		for _, d := range s.ast.Decls {
			decl, ok := d.(*ast.GenDecl)
			if !ok || decl.Tok != token.CONST {
				continue
			}
			for _, spec := range decl.Specs {
				v, ok := spec.(*ast.ValueSpec)
				if !ok {
					continue
				}
				if of, ok := v.Type.(*ast.Ident); !ok || of.Name != typeName {
					continue
				}
				for _, x := range v.Values {
					if lit, ok := x.(*ast.BasicLit); ok {
						text, err := strconv.Unquote(lit.Value)
						if err != nil {
							t.Fatal(err)
						}
						if text != "" {
							out = append(out, text)
						}
					}
				}
			}
		}
	}
	return out
}

// TestDocsDependencies: docs/dependencies.md names exactly the direct ones.
func TestDocsDependencies(t *testing.T) {
	direct := map[string]bool{}
	block := false
	for _, line := range readLines(t, "go.mod") {
		line = strings.TrimSpace(line)
		one, single := strings.CutPrefix(line, "require ")
		switch {
		case line == "require (":
			block = true
		case line == ")":
			block = false
		case (block || single) && !strings.Contains(line, "// indirect"):
			if f := strings.Fields(strings.TrimSpace(one)); len(f) >= 2 {
				direct[f[0]] = true
			}
		}
	}
	if len(direct) < 10 {
		t.Fatalf("found %d direct dependencies in go.mod: it is not read right", len(direct))
	}
	row := regexp.MustCompile("^\\| `([^`]+)` \\|")
	listed := map[string]bool{}
	for _, line := range readLines(t, filepath.FromSlash("docs/dependencies.md")) {
		if m := row.FindStringSubmatch(line); m != nil {
			listed[m[1]] = true
		}
	}
	for _, m := range slices.Sorted(maps.Keys(direct)) {
		if !listed[m] {
			t.Errorf("docs/dependencies.md does not say why %s is there", m)
		}
	}
	for _, m := range slices.Sorted(maps.Keys(listed)) {
		if !direct[m] {
			t.Errorf("docs/dependencies.md lists %s, which is no direct dependency", m)
		}
	}
}

// The way from a trigger to a run is told by naming the files that it takes, few enough
// to be read: they exist, and what they import of the module is on lower floors.
func TestDocsWay(t *testing.T) {
	text, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	_, way, _ := strings.Cut(string(text), "## From a trigger to a run, in six files")
	way, _, _ = strings.Cut(way, "\n## ")
	files := regexp.MustCompile("(?m)^\\d+\\. `([^`]+)`: ").FindAllStringSubmatch(way, -1)
	if len(files) == 0 || len(files) > 6 {
		t.Fatalf("docs/architecture.md names %d files, want one to six", len(files))
	}
	for _, m := range files {
		i := slices.IndexFunc(sources(t), func(s source) bool { return s.path == m[1] })
		if i < 0 {
			t.Errorf("docs/architecture.md names %s, which does not exist", m[1])
			continue
		}
		s := sources(t)[i]
		for _, imp := range s.imports {
			dir, inside := strings.CutPrefix(imp, "grace/")
			if inside && floorOf(dir) >= floorOf(s.dir) {
				t.Errorf("%s imports %s, which is not below it", s.path, imp)
			}
		}
	}
}
