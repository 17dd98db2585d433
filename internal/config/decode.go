package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Limits on what a file may make the decoder do. Real files stay far below; an
// alias that is used again and again would otherwise multiply.
const (
	maxDepth = 64
	maxNodes = 200_000
)

// place is where a key stands.
type place struct {
	file         string
	line, column int
}

// decoder turns YAML nodes into structs. It remembers where every key stood,
// so that later checks can name the place, and never stops at a problem.
type decoder struct {
	file     string
	places   map[string]place
	problems Problems
	wrongAt  map[string]bool // keys with an error of their own
	wrongIn  map[string]bool // those, and every key above one
	plain    map[string]bool // keys that hold a reference and take none
	open     []*yaml.Node    // aliases being followed: a cycle would not end
	nodes    int
	lines    []string     // of the text
	shape    reflect.Type // of what the file holds
	written  []written    // texts with references
	programs []program    // that are started
}

func newDecoder(file string, shape reflect.Type) *decoder {
	return &decoder{
		file: file, shape: shape, places: map[string]place{"": {file, 1, 1}},
		wrongAt: map[string]bool{}, wrongIn: map[string]bool{}, plain: map[string]bool{},
	}
}

// add notes a problem at a key. A key that is not in the file is shown at the
// nearest one above it that is.
func (d *decoder) add(path, hint, format string, args ...any) {
	d.report(path, false, hint, fmt.Sprintf(format, args...))
}

func (d *decoder) warn(path, hint, format string, args ...any) {
	d.report(path, true, hint, fmt.Sprintf(format, args...))
}

func (d *decoder) report(path string, warning bool, hint, message string) {
	if d.plain[path] {
		return // it was said that no reference is read there: the rest follows from that
	}
	if hint == "" {
		message, hint = wish(message)
	}
	if hint == "" {
		hint = d.hintFor(path)
	}
	at := path
	for {
		if p, ok := d.places[at]; ok {
			d.note(Problem{p.file, p.line, p.column, path, message, hint, warning})
			return
		}
		at = parent(at)
	}
}

// note keeps a problem, and which keys it spoils.
func (d *decoder) note(p Problem) {
	d.problems = append(d.problems, p)
	if p.Warning {
		return
	}
	d.wrongAt[p.Key] = true
	for key := p.Key; !d.wrongIn[key]; key = parent(key) {
		d.wrongIn[key] = true
	}
}

// parent cuts the last key or index off a path.
func parent(path string) string {
	return path[:max(0, strings.LastIndexAny(path, ".["))]
}

// join appends a key to a path.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// given tells whether the file names the key.
func (d *decoder) given(path string) bool {
	_, ok := d.places[path]
	return ok
}

// root reads the one document of a file; nil when it is empty or not YAML.
func (d *decoder) root(data []byte) *yaml.Node {
	d.lines = strings.Split(string(data), "\n")
	loader, err := yaml.NewLoader(bytes.NewReader(data))
	if err != nil {
		d.add("", "", "%v", err)
		return nil
	}
	var doc, second yaml.Node
	if err := loader.Load(&doc); errors.Is(err, io.EOF) {
		return nil
	} else if err != nil {
		d.syntax(err)
		return nil
	}
	if err := loader.Load(&second); err == nil && len(second.Content) > 0 {
		n := second.Content[0]
		d.note(Problem{
			d.file, n.Line, n.Column, "", "a second YAML document begins here",
			"one file holds one document: remove the --- line and merge the two", false,
		})
	} else if err != nil && !errors.Is(err, io.EOF) {
		d.syntax(err)
	}
	if len(doc.Content) == 0 {
		return nil
	}
	return doc.Content[0]
}

func (d *decoder) syntax(err error) {
	p := Problem{File: d.file, Line: 1, Column: 1, Message: "not YAML: " + err.Error(), Hint: "everything after this place was not looked at"}
	if le, ok := errors.AsType[*yaml.LoadError](err); ok {
		p.Message = "not YAML: " + le.Message
		p.Line, p.Column = max(1, le.Mark.Line), max(1, le.Mark.Column)
		if hint := d.syntaxHint(le.Message, p.Line, p.Column); hint != "" {
			p.Hint = hint
		}
	}
	d.note(p)
}

// syntaxHint says what was probably meant where YAML could not be read.
func (d *decoder) syntaxHint(message string, line, column int) string {
	text := ""
	if line <= len(d.lines) {
		text = d.lines[line-1]
	}
	rest := text[min(max(0, column-1), len(text)):]
	indent := text[:len(text)-len(strings.TrimLeft(text, " \t"))]
	switch m := unquoted.FindStringSubmatch(text); {
	case strings.Contains(indent, "\t") || strings.HasPrefix(rest, "\t"):
		return "YAML is indented with spaces, never with tabs"
	case m != nil:
		return "YAML gives " + m[2][:1] + " a meaning of its own: write it in quotes, " + m[1] + ": \"" + m[2] + "\""
	case strings.Contains(message, "mapping values are not allowed"):
		return "text with a colon and a space in it needs quotes; or the indentation is off"
	case strings.Contains(message, "cannot start any token"):
		return "text that begins with one of @ ` % > | needs quotes"
	case strings.Contains(message, "unexpected end of stream"):
		return "a quote, a bracket or a brace that was opened before is not closed; an expression that has some is written in quotes"
	case strings.Contains(message, "did not find expected"):
		return "is a comma, a bracket or a quote missing here, or is the indentation off? What follows was not looked at"
	}
	return ""
}

// unquoted finds a value that begins with a character that YAML keeps for
// itself.
var unquoted = regexp.MustCompile(`([A-Za-z_]+): *((?:[>|]=?|[@%` + "`" + `*!&])[^,}\]#]*?) *(?:[,}\]#].*)?$|([A-Za-z_]+): *([>|]=?|!=)[,} ]`)

// value decodes n into v, which holds the default.
func (d *decoder) value(n *yaml.Node, v reflect.Value, path string, f field) {
	d.nodes++
	if d.nodes > maxNodes || strings.Count(path, ".")+strings.Count(path, "[") > maxDepth {
		if d.nodes != maxNodes+2 {
			d.nodes = maxNodes + 1
			d.add(path, "", "the file is too large or too deeply nested")
			d.nodes = maxNodes + 1
		}
		return
	}
	if n.Kind == yaml.AliasNode {
		if slices.Contains(d.open, n.Alias) {
			d.add(path, "", "alias *%s contains itself", n.Value)
			return
		}
		d.open = append(d.open, n.Alias)
		d.value(n.Alias, v, path, f)
		d.open = d.open[:len(d.open)-1]
		return
	}
	if isNull(n) {
		if strings.HasSuffix(path, "]") {
			d.add(path, "", "the list's entry is empty, want %s", wanted(v.Type()))
		}
		return // a key without a value keeps its default
	}
	if v.Kind() == reflect.Pointer {
		elem := withDefaults(v.Type().Elem())
		p := reflect.New(v.Type().Elem())
		p.Elem().Set(elem)
		v.Set(p)
		v = p.Elem()
	}
	switch {
	case isText(v.Type()):
		d.scalar(n, v, path, f)
	case v.Kind() == reflect.Struct:
		d.section(n, v, path)
	case v.Kind() == reflect.Slice:
		d.list(n, v, path, f)
	case v.Kind() == reflect.Map:
		d.mapping(n, v, path, f)
	case v.Kind() == reflect.Interface:
		if x := d.any(n, path); x != nil {
			v.Set(reflect.ValueOf(x))
		}
	default:
		d.scalar(n, v, path, f)
	}
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// shortOf gives the key that a text in place of a section stands for.
func shortOf(t reflect.Type) (field, bool) {
	fields := fieldsOf(t)
	i := slices.IndexFunc(fields, func(f field) bool { return f.short })
	if i < 0 {
		return field{}, false
	}
	return fields[i], true
}

// section decodes a mapping into a struct.
func (d *decoder) section(n *yaml.Node, v reflect.Value, path string) {
	if short, ok := shortOf(v.Type()); ok && n.Kind == yaml.ScalarNode {
		d.value(n, v.FieldByIndex(short.index), path, short)
		return
	}
	if n.Kind != yaml.MappingNode {
		d.wrong(n, v.Type(), path)
		return
	}
	fields := fieldsOf(v.Type())
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	seen := map[string]bool{}
	d.pairs(n, path, func(key string, value *yaml.Node) {
		i := slices.Index(names, key)
		if i < 0 {
			d.add(join(path, key), didYouMean(key, names), "unknown key")
			return
		}
		seen[key] = !isNull(value)
		d.value(value, v.FieldByIndex(fields[i].index), join(path, key), fields[i])
	})
	for _, f := range fields {
		switch at, got := join(path, f.name), v.FieldByIndex(f.index); {
		case !f.required:
		case !seen[f.name]:
			d.add(at, exampleHint(f), "required key is missing")
		case got.Kind() == reflect.String && got.Len() == 0 && !d.wrongIn[at]:
			d.add(at, exampleHint(f), "is empty")
		}
	}
}

func exampleHint(f field) string {
	switch {
	case f.example != "":
		return "for example " + f.name + ": " + f.example
	case f.enum != nil:
		return "one of " + strings.Join(f.enum, ", ")
	}
	return f.doc
}

// pairs walks a mapping, notes the places and refuses a key given twice.
func (d *decoder) pairs(n *yaml.Node, path string, each func(key string, value *yaml.Node)) {
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode {
			d.wrong(key, reflect.TypeFor[string](), path)
			continue
		}
		at := join(path, key.Value)
		if key.Value == "<<" && key.Tag == "!!merge" {
			d.places[at] = place{d.file, key.Line, key.Column}
			d.add(at, "write the keys out, or give a whole value an anchor", "merge keys are not supported")
			continue
		}
		if line, twice := first[key.Value]; twice {
			d.note(Problem{
				d.file, key.Line, key.Column, at,
				fmt.Sprintf("the key was already given in line %d", line), "keep one of the two", false,
			})
			continue
		}
		first[key.Value] = key.Line
		d.places[at] = place{d.file, key.Line, key.Column}
		if value.Kind == yaml.ScalarNode && !isNull(value) {
			d.places[at] = place{d.file, value.Line, value.Column}
		}
		each(key.Value, value)
	}
}

// list decodes a sequence. Where names or levels are listed, one alone needs
// no brackets.
func (d *decoder) list(n *yaml.Node, v reflect.Value, path string, f field) {
	elem := v.Type().Elem()
	if n.Kind == yaml.ScalarNode && acceptsSingle(v.Type()) {
		out := reflect.MakeSlice(v.Type(), 1, 1)
		d.value(n, out.Index(0), path, f)
		v.Set(out)
		return
	}
	if n.Kind != yaml.SequenceNode {
		d.wrong(n, v.Type(), path)
		return
	}
	out := reflect.MakeSlice(v.Type(), 0, len(n.Content))
	for i, item := range n.Content {
		at := path + "[" + strconv.Itoa(i) + "]"
		d.places[at] = place{d.file, item.Line, item.Column}
		x := reflect.New(elem).Elem()
		x.Set(withDefaults(elem))
		d.value(item, x, at, f)
		out = reflect.Append(out, x)
	}
	v.Set(out)
}

// acceptsSingle tells whether one value may stand for a list of one: for lists
// of the vocabulary's own names, never for plain text (an argv is not a line).
func acceptsSingle(t reflect.Type) bool {
	elem := t.Elem()
	if elem.Kind() == reflect.Struct {
		_, short := shortOf(elem)
		return short
	}
	return elem.Kind() == reflect.String && elem != reflect.TypeFor[string]()
}

func (d *decoder) mapping(n *yaml.Node, v reflect.Value, path string, f field) {
	if n.Kind != yaml.MappingNode {
		d.wrong(n, v.Type(), path)
		return
	}
	out := reflect.MakeMap(v.Type())
	d.pairs(n, path, func(key string, value *yaml.Node) {
		x := reflect.New(v.Type().Elem()).Elem()
		x.Set(withDefaults(v.Type().Elem()))
		d.value(value, x, join(path, key), f)
		out.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), x)
	})
	v.Set(out)
}

// any decodes settings whose shape is not ours: those of an action.
func (d *decoder) any(n *yaml.Node, path string) any {
	switch n.Kind {
	case yaml.MappingNode:
		out := map[string]any{}
		d.mapping(n, reflect.ValueOf(&out).Elem(), path, field{})
		return out
	case yaml.SequenceNode:
		out := []any{}
		d.list(n, reflect.ValueOf(&out).Elem(), path, field{})
		return out
	default:
		return d.anyScalar(n, path)
	}
}
