package series

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"grace"
)

// Expr is an expression of PromQL. Of an objective it says when something is wrong, of
// a check when it is well: for every element that it gives. Where its outermost operator
// compares, what does not pass it is known too, and how far that is from the threshold.
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
	sparse      bool   // what is compared is not there where all is well
	wants       bool   // it may hold for want of a part, see pick
	unlike      string // why it cannot be foretold
	filters     bool   // what holds of nothing gives no element
	scalar      bool   // it makes numbers of vectors: none where there is not one element
	picks       []pick
	remote      *Remote // of one that looks at the series of a source
	measured    string  // of such a one, see Measured
}

// pick is a selector of an expression, with how far back it looks, in ms.
type pick struct {
	matchers []*labels.Matcher
	text     string // the matchers
	back     int64
	reach    int64 // of its range; 0 for what is looked at as it is now
	past     bool  // it looks at nothing of now
	// vetoes: it stands on the right of unless. What it does not find because it was not
	// measured is no reason that an element is there.
	vetoes bool
	// low: it is compared so that that is wrong when it is low.
	low bool
	// counts: it is what was counted in its range, which is low where that was not seen whole; but
	// not of a ratio, whose sides are.
	counts bool
	// wants: it is made a sum, a count or the like, or something else stands for it, and compared
	// so that that is wrong when it is low: it may be so only because a part of it was not measured.
	wants bool
	// says is the selector as people write it; empty for the elements of a source's answer
	// beside which it is known what the source's selectors find.
	says string
	// named picks what it names, which shows that it is not misspelt; nothing where it names no
	// metric.
	named []*labels.Matcher
	// needed: without it nothing is found; spare: that it is not there may be as it should.
	needed, spare bool
	// rises: what it finds makes the comparison hold where there is much of it, and never where
	// there is none.
	rises bool
}

// Lookback is how old a sample may be that stands for now.
const Lookback = 5 * time.Minute

// Parser gives the parser of the language, as expressions are read.
func Parser() parser.Parser {
	return parser.NewParser(parser.Options{EnableExperimentalFunctions: true, EnableBinopFillModifiers: true, EnableUnquotedUTF8Names: true})
}

// Compile reads an expression. Its error says where it is wrong.
func Compile(text string) (*Expr, error) { return read(text, (*Expr).compare) }

// read reads an expression, and has its comparison taken apart.
func read(text string, apart func(*Expr, parser.Expr)) (*Expr, error) {
	parsed, err := Parser().ParseExpr(text)
	if err != nil {
		if now := Renamed(err.Error()); now != "" {
			return nil, fmt.Errorf("not PromQL, at %w; %s", err, now)
		}
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
	apart(e, parsed)
	e.filters = filters(parsed)
	e.pick(parsed, nil)
	e.names()
	e.wants = slices.ContainsFunc(e.picks, func(p pick) bool { return p.wants })
	return e, nil
}

// Renamed says of what the parser does not know what its name is now; empty for all else.
func Renamed(wrong string) string {
	if strings.Contains(wrong, `unknown function with name "holt_winters"`) {
		return "it is called double_exponential_smoothing since Prometheus 3"
	}
	return ""
}

// String gives the expression as it was written.
func (e *Expr) String() string { return e.text }

// Unpredictable says why the expression cannot be foretold; empty when it can.
func (e *Expr) Unpredictable() string { return e.unlike }

// Falls tells whether what is compared is wrong when it is low.
func (e *Expr) Falls() bool { return e.op == parser.LSS || e.op == parser.LTE }

// Filters tells whether the expression gives an element only of what holds, as a
// comparison does, or what is made of one.
func (e *Expr) Filters() bool { return e.filters }

// Now tells whether some selector looks at now.
func (e *Expr) Now() bool {
	return slices.ContainsFunc(e.picks, func(p pick) bool { return !p.past })
}

// Op gives the comparison; empty for none.
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

// filters tells whether an expression gives nothing where nothing holds.
func filters(node parser.Node) bool {
	switch n := node.(type) {
	case *parser.BinaryExpr:
		switch {
		case n.Op.IsComparisonOperator(), n.Op == parser.LUNLESS:
			return !n.ReturnBool
		case n.Op == parser.LOR:
			return filters(n.LHS) && filters(n.RHS)
		case filled(n):
			return false
		}
	case *parser.Call:
		switch n.Func.Name {
		case "absent", "absent_over_time":
			return true
		case "scalar", "vector":
			return false
		}
	}
	for child := range parser.ChildrenIter(node) {
		if filters(child) {
			return true
		}
	}
	return false
}

// filled tells whether one side of an operator may be missing.
func filled(n *parser.BinaryExpr) bool {
	return n.VectorMatching != nil && (n.VectorMatching.FillValues.LHS != nil || n.VectorMatching.FillValues.RHS != nil)
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
	if c, ok := node.(*parser.Call); ok && c.Func.Name == "scalar" {
		e.scalar = true
	}
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
	p.says, p.needed = p.selector(), true
	back := v.OriginalOffset
	p.past = back > 0 || v.Timestamp != nil
	path = append(slices.Clip(path), v)
	low, high := false, false // a comparison above holds of what is low, or high
	divides, joins, ratio := false, false, false
	for i, above := range path {
		switch above := above.(type) {
		case *parser.BinaryExpr:
			right := path[i+1] == above.RHS
			p.vetoes = p.vetoes || above.Op == parser.LUNLESS && right
			low, high = low || lower(above.Op, right), high || lower(above.Op, !right)
			p.wants = p.wants || low && (filled(above) || above.Op == parser.LOR && !right)
			p.needed = p.needed && above.Op != parser.LOR && !filled(above)
			ratio = ratio || above.Op == parser.DIV
			switch {
			case above.Op == parser.SUB && right:
				low, high = high, low
			case above.Op == parser.DIV && right:
				divides = !divides
			}
			joins = joins || above.VectorMatching != nil && (above.VectorMatching.Card == parser.CardManyToOne && right || above.VectorMatching.Card == parser.CardOneToMany && !right)
		case *parser.UnaryExpr:
			if above.Op == parser.SUB {
				low, high = high, low
			}
		case *parser.AggregateExpr:
			p.wants = p.wants || low && above.Op != parser.MIN && above.Op != parser.BOTTOMK
		case *parser.Call:
			p.spare = p.spare || strings.HasPrefix(above.Func.Name, "absent")
			joins = joins || above.Func.Name == "abs"
			p.counts = p.counts || slices.Contains([]string{"rate", "increase", "count_over_time", "sum_over_time"}, above.Func.Name)
		case *parser.MatrixSelector:
			p.reach = above.Range.Milliseconds()
			back += above.Range
		case *parser.SubqueryExpr:
			back += above.Range + above.OriginalOffset
			p.past = p.past || above.OriginalOffset > 0 || above.Timestamp != nil
		}
	}
	p.back = max(back, 0).Milliseconds() + Lookback.Milliseconds()
	p.spare = p.spare || p.vetoes
	p.needed = p.needed && !p.spare
	p.low, p.counts = low, p.counts && p.reach > 0 && !ratio
	if divides {
		low, high = high, low
	}
	p.rises = high && !low && !joins
	return p
}

// lower tells whether a comparison may hold because one of its sides is lower than it is.
func lower(op parser.ItemType, right bool) bool {
	if right {
		op = mirrored(op)
	}
	return op == parser.LSS || op == parser.LTE || op == parser.EQLC || op == parser.NEQ
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

// Named is a metric that an expression names, and whose: empty where it does not say.
type Named struct {
	Metric  string
	Service grace.ServiceID
}

// Named gives the metrics that the expression names, each with its service.
func (e *Expr) Named() (out []Named) {
	for _, p := range e.picks {
		one := Named{nameOf(p.matchers), grace.ServiceID(equals(p.matchers, ServiceLabel))}
		if one.Metric != "" && !slices.Contains(out, one) {
			out = append(out, one)
		}
	}
	return out
}

// Without gives the expression with selectors that leave out what they ask of a label
// with this part: they pick whatever it may stand for.
func (e *Expr) Without(part string) *Expr {
	out := *e
	out.picks = nil
	for _, p := range e.picks {
		p.matchers = slices.DeleteFunc(slices.Clone(p.matchers), func(m *labels.Matcher) bool { return strings.Contains(m.Value, part) })
		if p.text = matchersText(p.matchers); nameOf(p.matchers) != "" {
			out.picks = append(out.picks, p)
		}
	}
	return &out
}

// Presence tells that only what is there says something, as where nothing is compared: what
// is not there may be well, since one of the sides filters.
func (e *Expr) Presence() bool { return e.op == 0 || e.sparse }

// Measured is the metric that the expression compares as it was measured; empty where it
// makes something else of what was.
func (e *Expr) Measured() string {
	if e.remote != nil {
		return e.measured
	}
	if len(e.picks) != 1 || !e.plain {
		return ""
	}
	return nameOf(e.picks[0].matchers)
}

// Selectors writes what picks the expression's series.
func (e *Expr) Selectors() []string {
	out := make([]string, len(e.picks))
	for i, p := range e.picks {
		out[i] = p.selector()
	}
	return out
}

// selector writes what picks the series, as people do.
func (p *pick) selector() string {
	name := nameOf(p.matchers)
	if !model.LegacyValidation.IsValidMetricName(name) {
		return "{" + p.text + "}"
	}
	rest := slices.DeleteFunc(slices.Clone(p.matchers), func(m *labels.Matcher) bool { return m.Name == MetricLabel })
	if len(rest) == 0 {
		return name
	}
	return name + "{" + matchersText(rest) + "}"
}
