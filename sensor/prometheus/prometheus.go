// Package prometheus is the sensor that scrapes a service's /metrics.
//
// Every scrape yields a probe sample "up" (1, or 0 with what went wrong), and all series
// of the page are appended to the series that expressions look at, as Prometheus would
// have them: with the labels service, job (the sensor's name) and instance, and the
// series "up" beside them. A label of the page that is called so too becomes
// exported_service and so on. What a page does not have any more has ended, and so has
// everything while the target does not answer: both get Prometheus' stale marker.
//
// A sample is dated when its scrape began, so that it is no evidence of anything
// later. A scrape during which GRACE itself stood still is no failure of the target.
//
// Pages are read as Prometheus reads them (package exposition), OpenMetrics
// among them. An answer that is too long or has too many series is refused
// whole. A value that the page itself dates keeps that time. Native histograms come
// beside the classic ones where they are asked for.
//
// A scrape that fails because the target does not answer is a failed "up", with
// a code by what went wrong (see Config.Code). One that fails for GRACE's own
// reasons (a secret that is missing, no file descriptors, an address that cannot
// exist) is a sample of kind sensor_error: it says nothing about the target, and ends
// nothing.
package prometheus

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"

	"grace"
	"grace/internal/exposition"
	"grace/internal/httpclient"
	"grace/internal/series"
)

// Defaults of Config.
const (
	DefaultInterval    = 10 * time.Second
	DefaultTimeout     = 5 * time.Second
	DefaultSampleLimit = 20_000
	DefaultBodyLimit   = 16 << 20
)

// Config of a scrape. Left out values get the defaults named at the fields.
type Config struct {
	Name        string
	Service     grace.ServiceID
	URL         string            // for example http://127.0.0.1:9100/metrics, or unix:///run/app.sock:/metrics
	Client      httpclient.Config // how it is asked; redirects are followed within the same scheme and host
	Interval    grace.Duration    // default 10s
	Timeout     grace.Duration    // default 5s, or the interval when it is shorter
	SampleLimit int               // most series of one answer; default 20000
	BodyLimit   int64             // most bytes of one answer; default 16 MiB
	Native      bool              // ask for native histograms, which only a page in protobuf has
	Code        grace.Code        // of a failed "up"; default: elevated_errors of a 5xx, latency_spike of a timeout, else service_down
	Severity    grace.Severity    // of "up"; default critical
	Seed        uint64            // of the first scrape's offset within the interval
}

// Validate names everything that is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	if c.Name == "" {
		errs = append(errs, grace.Field("name", "is missing"))
	}
	if c.Service == "" {
		errs = append(errs, grace.Field("service", "is missing: say which service the metrics are about"))
	}
	_, _, err := httpclient.Target(c.URL)
	errs = append(errs, err, c.Client.Validate())
	if c.Interval < 0 || c.Timeout < 0 || c.SampleLimit < 0 || c.BodyLimit < 0 {
		errs = append(errs, errors.New("interval, timeout, sample_limit and body_limit must not be negative"))
	}
	if !c.Severity.Valid() {
		errs = append(errs, grace.Field("severity", "%q: want info, warning or critical", c.Severity))
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
	if c.Severity == "" {
		c.Severity = grace.SeverityCritical
	}
	return c
}

// Sensor scrapes one target.
type Sensor struct {
	cfg    Config
	db     *series.DB
	url    string
	client *httpclient.Client
	since  func(time.Time) time.Duration
	lost   atomic.Uint64
}

var _ grace.Sensor = (*Sensor)(nil)

// New makes a sensor whose pages are kept in db, or says what is wrong with its
// configuration.
func New(cfg Config, db *series.DB) (*Sensor, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("prometheus sensor %s: %w", cfg.Name, err)
	}
	s := &Sensor{cfg: cfg.withDefaults(), db: db, since: time.Since}
	var socket string
	var err error
	if s.url, socket, err = httpclient.Target(cfg.URL); err != nil {
		return nil, fmt.Errorf("prometheus sensor %s: %w", cfg.Name, err)
	}
	client := cfg.Client
	client.Redirects = httpclient.RedirectSameOrigin
	if socket != "" {
		client.UnixSocket = socket
	}
	if s.client, err = httpclient.New(client); err != nil {
		return nil, fmt.Errorf("prometheus sensor %s: %w", cfg.Name, err)
	}
	return s, nil
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
	keep := newKeeper(s.db, &s.cfg)
	defer func() { keep.end(ctx, time.Now()) }()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-next.C:
		}
		began := time.Now()
		page, fail := s.scrape(ctx, began)
		if ctx.Err() != nil {
			return nil // cut short by the end: it says nothing about the target
		}
		switch {
		case fail == nil:
			if err := keep.page(page, began); err != nil {
				fail = &failure{err: err, own: true}
			}
		case !fail.own:
			keep.failed(began)
		}
		if err := sink.Observe(ctx, s.up(began, fail)); err != nil {
			s.lost.Add(1)
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

// failure is a scrape without a usable answer.
type failure struct {
	err  error
	code grace.Code // what it says about the target
	own  bool       // GRACE's own fault: it says nothing about the target
}

func (f *failure) Error() string { return f.err.Error() }

// refused makes the failure of an error without an answer.
func refused(err error) *failure {
	f := &failure{err: fmt.Errorf("scrape: %w", err), code: grace.CodeServiceDown}
	switch httpclient.Classify(err) {
	case httpclient.Own:
		f.own = true
	case httpclient.Slow:
		f.code = grace.CodeLatencySpike
	case httpclient.Down:
	}
	return f
}

func (s *Sensor) scrape(ctx context.Context, began time.Time) (*exposition.Page, *failure) {
	page, fail := s.ask(ctx)
	if err := httpclient.Overran(s.since(began), s.cfg.Timeout.D()); err != nil {
		return nil, refused(err)
	}
	return page, fail
}

// ask scrapes once.
func (s *Sensor) ask(ctx context.Context) (*exposition.Page, *failure) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.cfg.Timeout.D(), fmt.Errorf("no whole answer within %s", s.cfg.Timeout))
	defer cancel()
	body, kind, fail := s.fetch(ctx)
	if fail != nil {
		return nil, fail
	}
	page, err := s.parse(body, kind)
	if err != nil {
		// It answers, and what it says cannot be read. A limit is ours.
		return nil, &failure{err: err, code: grace.CodeElevatedErrors, own: errors.Is(err, exposition.ErrLimit)}
	}
	return page, nil
}

// parse reads a page.
func (s *Sensor) parse(body []byte, contentType string) (*exposition.Page, error) {
	page, err := exposition.Parse(body, contentType, s.cfg.SampleLimit)
	switch {
	case errors.Is(err, exposition.ErrLimit):
		return nil, fmt.Errorf("the answer has %w series: raise sample_limit, or have the target expose less", err)
	case err != nil:
		return nil, fmt.Errorf("read the metrics: %s", grace.CleanOutput(err.Error()))
	}
	return page, nil
}

func (s *Sensor) fetch(ctx context.Context) (body []byte, contentType string, fail *failure) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return nil, "", &failure{err: err, own: true}
	}
	accept := exposition.Accept
	if s.cfg.Native {
		accept = exposition.AcceptNative
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", fmt.Sprint(s.cfg.Timeout.D().Seconds()))
	resp, _, err := s.client.Do(req)
	if err != nil {
		return nil, "", refused(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, "", s.unwanted(resp)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, s.cfg.BodyLimit+1))
	if err != nil {
		f := &failure{err: fmt.Errorf("read the answer of %s: %w", s.cfg.URL, err), code: grace.CodeServiceDown}
		if cause := context.Cause(ctx); cause != nil {
			f.err, f.code = fmt.Errorf("scrape: %w", cause), grace.CodeLatencySpike
		}
		return nil, "", f
	}
	if int64(len(data)) > s.cfg.BodyLimit {
		err := fmt.Errorf("%s answered more than %d bytes: raise body_limit, or have the target expose less", s.cfg.URL, s.cfg.BodyLimit)
		return nil, "", &failure{err: err, own: true}
	}
	return data, resp.Header.Get("Content-Type"), nil
}

// unwanted words an answer with another status.
func (s *Sensor) unwanted(resp *http.Response) *failure {
	text := fmt.Sprintf("%s answered %s, want 200", s.cfg.URL, resp.Status)
	if to := resp.Header.Get("Location"); to != "" {
		text += ": it points to " + to + ", and redirects to another host are not followed"
	}
	return &failure{err: errors.New(grace.CleanOutput(text)), code: grace.CodeElevatedErrors}
}

// up judges one scrape.
func (s *Sensor) up(began time.Time, fail *failure) grace.Sample {
	up := grace.Sample{
		Service: s.cfg.Service, Sensor: s.cfg.Name, Metric: series.UpMetric, Kind: grace.SampleProbe,
		Code: s.cfg.Code, Severity: s.cfg.Severity, At: began, Value: 1,
	}
	if fail != nil {
		up.Value, up.Message = 0, fail.Error()
		if up.Code == "" {
			up.Code = fail.code
		}
		if fail.own {
			up.Kind = grace.SampleSensorError
		}
	}
	return up
}
