package shop

import (
	"slices"
	"time"
)

// The six services.
const (
	Frontend = "frontend"
	Catalog  = "catalog"
	Cart     = "cart"
	Checkout = "checkout"
	Cache    = "cache"
	Store    = "store"
)

// DefaultPort is the platform's; the services have the ones that follow, in
// the order of [Services].
const DefaultPort = 18080

// Bounds of scaling.
const (
	minInstances = 1
	maxInstances = 8
)

// spec says how a service is built.
type spec struct {
	name     string
	needs    []string      // the services it calls
	replicas int           // at start
	slots    int           // requests a replica works on at once
	work     time.Duration // own work on one request
	flag     string        // its feature flag
	direct   float64       // requests per second the load generator sends straight to it
}

// specs are in the order of the ports. Every service gets some ten requests a
// second, so that losing capacity shows within seconds.
func specs() []spec {
	return []spec{
		{name: Frontend, needs: []string{Catalog, Cart, Checkout}, replicas: 2, slots: 16, work: 2 * time.Millisecond, flag: "new_home", direct: 8},
		{name: Catalog, needs: []string{Cache, Store}, replicas: 1, slots: 8, work: 4 * time.Millisecond, flag: "fast_search", direct: 4},
		{name: Cart, replicas: 1, slots: 8, work: 3 * time.Millisecond, flag: "bulk_cart", direct: 4},
		{name: Checkout, needs: []string{Cart, Store}, replicas: 1, slots: 8, work: 5 * time.Millisecond, flag: "express_pay", direct: 7},
		{name: Cache, replicas: 1, slots: 8, work: 1 * time.Millisecond, flag: "compress", direct: 3},
		{name: Store, replicas: 1, slots: 8, work: 4 * time.Millisecond, flag: "new_index", direct: 4},
	}
}

// Services gives the names of the services in the order of their ports.
func Services() []string {
	var names []string
	for _, s := range specs() {
		names = append(names, s.name)
	}
	return names
}

// Kind of a fault. The package doc says what each does and what cures it.
type Kind string

// The faults.
const (
	Crash           Kind = "crash"
	Latency         Kind = "latency"
	DependencySlow  Kind = "dependency_slow"
	ErrorsAfterFlag Kind = "errors_after_flag"
	ColdCache       Kind = "cold_cache"
	Leak            Kind = "leak"
	OpenBreaker     Kind = "open_breaker"
	StuckLatency    Kind = "stuck_latency"
	SlowLeak        Kind = "slow_leak"
	RisingLoad      Kind = "rising_load"
)

// fits says whether a fault can befall a service, and if not, why.
func (k Kind) fits(s spec) (reason string, ok bool) {
	switch k {
	case Crash, Latency, ErrorsAfterFlag, Leak, StuckLatency, SlowLeak, RisingLoad:
		return "", true
	case DependencySlow:
		needed := slices.ContainsFunc(specs(), func(o spec) bool { return slices.Contains(o.needs, s.name) })
		return "no service depends on " + s.name, needed
	case ColdCache:
		return s.name + " has no cache; use " + Cache, s.name == Cache
	case OpenBreaker:
		return s.name + " calls no service, so it has no breaker", len(s.needs) > 0
	}
	return "unknown kind " + string(k), false
}

// takesCapacity says whether more replicas relieve it.
func (k Kind) takesCapacity() bool { return k == Latency || k == DependencySlow || k == RisingLoad }

// Fault is one that was injected.
type Fault struct {
	ID      string    `json:"id"`
	Service string    `json:"service"`
	Kind    Kind      `json:"kind"`
	Since   time.Time `json:"since"`
	// Relieved: still there, but there are more replicas than when it came.
	Relieved bool       `json:"relieved,omitempty"`
	CuredAt  *time.Time `json:"cured_at,omitempty"`
	CuredBy  string     `json:"cured_by,omitempty"` // restart, flag, warm, flush or delete
}

// replicaState is what the platform wants of a replica. It is sent whole, so
// that a replica is right whatever it missed, and with every poll.
type replicaState struct {
	Revision     int             `json:"revision"` // an older one is late and counts for nothing
	Flags        map[string]bool `json:"flags"`
	Level        string          `json:"level"`
	Slots        int             `json:"slots"`
	Work         time.Duration   `json:"work"`
	Delay        time.Duration   `json:"delay"`         // on top of the work, outside the queue
	Leak         time.Duration   `json:"leak"`          // time in which a mebibyte is lost; 0 is never
	BreakerStuck bool            `json:"breaker_stuck"` // breakers open and stay so
	Cold         bool            `json:"cold"`          // the cache is empty and takes nothing
}

// replicaSettings is the line a replica gets on standard input.
type replicaSettings struct {
	Service string            `json:"service"`
	ID      string            `json:"id"`
	Peers   map[string]string `json:"peers"` // base URL by service
	State   replicaState      `json:"state"`
}

// hello is the line a replica writes to standard output when it listens.
type hello struct {
	Addr string `json:"addr"`
}

// report is what a replica says of itself when polled.
type report struct {
	BreakerOpen bool            `json:"breaker_open"`
	Flags       map[string]bool `json:"flags"`
	Level       int             `json:"level"`
	Heap        uint64          `json:"heap"`
	Saturation  float64         `json:"saturation"` // share of the slots that were busy in the last seconds
	HitRatio    *float64        `json:"hit_ratio,omitempty"`
	Entries     *int            `json:"entries,omitempty"`
}
