package series

import (
	"hash/maphash"
	"slices"
	"time"
	"unique"
)

// again is how long a series that a limit refused is passed over before its
// place is asked for anew.
const again = int64(time.Minute / time.Millisecond)

// open finds what a new key is, makes its entry, and takes its first samples. It gives
// why there is none, and passes the key over from then on.
func (b *Batch) open(h uint64, key []byte, meta *Meta, samples []Sample) Reason {
	b.db.opening.RLock()
	defer b.db.opening.RUnlock()
	b.m = b.db.mapper.Load() // what was opened before another one came is looked at anew
	reason := b.resolve(h, key, meta, samples)
	b.db.watched.Load().note(b.labels, b.service, reason)
	if reason == Taken {
		return Taken
	}
	r := refused{reason: reason}
	if reason >= SourceFull {
		r.until = b.now + again
	}
	b.db.shard(h).passOver(h, r, b.m.cfg.Limits.Series/len(b.db.shards)+1)
	return reason
}

func (sh *shard) passOver(h uint64, r refused, limit int) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.pass(h, r, limit)
}

func (b *Batch) resolve(h uint64, key []byte, meta *Meta, samples []Sample) Reason {
	var err error
	b.service = ""
	if b.labels, err = parseKey(b.labels[:0], key); err != nil {
		return BadLabels
	}
	limits := b.m.cfg.Limits
	if len(b.labels) > limits.Labels {
		return TooManyLabels
	}
	for _, l := range b.labels {
		if len(l.name) > limits.LabelLength || len(l.value) > limits.LabelLength {
			return LongLabel
		}
	}
	var replica uint64
	b.labels, replica = b.db.withoutReplica(b.labels, b.m.cfg.ReplicaLabel)
	b.key = canonical(b.key[:0], b.labels)
	if checkLabels(b.labels) != nil {
		return BadLabels
	}
	if string(b.key) != string(key) { // of a pair, or with its labels in another order
		h = maphash.Bytes(b.db.seed, b.key)
		if reason, known := b.known(h, b.key, replica, meta, samples); known || reason != Taken {
			return reason
		}
	}
	return b.place(h, replica, meta, samples)
}

// withoutReplica takes the label off by which a pair of senders differ, and gives
// a hash of its value; 0 when there is none.
func (db *DB) withoutReplica(labels []label, name string) ([]label, uint64) {
	i := slices.IndexFunc(labels, func(l label) bool { return name != "" && string(l.name) == name })
	if i < 0 {
		return labels, 0
	}
	replica := maphash.Bytes(db.seed, labels[i].value) | 1
	return slices.Delete(labels, i, i+1), replica
}

// place makes the entry of the canonical key b.key.
func (b *Batch) place(h, replica uint64, meta *Meta, samples []Sample) Reason {
	if samples[0].histogram() {
		meta.Kind = kindOfHistogram(meta.Kind)
	}
	out := b.m.resolve(b.labels, *meta)
	b.service = out.series.Service
	ls := labelsOf(b.labels, b.service)
	picked := b.db.watched.Load().of(ls)
	if out.reason != Taken && len(picked) == 0 {
		return out.reason
	}
	sh := b.db.shard(h)
	e := &entry{key: string(b.key), source: b.source, lastAt: -1, since: -1, opened: unique.Make(opened{meta.Kind, b.from.Sensor}), digest: b.db.digest(out), moved: b.now, form: formOf(out.kind)}
	if reason := b.reserve(e, sh, out); reason != Taken {
		return reason
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if other := sh.get(h, b.key); other != nil { // somebody else was faster
		b.unreserve(e)
		b.appendTo(sh, other, replica, meta, samples)
		return Taken
	}
	if e.forecast = out.reason == Taken; e.forecast {
		e.handle = sh.sink.Open(out.series)
	}
	sh.keepFor(e, ls, picked)
	sh.insert(e, h)
	b.db.counters.opened.Add(1)
	b.appendTo(sh, e, replica, meta, samples)
	return Taken
}

// kindOfHistogram keeps what an edge says of how a histogram's counts are to be read.
func kindOfHistogram(k Kind) Kind {
	if k == KindDelta {
		return k
	}
	return KindHistogram
}

func formOf(k Kind) form {
	switch k {
	case KindCounter:
		return formCounter
	case KindDelta:
		return formDelta
	case KindHistogram:
		return formHistogram
	case KindUnknown, KindGauge:
	}
	return formGauge
}

// reserve takes a place for an entry, or says which limit there is none under.
func (b *Batch) reserve(e *entry, sh *shard, out mapped) Reason {
	limits := b.m.cfg.Limits
	if !b.source.take(limits.SeriesPerSource) {
		return SourceFull
	}
	if e.owner = b.db.ofService(out.series.Service, limits.SeriesPerService); e.owner == nil {
		b.source.series.Add(-1)
		return ServiceFull
	}
	if b.db.counters.series.Add(1) > int64(limits.Series) && !b.db.evict(sh, b.now) {
		b.unreserve(e)
		return Full
	}
	return Taken
}

func (b *Batch) unreserve(e *entry) {
	b.db.counters.series.Add(-1)
	e.source.series.Add(-1)
	e.owner.series.Add(-1)
}
