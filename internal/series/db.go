package series

import (
	"errors"
	"fmt"
	"hash/maphash"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"

	"grace"
)

// Options are what the series are kept with. All may be left out.
type Options struct {
	// Sinks take the numbers that are forecast, one for each shard; their number is a
	// power of two. Without, 16 shards forecast nothing.
	Sinks []Sink
	// Known tells whether a service is declared.
	Known func(service grace.ServiceID) bool
	// Evicted is told of series that gave their place, outside of locks.
	Evicted func(Eviction)
	// Now is the clock; time.Now if left out.
	Now func() time.Time
}

// Eviction is a series that gave its place to another. At most one a second is
// told.
type Eviction struct {
	Labels string
	Why    string
	Others uint64 // that went since the one told before
}

const defaultShards = 16

// DB is where the edges append series, and expressions are evaluated. It is safe for
// concurrent use.
type DB struct {
	seed   maphash.Seed
	shift  uint // of a hash, to its shard
	shards []shard
	mapper atomic.Pointer[mapper]
	opt    Options
	engine *promql.Engine

	opening sync.RWMutex // held to write while selectors change, to read while a series is opened
	watched atomic.Pointer[selectors]

	tallies  sync.Mutex
	sources  map[string]*tally
	services map[grace.ServiceID]*tally
	faults   map[*Set]fault // of sets that cannot be told; guarded by tallies

	told     atomic.Int64  // Unix ms of the newest eviction that was told
	untold   atomic.Uint64 // evictions since
	batches  sync.Pool
	counters counters
}

// tally counts the series of a source or a service.
type tally struct {
	series  atomic.Int64
	batches atomic.Int64 // of a source, open now
}

// New makes a DB without series, in which no expression looks at any.
func New(cfg Config, o Options) (*DB, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("series: %w", err)
	}
	n := len(o.Sinks)
	if n == 0 {
		n = defaultShards
	}
	if bits.OnesCount(uint(n)) != 1 {
		return nil, fmt.Errorf("series: %d sinks: want a power of two", n)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	db := &DB{
		seed: maphash.MakeSeed(), shift: 64 - uint(bits.TrailingZeros(uint(n))), shards: make([]shard, n), opt: o,
		engine: newEngine(), sources: map[string]*tally{}, services: map[grace.ServiceID]*tally{}, faults: map[*Set]fault{},
	}
	for i := range db.shards {
		sh := &db.shards[i]
		sh.series, sh.sink = map[uint64]*entry{}, discard{}
		sh.forgetPassed()
		if i < len(o.Sinks) {
			if o.Sinks[i] == nil {
				return nil, errors.New("series: a sink is nil")
			}
			sh.sink = o.Sinks[i]
		}
	}
	db.mapper.Store(newMapper(cfg, o))
	db.watched.Store(newSelectors())
	db.batches.New = func() any { return &Batch{db: db} }
	return db, nil
}

// Shards gives their number.
func (db *DB) Shards() int { return len(db.shards) }

// Do runs f on the sink of a shard while no sample is appended to it. It should
// be short: samples of that shard wait.
func (db *DB) Do(shard int, f func(Sink)) {
	sh := &db.shards[shard]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	f(sh.sink)
}

func (db *DB) shard(h uint64) *shard { return &db.shards[h>>db.shift] }

// Reconfigure changes rules and limits, and looks again at which services are
// declared. Series that the rules say something else of are closed, and opened anew
// with their next sample; the others keep what they are.
func (db *DB) Reconfigure(cfg Config) error {
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("series: %w", err)
	}
	m := newMapper(cfg, db.opt)
	db.opening.Lock() // what is opened from now on is opened by these rules
	db.mapper.Store(m)
	db.opening.Unlock()
	var list []label
	for i := range db.shards {
		sh := &db.shards[i]
		for _, e := range sh.all() {
			found, err := parseKey(list[:0], []byte(e.key))
			if err == nil {
				list = found
				if out := m.resolve(list, Meta{Kind: e.opened.Value().given}); db.digest(out) == e.digest {
					continue
				}
			}
			db.remove(sh, e)
		}
	}
	return nil
}

// all gives a shard's series, and has it look anew at what is passed over.
func (sh *shard) all() []*entry {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.forgetPassed()
	return append([]*entry(nil), sh.list...)
}

func (sh *shard) forgetPassed() {
	sh.passed, sh.passedBefore = map[uint64]refused{}, map[uint64]refused{}
}

// Watch says which expressions are evaluated from now on: the samples of the series
// that they pick are kept, as far back as they look. What was kept already stays, as
// far as it is picked. Series that nothing is done with any more are closed.
func (db *DB) Watch(list []*Expr) {
	db.opening.Lock() // so that no series comes in between
	defer db.opening.Unlock()
	now, before := newSelectors(), db.watched.Load()
	for _, e := range list {
		for _, p := range e.picks {
			now.add(p, before)
		}
	}
	for i := range db.shards {
		sh := &db.shards[i]
		for _, e := range sh.all() {
			if idle := sh.pickAnew(e, db.mapper.Load(), now); idle {
				db.remove(sh, e)
			}
		}
	}
	db.watched.Store(now)
}

// pickAnew has the selectors pick a series that is open already. It tells whether
// nothing is done with it: it is neither picked nor forecast.
func (sh *shard) pickAnew(e *entry, m *mapper, now *selectors) (idle bool) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if e.pos < 0 {
		return false
	}
	list, _ := parseKey(nil, []byte(e.key))
	if now.names[string(find(list, MetricLabel))] == nil && len(now.others) == 0 { // of most series nothing more is asked
		sh.keepFor(e, labels.EmptyLabels(), nil)
		return !e.forecast
	}
	service := m.resolve(list, Meta{Kind: e.opened.Value().given}).series.Service
	now.note(list, service, Taken)
	ls := labelsOf(list, service)
	sh.keepFor(e, ls, now.of(ls))
	return e.kept == nil && !e.forecast
}

// keepFor keeps the samples of an entry, for these selectors.
func (sh *shard) keepFor(e *entry, ls labels.Labels, picked []*selector) {
	if len(picked) == 0 {
		if e.kept != nil {
			e.kept.gone.Store(true)
			e.kept = nil
		}
		return
	}
	if e.kept == nil {
		e.kept = &kept{labels: ls, sensor: e.opened.Value().sensor, entry: e, shard: sh}
	}
	e.kept.selectors = picked
	for _, s := range picked {
		s.join(e.kept)
	}
}

// labelsOf gives the labels of a series, and the service that the rules find where no
// label service names it.
func labelsOf(list []label, service grace.ServiceID) labels.Labels {
	b := labels.NewScratchBuilder(len(list) + 1)
	for _, l := range list {
		b.Add(string(l.name), string(l.value))
	}
	if service != "" && len(find(list, ServiceLabel)) == 0 {
		b.Add(ServiceLabel, string(service))
		b.Sort()
	}
	return b.Labels()
}

// ofSource finds or makes the tally of a source, for one more batch.
func (db *DB) ofSource(source string) *tally {
	db.tallies.Lock()
	defer db.tallies.Unlock()
	t := db.sources[source]
	if t == nil {
		t = &tally{}
		db.sources[source] = t
	}
	t.batches.Add(1)
	return t
}

// ofService counts one more series of a service. It gives nil when that is
// beyond the limit.
func (db *DB) ofService(service grace.ServiceID, limit int) *tally {
	db.tallies.Lock()
	defer db.tallies.Unlock()
	t := db.services[service]
	if t == nil {
		t = &tally{}
		db.services[service] = t
	}
	if !t.take(limit) {
		return nil
	}
	return t
}

// prune forgets sources and services that have no series any more.
func (db *DB) prune() {
	db.tallies.Lock()
	defer db.tallies.Unlock()
	for k, t := range db.sources {
		if t.batches.Load() == 0 && t.series.Load() == 0 {
			delete(db.sources, k)
		}
	}
	for k, t := range db.services {
		if t.series.Load() == 0 {
			delete(db.services, k)
		}
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
