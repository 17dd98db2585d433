package series

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"grace"
)

// Rule says what the series are that it matches. Names of metrics and labels
// are compared with every character but letters, digits and ':' read as '_',
// so that OpenTelemetry's http.server.request.duration and service.name are
// http_server_request_duration and service_name.
type Rule struct {
	Metric    string            `json:"metric" doc:"name, with * for any text"`
	Labels    map[string]string `json:"labels" doc:"label: value, with * for any text, a|b for either, ! for not, empty for absent; all must hold"`
	Drop      bool              `json:"drop" doc:"pass the series over"`
	Service   string            `json:"service" doc:"name, with ${label} for a label's value; by default from service_labels"`
	Role      grace.Role        `json:"role" enum:"latency,errors,saturation,traffic,capacity" doc:"what the series says of the service"`
	As        string            `json:"as" doc:"another name for the metric, with ${label}"`
	Unit      string            `json:"unit" doc:"for people"`
	Direction Direction         `json:"direction" enum:"up,down" doc:"which way it gets worse"`
	Kind      Kind              `json:"kind" enum:"gauge,counter,delta,histogram" doc:"how its numbers are to be read, where the source does not say"`
}

// Validate names everything that is wrong with the rule.
func (r Rule) Validate() error {
	var errs []error
	if r.Metric == "" && len(r.Labels) == 0 {
		errs = append(errs, grace.Field("metric", "is missing, and labels too: the rule would take everything; write metric: \"*\" if that is meant"))
	}
	if !r.Role.Valid() {
		errs = append(errs, grace.Field("role", "unknown %q, want latency, errors, saturation, traffic or capacity", r.Role))
	}
	switch r.Direction {
	case DirectionNone, DirectionUp, DirectionDown:
	default:
		errs = append(errs, grace.Field("direction", "unknown %q, want up or down", r.Direction))
	}
	switch r.Kind {
	case KindUnknown, KindGauge, KindCounter, KindDelta, KindHistogram:
	default:
		errs = append(errs, grace.Field("kind", "unknown %q, want gauge, counter, delta or histogram", r.Kind))
	}
	errs = append(errs, grace.Under("service", checkTemplate(r.Service)), grace.Under("as", checkTemplate(r.As)))
	for name := range r.Labels {
		if name == "" {
			errs = append(errs, grace.Field("labels", "a name is empty"))
		}
	}
	if r.Drop && (r.Role != "" || r.Service != "" || r.As != "") {
		errs = append(errs, grace.Field("drop", "a series that is passed over has no role, service or other name"))
	}
	if !r.Drop && r.Role == "" && r.Service == "" && r.As == "" && r.Kind == "" {
		errs = append(errs, grace.Field("role", "is missing; give a role, or drop: true"))
	}
	return errors.Join(errs...)
}

func checkTemplate(text string) error {
	for rest := text; ; {
		_, after, found := strings.Cut(rest, "${")
		if !found {
			return nil
		}
		name, next, closed := strings.Cut(after, "}")
		if !closed || name == "" {
			return fmt.Errorf("%q: a ${label} is not closed or has no name", text)
		}
		rest = next
	}
}

// rules is a compiled list: the first that matches counts.
type rules struct {
	list  []rule
	exact map[string][]int // rules without * by metric, rising
	globs []int            // the others, rising
}

type rule struct {
	Rule
	labels []matcher
}

type matcher struct {
	name   string
	not    bool
	values []string
}

func compile(list []Rule) *rules {
	out := &rules{exact: map[string][]int{}}
	for i, r := range list {
		c := rule{Rule: r}
		c.Metric = normal(r.Metric)
		for name, value := range r.Labels {
			m := matcher{name: normal(name)}
			value, m.not = strings.CutPrefix(value, "!")
			m.values = strings.Split(value, "|")
			c.labels = append(c.labels, m)
		}
		slices.SortFunc(c.labels, func(a, b matcher) int { return strings.Compare(a.name, b.name) })
		out.list = append(out.list, c)
		if c.Metric != "" && !strings.Contains(c.Metric, "*") {
			out.exact[c.Metric] = append(out.exact[c.Metric], i)
		} else {
			out.globs = append(out.globs, i)
		}
	}
	return out
}

// match finds the first rule for a series with normal names.
func (rs *rules) match(metric string, labels map[string]string) *rule {
	best := -1
	for _, i := range rs.exact[metric] {
		if rs.list[i].holds(labels) {
			best = i
			break
		}
	}
	for _, i := range rs.globs {
		if best >= 0 && i > best {
			break
		}
		r := &rs.list[i]
		if (r.Metric == "" || glob(r.Metric, metric)) && r.holds(labels) {
			best = i
			break
		}
	}
	if best < 0 {
		return nil
	}
	return &rs.list[best]
}

func (r *rule) holds(labels map[string]string) bool {
	for _, m := range r.labels {
		value := labels[m.name]
		if slices.ContainsFunc(m.values, func(p string) bool { return glob(p, value) }) == m.not {
			return false
		}
	}
	return true
}

// glob compares text with a pattern in which * stands for any text.
func glob(pattern, text string) bool {
	head, rest, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == text
	}
	text, ok := strings.CutPrefix(text, head)
	for ok {
		head, next, more := strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(text, rest)
		}
		i := strings.Index(text, head)
		if i < 0 {
			return false
		}
		text, rest = text[i+len(head):], next
	}
	return false
}

// normal writes a name as Prometheus would. A '*' stays, for patterns.
func normal(name string) string {
	clean := func(c rune) bool {
		return c == '_' || c == ':' || c == '*' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
	}
	if strings.IndexFunc(name, func(c rune) bool { return !clean(c) }) < 0 {
		return name
	}
	return strings.Map(func(c rune) rune {
		if clean(c) {
			return c
		}
		return '_'
	}, name)
}

// expand puts labels into a template. It fails when one is not there.
func expand(template string, labels map[string]string) (string, bool) {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(template, "${")
		b.WriteString(before)
		if !found {
			return b.String(), true
		}
		name, rest, _ := strings.Cut(after, "}")
		value := labels[normal(name)]
		if value == "" {
			return "", false
		}
		b.WriteString(value)
		template = rest
	}
}
