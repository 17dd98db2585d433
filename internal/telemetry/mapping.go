package telemetry

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"grace"
)

// outputs of a histogram, in this order.
const (
	outP50 = iota
	outP95
	outP99
	outRate
	histogramOutputs
)

// mapped is what the rules made of the labels of a series.
type mapped struct {
	reason  Reason // Taken, or why it is passed over
	kind    Kind
	bucket  bool    // one bucket of a histogram with a series for each
	le      float64 // its upper bound
	outputs []Series
	wanted  bool
}

// fallbacks name a service, but only one that is declared: a job may be
// anything.
func fallbacks() []string {
	return []string{"job", "app", "app_kubernetes_io_name", "k8s_deployment_name", "deployment", "container"}
}

// mapper leads labels to series.
type mapper struct {
	cfg    Config
	rules  *rules
	known  func(grace.ServiceID) bool
	wanted func(grace.ServiceID, string) bool
}

func newMapper(cfg Config, o Options) *mapper {
	list := slices.Clone(cfg.Rules)
	if !cfg.NoDefaultRules {
		list = append(list, DefaultRules()...)
	}
	m := &mapper{cfg: cfg, rules: compile(list), known: o.Known, wanted: o.Wanted}
	if m.known == nil {
		m.known = func(grace.ServiceID) bool { return false }
	}
	if m.wanted == nil {
		m.wanted = func(grace.ServiceID, string) bool { return false }
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
	if r != nil && r.Drop {
		return mapped{reason: Unmapped}
	}
	service, ok := m.service(r, labels)
	if !ok {
		return mapped{reason: UnknownService}
	}
	out := m.shape(name, r, labels, meta)
	for i := range out.outputs {
		s := &out.outputs[i]
		s.Service = service
		out.wanted = out.wanted || m.wanted(service, s.Metric)
	}
	if !out.wanted && !m.cfg.KeepUnmapped && (r == nil || r.Role == grace.RoleNone) {
		return mapped{reason: Unmapped}
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
	for _, l := range fallbacks() {
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

// shape finds how the numbers are to be read, and what comes out.
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
	le, bucket := labels["le"]
	if bucket && strings.HasSuffix(name, "_bucket") && out.kind != KindGauge {
		bound, err := strconv.ParseFloat(le, 64)
		if err != nil || bound != bound {
			out.reason = BadLabels
			return out
		}
		out.kind, out.bucket, out.le = KindHistogram, true, bound
		delete(labels, "le")
		base = strings.TrimSuffix(name, "_bucket")
	}
	if out.kind == KindUnknown {
		out.kind = kindOf(name)
	}
	if out.kind == KindCounter || out.kind == KindDelta {
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
	if r != nil && r.As != "" {
		if as, ok := expand(r.As, labels); ok {
			base = as
		}
	}
	s.Kind, s.Labels = out.kind, m.rest(labels)
	if s.Unit == "" && (out.kind == KindGauge || out.kind == KindHistogram) {
		s.Unit = unitOf(base)
	}
	out.outputs = outputs(base, s, r != nil && r.As != "")
	if out.kind == KindHistogram {
		m.rate(name, &out, labels)
	}
	return out
}

// rate gives the rate of a histogram the role that its _count has. With a
// series for each bucket there is a _count of its own.
func (m *mapper) rate(name string, out *mapped, labels map[string]string) {
	if out.bucket {
		out.outputs = out.outputs[:outRate]
		return
	}
	s := &out.outputs[outRate]
	s.Role, s.Direction, s.Unit = grace.RoleTraffic, DirectionNone, "/s"
	if r := m.rules.match(name+"_count", labels); r != nil && !r.Drop {
		s.Role, s.Direction = r.Role, r.Direction
	}
}

// maxUnit bounds a unit in bytes.
const maxUnit = 32

func outputs(base string, s Series, named bool) []Series {
	s.Metric = base
	switch s.Kind {
	case KindHistogram:
		all := [histogramOutputs]Series{s, s, s, s}
		for i, ending := range [histogramOutputs]string{"_p50", "_p95", "_p99", "_rate"} {
			all[i].Metric += ending
		}
		return all[:]
	case KindCounter, KindDelta:
		if !named {
			s.Metric += "_rate"
		}
		s.Unit += "/s"
	case KindUnknown, KindGauge:
	}
	return []Series{s}
}

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
