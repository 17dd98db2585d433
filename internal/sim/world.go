package sim

import (
	"hash/fnv"
	"math"
	"time"

	"grace"
)

const (
	callShare   = 0.5  // of a service's requests that call each dependency
	retryFactor = 0.8  // further calls for each that failed
	baseLatency = 40.0 // ms, of an idle instance
	maxQueue    = 20.0 // in seconds of a service's capacity; what comes on top is refused
	clogged     = 4.0  // a queue longer than that serves requests nobody waits for any more
	restartTime = 4 * time.Second
	warmTime    = 20.0 // seconds until a cold cache is warm by traffic alone, at best
	leakRate    = 0.004
)

// Limits beyond which a service is sick: what its objectives hold it to.
const (
	latencyLimit = 400.0 // ms
	errorLimit   = 0.08  // share of requests
	flagLimit    = 0.05  // share of requests that fail under the flag
	cacheLimit   = 0.5   // share of hits
	loadLimit    = 0.95  // share of capacity in use
	memoryLimit  = 0.85  // share
)

// service is one of the world: what ails it, and what that makes of it.
type service struct {
	Node
	deps []int

	// What ails it.
	crashed   bool
	slow      bool
	leaking   bool
	flagOn    bool // the bad one
	breaker   bool
	lostDep   time.Time // a dependency is out of reach until then
	surge     float64   // more load than usual
	surgeEnds time.Time
	fault     Kind // the newest, for scoring
	faultAt   time.Time

	// What it is like.
	downUntil time.Time // a restart takes a moment
	instances int
	memory    float64
	warmth    float64
	queue     float64 // requests
	load      float64 // what it is asked for, in requests a second
	served    float64 // what of that and of its queue it serves
	errors    float64
	latency   float64
	logging   bool
	sick      bool // as users see it
	// Seconds for which it has been beyond a limit, by metric.
	beyond map[string]int
}

type world struct {
	services []service
	index    map[grace.ServiceID]int
	seed     uint64
}

func newWorld(st Story) *world {
	w := &world{index: map[grace.ServiceID]int{}, seed: st.Seed}
	for i, n := range st.Services {
		w.index[n.ID] = i
		w.services = append(w.services, service{Node: n, instances: n.Instances, warmth: 1, memory: 0.4, latency: baseLatency, beyond: map[string]int{}})
	}
	for i := range w.services {
		for _, d := range w.services[i].DependsOn {
			if j, ok := w.index[d]; ok {
				w.services[i].deps = append(w.services[i].deps, j)
			}
		}
	}
	return w
}

func (w *world) service(id grace.ServiceID) *service {
	if i, ok := w.index[id]; ok {
		return &w.services[i]
	}
	return nil
}

// strike makes a fault happen.
func (w *world) strike(e Event, now time.Time) {
	s := w.service(grace.ServiceID(e.Target))
	if s == nil {
		return
	}
	s.fault, s.faultAt = e.Kind, now
	switch e.Kind {
	case Crash:
		s.crashed = true
	case Slow:
		s.slow = true
	case Leak:
		s.leaking, s.memory = true, max(s.memory, 0.7)
	case BadFlag:
		s.flagOn = true
	case ColdCache:
		s.warmth = 0
	case BreakerOpen:
		s.breaker = true
	case DependencyLoss:
		s.lostDep = now.Add(e.For)
	case Overload:
		s.surge, s.surgeEnds = e.Amount, now.Add(e.For)
		s.queue = clogged * 2 * s.capacity()
	default:
	}
}

// mend takes every fault away, as a person would who looks after it at the end.
func (w *world) mend() {
	for i := range w.services {
		w.services[i].mend()
	}
}

func (s *service) mend() {
	s.crashed, s.slow, s.leaking, s.flagOn, s.breaker = false, false, false, false, false
	s.lostDep, s.surge, s.queue, s.warmth, s.memory = time.Time{}, 0, 0, 1, 0.4
	s.instances = max(s.instances, s.Instances)
}

// pass takes the faults of one service away.
func (w *world) pass(id grace.ServiceID) {
	if s := w.service(id); s != nil {
		s.mend()
	}
}

// ill tells whether something of its own is wrong with the service. Slow
// instances that others make up for are not.
func (s *service) ill(now time.Time) bool {
	return s.crashed || s.slow && s.sick || s.leaking || s.flagOn || s.breaker || s.warmth < cacheLimit ||
		now.Before(s.lostDep) || s.surge > 0 || s.queue > s.capacity()
}

func (s *service) up(now time.Time) bool { return !s.crashed && !now.Before(s.downUntil) }

func (s *service) capacity() float64 {
	c := float64(s.instances) * s.Capacity
	switch {
	case s.slow:
		c *= 0.45
	case s.queue > clogged*float64(s.instances)*s.Capacity:
		// Metastable: most of what is served is given up on already, and asked
		// for again. It does not end when the surge does.
		c *= 0.55
	}
	return c
}

// tick lets one second pass. Every service sees the others as they were a
// second ago, so cycles need no care.
func (w *world) tick(now time.Time) {
	before := make([]service, len(w.services))
	copy(before, w.services)
	incoming := make([]float64, len(before))
	for i := range before {
		s := &before[i]
		incoming[i] += s.Load * max(1, s.surge)
		if !s.up(now) {
			continue
		}
		for _, d := range s.deps {
			// What waits or is refused calls nobody: a retry storm cannot pass on
			// more than services serve, and in a cycle not feed itself for ever.
			incoming[d] += s.served * callShare * (1 + retryFactor*before[d].errors)
		}
	}
	for i := range w.services {
		w.services[i].tick(now, incoming[i], before)
	}
}

func (s *service) tick(now time.Time, load float64, before []service) {
	if s.surge > 0 && !now.Before(s.surgeEnds) {
		s.surge = 0
	}
	s.load, s.served = load, 0
	if s.leaking {
		s.memory = min(1, s.memory+leakRate)
		if s.memory >= 1 {
			s.crashed = true // killed for want of memory
		}
	}
	if !s.up(now) {
		s.errors, s.latency, s.queue = 1, baseLatency, 0
		s.judge(now)
		return
	}
	if s.Cache && s.warmth < 1 {
		// A cold cache warms by its hits; under an eviction storm hardly.
		s.warmth = min(1, s.warmth+0.2/warmTime*s.warmth*s.warmth)
	}
	capacity := s.capacity()
	if s.Cache {
		capacity *= 0.55 + 0.45*s.warmth
	}
	s.served = min(s.queue+load, capacity)
	s.queue = min(max(0, s.queue+load-capacity), maxQueue*float64(s.instances)*s.Capacity)
	use := min(load/max(capacity, 1), 0.97)
	s.latency = baseLatency/(1-use*0.8) + 1000*s.queue/max(capacity, 1)
	if s.slow {
		s.latency += 3 * baseLatency
	}
	if s.Cache {
		s.latency += 450 * (1 - s.warmth)
	}
	good := 1.0
	for _, d := range s.deps {
		dep := &before[d]
		s.latency += callShare * max(0, min(dep.latency, 3000)-2*baseLatency)
		if now.Before(s.lostDep) {
			good *= 0.5
		}
		good *= 1 - callShare*dep.errors*(1-retryFactor*0.5)
	}
	if s.flagOn {
		good *= 0.7
	}
	if s.breaker {
		good *= 0.5
	}
	if s.latency > 2500 {
		good *= 0.6 // callers give up
	}
	s.errors = 1 - good
	s.judge(now)
}

func (s *service) judge(now time.Time) {
	s.sick = !s.up(now) || s.errors > errorLimit || s.latency > latencyLimit
	count := func(metric string, bad bool) {
		s.beyond[metric]++
		if !bad {
			s.beyond[metric] = 0
		}
	}
	count(metricUp, !s.up(now))
	count(metricLatency, s.latency > latencyLimit)
	count(metricErrors, s.errors > errorLimit)
	count(metricLoad, s.queue > 0)
	count(metricMemory, s.memory > memoryLimit)
	count(metricFlag, s.flagOn)
	count(metricCache, s.Cache && s.warmth < cacheLimit)
	count(metricBreaker, s.breaker)
}

// value gives a metric as it is now.
func (s *service) value(metric string, now time.Time) (v float64, ok bool) {
	switch metric {
	case metricUp:
		if s.up(now) {
			return 1, true
		}
		return 0, true
	case metricInstances:
		return float64(s.instances), true
	}
	if !s.up(now) {
		return 0, false // a process that is not there tells nothing
	}
	switch metric {
	case metricLatency:
		return s.latency, true
	case metricErrors:
		return s.errors, true
	case metricLoad:
		if s.queue > 0 {
			return max(1, s.load/max(s.capacity(), 1)), true // with requests waiting nobody is idle
		}
		return s.load / max(s.capacity(), 1), true
	case metricMemory:
		return s.memory, true
	case metricFlag:
		if s.flagOn {
			return 0.3, s.Flag
		}
		return 0, s.Flag
	case metricCache:
		return s.warmth, s.Cache
	case metricBreaker:
		if s.breaker {
			return 1, len(s.deps) > 0
		}
		return 0, len(s.deps) > 0
	}
	return 0, false
}

// The metrics of a service.
const (
	metricUp        = "up"
	metricInstances = "instances"
	metricLatency   = "latency_ms"
	metricErrors    = "error_rate"
	metricLoad      = "utilisation"
	metricMemory    = "memory"
	metricFlag      = "flag_errors"
	metricCache     = "cache_hits"
	metricBreaker   = "breaker_open"
)

func metrics() []string {
	return []string{
		metricUp, metricInstances, metricLatency, metricErrors, metricLoad, metricMemory, metricFlag, metricCache, metricBreaker,
	}
}

// draw gives a number in [0, 1) that depends on the seed and the names alone.
func draw(seed uint64, names ...string) float64 {
	h := fnv.New64a()
	for i := range 8 {
		_, _ = h.Write([]byte{byte(seed >> (8 * i))})
	}
	for _, n := range names {
		_, _ = h.Write([]byte(n))
		_, _ = h.Write([]byte{0})
	}
	v := h.Sum64()
	v = (v ^ v>>30) * 0xbf58476d1ce4e5b9
	v = (v ^ v>>27) * 0x94d049bb133111eb
	return float64((v^v>>31)>>11) / (1 << 53)
}

// noisy makes a measurement of a value.
func noisy(v, noise float64) float64 {
	if v == 0 || math.IsNaN(v) {
		return v
	}
	return v * (0.95 + 0.1*noise)
}
