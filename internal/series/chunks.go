package series

import (
	"fmt"
	"math"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// chunkSamples is how many samples a chunk has at most, as in Prometheus: the bytes
// of a sample are few only beside others.
const chunkSamples = 120

// samples are the values of one series that expressions look at, oldest first.
type samples struct {
	chunks []chunk // the last one is open, the others do not change any more
	app    chunkenc.Appender
}

// chunk is a chunk with the times of its first and last sample, in Unix ms.
type chunk struct {
	chunkenc.Chunk

	first, last int64
}

// value is a sample's: a number, or one of the two histograms.
type value struct {
	start   int64 // Unix ms at which its counter began, 0 if unknown
	float   float64
	integer *histogram.Histogram
	decimal *histogram.FloatHistogram
}

// encoding is that of the chunk which a value goes into.
func (v *value) encoding() chunkenc.Encoding {
	began := v.start != 0
	switch {
	case v.integer != nil && began:
		return chunkenc.EncHistogramST
	case v.integer != nil:
		return chunkenc.EncHistogram
	case v.decimal != nil && began:
		return chunkenc.EncFloatHistogramST
	case v.decimal != nil:
		return chunkenc.EncFloatHistogram
	case began:
		return chunkenc.EncXOR2
	default:
		return chunkenc.EncXOR
	}
}

// append takes a sample that is newer than all, and lets go of chunks without one
// from after at-keep (ms).
func (s *samples) append(at int64, v value, keep int64) error {
	s.trim(at - keep)
	n := len(s.chunks)
	full := n == 0 || s.chunks[n-1].NumSamples() >= chunkSamples || s.chunks[n-1].Encoding() != v.encoding() ||
		at-s.chunks[n-1].first > max(keep/2, 1)
	before := s.app
	if full {
		if err := s.cut(v.encoding(), at); err != nil {
			return err
		}
		n = len(s.chunks)
	}
	open := &s.chunks[n-1]
	if v.integer == nil && v.decimal == nil {
		s.app.Append(v.start, at, v.float)
		open.last = at
		return nil
	}
	if !full {
		before = nil
	}
	var grown chunkenc.Chunk
	var recoded bool
	var err error
	if v.integer != nil {
		grown, recoded, s.app, err = s.app.AppendHistogram(before, v.start, at, v.integer, false)
	} else {
		grown, recoded, s.app, err = s.app.AppendFloatHistogram(before, v.start, at, v.decimal, false)
	}
	switch {
	case err != nil:
		return fmt.Errorf("append a histogram: %w", err)
	case grown == nil:
		open.last = at
	case recoded:
		open.Chunk, open.last = grown, at
	default: // its buckets, or a reset, began another chunk
		s.chunks = append(s.chunks, chunk{grown, at, at})
	}
	return nil
}

// cut begins a chunk.
func (s *samples) cut(encoding chunkenc.Encoding, at int64) error {
	empty, err := chunkenc.NewEmptyChunk(encoding)
	if err != nil {
		return fmt.Errorf("begin a chunk: %w", err)
	}
	if n := len(s.chunks); n > 0 {
		s.chunks[n-1].Compact()
	}
	if s.app, err = empty.Appender(); err != nil {
		return fmt.Errorf("begin a chunk: %w", err)
	}
	s.chunks = append(s.chunks, chunk{empty, at, at})
	return nil
}

// trim lets go of the chunks whose samples are all from before a time.
func (s *samples) trim(before int64) {
	n := 0
	for n < len(s.chunks)-1 && s.chunks[n].last < before {
		n++
	}
	if n > 0 {
		s.chunks = append(s.chunks[:0], s.chunks[n:]...)
		clear(s.chunks[len(s.chunks):cap(s.chunks)])
	}
}

// cutAfter lets go of the samples that are later than a time, and gives the newest that
// is left.
func (s *samples) cutAfter(at int64, newest *value) error {
	kept := samples{}
	for _, c := range s.chunks {
		if c.first > at {
			break
		}
		err := c.until(at, func(t int64, v value) error {
			*newest = v
			return kept.append(t, v, math.MaxInt64/2)
		})
		if err != nil {
			return err
		}
	}
	*s = kept
	return nil
}

// until goes through the samples of a chunk up to a time.
func (c chunk) until(last int64, each func(at int64, v value) error) error {
	it := c.Iterator(nil)
	for kind := it.Next(); kind != chunkenc.ValNone && it.AtT() <= last; kind = it.Next() {
		v := value{start: it.AtST()}
		switch kind {
		case chunkenc.ValHistogram:
			_, v.integer = it.AtHistogram(nil)
		case chunkenc.ValFloatHistogram:
			_, v.decimal = it.AtFloatHistogram(nil)
		case chunkenc.ValFloat, chunkenc.ValNone:
			_, v.float = it.At()
		}
		if err := each(it.AtT(), v); err != nil {
			return err
		}
	}
	return it.Err()
}

// within gives the chunks that have samples within two times, as they are now: of the
// open one a copy.
func (s *samples) within(first, last int64) []chunk {
	var out []chunk
	for i, c := range s.chunks {
		if c.last < first || c.first > last {
			continue
		}
		if i == len(s.chunks)-1 {
			copied, err := chunkenc.FromData(c.Encoding(), append([]byte(nil), c.Bytes()...))
			if err != nil {
				continue // no chunk of ours has an unknown encoding
			}
			c.Chunk = copied
		}
		out = append(out, c)
	}
	return out
}

// newest gives the last sample's time, and whether there is one.
func (s *samples) newest() (at int64, ok bool) {
	if len(s.chunks) == 0 {
		return math.MinInt64, false
	}
	return s.chunks[len(s.chunks)-1].last, true
}

// walk goes through the samples of chunks, oldest first.
type walk struct {
	chunks []chunk // that are still to come
	at     chunkenc.Iterator
	last   int64 // time of the newest sample of the chunk that it is in
	within bool  // it is in a chunk
	broken error
}

var _ chunkenc.Iterator = (*walk)(nil)

// over walks over chunks, and may use the memory of a walk that has ended.
func over(chunks []chunk, used chunkenc.Iterator) chunkenc.Iterator {
	w, mine := used.(*walk)
	if !mine {
		w = &walk{}
	}
	w.chunks, w.within, w.broken = chunks, false, nil
	return w
}

// advance goes to the next chunk that may have a sample at or after a time.
func (w *walk) advance(t int64) bool {
	for len(w.chunks) > 0 && w.chunks[0].last < t {
		w.chunks = w.chunks[1:]
	}
	if w.within = len(w.chunks) > 0; !w.within {
		return false
	}
	w.at, w.last = w.chunks[0].Iterator(w.at), w.chunks[0].last
	w.chunks = w.chunks[1:]
	return true
}

// Next goes to the next sample.
func (w *walk) Next() chunkenc.ValueType {
	return w.find(math.MinInt64, func() chunkenc.ValueType { return w.at.Next() })
}

// Seek goes on to the first sample at or after a time.
func (w *walk) Seek(t int64) chunkenc.ValueType { //nolint:govet // it is an Iterator of chunks, no io.Seeker
	return w.find(t, func() chunkenc.ValueType { return w.at.Seek(t) })
}

// find goes on, from chunk to chunk, until one has a sample.
func (w *walk) find(t int64, next func() chunkenc.ValueType) chunkenc.ValueType {
	if w.broken != nil {
		return chunkenc.ValNone
	}
	for {
		if w.within && w.last >= t {
			if kind := next(); kind != chunkenc.ValNone {
				return kind
			}
			if w.broken = w.at.Err(); w.broken != nil {
				return chunkenc.ValNone
			}
		}
		if !w.advance(t) {
			return chunkenc.ValNone
		}
	}
}

// At gives the sample's time and number.
func (w *walk) At() (int64, float64) { return w.at.At() }

// AtHistogram gives the sample's time and histogram.
func (w *walk) AtHistogram(h *histogram.Histogram) (int64, *histogram.Histogram) {
	return w.at.AtHistogram(h)
}

// AtFloatHistogram gives the sample's time and histogram, in decimal counts.
func (w *walk) AtFloatHistogram(h *histogram.FloatHistogram) (int64, *histogram.FloatHistogram) {
	return w.at.AtFloatHistogram(h)
}

// AtT gives the sample's time.
func (w *walk) AtT() int64 { return w.at.AtT() }

// AtST gives when the sample's counter began, 0 if unknown.
func (w *walk) AtST() int64 { return w.at.AtST() }

// Err tells why there are no more samples than there should be.
func (w *walk) Err() error { return w.broken }
