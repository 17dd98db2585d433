// Package labelmap tells by labels whose an alert or a rule is, what it is a symptom
// of, and how bad that is. Its [Rule]s are tried in their order; the first that matches
// counts, and what it leaves open stays open.
package labelmap

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"grace"
)

// Rule gives what has these labels a service, a code or a severity. A value
// to match may hold * for any text, several joined by | for either, ! in front
// for not, nothing for an absent label, or ~ in front of a regular expression
// of the whole value. Service and Code may hold ${label} for a label's value.
type Rule struct {
	Match    map[string]string // all must hold
	Service  grace.ServiceID
	Code     grace.Code
	Severity grace.Severity
}

// Answer is what a rule says of labels.
type Answer struct {
	Service  string // as text: what a label says may be no name
	Code     string
	Severity grace.Severity
}

// Map is a compiled list of rules.
type Map struct{ rules []rule }

type rule struct {
	Rule
	labels []matcher
}

// matcher is the wanted value of one label.
type matcher struct {
	name  string
	not   bool
	regex *regexp.Regexp
}

// Compile reads a list of rules. Its error names everything that is wrong.
func Compile(list []Rule) (*Map, error) {
	out := &Map{}
	var errs []error
	for i, r := range list {
		c, err := r.compile()
		errs = append(errs, grace.Under(fmt.Sprintf("map[%d]", i), err))
		out.rules = append(out.rules, c)
	}
	return out, errors.Join(errs...)
}

// Find gives what the first rule that matches says, and which one that is; -1 for none.
// A template with a label that is not there says nothing.
func (m *Map) Find(labels map[string]string) (a Answer, which int) {
	for i, r := range m.rules {
		if !r.matches(labels) {
			continue
		}
		a.Service, _ = expand(string(r.Service), labels)
		a.Code, _ = expand(string(r.Code), labels)
		a.Severity = r.Severity
		return a, i
	}
	return a, -1
}

// May gives which rules may be the first that matches, where the labels that are open may
// have any value.
func (m *Map) May(labels map[string]string, open func(label string) bool) (which []int) {
	for i, r := range m.rules {
		sure := true
		fails := func(l matcher) bool {
			if open(l.name) {
				sure = false
				return false
			}
			return l.regex.MatchString(labels[l.name]) == l.not
		}
		if slices.ContainsFunc(r.labels, fails) {
			continue
		}
		if which = append(which, i); sure {
			break
		}
	}
	return which
}

func (r Rule) compile() (rule, error) {
	out := rule{Rule: r}
	switch {
	case len(r.Match) == 0:
		return out, grace.Field("match", "is missing: it would take every alert; for example match: {alertname: \"Nginx*\"}")
	case r.Service == "" && r.Code == "" && r.Severity == "":
		return out, errors.New("it gives neither a service nor a code nor a severity; add one of them, for example service: web")
	case !r.Severity.Valid():
		return out, grace.Field("severity", "%q: want info, warning or critical", r.Severity)
	}
	if err := errors.Join(grace.Under("service", checkTemplate(string(r.Service))), grace.Under("code", checkTemplate(string(r.Code)))); err != nil {
		return out, err
	}
	for name, value := range r.Match {
		m := matcher{name: name}
		value, m.not = strings.CutPrefix(value, "!")
		expression, isRegex := strings.CutPrefix(value, "~")
		if !isRegex {
			expression = pattern(value)
		}
		var err error
		if m.regex, err = regexp.Compile("^(?s:" + expression + ")$"); err != nil {
			return out, grace.Field("match."+name, "%w; what begins with ~ is a regular expression (RE2) of the whole value", err)
		}
		out.labels = append(out.labels, m)
	}
	slices.SortFunc(out.labels, func(a, b matcher) int { return strings.Compare(a.name, b.name) })
	return out, nil
}

// pattern writes a|b* as a regular expression.
func pattern(text string) string {
	parts := strings.Split(text, "|")
	for i, p := range parts {
		parts[i] = strings.ReplaceAll(regexp.QuoteMeta(p), `\*`, ".*")
	}
	return strings.Join(parts, "|")
}

func checkTemplate(text string) error {
	_, err := labelsIn(text)
	return err
}

// labelsIn names the labels of a template.
func labelsIn(text string) (names []string, err error) {
	for rest := text; ; {
		_, after, found := strings.Cut(rest, "${")
		if !found {
			return names, nil
		}
		name, next, closed := strings.Cut(after, "}")
		if !closed || name == "" {
			return names, fmt.Errorf("%q: a ${label} is not closed or has no name; write for example ${job}", text)
		}
		if strings.Contains(name, ":") {
			return names, fmt.Errorf("%q: ${%s} is no label; secrets are not read here", text, name)
		}
		names, rest = append(names, name), next
	}
}

// expand puts labels into a template. What is put in is data: it is not looked
// through for ${} again. It fails when a label is not there.
func expand(template string, labels map[string]string) (string, bool) {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(template, "${")
		b.WriteString(before)
		if !found {
			return b.String(), true
		}
		name, rest, _ := strings.Cut(after, "}")
		value := labels[name]
		if value == "" {
			return "", false
		}
		b.WriteString(value)
		template = rest
	}
}

func (r rule) matches(labels map[string]string) bool {
	for _, m := range r.labels {
		if m.regex.MatchString(labels[m.name]) == m.not {
			return false
		}
	}
	return true
}

// Severity reads the words in use, in any case; an alert that says none, or
// another, is a warning: somebody wanted to know of it.
func Severity(text string) grace.Severity {
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "info", "information", "informational", "none", "notice", "debug", "low", "ok", "trivial", "p4", "p5", "sev4", "sev5", "s4", "s5":
		return grace.SeverityInfo
	case "critical", "crit", "page", "paging", "error", "err", "fatal", "emergency", "emerg", "panic", "alert", "disaster",
		"high", "major", "urgent", "blocker", "severe", "p0", "p1", "p2", "sev0", "sev1", "sev2", "s0", "s1", "s2":
		return grace.SeverityCritical
	default:
		return grace.SeverityWarning
	}
}
