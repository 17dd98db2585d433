package config

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/promql/parser"
)

// wish splits what a stage says is wrong from what it wants.
func wish(text string) (message, hint string) {
	if meant := functionMeant(text); meant != "" {
		return text, meant
	}
	if before, after, ok := strings.Cut(text, ": want "); ok {
		switch {
		case before == "empty":
			before = "is empty"
		case !strings.Contains(before, " is ") && !strings.Contains(before, ": "):
			before += " is not valid"
		}
		return before, "want " + after
	}
	if before, after, ok := strings.Cut(text, "; "); ok {
		return before, after
	}
	return text, ""
}

// functionMeant is the hint for a misspelt function of PromQL; empty for all else.
func functionMeant(text string) string {
	_, after, ok := strings.Cut(text, `unknown function with name "`)
	name, _, _ := strings.Cut(after, `"`)
	if k := nearest(name, slices.Collect(maps.Keys(parser.Functions))); ok && k != "" {
		return "did you mean " + k + "?"
	}
	return ""
}

// hintFor is the last resort of a problem without a hint: what the key is for.
func (d *decoder) hintFor(path string) string {
	if strings.Contains(path, ".with.") {
		return "the settings of each action are in docs/playbooks.md"
	}
	f, ok := fieldAt(d.shape, path)
	switch {
	case path == "":
		return "the keys are explained by: grace config schema"
	case !ok:
		return ""
	case f.enum != nil:
		return "one of " + strings.Join(f.enum, ", ")
	case f.example != "":
		return "for example " + f.name + ": " + f.example
	case f.doc != "":
		return f.name + ": " + f.doc
	}
	return ""
}

// fieldAt finds the field that a path ends at.
func fieldAt(t reflect.Type, path string) (field, bool) {
	var last field
	var found bool
	if t == nil {
		return last, false
	}
	for _, part := range strings.FieldsFunc(path, func(r rune) bool { return r == '.' || r == '[' }) {
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if strings.HasSuffix(part, "]") {
			if t.Kind() == reflect.Slice {
				t = t.Elem()
			}
			continue
		}
		switch t.Kind() {
		case reflect.Struct:
			found = false
			for _, f := range fieldsOf(t) {
				if f.name == part {
					last, found, t = f, true, f.typ
					break
				}
			}
			if !found {
				return last, last.name != ""
			}
		case reflect.Map:
			t = t.Elem()
		default:
			return last, last.name != ""
		}
	}
	return last, last.name != ""
}
