package series

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	prom "github.com/prometheus/prometheus/model/value"

	"grace"
)

// maxNumber bounds values in magnitude: their rates, squares and sums are still
// numbers.
const maxNumber = 1e100

// From says who sends a batch.
type From struct {
	Sensor string // name of the edge
	Source string // whose series are counted together: a tenant, a peer's address
	// History is a warm-up: samples may be as old as they are.
	History bool
}

// Batch takes the series of one request or scrape. It belongs to one goroutine
// until End.
type Batch struct {
	db     *DB
	m      *mapper
	from   From
	source *tally

	now, oldest, newest int64 // Unix ms
	samples             int
	histograms          int // refused samples that are histograms
	counts              [reasons]int
	first               [reasons]string

	labels  []label
	service grace.ServiceID // that the rules give the series that is opened
	key     []byte
}

// Begin opens a batch. It must be ended.
func (db *DB) Begin(f From) *Batch {
	b := db.batches.Get().(*Batch)
	m := db.mapper.Load()
	now := db.opt.Now().UnixMilli()
	b.m, b.from, b.now = m, f, now
	b.oldest, b.newest = now-m.cfg.MaxAge.D().Milliseconds(), now+m.cfg.MaxAhead.D().Milliseconds()
	if f.History {
		b.oldest = 0
	}
	b.samples, b.histograms, b.counts, b.first = 0, 0, [reasons]int{}, [reasons]string{}
	b.source = db.ofSource(f.Source)
	return b
}

// End says what became of the samples. The batch must not be used after it.
func (b *Batch) End() Report {
	r := Report{Samples: b.samples, histograms: b.histograms, counts: b.counts, first: b.first}
	for i, n := range b.counts {
		if n > 0 {
			b.db.counters.samples[i].Add(uint64(n))
		}
	}
	b.source.batches.Add(-1)
	b.m, b.source = nil, nil
	clear(b.labels)
	b.db.batches.Put(b)
	return r
}

// Refused counts the samples so far that the sender should know were not taken: an edge
// that makes several of one point tells by it whether that was refused.
func (b *Batch) Refused() int {
	r := Report{counts: b.counts}
	return r.Refused()
}

// Append takes samples of one series, oldest first. The key is read, not kept. It tells
// whether the series is one of those that are known.
func (b *Batch) Append(key []byte, meta Meta, samples ...Sample) bool {
	samples = samples[:b.room(samples, key)]
	if len(samples) == 0 {
		return false
	}
	h := maphash.Bytes(b.db.seed, key)
	reason, known := b.known(h, key, 0, &meta, samples)
	if known {
		return true
	}
	if reason == Taken {
		reason = b.open(h, key, &meta, samples)
	}
	if reason != Taken {
		b.refuse(reason, len(samples), key)
		b.refuseHistograms(reason, samples)
	}
	return reason == Taken
}

// room gives how many of some samples the limit of a request lets in.
func (b *Batch) room(samples []Sample, key []byte) int {
	n := len(samples)
	b.samples += n
	over := min(b.samples-b.m.cfg.Limits.SamplesPerRequest, n)
	if over <= 0 {
		return n
	}
	b.labels, _ = parseKey(b.labels[:0], key)
	b.db.watched.Load().note(b.labels, "", RequestFull)
	b.refuse(RequestFull, over, key)
	b.refuseHistograms(RequestFull, samples[n-over:])
	return n - over
}

// known takes the samples of a series that is open, and tells whether it is; else why
// its key is passed over, if it is.
func (b *Batch) known(h uint64, key []byte, replica uint64, meta *Meta, samples []Sample) (reason Reason, known bool) {
	sh := b.db.shard(h)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	e := sh.get(h, key)
	if e == nil {
		return sh.passes(h, b.now), false
	}
	b.appendTo(sh, e, replica, meta, samples)
	return Taken, true
}

// appendTo takes samples of an entry. The caller holds the lock of its shard.
func (b *Batch) appendTo(sh *shard, e *entry, replica uint64, meta *Meta, samples []Sample) {
	if !e.elect(replica, b.now) {
		b.refuse(Duplicate, len(samples), nil)
		return
	}
	for i := range samples {
		s := &samples[i]
		r := b.take(sh, e, meta, s)
		b.counts[r]++
		if r.Refused() {
			b.refuseHistograms(r, samples[i:i+1])
			if b.first[r] == "" {
				b.first[r] = b.describe(r, []byte(e.key))
			}
		}
	}
}

// refuse counts samples, and describes the first of each reason.
func (b *Batch) refuse(r Reason, n int, key []byte) {
	b.counts[r] += n
	if r.Refused() && b.first[r] == "" {
		b.first[r] = b.describe(r, key)
	}
}

func (b *Batch) refuseHistograms(r Reason, samples []Sample) {
	if !r.Refused() {
		return
	}
	for i := range samples {
		if samples[i].histogram() {
			b.histograms++
		}
	}
}

// take is the hygiene of one sample, and appends it. The caller holds the lock of the
// entry's shard.
func (b *Batch) take(sh *shard, e *entry, meta *Meta, s *Sample) Reason {
	if r := b.judge(e, s); r != Taken {
		return r
	}
	stale, histogram := s.stale(), s.histogram()
	if histogram && !stale && !s.valid() {
		return BadHistogram
	}
	v, r := e.value(s, meta, stale)
	if r != Taken {
		return r
	}
	if e.lastAt >= 0 && !stale && !e.ended() {
		e.gap = int32(min(s.At-e.lastAt, math.MaxInt32))
	}
	if k := e.kept; k != nil {
		ended := stale && k.ends(s.At, meta)
		if k.append(s.At, v) != nil {
			return BadHistogram
		}
		k.ended, k.measured, k.oldest, k.lacks = ended, meta.Measured, meta.Oldest, meta.Lacks
	}
	switch {
	case stale:
		e.lastAt, e.since = s.At, -1
		return Stale
	case histogram:
		e.lastAt, e.moved = s.At, s.At
	case !number(v.float): // as what divides by nothing gives it
		e.lastAt = s.At
		if e.kept == nil {
			return NotANumber
		}
	case e.forecastOf(sh, meta.Start, s.At, v.float):
		b.counts[Reset]++
	}
	return Taken
}

func number(v float64) bool { return !math.IsNaN(v) && math.Abs(v) <= maxNumber }

// maxSummed bounds the buckets of histograms that were added up: each may bring others.
const maxSummed = 1024

// coarsen merges buckets until there are no more than maxSummed.
func coarsen(h *histogram.FloatHistogram) bool {
	for len(h.PositiveBuckets)+len(h.NegativeBuckets) > maxSummed {
		if h.UsesCustomBuckets() || h.Schema <= histogram.ExponentialSchemaMin || h.ReduceResolution(h.Schema-1) != nil {
			return false
		}
	}
	return true
}

// value is what is kept of a sample: what was added is added up. It gives Taken, or why
// there is none.
func (e *entry) value(s *Sample, meta *Meta, stale bool) (value, Reason) {
	added := s.Float
	switch {
	case stale || meta.Kind != KindDelta && e.form != formDelta:
		return value{meta.Start, s.Value, s.Histogram, s.Float}, Taken
	case s.Histogram != nil:
		added = s.Histogram.ToFloat(nil)
	case s.Float == nil && !number(s.Value):
		return value{}, NotANumber // nothing that could be added, now or later
	case s.Float == nil:
		return value{float: e.last + s.Value}, Taken
	}
	if e.kept == nil {
		return value{}, Taken
	}
	sums := e.kept.sums
	if sums == nil {
		sums = added.Copy()
	} else if _, _, _, err := sums.Add(added); err != nil {
		return value{}, BadHistogram
	}
	if sums.CounterResetHint = histogram.UnknownCounterReset; !coarsen(sums) {
		e.kept.sums = nil
		return value{}, BadHistogram
	}
	e.kept.sums = sums
	return value{decimal: sums.Copy()}, Taken
}

// forecastOf gives the sink what is forecast of a number: a counter's rate. It tells
// whether the counter began anew.
func (e *entry) forecastOf(sh *shard, start, at int64, v float64) (reset bool) {
	last, since, before := e.last, e.since, e.lastAt
	if v != last || before < 0 {
		e.moved = at
	}
	e.last, e.since, e.lastAt = v, at, at
	switch e.form {
	case formGauge:
	case formHistogram:
		return false
	case formDelta:
		if start > since {
			since = start
		}
		if since <= 0 || since >= at {
			return false // since when it was added is not known
		}
		v = (v - last) / (float64(at-since) / 1000)
	case formCounter:
		began := since < 0
		reset = !began && (v < last || start > since)
		switch {
		case began && (start <= max(before, 0) || start >= at):
			return false // a base for the next sample
		case began:
			since, last = start, 0
		case reset:
			last = 0
		}
		v = (v - last) / (float64(at-since) / 1000)
	}
	if e.forecast {
		sh.sink.Append(e.handle, at, v)
	}
	return reset
}

func (s *Sample) histogram() bool { return s.Histogram != nil || s.Float != nil }

func (s *Sample) stale() bool {
	v := value{0, s.Value, s.Histogram, s.Float}
	return v.stale()
}

// stale tells whether a value is the marker that its series ended.
func (v *value) stale() bool {
	switch {
	case v.integer != nil:
		return prom.IsStaleNaN(v.integer.Sum)
	case v.decimal != nil:
		return prom.IsStaleNaN(v.decimal.Sum)
	default:
		return prom.IsStaleNaN(v.float)
	}
}

// judge tells whether a sample is newer than the newest.
func (b *Batch) judge(e *entry, s *Sample) Reason {
	var r Reason
	switch {
	case s.At > b.newest:
		r = TooFarAhead
	case s.At < b.oldest || s.At < 0:
		r = TooOld
	case s.At > e.lastAt:
		return Taken
	case s.At == e.lastAt:
		r = Duplicate
	case e.lastAt-s.At <= b.m.cfg.OutOfOrder.D().Milliseconds():
		r = OutOfOrder
	default:
		r = Late
	}
	if b.first[r] == "" && r.Refused() {
		b.first[r] = b.describeSample(r, e, s)
	}
	return r
}

// valid tells whether a histogram is one.
func (s *Sample) valid() bool {
	if s.Histogram != nil {
		return s.Histogram.Validate() == nil
	}
	return s.Float.Validate() == nil
}

func (b *Batch) describeSample(r Reason, e *entry, s *Sample) string {
	at, name := millis(s.At), keyText([]byte(e.key))
	switch r {
	case TooFarAhead:
		return fmt.Sprintf("%s: the sample of %s is later than %s (now and telemetry.max_ahead); is the sender's clock right?", name, at, millis(b.newest))
	case TooOld:
		return fmt.Sprintf("%s: the sample of %s is older than %s (now less telemetry.max_age); is the sender's clock right?", name, at, millis(b.oldest))
	default:
		return fmt.Sprintf("%s: the sample of %s is older than the newest, of %s", name, at, millis(e.lastAt))
	}
}

func millis(at int64) string { return time.UnixMilli(at).UTC().Format("2006-01-02T15:04:05.000Z") }

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
		return over("series", l.Series, fmt.Sprintf("there are %d series, all of them in use", b.db.counters.series.Load()))
	case BadLabels:
		labels, err := parseKey(nil, key)
		if err == nil {
			_ = canonical(nil, labels)
			err = checkLabels(labels)
		}
		return fmt.Sprintf("%s: %v", name, err)
	case BadHistogram:
		return name + ": its buckets do not go with its spans and its count"
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
