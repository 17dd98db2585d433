package config

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
	"time"

	"grace"
	"grace/internal/series"
	"grace/internal/stage/sense"
	"grace/sensor/alertmanager"
	"grace/sensor/probe"
	"grace/sensor/prometheus"
	"grace/sensor/promql"
)

// SensorSpec is what a sensor is built from: exactly one of its fields is set.
type SensorSpec struct {
	Probe      *probe.Config
	Prometheus *prometheus.Config
	PromQL     *promql.Config
	WarmUp     time.Duration // history that a PromQL sensor reads at the start
}

// Name of the sensor, unique in a Config.
func (s SensorSpec) Name() string {
	switch {
	case s.Probe != nil:
		return s.Probe.Name
	case s.PromQL != nil:
		return s.PromQL.Name
	}
	return s.Prometheus.Name
}

// Service that the sensor watches; empty when it watches several.
func (s SensorSpec) Service() grace.ServiceID {
	switch {
	case s.Probe != nil:
		return s.Probe.Service
	case s.PromQL != nil:
		var one grace.ServiceID
		for i, q := range s.PromQL.Queries {
			if i > 0 && q.Service != one {
				return ""
			}
			one = q.Service
		}
		return one
	}
	return s.Prometheus.Service
}

// Probes gives what sense should know of before the first sample: a probe
// that never answered is unknown, not healthy.
func (c *Config) Probes() []sense.Probe {
	out := make([]sense.Probe, 0, len(c.Sensors))
	for _, s := range c.Sensors {
		switch {
		case s.Probe != nil:
			p := s.Probe
			out = append(out, sense.Probe{Service: p.Service, Sensor: p.Name, Metric: p.Type + "_health", Code: p.Code, Severity: p.Severity, Interval: cmp.Or(p.Interval.D(), probe.DefaultInterval)})
		case s.PromQL == nil:
			p := s.Prometheus
			out = append(out, sense.Probe{Service: p.Service, Sensor: p.Name, Metric: "up", Code: p.Code, Severity: p.Severity, Interval: cmp.Or(p.Interval.D(), prometheus.DefaultInterval)})
		}
	}
	return out
}

// checkSensors looks at the sensors and gives what they are built from.
func (c *checker) checkSensors() []SensorSpec {
	names := map[string]string{}
	var out []SensorSpec
	for i, s := range c.file.Sensors {
		at := c.root.key("sensors").item(i)
		s.onlyItsKeys(at)
		s.hasItsKeys(at)
		if len(s.Argv) > 0 {
			at.key("argv").item(0).program(s.Argv[0], "")
			checkNoShell(at.key("argv"), s.Argv)
		}
		if s.Method != "" {
			checkMethod(at.key("method"), s.Method)
		}
		s.checkBody(at)
		s.client().check(at)
		c.checkTimes(at, s)
		at.key("env").secretsIn(s.Env)
		at.key("url").secretInURL(s.URL)
		if service := at.key("service"); s.Service == "" && s.Type != "promql" && !service.failed() {
			service.add("name the service it watches", "is missing")
		}
		for j, q := range s.Queries {
			asked := at.key("queries").item(j)
			s.oneMetric(at.key("queries"), j)
			if err := promql.Parse(q.Query); err != nil && q.Query != "" && s.Dialect != promql.MetricsQL {
				asked.key("query").add("the place is line:column of the query; for VictoriaMetrics set dialect: metricsql", "%v", err)
			}
		}
		spec := s.spec()
		if p := spec.PromQL; p != nil {
			p.Queries = append(p.Queries, c.asked(s.Name)...)
		}
		if !at.key("type").failed() && !at.key("queries").failed() {
			at.addError(spec.validate())
		}
		c.checkNames(at, s, names)
		out = append(out, spec)
	}
	return out
}

// checkNames looks at what a sensor is called and points to. It comes last, so that
// an unknown service hides nothing that is wrong with the sensor itself.
func (c *checker) checkNames(at spot, s sensor, first map[string]string) {
	checkName(at.key("name"), s.Name)
	unique(at.key("name"), "sensor", s.Name, first)
	if slices.Contains(c.options.ReservedSensors, s.Name) {
		at.key("name").add("choose another name", "%s is the name of a sensor of GRACE's own", quote(s.Name))
	}
	c.service(at.key("service"), s.Service)
	for i, q := range s.Queries {
		c.service(at.key("queries").item(i).key("service"), q.Service)
	}
}

// oneMetric reports a query whose metric an earlier one gives. The metric is its
// service's: other services may have one of the same name.
func (s sensor) oneMetric(at spot, n int) {
	queries := s.promql().Queries
	q := queries[n]
	before := slices.IndexFunc(queries[:n], q.Meets)
	if q.Name == "" || before < 0 {
		return
	}
	label := ""
	if q.Service != queries[before].Service {
		label = ", and service_label may name the same service"
	}
	at.item(n).key("name").add("rename one of the two", "metric %s was already defined at %s%s", q.Name, at.item(before).path, label)
}

// onlyItsKeys reports keys that count for other types of sensor: they would
// be left out in silence.
func (s sensor) onlyItsKeys(at spot) {
	if s.Type == "" || at.key("type").failed() {
		return
	}
	for _, f := range fieldsOf(reflect.TypeFor[sensor]()) {
		if f.only != nil && !slices.Contains(f.only, s.Type) && at.key(f.name).given() {
			at.key(f.name).add("remove the key, or change the type", "a sensor of type %s has no %s; it belongs to %s",
				s.Type, f.name, strings.Join(f.only, ", "))
		}
	}
}

func (s sensor) spec() SensorSpec {
	switch s.Type {
	case "promql":
		return SensorSpec{PromQL: s.promql(), WarmUp: cmp.Or(s.WarmUp.D(), warmUpDefault)}
	case "prometheus":
	default:
		return SensorSpec{Probe: &probe.Config{
			Name: s.Name, Service: s.Service, Interval: s.Interval, Code: s.Code, Severity: s.Severity,
			Target: probe.Target{
				Type: s.Type, URL: s.URL, Method: s.Method, Client: s.client().Config(), Status: s.Status, FollowRedirects: s.FollowRedirects,
				Body:       probe.Body{Contains: s.Contains, NotContains: s.NotContains, Regex: s.Regex, JSON: s.JSON},
				MaxLatency: s.MaxLatency, Address: s.Address, Argv: s.Argv, Env: s.Env, Format: s.Format, Timeout: s.Timeout,
			},
		}}
	}
	return SensorSpec{Prometheus: &prometheus.Config{
		Name: s.Name, Service: s.Service, URL: s.URL, Client: s.client().Config(),
		Interval: s.Interval, Timeout: s.Timeout, Code: s.Code, Severity: s.Severity, Native: s.Native,
	}}
}

func (s SensorSpec) validate() error {
	switch {
	case s.Probe != nil:
		return s.Probe.Validate()
	case s.PromQL != nil:
		return s.PromQL.Validate()
	}
	return s.Prometheus.Validate()
}

// hasItsKeys reports what a sensor of its type cannot do without.
func (s sensor) hasItsKeys(at spot) {
	key, example := "", ""
	switch s.Type {
	case "http":
		key, example = "url", "http://127.0.0.1:8080/healthz"
	case "tcp":
		key, example = "address", "127.0.0.1:5432"
	case "command":
		key, example = "argv", "[/usr/lib/nagios/plugins/check_disk, -w, 10%]"
	case "prometheus":
		key, example = "url", "http://127.0.0.1:8080/metrics"
	case "promql":
		key, example = "url", "http://127.0.0.1:9090"
	default:
		return
	}
	if where := at.key(key); !where.given() {
		where.add("for example "+key+": "+example, "required key is missing for type %s", s.Type)
	} else if u := s.URL; key == "url" && u != "" && !strings.Contains(u, "://") && !where.failed() {
		where.add("did you mean http://"+strings.TrimPrefix(u, "//")+"?", "%s has no scheme: want http:// or https:// and a host, or unix:// and the path of a socket", quote(u))
	}
}

// interval gives how often the sensor looks.
func (s sensor) interval() grace.Duration {
	usual := probe.DefaultInterval
	switch s.Type {
	case "prometheus":
		usual = prometheus.DefaultInterval
	case "promql":
		usual = promql.DefaultInterval
	}
	return cmp.Or(s.Interval, grace.Duration(usual))
}

// checkTimes looks at times of a sensor that do not fit one another.
func (c *checker) checkTimes(at spot, s sensor) {
	every := s.interval()
	if at.key("timeout").given() && s.Timeout > every {
		at.key("timeout").warn("lower timeout, or look less often", "is longer than the interval (%s): while nothing answers, fewer samples come", shortDuration(every))
	}
	if s.MaxLatency > s.Timeout {
		at.key("max_latency").warn("raise timeout, or lower max_latency", "is longer than the timeout (%s), which ends the check before", shortDuration(s.Timeout))
	}
	for _, q := range s.Queries {
		every = max(every, q.Interval)
	}
	stale := c.root.key("sense").key("stale_after")
	if after := c.file.Sense.StaleAfter; stale.given() && after > 0 && after < 2*every {
		stale.warn("raise it to "+shortDuration(2*every)+", or look more often", "is shorter than twice the interval of %s (%s): without data its signals are stale after %s, not earlier",
			shorten(s.Name), shortDuration(every), shortDuration(2*every))
	}
}

// watched looks at whose an expression is, and what it is called: the name is part of
// the keys of signals and predictions, after the service.
func (c *checker) watched(at spot, what string, service grace.ServiceID, name string, names map[string]string) {
	if service != "" {
		c.service(at.key("service"), service)
	}
	if name != "" {
		unique(at.key("name"), what, string(service)+"/"+name, names)
	}
}

// checkObjectives looks at the objectives and limits.
func (c *checker) checkObjectives() {
	names := map[string]string{}
	for i, o := range c.file.Objectives {
		at := c.root.key("objectives").item(i)
		c.watched(at, "objective", o.Service, o.Name, names)
		c.checkSource(at.key("source"), o.Source)
		at.addError(o.Validate())
		if e, err := series.Compile(o.Expr); err == nil && !e.Filters() {
			at.key("expr").warn("compare it, for example with < 1, and without bool", "it holds whatever is measured, so that it fires as long as there is data")
		}
	}
	for i, l := range c.file.Limits {
		at := c.root.key("limits").item(i)
		c.watched(at, "limit", l.Service, l.Name, names)
		c.checkSource(at.key("source"), l.Source)
		at.addError(l.Validate())
	}
}

// Mapping gives what the alertmanager sensor reads alerts with.
func (a Alertmanager) Mapping() alertmanager.Mapping {
	m := alertmanager.Mapping{ServiceLabel: a.ServiceLabel, CodeLabel: a.CodeLabel, SeverityLabel: a.SeverityLabel, ReplicaLabel: a.ReplicaLabel}
	m.Map = mapOf(a.Map)
	return m
}

// checkAlertmanager looks at how alerts are trusted and read.
func (c *checker) checkAlertmanager() {
	at := c.root.key("alertmanager")
	a := c.file.Alertmanager
	if a.Bearer != "" && a.HMAC != "" {
		at.key("hmac").add("Alertmanager itself sends a bearer token; keep hmac for a sender that signs", "bearer and hmac exclude each other")
	}
	for i, r := range a.Map {
		rule := at.key("map").item(i)
		if r.Service.Core() {
			rule.key("service").warn("name another service", "%s is a part of GRACE, of which it alone tells: such alerts are not taken", r.Service)
		}
		if !strings.Contains(string(r.Service), "${") {
			c.service(rule.key("service"), r.Service)
		}
	}
	a.HTTP.check(at.key("http"))
	if a.URL != "" {
		checkClientURL(at.key("url"), a.URL, "http://127.0.0.1:9093")
	}
	if !at.failed() {
		at.addError(a.Mapping().Validate())
	}
}
