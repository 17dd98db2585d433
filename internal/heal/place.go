package heal

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"grace/internal/stage/verify"
)

// place is where in an action's settings a value is put in. Values come from
// alerts, targets and people; each is made fit for where it goes, or refused
// where it cannot be.
type place int

const (
	plain    place = iota
	inURL          // an address
	inHeader       // a header's value
	inJSON         // a body that is written as JSON text
	inArgv         // a list of arguments; its elements are one of the next
	inOption       // an argument that the program may take for an option
	inWord         // an argument behind --, or the program itself
	inScript       // the text of sh -c
	inExpr         // PromQL
)

// placeOf tells by a setting's name what it is: the names are the same in all
// actions.
func placeOf(key string, v any) place {
	switch key {
	case "url":
		return inURL
	case "headers":
		return inHeader
	case "argv":
		return inArgv
	case "body":
		if s, ok := v.(string); ok && strings.IndexAny(strings.TrimSpace(s), "{[") == 0 && !strings.HasPrefix(strings.TrimSpace(s), "${") {
			return inJSON
		}
	}
	return plain
}

func argument(before []any) place {
	words := make([]string, len(before))
	for i, w := range before {
		words[i] = text(w)
	}
	return argumentOf(words)
}

// argumentOf tells what the argument behind others is.
func argumentOf(before []string) place {
	shells := []string{"sh", "bash", "dash", "ash", "zsh", "ksh"}
	for i, w := range before {
		if i+1 == len(before) && strings.HasPrefix(w, "-") && strings.HasSuffix(w, "c") && slices.ContainsFunc(before[:i], func(p string) bool {
			return slices.Contains(shells, filepath.Base(p))
		}) {
			return inScript
		}
	}
	if slices.Contains(before, "--") {
		return inWord
	}
	return inOption
}

// What may stand in a host with its port, and in a shell's script outside of
// quotes.
var (
	hostForm = regexp.MustCompile(`^[A-Za-z0-9._:\[\]-]+$`)
	wordForm = regexp.MustCompile(`^[A-Za-z0-9._:/@%+=,-]*$`)
	// numberForm is a number or a duration of PromQL.
	numberForm = regexp.MustCompile(`^(-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?|([0-9]+(ms|[smhdwy]))+)$`)
)

// fit gives a value as it is to stand behind before; given is it in its own
// type, last tells that nothing follows.
func (p place) fit(before, value string, given any, last bool) (string, error) {
	if strings.IndexByte(value, 0) >= 0 {
		return "", errors.New("it has a NUL")
	}
	switch p {
	case inURL:
		return fitURL(before, value, last)
	case inHeader:
		if strings.ContainsFunc(value, unicode.IsControl) {
			return "", errors.New("a header's value takes no control characters")
		}
	case inJSON:
		quoted, err := json.Marshal(value)
		if err != nil {
			return "", fmt.Errorf("write it as JSON: %w", err)
		}
		return string(quoted[1 : len(quoted)-1]), nil
	case inOption:
		if _, isText := given.(string); isText && before == "" && strings.HasPrefix(value, "-") {
			return "", errors.New("the program would take it for an option; where it has --, put that before")
		}
	case inScript:
		if !wordForm.MatchString(value) {
			return "", errors.New("the shell would read it as more than a word; give it as an argument of its own")
		}
	case inExpr:
		return fitExpr(verify.Quoted(before), value)
	case plain, inArgv, inWord:
	}
	return value, nil
}

// fitExpr makes a value a part of an expression, within quotes or outside.
func fitExpr(quoted bool, value string) (string, error) {
	switch {
	case quoted && strings.ContainsFunc(value, func(r rune) bool { return unicode.IsControl(r) || strings.ContainsRune("\"'`\\", r) }):
		return "", errors.New("within the quotes of an expression it cannot have quotes, backslashes or control characters")
	case !quoted && !numberForm.MatchString(value):
		return "", errors.New("outside of quotes an expression takes a number or a duration")
	}
	return value, nil
}

// fitURL makes a value a part of an address, which begins with before.
func fitURL(before, value string, last bool) (string, error) {
	scheme, rest, hasHost := strings.Cut(before, "://")
	switch {
	case before == "":
		u, err := url.Parse(value)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || !last && (u.RawQuery != "" || u.Fragment != "") {
			return "", errors.New("it is not the beginning of an http or https address")
		}
		return value, nil
	case !hasHost || strings.ContainsAny(scheme, "/?#"):
		return "", errors.New("only the whole address, a host, a path or a query can be put in")
	case !strings.ContainsAny(rest, "/?#"):
		if !hostForm.MatchString(value) {
			return "", errors.New("it is not the name of a host")
		}
		return value, nil
	case strings.ContainsAny(rest, "?#"):
		return url.QueryEscape(value), nil
	}
	for segment := range strings.FieldsFuncSeq(value, func(r rune) bool { return r == '/' || r == '\\' }) {
		if segment == "." || segment == ".." {
			return "", errors.New("it would lead to another path")
		}
	}
	return url.PathEscape(value), nil
}
