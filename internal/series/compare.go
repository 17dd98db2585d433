package series

import (
	"math"
	"slices"

	"github.com/prometheus/prometheus/promql/parser"
)

// compare takes the outermost comparison apart.
func (e *Expr) compare(parsed parser.Expr) {
	outer, ok := unwrap(parsed).(*parser.BinaryExpr)
	switch {
	case !ok || !outer.Op.IsComparisonOperator():
		e.unlike = "its outermost operator is no comparison"
		return
	case outer.ReturnBool:
		e.unlike = "with bool it gives an element whatever the outcome"
		return
	case outer.Op == parser.EQLC || outer.Op == parser.NEQ:
		e.unlike = "it compares with " + outer.Op.String() + ": nothing comes closer to that"
	}
	left, right := outer.LHS, outer.RHS
	e.op, e.sparse = outer.Op, filters(left) || filters(right)
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

// narrow takes a comparison apart that and and unless narrow down: what they leave of it is
// compared. It is left whole where that cannot be foretold.
func (e *Expr) narrow(parsed parser.Expr) {
	var by []*parser.BinaryExpr // the innermost first
	compared := parsed
	for {
		n, ok := unwrap(compared).(*parser.BinaryExpr)
		if !ok || n.Op != parser.LAND && n.Op != parser.LUNLESS {
			break
		}
		by, compared = slices.Insert(by, 0, n), n.LHS
	}
	if len(by) == 0 {
		e.compare(parsed)
		return
	}
	one := Expr{text: e.text}
	if one.compare(compared); one.unlike != "" {
		e.unlike = one.unlike
		return
	}
	value, _ := Parser().ParseExpr(one.value) // of what has been read
	for _, n := range by {
		value = &parser.BinaryExpr{Op: n.Op, LHS: &parser.ParenExpr{Expr: value}, RHS: n.RHS, VectorMatching: n.VectorMatching}
	}
	one.value, one.sparse, one.plain = value.String(), true, false
	*e = one
}

// nothing is 0 for every element, also for those that are infinite, or no number.
func nothing(of parser.Expr) parser.Expr {
	return &parser.BinaryExpr{Op: parser.GTR, LHS: of, RHS: &parser.NumberLiteral{Val: math.Inf(1)}, ReturnBool: true}
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
	case parser.GTE:
		return parser.LTE
	default:
		return op
	}
}
