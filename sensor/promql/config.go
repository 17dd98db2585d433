package promql

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"grace"
	"grace/internal/httpclient"
	"grace/internal/series"
)

// Defaults of Config.
const (
	DefaultInterval    = 30 * time.Second
	DefaultTimeout     = 10 * time.Second
	DefaultSeriesLimit = 10_000
	DefaultBodyLimit   = 32 << 20
	DefaultConcurrency = 4
)

// Config of a poll. Left out values get the defaults named at the fields.
type Config struct {
	Name    string
	URL     string            // what /api/v1/query is under, for example http://127.0.0.1:9090
	Client  httpclient.Config // how it is asked; redirects are followed within the same scheme and host
	Dialect string            // of the queries: promql (default), or metricsql, which is not checked

	Interval    grace.Duration // default 30s
	Timeout     grace.Duration // of one question; default 10s
	SeriesLimit int            // most series of one answer; default 10000
	BodyLimit   int64          // most bytes of one answer; default 32 MiB
	Concurrency int            // most questions at once; default 4
	Part        int            // most points of a series that a warm-up asks for at once; default 11000, what Prometheus gives
	Seed        uint64         // of the offsets and the jitter
	Queries     []Query

	// Report is told what is wrong with a query whenever that changes; an empty
	// problem means that it is well again. It must not block. Default: nobody.
	Report func(q Query, problem string)
	// Transport replaces the one that Client describes.
	Transport http.RoundTripper
}

// Query is one question and what its answer means.
type Query struct {
	Name         string          // of the metric
	Query        string          // PromQL
	Service      grace.ServiceID // whose metric it is; with ServiceLabel, of series without that label
	ServiceLabel string          // the label that names the service
	Role         grace.Role      // latency, errors, saturation, traffic or capacity; default none
	Interval     grace.Duration  // default that of the sensor
	Scale        float64         // the value is multiplied by it: 1000 makes seconds milliseconds; default 1
	Unit         string          // after scaling
	// Of a recording, and of what expressions ask, nothing here says whose it is.
	Labels map[string]string // of a recording: what its elements get
	Remote *series.Remote    // of what expressions ask: Name and Query are its own
	By     []string          // likewise: the labels of its elements that say whose they are
	Past   bool              // likewise: it is forecast, and has a history

	looks []string // the selectors of the query
}

// String gives what people know the query by.
func (q Query) String() string {
	switch {
	case q.Remote != nil:
		return q.Query
	case q.Labels != nil:
		return q.Name + labels.FromMap(q.Labels).String()
	}
	return q.Name
}

// whose tells whether the query says whose its elements are.
func (q *Query) whose() bool { return q.Remote == nil && q.Labels == nil }

// Ask gives what the source of an expression is asked.
func Ask(e *series.Expr) Query {
	r := e.Remote()
	return Query{Name: r.Metric, Query: r.Query, Remote: r, Past: e.Unpredictable() == "" && !r.Check}
}

// Validate names everything that is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	if c.Name == "" {
		errs = append(errs, grace.Field("name", "is missing"))
	}
	if _, socket, err := httpclient.Target(c.URL); err != nil {
		errs = append(errs, grace.Field("url", "want http:// or https:// and a host, for example http://127.0.0.1:9090"))
	} else if u, err := url.Parse(c.URL); socket == "" && (err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "") {
		errs = append(errs, grace.Field("url", "credentials go into username and password, parameters into headers or the query"))
	}
	if c.Interval < 0 || c.Timeout < 0 || c.SeriesLimit < 0 || c.BodyLimit < 0 || c.Concurrency < 0 || c.Part < 0 {
		errs = append(errs, errors.New("interval, timeout, series_limit, body_limit, concurrency and part must not be negative"))
	}
	if c.Dialect != "" && c.Dialect != PromQL && c.Dialect != MetricsQL {
		errs = append(errs, grace.Field("dialect", "%q: want promql or metricsql", c.Dialect))
	}
	errs = append(errs, c.Client.Validate())
	if len(c.Queries) == 0 {
		errs = append(errs, grace.Field("queries", "is missing: say what to ask, or name the sensor as the source of an objective"))
	}
	for i, q := range c.Queries {
		at := fmt.Sprintf("queries[%d]", i)
		errs = append(errs, grace.Under(at, q.Validate()), grace.Under(at+".query", c.parse(q.Query)))
		if slices.ContainsFunc(c.Queries[:i], q.Meets) {
			errs = append(errs, grace.Field(at+".name", "%s is there twice for the same service", q.Name))
		}
	}
	return errors.Join(errs...)
}

// The dialects of queries.
const (
	PromQL    = "promql"
	MetricsQL = "metricsql"
)

// parse tells what is wrong with a query, and where in it.
func (c Config) parse(query string) error {
	if c.Dialect == MetricsQL || strings.TrimSpace(query) == "" {
		return nil
	}
	return Parse(query)
}

var errRange = errors.New("a range of samples: want numbers, such as max_over_time() of it")

// Parse tells what is wrong with a PromQL expression, with line and column. It
// knows every function, also those that a server must be told to allow.
func Parse(query string) error {
	_, err := series.Compile(query)
	return err
}

// Meets tells whether two queries may give the same metric of the same service:
// the values of a label may be any services.
func (q Query) Meets(other Query) bool {
	return q.whose() && other.whose() && q.Name == other.Name && (q.Service == other.Service || q.ServiceLabel != "" || other.ServiceLabel != "")
}

// Validate names everything that is wrong with the query.
func (q Query) Validate() error {
	var errs []error
	if q.Name == "" {
		errs = append(errs, grace.Field("name", "is missing"))
	}
	if strings.TrimSpace(q.Query) == "" {
		errs = append(errs, grace.Field("query", "is missing"))
	}
	if q.Service == "" && q.ServiceLabel == "" && q.whose() {
		errs = append(errs, grace.Field("service", "is missing, and service_label too: say whose metric it is"))
	}
	if q.Interval < 0 {
		errs = append(errs, grace.Field("interval", "%s is negative", q.Interval))
	}
	if math.IsNaN(q.Scale) || math.IsInf(q.Scale, 0) {
		errs = append(errs, grace.Field("scale", "%v is no number to multiply by", q.Scale))
	}
	if !q.Role.Valid() {
		errs = append(errs, grace.Field("role", "%q: want latency, errors, saturation, traffic or capacity", q.Role))
	}
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	if c.Interval == 0 {
		c.Interval = grace.Duration(DefaultInterval)
	}
	if c.Timeout == 0 {
		c.Timeout = grace.Duration(DefaultTimeout)
	}
	if c.Part == 0 {
		c.Part = maxPoints
	}
	if c.SeriesLimit == 0 {
		c.SeriesLimit = DefaultSeriesLimit
	}
	if c.BodyLimit == 0 {
		c.BodyLimit = DefaultBodyLimit
	}
	if c.Concurrency == 0 {
		c.Concurrency = DefaultConcurrency
	}
	if c.Report == nil {
		c.Report = func(Query, string) {}
	}
	c.Queries = slices.Clone(c.Queries)
	for i := range c.Queries {
		q := &c.Queries[i]
		if q.Interval == 0 {
			q.Interval = c.Interval
		}
		if q.Scale == 0 {
			q.Scale = 1
		}
		if e, err := series.Compile(q.Query); err == nil && c.Dialect != MetricsQL {
			selectors := e.Selectors()
			slices.Sort(selectors)
			q.looks = slices.Compact(selectors)
		}
		if q.Remote != nil { // whose order counts
			q.looks = q.Remote.Looks
		}
	}
	return c
}
