package shop

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// service is one of the six as the platform keeps it.
type service struct {
	spec     spec
	listener net.Listener
	url      string
	meter    *serviceMeter
	registry *prometheus.Registry

	// op is held through a change of replicas or state, so that changes follow
	// each other; mu guards the fields and is never held while waiting.
	op        sync.Mutex
	mu        sync.Mutex
	instances []*instance
	want      replicaState
	until     time.Time // when the log level goes back; zero is never
	born      int       // instances ever started, for their names
	next      int       // where the balancer looks first, so that equals take turns
}

func newService(s spec, ln net.Listener) *service {
	svc := &service{
		spec: s, listener: ln, url: "http://" + ln.Addr().String(),
		meter: newServiceMeter(s.flag), registry: prometheus.NewRegistry(),
		want: replicaState{Flags: map[string]bool{s.flag: false}, Level: "INFO", Slots: s.slots, Work: s.work},
	}
	svc.registry.MustRegister(svc.meter.collectors(svc)...)
	return svc
}

// desired gives a copy of what every replica is to be.
func (s *service) desired() replicaState {
	s.mu.Lock()
	defer s.mu.Unlock()
	want := s.want
	want.Flags = maps.Clone(want.Flags)
	return want
}

func (s *service) all() []*instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.instances)
}

func (s *service) serving() []*instance {
	return slices.DeleteFunc(s.all(), func(i *instance) bool { return !i.serving() })
}

func (s *service) reports() []report {
	var out []report
	for _, i := range s.serving() {
		if r := i.last.Load(); r != nil {
			out = append(out, *r)
		}
	}
	return out
}

// pick takes the serving replica with the fewest requests in flight and counts
// one more; nil when none serves.
func (s *service) pick() *instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	var best *instance
	s.next++
	for n := range s.instances {
		i := s.instances[(s.next+n)%len(s.instances)]
		if i.serving() && (best == nil || i.inFlight.Load() < best.inFlight.Load()) {
			best = i
		}
	}
	if best != nil {
		best.inFlight.Add(1)
	}
	return best
}

// balance answers at the service's fixed address.
func (s *service) balance() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /instances", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, s.status().Replicas) })
	mux.HandleFunc("/admin/", http.NotFound)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, req *http.Request) {
		if i := s.pick(); i != nil {
			defer i.inFlight.Add(-1)
			i.proxy.ServeHTTP(w, req)
			return
		}
		reply(w, http.StatusServiceUnavailable, problem{"no instance of " + s.spec.name + " serves"})
	})
	mux.HandleFunc("/", s.forward)
	return mux
}

func (s *service) forward(w http.ResponseWriter, req *http.Request) {
	start := time.Now()
	s.meter.recent.arrived(start)
	s.meter.inFlight.Inc()
	seen := &statusWriter{ResponseWriter: w, status: http.StatusOK}
	// Deferred, because the proxy panics to cut a connection.
	defer func() {
		s.meter.inFlight.Dec()
		s.meter.done(seen.status, seen.Header().Get(flagHeader), time.Since(start))
	}()
	i := s.pick()
	if i == nil {
		reply(seen, http.StatusServiceUnavailable, problem{"no instance of " + s.spec.name + " serves"})
		return
	}
	defer i.inFlight.Add(-1)
	i.proxy.ServeHTTP(seen, req)
}

// statusWriter remembers the status.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Status of a service, as GET /services/{s} answers it.
type Status struct {
	Name      string          `json:"name"`
	URL       string          `json:"url"`
	Instances int             `json:"instances"`
	Serving   int             `json:"serving"`
	Flags     map[string]bool `json:"flags"`
	LogLevel  string          `json:"log_level"`
	Until     *time.Time      `json:"log_level_until,omitempty"`
	Rate      float64         `json:"rate"`       // requests per second
	Heap      uint64          `json:"heap_bytes"` // of the largest replica
	Busy      float64         `json:"saturation"` // of the busiest replica
	Replicas  []ReplicaStatus `json:"replicas"`
}

// ReplicaStatus is one process of a service.
type ReplicaStatus struct {
	ID       string `json:"id"`
	PID      int    `json:"pid"`
	URL      string `json:"url"`
	State    string `json:"state"` // serving, silent or crashed
	InFlight int64  `json:"in_flight"`
}

func (s *service) status() Status {
	want, now := s.desired(), time.Now()
	st := Status{
		Name: s.spec.name, URL: s.url, Flags: want.Flags, LogLevel: want.Level,
		Rate: s.meter.recent.rate(now), Replicas: []ReplicaStatus{},
	}
	s.mu.Lock()
	if !s.until.IsZero() {
		until := s.until
		st.Until = &until
	}
	s.mu.Unlock()
	for _, i := range s.all() {
		r := ReplicaStatus{ID: i.id, PID: i.cmd.Process.Pid, URL: i.base, State: "serving", InFlight: i.inFlight.Load()}
		switch {
		case !i.running():
			r.State = "crashed"
		case !i.serving():
			r.State = "silent"
		default:
			st.Serving++
		}
		st.Replicas = append(st.Replicas, r)
	}
	st.Instances = len(st.Replicas)
	if reports := s.reports(); len(reports) > 0 {
		m := mergeReports(reports)
		st.Heap, st.Busy = m.Heap, m.Saturation
	}
	return st
}

// start launches n new replicas at the same time; all or none.
func (p *platform) start(ctx context.Context, s *service, n int) ([]*instance, error) {
	type result struct {
		inst *instance
		err  error
	}
	results := make(chan result)
	for range n {
		s.mu.Lock()
		s.born++
		id := fmt.Sprintf("%s-%d", s.spec.name, s.born)
		s.mu.Unlock()
		go func() {
			inst, err := p.launch(ctx, s, id)
			results <- result{inst, err}
		}()
	}
	var started []*instance
	var errs []error
	for range n {
		if r := <-results; r.err != nil {
			errs = append(errs, r.err)
		} else {
			started = append(started, r.inst)
		}
	}
	if err := errors.Join(errs...); err != nil {
		for _, i := range started {
			i.kill()
		}
		return nil, err
	}
	return started, nil
}

// replace puts new replicas into the balancer, then lets the old ones go.
func (s *service) replace(with []*instance) {
	s.mu.Lock()
	old := s.instances
	s.instances = with
	s.mu.Unlock()
	retireAll(slices.DeleteFunc(slices.Clone(old), func(i *instance) bool { return slices.Contains(with, i) }))
}

func retireAll(instances []*instance) {
	var wg sync.WaitGroup
	for _, i := range instances {
		wg.Go(i.retire)
	}
	wg.Wait()
}

// set changes what the replicas are to be and polls them. One that does not
// answer gets it with its next poll.
func (p *platform) set(ctx context.Context, s *service, change func(*replicaState)) {
	s.mu.Lock()
	s.want.Flags = maps.Clone(s.want.Flags)
	change(&s.want)
	s.want.Revision++
	s.mu.Unlock()
	p.poll(ctx, s)
}

// poll polls all replicas of a service at once.
func (p *platform) poll(ctx context.Context, s *service) {
	state := s.desired()
	p.each(s, func(i *instance) error { return i.poll(ctx, p.client, state) })
}

// each does something with every running replica of a service at once.
func (p *platform) each(s *service, do func(*instance) error) {
	var wg sync.WaitGroup
	for _, i := range s.all() {
		if !i.running() {
			continue
		}
		wg.Go(func() {
			if err := do(i); err != nil && i.running() {
				p.logger.Warn("a replica did not answer", "instance", i.id, "error", err)
			}
		})
	}
	wg.Wait()
}
