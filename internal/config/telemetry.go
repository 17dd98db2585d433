package config

import (
	"strings"
	"time"

	"grace"
	"grace/internal/series"
	"grace/sensor/promql"
)

// Telemetry is about series that others send: by Prometheus remote write and
// by OTLP.
type Telemetry struct {
	series.Config
	MaxBody    Size      `yaml:"max_body" doc:"largest request, decompressed" default:"32MiB"`
	OTLPListen string    `yaml:"otlp_listen" doc:"address and port of the OTLP receiver for gRPC, which has its own; OTLP over HTTP is at /v1/metrics of the API" example:"127.0.0.1:4317"`
	WarmUp     []History `yaml:"warm_up" doc:"where history can be read when GRACE starts: of what is sent, so that a restart does not blind the forecasts, and of what objectives and limits look at, which is run through the rules of prediction, so that they have a record"`
}

// History is a Prometheus-compatible API that is asked once.
type History struct {
	HTTPClient

	URL       string         `yaml:"url" required:"true" example:"http://127.0.0.1:9090" doc:"what /api/v1/query_range is under"`
	Selectors []string       `yaml:"selectors" example:"['{job=\"web\"}']" doc:"which series, as the sender names them; without any only what objectives and limits look at is read"`
	Since     grace.Duration `yaml:"since" doc:"how far back" default:"24h" min:"1m"`
	Step      grace.Duration `yaml:"step" doc:"between two values" default:"1m" min:"1s"`
}

// query is one question of a promql sensor.
type query struct {
	Name         string          `yaml:"name" required:"true" doc:"the metric's name in objectives and checks" example:"latency_p99_ms"`
	Query        string          `yaml:"query" required:"true" doc:"PromQL" example:"\"histogram_quantile(0.99, sum by (le) (rate(http_request_duration_seconds_bucket[1m])))\""`
	Service      grace.ServiceID `yaml:"service" doc:"whose metric it is (default: the sensor's service)"`
	ServiceLabel string          `yaml:"service_label" doc:"the label of the answer that names the service, where one question is about several"`
	Role         grace.Role      `yaml:"role" doc:"what the metric says of the service" enum:"latency,errors,saturation,traffic,capacity"`
	Interval     grace.Duration  `yaml:"interval" doc:"between two questions (default: the sensor's)"`
	Scale        float64         `yaml:"scale" doc:"multiplies the value (default 1)"`
	Unit         string          `yaml:"unit" doc:"for people" example:"ms"`
}

// checkTelemetry looks at what is taken from senders.
func (c *checker) checkTelemetry() {
	at := c.root.key("telemetry")
	t := &c.file.Telemetry
	at.addError(t.Validate())
	for i, r := range t.Rules {
		if r.Service != "" && !strings.Contains(r.Service, "${") {
			c.service(at.key("rules").item(i).key("service"), grace.ServiceID(r.Service))
		}
	}
	if t.OTLPListen != "" {
		checkAddress(at.key("otlp_listen"), t.OTLPListen, "127.0.0.1:4317")
		if t.OTLPListen == c.file.Listen {
			at.key("otlp_listen").add("OTLP over HTTP is there already, at /v1/metrics; for gRPC give a port of its own, such as 127.0.0.1:4317, or leave the key out",
				"%s is the address of the API", t.OTLPListen)
		}
	}
	for i, w := range t.WarmUp {
		warm := at.key("warm_up").item(i)
		w.check(warm)
		checkClientURL(warm.key("url"), w.URL, "http://127.0.0.1:9090")
		for j, selector := range w.Selectors {
			if err := promql.Parse(selector); err != nil {
				warm.key("selectors").item(j).add("a selector, for example {job=\"web\"}", "%v", err)
			}
		}
	}
}

// warmUpDefault is how far back a promql sensor reads when it starts.
const warmUpDefault = 24 * time.Hour

// promql gives what a sensor of that type is built from.
func (s sensor) promql() *promql.Config {
	p := &promql.Config{
		Name: s.Name, URL: s.URL, Client: s.client().Config(), Dialect: s.Dialect, Interval: s.Interval, Timeout: s.Timeout,
	}
	for _, q := range s.Queries {
		x := promql.Query{
			Name: q.Name, Query: q.Query, Service: q.Service, ServiceLabel: q.ServiceLabel,
			Role: q.Role, Interval: q.Interval, Scale: q.Scale, Unit: q.Unit,
		}
		if x.Service == "" && x.ServiceLabel == "" {
			x.Service = s.Service
		}
		p.Queries = append(p.Queries, x)
	}
	return p
}
