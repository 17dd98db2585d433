// Package prometheus is the sensor that scrapes a service's /metrics.
//
// Every scrape yields a probe sample "up" (1, or 0 with what went wrong) and
// one metric sample for each configured [Metric] that had data. A metric whose
// family or series is missing yields no sample, so that it becomes stale, and
// is named in the message of "up"; it is never taken for zero.
//
// What a metric's value is, by As:
//
//	value       the sum over the matching series, now (the default)
//	rate        the same, of a counter: passed on raw, to be judged by the
//	            aggregations rate and increase
//	per_second  a counter's increase per second since the scrape before
//	ratio       the increase of Source over the increase of Over since then
//	quantile    of the observations of a histogram since then, in the way of
//	            histogram_quantile (linear within a bucket)
//
// The last three need two scrapes, and activity in between: nothing observed is
// no data. A counter that fell was reset, and counts from zero. Failed scrapes
// in between are bridged.
//
// An answer that is too long or has too many series is refused whole.
package prometheus

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"grace"
)

// Defaults of Config.
const (
	DefaultInterval    = 10 * time.Second
	DefaultTimeout     = 5 * time.Second
	DefaultSampleLimit = 20_000
	DefaultBodyLimit   = 16 << 20
)

// upMetric is the name of the probe sample.
const upMetric = "up"

// Config of a scrape. Left out values get the defaults named at the fields.
type Config struct {
	Name        string
	Service     grace.ServiceID
	URL         string            // for example http://127.0.0.1:9100/metrics
	Headers     map[string]string // values may hold secret references
	Interval    grace.Duration    // default 10s
	Timeout     grace.Duration    // default 5s, or the interval when it is shorter
	SampleLimit int               // most series of one answer; default 20000
	BodyLimit   int64             // most bytes of one answer; default 16 MiB
	Code        grace.Code        // of "up"; default service_down
	Severity    grace.Severity    // of "up"; default critical
	Seed        uint64            // of the first scrape's offset within the interval
	Metrics     []Metric
}

// Validate names everything that is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	if c.Name == "" {
		errs = append(errs, errors.New("name is missing"))
	}
	if c.Service == "" {
		errs = append(errs, errors.New("service is missing: say which service the metrics are about"))
	}
	u, err := url.Parse(c.URL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		errs = append(errs, fmt.Errorf("url %q: want http:// or https:// and a host", c.URL))
	}
	if c.Interval < 0 || c.Timeout < 0 || c.SampleLimit < 0 || c.BodyLimit < 0 {
		errs = append(errs, errors.New("interval, timeout, sample_limit and body_limit must not be less than nothing"))
	}
	if !c.Severity.Valid() {
		errs = append(errs, fmt.Errorf("severity %q: want info, warning or critical", c.Severity))
	}
	seen := map[string]bool{upMetric: true}
	for _, m := range c.Metrics {
		if err := m.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("metric %s: %w", m.Name, err))
		}
		if seen[m.Name] {
			errs = append(errs, fmt.Errorf("metric %s is there twice", m.Name))
		}
		seen[m.Name] = true
	}
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	if c.Interval == 0 {
		c.Interval = grace.Duration(DefaultInterval)
	}
	if c.Timeout == 0 {
		c.Timeout = min(grace.Duration(DefaultTimeout), c.Interval)
	}
	if c.SampleLimit == 0 {
		c.SampleLimit = DefaultSampleLimit
	}
	if c.BodyLimit == 0 {
		c.BodyLimit = DefaultBodyLimit
	}
	if c.Code == "" {
		c.Code = grace.CodeServiceDown
	}
	if c.Severity == "" {
		c.Severity = grace.SeverityCritical
	}
	return c
}

// Sensor scrapes one target.
type Sensor struct {
	cfg    Config
	client *http.Client
	lost   atomic.Uint64
}

var _ grace.Sensor = (*Sensor)(nil)

// New makes a sensor, or says what is wrong with its configuration.
func New(cfg Config) (*Sensor, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("prometheus sensor %s: %w", cfg.Name, err)
	}
	s := &Sensor{cfg: cfg.withDefaults(), client: &http.Client{CheckRedirect: sameOrigin}}
	if def, ok := http.DefaultTransport.(*http.Transport); ok {
		s.client.Transport = def.Clone()
	}
	return s, nil
}

// sameOrigin keeps the headers, which may hold a secret, with the host they were
// meant for.
func sameOrigin(req *http.Request, via []*http.Request) error {
	first := via[0].URL
	if req.URL.Scheme != first.Scheme || req.URL.Host != first.Host || len(via) > 5 {
		return http.ErrUseLastResponse
	}
	return nil
}

// Name gives the configured name.
func (s *Sensor) Name() string { return s.cfg.Name }

// Lost counts samples that the sink refused.
func (s *Sensor) Lost() uint64 { return s.lost.Load() }

// Run scrapes until ctx is done.
func (s *Sensor) Run(ctx context.Context, sink grace.Sink) error {
	defer s.client.CloseIdleConnections()
	next := time.NewTimer(s.offset())
	defer next.Stop()
	var before *scrape // the newest good one
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-next.C:
		}
		began := time.Now()
		now, err := s.scrape(ctx)
		if ctx.Err() != nil {
			return nil // cut short by the end: it says nothing about the target
		}
		samples := s.samples(before, now, err)
		if err == nil {
			before = now
		}
		if err := sink.Observe(ctx, samples...); err != nil {
			s.lost.Add(uint64(len(samples)))
		}
		next.Reset(max(0, s.cfg.Interval.D()-time.Since(began)))
	}
}

// offset lies within the interval and is the same for the same seed and name.
func (s *Sensor) offset() time.Duration {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s.cfg.Name))
	rnd := rand.New(rand.NewPCG(s.cfg.Seed, h.Sum64()))
	return time.Duration(rnd.Int64N(int64(s.cfg.Interval)))
}

// scrape is one good answer.
type scrape struct {
	at       time.Time
	families map[string]*dto.MetricFamily
}

func (s *Sensor) scrape(ctx context.Context) (*scrape, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.cfg.Timeout.D(), fmt.Errorf("no whole answer within %s", s.cfg.Timeout))
	defer cancel()
	body, secrets, err := s.fetch(ctx)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, fmt.Errorf("scrape: %s", grace.CleanOutput(grace.Redact(err.Error(), secrets)))
	}
	return s.parse(body, time.Now())
}

// parse reads the text exposition format.
func (s *Sensor) parse(body string, at time.Time) (*scrape, error) {
	now := &scrape{at: at}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	var err error
	if now.families, err = parser.TextToMetricFamilies(strings.NewReader(body)); err != nil {
		return nil, fmt.Errorf("read the metrics: %w", err)
	}
	n := 0
	for _, f := range now.families {
		n += series(f)
	}
	if n > s.cfg.SampleLimit {
		return nil, fmt.Errorf("the answer has %d series, more than %d: raise sample_limit, or have the target expose less", n, s.cfg.SampleLimit)
	}
	return now, nil
}

// series counts the lines of a family: a histogram has one for each bucket.
func series(f *dto.MetricFamily) int {
	n := 0
	for _, m := range f.GetMetric() {
		n++
		if h := m.GetHistogram(); h != nil {
			n += len(h.GetBucket()) + 1
		}
		if q := m.GetSummary(); q != nil {
			n += len(q.GetQuantile()) + 1
		}
	}
	return n
}

func (s *Sensor) fetch(ctx context.Context) (body string, secrets []string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.cfg.URL, nil)
	if err != nil {
		return "", nil, err
	}
	req.Header.Set("Accept", "text/plain;version=0.0.4")
	req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", fmt.Sprint(s.cfg.Timeout.D().Seconds()))
	for k, v := range s.cfg.Headers {
		value, found, err := grace.ExpandSecrets(v)
		secrets = append(secrets, found...)
		if err != nil {
			return "", secrets, fmt.Errorf("header %s: %w", k, err)
		}
		req.Header.Set(k, value)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return "", secrets, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", secrets, fmt.Errorf("%s answered %s, want 200", s.cfg.URL, resp.Status)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, s.cfg.BodyLimit+1))
	if err != nil {
		return "", secrets, fmt.Errorf("read the answer of %s: %w", s.cfg.URL, err)
	}
	if int64(len(data)) > s.cfg.BodyLimit {
		return "", secrets, fmt.Errorf("%s answered more than %d bytes: raise body_limit, or have the target expose less", s.cfg.URL, s.cfg.BodyLimit)
	}
	return string(data), secrets, nil
}

// samples judges one scrape; before is nil at the first.
func (s *Sensor) samples(before, now *scrape, err error) []grace.Sample {
	up := grace.Sample{
		Service: s.cfg.Service, Sensor: s.cfg.Name, Metric: upMetric, Kind: grace.SampleProbe,
		Code: s.cfg.Code, Severity: s.cfg.Severity, At: time.Now(),
	}
	if err != nil {
		up.Message = err.Error()
		return []grace.Sample{up}
	}
	up.Value, up.At = 1, now.at
	out := []grace.Sample{up}
	var missing []string
	for _, m := range s.cfg.Metrics {
		value, err := m.read(before, now)
		if m.As == AsRatio && err == nil && !(Series{m.Source, m.Labels}).exposed(now) {
			missing = append(missing, fmt.Sprintf("%s: %v, counted as 0", m.Name, Series{m.Source, m.Labels}.missing()))
		}
		if errors.Is(err, errNotYet) {
			continue
		}
		if err != nil {
			missing = append(missing, m.Name+": "+err.Error())
			continue
		}
		if value *= m.scale(); math.IsNaN(value) || math.IsInf(value, 0) {
			continue
		}
		out = append(out, grace.Sample{
			Service: s.cfg.Service, Sensor: s.cfg.Name, Metric: m.Name,
			Kind: grace.SampleMetric, Value: value, Unit: m.Unit, At: now.at,
		})
	}
	out[0].Message = strings.Join(missing, "; ")
	return out
}
