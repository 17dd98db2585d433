package otlp

import (
	"math"
	"slices"
	"testing"

	metrics "go.opentelemetry.io/proto/otlp/metrics/v1"
	"pgregory.net/rapid"
)

// draw makes a point of observations, with their scale as a sender would have
// it, and gives them too.
func draw(rt *rapid.T) (*metrics.ExponentialHistogramDataPoint, []float64) {
	scale := rapid.Int32Range(lowestScale, 12).Draw(rt, "scale")
	p := &metrics.ExponentialHistogramDataPoint{Scale: scale}
	positive, negative := map[int]uint64{}, map[int]uint64{}
	seen := rapid.SliceOfN(rapid.Float64Range(-1e6, 1e6), 1, 20).Draw(rt, "observed")
	for _, v := range seen {
		// The sides have no more than 4096 buckets at these scales only when
		// small values are zero.
		if math.Abs(v) < 1e6/math.Exp2(min(4000*math.Exp2(-float64(scale)), 1000)) {
			p.ZeroCount++
			continue
		}
		i := int(math.Ceil(math.Log2(math.Abs(v))*math.Exp2(float64(scale)))) - 1
		if v > 0 {
			positive[i]++
		} else {
			negative[i]++
		}
	}
	p.Positive, p.Negative = pack(positive), pack(negative)
	return p, seen
}

func pack(counts map[int]uint64) *metrics.ExponentialHistogramDataPoint_Buckets {
	b := &metrics.ExponentialHistogramDataPoint_Buckets{}
	if len(counts) == 0 {
		return b
	}
	low, high := math.MaxInt, math.MinInt
	for i := range counts {
		low, high = min(low, i), max(high, i)
	}
	b.Offset, b.BucketCounts = int32(low), make([]uint64, high-low+1)
	for i, c := range counts {
		b.BucketCounts[i-low] = c
	}
	return b
}

// upTo counts observations not above a bound as buckets tell it.
func upTo(bound float64, bounds, counts []float64) float64 {
	n := 0.0
	for i, b := range bounds {
		if b <= bound {
			n += counts[i]
		}
	}
	return n
}

// Whatever came before on the stream: bounds rise, nothing is lost, and every
// bucket holds what was observed in it. The span only widens.
func TestBucketsHoldWhatWasObserved(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		all := newSpans(10)
		var before span
		for range rapid.IntRange(1, 4).Draw(rt, "points") {
			p, seen := draw(rt)
			own, err := spanOf(p)
			if err != nil {
				rt.Fatal(err)
			}
			s := all.widen([]byte("key"), own)
			bounds, counts := s.buckets(p, nil, nil)
			if len(counts) != len(bounds)+1 || counts[len(bounds)] != 0 || !slices.IsSorted(bounds) || len(slices.Compact(slices.Clone(bounds))) != len(bounds) {
				rt.Fatalf("bounds %v, counts %v", bounds, counts)
			}
			if len(bounds) > 2*maxWidth+3 {
				rt.Fatalf("%d bounds", len(bounds))
			}
			if got := upTo(math.Inf(1), bounds, counts); got != float64(len(seen)) {
				rt.Fatalf("%v of %d observations are left", got, len(seen))
			}
			// The logarithm of a value on an edge may fall on either side of it.
			for i, b := range bounds {
				fewer, more := 0.0, 0.0
				for _, v := range seen {
					if v <= b-math.Abs(b)*1e-9 {
						fewer++
					}
					if v <= b+math.Abs(b)*1e-9 {
						more++
					}
				}
				if got := upTo(b, bounds, counts); p.GetZeroCount() == 0 && (got < fewer || got > more) {
					rt.Fatalf("bound %d, %v: %v observations below, want %v to %v", i, b, got, fewer, more)
				}
			}
			if before.scale != 0 && s.scale > before.scale {
				rt.Fatalf("scale %d after %d", s.scale, before.scale)
			}
			before = s
		}
	})
}

// A stream that is forgotten costs no more than its span.
func TestSpansAreBounded(t *testing.T) {
	s := newSpans(3)
	for _, key := range []string{"a", "b", "c", "d", "a", "e"} {
		s.widen([]byte(key), span{positive: side{1, 2}, negative: none()})
	}
	if len(s.seen) > 3 {
		t.Errorf("%d streams", len(s.seen))
	}
}
