package rulefile

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"go.yaml.in/yaml/v3"

	"grace/internal/series"
)

// groups reads a list of groups.
func (r *reader) groups(list *yaml.Node, out *File) {
	if list.Kind != yaml.SequenceNode {
		if list.Tag != "!!null" {
			r.add(Problem{Place: placeOf(list), Message: "groups is no list", Hint: "want groups: [{name: ..., rules: [...]}]"})
		}
		return
	}
	names := map[string]int{}
	for _, n := range list.Content {
		n = resolved(n)
		g, ok := r.group(n)
		if !ok {
			continue
		}
		if line, twice := names[g.Name]; twice {
			r.add(Problem{Place: g.Place, Group: g.Name, Message: fmt.Sprintf("a group of this name is in line %d already", line), Hint: "rename one of the two"})
		}
		names[g.Name] = g.Line
		out.Groups = append(out.Groups, g)
	}
}

func (r *reader) group(n *yaml.Node) (g Group, ok bool) {
	g.Place, g.Name = placeOf(n), text(key(n, "name"))
	if n.Kind != yaml.MappingNode || g.Name == "" {
		r.add(Problem{Place: g.Place, Message: "a group without a name", Hint: "want {name: ..., rules: [...]}"})
		return g, false
	}
	r.keys(n, g.Name, "name", "interval", "query_offset", "limit", "labels", "rules", "partial_response_strategy") // the last is Thanos'
	var head rulefmt.RuleGroup
	if err := headOf(n).Decode(&head); err != nil {
		r.malformed(err, g.Place, g.Name, "")
		return g, false
	}
	g.Interval, g.Limit = duration(head.Interval), head.Limit
	if head.QueryOffset != nil {
		g.Offset = duration(*head.QueryOffset)
	}
	for name, value := range head.Labels {
		if !model.UTF8Validation.IsValidLabelName(name) || name == model.MetricNameLabel || !model.LabelValue(value).IsValid() {
			r.add(Problem{Place: placeOf(key(n, "labels")), Group: g.Name, Message: fmt.Sprintf("the label %q is not valid", name)})
		}
	}
	rules := key(n, "rules")
	if rules == nil || rules.Kind != yaml.SequenceNode {
		return g, true
	}
	for _, one := range rules.Content {
		if rule, ok := r.rule(resolved(one), g.Name); ok {
			rule.Labels = merged(head.Labels, rule.Labels)
			g.Rules = append(g.Rules, rule)
		}
	}
	return g, true
}

// headOf is a group without its rules, which are read one by one.
func headOf(n *yaml.Node) *yaml.Node {
	head := *n
	head.Content = nil
	for i := 0; i+1 < len(n.Content); i += 2 {
		if k := n.Content[i].Value; k != "rules" && k != "partial_response_strategy" {
			head.Content = append(head.Content, n.Content[i], n.Content[i+1])
		}
	}
	return &head
}

func merged(group, rule map[string]string) map[string]string {
	out := make(map[string]string, len(group)+len(rule))
	maps.Copy(out, group)
	maps.Copy(out, rule)
	return out
}

// rule reads a rule, and has Prometheus look at it.
func (r *reader) rule(n *yaml.Node, group string) (out Rule, ok bool) {
	name := cmp.Or(text(key(n, "alert")), text(key(n, "record")))
	if n.Kind != yaml.MappingNode {
		r.add(Problem{Place: placeOf(n), Group: group, Message: "is no rule", Hint: "want {alert: NAME, expr: ...} or {record: NAME, expr: ...}"})
		return out, false
	}
	before := len(r.problems)
	r.keys(n, group, "alert", "record", "expr", "for", "keep_firing_for", "labels", "annotations")
	var rule rulefmt.Rule
	var places rulefmt.RuleNode
	if err := n.Decode(&rule); err != nil {
		r.malformed(err, placeOf(n), group, name)
		return out, false
	}
	if err := n.Decode(&places); err != nil {
		r.malformed(err, placeOf(n), group, name)
		return out, false
	}
	out = Rule{
		Place: placeOf(n), Alert: rule.Alert, Record: rule.Record, Expr: strings.TrimSpace(rule.Expr), ExprAt: placeOf(&places.Expr),
		For: duration(rule.For), KeepFiring: duration(rule.KeepFiringFor), Labels: rule.Labels, Annotations: rule.Annotations,
	}
	for _, wrong := range rule.Validate(places, model.UTF8Validation, series.Parser()) {
		r.wrong(wrong.Error(), out.Place, &places.Expr, group, name)
	}
	if len(r.problems) == before {
		if _, err := series.Compile(out.Expr); err != nil {
			r.add(Problem{Place: out.ExprAt, Group: group, Rule: name, Message: err.Error()})
		}
	}
	return out, len(r.problems) == before
}

var (
	nodePlace  = regexp.MustCompile(`^(\d+):(\d+): (?:\d+:\d+: )?`)
	parsePlace = regexp.MustCompile(`^could not parse expression: (\d+):(\d+): (?:parse error: )?`)
)

// wrong reports what Prometheus finds wrong with a rule, where that is.
func (r *reader) wrong(message string, at Place, expr *yaml.Node, group, rule string) {
	p := Problem{Place: at, Group: group, Rule: rule}
	if m := nodePlace.FindStringSubmatch(message); m != nil {
		if line, _ := strconv.Atoi(m[1]); line > 0 {
			p.Line = line
			p.Column, _ = strconv.Atoi(m[2])
		}
		message = message[len(m[0]):]
	}
	if m := parsePlace.FindStringSubmatch(message); m != nil {
		line, _ := strconv.Atoi(m[1])
		column, _ := strconv.Atoi(m[2])
		p.Place = r.within(expr, line, column)
		message = "not PromQL: " + message[len(m[0]):]
		if strings.Contains(message, "unknown function") {
			p.Hint = cmp.Or(series.Renamed(message), "it is of a newer Prometheus, or of another system (MetricsQL): write the rule without it, or leave its file out")
		}
	}
	p.Message = message
	r.add(p)
}

// within finds a place of a text in its file.
func (r *reader) within(n *yaml.Node, line, column int) Place {
	at := placeOf(n)
	switch {
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 && at.Line < len(r.lines):
		first := r.lines[at.Line]
		indent := len(first) - len(strings.TrimLeft(first, " "))
		if n.Style&yaml.FoldedStyle != 0 {
			return Place{at.Line + 1, indent + 1} // its lines are one
		}
		return Place{at.Line + line, indent + column}
	case line > 1:
		return at
	case n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0:
		column++
	}
	return Place{at.Line, at.Column + column - 1}
}

func duration(d model.Duration) time.Duration { return time.Duration(d) }
