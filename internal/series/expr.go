package series

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// Expr is an expression of PromQL that says when something is wrong: for every
// element that it gives. Where its outermost operator compares with <, <=, > or >=,
// what passes is known too, and how far it is from the threshold.
type Expr struct {
	text  string
	op    parser.ItemType // of the comparison; 0 for none
	value string          // gives what is compared, for what fails and what passes
	// limit gives what it is compared with: a number. Where that is another for each
	// element, each gives it instead, with the labels of the elements.
	limit, each string
	bound       float64 // what limit is, if that is constant
	constant    bool
	plain       bool   // value is what a selector picks, as it is now, and the limit constant
	unlike      string // why it cannot be foretold
	picks       []pick
}

// pick is a selector of an expression, with how far back it looks, in ms.
type pick struct {
	matchers []*labels.Matcher
	text     string // the matchers
	back     int64
	reach    int64 // of its range; 0 for what is looked at as it is now
}

// Lookback is how old a sample may be that stands for now.
const Lookback = 5 * time.Minute

func newParser() parser.Parser {
	return parser.NewParser(parser.Options{EnableExperimentalFunctions: true, EnableBinopFillModifiers: true, EnableUnquotedUTF8Names: true})
}

// Compile reads an expression. Its error says where it is wrong.
func Compile(text string) (*Expr, error) {
	parsed, err := newParser().ParseExpr(text)
	if err != nil {
		return nil, fmt.Errorf("not PromQL, at %w", err)
	}
	switch parsed.Type() {
	case parser.ValueTypeVector, parser.ValueTypeScalar:
	case parser.ValueTypeString:
		return nil, errors.New("a text: want numbers")
	default:
		return nil, errors.New("a range of samples: want numbers, such as max_over_time() of it")
	}
	e := &Expr{text: text, value: text}
	e.compare(parsed)
	e.pick(parsed, nil)
	return e, nil
}

// String gives the expression as it was written.
func (e *Expr) String() string { return e.text }

// Unpredictable says why the expression cannot be foretold; empty when it can.
func (e *Expr) Unpredictable() string { return e.unlike }

// Falls tells whether what is compared is wrong when it is low.
func (e *Expr) Falls() bool { return e.op == parser.LSS || e.op == parser.LTE }

// Op gives the comparison: <, <=, > or >=; empty for none.
func (e *Expr) Op() string {
	if e.op == 0 {
		return ""
	}
	return e.op.String()
}

// Value gives the expression of what is compared: the left side, as a rule.
func (e *Expr) Value() string { return e.value }

// Threshold gives what is compared with, where that is always the same number.
func (e *Expr) Threshold() (float64, bool) { return e.bound, e.constant }

// compare takes the outermost comparison apart.
func (e *Expr) compare(parsed parser.Expr) {
	outer, ok := unwrap(parsed).(*parser.BinaryExpr)
	switch {
	case !ok || !outer.Op.IsComparisonOperator():
		e.unlike = "its outermost operator is no comparison"
		return
	case outer.Op == parser.EQLC || outer.Op == parser.NEQ:
		e.unlike = "it compares with " + outer.Op.String() + ": nothing comes closer to that"
		return
	case outer.ReturnBool:
		e.unlike = "with bool it gives an element whatever the outcome"
		return
	}
	left, right := outer.LHS, outer.RHS
	e.op = outer.Op
	switch {
	case right.Type() == parser.ValueTypeScalar && left.Type() == parser.ValueTypeVector:
		e.value, e.limit = left.String(), right.String()
		e.bounded(right, left)
	case left.Type() == parser.ValueTypeScalar && right.Type() == parser.ValueTypeVector:
		e.value, e.limit, e.op = right.String(), left.String(), mirrored(e.op)
		e.bounded(left, right)
	default:
		// Both sides of an element are what the same matching gives of them.
		how, zero := *outer.VectorMatching, 0.0
		if how.FillValues.RHS != nil {
			how.FillValues.RHS = &zero
		}
		e.value = joined(left, nothing(right), how).String()
		how = *outer.VectorMatching
		if how.FillValues.LHS != nil {
			how.FillValues.LHS = &zero
		}
		e.each = joined(nothing(left), right, how).String()
	}
}

// nothing is 0 for every element, also for those that are infinite.
func nothing(of parser.Expr) parser.Expr {
	number := func(v float64) parser.Expr { return &parser.NumberLiteral{Val: v} }
	finite := &parser.Call{Func: parser.Functions["clamp"], Args: parser.Expressions{of, number(-1), number(1)}}
	return &parser.BinaryExpr{Op: parser.MUL, LHS: number(0), RHS: finite}
}

// bounded reads a threshold that is a number.
func (e *Expr) bounded(limit, value parser.Expr) {
	sign := 1.0
	limit = unwrap(limit)
	if u, ok := limit.(*parser.UnaryExpr); ok && u.Op == parser.SUB {
		limit, sign = unwrap(u.Expr), -1
	}
	if n, ok := limit.(*parser.NumberLiteral); ok {
		e.bound, e.constant = sign*n.Val, true
	}
	v, ok := unwrap(value).(*parser.VectorSelector)
	e.plain = ok && e.constant && !math.IsNaN(e.bound) && v.OriginalOffset == 0 && v.Timestamp == nil && v.StartOrEnd == 0
}

func joined(left, right parser.Expr, how parser.VectorMatching) parser.Expr {
	return &parser.BinaryExpr{Op: parser.ADD, LHS: &parser.ParenExpr{Expr: left}, RHS: &parser.ParenExpr{Expr: right}, VectorMatching: &how}
}

func mirrored(op parser.ItemType) parser.ItemType {
	switch op {
	case parser.LSS:
		return parser.GTR
	case parser.LTE:
		return parser.GTE
	case parser.GTR:
		return parser.LSS
	default:
		return parser.LTE
	}
}

func unwrap(e parser.Expr) parser.Expr {
	for {
		p, ok := e.(*parser.ParenExpr)
		if !ok {
			return e
		}
		e = p.Expr
	}
}

// pick finds what series the expression looks at, and how far back.
func (e *Expr) pick(node parser.Node, path []parser.Node) {
	if v, ok := node.(*parser.VectorSelector); ok {
		e.picks = append(e.picks, picked(v, path))
		return
	}
	path = append(path, node)
	for child := range parser.ChildrenIter(node) {
		e.pick(child, path)
	}
}

func picked(v *parser.VectorSelector, path []parser.Node) pick {
	p := pick{matchers: v.LabelMatchers, text: matchersText(v.LabelMatchers)}
	back := v.OriginalOffset
	for _, above := range path {
		switch above := above.(type) {
		case *parser.MatrixSelector:
			p.reach = above.Range.Milliseconds()
			back += above.Range
		case *parser.SubqueryExpr:
			back += above.Range + above.OriginalOffset
		}
	}
	p.back = max(back, 0).Milliseconds() + Lookback.Milliseconds()
	return p
}

// Metrics names the metrics that the expression looks at, as far as it names them.
func (e *Expr) Metrics() []string {
	var out []string
	for _, p := range e.picks {
		if name := nameOf(p.matchers); name != "" && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// Selectors writes what picks the expression's series.
func (e *Expr) Selectors() []string {
	out := make([]string, len(e.picks))
	for i, p := range e.picks {
		out[i] = "{" + p.text + "}"
	}
	return out
}
