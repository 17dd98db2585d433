package otlp

import (
	"fmt"
	"hash/maphash"
	"math"
	"sync"

	metrics "go.opentelemetry.io/proto/otlp/metrics/v1"
)

const (
	// finest is the highest scale that is kept: buckets 4 % wide are finer than
	// any quantile of them deserves.
	finest = 4
	// maxWidth of the buckets of one sign.
	maxWidth = 160
	// maxGiven bounds the buckets of a point; senders have 160 or 320.
	maxGiven = 4096
	// maxSpans bounds the streams whose span is remembered; each is some 50
	// bytes.
	maxSpans = 200_000
)

// span is a range of buckets at a scale: bucket i holds what is above
// base^i up to base^(i+1), with base = 2^(2^-scale), and the same mirrored for
// what is below zero.
type span struct {
	scale    int32
	positive side
	negative side
}

// side is the buckets of one sign, from low to high; none when low > high.
type side struct{ low, high int32 }

func none() side { return side{low: 1, high: 0} }

func (s side) empty() bool { return s.low > s.high }

func (s side) union(o side) side {
	switch {
	case s.empty():
		return o
	case o.empty():
		return s
	default:
		return side{min(s.low, o.low), max(s.high, o.high)}
	}
}

// shift makes buckets 2^by times as wide, on a logarithmic scale.
func (s side) shift(by int32) side {
	if s.empty() {
		return s
	}
	return side{s.low >> min(by, 31), s.high >> min(by, 31)}
}

func (s side) width() int64 { return int64(s.high) - int64(s.low) + 1 }

// coarsen lowers the scale to at most scale.
func (s span) coarsen(scale int32) span {
	if by := int64(s.scale) - int64(scale); by > 0 {
		narrow := int32(min(by, 31))
		return span{scale, s.positive.shift(narrow), s.negative.shift(narrow)}
	}
	return s
}

func (s span) union(o span) span {
	scale := min(s.scale, o.scale, finest)
	s, o = s.coarsen(scale), o.coarsen(scale)
	s.positive, s.negative = s.positive.union(o.positive), s.negative.union(o.negative)
	for s.positive.width() > maxWidth || s.negative.width() > maxWidth {
		s = s.coarsen(s.scale - 1)
	}
	return s
}

// Scales that senders use: at the lowest, one bucket holds every number above 1.
const (
	lowestScale  = -10
	highestScale = 20
)

// spanOf gives the buckets of a point that hold something, or says why they
// cannot be those of numbers.
func spanOf(p *metrics.ExponentialHistogramDataPoint) (span, error) {
	scale := p.GetScale()
	if scale < lowestScale || scale > highestScale {
		return span{}, fmt.Errorf("its scale is %d, want %d to %d", scale, lowestScale, highestScale)
	}
	if n := max(len(p.GetPositive().GetBucketCounts()), len(p.GetNegative().GetBucketCounts())); n > maxGiven {
		return span{}, fmt.Errorf("a point has %d buckets, the limit is %d", n, maxGiven)
	}
	s := span{scale: scale, positive: sideOf(p.GetPositive()), negative: sideOf(p.GetNegative())}
	for _, one := range []side{s.positive, s.negative} {
		unit := math.Exp2(-float64(scale))
		if !one.empty() && (float64(one.high)*unit >= 1024 || float64(one.low)*unit < -1074) {
			return span{}, fmt.Errorf("its buckets %d to %d at scale %d are beyond all numbers", one.low, one.high, scale)
		}
	}
	return s.union(s), nil
}

func sideOf(b *metrics.ExponentialHistogramDataPoint_Buckets) side {
	s := none()
	for i, c := range b.GetBucketCounts() {
		if c > 0 {
			at := int32(min(max(int64(b.GetOffset())+int64(i), math.MinInt32), math.MaxInt32))
			s = s.union(side{at, at})
		}
	}
	return s
}

// spans remembers of each stream the widest span so far. Points of one stream,
// above all deltas, hold different buckets; in the same bounds they can be
// added up.
type spans struct {
	mu    sync.Mutex
	seed  maphash.Seed
	limit int
	seen  map[uint64]span
}

func newSpans(limit int) spans {
	return spans{seed: maphash.MakeSeed(), limit: limit, seen: map[uint64]span{}}
}

// widen gives the span of a stream with a further point. Two streams of one
// hash share a span, which is wider than needed and no worse.
func (s *spans) widen(key []byte, by span) span {
	h := maphash.Bytes(s.seed, key)
	s.mu.Lock()
	defer s.mu.Unlock()
	old, known := s.seen[h]
	if !known && len(s.seen) >= s.limit {
		for other := range s.seen { // any: it is found again with its next points
			delete(s.seen, other)
			break
		}
	}
	if known {
		by = old.union(by)
	}
	s.seen[h] = by
	return by
}

// buckets writes a point in the bounds of the span: rising upper bounds, and
// the count of each bucket and of what is beyond the last, which is nothing.
func (s span) buckets(p *metrics.ExponentialHistogramDataPoint, bounds, counts []float64) (b, c []float64) {
	factor := math.Exp2(-float64(s.scale))
	// The outermost edge may be just beyond all numbers.
	edge := func(i int64) float64 { return min(math.Exp2(float64(i)*factor), math.MaxFloat64) }
	if !s.negative.empty() {
		bounds, counts = append(bounds, -edge(int64(s.negative.high)+1)), append(counts, 0)
		first := len(counts)
		for i := int64(s.negative.high); i >= int64(s.negative.low); i-- {
			bounds, counts = append(bounds, -edge(i)), append(counts, 0)
		}
		s.add(p, p.GetNegative(), func(i int32, count float64) { counts[first+int(s.negative.high-i)] += count })
	}
	zero := p.GetZeroThreshold()
	if !s.positive.empty() {
		zero = edge(int64(s.positive.low))
	}
	bounds, counts = append(bounds, zero), append(counts, float64(p.GetZeroCount()))
	if !s.positive.empty() {
		first := len(counts)
		for i := int64(s.positive.low); i <= int64(s.positive.high); i++ {
			bounds, counts = append(bounds, edge(i+1)), append(counts, 0)
		}
		s.add(p, p.GetPositive(), func(i int32, count float64) { counts[first+int(i-s.positive.low)] += count })
	}
	return bounds, append(counts, 0)
}

// add gives every bucket of a point that holds something, by its number at the
// span's scale.
func (s span) add(p *metrics.ExponentialHistogramDataPoint, b *metrics.ExponentialHistogramDataPoint_Buckets, to func(i int32, count float64)) {
	by := int32(min(int64(p.GetScale())-int64(s.scale), 31))
	for i, c := range b.GetBucketCounts() {
		if c > 0 {
			to((b.GetOffset()+int32(i))>>by, float64(c))
		}
	}
}
