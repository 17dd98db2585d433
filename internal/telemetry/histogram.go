package telemetry

import (
	"math"
	"slices"
)

// maxBuckets of a histogram; a sender that has more describes something else.
const maxBuckets = 512

// maxOpen is how many times of one histogram wait for buckets at once. A sender
// that catches up has several points of a series in a request, bucket after
// bucket, and its connections may be some scrapes apart.
const maxOpen = 16

// HistoryPart is how many points a series of a history may have at once, when
// the buckets of histograms come one after another: the parts of all series
// come before the next part of any.
const HistoryPart = 64

// histogram makes quantiles of buckets. Where each bucket is a series of its
// own, its points are put together first: buckets of one scrape may come in
// several requests, and the next scrape may begin before the last bucket is
// there. When too many times are open, the oldest is given up as incomplete; so
// are those that are older than one that is complete.
type histogram struct {
	home    *shard
	entry   *entry
	dead    bool
	wanted  bool
	handles [histogramOutputs]uint32
	outs    [histogramOutputs]*member
	outputs int

	slots   []slot
	order   []int32  // slots by bound
	buckets int      // slots in use
	open    []scrape // with have > 0, in no order; as many as were ever needed
	grown   int64    // the newest time that brought a bucket nobody knew; there may be more

	reducer reducer
}

// slot is one bucket that is a series of its own.
type slot struct {
	le     float64
	used   bool
	fresh  bool // without a point
	missed int8
}

// scrape gathers the buckets of one time.
type scrape struct {
	at     int64
	have   int
	counts []float64 // by slot; NaN while missing
}

// add makes a slot for a bound.
func (h *histogram) add(le float64) (int32, bool) {
	for i := range h.slots {
		if h.slots[i].le == le {
			h.use(int32(i))
			return int32(i), true
		}
	}
	if len(h.slots) >= maxBuckets {
		return 0, false
	}
	h.slots = append(h.slots, slot{le: le})
	h.use(int32(len(h.slots) - 1))
	return int32(len(h.slots) - 1), true
}

// use waits for a bucket from now on. Counts are compared with those of the
// same buckets only, so that they begin anew.
func (h *histogram) use(i int32) {
	s := &h.slots[i]
	if s.used {
		return
	}
	s.used, s.fresh, s.missed = true, true, 0
	h.buckets++
	h.reducer.ended = true
	h.reorder()
}

func (h *histogram) drop(i int32) {
	if h.slots[i].used {
		h.slots[i].used = false
		h.buckets--
		h.reducer.ended = true
		h.reorder()
	}
}

// reorder sorts the slots in use, and makes room for them in the open times.
func (h *histogram) reorder() {
	h.order = h.order[:0]
	for i := range h.slots {
		if h.slots[i].used {
			h.order = append(h.order, int32(i))
		}
	}
	slices.SortFunc(h.order, func(a, b int32) int {
		if h.slots[a].le < h.slots[b].le {
			return -1
		}
		return 1
	})
	for i := range h.open {
		s := &h.open[i]
		for len(s.counts) < len(h.slots) {
			s.counts = append(s.counts, math.NaN())
		}
	}
}

// bucket takes the cumulative count of one slot. It gives the histogram of a
// time that is complete by it, to be ended by finish.
func (h *histogram) bucket(i int32, at int64, count float64, most int) (done *scrape, r Reason) {
	h.use(i)
	if h.slots[i].fresh {
		h.slots[i].fresh = false
		h.grown = max(h.grown, at)
	}
	if at <= h.reducer.at {
		return nil, Incomplete
	}
	s, r := h.scrape(at, most)
	if math.IsNaN(s.counts[i]) {
		s.have++
	}
	s.counts[i] = count
	if s.have < h.buckets || s.at <= h.grown {
		return nil, r
	}
	return s, r
}

// scrape finds or opens a time, of most. For it, it may give up the oldest.
func (h *histogram) scrape(at int64, most int) (*scrape, Reason) {
	if len(h.open) > most {
		h.open = nil // of the history
	}
	var free, oldest *scrape
	for i := range h.open {
		switch s := &h.open[i]; {
		case s.have == 0:
			free = s
		case s.at == at:
			return s, Taken
		case oldest == nil || s.at < oldest.at:
			oldest = s
		}
	}
	r := Taken
	switch {
	case free != nil:
	case len(h.open) < most:
		h.open = append(h.open, scrape{})
		free = &h.open[len(h.open)-1]
	default:
		h.giveUp(oldest)
		free, r = oldest, Incomplete
	}
	free.begin(at, len(h.slots))
	return free, r
}

// giveUp ends a time. A bucket that was missing for the third time in a row is
// not waited for any more.
func (h *histogram) giveUp(lost *scrape) {
	for i := range h.slots {
		s := &h.slots[i]
		if !s.used || !math.IsNaN(lost.counts[i]) {
			s.missed = 0
			continue
		}
		if s.missed++; s.missed == 3 {
			s.used = false
			h.buckets--
			h.reducer.ended = true
		}
	}
	h.reorder()
}

// finish ends a complete time, and the older ones. The point has counts of each
// bucket alone; it uses the memory of the one it is given.
func (h *histogram) finish(s *scrape, into Histogram) Histogram {
	into.At, into.Start, into.Delta = s.at, 0, false
	into.Bounds, into.Counts = into.Bounds[:0], into.Counts[:0]
	below, infinite := 0.0, false
	for _, i := range h.order {
		c := s.counts[i]
		if c != c {
			c = below // a bucket that came back meanwhile
		}
		into.Counts = append(into.Counts, max(c-below, 0))
		below = max(below, c)
		if math.IsInf(h.slots[i].le, 1) {
			infinite = true
			break
		}
		into.Bounds = append(into.Bounds, h.slots[i].le)
	}
	if !infinite {
		into.Counts = append(into.Counts, 0)
	}
	for i := range h.open {
		if o := &h.open[i]; o.at <= into.At {
			o.have = 0
		}
	}
	return into
}

func (s *scrape) begin(at int64, slots int) {
	s.at, s.have = at, 0
	s.counts = slices.Grow(s.counts[:0], slots)[:slots]
	for i := range s.counts {
		s.counts[i] = math.NaN()
	}
}

// close ends the series that come out.
func (h *histogram) close(sink Sink) {
	h.dead = true
	for i := range h.outputs {
		sink.Close(h.handles[i])
		h.outs[i].leave()
	}
}

// reducer makes quantiles and a rate of the points of one histogram. Counts lose
// weight with their age, so that a quantile rests on more than the observations
// since the last point, and follows a change within a few half-lives.
type reducer struct {
	at     int64 // Unix ms of the newest point; 0: no base
	ended  bool
	bounds []float64
	prev   []float64 // counts of the newest point
	weight []float64 // aged counts
	rate   float64
}

// observe takes a point. It tells whether quantiles and a rate came out of it,
// and whether counting began anew.
func (r *reducer) observe(p *Histogram, halfLife float64) (out, reset bool) {
	r.align(p.Bounds)
	since := r.at
	first := r.at == 0 || r.ended
	r.at, r.ended = p.At, false
	if first {
		if !p.Delta && (p.Start == 0 || p.Start >= p.At || p.Start <= since) {
			copy(r.prev, p.Counts)
			return false, false
		}
		since = p.Start
		clear(r.prev)
	}
	if !p.Delta && total(p.Counts) < total(r.prev) || !first && p.Start > since {
		reset = !p.Delta
		clear(r.prev)
	}
	seconds := float64(p.At-since) / 1000
	age := 0.0
	if since > 0 && seconds > 0 {
		age = math.Exp2(-seconds / halfLife)
	}
	added := 0.0
	for i, c := range p.Counts {
		d := c
		if !p.Delta {
			d = max(c-r.prev[i], 0)
		}
		added += d
		r.weight[i] = r.weight[i]*age + d
	}
	if !p.Delta {
		copy(r.prev, p.Counts)
	}
	if since <= 0 {
		return false, reset // a first delta of unknown length
	}
	r.rate = added / seconds
	return true, reset
}

// align puts the counts that are held into other buckets: each into the first
// whose bound is not lower, which is exact when buckets were only merged.
func (r *reducer) align(bounds []float64) {
	if slices.Equal(r.bounds, bounds) && r.prev != nil {
		return
	}
	prev, weight := make([]float64, len(bounds)+1), make([]float64, len(bounds)+1)
	for i := range r.prev {
		j := len(bounds)
		if i < len(r.bounds) {
			j, _ = slices.BinarySearch(bounds, r.bounds[i])
		}
		prev[j] += r.prev[i]
		weight[j] += r.weight[i]
	}
	r.bounds, r.prev, r.weight = slices.Clone(bounds), prev, weight
}

// fewest aged observations that a quantile is made of.
const fewest = 1

// quantile as Prometheus' histogram_quantile: linear within a bucket, from zero
// in the first; beyond the last bound it is the last bound.
func (r *reducer) quantile(q float64) (float64, bool) {
	all := total(r.weight)
	if all < fewest || len(r.bounds) == 0 {
		return 0, false
	}
	rank, below := q*all, 0.0
	for i, c := range r.weight[:len(r.bounds)] {
		if below+c >= rank && c > 0 {
			low := 0.0
			switch {
			case i > 0:
				low = r.bounds[i-1]
			case r.bounds[0] <= 0:
				return r.bounds[0], true
			}
			return low + (r.bounds[i]-low)*(rank-below)/c, true
		}
		below += c
	}
	return r.bounds[len(r.bounds)-1], true
}

func total(counts []float64) float64 {
	sum := 0.0
	for _, c := range counts {
		sum += c
	}
	return sum
}
