package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"grace"
)

// Schema gives the JSON Schema (2020-12) of the file, made from the same types
// that the decoder fills. An editor that is pointed to it completes keys and
// shows their meaning.
func Schema() []byte {
	g := generator{defs: map[string]any{}}
	root := g.section(reflect.TypeFor[file]())
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["$id"] = "grace-config"
	root["title"] = "GRACE configuration"
	root["$defs"] = g.defs
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(root); err != nil {
		panic("config: schema: " + err.Error()) // maps of plain values always encode
	}
	return out.Bytes()
}

// Patterns of scalars that are written as text.
const (
	durationPattern = `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$|^0$`
	sizePattern     = `^[0-9]+ ?(B|KiB|MiB|GiB)$`
)

// generator collects the definitions of the types it meets.
type generator struct{ defs map[string]any }

// section describes a struct.
func (g generator) section(t reflect.Type) map[string]any {
	initial := withDefaults(t)
	properties, required := map[string]any{}, []string{}
	for _, f := range fieldsOf(t) {
		p := g.property(f)
		if d := defaultText(initial.FieldByIndex(f.index)); d != nil {
			p["default"] = d
		}
		properties[f.name] = p
		if f.required {
			required = append(required, f.name)
		}
	}
	out := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		out["required"] = required
	}
	return out
}

// property describes one key.
func (g generator) property(f field) map[string]any {
	p := g.value(f.typ, f)
	if f.doc != "" {
		p["description"] = describe(f)
	}
	if f.example != "" {
		p["examples"] = []any{f.example}
	}
	return p
}

// describe gives the text of a key, with the types of sensor it is for.
func describe(f field) string {
	if f.only == nil {
		return f.doc
	}
	return strings.Join(f.only, ", ") + ": " + f.doc
}

func (g generator) value(t reflect.Type, f field) map[string]any {
	switch t {
	case reflect.TypeFor[grace.Duration]():
		return map[string]any{"type": "string", "pattern": durationPattern}
	case reflect.TypeFor[Size]():
		return map[string]any{"type": "string", "pattern": sizePattern}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return g.value(t.Elem(), f)
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.String:
		p := map[string]any{"type": "string"}
		if f.enum != nil {
			p["enum"] = spellings(t, f.enum)
		}
		return p
	case reflect.Slice:
		one := g.value(t.Elem(), f)
		list := map[string]any{"type": "array", "items": one}
		if acceptsSingle(t) {
			return map[string]any{"oneOf": []any{list, one}}
		}
		return list
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": g.value(t.Elem(), f)}
	case reflect.Struct:
		if short, ok := shortOf(t); ok {
			return map[string]any{"oneOf": []any{g.value(short.typ, short), g.reference(t)}}
		}
		return g.reference(t)
	case reflect.Interface:
		return map[string]any{}
	default:
		return number(t, f)
	}
}

// spellings adds the other accepted words to an enum.
func spellings(t reflect.Type, enum []string) []string {
	if alias(t, "moderate") != "moderate" {
		return append(slices.Clip(enum), "moderate")
	}
	return enum
}

func number(t reflect.Type, f field) map[string]any {
	p := map[string]any{"type": "integer"}
	if t.Kind() == reflect.Float64 {
		p["type"] = "number"
	}
	for key, text := range map[string]string{"minimum": f.min, "maximum": f.max} {
		if x, err := strconv.ParseFloat(text, 64); err == nil {
			p[key] = x
		}
	}
	return p
}

// reference points to the definition of a struct, which is made when it is
// first met.
func (g generator) reference(t reflect.Type) map[string]any {
	name := defName(t)
	if _, done := g.defs[name]; !done {
		g.defs[name] = nil // a type may hold itself
		g.defs[name] = g.section(t)
	}
	return map[string]any{"$ref": "#/$defs/" + name}
}

// defName is the type's name; a stage's Config is called by its package.
func defName(t reflect.Type) string {
	name := snake(t.Name())
	if t.Name() == "Config" {
		path := strings.Split(t.PkgPath(), "/")
		name = path[len(path)-1]
	}
	return name
}

// defaultText gives a default as a file would write it; nil is none worth
// telling.
func defaultText(v reflect.Value) any {
	if v.IsZero() && v.Kind() != reflect.Bool {
		return nil
	}
	switch x := v.Interface().(type) {
	case grace.Duration:
		return shortDuration(x)
	case Size:
		return x.String()
	}
	switch v.Kind() {
	case reflect.String:
		return v.String()
	case reflect.Bool, reflect.Int, reflect.Int64, reflect.Float64:
		return v.Interface()
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.String {
			return v.Interface()
		}
	default:
	}
	return nil
}

// defaultShown is defaultText for a reader.
func defaultShown(v reflect.Value) string {
	switch d := defaultText(v).(type) {
	case nil:
		return ""
	case string:
		return d
	default:
		if reflect.TypeOf(d).Kind() == reflect.Slice {
			return "[" + strings.Trim(strings.ReplaceAll(fmt.Sprint(d), " ", ", "), "[]") + "]"
		}
		return fmt.Sprint(d)
	}
}
