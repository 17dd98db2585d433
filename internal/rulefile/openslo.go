package rulefile

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// openSLO reads an object of OpenSLO (https://openslo.com) of kind SLO.
func (r *sloReader) openSLO(n *yaml.Node) {
	spec := key(n, "spec")
	s := SLO{
		Place: placeOf(n), Service: text(key(spec, "service")), Name: text(key(key(n, "metadata"), "name")),
		Description: text(key(spec, "description")),
	}
	objectives := key(spec, "objectives")
	if objectives == nil || len(objectives.Content) == 0 {
		r.add(Problem{Place: s.Place, Group: s.Service, Rule: s.Name, Message: "it has no objectives"})
		return
	}
	for i, objective := range objectives.Content {
		objective = resolved(objective)
		one := s
		one.Place = placeOf(objective)
		if len(objectives.Content) > 1 {
			one.Name += "-" + strconv.Itoa(i+1)
		}
		ratio, ok := r.indicator(spec, objective, &one)
		if !ok || !r.ratio(&one, ratio) {
			continue
		}
		if target := key(objective, "target"); target != nil {
			r.accept(one, target, 1)
		} else {
			r.accept(one, key(objective, "targetPercent"), 100)
		}
	}
}

// indicator finds what an objective counts: its own (composite SLOs, and the first
// versions of OpenSLO), or that of the SLO.
func (r *sloReader) indicator(spec, objective *yaml.Node, s *SLO) (*yaml.Node, bool) {
	if old := key(objective, "ratioMetrics"); old != nil {
		return old, true
	}
	for _, from := range []*yaml.Node{objective, spec} {
		body := key(key(from, "indicator"), "spec")
		if name := text(key(from, "indicatorRef")); name != "" {
			known := r.indicators[name]
			if known == nil {
				r.add(Problem{Place: placeOf(key(from, "indicatorRef")), Group: s.Service, Rule: s.Name, Message: "there is no SLI " + strconv.Quote(name) + " in this file", Hint: "put the SLI into the same file"})
				return nil, false
			}
			body = key(known, "spec")
		}
		if body == nil {
			continue
		}
		if ratio := key(body, "ratioMetric"); ratio != nil {
			return ratio, true
		}
		r.add(Problem{Place: placeOf(body), Group: s.Service, Rule: s.Name, Message: "it has no ratioMetric", Hint: "of a thresholdMetric make an objective: {name: ..., expr: '... > 0.3', code: ...}"})
		return nil, false
	}
	r.add(Problem{Place: s.Place, Group: s.Service, Rule: s.Name, Message: "it has no indicator with a ratioMetric"})
	return nil, false
}

// ratio reads bad or good, and total.
func (r *sloReader) ratio(s *SLO, ratio *yaml.Node) bool {
	counters, ok := r.truth(s, ratio, "counter", "incremental")
	if !ok {
		return false
	}
	if raw := key(ratio, "raw"); raw != nil {
		q, ok := r.wanted(s, source(raw), "query of raw", false)
		if text(key(ratio, "rawType")) != "failure" {
			q = each(q, q, func(q, _ string) string { return "1 - (" + q + ")" })
		}
		s.Bad, s.All = fromRatio(q)
		return ok && r.prometheus(s, raw)
	}
	total := key(ratio, "total")
	all, ok := r.wanted(s, source(total), "query of total", counters)
	if !ok || !r.prometheus(s, total) {
		return false
	}
	s.All = all
	if bad := key(ratio, "bad"); bad != nil {
		q, ok := r.wanted(s, source(bad), "query of bad", counters)
		s.Bad = fromBad(q, all)
		return ok && r.prometheus(s, bad)
	}
	q, ok := r.wanted(s, source(key(ratio, "good")), "query of good or bad", counters)
	s.Bad = fromGood(q, all)
	return ok && r.prometheus(s, key(ratio, "good"))
}

// truth reads a key that is true or false, under any of its names; without it, false.
func (r *sloReader) truth(s *SLO, n *yaml.Node, names ...string) (is, ok bool) {
	at := either(n, names...)
	if at == nil {
		return false, true
	}
	if err := at.Decode(&is); err != nil {
		r.add(Problem{Place: placeOf(at), Group: s.Service, Rule: s.Name, Message: fmt.Sprintf("%s: %q is neither true nor false", names[0], at.Value)})
		return false, false
	}
	return is, true
}

// source gives the query of a metric.
func source(metric *yaml.Node) *yaml.Node {
	if q := key(key(key(metric, "metricSource"), "spec"), "query"); q != nil {
		return q
	}
	return key(metric, "query")
}

// prometheus refuses what another system is to be asked.
func (r *sloReader) prometheus(s *SLO, metric *yaml.Node) bool {
	at := key(key(metric, "metricSource"), "type")
	if at == nil {
		at = key(metric, "source")
	}
	if at == nil || strings.EqualFold(at.Value, "prometheus") {
		return true
	}
	r.add(Problem{Place: placeOf(at), Group: s.Service, Rule: s.Name, Message: "its source is " + strconv.Quote(at.Value), Hint: "only queries of Prometheus can be evaluated here"})
	return false
}
