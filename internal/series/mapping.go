package series

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"grace"
)

// mapped is what the rules make of the labels of a series.
type mapped struct {
	reason Reason // Taken, or why it is not forecast
	kind   Kind
	series Series
}

// ServiceFallbacks are labels that name a service, but only one that is declared: a job
// may be anything.
func ServiceFallbacks() []string {
	return []string{"job", "app", "app_kubernetes_io_name", "k8s_deployment_name", "deployment", "container"}
}

// mapper leads labels to what is forecast.
type mapper struct {
	cfg   Config
	rules *rules
	known func(grace.ServiceID) bool
}

func newMapper(cfg Config, o Options) *mapper {
	list := slices.Clone(cfg.Rules)
	if !cfg.NoDefaultRules {
		list = append(list, DefaultRules()...)
	}
	m := &mapper{cfg: cfg, rules: compile(list), known: o.Known}
	if m.known == nil {
		m.known = func(grace.ServiceID) bool { return false }
	}
	return m
}

func (m *mapper) resolve(list []label, meta Meta) mapped {
	labels := make(map[string]string, len(list))
	for _, l := range list {
		labels[normal(string(l.name))] = string(l.value)
	}
	name := normal(labels[MetricLabel])
	delete(labels, MetricLabel)
	r := m.rules.match(name, labels)
	if r == nil && (meta.Kind == KindCounter || meta.Kind == KindDelta) && !strings.HasSuffix(name, "_total") {
		// OpenTelemetry's counters say what they are by their kind, not their name.
		r = m.rules.match(name+"_total", labels)
	}
	out := m.shape(name, r, labels, meta)
	service, ok := m.service(r, labels)
	out.series.Service = service
	switch {
	case r != nil && r.Drop:
		out.reason = Unmapped
	case !ok:
		out.reason = UnknownService
	case out.kind == KindHistogram, !m.cfg.KeepUnmapped && (r == nil || r.Role == grace.RoleNone):
		out.reason = Unmapped
	}
	return out
}

// service finds whose series it is.
func (m *mapper) service(r *rule, labels map[string]string) (grace.ServiceID, bool) {
	if r != nil && r.Service != "" {
		name, ok := expand(r.Service, labels)
		return grace.ServiceID(name), ok && name != ""
	}
	for _, l := range m.cfg.ServiceLabels {
		if v := labels[normal(l)]; v != "" {
			return grace.ServiceID(v), true
		}
	}
	for _, l := range ServiceFallbacks() {
		v := labels[l]
		if v != "" && m.known(grace.ServiceID(v)) {
			return grace.ServiceID(v), true
		}
		// OpenTelemetry's job is namespace/name.
		if _, last, ok := strings.Cut(v, "/"); ok && m.known(grace.ServiceID(last)) {
			return grace.ServiceID(last), true
		}
	}
	return "", false
}

// shape finds how the numbers are to be read, and what is forecast.
func (m *mapper) shape(name string, r *rule, labels map[string]string, meta Meta) mapped {
	out := mapped{kind: meta.Kind}
	base, s := name, Series{Unit: meta.Unit}
	if len(s.Unit) > maxUnit || strings.ContainsFunc(s.Unit, unicode.IsControl) {
		s.Unit = "" // as good as none, and it goes into every record
	}
	if r != nil {
		s.Role, s.Direction = r.Role, r.Direction
		if r.Unit != "" {
			s.Unit = r.Unit
		}
		if out.kind == KindUnknown {
			out.kind = r.Kind
		}
	}
	if labels["le"] != "" && strings.HasSuffix(name, "_bucket") && out.kind != KindGauge {
		out.kind = KindHistogram // a part of one, which says nothing by itself
	}
	if out.kind == KindUnknown {
		out.kind = kindOf(name)
	}
	counts := out.kind == KindCounter || out.kind == KindDelta
	if counts {
		if strings.HasSuffix(base, "_count") {
			s.Unit = "" // the unit is of what is counted
		} else if s.Unit == "" {
			s.Unit = unitOf(strings.TrimSuffix(base, "_total"))
		}
		base = strings.TrimSuffix(strings.TrimSuffix(base, "_total"), "_count")
	}
	if q, ok := labels["quantile"]; ok && out.kind == KindGauge {
		if v, err := strconv.ParseFloat(q, 64); err == nil {
			base += "_p" + strings.Replace(strconv.FormatFloat(v*100, 'f', -1, 64), ".", "_", 1)
			delete(labels, "quantile")
		}
	}
	named := false
	if r != nil && r.As != "" {
		if as, ok := expand(r.As, labels); ok {
			base, named = as, true
		}
	}
	if s.Kind, s.Metric, s.Labels = out.kind, base, m.rest(labels); s.Unit == "" && out.kind == KindGauge {
		s.Unit = unitOf(base)
	}
	if counts {
		if !named {
			s.Metric += "_rate"
		}
		s.Unit += "/s"
	}
	out.series = s
	return out
}

// maxUnit bounds a unit in bytes.
const maxUnit = 32

func kindOf(name string) Kind {
	for _, ending := range []string{"_total", "_count", "_sum", "_bucket"} {
		if strings.HasSuffix(name, ending) {
			return KindCounter
		}
	}
	return KindGauge
}

// unitOf reads the unit from a name, as Prometheus' conventions put it there.
func unitOf(name string) string {
	for ending, unit := range map[string]string{
		"_seconds": "s", "_milliseconds": "ms", "_ms": "ms", "_bytes": "By", "_ratio": "1", "_percent": "%", "_celsius": "Cel",
	} {
		if strings.HasSuffix(name, ending) {
			return unit
		}
	}
	return ""
}

// rest writes the labels that do not already tell the service.
func (m *mapper) rest(labels map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		if slices.ContainsFunc(m.cfg.ServiceLabels, func(l string) bool { return normal(l) == name }) {
			continue
		}
		if b.Len() == 0 {
			b.WriteByte('{')
		} else {
			b.WriteByte(',')
		}
		b.WriteString(name)
		b.WriteByte('=')
		b.WriteString(strconv.Quote(labels[name]))
	}
	if b.Len() > 0 {
		b.WriteByte('}')
	}
	return b.String()
}
