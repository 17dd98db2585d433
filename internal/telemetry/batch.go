package telemetry

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"math"
	"strconv"
	"strings"

	"grace"
)

// staleMarker is the NaN by which Prometheus says that a series ended.
const staleMarker = 0x7ff0000000000002

// maxNumber bounds values in magnitude: their rates, squares and sums are still
// numbers.
const maxNumber = 1e100

// From says who sends a batch.
type From struct {
	Sensor string // name of the edge, as in grace.Sample
	Source string // whose series are counted together: a tenant, a peer's address
	// History is a warm-up: points as old as they are, which are not
	// forwarded. They come in parts, see HistoryPart.
	History bool
}

// Batch takes the series of one request or scrape. It belongs to one goroutine
// until End.
type Batch struct {
	in     *Intake
	m      *mapper
	from   From
	source *tally

	now, oldest, newest int64 // Unix ms
	samples             int
	histograms          int // refused points of Histogram
	counts              [reasons]int
	first               [reasons]string

	labels  []label
	replica uint64 // of the series that was opened last
	key     []byte
	hkey    []byte
	point   Histogram
	dirty   []*group
	out     []grace.Sample
}

// Begin opens a batch. It must be ended.
func (in *Intake) Begin(f From) *Batch {
	b := in.batches.Get().(*Batch)
	m := in.mapper.Load()
	now := in.opt.Now().UnixMilli()
	b.m, b.from, b.now = m, f, now
	b.oldest, b.newest = now-m.cfg.MaxAge.D().Milliseconds(), now+m.cfg.MaxAhead.D().Milliseconds()
	if f.History {
		b.oldest = 0
	}
	b.samples, b.histograms, b.counts, b.first = 0, 0, [reasons]int{}, [reasons]string{}
	b.source = in.ofSource(f.Source)
	return b
}

// Report says what became of the samples of a batch. A point of a histogram is
// one sample.
type Report struct {
	Samples    int // handed over
	histograms int
	counts     [reasons]int
	first      [reasons]string
}

// Count gives the samples with a reason.
func (r *Report) Count(reason Reason) int { return r.counts[reason] }

// Refused counts the samples that the sender should know were not taken.
func (r *Report) Refused() int {
	n := 0
	for reason, c := range r.counts {
		if Reason(reason).Refused() {
			n += c
		}
	}
	return n
}

// RefusedHistograms counts those of Refused that were points of a whole
// histogram.
func (r *Report) RefusedHistograms() int { return r.histograms }

// Err names every reason of a refusal with what was found first; nil if nothing
// was refused.
func (r *Report) Err() error {
	var parts []string
	for reason, c := range r.counts {
		if Reason(reason).Refused() && c > 0 {
			parts = append(parts, fmt.Sprintf("%d of %d samples refused (%s): %s", c, r.Samples, Reason(reason), r.first[reason]))
		}
	}
	if parts == nil {
		return nil
	}
	return fmt.Errorf("telemetry: %s", strings.Join(parts, "; "))
}

// End forwards what is wanted, and says what became of the samples. The batch
// must not be used after it.
func (b *Batch) End() Report {
	r := Report{Samples: b.samples, histograms: b.histograms, counts: b.counts, first: b.first}
	for i, n := range b.counts {
		if n > 0 {
			b.in.counters.samples[i].Add(uint64(n))
		}
	}
	for _, g := range b.dirty {
		b.out = g.flush(b.out)
	}
	b.in.forward(b.out)
	b.source.batches.Add(-1)
	clear(b.dirty)
	clear(b.out)
	b.dirty, b.out, b.m, b.source = b.dirty[:0], b.out[:0], nil, nil
	clear(b.labels)
	b.in.batches.Put(b)
	return r
}

// Points takes points of one series, oldest first. The key is read, not kept.
func (b *Batch) Points(key []byte, meta Meta, points ...Point) {
	points = points[:b.room(len(points), key)]
	if len(points) == 0 {
		return
	}
	h := maphash.Bytes(b.in.seed, key)
	for range 2 { // a histogram may end between its two locks
		e, sh, _ := b.find(h, key, meta, false, len(points))
		if e == nil {
			return
		}
		if e.form == formBucket {
			if b.bucket(sh, e, points, key) {
				return
			}
			continue
		}
		for i := range points {
			b.counts[b.take(sh, e, meta.Start, points[i], key)]++
		}
		sh.mu.Unlock()
		return
	}
}

// room gives how many of n more samples the limit of a request lets in.
func (b *Batch) room(n int, key []byte) int {
	b.samples += n
	over := min(b.samples-b.m.cfg.Limits.SamplesPerRequest, n)
	if over <= 0 {
		return n
	}
	b.refuse(RequestFull, over, key)
	return n - over
}

// find gives an entry with its shard locked, or nil when the series is passed
// over; then n samples are counted.
func (b *Batch) find(h uint64, key []byte, meta Meta, histogram bool, n int) (*entry, *shard, Reason) {
	sh := b.in.shard(h)
	sh.mu.Lock()
	if e := sh.get(h, key); e != nil {
		if e.to == nil {
			return e, sh, Taken
		}
		e.lastAt = b.now
		to := e.to
		sh.mu.Unlock()
		sh = b.in.shard(to.hash)
		sh.mu.Lock()
		if to.pos >= 0 {
			return b.elected(to, sh, e.replica, n, key)
		}
		sh.mu.Unlock()
		b.in.remove(b.in.shard(h), e)
	} else {
		i, ok := sh.ignored[h]
		sh.mu.Unlock()
		if ok && (i.until == 0 || b.now < i.until) {
			return nil, nil, b.refuse(i.reason, n, key)
		}
	}
	e, sh, reason := b.open(h, key, meta, histogram)
	if e == nil {
		b.refuse(reason, n, key)
		return nil, nil, reason
	}
	return b.elected(e, sh, b.replica, n, key)
}

// elected gives an entry, unless another replica's points are taken.
func (b *Batch) elected(e *entry, sh *shard, replica uint64, n int, key []byte) (*entry, *shard, Reason) {
	if e.elect(replica, b.now) {
		return e, sh, Taken
	}
	sh.mu.Unlock()
	return nil, nil, b.refuse(Duplicate, n, key)
}

// refuse counts samples, and describes the first of each reason.
func (b *Batch) refuse(r Reason, n int, key []byte) Reason {
	b.counts[r] += n
	if r.Refused() && b.first[r] == "" {
		b.first[r] = b.describe(r, key)
	}
	return r
}

func (b *Batch) describe(r Reason, key []byte) string {
	l := b.m.cfg.Limits
	name := keyText(key)
	over := func(key string, limit int, found string) string {
		return fmt.Sprintf("%s: %s, the limit is %d; raise telemetry.limits.%s or send less", name, found, limit, key)
	}
	switch r {
	case TooManyLabels, LongLabel:
		labels, _ := parseKey(nil, key)
		longest := 0
		for _, l := range labels {
			longest = max(longest, len(l.name), len(l.value))
		}
		if r == TooManyLabels {
			return over("labels", l.Labels, fmt.Sprintf("it has %d labels", len(labels)))
		}
		return over("label_length", l.LabelLength, fmt.Sprintf("a label has %d bytes", longest))
	case RequestFull:
		return over("samples_per_request", l.SamplesPerRequest, fmt.Sprintf("the request has %d samples or more", b.samples))
	case SourceFull:
		return over("series_per_source", l.SeriesPerSource, fmt.Sprintf("source %q has %d series", b.from.Source, b.source.series.Load()))
	case ServiceFull:
		return over("series_per_service", l.SeriesPerService, fmt.Sprintf("its service has %d series", l.SeriesPerService))
	case Full:
		return over("series", l.Series, fmt.Sprintf("there are %d series, all of them in use", b.in.counters.series.Load()))
	case BadLabels:
		labels, err := parseKey(nil, key)
		if err == nil {
			_ = canonical(nil, labels)
			err = checkLabels(labels)
		}
		if err == nil {
			return name + ": label le is not a number"
		}
		return fmt.Sprintf("%s: %v", name, err)
	case BadHistogram:
		return name + ": its bounds do not rise, or its counts do not go with them"
	default:
		return name
	}
}

// keyText writes a key for people, cut where it is long.
func keyText(key []byte) string {
	const most = 200
	labels, err := parseKey(nil, key)
	if err != nil {
		return fmt.Sprintf("a series whose labels cannot be read (%v)", err)
	}
	var b strings.Builder
	b.Write(find(labels, MetricLabel))
	b.WriteByte('{')
	for i, l := range labels {
		if bytes.Equal(l.name, []byte(MetricLabel)) {
			continue
		}
		if b.Len() > most || i > 8 {
			b.WriteString("...")
			break
		}
		fmt.Fprintf(&b, "%.40s=%s,", l.name, strconv.Quote(cut(string(l.value), 40)))
	}
	return cut(strings.ToValidUTF8(strings.TrimSuffix(b.String(), ","), "?"), most+100) + "}"
}

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "..."
}

func isStale(v float64) bool { return math.Float64bits(v) == staleMarker }

// take is the hygiene of one point, under the lock of the entry's shard.
func (b *Batch) take(sh *shard, e *entry, start int64, p Point, key []byte) Reason {
	if isStale(p.Value) {
		e.ended = true
		return Stale
	}
	if r := b.judge(e, p, key); r != Taken {
		return r
	}
	v, since := p.Value, e.lastAt
	if v != e.last || since == 0 {
		e.moved = p.At
	}
	last, ended := e.last, e.ended
	e.last, e.lastAt, e.ended = v, p.At, false
	switch e.form {
	case formCounter:
		switch {
		case ended:
			if start <= since || start >= p.At || start < b.oldest {
				return Taken // a base for the next point
			}
			since, last = start, 0
		case v < last || start > since:
			b.counts[Reset]++
			last = 0
		}
		v = (v - last) / (float64(p.At-since) / 1000)
	case formDelta:
		if ended {
			since = start
		}
		if since <= 0 || since >= p.At {
			return Taken
		}
		v /= float64(p.At-since) / 1000
	default:
	}
	b.give(sh, e.handle, e.out, p.At, v)
	return Taken
}

// judge tells whether a point is one, and newer than the newest.
func (b *Batch) judge(e *entry, p Point, key []byte) Reason {
	var r Reason
	switch {
	case math.IsNaN(p.Value) || math.Abs(p.Value) > maxNumber:
		return NotANumber
	case p.At > b.newest:
		r = TooFarAhead
	case p.At < b.oldest || p.At <= 0:
		r = TooOld
	case p.At > e.lastAt:
		return Taken
	case p.At == e.lastAt:
		return Duplicate
	case e.lastAt-p.At <= b.m.cfg.OutOfOrder.D().Milliseconds():
		r = OutOfOrder
	default:
		r = Late
	}
	if b.first[r] == "" {
		b.first[r] = b.describeTime(r, e, p, key)
	}
	return r
}

func (b *Batch) describeTime(r Reason, e *entry, p Point, key []byte) string {
	at := millis(p.At)
	switch r {
	case TooFarAhead:
		return fmt.Sprintf("%s: the sample of %s is later than %s (now and telemetry.max_ahead); is the sender's clock right?", keyText(key), at, millis(b.newest))
	case TooOld:
		return fmt.Sprintf("%s: the sample of %s is older than %s (now less telemetry.max_age); is the sender's clock right?", keyText(key), at, millis(b.oldest))
	default:
		return fmt.Sprintf("%s: the sample of %s is older than the newest, of %s", keyText(key), at, millis(e.lastAt))
	}
}

// give passes a value on.
func (b *Batch) give(sh *shard, handle uint32, out *member, at int64, v float64) {
	sh.sink.Append(handle, at, v)
	if out != nil && !b.from.History {
		out.set(b, at, v)
	}
}
