package series

import (
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// Fixed gives the labels that the expression's selectors ask for by =, where none asks for
// another value: what it is about, also where its elements do not say so any more. What
// only decides whether there is an element says nothing of that.
func (e *Expr) Fixed() map[string]string {
	out := map[string]string{}
	parsed, err := Parser().ParseExpr(e.text)
	if err != nil {
		return out
	}
	for _, selector := range subjects(parsed, nil) {
		for _, m := range selector.LabelMatchers {
			if m.Name == MetricLabel || m.Type != labels.MatchEqual {
				continue
			}
			if was, known := out[m.Name]; known && was != m.Value {
				out[m.Name] = ""
			} else if !known {
				out[m.Name] = m.Value
			}
		}
	}
	for name, value := range out {
		if value == "" {
			delete(out, name)
		}
	}
	return out
}

// subjects gives the selectors of what the elements are about: not those of the right side
// of and and unless, nor of the side from which labels are taken over.
func subjects(node parser.Node, out []*parser.VectorSelector) []*parser.VectorSelector {
	switch n := node.(type) {
	case *parser.VectorSelector:
		return append(out, n)
	case *parser.BinaryExpr:
		switch {
		case n.Op == parser.LAND, n.Op == parser.LUNLESS, n.VectorMatching != nil && n.VectorMatching.Card == parser.CardManyToOne:
			return subjects(n.LHS, out)
		case n.VectorMatching != nil && n.VectorMatching.Card == parser.CardOneToMany:
			return subjects(n.RHS, out)
		}
	}
	for child := range parser.ChildrenIter(node) {
		out = subjects(child, out)
	}
	return out
}

// Back is how far back the expression looks: so long the samples are kept that it picks.
func (e *Expr) Back() time.Duration {
	var back int64
	for _, p := range e.picks {
		back = max(back, p.back)
	}
	return time.Duration(back) * time.Millisecond
}

// MayHave tells whether an element of the expression may have a label, as far as its form
// says.
func (e *Expr) MayHave(label string) bool {
	parsed, err := Parser().ParseExpr(e.text)
	return err == nil && mayHave(parsed, label)
}

func mayHave(e parser.Expr, label string) bool {
	if e.Type() == parser.ValueTypeScalar {
		return false
	}
	switch e := e.(type) {
	case *parser.ParenExpr:
		return mayHave(e.Expr, label)
	case *parser.UnaryExpr:
		return mayHave(e.Expr, label)
	case *parser.SubqueryExpr:
		return mayHave(e.Expr, label)
	case *parser.AggregateExpr:
		switch named := slices.Contains(e.Grouping, label); {
		case e.Op == parser.TOPK || e.Op == parser.BOTTOMK || e.Op == parser.LIMITK || e.Op == parser.LIMIT_RATIO:
			return mayHave(e.Expr, label)
		case e.Op == parser.COUNT_VALUES && textOf(e.Param) == label:
			return true
		default:
			return named != e.Without && mayHave(e.Expr, label)
		}
	case *parser.BinaryExpr:
		return mayHaveOf(e, label)
	case *parser.Call:
		return mayHaveOfCall(e, label)
	}
	return true
}

func mayHaveOf(e *parser.BinaryExpr, label string) bool {
	left, right := mayHave(e.LHS, label), mayHave(e.RHS, label)
	m := e.VectorMatching
	switch {
	case m == nil: // with a number
		return left || right
	case e.Op == parser.LOR:
		return left || right
	case e.Op == parser.LAND, e.Op == parser.LUNLESS:
		return left
	case slices.Contains(m.Include, label):
		return left || right
	case m.Card == parser.CardManyToOne:
		return left
	case m.Card == parser.CardOneToMany:
		return right
	default:
		return left && slices.Contains(m.MatchingLabels, label) == m.On
	}
}

func mayHaveOfCall(e *parser.Call, label string) bool {
	switch e.Func.Name {
	case "label_replace", "label_join":
		if len(e.Args) > 1 && textOf(e.Args[1]) == label {
			return true
		}
	case "histogram_quantile":
		if label == "le" {
			return false
		}
	case "info":
		return true
	}
	return slices.ContainsFunc(e.Args, func(arg parser.Expr) bool { return arg.Type() != parser.ValueTypeString && mayHave(arg, label) })
}

func textOf(e parser.Expr) string {
	if s, ok := unwrapParen(e).(*parser.StringLiteral); ok {
		return s.Val
	}
	return ""
}

func unwrapParen(e parser.Expr) parser.Expr {
	if e == nil {
		return nil
	}
	return unwrap(e)
}

// Unused names the recordings of some groups that none of some expressions look at,
// directly or by way of others: they are not made.
func Unused(groups []Group, watched []*Expr) (out []string) {
	r := &Recorder{}
	r.Configure(groups, watched)
	for i, g := range groups {
		for _, one := range g.Rules {
			made := slices.ContainsFunc(r.groups[i].rules, func(rec *recording) bool { return rec.id() == (&recording{Recording: one}).id() })
			if !made {
				out = append(out, one.Name)
			}
		}
	}
	return out
}
