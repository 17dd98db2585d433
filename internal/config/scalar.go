package config

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"grace"
)

// Size is a number of bytes, written as text ("1MiB", "64KiB", "512B").
type Size int64

// String gives the largest unit that divides the size.
func (s Size) String() string {
	for _, u := range sizeUnits() {
		if s >= Size(u.bytes) && s%Size(u.bytes) == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

// MarshalText writes the form of String.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

type sizeUnit struct {
	name  string
	bytes int64
}

func sizeUnits() []sizeUnit {
	return []sizeUnit{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}
}

func parseSize(text string) (Size, error) {
	for _, u := range sizeUnits() {
		number, ok := strings.CutSuffix(text, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64/u.bytes {
			break
		}
		return Size(n * u.bytes), nil
	}
	return 0, fmt.Errorf("size %q: want a whole number with a unit, for example 512B, 64KiB or 1MiB", text)
}

// isText tells whether a value that is not of string kind is written as text.
func isText(t reflect.Type) bool {
	return t == reflect.TypeFor[grace.Duration]() || t == reflect.TypeFor[Size]()
}

// wanted names a type to a reader of a problem.
func wanted(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[grace.Duration]():
		return "a duration such as 30s"
	case reflect.TypeFor[Size]():
		return "a size such as 1MiB"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return wanted(t.Elem())
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Float64:
		return "a number"
	case reflect.Slice:
		return "a list"
	case reflect.Struct, reflect.Map:
		return "a mapping of keys to values"
	default:
		return "a whole number"
	}
}

// found names what stands in the file instead.
func found(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	default:
	}
	switch n.Tag {
	case "!!int", "!!float":
		return "the number " + shorten(n.Value)
	case "!!bool":
		return n.Value
	case "!!timestamp":
		return "the date " + shorten(n.Value)
	}
	if n.Kind == yaml.ScalarNode && strings.HasPrefix(n.Tag, "!") && !strings.HasPrefix(n.Tag, "!!") {
		return "the YAML tag " + shorten(n.Tag)
	}
	return fmt.Sprintf("the text %q", shorten(n.Value))
}

const maxShown = 60

func shorten(s string) string {
	if r := []rune(s); len(r) > maxShown {
		return string(r[:maxShown]) + "..."
	}
	return s
}

// wrong notes a value of the wrong type, at the value.
func (d *decoder) wrong(n *yaml.Node, want reflect.Type, path string) {
	hint := ""
	scalar := n.Kind == yaml.ScalarNode
	if scalar && secretName.MatchString(path[strings.LastIndex(path, ".")+1:]) {
		masked := *n // a problem is printed and logged
		masked.Value = "..."
		n = &masked
	}
	switch {
	case scalar && strings.HasPrefix(n.Tag, "!") && !strings.HasPrefix(n.Tag, "!!"):
		hint = fmt.Sprintf("YAML gives ! a meaning of its own: write it in quotes: %q", strings.TrimSpace(shorten(n.Tag+" "+n.Value)))
	case want.Kind() == reflect.String && n.Kind == yaml.MappingNode:
		hint = "text that begins with { needs quotes"
	case want.Kind() == reflect.String && n.Kind == yaml.SequenceNode:
		hint = "write one value, without brackets; text that begins with [ needs quotes"
	case strings.Contains(path, "change_windows[") && (strings.HasSuffix(path, ".start") || strings.HasSuffix(path, ".end")):
		hint = "write hours and minutes in quotes, for example " + lastKey(path) + ": \"09:00\""
	case strings.Contains(path, ".days[") && scalar:
		hint = "want mon, tue, wed, thu, fri, sat or sun; a date is not possible"
	case strings.HasSuffix(path, ".days") && scalar:
		hint = "write a list: [mon, tue, wed, thu, fri]"
	case want.Kind() == reflect.String && scalar:
		hint = fmt.Sprintf("write it in quotes: %q", shorten(n.Value))
	case isText(want) && scalar && n.Tag != "!!str":
		hint = "add a unit: " + shorten(n.Value) + map[bool]string{true: "MiB", false: "s"}[want == reflect.TypeFor[Size]()]
	case want.Kind() == reflect.Slice && want.Elem().Kind() == reflect.String && scalar:
		hint = fmt.Sprintf("write a list: [%s]", strings.Join(strings.Fields(shorten(n.Value)), ", "))
	case want.Kind() == reflect.Slice:
		hint = "begin every entry with \"- \""
	case want.Kind() == reflect.Bool && scalar:
		switch strings.ToLower(n.Value) {
		case "yes", "on", "y", "1":
			hint = "write true"
		case "no", "off", "n", "0":
			hint = "write false"
		}
	}
	if hint == "" {
		hint = d.hintFor(path)
	}
	d.note(Problem{
		d.file, n.Line, n.Column, path,
		fmt.Sprintf("want %s, got %s", wanted(want), found(n)), hint, false,
	})
}

// scalar decodes text, a number or a truth value, and holds it to its bounds.
func (d *decoder) scalar(n *yaml.Node, v reflect.Value, path string, f field) {
	ok := n.Kind == yaml.ScalarNode
	switch {
	case isText(v.Type()), v.Kind() == reflect.String:
		ok = ok && n.Tag == "!!str"
	case v.Kind() == reflect.Bool:
		ok = ok && n.Tag == "!!bool"
	case v.Kind() == reflect.Float64:
		ok = ok && (n.Tag == "!!int" || n.Tag == "!!float")
	default:
		ok = ok && n.Tag == "!!int"
	}
	if !ok {
		d.wrong(n, v.Type(), path)
		return
	}
	text := n.Value
	if v.Kind() != reflect.String {
		text = strings.ReplaceAll(text, "_", "")
	}
	if err := setText(v, text); err != nil {
		d.add(path, "", "%s", strings.TrimPrefix(err.Error(), "strconv."))
		return
	}
	if v.Kind() == reflect.Float64 && (math.IsNaN(v.Float()) || math.IsInf(v.Float(), 0)) {
		d.wrong(n, reflect.TypeFor[int](), path)
		return
	}
	if v.Kind() == reflect.String && !d.reference(path, n.Value) {
		return
	}
	if v.Kind() == reflect.String && f.enum != nil && text == "" && n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		d.add(path, "YAML gives > and | a meaning of their own: write it in quotes, for example "+lastKey(path)+": \">\"", "is empty: what stands there begins a block of text")
		return
	}
	if v.Kind() == reflect.String && f.enum != nil && !slices.Contains(f.enum, v.String()) {
		d.add(path, enumHint(text, f.enum), "%q is not one of its values", shorten(text))
		return
	}
	d.bounds(v, path, f)
	if f.secret {
		d.secret(path, n.Value)
	}
}

func enumHint(got string, enum []string) string {
	all := "one of " + strings.Join(enum, ", ")
	if k := nearest(got, enum); k != "" {
		return "did you mean " + k + "? " + all
	}
	return all
}

// bounds holds a number or a duration to the min and max of its tags. A
// duration is never negative.
func (d *decoder) bounds(v reflect.Value, path string, f field) {
	low := f.min
	if low == "" && isText(v.Type()) {
		low = "0s"
	}
	for _, b := range []struct {
		text, word string
		sign       int
	}{{low, "at least", -1}, {f.max, "at most", 1}} {
		if b.text == "" || v.Kind() == reflect.String || v.Kind() == reflect.Bool {
			continue
		}
		limit := reflect.New(v.Type()).Elem()
		if isText(v.Type()) && v.Type() == reflect.TypeFor[Size]() && b.text == "0s" {
			continue // sizes cannot be negative
		}
		if err := setText(limit, b.text); err != nil {
			panic("config: bound of " + path + ": " + err.Error())
		}
		if compare(v, limit) == b.sign {
			d.add(path, "", "is %s, want %s %s", show(v), b.word, show(limit))
		}
	}
}

func compare(a, b reflect.Value) int {
	if a.Kind() == reflect.Float64 {
		switch {
		case a.Float() < b.Float():
			return -1
		case a.Float() > b.Float():
			return 1
		}
		return 0
	}
	switch {
	case a.Int() < b.Int():
		return -1
	case a.Int() > b.Int():
		return 1
	}
	return 0
}

// show writes a scalar as a file would.
func show(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case grace.Duration:
		return shortDuration(x)
	default:
		return fmt.Sprint(x)
	}
}

// shortDuration leaves out the zero parts that time.Duration prints: 10m, not
// 10m0s.
func shortDuration(d grace.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func (d *decoder) anyScalar(n *yaml.Node, path string) any {
	var err error
	switch n.Tag {
	case "!!null":
		return nil
	case "!!bool":
		return strings.EqualFold(n.Value, "true")
	case "!!int":
		var i int64
		if i, err = strconv.ParseInt(strings.ReplaceAll(n.Value, "_", ""), 0, 64); err == nil {
			return int(i)
		}
	case "!!float":
		var x float64
		if x, err = strconv.ParseFloat(strings.ReplaceAll(n.Value, "_", ""), 64); err == nil && !math.IsNaN(x) && !math.IsInf(x, 0) {
			return x
		}
	default:
		d.reference(path, n.Value)
		return n.Value
	}
	d.add(path, "write it in quotes if it is text", "%s is out of range", shorten(n.Value))
	return nil
}
