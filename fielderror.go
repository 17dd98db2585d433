package grace

import (
	"errors"
	"fmt"
	"slices"
)

// FieldError says what is wrong with one key of a configuration or of an
// action's settings. Who reads the file tells the line of that key.
type FieldError struct {
	Path string // from what was looked at, as a file writes it: a.b[2].c
	Err  error
}

func (e *FieldError) Error() string { return e.Path + ": " + e.Err.Error() }

// Unwrap gives what is wrong, without the key.
func (e *FieldError) Unwrap() error { return e.Err }

// Field says of a key what is wrong with it.
func Field(path, format string, args ...any) error {
	return &FieldError{path, fmt.Errorf(format, args...)}
}

// Under says of a section what is wrong within it: path goes before the paths
// that err names. Nil stays nil.
func Under(path string, err error) error {
	var errs []error
	for _, e := range FieldErrors(&FieldError{path, err}) {
		errs = append(errs, e)
	}
	return errors.Join(errs...)
}

// FieldErrors takes err apart: one for each key that it names, however it is
// wrapped and joined. What names no key stays whole, and has no path.
func FieldErrors(err error) []*FieldError {
	var out []*FieldError
	switch e := err.(type) { //nolint:errorlint // level by level: what is joined below a key is about that key
	case nil:
		return nil
	case *FieldError:
		for _, f := range FieldErrors(e.Err) {
			out = append(out, &FieldError{joinPath(e.Path, f.Path), f.Err})
		}
		return out
	case interface{ Unwrap() error }:
		out = FieldErrors(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			out = append(out, FieldErrors(inner)...)
		}
	}
	if !slices.ContainsFunc(out, func(f *FieldError) bool { return f.Path != "" }) {
		return []*FieldError{{Err: err}}
	}
	return out
}

func joinPath(path, sub string) string {
	if path == "" || sub == "" || sub[0] == '[' {
		return path + sub
	}
	return path + "." + sub
}
