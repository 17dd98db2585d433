package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a configuration, and where.
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line"`   // from 1; 0 when the file could not be read
	Column  int    `json:"column"` // from 1
	Key     string `json:"key,omitempty" doc:"the path of the key, for example services[2].depends_on[0]"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty" doc:"what to do about it"`
	Warning bool   `json:"warning,omitempty" doc:"worth a look, but the file can be used"`
}

// String gives "file:line:column: key: message", and the hint on a line of its
// own, indented.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	b.WriteString(": ")
	if p.Warning {
		b.WriteString("warning: ")
	}
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.Message)
	if p.Hint != "" {
		b.WriteString("\n    hint: " + p.Hint)
	}
	return b.String()
}

// Problems is everything found in one pass.
type Problems []Problem

// Errors gives the problems that keep the file from being used.
func (ps Problems) Errors() Problems {
	return slices.DeleteFunc(slices.Clone(ps), func(p Problem) bool { return p.Warning })
}

// Warnings gives the rest.
func (ps Problems) Warnings() Problems {
	return slices.DeleteFunc(slices.Clone(ps), func(p Problem) bool { return !p.Warning })
}

// Err is nil when the file can be used; otherwise its text is every problem
// that is in the way.
func (ps Problems) Err() error {
	errs := ps.Errors()
	if len(errs) == 0 {
		return nil
	}
	return errors.New(strings.TrimSuffix(errs.String(), "\n"))
}

// String gives all problems, one after the other, each ending its line.
func (ps Problems) String() string {
	var b strings.Builder
	for _, p := range ps {
		b.WriteString(p.String() + "\n")
	}
	return b.String()
}

// sort puts the problems in the order of the files; main, the file that names
// the others, comes first.
func (ps Problems) sort(main string) {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		if a.File != b.File {
			if a.File == main {
				return -1
			}
			if b.File == main {
				return 1
			}
		}
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column), cmp.Compare(a.Key, b.Key))
	})
}
