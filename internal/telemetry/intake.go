package telemetry

import (
	"errors"
	"fmt"
	"hash/maphash"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"grace"
)

// Options are what the intake works with. All may be left out.
type Options struct {
	// Sinks take what comes out, one for each shard; their number is a power
	// of two. Without, 16 shards count and forward only.
	Sinks []Sink
	// Known tells whether a service is declared.
	Known func(service grace.ServiceID) bool
	// Wanted tells whether an objective names the metric of a service: such
	// series are kept in any case, and forwarded.
	Wanted func(service grace.ServiceID, metric string) bool
	// Forward takes the samples of wanted metrics, at the end of each batch.
	// What it fails to take is offered again with the next batch.
	Forward func(samples []grace.Sample) error
	// Evicted is told of series that gave their place, outside of locks.
	Evicted func(Eviction)
	// Now is the clock; time.Now if left out.
	Now func() time.Time
}

// Eviction is a series that gave its place to another. At most one a second is
// told.
type Eviction struct {
	Labels string // as in Series.Labels, with the name before
	Why    string
	Others uint64 // that went since the one told before
}

const defaultShards = 16

// Intake is where the edges hand their series to. It is safe for concurrent
// use.
type Intake struct {
	seed   maphash.Seed
	shift  uint // of a hash, to its shard
	shards []shard
	mapper atomic.Pointer[mapper]
	opt    Options

	tallies  sync.Mutex
	sources  map[string]*tally
	services map[grace.ServiceID]*tally
	groups   map[groupID]*group

	told     atomic.Int64  // Unix ms of the newest eviction that was told
	untold   atomic.Uint64 // evictions since
	pending  pending
	batches  sync.Pool
	counters counters
}

// tally counts the series of a source or a service.
type tally struct {
	series  atomic.Int64
	batches atomic.Int64 // of a source, open now
}

// New makes an intake.
func New(cfg Config, o Options) (*Intake, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("telemetry: %w", err)
	}
	n := len(o.Sinks)
	if n == 0 {
		n = defaultShards
	}
	if bits.OnesCount(uint(n)) != 1 {
		return nil, fmt.Errorf("telemetry: %d sinks: want a power of two", n)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	in := &Intake{
		seed: maphash.MakeSeed(), shift: 64 - uint(bits.TrailingZeros(uint(n))), shards: make([]shard, n), opt: o,
		sources: map[string]*tally{}, services: map[grace.ServiceID]*tally{}, groups: map[groupID]*group{},
	}
	for i := range in.shards {
		sh := &in.shards[i]
		sh.series, sh.ignored, sh.sink = map[uint64]*entry{}, map[uint64]ignored{}, discard{}
		if i < len(o.Sinks) {
			if o.Sinks[i] == nil {
				return nil, errors.New("telemetry: a sink is nil")
			}
			sh.sink = o.Sinks[i]
		}
	}
	in.mapper.Store(newMapper(cfg, o))
	in.batches.New = func() any { return &Batch{in: in} }
	return in, nil
}

// Shards gives their number.
func (in *Intake) Shards() int { return len(in.shards) }

// Do runs f on the sink of a shard while no sample is appended to it. It should
// be short: samples of that shard wait.
func (in *Intake) Do(shard int, f func(Sink)) {
	sh := &in.shards[shard]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	f(sh.sink)
}

func (in *Intake) shard(h uint64) *shard { return &in.shards[h>>in.shift] }

// Reconfigure changes rules and limits, and looks again at which services are
// declared and which metrics wanted. Series whose mapping changed are closed,
// and opened anew with their next sample; the others keep what they are.
func (in *Intake) Reconfigure(cfg Config) error {
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("telemetry: %w", err)
	}
	m := newMapper(cfg, in.opt)
	in.mapper.Store(m)
	var scratch []label
	for i := range in.shards {
		sh := &in.shards[i]
		sh.mu.Lock()
		clear(sh.ignored)
		all := make([]*entry, 0, len(sh.list))
		for _, e := range sh.list {
			if e.form != formHistogram || e.hist.buckets == 0 { // else it goes with the last of its buckets
				all = append(all, e)
			}
		}
		sh.mu.Unlock()
		for _, e := range all {
			labels, err := parseKey(scratch[:0], []byte(e.key))
			if err == nil {
				scratch = labels
				out := m.resolve(labels, Meta{Kind: e.given})
				if out.reason == Taken && in.digest(out.outputs) == e.digest {
					continue
				}
			}
			in.remove(sh, e)
		}
	}
	return nil
}

// ofSource finds or makes the tally of a source, for one more batch.
func (in *Intake) ofSource(source string) *tally {
	in.tallies.Lock()
	defer in.tallies.Unlock()
	t := in.sources[source]
	if t == nil {
		t = &tally{}
		in.sources[source] = t
	}
	t.batches.Add(1)
	return t
}

// ofService counts one more series of a service. It gives nil when that is
// beyond the limit.
func (in *Intake) ofService(service grace.ServiceID, limit int) *tally {
	in.tallies.Lock()
	defer in.tallies.Unlock()
	t := in.services[service]
	if t == nil {
		t = &tally{}
		in.services[service] = t
	}
	if !t.take(limit) {
		return nil
	}
	return t
}

// prune forgets sources, services and groups that have no series any more.
func (in *Intake) prune() {
	in.tallies.Lock()
	defer in.tallies.Unlock()
	for k, t := range in.sources {
		if t.batches.Load() == 0 && t.series.Load() == 0 {
			delete(in.sources, k)
		}
	}
	for k, t := range in.services {
		if t.series.Load() == 0 {
			delete(in.services, k)
		}
	}
	for k, g := range in.groups {
		g.mu.Lock()
		if len(g.members) == 0 {
			delete(in.groups, k)
		}
		g.mu.Unlock()
	}
}

// take counts one more, unless that is beyond the limit.
func (t *tally) take(limit int) bool {
	if t.series.Add(1) > int64(limit) {
		t.series.Add(-1)
		return false
	}
	return true
}
