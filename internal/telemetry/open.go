package telemetry

import (
	"hash/maphash"
	"slices"
	"strings"
	"time"
)

// again is how long a series that a limit refused is passed over before its
// place is asked for anew.
const again = int64(time.Minute / time.Millisecond)

// open finds what a new key is, and makes its entry. It gives the entry with
// its shard locked, or why there is none.
func (b *Batch) open(h uint64, key []byte, meta Meta, histogram bool) (*entry, *shard, Reason) {
	e, sh, reason := b.resolve(h, key, meta, histogram)
	if e != nil {
		return e, sh, Taken
	}
	i := ignored{reason: reason}
	if reason >= SourceFull {
		i.until = b.now + again
	}
	own := b.in.shard(h)
	own.mu.Lock()
	own.ignore(h, i, 2*b.m.cfg.Limits.Series/len(b.in.shards)+1)
	own.mu.Unlock()
	return nil, nil, reason
}

func (b *Batch) resolve(h uint64, key []byte, meta Meta, histogram bool) (*entry, *shard, Reason) {
	var err error
	if b.labels, err = parseKey(b.labels[:0], key); err != nil {
		return nil, nil, BadLabels
	}
	limits := b.m.cfg.Limits
	if len(b.labels) > limits.Labels {
		return nil, nil, TooManyLabels
	}
	for _, l := range b.labels {
		if len(l.name) > limits.LabelLength || len(l.value) > limits.LabelLength {
			return nil, nil, LongLabel
		}
	}
	b.labels, b.replica = b.in.withoutReplica(b.labels, b.m.cfg.ReplicaLabel)
	b.key = canonical(b.key[:0], b.labels)
	if checkLabels(b.labels) != nil {
		return nil, nil, BadLabels
	}
	if string(b.key) == string(key) {
		return b.place(h, meta, histogram)
	}
	// Another order of labels, or another replica's, that are, or will be, known
	// in the canonical one.
	ch := maphash.Bytes(b.in.seed, b.key)
	sh := b.in.shard(ch)
	sh.mu.Lock()
	e := sh.get(ch, b.key)
	if e == nil {
		sh.mu.Unlock()
		var reason Reason
		if e, sh, reason = b.place(ch, meta, histogram); e == nil {
			return nil, nil, reason
		}
	}
	sh.mu.Unlock()
	b.alias(h, key, e)
	sh.mu.Lock()
	if e.pos < 0 {
		sh.mu.Unlock()
		return nil, nil, Full // it was thrown out at once: no place for it
	}
	return e, sh, Taken
}

// withoutReplica takes the label off by which a pair of senders differ, and gives
// a hash of its value; 0 when there is none.
func (in *Intake) withoutReplica(labels []label, name string) ([]label, uint64) {
	i := slices.IndexFunc(labels, func(l label) bool { return name != "" && string(l.name) == name })
	if i < 0 {
		return labels, 0
	}
	replica := maphash.Bytes(in.seed, labels[i].value) | 1
	return slices.Delete(labels, i, i+1), replica
}

// alias leads another order of labels to their entry, as far as there is place:
// without, they take the detour each time.
func (b *Batch) alias(h uint64, key []byte, to *entry) {
	if int(b.in.counters.series.Load()) >= b.m.cfg.Limits.Series || !b.source.take(b.m.cfg.Limits.SeriesPerSource) {
		return
	}
	b.in.counters.series.Add(1)
	sh := b.in.shard(h)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.insert(&entry{key: string(key), hash: h, form: formAlias, to: to, source: b.source, lastAt: b.now, replica: b.replica})
}

// place makes the entry of the canonical key b.key.
func (b *Batch) place(h uint64, meta Meta, histogram bool) (*entry, *shard, Reason) {
	if histogram {
		meta.Kind = KindHistogram
	}
	out := b.m.resolve(b.labels, meta)
	switch {
	case out.reason != Taken:
		return nil, nil, out.reason
	case !histogram && out.kind == KindHistogram && !out.bucket:
		return nil, nil, Unmapped // its _sum or the like, called a histogram
	}
	sh := b.in.shard(h)
	e := &entry{
		key: string(b.key), hash: h, source: b.source, ended: true, given: meta.Kind,
		digest: b.in.digest(out.outputs), moved: b.now,
	}
	if reason := b.reserve(e, sh, out); reason != Taken {
		return nil, nil, reason
	}
	if out.bucket {
		e.form = formBucket
		if !b.attach(e, out) {
			b.unreserve(e)
			return nil, nil, BadHistogram
		}
	}
	sh.mu.Lock()
	if other := sh.get(h, b.key); other != nil { // somebody else was faster
		b.unreserve(e)
		return other, sh, Taken
	}
	switch out.kind {
	case KindHistogram:
		if !out.bucket {
			e.form = formHistogram
			e.hist = b.histogram(sh, e, out)
		}
	case KindCounter:
		e.form = formCounter
	case KindDelta:
		e.form = formDelta
	case KindUnknown, KindGauge:
		e.form = formGauge
	}
	if e.form <= formDelta {
		e.handle = sh.sink.Open(out.outputs[0])
		if out.wanted {
			e.out = b.in.join(out.outputs[0])
		}
	}
	sh.insert(e)
	b.in.counters.opened.Add(1)
	return e, sh, Taken
}

// reserve takes a place for an entry, or says which limit there is none under.
func (b *Batch) reserve(e *entry, sh *shard, out mapped) Reason {
	limits := b.m.cfg.Limits
	if !b.source.take(limits.SeriesPerSource) {
		return SourceFull
	}
	if e.owner = b.in.ofService(out.outputs[0].Service, limits.SeriesPerService); e.owner == nil {
		b.source.series.Add(-1)
		return ServiceFull
	}
	if b.in.counters.series.Add(1) > int64(limits.Series) && !b.in.evict(sh, b.now) {
		b.unreserve(e)
		return Full
	}
	return Taken
}

func (b *Batch) unreserve(e *entry) {
	b.in.counters.series.Add(-1)
	e.source.series.Add(-1)
	e.owner.series.Add(-1)
}

// attach finds or makes the histogram that a bucket is of.
func (b *Batch) attach(e *entry, out mapped) bool {
	b.hkey = b.hkey[:0]
	for _, l := range b.labels {
		switch string(l.name) {
		case MetricLabel:
			b.hkey = AppendLabel(b.hkey, MetricLabel, strings.TrimSuffix(string(l.value), "_bucket"))
		case "le": // no series of points has this one
			b.hkey = AppendLabel(b.hkey, "le", "*")
		default:
			b.hkey = AppendLabel(b.hkey, l.name, l.value)
		}
	}
	h := maphash.Bytes(b.in.seed, b.hkey)
	home := b.in.shard(h)
	home.mu.Lock()
	defer home.mu.Unlock()
	he := home.get(h, b.hkey)
	if he == nil {
		he = &entry{key: string(b.hkey), hash: h, form: formHistogram, digest: e.digest, given: e.given, moved: b.now}
		he.hist = b.histogram(home, he, out)
		home.insert(he)
		b.in.counters.series.Add(1)
	}
	slot, ok := he.hist.add(out.le)
	e.hist, e.slot = he.hist, slot
	return ok
}

// histogram opens what comes out of one, under the lock of its home.
func (b *Batch) histogram(home *shard, e *entry, out mapped) *histogram {
	h := &histogram{home: home, entry: e, wanted: out.wanted, outputs: len(out.outputs)}
	for i, s := range out.outputs {
		h.handles[i] = home.sink.Open(s)
		if b.m.wanted(s.Service, s.Metric) {
			h.outs[i] = b.in.join(s)
		}
	}
	return h
}

// Histogram takes a point of a whole histogram, which it reads and does not
// keep.
func (b *Batch) Histogram(key []byte, meta Meta, p Histogram) {
	if r := b.takeHistogram(key, meta, &p); r.Refused() {
		b.histograms++
	}
}

func (b *Batch) takeHistogram(key []byte, meta Meta, p *Histogram) Reason {
	if b.room(1, key) == 0 {
		return RequestFull
	}
	if !p.valid() {
		return b.refuse(BadHistogram, 1, key)
	}
	e, sh, r := b.find(maphash.Bytes(b.in.seed, key), key, meta, true, 1)
	if e == nil {
		return r
	}
	defer sh.mu.Unlock()
	if e.form != formHistogram {
		return b.refuse(BadHistogram, 1, key)
	}
	r = b.judge(e, Point{At: p.At}, key)
	b.counts[r]++
	if r == Taken {
		e.lastAt = p.At
		b.observe(sh, e.hist, p)
	}
	return r
}

// EndHistogram ends a histogram until its next point, as a stale marker does
// the other series.
func (b *Batch) EndHistogram(key []byte) {
	b.samples++
	b.counts[Stale]++
	h := maphash.Bytes(b.in.seed, key)
	sh := b.in.shard(h)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if e := sh.get(h, key); e != nil && e.form == formHistogram {
		e.hist.reducer.ended = true
	}
}

func (p *Histogram) valid() bool {
	if len(p.Counts) != len(p.Bounds)+1 || len(p.Bounds) > maxBuckets {
		return false
	}
	for i, v := range p.Bounds {
		if v != v || i > 0 && v <= p.Bounds[i-1] {
			return false
		}
	}
	for _, c := range p.Counts {
		if !(c >= 0 && c <= 1e300) {
			return false
		}
	}
	return true
}

// observe reduces a point, under the lock of the home of h.
func (b *Batch) observe(home *shard, h *histogram, p *Histogram) {
	out, reset := h.reducer.observe(p, b.m.cfg.QuantileHalfLife.D().Seconds())
	if reset {
		b.counts[Reset]++
	}
	if !out {
		return
	}
	if h.outputs > outRate {
		b.give(home, h.handles[outRate], h.outs[outRate], p.At, h.reducer.rate)
	}
	for i, q := range [...]float64{0.5, 0.95, 0.99} {
		if v, ok := h.reducer.quantile(q); ok {
			b.give(home, h.handles[i], h.outs[i], p.At, v)
		}
	}
}

// bucket takes points of one bucket. Its entry is locked, and is unlocked
// before its histogram is. It tells whether the histogram still was.
func (b *Batch) bucket(sh *shard, e *entry, points []Point, key []byte) bool {
	last, h, slot := e.lastAt, e.hist, e.slot
	kept := *e // what judge looks at, while the entry is somebody else's again
	e.lastAt = max(last, min(points[len(points)-1].At, b.newest))
	if e.last != points[len(points)-1].Value {
		e.last, e.moved = points[len(points)-1].Value, b.now
	}
	sh.mu.Unlock()
	h.home.mu.Lock()
	if h.dead {
		h.home.mu.Unlock()
		b.in.remove(sh, e)
		return false
	}
	defer h.home.mu.Unlock()
	most := maxOpen
	if b.from.History {
		most = HistoryPart
	}
	for _, p := range points {
		if isStale(p.Value) {
			h.reducer.ended = true
			b.counts[Stale]++
			continue
		}
		r := b.judge(&kept, p, key)
		if r == Taken {
			kept.lastAt = p.At
			var done *scrape
			if done, r = h.bucket(slot, p.At, p.Value, most); done != nil {
				b.point = h.finish(done, b.point)
				h.entry.lastAt = p.At
				b.observe(h.home, h, &b.point)
			}
		}
		b.counts[r]++
	}
	return true
}
