package rulefile

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// sloth reads a service with its SLOs, as Sloth (https://sloth.dev) has it, from a file or
// from a Kubernetes object, whose keys are written otherwise.
func (r *sloReader) sloth(n *yaml.Node) {
	service := text(key(n, "service"))
	list := key(n, "slos")
	if list == nil {
		return
	}
	common := labelsOf(key(n, "labels"))
	for _, one := range list.Content {
		one = resolved(one)
		s := SLO{
			Place: placeOf(one), Service: service, Name: text(key(one, "name")),
			Labels: merged(common, labelsOf(key(one, "labels"))), Description: text(key(one, "description")),
		}
		if r.slothIndicator(&s, key(one, "sli")) {
			r.accept(s, key(one, "objective"), 100)
		}
	}
}

func (r *sloReader) slothIndicator(s *SLO, sli *yaml.Node) bool {
	if raw := key(sli, "raw"); raw != nil {
		q, ok := r.wanted(s, either(raw, "error_ratio_query", "errorRatioQuery"), "error_ratio_query", false)
		s.Bad, s.All = fromRatio(q)
		return ok
	}
	events := key(sli, "events")
	if events == nil {
		hint := "want sli: {events: {error_query: ..., total_query: ...}}, or {raw: {error_ratio_query: ...}}"
		if key(sli, "plugin") != nil {
			hint = "plugins are not run here: write the queries out; " + hint
		}
		r.add(Problem{Place: s.Place, Group: s.Service, Rule: s.Name, Message: "its sli has no events", Hint: hint})
		return false
	}
	bad, okBad := r.wanted(s, either(events, "error_query", "errorQuery"), "error_query", false)
	all, okAll := r.wanted(s, either(events, "total_query", "totalQuery"), "total_query", false)
	s.Bad, s.All = fromBad(bad, all), all
	return okBad && okAll
}

func either(n *yaml.Node, names ...string) *yaml.Node {
	for _, name := range names {
		if v := key(n, name); v != nil {
			return v
		}
	}
	return nil
}

// labelsOf reads labels that are texts; those of no valid name are left out.
func labelsOf(n *yaml.Node) map[string]string {
	out := map[string]string{}
	if n == nil || n.Kind != yaml.MappingNode {
		return out
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if v := resolved(n.Content[i+1]); v.Kind == yaml.ScalarNode && n.Content[i].Value != "" && !strings.Contains(v.Value, "{{") {
			out[n.Content[i].Value] = v.Value
		}
	}
	return out
}
