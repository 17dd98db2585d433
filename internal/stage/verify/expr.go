package verify

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"grace"
	"grace/internal/series"
)

// Read gives what an expression shows of a check; of what was measured before since it
// shows nothing.
func Read(c grace.Check, e *series.Expr, r *series.Result, since time.Time) grace.Reading {
	var held, failed []*series.Element
	var old, undefined *series.Element
	if len(r.Undefined) > 0 {
		undefined = &r.Undefined[0]
	}
	for i := range r.Elements {
		switch one := &r.Elements[i]; {
		case one.Whole.IsZero() || one.Whole.Before(since):
			if old == nil || one.Whole.Before(old.Whole) {
				old = one
			}
		case r.Compared && !one.Holds:
			failed = append(failed, one)
		case math.IsNaN(one.Value) || math.IsInf(one.Value, 0):
			undefined = one
		default:
			held = append(held, one)
		}
	}
	out := grace.Reading{Every: r.Every()}
	newest, single := r.Newest(nil), c.Type != grace.CheckExpr
	switch {
	case single && len(r.Elements) > 1:
		out.Detail = fmt.Sprintf("%d values, and it takes one: put sum() or max() around them", len(r.Elements))
	case !single && len(failed) > 0:
		out.At, out.OK, out.Detail = slices.MaxFunc(failed, byTime).Newest, true, describe(e, failed, len(r.Elements))
	case old != nil:
		out.Detail = unseen(e, old.Whole, since) + label(old)
	case r.Lost() != "":
		out.Detail = r.Lost()
	case undefined != nil:
		out.Detail = "no number, or not measured for long enough" + label(undefined)
	case single && len(held) > 0:
		out.At, out.Value, out.OK = held[0].Newest, held[0].Value, true
	case len(held) > 0:
		out.At, out.Value, out.OK, out.Detail = slices.MinFunc(held, byTime).Newest, 1, true, describe(e, held, len(held))
	case newest.IsZero() || newest.Before(since):
		out.Detail = unseen(e, newest, since)
	case single || r.Compared:
		out.Detail = names(e) + " was measured, but gives no value"
	default:
		out.At, out.OK, out.Detail = newest, true, "it does not hold"
	}
	return out
}

func byTime(a, b *series.Element) int { return a.Newest.Compare(b.Newest) }

// describe tells of the worst of the elements that hold or fail, of so many in all.
func describe(e *series.Expr, list []*series.Element, all int) string {
	margin := func(one *series.Element) float64 {
		d := one.Value - one.Threshold
		switch e.Op() {
		case "<", "<=":
			return -d
		case "==":
			return -math.Abs(d)
		case "!=":
			return math.Abs(d)
		}
		return d
	}
	worst := slices.MinFunc(list, func(a, b *series.Element) int { return cmp.Compare(margin(a), margin(b)) })
	text := "it holds"
	switch {
	case e.Op() == "":
	case worst.Holds:
		text = number(worst.Value) + " " + e.Op() + " " + number(worst.Threshold)
	default:
		text = number(worst.Value) + ", not " + e.Op() + " " + number(worst.Threshold)
	}
	text += label(worst)
	switch {
	case all == 1 || e.Op() == "":
	case worst.Holds:
		text += fmt.Sprintf(", the worst of %d", all)
	default:
		text += fmt.Sprintf(", %d of %d fail", len(list), all)
	}
	return text
}

func unseen(e *series.Expr, newest, since time.Time) string {
	asked, last := since.UTC().Format(time.TimeOnly), newest.UTC().Format(time.TimeOnly)
	text := "no sample of " + names(e) + " since " + asked
	switch {
	case newest.IsZero():
		return text + ", or not for long enough"
	case last != asked:
		return text + ", the newest is from " + last
	}
	return text
}

func names(e *series.Expr) string {
	if r := e.Remote(); r != nil {
		return "what " + r.Source + " is asked for, " + r.Query
	}
	return cmp.Or(strings.Join(e.Metrics(), ", "), strings.Join(e.Selectors(), ", "))
}

func label(one *series.Element) string {
	if labels := series.Distinct(one.Labels); labels != "" {
		return " " + labels
	}
	return ""
}

// validateExpr judges the expression of a check.
func validateExpr(c grace.Check) error {
	if c.Expr == "" {
		return grace.Field("expr", "missing; it is PromQL, for example sum(up{service=\"${service}\"})")
	}
	e, err := series.Compile(Outline(c.Expr))
	switch {
	case err != nil:
		return grace.Field("expr", "%v", err)
	case !e.Now():
		return grace.Field("expr", "looks at no series as it is now; only what is measured after a remedy shows that it helped")
	case c.Type == grace.CheckExpr && !e.Filters():
		return grace.Field("expr", "gives a value whatever it is; say how it must compare, for example with < 5, and without bool")
	case c.Type != grace.CheckExpr && e.Op() != "":
		return grace.Field("expr", "is a comparison; a %s is of a value: leave %s and what is compared with out", c.Type, e.Op())
	}
	switch asked, err := series.CompileCheck(Outline(c.Expr), c.Source); {
	case err != nil:
		return grace.Field("expr", "%v", err)
	case asked.Op() != e.Op():
		return grace.Field("expr", "both sides of %s are its source's, which says only what passes, not what fails: compare with a number, for example a - b < 0", e.Op())
	}
	return nil
}

// Outline gives an expression that can be read while its ${names} have no value: within
// quotes they stay, elsewhere a number stands for them, as long as they are.
func Outline(expr string) string {
	return Replace(expr, func(name string, quoted bool) string {
		if quoted {
			return "${" + name + "}"
		}
		return strings.Repeat("0", len(name)+2) + "1"
	})
}

// Replace puts something in for each ${name} of an expression.
func Replace(expr string, value func(name string, quoted bool) string) string {
	var out strings.Builder
	for rest := expr; ; {
		before, after, found := strings.Cut(rest, "${")
		name, behind, closed := strings.Cut(after, "}")
		out.WriteString(before)
		if !found || !closed {
			out.WriteString(rest[len(before):])
			return out.String()
		}
		out.WriteString(value(name, Quoted(out.String())))
		rest = behind
	}
}

// Quoted tells whether what follows a part of an expression stands within quotes.
func Quoted(before string) bool {
	var open rune
	comment, escaped := false, false
	for _, r := range before {
		switch {
		case comment:
			comment = r != '\n'
		case escaped:
			escaped = false
		case open == 0 && r == '#':
			comment = true
		case open == 0 && strings.ContainsRune("\"'`", r):
			open = r
		case open != 0 && open != '`' && r == '\\':
			escaped = true
		case r == open:
			open = 0
		}
	}
	return open != 0
}
