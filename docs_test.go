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

// TestDocsCommands: every grace command that a document shows is one that
// docs/cli.md, which is made from the commands, knows, and so are its flags.
func TestDocsCommands(t *testing.T) {
	commands, global := commandLine(t)
	shown := 0
	for _, p := range pages(t) {
		if p.path == "docs/cli.md" {
			continue
		}
		for _, line := range p.code {
			words := strings.Fields(strings.TrimPrefix(line, "$ "))
			if len(words) < 2 || words[0] != "grace" && words[0] != "bin/grace" || words[1] == "=" {
				continue
			}
			shown++
			name := ""
			for _, w := range words[1:min(len(words), 3)] {
				if longer := strings.TrimSpace(name + " " + w); commands[longer] != nil {
					name = longer
				}
			}
			if name == "" {
				t.Errorf("%s shows %q: there is no such command", p.path, line)
				continue
			}
			if len(words) > 2 && isGroup(commands, name) && !strings.HasPrefix(words[2], "-") {
				t.Errorf("%s shows %q: %s has no command %s", p.path, line, name, words[2])
			}
			for _, w := range words {
				flag, _, _ := strings.Cut(w, "=")
				if strings.HasPrefix(flag, "--") && !slices.Contains(commands[name], flag) && !slices.Contains(global, flag) {
					t.Errorf("%s shows %q: %s has no flag %s", p.path, line, name, flag)
				}
			}
		}
	}
	if shown < 30 {
		t.Errorf("only %d commands were found in the documents", shown)
	}
}

// commandLine reads the generated reference: the flags of each command, and
// those of all.
func commandLine(t *testing.T) (commands map[string][]string, global []string) {
	t.Helper()
	flag := regexp.MustCompile("^\\| `(?:-\\w, )?(--[a-z-]+)")
	commands = map[string][]string{}
	current := ""
	for _, line := range readLines(t, filepath.FromSlash("docs/cli.md")) {
		if name, ok := strings.CutPrefix(line, "### grace "); ok {
			current = name
			commands[current] = []string{"--help"}
			// A group's flags are those of its commands, too.
			if group, _, below := strings.Cut(name, " "); below {
				commands[current] = append(commands[current], commands[group]...)
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
	if len(commands) < 20 || len(global) < 4 {
		t.Fatalf("docs/cli.md has %d commands and %d common flags: it is not read right", len(commands), len(global))
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
		{"RunState", "docs/run-states.md", 15},
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
