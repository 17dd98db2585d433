package telemetry

import (
	"hash/maphash"
	"slices"
	"sync"
	"time"
)

// form says how the points of an entry are read.
type form uint8

const (
	formGauge form = iota
	formCounter
	formDelta
	formBucket    // one bucket of hist
	formHistogram // all buckets of hist
	formAlias     // another order of the labels of to
)

// entry is one key that points come by.
type entry struct {
	key    string
	hash   uint64
	next   *entry // with the same hash
	pos    int    // in the list of its shard; -1 when removed
	source *tally
	owner  *tally // of its service
	hist   *histogram
	to     *entry
	out    *member // of a group, when the metric is wanted
	digest uint64  // of what comes out
	given  Kind    // by the edge

	// replica is that of an alias; of its entry it is the one whose points are
	// taken, and ledAt when they came last.
	replica uint64
	ledAt   int64

	form   form
	ended  bool // by a stale marker, or never begun: the next point is a new base
	slot   int32
	handle uint32
	last   float64
	lastAt int64 // Unix ms, of the newest point
	moved  int64 // Unix ms, when the value last changed
}

// failover is how long the replica that is listened to may be silent before the
// other one is.
const failover = int64(30 * time.Second / time.Millisecond)

// elect tells whether the points of a replica are taken: a pair sends the same
// series twice. The caller holds the lock.
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

// wanted entries never give their place.
func (e *entry) wanted() bool {
	if e.hist != nil {
		return e.hist.wanted
	}
	return e.out != nil
}

// ignored is a key that is passed over.
type ignored struct {
	reason Reason
	until  int64 // Unix ms; 0: as long as the configuration stays
}

// shard is a part of the table, with its own lock and sink.
type shard struct {
	mu      sync.Mutex
	series  map[uint64]*entry
	list    []*entry
	hand    int // of the search for the least useful one
	ignored map[uint64]ignored
	sink    Sink
	_       [40]byte // keeps the locks of neighbours on cache lines of their own
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

func (sh *shard) insert(e *entry) {
	e.next = sh.series[e.hash]
	sh.series[e.hash] = e
	e.pos = len(sh.list)
	sh.list = append(sh.list, e)
}

// unlink takes an entry out of the table. It tells whether it was there.
func (sh *shard) unlink(e *entry) bool {
	if e.pos < 0 {
		return false
	}
	last := len(sh.list) - 1
	sh.list[e.pos] = sh.list[last]
	sh.list[e.pos].pos = e.pos
	sh.list[last] = nil
	sh.list = sh.list[:last]
	e.pos = -1
	switch first := sh.series[e.hash]; {
	case first != e:
		for first.next != e {
			first = first.next
		}
		first.next = e.next
	case e.next != nil:
		sh.series[e.hash] = e.next
	default:
		delete(sh.series, e.hash)
	}
	return true
}

// ignore remembers a key that is passed over; at most limit of them.
func (sh *shard) ignore(h uint64, i ignored, limit int) {
	if len(sh.ignored) >= limit {
		clear(sh.ignored) // those that still come are found out again
	}
	sh.ignored[h] = i
}

// remove takes an entry out and closes what comes out of it. It holds one lock
// at a time.
func (in *Intake) remove(sh *shard, e *entry) bool {
	sh.mu.Lock()
	there := sh.unlink(e)
	if there {
		in.release(sh, e)
	}
	sh.mu.Unlock()
	if there && e.form == formBucket {
		in.detach(e)
	}
	return there
}

// release gives back what an entry holds, under the lock of its shard.
func (in *Intake) release(sh *shard, e *entry) {
	in.counters.series.Add(-1)
	if e.source != nil {
		e.source.series.Add(-1)
	}
	if e.owner != nil {
		e.owner.series.Add(-1)
	}
	switch e.form {
	case formGauge, formCounter, formDelta:
		sh.sink.Close(e.handle)
		e.out.leave()
	case formHistogram:
		e.hist.close(sh.sink)
	case formBucket, formAlias:
	}
}

// detach takes a bucket out of its histogram, which ends with the last one.
func (in *Intake) detach(e *entry) {
	h := e.hist
	h.home.mu.Lock()
	defer h.home.mu.Unlock()
	if h.dead {
		return
	}
	h.drop(e.slot)
	if h.buckets == 0 && h.home.unlink(h.entry) {
		in.release(h.home, h.entry)
	}
}

// digest of what comes out of a series, to see later whether it still does.
func (in *Intake) digest(list []Series) uint64 {
	var h maphash.Hash
	h.SetSeed(in.seed)
	for _, s := range list {
		for _, part := range []string{string(s.Service), string(s.Role), s.Metric, s.Labels, string(s.Direction)} {
			h.WriteString(part)
			h.WriteByte(0)
		}
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
func (in *Intake) evict(sh *shard, nowMillis int64) bool {
	m := in.mapper.Load()
	idle := m.cfg.IdleAfter.D().Milliseconds()
	sh.mu.Lock()
	var worst *entry
	var score int64
	for range min(searchWidth, len(sh.list)) {
		sh.hand = (sh.hand + 1) % len(sh.list)
		e := sh.list[sh.hand]
		if e.wanted() || e.form == formHistogram && e.hist.buckets > 0 {
			continue
		}
		s := int64(0)
		switch silent, still := nowMillis-e.lastAt, e.lastAt-e.moved; {
		case silent > idle:
			s = 1<<50 + silent
		case still > constantAfter:
			s = still
		}
		if s > score {
			worst, score = e, s
		}
	}
	sh.mu.Unlock()
	if worst == nil || !in.remove(sh, worst) {
		return false
	}
	in.counters.evicted.Add(1)
	last := in.told.Load()
	if in.opt.Evicted == nil || nowMillis-last < 1000 || !in.told.CompareAndSwap(last, nowMillis) {
		in.untold.Add(1)
		return true
	}
	why := "it did not change"
	if score > 1<<50 {
		why = "it was silent"
	}
	in.opt.Evicted(Eviction{Labels: keyText([]byte(worst.key)), Why: why, Others: in.untold.Swap(0)})
	return true
}

// Sweep forgets series that were silent for Config.ForgetAfter. It looks at a
// part of every shard at each call, so that no lock is held for long; called
// every few seconds, it comes around. It also offers again what Forward did not
// take.
func (in *Intake) Sweep() {
	const width = 4096
	now := in.opt.Now().UnixMilli()
	limit := now - in.mapper.Load().cfg.ForgetAfter.D().Milliseconds()
	in.forward(nil)
	in.prune()
	var old []*entry
	for i := range in.shards {
		sh := &in.shards[i]
		old = old[:0]
		sh.mu.Lock()
		for range min(width, len(sh.list)) {
			sh.hand = (sh.hand + 1) % len(sh.list)
			e := sh.list[sh.hand]
			// One that had no good sample yet, such as the quantile of nothing,
			// counts from when it was opened: else it would come and go.
			if max(e.lastAt, e.moved) < limit && (e.form != formHistogram || e.hist.buckets == 0) {
				old = append(old, e)
			}
		}
		sh.mu.Unlock()
		for _, e := range slices.Clip(old) {
			if in.remove(sh, e) {
				in.counters.forgotten.Add(1)
			}
		}
	}
}
