package promql

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"grace"
)

// Defaults of Config.
const (
	DefaultInterval    = 30 * time.Second
	DefaultTimeout     = 10 * time.Second
	DefaultMaxBackoff  = 5 * time.Minute
	DefaultSeriesLimit = 10_000
	DefaultBodyLimit   = 32 << 20
	DefaultConcurrency = 4
)

// Config of a poll. Left out values get the defaults named at the fields.
type Config struct {
	Name        string
	URL         string            // what /api/v1/query is under, for example http://127.0.0.1:9090
	Headers     map[string]string // values may hold secret references
	BearerToken string            // a secret reference; not together with Username
	Username    string            // of basic authentication
	Password    string            // of basic authentication; a secret reference
	TLS         TLS

	Service  grace.ServiceID // which the API itself is: it gets "up"; default none
	Code     grace.Code      // of "up"; default service_down
	Severity grace.Severity  // of "up"; default warning: not to see is not to be down

	Interval    grace.Duration // default 30s
	Timeout     grace.Duration // of one question; default 10s
	MaxBackoff  grace.Duration // longest wait after failures; default 5m
	SeriesLimit int            // most series of one answer; default 10000
	BodyLimit   int64          // most bytes of one answer; default 32 MiB
	Concurrency int            // most questions at once; default 4
	Part        int            // most points of a series that a warm-up asks for at once; default 11000, what Prometheus gives
	Seed        uint64         // of the offsets and the jitter
	Queries     []Query

	// Report is told what is wrong with a query whenever that changes; an empty
	// problem means that it is well again. It must not block. Default: nobody.
	Report func(query, problem string)
	// Transport replaces the one that TLS describes.
	Transport http.RoundTripper
}

// TLS says whom to trust and who we are, for https.
type TLS struct {
	CAFile             string // trusted besides the system's own; default none
	CertFile           string // our certificate, with KeyFile; read anew for every connection
	KeyFile            string
	ServerName         string // in the server's certificate; default the host of the URL
	InsecureSkipVerify bool   // trust everybody: only for trying things out
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
}

// Validate names everything that is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	if c.Name == "" {
		errs = append(errs, errors.New("name is missing"))
	}
	u, err := url.Parse(c.URL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		errs = append(errs, errors.New("url: want http:// or https:// and a host, for example http://127.0.0.1:9090"))
	} else if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		errs = append(errs, errors.New("url: credentials go into username and password, parameters into headers or the query"))
	}
	if c.Interval < 0 || c.Timeout < 0 || c.MaxBackoff < 0 || c.SeriesLimit < 0 || c.BodyLimit < 0 || c.Concurrency < 0 || c.Part < 0 {
		errs = append(errs, errors.New("interval, timeout, max_backoff, series_limit, body_limit, concurrency and part must not be less than nothing"))
	}
	if !c.Severity.Valid() {
		errs = append(errs, fmt.Errorf("severity %q: want info, warning or critical", c.Severity))
	}
	errs = append(errs, c.validateAuth(), c.TLS.Validate())
	if len(c.Queries) == 0 {
		errs = append(errs, errors.New("queries are missing: say what to ask"))
	}
	seen := map[string]bool{upMetric: true}
	for _, q := range c.Queries {
		if err := q.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("query %s: %w", q.Name, err))
		}
		if seen[q.Name] {
			errs = append(errs, fmt.Errorf("query %s is there twice", q.Name))
		}
		seen[q.Name] = true
	}
	return errors.Join(errs...)
}

func (c Config) validateAuth() error {
	switch {
	case c.BearerToken != "" && c.Username != "":
		return errors.New("bearer_token and username exclude each other")
	case c.Password != "" && c.Username == "":
		return errors.New("password without username")
	}
	for k := range c.Headers {
		if strings.EqualFold(k, "Authorization") && (c.BearerToken != "" || c.Username != "") {
			return errors.New("the header Authorization excludes bearer_token and username")
		}
	}
	return nil
}

// Validate names everything that is wrong with the query.
func (q Query) Validate() error {
	var errs []error
	if q.Name == "" {
		errs = append(errs, errors.New("name is missing"))
	}
	if strings.TrimSpace(q.Query) == "" {
		errs = append(errs, errors.New("query is missing"))
	}
	if q.Service == "" && q.ServiceLabel == "" {
		errs = append(errs, errors.New("service or service_label is missing: say whose metric it is"))
	}
	if q.Interval < 0 {
		errs = append(errs, fmt.Errorf("interval %s is less than nothing", q.Interval))
	}
	if math.IsNaN(q.Scale) || math.IsInf(q.Scale, 0) {
		errs = append(errs, fmt.Errorf("scale %v is no number to multiply by", q.Scale))
	}
	if !q.Role.Valid() {
		errs = append(errs, fmt.Errorf("role %q: want latency, errors, saturation, traffic or capacity", q.Role))
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
	if c.MaxBackoff == 0 {
		c.MaxBackoff = grace.Duration(DefaultMaxBackoff)
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
	if c.Code == "" {
		c.Code = grace.CodeServiceDown
	}
	if c.Severity == "" {
		c.Severity = grace.SeverityWarning
	}
	if c.Report == nil {
		c.Report = func(string, string) {}
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
	}
	return c
}

// Validate names what is wrong with the settings; New reads the files.
func (t TLS) Validate() error {
	if (t.CertFile == "") != (t.KeyFile == "") {
		return errors.New("tls: cert_file and key_file go together")
	}
	return nil
}

func (t TLS) transport() (http.RoundTripper, error) {
	base, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return nil, errors.New("the default HTTP transport was replaced by another kind")
	}
	transport := base.Clone()
	conf := &tls.Config{ServerName: t.ServerName, InsecureSkipVerify: t.InsecureSkipVerify, MinVersion: tls.VersionTLS12}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("tls: ca_file: %w", err)
		}
		if conf.RootCAs, err = x509.SystemCertPool(); err != nil {
			conf.RootCAs = x509.NewCertPool()
		}
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls: ca_file %s holds no PEM certificate", t.CAFile)
		}
	}
	if t.CertFile != "" {
		load := func() (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
			if err != nil {
				return nil, fmt.Errorf("tls: cert_file and key_file: %w", err)
			}
			return &pair, nil
		}
		if _, err := load(); err != nil {
			return nil, err
		}
		// Anew for every connection: certificates are short-lived.
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	}
	transport.TLSClientConfig = conf
	return transport, nil
}
