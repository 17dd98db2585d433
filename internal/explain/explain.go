// Package explain words reasons and numbers for people. The stages say in values what was found
// and what would have been needed; here, and nowhere else, they become sentences,
// with what to do about them: the keys of the configuration and the commands.
//
// Nothing fails: a value that a gate does not usually give is written as it is.
package explain

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"grace"
)

// Unsure is said of a run that succeeded, of which nobody knows whether it was the remedy.
const Unsure = "whether it was the remedy cannot be told: a step was left unfinished when GRACE ended"

// Held says what an open incident waits for and keeps GRACE from, empty for nothing but
// that its services are well.
func Held(i grace.Incident) string {
	switch {
	case i.Manual:
		return "Something may have been left half done: GRACE does nothing to the service until a person resolves the incident."
	case len(i.Unseen) > 0:
		return "Nothing shows any more how " + List(i.Unseen) + " is: only a person resolves the incident, unless it is watched again."
	case len(i.Stopped) > 0:
		return "A person aborted a run for it: GRACE does nothing more to the service until that is over, or a person resolves the incident."
	}
	return ""
}

// wording are how one gate is worded. A nil function stands for the value itself.
type wording struct {
	actual, required, hint func(r grace.Reason) string
}

// Line is a reason in one line, with what to do about it.
func Line(r grace.Reason) string {
	s := fmt.Sprintf("%s: %s (actual %s, required %s)", r.Gate, r.Code, Actual(r), Required(r))
	if h := Hint(r); h != "" {
		s += "; " + h
	}
	return s
}

// Lines says each reason once: several remedies can fail at the same gate.
func Lines(reasons []grace.Reason) string {
	var lines []string
	for _, r := range reasons {
		if line := Line(r); !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; ")
}

// Actual words what was found.
func Actual(r grace.Reason) string {
	text := value(r.Actual, r.Unit)
	if w := gates[r.Gate].actual; w != nil {
		text = w(r)
	}
	if r.Code == grace.ReasonOverridden {
		return text + "; overridden by " + id(r)
	}
	return text
}

// Required words what would have been needed.
func Required(r grace.Reason) string {
	if w := gates[r.Gate].required; w != nil {
		return w(r)
	}
	return value(r.Required, r.Unit)
}

// Hint says what an operator can do about a "no"; nothing about a "yes".
func Hint(r grace.Reason) string {
	if w := gates[r.Gate].hint; w != nil && !r.OK {
		return w(r)
	}
	return ""
}

// Waits says what an approved run waits for before it begins, empty when that is
// nothing. A change window is the one that people wait for.
func Waits(run grace.Run) string {
	if run.Status != grace.RunApproved || len(run.Reasons) == 0 {
		return ""
	}
	if first := run.Reasons[0]; first.Code != grace.ReasonOutsideWindow {
		return strings.ReplaceAll(first.Gate, "_", " ") + ": " + Actual(first)
	}
	return Window(run.Reasons[0]) + "; the run expires " + stamp(run.WaitsUntil())
}

// Window words that a change window is waited for, and until when.
func Window(r grace.Reason) string {
	if r.Until == nil {
		return "a change window; none opens in the next three weeks"
	}
	return "a change window; the next opens " + stamp(*r.Until)
}

// Candidate words one playbook that was looked at.
func Candidate(c grace.Candidate) string {
	text := string(c.Playbook)
	switch {
	case c.Trials > 0:
		text += fmt.Sprintf(" (succeeds with %.2f in %s)", c.Score, count(c.Trials, "outcome"))
	case c.Risk != "":
		text += fmt.Sprintf(" (%s risk, no outcomes)", c.Risk)
	}
	switch {
	case c.Chosen:
		text += ", chosen"
	case c.Refused != nil:
		text += fmt.Sprintf(", %s: %s", c.Refused.Code, Actual(*c.Refused))
	}
	return text
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// id is the id of what says so, without its kind.
func id(r grace.Reason) string {
	_, id, _ := strings.Cut(r.Source, "/")
	return id
}

// number reads one of several numbers, or the one.
func number(v any, name string) float64 {
	switch v := v.(type) {
	case float64:
		return v
	case grace.Numbers:
		return v[name]
	}
	return 0
}

// value words a value that needs no sentence.
func value(v any, unit string) string {
	switch v := v.(type) {
	case nil:
		return "-"
	case bool:
		if v {
			return "on"
		}
		return "off"
	case float64: // in full precision: 0.69999 must not read as 0.7
		if v != 0 && math.Abs(v) < 0.001 {
			return strings.TrimSpace(strconv.FormatFloat(v, 'g', 3, 64) + " " + unit)
		}
		return strings.TrimSpace(strconv.FormatFloat(v, 'g', -1, 64) + " " + unit)
	case []string:
		if len(v) == 0 {
			return "none is accepted"
		}
		return strings.Join(v, " or ")
	}
	return fmt.Sprint(v)
}

// count says how many: 1 run, 2 runs, 2.5 outcomes.
func count(n float64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.FormatFloat(n, 'f', min(1, places(n)), 64) + " " + noun + "s"
}

func places(n float64) int {
	if n == float64(int64(n)) {
		return 0
	}
	return 1
}

// List names several things of one kind.
func List[T ~string](ids []T) string {
	words := make([]string, len(ids))
	for i, id := range ids {
		words[i] = string(id)
	}
	return strings.Join(words, ", ")
}

// Some names the first of several things of one kind, at most so many, and says how
// many more there are.
func Some[T ~string](ids []T, most int) string {
	text := List(ids[:min(len(ids), most)])
	if more := len(ids) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
