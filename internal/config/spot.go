package config

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
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

// leadingKey is how the stages begin the text of a validation error.
var leadingKey = regexp.MustCompile(`^(?:setting |unknown setting )?"?([a-zA-Z_][a-zA-Z0-9_]*(?:\[\d+\]|\.[a-zA-Z_][a-zA-Z0-9_-]*)*)"?(:? )`)

// addError reports a stage's or an action's own validation error at the key it
// begins with, as far as the file has it; joined errors one by one.
func (s spot) addError(err error) {
	if err == nil {
		return
	}
	if joined, ok := errors.AsType[interface {
		error
		Unwrap() []error
	}](err); ok {
		for _, e := range joined.Unwrap() {
			s.addError(e)
		}
		return
	}
	text := err.Error()
	at := s
	if m := leadingKey.FindStringSubmatch(text); m != nil {
		key := m[1]
		if strings.ToLower(key[:1]) != key[:1] {
			key = snake(key)
		}
		if m[2] == ": " {
			at, text = s.key(key), text[len(m[0]):]
		} else if s.key(key).given() {
			at = s.key(key)
		}
	}
	if !at.failed() && !at.within() {
		at.add("", "%s", text)
	}
}

// quote shows a value from outside, shortened.
func quote(s string) string { return fmt.Sprintf("%q", shorten(s)) }
