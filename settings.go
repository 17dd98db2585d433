package grace

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxOutput is how many bytes of an action's output are kept.
const MaxOutput = 64 << 10

// Text is a setting that is text but may be written as a number or a boolean:
// a ${parameter} that is a whole setting keeps its own type.
type Text string

// UnmarshalJSON reads a string, a number or a boolean.
func (t *Text) UnmarshalJSON(data []byte) error {
	switch {
	case len(data) > 0 && data[0] == '"':
		var s string
		if err := json.Unmarshal(data, &s); err != nil {
			return fmt.Errorf("read text: %w", err)
		}
		*t = Text(s)
		return nil
	case len(data) > 0 && (data[0] == '{' || data[0] == '[' || data[0] == 'n'):
		return fmt.Errorf("want text, got %.20s", data)
	default:
		*t = Text(data)
		return nil
	}
}

// DecodeSettings reads the settings of an action (a step's With) into a struct
// by its json tags. It is strict: an unknown key or a value of the wrong kind
// is an error that names the key (see [FieldError]), because a misspelt setting
// that is silently left out acts differently from what the operator wrote.
func DecodeSettings(with map[string]any, into any) error {
	data, err := json.Marshal(with)
	if err != nil {
		return fmt.Errorf("read settings: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	err = dec.Decode(into)
	if err == nil {
		return nil
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		path := wrong.Field
		for key := range with {
			if strings.EqualFold(key, path) {
				path = key // as it was written: a field without a tag has Go's name
			}
		}
		return Field(path, "want %s, got %s", settingKind(wrong.Type), wrong.Value)
	}
	if quoted, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		if key, _ := strconv.Unquote(quoted); with[key] != nil && bytes.Count(data, []byte(quoted+":")) == 1 {
			return Field(key, "unknown setting")
		}
		return fmt.Errorf("unknown setting %s", quoted) // somewhere below
	}
	return fmt.Errorf("read settings: %w", err)
}

// settingKind names a type to who writes settings.
func settingKind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return settingKind(t.Elem())
	case reflect.Slice, reflect.Array:
		return "a list, such as [a, b]"
	case reflect.Map, reflect.Struct:
		return "a mapping, such as {a: b}"
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "text"
	case reflect.Float32, reflect.Float64:
		return "a number"
	default:
		return "a whole number"
	}
}

// CleanOutput makes text from outside fit to be stored: valid UTF-8 without
// NUL, which PostgreSQL's text cannot hold. It does not shorten.
func CleanOutput(text string) string {
	if !utf8.ValidString(text) {
		text = strings.ToValidUTF8(text, "\uFFFD")
	}
	return strings.ReplaceAll(text, "\x00", "\uFFFD")
}

// Printable makes text from outside fit to be stored and shown: invalid bytes
// are replaced, line breaks and tabs become spaces, and every other control
// character, and those that turn the direction of writing, is written as an
// escape (\u001b, \u202e): a terminal or a page must not obey them.
func Printable(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	plain := func(r rune) bool { return unicode.IsPrint(r) }
	if strings.IndexFunc(text, func(r rune) bool { return !plain(r) }) < 0 {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		switch {
		case plain(r):
			b.WriteRune(r)
		case unicode.IsSpace(r) && r != '\u2028' && r != '\u2029' && r != '\u0085':
			b.WriteByte(' ')
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}
