package series

import (
	"hash/maphash"
	"slices"
	"sync"
	"time"
	"unique"
)

// entry is one series, by the key that its samples come with.
type entry struct {
	key    string
	next   *entry // with the same hash
	source *tally
	owner  *tally // of its service
	kept   *kept  // of one that expressions look at, else nil
	opened unique.Handle[opened]
	digest uint64 // of what the rules make of it

	replica uint64 // the one of a pair whose samples are taken
	ledAt   int64  // when they came last

	pos      int32 // in the list of its shard; -1 when removed
	handle   uint32
	forecast bool // by handle
	form     form
	gap      int32   // ms between the two newest samples, of which neither is an end
	last     float64 // number; of a delta the sum so far
	since    int64   // Unix ms, of last: the next rate is since then; -1 when it is a new base
	lastAt   int64   // Unix ms, of the newest sample; -1 before the first
	moved    int64   // Unix ms, when the value last changed
}

// ended tells whether its newest sample is an end, as far as that is kept.
func (e *entry) ended() bool { return e.kept != nil && e.kept.latest.stale() }

// opened is what the sample told that opened a series.
type opened struct {
	given  Kind   // by the edge
	sensor string // whose it was
}

// form says how the numbers of an entry are read for forecasts.
type form uint8

const (
	formGauge form = iota
	formCounter
	formDelta
	formHistogram
)

// failover is how long the replica that is listened to may be silent before the
// other one is.
const failover = int64(30 * time.Second / time.Millisecond)

// elect tells whether the samples of a replica are taken: a pair sends the same
// series twice.
func (e *entry) elect(replica uint64, now int64) bool {
	if replica == 0 {
		return true
	}
	if e.replica != 0 && e.replica != replica && now-e.ledAt <= failover {
		return false
	}
	e.replica, e.ledAt = replica, now
	return true
}

// refused is a key that is passed over.
type refused struct {
	reason Reason
	until  int64 // Unix ms; 0: as long as the configuration stays
}

// shard is a part of the table, with its own lock and sink.
type shard struct {
	mu     sync.Mutex
	series map[uint64]*entry
	list   []*entry
	hand   int // of the search for the least useful one
	// passed are keys that are passed over: those that came since the last change of
	// generations, and those from before. The older ones go when there are too many.
	passed, passedBefore map[uint64]refused
	sink                 Sink
	_                    [40]byte // keeps the locks of neighbours on cache lines of their own
}

// get finds an entry by its hash and key.
func (sh *shard) get(h uint64, key []byte) *entry {
	for e := sh.series[h]; e != nil; e = e.next {
		if e.key == string(key) {
			return e
		}
	}
	return nil
}

func (sh *shard) insert(e *entry, hash uint64) {
	e.next = sh.series[hash]
	sh.series[hash] = e
	e.pos = int32(len(sh.list))
	sh.list = append(sh.list, e)
}

// unlink takes an entry out of the table. It tells whether it was there.
func (sh *shard) unlink(e *entry, hash uint64) bool {
	if e.pos < 0 {
		return false
	}
	last := int32(len(sh.list) - 1)
	sh.list[e.pos] = sh.list[last]
	sh.list[e.pos].pos = e.pos
	sh.list[last] = nil
	sh.list = sh.list[:last]
	e.pos = -1
	switch first := sh.series[hash]; {
	case first != e:
		for first.next != e {
			first = first.next
		}
		first.next = e.next
	case e.next != nil:
		sh.series[hash] = e.next
	default:
		delete(sh.series, hash)
	}
	return true
}

// passes tells why a key is passed over; Taken if it is not, or was not looked at yet.
func (sh *shard) passes(h uint64, now int64) Reason {
	r, ok := sh.passed[h]
	if !ok {
		if r, ok = sh.passedBefore[h]; ok {
			sh.passed[h] = r // it still comes
		}
	}
	if ok && (r.until == 0 || now < r.until) {
		return r.reason
	}
	return Taken
}

// pass remembers a key that is passed over; at most twice limit of them.
func (sh *shard) pass(h uint64, r refused, limit int) {
	if len(sh.passed) >= limit {
		sh.passed, sh.passedBefore = make(map[uint64]refused, limit), sh.passed
	}
	sh.passed[h] = r
}

// remove takes an entry out, and closes what comes out of it.
func (db *DB) remove(sh *shard, e *entry) bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if !sh.unlink(e, maphash.String(db.seed, e.key)) {
		return false
	}
	db.counters.series.Add(-1)
	e.source.series.Add(-1)
	e.owner.series.Add(-1)
	if e.forecast {
		sh.sink.Close(e.handle)
	}
	if e.kept != nil {
		e.kept.leave()
	}
	return true
}

// digest of what the rules make of a series, to see later whether they still do.
func (db *DB) digest(m mapped) uint64 {
	var h maphash.Hash
	h.SetSeed(db.seed)
	s := &m.series
	for _, part := range []string{string(s.Service), string(s.Role), s.Metric, s.Labels, string(s.Direction), string(m.kind)} {
		h.WriteString(part)
		h.WriteByte(0)
	}
	if m.reason == Taken {
		h.WriteByte(1)
	}
	return h.Sum64()
}

const (
	constantAfter = 3 * 60 * 60 * 1000 // ms without a change, after which a series tells little
	searchWidth   = 64                 // entries looked at for one place
)

// evict makes a place by taking out the least useful entry of a shard among the
// next ones: silent before constant, the longest first. It tells whether there
// was one: series that live are not thrown out for new ones.
func (db *DB) evict(sh *shard, now int64) bool {
	worst, score := sh.leastUseful(now, db.mapper.Load().cfg.IdleAfter.D().Milliseconds())
	if worst == nil || !db.remove(sh, worst) {
		return false
	}
	db.counters.evicted.Add(1)
	last := db.told.Load()
	if db.opt.Evicted == nil || now-last < 1000 || !db.told.CompareAndSwap(last, now) {
		db.untold.Add(1)
		return true
	}
	why := "it did not change"
	if score > silentScore {
		why = "it was silent"
	}
	db.opt.Evicted(Eviction{Labels: keyText([]byte(worst.key)), Why: why, Others: db.untold.Swap(0)})
	return true
}

// silentScore is above that of all that is only constant.
const silentScore = 1 << 50

func (sh *shard) leastUseful(now, idle int64) (worst *entry, score int64) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for range min(searchWidth, len(sh.list)) {
		sh.hand = (sh.hand + 1) % len(sh.list)
		e := sh.list[sh.hand]
		if e.kept != nil {
			continue // an expression looks at it
		}
		s := int64(0)
		switch silent, still := now-e.lastAt, e.lastAt-e.moved; {
		case silent > idle:
			s = silentScore + silent
		case still > constantAfter:
			s = still
		}
		if s > score {
			worst, score = e, s
		}
	}
	return worst, score
}

// Sweep forgets series that were silent for Config.ForgetAfter. It looks at a
// part of every shard at each call, so that no lock is held for long; called
// every few seconds, it comes around.
func (db *DB) Sweep() {
	limit := db.opt.Now().UnixMilli() - db.mapper.Load().cfg.ForgetAfter.D().Milliseconds()
	db.prune()
	for i := range db.shards {
		sh := &db.shards[i]
		for _, e := range slices.Clip(sh.silentSince(limit)) {
			if db.remove(sh, e) {
				db.counters.forgotten.Add(1)
			}
		}
	}
}

func (sh *shard) silentSince(limit int64) (old []*entry) {
	const width = 4096
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for range min(width, len(sh.list)) {
		sh.hand = (sh.hand + 1) % len(sh.list)
		// One that had no good sample yet counts from when it was opened: else it
		// would come and go.
		if e := sh.list[sh.hand]; max(e.lastAt, e.moved) < limit {
			old = append(old, e)
		}
	}
	return old
}

// ClockSetBack tells that the clock was set back to a time: what was measured after it
// is let go, so that new samples are not late for as long as the clock had been ahead.
func (db *DB) ClockSetBack(to time.Time) {
	for i := range db.shards {
		db.shards[i].cutAfter(to.UnixMilli())
	}
}

func (sh *shard) cutAfter(at int64) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for _, e := range sh.list {
		e.moved, e.ledAt = min(e.moved, at), min(e.ledAt, at)
		if e.lastAt <= at {
			continue
		}
		e.lastAt, e.since = at, -1 // its rate begins anew
		if e.kept != nil {
			e.kept.cutAfter(at)
		}
	}
}
