// Package promql is the sensor that asks a Prometheus-compatible HTTP API
// (Prometheus, Thanos, Mimir, VictoriaMetrics) the queries it is configured
// with.
//
// Every [Query] is asked on its own interval, at an offset drawn from the seed,
// and each value of its answer is one metric sample of a service: the
// configured one, or the one that a label of the series names. An instant
// vector or a scalar gives the newest value, a range vector all that came since
// the answer before.
//
// What is left out is said and counted, and the rest is kept:
//
//	NaN and infinities      no data, never zero
//	no service              the series lacks the label, and no service is configured
//	two values of a service at one time: which one counts is not for us to guess
//	native histograms       ask for histogram_quantile or histogram_avg instead
//	warnings, partial       the values are taken, the warning is reported
//
// An answer that is too long or has too many series is refused whole.
//
// A query that fails is asked again later and later, up to three of its
// intervals, with jitter, or when the server's Retry-After says so. Each failure is a sample of
// kind sensor_error for every service the query is about: its metric is stale,
// with the reason. That the API is away says nothing about these services; to
// watch Prometheus itself, probe it.
//
// [Sensor.WarmUp] reads the history of the same queries, so that models are not
// blind after a restart.
package promql

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"grace"
	"grace/internal/httpclient"
)

// RoleLabel is the label of a sample that holds the role of its query.
const RoleLabel = "role"

// Stats counts since the sensor was made.
type Stats struct {
	Asked   uint64 // queries sent
	Failed  uint64 // of these, without a usable answer
	Warned  uint64 // answers that came with a warning or in part
	Samples uint64 // values that became samples
	Skipped uint64 // values that did not: see the package doc
	Lost    uint64 // samples that the sink refused
}

// Sensor polls one API.
type Sensor struct {
	cfg    Config
	url    string
	client *httpclient.Client
	slots  chan struct{} // one for each query under way

	asked, failed, warned, samples, skipped, lost atomic.Uint64
}

var _ grace.Sensor = (*Sensor)(nil)

// New makes a sensor, or says what is wrong with its configuration.
func New(cfg Config) (*Sensor, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("promql sensor %s: %w", cfg.Name, err)
	}
	cfg = cfg.withDefaults()
	s := &Sensor{cfg: cfg, slots: make(chan struct{}, cfg.Concurrency)}
	client := cfg.Client
	client.Redirects = httpclient.RedirectSameOrigin
	var err error
	if s.url, client.UnixSocket, err = target(cfg); err != nil {
		return nil, fmt.Errorf("promql sensor %s: %w", cfg.Name, err)
	}
	var opts []httpclient.Option
	if cfg.Transport != nil {
		opts = append(opts, httpclient.WithTransport(cfg.Transport))
	}
	if s.client, err = httpclient.New(client, opts...); err != nil {
		return nil, fmt.Errorf("promql sensor %s: %w", cfg.Name, err)
	}
	return s, nil
}

// target gives the address and the socket, if any, that it is asked over.
func target(cfg Config) (address, socket string, err error) {
	address, socket, err = httpclient.Target(cfg.URL)
	return address, cmp.Or(socket, cfg.Client.UnixSocket), err
}

// Name gives the configured name.
func (s *Sensor) Name() string { return s.cfg.Name }

// Lost counts samples that the sink refused.
func (s *Sensor) Lost() uint64 { return s.lost.Load() }

// Stats gives the counts so far.
func (s *Sensor) Stats() Stats {
	return Stats{
		Asked: s.asked.Load(), Failed: s.failed.Load(), Warned: s.warned.Load(),
		Samples: s.samples.Load(), Skipped: s.skipped.Load(), Lost: s.lost.Load(),
	}
}

// Run asks until ctx is done.
func (s *Sensor) Run(ctx context.Context, sink grace.Sink) error {
	defer s.client.CloseIdleConnections()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var polls sync.WaitGroup
	var broken atomic.Pointer[any] // the first panic of a poll
	for _, q := range s.cfg.Queries {
		polls.Go(func() {
			defer func() {
				if v := recover(); v != nil {
					broken.CompareAndSwap(nil, &v)
					cancel()
				}
			}()
			s.poll(ctx, sink, q)
		})
	}
	polls.Wait()
	if v := broken.Load(); v != nil {
		panic(*v) // here, where who runs the sensor can catch it
	}
	return nil
}

// poll asks one query on and on.
func (s *Sensor) poll(ctx context.Context, sink grace.Sink, q Query) {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s.cfg.Name + "/" + string(q.Service) + "/" + q.Name))
	rnd := rand.New(rand.NewPCG(s.cfg.Seed, h.Sum64()))
	next := time.NewTimer(time.Duration(rnd.Int64N(int64(q.Interval))))
	defer next.Stop()
	var (
		fails    int
		reported string
		sent     = marks{}
		doubted  doubt
	)
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		began := time.Now()
		samples, message, fail := s.once(ctx, q, sent, began)
		if fail == nil {
			var settled bool
			if settled, fail = s.settled(ctx, q, &doubted, began); fail != nil {
				message = fail.Error()
			} else if !settled {
				message = doubted.before()
			}
			if !settled {
				samples = s.blind(q, sent, message)
			}
		}
		if fail != nil {
			doubted.fail(began)
		}
		if ctx.Err() != nil {
			return // cut short by the end: it says nothing about the target
		}
		s.send(ctx, sink, samples)
		if message != reported {
			s.cfg.Report(q, message)
			reported = message
		}
		wait := max(0, q.Interval.D()-time.Since(began))
		if fail == nil {
			fails = 0
		} else {
			fails++
			wait = backoff(fails, q.Interval.D(), longestWait(q.Interval.D()), fail.retryAfter, rnd.Float64())
		}
		next.Reset(wait)
	}
}

// remember is how long it is known what was sent of a service that no answer
// names any more: they come and go by the thousand where pods name them.
const remember = time.Hour

// marks tell what was already sent of each service.
type marks map[grace.ServiceID]mark

type mark struct {
	at   int64     // newest value, in ms
	seen time.Time // newest answer that named the service
}

func (m marks) wants(service grace.ServiceID, at int64, now time.Time) bool {
	last, known := m[service]
	if known {
		m[service] = mark{last.at, now}
	}
	return !known || at > last.at
}

func (m marks) add(samples []grace.Sample, now time.Time) {
	for _, s := range samples {
		if last, known := m[s.Service]; !known || s.At.UnixMilli() > last.at {
			m[s.Service] = mark{s.At.UnixMilli(), now}
		}
	}
	maps.DeleteFunc(m, func(_ grace.ServiceID, last mark) bool { return now.Sub(last.seen) > remember })
}

// longestWait is how long a query that fails waits at most: what happens right
// after the API is back must be seen before the metric is stale (a minute, as a rule).
func longestWait(interval time.Duration) time.Duration {
	return max(interval, min(30*time.Second, max(5*time.Second, 3*interval)))
}

// backoff doubles the base for every failure up to limit, takes off up to half
// of that by chance, and never waits less than the base or than the server
// asked for, as far as the limit goes.
func backoff(fails int, base, limit, asked time.Duration, chance float64) time.Duration {
	full := limit
	if fails < 30 && base<<fails>>fails == base {
		full = min(limit, base<<fails)
	}
	jittered := full/2 + time.Duration(chance*float64(full/2))
	return max(base, jittered, min(asked, limit))
}

// blind says for every service that a query is about that it could not be
// asked. A query whose services nobody knows yet says so for none.
func (s *Sensor) blind(q Query, sent marks, message string) []grace.Sample {
	services := slices.Sorted(maps.Keys(sent))
	if q.Service != "" && !slices.Contains(services, q.Service) || len(services) == 0 {
		services = append(services, q.Service)
	}
	out := make([]grace.Sample, len(services))
	for i, service := range services {
		out[i] = grace.Sample{
			Service: service, Sensor: s.cfg.Name, Metric: q.Name, Kind: grace.SampleSensorError, At: time.Now(), Message: message,
		}
	}
	return out
}

func (s *Sensor) send(ctx context.Context, sink grace.Sink, samples []grace.Sample) {
	if len(samples) == 0 {
		return
	}
	if err := sink.Observe(ctx, samples...); err != nil {
		s.lost.Add(uint64(len(samples)))
	}
}

// notes collects what was not as it should be with one answer: what the server
// warned of, and how many values were left out for which reason.
type notes struct {
	warnings []string
	skipped  map[string]int
}

func (n *notes) skip(reason string, values int) {
	if n.skipped == nil {
		n.skipped = map[string]int{}
	}
	n.skipped[reason] += values
}

func (n *notes) text(fail *failure) string {
	var parts []string
	if fail != nil {
		parts = append(parts, fail.Error())
	}
	parts = append(parts, n.warnings...)
	for reason := range n.skipped {
		parts = append(parts, "left out: "+reason)
	}
	slices.Sort(parts)
	return grace.CleanOutput(strings.Join(parts, "; "))
}

// value is one of a service, before it is known to be the only one of its time.
type value struct {
	service grace.ServiceID
	at      int64 // ms
	v       float64
}

// collect makes samples of an answer's series, oldest first, of those values
// that wanted lets through.
func (s *Sensor) collect(q Query, found []series, n *notes, wanted func(grace.ServiceID, int64) bool) []grace.Sample {
	var values []value
	for _, one := range found {
		service, err := q.service(one.labels)
		if err != nil {
			n.skip(err.Error(), len(one.points))
			continue
		}
		for _, p := range one.points {
			if !wanted(service, p.at) {
				continue
			}
			v := p.value * q.Scale
			if math.IsNaN(v) || math.IsInf(v, 0) {
				s.skipped.Add(1) // it means no data, and is no fault
				continue
			}
			values = append(values, value{service, p.at, v})
		}
	}
	slices.SortStableFunc(values, func(a, b value) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.service, b.service))
	})
	out := make([]grace.Sample, 0, len(values))
	for i := 0; i < len(values); {
		same := i + 1
		for same < len(values) && values[same].at == values[i].at && values[same].service == values[i].service {
			same++
		}
		if same-i > 1 {
			n.skip(q.ambiguous(values[i].service), same-i)
		} else {
			out = append(out, s.sample(q, values[i]))
		}
		i = same
	}
	for _, count := range n.skipped {
		s.skipped.Add(uint64(count))
	}
	s.samples.Add(uint64(len(out)))
	return out
}

func (s *Sensor) sample(q Query, v value) grace.Sample {
	sample := grace.Sample{
		Service: v.service, Sensor: s.cfg.Name, Metric: q.Name, Kind: grace.SampleMetric,
		Value: v.v, Unit: q.Unit, At: time.UnixMilli(v.at).UTC(),
	}
	if q.Role != grace.RoleNone {
		sample.Labels = map[string]string{RoleLabel: string(q.Role)}
	}
	return sample
}

// maxService bounds the bytes of a service's name that comes from a label.
const maxService = 256

// service tells whose a series is.
func (q Query) service(labels map[string]string) (grace.ServiceID, error) {
	if q.ServiceLabel != "" {
		name := grace.CleanOutput(labels[q.ServiceLabel])
		if len(name) > maxService {
			return "", fmt.Errorf("a series whose label %s is longer than %d bytes", q.ServiceLabel, maxService)
		}
		if name != "" {
			return grace.ServiceID(name), nil
		}
	}
	if q.Service == "" {
		return "", fmt.Errorf("a series without the label %s, and no service is configured", q.ServiceLabel)
	}
	return q.Service, nil
}

func (q Query) ambiguous(service grace.ServiceID) string {
	if q.ServiceLabel == "" {
		return "more than one series: aggregate them, or name a service_label"
	}
	return fmt.Sprintf("more than one series of %s: aggregate them by %s", service, q.ServiceLabel)
}

// failure is an answer that did not come or cannot be used.
type failure struct {
	err        error
	answered   bool          // the API said so itself: it is up
	tooMuch    bool          // a shorter range may succeed
	final      bool          // asking the same again is of no use
	away       bool          // nobody is there, or not yet
	retryAfter time.Duration // as the server asked for
}

func (f *failure) Error() string { return f.err.Error() }

// errTooMuch marks what was refused for its size.
var errTooMuch = errors.New("more than the limit")
