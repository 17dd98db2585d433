// Package promql is the sensor that asks a Prometheus-compatible HTTP API
// (Prometheus, Thanos, Mimir, VictoriaMetrics) the queries it is configured
// with, and what expressions ask whose source it is (see [series.Remote]).
//
//	Query ── instant ──> elements ──┐
//	  └─ timestamp() of what it ────┴─> [series.Set]: appended, or ended with a stale marker
//	     looks at: how new they are
//
// Every [Query] is asked on its own interval, at an offset drawn from the seed. Each
// element of an answer is a series: of the metric that the query names, with the labels it
// has, the sensor's name as job, and the service, which is the configured one or the one
// that a label names. A label that it has itself of such a name is kept as exported_. What
// an expression is the source of has its own labels alone. What an answer has no more has
// ended.
//
// A sample has the time at which was asked. It is evidence from when that was measured which
// it rests on: of each selector of the query the source is asked for the time of the newest
// samples. So what the source repeats, or had before it was away, shows nothing new. Of a
// query in another dialect that is not known: its answers are new.
//
// What is left out is said and counted, and the rest is kept:
//
//	no service              the element lacks the label, and no service is configured
//	native histograms       ask for histogram_quantile or histogram_avg instead
//	warnings, partial       what is there is taken; what is not there has not ended by that
//	no room                 likewise
//
// An answer that is too long or has too many series is refused whole.
//
// A query that fails is asked again later and later, up to three of its intervals, with
// jitter, or when the server's Retry-After says so. Nothing ends by that. Each failure is a
// sample of kind sensor_error for every service the query is about: its metric is stale,
// with the reason; an expression whose source fails is broken ([series.DB.Broken]). That the
// API is away says nothing about these services; to watch Prometheus itself, probe it.
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
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"grace"
	"grace/internal/httpclient"
	"grace/internal/series"
)

// Stats counts since the sensor was made.
type Stats struct {
	Asked   uint64 // queries sent
	Failed  uint64 // of these, without a usable answer
	Warned  uint64 // answers that came with a warning or in part
	Samples uint64 // elements that were appended
	Skipped uint64 // elements that were not: see the package doc
	Lost    uint64 // samples that the sink refused
}

// Sensor polls one API.
type Sensor struct {
	cfg    Config
	url    string
	client *httpclient.Client
	slots  chan struct{} // one for each query under way
	polls  []*poll       // one for each query

	asked, failed, warned, samples, skipped, lost atomic.Uint64
}

var _ grace.Sensor = (*Sensor)(nil)

// New makes a sensor whose answers are kept in db, or says what is wrong with its
// configuration. One that is asked for [Sensor.History] alone has none.
func New(cfg Config, db *series.DB) (*Sensor, error) {
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
	for _, q := range cfg.Queries {
		s.polls = append(s.polls, s.newPoll(q, db))
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
	told := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var polls sync.WaitGroup
	var broken atomic.Pointer[any] // the first panic of a poll
	for _, p := range s.polls {
		polls.Go(func() {
			defer func() {
				if v := recover(); v != nil {
					broken.CompareAndSwap(nil, &v)
					cancel()
				}
			}()
			defer p.close(told)
			p.run(ctx, sink)
		})
	}
	polls.Wait()
	if v := broken.Load(); v != nil {
		panic(*v) // here, where who runs the sensor can catch it
	}
	return nil
}

// close ends what the query gave.
func (p *poll) close(ctx context.Context) {
	p.set.Leave(ctx, time.Now())
	p.seen.Leave(ctx, time.Now())
}

// random gives what a query draws from.
func (s *Sensor) random(q *Query, what string) *rand.Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s.cfg.Name + "/" + string(q.Service) + "/" + q.Name + what))
	return rand.New(rand.NewPCG(s.cfg.Seed, h.Sum64()))
}

// run asks the query on and on.
func (p *poll) run(ctx context.Context, sink grace.Sink) {
	rnd, every := p.s.random(&p.Query, ""), p.Interval.D()
	next := time.NewTimer(time.Duration(rnd.Int64N(int64(every))))
	defer next.Stop()
	fails, reported := 0, ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		began := time.Now()
		a, fail := p.once(ctx, began)
		if ctx.Err() != nil {
			return // cut short by the end: it says nothing about the target
		}
		if err := sink.Observe(ctx, a.Samples...); err != nil {
			p.s.lost.Add(uint64(len(a.Samples)))
		}
		if a.Problem != reported {
			p.s.cfg.Report(p.Query, a.Problem)
			reported = a.Problem
		}
		wait := max(0, every-time.Since(began))
		if fail == nil {
			fails = 0
		} else {
			fails++
			wait = backoff(fails, every, longestWait(every), fail.retryAfter, rnd.Float64())
		}
		next.Reset(wait)
	}
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
