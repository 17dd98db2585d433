package config

import (
	"fmt"
	"path"
	"reflect"
	"slices"
	"strings"

	"grace"
)

// Reference gives docs/configuration.md, made from the same types that the
// decoder fills.
func Reference() []byte {
	w := &referenceWriter{}
	w.text.WriteString(referenceIntro)
	w.section(referenceSection{title: "The file", initial: withDefaults(reflect.TypeFor[file]())})
	for len(w.queue) > 0 {
		next := w.queue[0]
		w.queue = w.queue[1:]
		w.section(next)
	}
	return []byte(w.text.String())
}

const referenceIntro = `# Configuration

<!-- Generated from the types in internal/config: make golden writes it anew. -->

GRACE reads one YAML file. It is read strictly: an unknown key, a value of the
wrong type or a name that points nowhere is a problem, and a file with a problem
changes nothing. ` + "`grace check FILE`" + ` prints every problem with file, line, key and
a hint. An empty file is valid, and with it GRACE only observes.

- Durations are numbers with a unit: ` + "`500ms`, `30s`, `10m`, `1h30m`" + `. Sizes: ` + "`64KiB`, `1MiB`" + `.
- Where a list of names or levels is wanted, one alone may be written without brackets.
- Secrets are references, ` + "`${env:NAME}` or `${file:/path}`" + `; they are resolved at the moment they are needed.
- In a playbook's steps ` + "`${service}`, `${run}` and `${parameter}`" + ` are replaced; in an undo also
  ` + "`${snapshot.key}`" + `, a value that the step's snapshot recorded.
- The environment wins over ` + "`trust`" + `: ` + "`" + EnvAutoproveLowRisk + "`, `" + EnvPredictiveShadow + "`,\n  `" +
	EnvObserveOnly + "`, `" + EnvExecute + "`" + ` (true, 1, yes, on or false, 0, no, off).
- ` + "`grace config schema`" + ` prints the JSON Schema, for completion in an editor. SIGHUP, or
  ` + "`POST /api/config/reload`" + `, reads the file anew: all of it, or on a problem nothing.
`

type referenceSection struct {
	title, doc string
	initial    reflect.Value // what a file that says nothing has
}

// referenceWriter writes sections breadth first, each type once.
type referenceWriter struct {
	text  strings.Builder
	queue []referenceSection
	seen  []reflect.Type
}

func (w *referenceWriter) section(s referenceSection) {
	fmt.Fprintf(&w.text, "\n## %s\n", s.title)
	if s.doc != "" {
		fmt.Fprintf(&w.text, "\n%s.\n", strings.TrimSuffix(capital(s.doc), "."))
	}
	w.text.WriteString("\n| key | value | default | meaning |\n|---|---|---|---|\n")
	for _, f := range fieldsOf(s.initial.Type()) {
		value := s.initial.FieldByIndex(f.index)
		meaning := describe(f)
		if f.required {
			meaning = "**Required.** " + meaning
		}
		if f.example != "" {
			meaning += ". Example: `" + strings.Trim(f.example, `"`) + "`"
		}
		fmt.Fprintf(&w.text, "| `%s` | %s | %s | %s |\n", f.name, w.kind(f.typ, f), code(defaultShown(value)), cell(meaning))
		if inner := sectionType(f.typ); inner != nil && !slices.Contains(w.seen, inner) {
			w.seen = append(w.seen, inner)
			initial := withDefaults(inner)
			if f.typ == inner { // its defaults may be those of the section around it
				initial = value
			}
			w.queue = append(w.queue, referenceSection{heading(f.name, inner), f.doc, initial})
		}
	}
}

// sectionType gives the struct behind a list, a map or a pointer.
func sectionType(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	if t.Kind() == reflect.Struct {
		return t
	}
	return nil
}

// heading names a section: at the top of the file by its key, below by its
// type, since several keys may hold the same.
func heading(key string, t reflect.Type) string {
	name := key
	if t.Name() != "" {
		name = defName(t)
	}
	for _, f := range fieldsOf(reflect.TypeFor[file]()) {
		switch of := sectionType(f.typ); {
		case of == t:
			return f.name
		case of != nil && f.name == name: // another section has that name
			return path.Base(t.PkgPath()) + "_" + name
		}
	}
	return name
}

// kind names what a key's value is, with a link to a section of its own.
func (w *referenceWriter) kind(t reflect.Type, f field) string {
	switch t {
	case reflect.TypeFor[grace.Duration]():
		return "duration" + limits(f)
	case reflect.TypeFor[Size]():
		return "size"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return w.kind(t.Elem(), f)
	case reflect.Slice:
		return "list of " + w.kind(t.Elem(), f)
	case reflect.Map:
		return "mapping to " + w.kind(t.Elem(), f)
	case reflect.Struct:
		name := heading(f.name, t)
		return "[" + name + "](#" + name + ")"
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		if f.enum != nil {
			return cell("`" + strings.Join(f.enum, "`, `") + "`")
		}
		return "text"
	case reflect.Interface:
		return "any"
	case reflect.Float64:
		return "number" + limits(f)
	default:
		return "whole number" + limits(f)
	}
}

func limits(f field) string {
	switch {
	case f.min != "" && f.max != "":
		return ", " + f.min + " to " + f.max
	case f.min != "":
		return ", at least " + f.min
	case f.max != "":
		return ", at most " + f.max
	}
	return ""
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
