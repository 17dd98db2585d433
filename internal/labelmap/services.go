package labelmap

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"grace"
)

// maxName bounds the name of a service, in characters.
const maxName = 200

// Services resolves what rules find to services: by the first rule that matches, else by a
// label, else by one that usually names a service where what it names is declared.
type Services struct {
	Label    string   // that names the service
	Fallback []string // labels that may, tried in this order
	Rules    *Map
	Declared func(grace.ServiceID) bool
}

// Labels names the labels by which a service may be found.
func (s *Services) Labels() []string {
	out := append([]string{s.Label}, s.Fallback...)
	for _, r := range s.Rules.rules {
		out = slices.AppendSeq(out, maps.Keys(r.Match))
		names, _ := labelsIn(string(r.Service))
		out = append(out, names...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Of tells whose labels are, and whether that service is declared. It is GRACE's own
// where they name none: that something is wrong must not be lost.
func (s *Services) Of(labels map[string]string) (id grace.ServiceID, declared bool) {
	found, _ := s.Rules.Find(labels)
	name := grace.Printable(strings.TrimSpace(cmp.Or(found.Service, labels[s.Label])))
	id = grace.ServiceID(name)
	switch {
	case name == "":
	case id.Core() || utf8.RuneCountInString(name) > maxName:
		return grace.CoreService, false
	default:
		return id, s.Declared(id)
	}
	for _, label := range s.Fallback {
		if id := grace.ServiceID(labels[label]); id != "" && !id.Core() && s.Declared(id) {
			return id, true
		}
	}
	return grace.CoreService, false
}
