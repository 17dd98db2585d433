package rulefile

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"

	"grace/internal/series"
)

// SLO is a service level objective: a share of events that may be bad.
type SLO struct {
	Place

	Service, Name string
	Target        float64 // share of events that are to be good, 0.999
	Bad, All      counted
	Labels        map[string]string
	Description   string
}

// ID tells it from others.
func (s *SLO) ID() string { return s.Service + "/" + s.Name }

// counted is PromQL that counts events a second, over short and over long; the latter is
// empty where the range is not ours to choose.
type counted struct{ short, long string }

// The ranges over which events are counted. An hour is counted by itself, so that an
// outage is told of within a minute. Longer windows are averages of what was recorded over
// the short one: so that the raw series need not be kept for days.
const (
	short = "5m"
	long  = "1h"
)

// burnWindow is a pair of windows in which a budget burns too fast: the long one says that
// it matters, the short one that it still goes on.
type burnWindow struct {
	long, short string
	rate        float64 // times as fast as it may for the budget to last 30 days
	severity    string
}

// burnWindows are those of the Site Reliability Workbook (Beyer et al., O'Reilly 2018),
// chapter 5, table 5-8, and a slower one between.
func burnWindows() []burnWindow {
	return []burnWindow{
		{long, short, 14.4, "critical"},
		{"6h", "30m", 6, "critical"},
		{"1d", "2h", 3, "warning"},
		{"3d", "6h", 1, "warning"},
	}
}

// Names of the series that are recorded of every SLO, with the range at their end and the
// label slo.
const (
	badSeries = "slo:events_bad:rate"
	allSeries = "slo:events:rate"
	sloLabel  = "slo"
)

// sloCode is what a budget that burns is a symptom of, unless somebody says otherwise.
const sloCode = "elevated_errors"

// Group gives the recording rules of an SLO, and an alerting rule for each of its windows.
func (s *SLO) Group(interval time.Duration) Group {
	labels := map[string]string{}
	maps.Copy(labels, s.Labels)
	labels["service"], labels[sloLabel] = s.Service, s.ID()
	g := Group{Place: s.Place, Name: "slo/" + s.ID(), Interval: interval}
	record := func(name, expr string) {
		if expr != "" {
			g.Rules = append(g.Rules, Rule{Place: s.Place, ExprAt: s.Place, Record: name, Expr: expr, Labels: labels})
		}
	}
	record(allSeries+short, s.All.short)
	record(badSeries+short, s.Bad.short)
	record(allSeries+long, s.All.long)
	record(badSeries+long, s.Bad.long)
	budget := strconv.FormatFloat(100*s.Target, 'f', -1, 64)
	for _, w := range burnWindows() {
		own := maps.Clone(labels)
		own["severity"] = w.severity
		rule := Rule{
			Place: s.Place, ExprAt: s.Place, Alert: s.Name + "-burn-" + w.long, Labels: own, Code: sloCode,
			Annotations: map[string]string{"summary": fmt.Sprintf(
				"the error budget of %s (%s %% good) burns {{ $value | humanize }} times faster than it may, over %s and over %s", s.ID(), budget, w.long, w.short)},
		}
		if s.Description != "" {
			rule.Annotations["description"] = strings.ReplaceAll(s.Description, "{{", "{ {")
		}
		// The lower of both windows: what passes is seen, too, and can be foretold.
		all, now := s.burn(w.long), s.burn(w.short)
		rule.Expr = fmt.Sprintf("((%s < %s) or (%s and %s)) > %s", all, now, now, all, strconv.FormatFloat(w.rate, 'f', -1, 64))
		g.Rules = append(g.Rules, rule)
	}
	return g
}

// burn is how many times faster than it may the budget burns over a window.
func (s *SLO) burn(window string) string {
	quotient := func(of func(series string) string) string {
		return fmt.Sprintf("%s / %s / %s", of(badSeries), of(allSeries), strconv.FormatFloat(1-s.Target, 'g', 6, 64))
	}
	recorded := func(over string) func(string) string {
		return func(series string) string { return fmt.Sprintf("%s%s{%s=%q}", series, over, sloLabel, s.ID()) }
	}
	averaged := quotient(func(series string) string { return "avg_over_time(" + recorded(short)(series) + "[" + window + "])" })
	switch {
	case window == short:
		return quotient(recorded(short))
	case window == long && s.Bad.long != "":
		// An error that is new counts over an hour only once it was seen for a while.
		return "(" + quotient(recorded(long)) + " or " + averaged + ")"
	}
	return averaged
}

// each makes one count of two.
func each(a, b counted, of func(a, b string) string) (out counted) {
	out.short = of(a.short, b.short)
	if a.long != "" && b.long != "" {
		out.long = of(a.long, b.long)
	}
	return out
}

// fromBad counts bad events, fromGood all that are not good. Where there is nothing of a
// kind yet, that is none: an error that never happened has no series.
func fromBad(bad, all counted) counted {
	return each(bad, all, func(bad, all string) string { return fmt.Sprintf("clamp_min(%s, 0)", orNone(bad, all)) })
}

func fromGood(good, all counted) counted {
	return each(good, all, func(good, all string) string {
		return fmt.Sprintf("clamp_min((%s) - (%s), 0)", all, orNone(good, all))
	})
}

func orNone(some, all string) string {
	return fmt.Sprintf("(%s) or (0 * (%s) unless on () (%s))", some, all, some)
}

// fromRatio has only the share of events that are bad: every moment counts alike.
func fromRatio(ratio counted) (bad, all counted) {
	bad = each(ratio, ratio, func(ratio, _ string) string { return fmt.Sprintf("(%s) >= 0", ratio) })
	return bad, each(ratio, ratio, func(ratio, _ string) string { return fmt.Sprintf("0 * ((%s) >= 0) + 1", ratio) })
}

// windowVariable is where Sloth wants the range of a query.
var windowVariable = regexp.MustCompile(`\{\{-?\s*\.window\s*-?\}\}`)

// count makes a query one over each of the ranges.
func count(text string, counters bool) (out counted, err error) {
	chosen := windowVariable.MatchString(text)
	for _, c := range []struct {
		window string
		to     *string
	}{{short, &out.short}, {long, &out.long}} {
		parsed, err := series.Parser().ParseExpr(windowVariable.ReplaceAllLiteralString(text, c.window))
		if err != nil {
			return out, fmt.Errorf("not PromQL, at %w", err)
		}
		if t := parsed.Type(); t != parser.ValueTypeVector && t != parser.ValueTypeScalar {
			return out, fmt.Errorf("it yields a %s: want numbers", t)
		}
		if counters && !ranged(parsed) {
			window, _ := model.ParseDuration(c.window)
			parsed, chosen = rated(parsed, duration(window)), true
		}
		*c.to = parsed.String()
	}
	if !chosen {
		out.long = ""
	}
	return out, nil
}

// ranged tells whether an expression looks at ranges.
func ranged(e parser.Expr) (found bool) {
	parser.Inspect(e, func(n parser.Node, _ []parser.Node) error {
		switch n.(type) {
		case *parser.MatrixSelector, *parser.SubqueryExpr:
			found = true
		}
		return nil
	})
	return found
}

// rated takes the rates of the counters that an expression looks at: the sum of rates, not
// the rate of a sum, in which a counter that began anew is lost.
func rated(e parser.Expr, window time.Duration) parser.Expr {
	switch e := e.(type) {
	case *parser.VectorSelector:
		return &parser.Call{Func: parser.Functions["rate"], Args: parser.Expressions{&parser.MatrixSelector{VectorSelector: e, Range: window}}}
	case *parser.AggregateExpr:
		e.Expr = rated(e.Expr, window)
	case *parser.BinaryExpr:
		e.LHS, e.RHS = rated(e.LHS, window), rated(e.RHS, window)
	case *parser.ParenExpr:
		e.Expr = rated(e.Expr, window)
	case *parser.UnaryExpr:
		e.Expr = rated(e.Expr, window)
	case *parser.Call:
		for i := range e.Args {
			e.Args[i] = rated(e.Args[i], window)
		}
	}
	return e
}

// ReadSLOs reads a file of service level objectives.
func ReadSLOs(data []byte) ([]SLO, []Problem) {
	r := &sloReader{reader: reader{lines: strings.Split(string(data), "\n")}, indicators: map[string]*yaml.Node{}}
	docs := r.documents(data)
	for _, doc := range docs {
		r.collect(doc)
	}
	for _, doc := range docs {
		r.document(doc)
	}
	for i := range r.problems {
		p := &r.problems[i]
		p.Hint = cmp.Or(p.Hint, "want an SLO as OpenSLO v1 or Sloth has it, with queries of Prometheus")
	}
	return r.out, r.problems
}

// sloReader gathers the SLOs of a file.
type sloReader struct {
	reader

	indicators map[string]*yaml.Node // OpenSLO's of kind SLI, by name
	out        []SLO
}

// collect finds what SLOs refer to.
func (r *sloReader) collect(n *yaml.Node) {
	if n.Kind == yaml.SequenceNode {
		r.items(n, r.collect)
	} else if text(key(n, "kind")) == "SLI" {
		r.indicators[text(key(key(n, "metadata"), "name"))] = n
	}
}

func (r *sloReader) document(n *yaml.Node) {
	kind, version := text(key(n, "kind")), text(key(n, "apiVersion"))
	switch {
	case n.Kind == yaml.SequenceNode:
		r.items(n, r.document)
	case kind == "PrometheusServiceLevel":
		r.sloth(key(n, "spec"))
	case key(n, "slos") != nil && kind == "":
		r.sloth(n)
	case kind == "SLO" && strings.HasPrefix(version, "openslo/"):
		r.openSLO(n)
	case kind != "" && version != "" && !misspelt(kind): // a Service, an SLI, an AlertPolicy
	default:
		r.add(Problem{Place: placeOf(n), Message: "holds no service level objectives", Hint: "want apiVersion: openslo/v1 and kind: SLO, or Sloth's service: and slos:"})
	}
}

// misspelt tells whether a kind is that of SLOs, but for capitals and a plural: none that is
// meant may be passed over.
func misspelt(kind string) bool {
	kind = strings.TrimSuffix(strings.ToLower(kind), "s")
	return kind == "slo" || kind == "prometheusservicelevel"
}

// accept takes an SLO that is whole.
func (r *sloReader) accept(s SLO, target *yaml.Node, whole float64) {
	v, err := strconv.ParseFloat(text(target), 64)
	at := s.Place
	if target != nil {
		at = placeOf(target)
	}
	least := math.Floor(whole / 100) // 0.999 is none in percent
	switch s.Target = v / whole; {
	case s.Service == "" || s.Name == "":
		r.add(Problem{Place: s.Place, Message: "an SLO without a service or a name"})
	case err != nil || !(v > least && v < whole): // also when it is no number
		r.add(Problem{Place: at, Rule: s.Name, Group: s.Service, Message: fmt.Sprintf("%q is no target", text(target)), Hint: fmt.Sprintf("want more than %g and less than %g, for example %g", least, whole, 0.999*whole)})
	default:
		r.out = append(r.out, s)
	}
}

// wanted reads a query of an SLO, and says what is wrong with it.
func (r *sloReader) wanted(s *SLO, n *yaml.Node, what string, counters bool) (counted, bool) {
	if text(n) == "" {
		r.add(Problem{Place: s.Place, Group: s.Service, Rule: s.Name, Message: "it has no " + what})
		return counted{}, false
	}
	q, err := count(n.Value, counters)
	if err != nil {
		r.add(Problem{Place: placeOf(n), Group: s.Service, Rule: s.Name, Message: fmt.Sprintf("%s: %v", what, err), Hint: "want PromQL, with {{.window}} for its range where GRACE is to choose that"})
		return counted{}, false
	}
	return q, true
}
