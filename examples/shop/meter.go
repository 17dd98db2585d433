package shop

import (
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// reportCollector yields the gauges that replicas tell of themselves.
type reportCollector struct {
	spec    spec
	reports func() []report

	breaker, flag, level, heap, busy, hits, entries *prometheus.Desc
}

func newReportCollector(s spec, reports func() []report) *reportCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("shop_"+name, help, labels, nil)
	}
	return &reportCollector{
		spec: s, reports: reports,
		breaker: desc("breaker_open", "1 while a circuit breaker is open."),
		flag:    desc("flag_enabled", "1 while the feature flag is on.", "flag"),
		level:   desc("log_level", "The lowest level logged: debug -4, info 0, warn 4, error 8."),
		heap:    desc("heap_bytes", "Memory held by the largest replica."),
		busy:    desc("saturation", "Share of the slots of the busiest replica that worked in the last 5 s."),
		hits:    desc("cache_hit_ratio", "Share of the last lookups that were found."),
		entries: desc("cache_entries", "Entries in the cache."),
	}
}

// Describe implements prometheus.Collector.
func (c *reportCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.breaker, c.flag, c.level, c.heap, c.busy, c.hits, c.entries} {
		ch <- d
	}
}

// Collect implements prometheus.Collector. Without a replica it yields
// nothing: no data is not zero.
func (c *reportCollector) Collect(ch chan<- prometheus.Metric) {
	reports := c.reports()
	if len(reports) == 0 {
		return
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	m := mergeReports(reports)
	if len(c.spec.needs) > 0 {
		gauge(c.breaker, number(m.BreakerOpen))
	}
	for flag, on := range m.Flags {
		gauge(c.flag, number(on), flag)
	}
	gauge(c.level, float64(m.Level))
	gauge(c.heap, float64(m.Heap))
	gauge(c.busy, m.Saturation)
	if m.HitRatio != nil && m.Entries != nil {
		gauge(c.hits, *m.HitRatio)
		gauge(c.entries, float64(*m.Entries))
	}
}

// mergeReports makes one report of a service's: whatever is worst, but the
// mean of the hit ratios and the sum of the entries.
func mergeReports(reports []report) report {
	out := report{Flags: map[string]bool{}, Level: reports[0].Level}
	var ratio float64
	var caches, entries int
	for _, r := range reports {
		out.BreakerOpen = out.BreakerOpen || r.BreakerOpen
		for f, on := range r.Flags {
			out.Flags[f] = out.Flags[f] || on
		}
		out.Level = min(out.Level, r.Level)
		out.Heap = max(out.Heap, r.Heap)
		out.Saturation = max(out.Saturation, r.Saturation)
		if r.HitRatio != nil && r.Entries != nil {
			ratio += *r.HitRatio
			entries += *r.Entries
			caches++
		}
	}
	if caches > 0 {
		ratio /= float64(caches)
		out.HitRatio, out.Entries = &ratio, &entries
	}
	return out
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// serviceMeter counts at the balancer, where counts outlive replicas.
type serviceMeter struct {
	requests   *prometheus.CounterVec
	errors     prometheus.Counter
	flagErrors *prometheus.CounterVec
	duration   prometheus.Histogram
	inFlight   prometheus.Gauge
	recent     recent
}

func newServiceMeter(flag string) *serviceMeter {
	m := &serviceMeter{
		requests:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "shop_requests_total", Help: "Answered requests; 499 is a caller that gave up."}, []string{"code"}),
		errors:     prometheus.NewCounter(prometheus.CounterOpts{Name: "shop_errors_total", Help: "Requests answered 5xx."}),
		flagErrors: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "shop_flag_errors_total", Help: "Requests that failed in code behind a feature flag."}, []string{"flag"}),
		duration:   prometheus.NewHistogram(prometheus.HistogramOpts{Name: "shop_request_duration_seconds", Help: "Time to answer, waiting included.", Buckets: buckets()}),
		inFlight:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "shop_in_flight", Help: "Requests being answered."}),
	}
	// A series that is there from the start has a rate from the first error on.
	m.flagErrors.WithLabelValues(flag)
	for _, code := range []int{200, 500, 502, 503} {
		m.requests.WithLabelValues(strconv.Itoa(code))
	}
	return m
}

// collectors gives everything to register for a service.
func (m *serviceMeter) collectors(s *service) []prometheus.Collector {
	serving := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "shop_instances_serving", Help: "Replicas that take requests."},
		func() float64 { return float64(len(s.serving())) })
	ratio := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "shop_error_ratio", Help: "Errors over requests of the last 5 s."},
		func() float64 { return m.recent.errorRatio(time.Now()) })
	return []prometheus.Collector{
		m.requests, m.errors, m.flagErrors, m.duration, m.inFlight, serving, ratio,
		newReportCollector(s.spec, s.reports),
	}
}

// done counts one answered request.
func (m *serviceMeter) done(status int, badFlag string, took time.Duration) {
	m.requests.WithLabelValues(strconv.Itoa(status)).Inc()
	m.duration.Observe(took.Seconds())
	if status >= 500 {
		m.errors.Inc()
	}
	if badFlag != "" {
		m.flagErrors.WithLabelValues(badFlag).Inc()
	}
	m.recent.done(time.Now(), status >= 500)
}

// recentSeconds is how far back recent looks.
const recentSeconds = 5

// recent counts arrivals and answers by second.
type recent struct {
	mu      sync.Mutex
	seconds [recentSeconds + 1]second
}

type second struct {
	at                      int64 // Unix time
	arrived, ended, errored int
}

func (r *recent) arrived(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.slot(now.Unix()).arrived++
}

func (r *recent) done(now time.Time, failed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.slot(now.Unix())
	s.ended++
	if failed {
		s.errored++
	}
}

func (r *recent) slot(at int64) *second {
	s := &r.seconds[at%int64(len(r.seconds))]
	if s.at != at {
		*s = second{at: at}
	}
	return s
}

// rate gives arrivals per second: the median of the last whole seconds, which
// neither a burst nor a pause of the load moves.
func (r *recent) rate(now time.Time) float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	var counts [recentSeconds]int
	for _, s := range r.seconds {
		if age := now.Unix() - s.at; age >= 1 && age <= recentSeconds {
			counts[age-1] = s.arrived
		}
	}
	slices.Sort(counts[:])
	return float64(counts[recentSeconds/2])
}

// errorRatio is 0 when nothing was asked.
func (r *recent) errorRatio(now time.Time) float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	ended, errored := 0, 0
	for _, s := range r.seconds {
		if now.Unix()-s.at < recentSeconds {
			ended += s.ended
			errored += s.errored
		}
	}
	if ended == 0 {
		return 0
	}
	return float64(errored) / float64(ended)
}
