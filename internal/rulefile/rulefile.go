// Package rulefile reads what people already have: files of alerting and recording rules
// as Prometheus loads them, the same wrapped in Kubernetes objects (PrometheusRule), and
// service level objectives in the words of OpenSLO and Sloth, which become such rules.
//
//	bytes ─ [Read] ───> File{Groups{Rules}} ┐
//	bytes ─ [ReadSLOs] ─> SLO ─ Group ──────┴─> Recordings, alerting rules
//
// Rules are held to what Prometheus' own reader holds them to, and must be evaluable here.
// Nothing stops at the first mistake: each is a [Problem] with its place.
package rulefile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Place is where something stands in its file, from 1.
type Place struct{ Line, Column int }

// Problem is something that is wrong with a file.
type Problem struct {
	Place

	Group, Rule   string // that it is wrong with; empty where it is none's
	Message, Hint string
}

// String gives "group g, rule R: message".
func (p Problem) String() string {
	var b strings.Builder
	if p.Group != "" {
		b.WriteString("group " + p.Group)
		if p.Rule != "" {
			b.WriteString(", rule " + p.Rule)
		}
		b.WriteString(": ")
	}
	return b.String() + p.Message
}

// File is what a file holds.
type File struct {
	Groups []Group
	Others []string // kinds of Kubernetes objects in it that hold no rules
}

// Group is rules that are evaluated one after the other.
type Group struct {
	Place

	Name     string
	Interval time.Duration // 0: as configured
	Offset   time.Duration // how far in the past it is evaluated
	Limit    int           // elements that a rule may give; 0: any number
	Rules    []Rule
}

// Rule is an alerting or a recording rule.
type Rule struct {
	Place

	Alert, Record   string // one of them is its name
	Expr            string
	ExprAt          Place
	For, KeepFiring time.Duration
	Labels          map[string]string // its group's too
	Annotations     map[string]string
	Code            string // what it is a symptom of, where nobody says otherwise
}

// Text is what people are told by the annotations.
func (r *Rule) Text() string {
	var parts []string
	for _, name := range []string{"summary", "description", "message"} {
		if text := strings.TrimSpace(r.Annotations[name]); text != "" && len(parts) < 2 {
			parts = append(parts, text)
		}
	}
	return strings.Join(parts, ": ")
}

// reader gathers what is in a file.
type reader struct {
	lines    []string
	problems []Problem
	depth    int // of lists in lists
}

// items visits what a list holds. One that holds itself has an end.
func (r *reader) items(list *yaml.Node, visit func(*yaml.Node)) {
	if r.depth++; r.depth <= 8 {
		for _, item := range list.Content {
			visit(resolved(item))
		}
	}
	r.depth--
}

func (r *reader) add(p Problem) {
	p.Line, p.Column = max(p.Line, 1), max(p.Column, 1)
	r.problems = append(r.problems, p)
}

func placeOf(n *yaml.Node) Place { return Place{n.Line, n.Column} }

// Read reads a file of rules.
func Read(data []byte) (File, []Problem) {
	var out File
	r := &reader{lines: strings.Split(string(data), "\n")}
	for _, doc := range r.documents(data) {
		r.document(doc, &out)
	}
	return out, r.problems
}

// documents gives the roots of a file's documents.
func (r *reader) documents(data []byte) (out []*yaml.Node) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var doc yaml.Node
		switch err := dec.Decode(&doc); {
		case errors.Is(err, io.EOF):
			return out
		case err != nil:
			r.malformed(err, Place{}, "", "")
			return out
		case len(doc.Content) > 0 && doc.Content[0].Tag != "!!null":
			out = append(out, doc.Content[0])
		}
	}
}

// lineOf finds where a YAML error says that it is.
var lineOf = regexp.MustCompile(`(?:yaml: )?line (\d+): `)

// malformed reports what YAML says, each complaint at its line.
func (r *reader) malformed(err error, at Place, group, rule string) {
	texts := []string{err.Error()}
	if typed, ok := errors.AsType[*yaml.TypeError](err); ok {
		texts = typed.Errors
	}
	for _, text := range texts {
		p := Problem{Place: at, Group: group, Rule: rule}
		if m := lineOf.FindStringSubmatchIndex(text); m != nil {
			p.Line, _ = strconv.Atoi(text[m[2]:m[3]])
			p.Column = 1
			text = text[:m[0]] + text[m[1]:]
		}
		p.Message = strings.TrimPrefix(text, "yaml: ")
		if group == "" {
			p.Message, p.Hint = "not YAML: "+p.Message, "what follows was not looked at; templates (Helm, Jsonnet) are to be rendered first"
		}
		r.add(p)
	}
}

// key gives the value of a key, nil for none.
func key(n *yaml.Node, name string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return resolved(n.Content[i+1])
		}
	}
	return nil
}

func resolved(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func text(n *yaml.Node) string {
	if n == nil {
		return ""
	}
	return n.Value
}

// document reads one document, or object of a list.
func (r *reader) document(n *yaml.Node, out *File) {
	kind := text(key(n, "kind"))
	switch {
	case n.Kind == yaml.SequenceNode:
		r.items(n, func(item *yaml.Node) { r.document(item, out) })
	case kind == "PrometheusRule":
		if groups := key(key(n, "spec"), "groups"); groups != nil {
			r.groups(groups, out)
		}
	case kind != "" && key(n, "items") != nil:
		r.items(key(n, "items"), func(item *yaml.Node) { r.document(item, out) })
	case n.Kind == yaml.MappingNode && len(n.Content) == 0: // an empty file is one, too
	case kind != "" && key(n, "apiVersion") != nil:
		out.Others = append(out.Others, kind)
	case key(n, "groups") != nil:
		r.keys(n, "", "groups", "namespace") // mimirtool's
		r.groups(key(n, "groups"), out)
	default:
		r.add(Problem{Place: placeOf(n), Message: "holds no rules", Hint: "want groups:, as Prometheus' rule files have it, or kind: PrometheusRule with spec.groups"})
	}
}

// keys refuses keys that nobody knows: a rule whose for is misspelt would fire at once.
func (r *reader) keys(n *yaml.Node, group string, known ...string) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		found := k.Value == "<<"
		for _, name := range known {
			found = found || k.Value == name
		}
		if !found {
			r.add(Problem{Place: placeOf(k), Group: group, Message: fmt.Sprintf("unknown key %q", k.Value), Hint: "known: " + strings.Join(known, ", ")})
		}
	}
}
