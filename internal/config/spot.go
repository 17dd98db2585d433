package config

import (
	"fmt"
	"strconv"
	"strings"

	"grace"
)

// spot is a key of a file: where a check looks, and where it reports.
type spot struct {
	d    *decoder
	path string
}

func (s spot) key(name string) spot { return spot{s.d, join(s.path, name)} }

func (s spot) item(i int) spot { return spot{s.d, s.path + "[" + strconv.Itoa(i) + "]"} }

// given tells whether the file names the key.
func (s spot) given() bool { return s.d.given(s.path) }

func (s spot) add(hint, format string, args ...any) { s.d.add(s.path, hint, format, args...) }

func (s spot) warn(hint, format string, args ...any) { s.d.warn(s.path, hint, format, args...) }

// failed tells whether an error was already found at the key or below it. Then
// a second opinion on the same value would only repeat it.
func (s spot) failed() bool { return s.d.wrongIn[s.path] }

// within tells whether an error was found at the key or at one above it: then
// what a stage says of the value is about a default that nobody wrote.
func (s spot) within() bool {
	for path := s.path; path != ""; path = parent(path) {
		if s.d.wrongAt[path] {
			return true
		}
	}
	return false
}

// addError reports what a stage or an action says of its own settings: at the
// keys that it names (see [grace.FieldError]), and else here.
func (s spot) addError(err error) {
	for _, f := range grace.FieldErrors(&grace.FieldError{Path: s.path, Err: err}) {
		if at := (spot{s.d, f.Path}); !at.failed() && !at.within() {
			at.add("", "%s", strings.ReplaceAll(f.Err.Error(), "\n", ", "))
		}
	}
}

// quote shows a value from outside, shortened.
func quote(s string) string { return fmt.Sprintf("%q", shorten(s)) }
