package sense

import (
	"cmp"
	"errors"
	"hash/fnv"
	"maps"
	"math"
	"slices"
	"time"

	"grace"
	"grace/internal/annotation"
	"grace/internal/series"
)

// Objective is an expression of PromQL that says what is wrong: with every service of
// which it gives an element.
type Objective struct {
	Name         string          `json:"name" doc:"unique among the objectives of a service"`
	Service      grace.ServiceID `json:"service" doc:"whose it is; without it, the label service_label of each element names the service"`
	ServiceLabel string          `json:"service_label" doc:"the label that names the service, where service does not (default service)"`
	Expr         string          `json:"expr" doc:"PromQL over what the sensors measure. Where its outermost operator compares, what passes is seen too, and with <, <=, > and >= a breach is predicted, also where and and unless narrow that down"`
	Source       string          `json:"source" doc:"name of a promql sensor: expr is about the series of its Prometheus, which is asked for it, and not about those that GRACE keeps"`
	For          grace.Duration  `json:"for" doc:"how long an element must be there before it fires"`
	Code         grace.Code      `json:"code" doc:"what it is a symptom of"`
	Severity     grace.Severity  `json:"severity" enum:"info,warning,critical" doc:"default warning"`
	Unit         string          `json:"unit" doc:"of what is compared, for people"`
	Text         string          `json:"text" doc:"what people are told while it fires, with the templates of Prometheus' annotations" example:"\"{{ $labels.pod }} has {{ $value | humanizePercentage }} left\""`
	// KeepFiring is Prometheus' keep_firing_for.
	KeepFiring grace.Duration    `json:"keep_firing_for" doc:"how long it goes on firing after the last failure"`
	Interval   time.Duration     `json:"-"` // at which samples come; 0 is not known
	Resolve    []string          `json:"-"` // the labels by which the service of what a rule finds is resolved
	Labels     map[string]string `json:"-"` // of a rule of Prometheus; nil: it is none
}

// ID is what an objective is known by.
func (o *Objective) ID() string { return string(o.Service) + "/" + o.Name }

// Validate names everything that is wrong with the objective.
func (o Objective) Validate() error {
	_, err := validate(o.Name, o.Expr, o.Source, o.Code, o.Service, o.ServiceLabel)
	errs := []error{err}
	if o.For < 0 {
		errs = append(errs, grace.Field("for", "%s is negative", o.For))
	}
	if o.KeepFiring < 0 {
		errs = append(errs, grace.Field("keep_firing_for", "%s is negative", o.KeepFiring))
	}
	if err := annotation.Check(o.Text); err != nil {
		errs = append(errs, grace.Field("text", "%v", err))
	}
	if !o.Severity.Valid() {
		errs = append(errs, grace.Field("severity", "unknown %q, want info, warning or critical", o.Severity))
	}
	return errors.Join(errs...)
}

// objective is one with its expression, and the signals that it gives.
type objective struct {
	Objective

	expr    *series.Expr
	metrics []string // that the expression names
	entries map[grace.ServiceID]*entry
}

func compile(o Objective) *objective {
	o.ServiceLabel = cmp.Or(o.ServiceLabel, series.ServiceLabel)
	o.Severity = cmp.Or(o.Severity, grace.SeverityWarning)
	out := &objective{Objective: o, entries: map[grace.ServiceID]*entry{}}
	if out.expr, _ = series.CompileAt(o.Expr, o.Source); out.expr != nil { // Validate refuses it
		out.metrics = out.expr.Metrics()
	}
	return out
}

// metric is what signals are called after: the metric that the expression compares, or
// the objective that makes something else of what was measured.
func (o *objective) metric() string {
	if o.expr == nil {
		return o.Name
	}
	return cmp.Or(o.expr.Measured(), o.Name)
}

// of tells whose an element is; none when it does not say.
func (o *objective) of(e *series.Element) grace.ServiceID {
	return cmp.Or(e.Service, o.Service, grace.ServiceID(e.Labels[o.ServiceLabel]))
}

// failing is an element that fails.
type failing struct {
	since  time.Time // of the first of the samples that failed in a row
	newest time.Time
	count  int // of these
	labels map[string]string
	blind  bool // nothing was measured that shows it
}

// verdict is what the elements of one service say.
type verdict struct {
	element       *series.Element // that is told of: the worst
	fails         *failing        // nil when all pass
	newest        time.Time       // when the newest of what was measured was
	late          time.Time       // the same of what was measured too long ago to have a say
	total, failed int
}

// Judge takes what the expression of an objective gives, and gives the signals that
// changed, sorted by key. What rests on no newer sample than before is judged already.
func (a *Agent) Judge(id string, r series.Result) []grace.Signal {
	o := a.objectives[id]
	if o == nil {
		return nil
	}
	sensors := r.Sensors()
	by := map[grace.ServiceID][]*series.Element{}
	for i := range r.Elements {
		if service := o.of(&r.Elements[i]); service != "" {
			by[service] = append(by[service], &r.Elements[i])
		}
	}
	var changed []grace.Signal
	for _, service := range slices.Sorted(maps.Keys(by)) {
		e := a.entryOf(o, service)
		if e == nil {
			continue // there is no room
		}
		e.sensors, e.unmeasured = sensors, series.Unmeasured{}
		changed = a.conclude(e, a.judgeElements(e, by[service], &r), changed)
	}
	if e := o.entries[grace.CoreService]; e != nil && e.fault != "" && len(by[grace.CoreService]) == 0 {
		changed = append(changed, a.forget(e, "it can be evaluated again"))
	}
	presence := o.expr.Presence()
	idle := map[grace.ServiceID]bool{}
	for i := range r.Undefined {
		if e := &r.Undefined[i]; !presence && o.expr.Idle(e) {
			idle[o.of(e)] = true
		}
	}
	for _, service := range slices.Sorted(maps.Keys(o.entries)) {
		if len(by[service]) > 0 {
			continue
		}
		e := o.entries[service]
		e.sensors = sensors
		switch {
		case presence, idle[service] && e.calm(), e.noneYet(&r):
			changed = a.conclude(e, a.judgeNone(e, &r), changed) // what is not there passes, once something else was measured
		case e.unmeasured != r.Unmeasured:
			e.unmeasured = r.Unmeasured
			changed = append(changed, e.word(&a.cfg))
		}
	}
	return changed
}

// noneYet tells whether an objective gives nothing of a service because something has not happened
// yet; of what fires, because it has ended since it was seen here.
func (e *entry) noneYet(r *series.Result) bool {
	yet, ended := r.NoneYet(e.about(e.sig.Service))
	return yet && (e.held != grace.SignalFiring || ended && !e.judged.IsZero())
}

// calm tells whether nothing fails, as far as is known: then it is well that there is nothing
// to compare. But a sample that is no number shows nothing where there was no other before.
func (e *entry) calm() bool {
	seen := e.held == grace.SignalOK || e.held == grace.SignalUnknown && e.objective.expr.Measured() == ""
	return seen && e.fails == 0 && !e.seenElsewhere()
}

// about gives the labels by which the samples are found that bear on a service: of a
// rule those of the element that was reported last by which its service was resolved: its
// pod may be another one now.
func (e *entry) about(service grace.ServiceID) map[string]string {
	switch o := e.objective; {
	case o.Service != "":
		return nil
	case o.Labels == nil:
		return map[string]string{o.ServiceLabel: string(service)}
	}
	labels := e.reported
	if labels == nil {
		labels = e.sig.Labels // from before a restart
	}
	out := map[string]string{}
	for _, name := range e.objective.Resolve {
		if v := labels[name]; v != "" {
			out[name] = v
		}
	}
	return out
}

func (a *Agent) conclude(e *entry, changes bool, changed []grace.Signal) []grace.Signal {
	if changes {
		return append(changed, e.word(&a.cfg))
	}
	return e.answer(&a.cfg, changed)
}

// Failed takes that an objective could not be evaluated: its signals are stale, with the
// reason. One that finds its services by a label may have none: that is told of GRACE.
func (a *Agent) Failed(id string, at time.Time, why string) (changed []grace.Signal) {
	o := a.objectives[id]
	if o == nil {
		return nil
	}
	if o.Service == "" && o.entries[grace.CoreService] == nil {
		if e := a.entryOf(o, grace.CoreService); e != nil {
			e.sig.At = at // until now it could be
		}
	}
	for _, service := range slices.Sorted(maps.Keys(o.entries)) {
		e := o.entries[service]
		if e.blind(&a.cfg, &grace.Sample{At: at, Message: why}) {
			changed = append(changed, e.signal(&a.cfg))
		}
	}
	return changed
}

// judgeElements judges a service by what an objective gives of it.
func (a *Agent) judgeElements(e *entry, list []*series.Element, r *series.Result) bool {
	v := e.weigh(&a.cfg, list, r)
	if v.element == nil {
		return e.comesLate(v.late, r.At)
	}
	if !v.newest.After(e.sig.At) || a.late(e, v.newest) {
		return false
	}
	if v.fails == nil && e.lack != "" {
		return e.doubt(&a.cfg, v.newest)
	}
	e.arrive(&a.cfg, v.newest, v.element.Labels)
	e.reported = v.element.Labels
	e.sig.Value, e.sig.Threshold = finite(v.element.Value), finite(v.element.Threshold)
	e.total, e.failed = v.total, v.failed
	if v.fails == nil {
		e.judge(&a.cfg, false, v.newest, v.newest)
	} else {
		e.fails = v.fails.count - 1
		if e.held != grace.SignalFiring {
			e.breachSince = v.fails.since
		}
		e.judge(&a.cfg, true, v.newest, v.fails.newest)
	}
	return e.settle(&a.cfg, e.objective.Severity, v.newest)
}

// comesLate learns from what was measured too long ago to have a say how rarely it is, and how
// old it is when it comes. It says whether people are to be told that.
func (e *entry) comesLate(at, now time.Time) bool {
	if !at.After(notBefore(e.spaced, e.sig.At)) {
		return false
	}
	comes := !e.spaced.IsZero() // and is not what was there before
	e.space(at)
	told := e.lag > 0
	if comes {
		e.lag = now.Sub(at)
	}
	return comes && !told && (e.stale || e.held == grace.SignalUnknown)
}

// judgeNone judges a service of which an objective gives nothing, by what was measured
// last that bears on it.
func (a *Agent) judgeNone(e *entry, r *series.Result) bool {
	e.miss(map[uint64]*failing{}, r)
	newest := r.Newest(e.about(e.sig.Service))
	if !newest.After(e.sig.At) || a.late(e, newest) {
		return false
	}
	if e.lack != "" {
		return e.doubt(&a.cfg, newest)
	}
	e.arrive(&a.cfg, newest, nil)
	e.sig.Value, e.total, e.failed = 0, 0, 0
	e.judge(&a.cfg, false, newest, newest)
	return e.settle(&a.cfg, e.objective.Severity, newest)
}

// miss takes the elements that fail now. While the objective fires, those that do not any
// more stay, of which not all was measured since they did: what is missing may be what is wrong.
func (e *entry) miss(fail map[uint64]*failing, r *series.Result) {
	e.lack = ""
	for key, f := range e.failing {
		if fail[key] != nil || e.held != grace.SignalFiring {
			continue
		}
		if why := r.Lack(f.labels, f.newest); why != "" {
			fail[key] = f
			if e.lack == "" || why < e.lack {
				e.lack = why
			}
		}
	}
	e.failing = fail
}

// doubt notes that nothing is seen to fail any more of what fires, and not all is seen: that
// is no reason to act, and does not clear it.
func (e *entry) doubt(cfg *Config, at time.Time) bool {
	e.unconfirmed = true
	return e.settle(cfg, e.objective.Severity, at)
}

// weigh finds the worst of a service's elements: of those that fail the one that does
// for longest, else the one that is closest to it. What nobody measures any more, and
// has not ended, has no say; what was measured before a restart alone has the last.
func (e *entry) weigh(cfg *Config, list []*series.Element, r *series.Result) (v verdict) {
	seen := make(map[uint64]*failing, len(e.failing))
	for _, one := range list {
		at := one.Newest
		if at.IsZero() {
			if !one.Holds {
				continue // it rests on what has ended
			}
			at = r.At // that nothing is there cannot be measured
		}
		if r.At.Sub(at) > e.staleTimeout(cfg) {
			v.late = notBefore(v.late, at)
			continue
		}
		v.total++
		v.newest = notBefore(v.newest, at)
		if !one.Holds {
			if v.fails == nil && (v.element == nil || e.closer(one, v.element)) {
				v.element = one
			}
			continue
		}
		v.failed++
		key := fingerprint(one.Labels)
		f := e.failing[key]
		if f == nil && e.objective.expr.Presence() && !one.Newest.IsZero() && !at.After(e.sig.At) {
			continue // it was not there when this was judged
		}
		if f == nil || at.Sub(f.newest) > e.staleTimeout(cfg) {
			f = &failing{since: at, labels: one.Labels}
		}
		if f.count == 0 || at.After(f.newest) {
			f.count++
			f.newest = at
		}
		f.blind = one.Newest.IsZero() || one.Wanting
		seen[key] = f
		if v.fails == nil || e.worse(f, one, v.fails, v.element) {
			v.fails, v.element = f, one
		}
	}
	e.miss(seen, r)
	if v.fails != nil && v.fails.blind {
		blind := *v.fails
		blind.newest = time.Time{} // it is no evidence
		v.fails = &blind
	}
	return v
}

// worse tells whether an element that fails is to be told of rather than another.
func (e *entry) worse(f *failing, one *series.Element, than *failing, other *series.Element) bool {
	switch shown, was := f.shown(e.since), than.shown(e.since); {
	case shown != was:
		return shown
	case f.count != than.count:
		return f.count > than.count
	case !f.since.Equal(than.since):
		return f.since.Before(than.since)
	default:
		return e.closer(one, other)
	}
}

// shown tells whether it was measured after a time that it fails.
func (f *failing) shown(since time.Time) bool { return !f.blind && f.newest.After(since) }

// closer tells whether an element is further on the way to failing than another.
func (e *entry) closer(one, other *series.Element) bool {
	d, o := one.Value-one.Threshold, other.Value-other.Threshold
	if math.IsNaN(one.Threshold) {
		d, o = one.Value, other.Value
	}
	if e.objective.expr.Falls() {
		return d < o
	}
	return d > o
}

// finite bounds a number to those that can be written.
func finite(v float64) float64 {
	switch {
	case math.IsNaN(v):
		return 0
	case math.IsInf(v, 0):
		return math.Copysign(math.MaxFloat64, v)
	}
	return v
}

func fingerprint(labels map[string]string) uint64 {
	h := fnv.New64a()
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		_, _ = h.Write([]byte(name))
		_, _ = h.Write([]byte{0})
		_, _ = h.Write([]byte(labels[name]))
		_, _ = h.Write([]byte{0})
	}
	return h.Sum64()
}

// entryOf finds or makes the signal of an objective for a service; nil when there is
// no room.
func (a *Agent) entryOf(o *objective, service grace.ServiceID) *entry {
	if e := o.entries[service]; e != nil {
		return e
	}
	key := objectiveKey(&o.Objective, service)
	e := a.entries[key]
	if e == nil {
		if len(a.entries) >= a.cfg.MaxSeries {
			a.dropped++
			return nil
		}
		e = &entry{sig: grace.Signal{Key: key, Service: service, Kind: grace.SignalObjective, Configured: true, Severity: o.Severity}}
		a.add(e)
	}
	e.kind, e.objective, e.expected, e.interval = kindObjective, o, true, o.Interval
	// A new severity is told with the next sample, as a change.
	e.sig.Kind, e.sig.Configured, e.sig.Sensor, e.sig.Metric, e.sig.Code, e.sig.Unit = grace.SignalObjective, true, o.Source, o.metric(), o.Code, o.Unit
	o.entries[service] = e
	return e
}

func objectiveKey(o *Objective, service grace.ServiceID) grace.SignalKey {
	return probeKey(service, objectiveSensor, o.Name)
}
