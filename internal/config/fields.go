package config

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"grace"
	"grace/internal/series"
	"grace/internal/stage/diagnose"
	"grace/internal/stage/govern"
	"grace/internal/stage/learn"
	"grace/internal/stage/predict"
	"grace/internal/stage/propose"
	"grace/internal/stage/sense"
)

// field is one key of a section, as the decoder, the schema and the reference
// see it. It is read from a struct field's tags.
type field struct {
	name     string
	index    []int
	typ      reflect.Type
	doc      string
	initial  string // text of the default tag
	example  string
	enum     []string
	min, max string
	required bool
	short    bool     // a text in place of the section is this key's value
	secret   bool     // holds a credential: a reference is expected
	only     []string // values of the sibling key "type" for which it counts
}

// fieldsOf gives the keys of a section in the order of the struct. Embedded
// structs count as their fields.
func fieldsOf(t reflect.Type) []field {
	var out []field
	for i := range t.NumField() {
		sf := t.Field(i)
		name, _, _ := strings.Cut(firstTag(sf.Tag, "yaml", "json"), ",")
		if name == "-" || !sf.IsExported() {
			continue
		}
		if sf.Anonymous && name == "" && sf.Type.Kind() == reflect.Struct {
			omitted := split(sf.Tag.Get("omit"))
			for _, f := range fieldsOf(sf.Type) {
				if !slices.Contains(omitted, f.name) {
					f.index = append([]int{i}, f.index...)
					out = append(out, f)
				}
			}
			continue
		}
		if name == "" {
			name = snake(sf.Name)
		}
		out = append(out, field{
			name: name, index: []int{i}, typ: sf.Type,
			doc: sf.Tag.Get("doc"), initial: sf.Tag.Get("default"), example: sf.Tag.Get("example"),
			enum: enumOf(sf.Type, sf.Tag.Get("enum")),
			min:  firstTag(sf.Tag, "min", "minimum"), max: firstTag(sf.Tag, "max", "maximum"),
			required: sf.Tag.Get("required") == "true", short: sf.Tag.Get("short") == "true", secret: sf.Tag.Get("secret") == "true",
			only: split(sf.Tag.Get("only")),
		})
	}
	return out
}

func firstTag(tag reflect.StructTag, keys ...string) string {
	for _, k := range keys {
		if v, ok := tag.Lookup(k); ok {
			return v
		}
	}
	return ""
}

func split(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}

// snake turns FailAfter into fail_after and URL into url.
func snake(name string) string {
	var b strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		if unicode.IsUpper(r) && i > 0 && (unicode.IsLower(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// enumOf lists the texts that a value may have; nil is any. The tag wins, then
// the enums of the vocabulary.
func enumOf(t reflect.Type, tag string) []string {
	if tag != "" {
		return split(tag)
	}
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	switch t {
	case reflect.TypeFor[grace.Risk]():
		return texts(grace.RiskLow, grace.RiskMedium, grace.RiskHigh)
	case reflect.TypeFor[grace.Impact]():
		return texts(grace.ImpactLow, grace.ImpactMedium, grace.ImpactHigh, grace.ImpactCritical)
	case reflect.TypeFor[grace.Criticality]():
		return texts(grace.CriticalityLow, grace.CriticalityMedium, grace.CriticalityHigh, grace.CriticalityCritical)
	case reflect.TypeFor[grace.Severity]():
		return texts(grace.SeverityInfo, grace.SeverityWarning, grace.SeverityCritical)
	case reflect.TypeFor[grace.Mode]():
		return texts(grace.ModeAutonomous, grace.ModeAskAlways, grace.ModeObserveOnly, grace.ModeStopped)
	case reflect.TypeFor[grace.ParameterType]():
		return texts(grace.ParameterString, grace.ParameterInt, grace.ParameterDuration)
	case reflect.TypeFor[grace.CheckType]():
		return texts(grace.CheckHTTPHealth, grace.CheckCommand, grace.CheckExpr, grace.CheckTrend, grace.CheckCapacity)
	}
	return nil
}

func texts[T ~string](values ...T) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = string(v)
	}
	return out
}

// alias gives the value that another accepted spelling stands for.
func alias(t reflect.Type, text string) string {
	if t == reflect.TypeFor[grace.Risk]() && text == "moderate" {
		return string(grace.RiskMedium)
	}
	if t == reflect.TypeFor[grace.Code]() {
		return string(grace.Code(text).Canonical())
	}
	return text
}

// withDefaults gives a value of type t as it is when the file says nothing. A
// stage's section starts as the stage's own defaults.
func withDefaults(t reflect.Type) reflect.Value {
	switch t {
	case reflect.TypeFor[sense.Config]():
		return reflect.ValueOf(sense.DefaultConfig())
	case reflect.TypeFor[predict.Config]():
		return reflect.ValueOf(predict.DefaultConfig())
	case reflect.TypeFor[predict.GateConfig]():
		return reflect.ValueOf(predict.DefaultGateConfig())
	case reflect.TypeFor[predict.LedgerConfig]():
		return reflect.ValueOf(predict.DefaultLedgerConfig())
	case reflect.TypeFor[series.Config]():
		return reflect.ValueOf(series.DefaultConfig())
	case reflect.TypeFor[diagnose.Config]():
		return reflect.ValueOf(diagnose.DefaultConfig())
	case reflect.TypeFor[propose.Config]():
		return reflect.ValueOf(propose.DefaultConfig())
	case reflect.TypeFor[govern.Config]():
		return reflect.ValueOf(govern.DefaultConfig())
	case reflect.TypeFor[learn.Config]():
		return reflect.ValueOf(learn.DefaultConfig())
	}
	v := reflect.New(t).Elem()
	if t.Kind() != reflect.Struct {
		return v
	}
	for i := range t.NumField() {
		if sf := t.Field(i); sf.IsExported() && sf.Type.Kind() == reflect.Struct {
			v.Field(i).Set(withDefaults(sf.Type))
		}
	}
	for _, f := range fieldsOf(t) {
		if f.initial == "" {
			continue
		}
		if err := setText(v.FieldByIndex(f.index), f.initial); err != nil {
			// A bad tag is a mistake in this program, found by the first test.
			panic("config: default of " + t.String() + "." + f.name + ": " + err.Error())
		}
	}
	return v
}

// setText sets a scalar value from its text. The error says what was wanted.
func setText(v reflect.Value, text string) error {
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		return setText(v.Elem(), text)
	}
	switch v.Type() {
	case reflect.TypeFor[grace.Duration]():
		var d grace.Duration
		if err := d.UnmarshalText([]byte(text)); err != nil {
			return err
		}
		v.SetInt(int64(d))
		return nil
	case reflect.TypeFor[Size]():
		n, err := parseSize(text)
		v.SetInt(int64(n))
		return err
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(alias(v.Type(), text))
		return nil
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		v.SetBool(b)
		return err
	case reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		v.SetFloat(f)
		return err
	default:
		n, err := strconv.ParseInt(text, 0, 64)
		if err == nil && v.OverflowInt(n) {
			err = strconv.ErrRange
		}
		v.SetInt(n)
		return err
	}
}
