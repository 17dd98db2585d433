package config

import (
	"maps"
	"slices"
	"strings"

	"grace"
	"grace/internal/series"
	"grace/sensor/probe"
)

// builtinCodes are those that the rules of diagnosis know.
func builtinCodes() []string {
	return texts(grace.CodeServiceDown, grace.CodeLatencySpike, grace.CodeElevatedErrors, grace.CodeCapacity, grace.CodeCacheCold,
		grace.CodeCircuitBreakerOpen, grace.CodeFlagIssue, grace.CodeDegradation, grace.CodeInvestigation)
}

// builtinAliases are other names of these.
func builtinAliases() []string { return []string{"degraded", "CB_open"} }

// codes finds diagnosis codes that nobody treats, and triggers that nothing
// raises. Codes are free text, so what it finds are warnings.
type codes struct {
	*checker

	treated []string     // built-in codes and the triggers of playbooks
	raised  []string     // built-in codes and those of sensors, objectives, limits and alerts
	bare    []*untreated // services of which something is raised that no playbook treats
}

// untreated are codes of a service for which no playbook is bound.
type untreated struct {
	at      spot // of the first
	service grace.ServiceID
	codes   []string
	could   []string // playbooks that would treat them
}

func (c *checker) checkCodes() {
	x := &codes{checker: c, treated: builtinCodes(), raised: builtinCodes()}
	for _, p := range c.playbooks {
		x.treated = append(x.treated, texts(p.Triggers...)...)
	}
	for i, s := range c.file.Sensors {
		code := s.Code
		if code == "" && s.Type != "promql" {
			code = grace.CodeServiceDown
		}
		x.code(c.root.key("sensors").item(i).key("code"), s.Service, code)
	}
	for i, o := range c.file.Objectives {
		x.code(c.root.key("objectives").item(i).key("code"), o.Service, o.Code)
	}
	for i, l := range c.file.Limits {
		x.code(c.root.key("limits").item(i).key("code"), l.Service, l.Code)
	}
	for i, r := range c.file.Alertmanager.Map {
		service := r.Service
		if strings.Contains(string(service), "${") {
			service = ""
		}
		if !strings.Contains(string(r.Code), "${") {
			x.code(c.root.key("alertmanager").key("map").item(i).key("code"), service, r.Code)
		}
	}
	for _, f := range c.rules {
		for _, r := range f.alerts {
			x.rule(c.root.key(f.named), r)
		}
	}
	x.warnUntreated()
	c.treated = x.treated
	for i, p := range c.file.Trust.Policies {
		at := c.root.key("trust").key("policies").item(i).key("conditions").key("code")
		if at.given() {
			eachName(at, p.Conditions.Code, func(at spot, code grace.Code) { x.known(at, code) })
		}
	}
	for _, w := range c.written {
		eachName(w.at.key("triggers"), w.Triggers, x.trigger)
		x.replaced(w)
	}
}

// known tells whether any playbook treats a code, and warns if none does.
func (x *codes) known(at spot, code grace.Code) bool {
	if code == "" || at.failed() || slices.Contains(x.treated, string(code)) {
		return true
	}
	at.warn(didYouMean(string(code), slices.Compact(slices.Sorted(slices.Values(x.treated)))),
		"no playbook treats the code %s: GRACE would tell people, and do nothing", quote(string(code)))
	return false
}

// code looks at one that something raises about a service.
func (x *codes) code(at spot, service grace.ServiceID, code grace.Code) {
	x.raised = append(x.raised, string(code))
	s, declared := x.services[service]
	if !x.known(at, code) || code == "" || !declared || x.domains(service) || at.failed() {
		return
	}
	var could []string
	for _, id := range slices.Sorted(maps.Keys(x.playbooks)) {
		p := x.playbooks[id]
		if !slices.Contains(p.Triggers, code) {
			continue
		}
		if _, bound := s.Bindings[id]; bound {
			return // whatever is wrong with it is said there
		}
		if _, ok := p.Bind(s); ok {
			return
		}
		could = append(could, string(id))
	}
	n := slices.IndexFunc(x.bare, func(u *untreated) bool { return u.service == service })
	if n < 0 {
		x.bare = append(x.bare, &untreated{at: at, service: service})
		n = len(x.bare) - 1
	}
	u := x.bare[n]
	if !slices.Contains(u.codes, string(code)) {
		u.codes, u.could = append(u.codes, string(code)), append(u.could, could...)
	}
}

// rule looks at the code of a rule whose service is known beforehand. Codes that nobody
// treats at all are told of by their file.
func (x *codes) rule(at spot, r *alertRule) {
	id, declared := x.resolver.Of(r.labels)
	if code := r.objective.Code; declared && code != grace.CodeInvestigation && slices.Contains(x.treated, string(code)) {
		x.code(at, id, code)
	} else {
		x.raised = append(x.raised, string(code))
	}
}

// warnUntreated says it once a service.
func (x *codes) warnUntreated() {
	for _, u := range x.bare {
		hint := "add it to the triggers of a playbook"
		if could := slices.Compact(slices.Sorted(slices.Values(u.could))); len(could) > 0 {
			hint = "give " + string(u.service) + " a binding: bindings: {" + could[0] + ": {steps: ..., verify: ...}}"
			if len(could) > 1 {
				hint += ", or of " + strings.Join(could[1:], ", ")
			}
		}
		u.at.warn(hint+"; or leave it so if a person is to act", "no playbook that is bound to %s treats %s: GRACE would tell people, and do nothing", u.service, strings.Join(u.codes, ", "))
	}
}

// trigger looks at a code that a playbook listens to. Codes come from outside
// too, so only one that looks misspelt is worth a word.
func (x *codes) trigger(at spot, code grace.Code) {
	if slices.Contains(x.raised, string(code)) {
		return
	}
	if k := nearest(string(code), append(builtinAliases(), x.raised...)); k != "" {
		at.warn("did you mean "+k+"?", "nothing in this file raises the code %s", quote(string(code)))
	}
}

// replaced warns of a built-in playbook that keeps none of its triggers and gets
// none that anything raises: what it was a remedy for has none any more.
func (x *codes) replaced(w writtenPlaybook) {
	seed, builtIn := x.seed(w.ID)
	at := w.at.key("triggers")
	if !builtIn || len(seed.Triggers) == 0 || len(w.Triggers) == 0 || at.failed() {
		return
	}
	for _, code := range w.Triggers {
		if slices.Contains(x.raised, string(code)) || slices.Contains(seed.Triggers, code) || nearest(string(code), append(builtinAliases(), x.raised...)) != "" {
			return // it serves, or something was said of it already
		}
	}
	own := strings.Join(texts(seed.Triggers...), ", ")
	at.warn("its own are "+own+": name them too, or leave the key out; a code that comes in by alerts or the API is not known here",
		"the built-in playbook %s is for %s no more, and nothing in this file raises %s", w.ID, own, quote(strings.Join(texts(w.Triggers...), ", ")))
}

// domains tells whether a service is a domain's, which brings its own sensors.
func (c *checker) domains(id grace.ServiceID) bool {
	return id == grace.CoreService || slices.ContainsFunc(c.options.ExtraServices, func(s grace.Service) bool { return s.ID == id })
}

// source is where a metric of a service comes from.
type source struct {
	metric   string
	interval grace.Duration
}

// metricsOf gives the metrics that sensors give of a service; open is when there
// are others whose names only the source knows.
func (c *checker) metricsOf(service grace.ServiceID) (known []source, open bool) {
	open = c.root.key("telemetry").given() || c.domains(service)
	for _, s := range c.file.Sensors {
		every := s.interval()
		for _, q := range s.Queries {
			if q.Service == service || q.ServiceLabel != "" || q.Service == "" && s.Service == service {
				known = append(known, source{q.Name, max(every, q.Interval)})
			}
		}
		if s.Service != service {
			continue
		}
		switch s.Type {
		case "http", "tcp":
			known = append(known, source{series.ProbeSuccess, every}, source{probe.Duration, every})
			if s.Type == "http" {
				known = append(known, source{probe.StatusCode, every})
			}
		case "command":
			open = open || s.Format != ""
			known = append(known, source{series.ProbeSuccess, every})
		case "prometheus":
			open = true // what its page has
			known = append(known, source{"up", every})
		}
	}
	return known, open
}

// checkMetric warns of a metric that nothing gives. It is no more than a
// warning: metrics also come in by the API.
func (c *checker) checkMetric(at spot, service grace.ServiceID, name string) {
	if _, declared := c.services[service]; name == "" || !declared || c.anyName || strings.Contains(name, "${") || at.failed() {
		return
	}
	known, open := c.metricsOf(service)
	var names []string
	for _, k := range known {
		if k.metric == name {
			return
		}
		names = append(names, k.metric)
	}
	k := nearest(name, names)
	switch {
	case k != "":
		at.warn("did you mean "+k+"? metrics that come in by the API are not known here", "no sensor of %s yields the metric %s", service, shorten(name))
	case !open:
		hint := "add a sensor that reads it (type prometheus or promql), or send it to /api/health/ingest_signal, by OTLP or by remote write"
		if len(names) > 0 {
			hint = "known: " + strings.Join(slices.Compact(slices.Sorted(slices.Values(names))), ", ") + "; or " + hint
		}
		at.warn(hint, "nothing in this file gives the metric %s of %s, so that it is never judged unless somebody sends it", shorten(name), service)
	}
}

// checkMetrics looks at where objectives and limits get their numbers.
func (c *checker) checkMetrics() {
	for i, o := range c.file.Objectives {
		c.checkExpr(c.root.key("objectives").item(i).key("expr"), o.Service, o.Source, o.Expr)
	}
	for i, l := range c.file.Limits {
		c.checkExpr(c.root.key("limits").item(i).key("expr"), l.Service, l.Source, l.Expr)
	}
}

// checkExpr looks at the metrics that an expression names; which a source has it alone knows.
func (c *checker) checkExpr(at spot, service grace.ServiceID, source, text string) {
	e, err := series.Compile(text)
	if err != nil || source != "" {
		return
	}
	for _, metric := range e.Metrics() {
		c.checkMetric(at, service, metric)
	}
}
