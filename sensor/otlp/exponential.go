package otlp

import (
	"fmt"
	"math"

	"github.com/prometheus/prometheus/model/histogram"
	metrics "go.opentelemetry.io/proto/otlp/metrics/v1"

	"grace/internal/series"
)

const (
	// maxGiven bounds the buckets of a point; senders have 160 or 320.
	maxGiven = 4096
	// highestScale that senders use.
	highestScale = 20
	// zeroThreshold is that of a point which has none: as in Prometheus, next to nothing.
	zeroThreshold = 1e-128
	// fewGaps is how many empty buckets are written rather than begin another span.
	fewGaps = 2
)

// native makes the native histogram of a point, or says why there is none: of integers
// what is cumulative, of floats what is to be added up.
func native(p *metrics.ExponentialHistogramDataPoint, isDelta bool) (series.Sample, error) {
	scale := p.GetScale()
	if scale < histogram.ExponentialSchemaMin || scale > highestScale {
		return series.Sample{}, fmt.Errorf("its scale is %d, want %d to %d", scale, histogram.ExponentialSchemaMin, highestScale)
	}
	if n := max(len(p.GetPositive().GetBucketCounts()), len(p.GetNegative().GetBucketCounts())); n > maxGiven {
		return series.Sample{}, fmt.Errorf("a point has %d buckets, the limit is %d", n, maxGiven)
	}
	h := &histogram.Histogram{
		Schema: min(scale, histogram.ExponentialSchemaMax), Count: p.GetCount(), Sum: p.GetSum(),
		ZeroThreshold: p.GetZeroThreshold(), ZeroCount: p.GetZeroCount(),
	}
	if !(h.ZeroThreshold > 0) {
		h.ZeroThreshold = zeroThreshold
	}
	var err error
	if h.PositiveSpans, h.PositiveBuckets, err = sparse(p.GetPositive(), scale, h.Schema); err != nil {
		return series.Sample{}, err
	}
	if h.NegativeSpans, h.NegativeBuckets, err = sparse(p.GetNegative(), scale, h.Schema); err != nil {
		return series.Sample{}, err
	}
	if isDelta {
		return series.Sample{Float: h.ToFloat(nil)}, nil
	}
	return series.Sample{Histogram: h}, nil
}

// sparse writes the buckets of one sign that hold something, each as the difference to
// the one before. Bucket i of OpenTelemetry is above base^i, that of Prometheus up to
// it, so its number is one higher. At a lower scale, several are one.
func sparse(b *metrics.ExponentialHistogramDataPoint_Buckets, scale, schema int32) (spans []histogram.Span, deltas []int64, err error) {
	unit, by := math.Exp2(-float64(scale)), scale-schema
	next, before := int64(0), int64(0) // number of the bucket after the last, and its count
	for i, c := range b.GetBucketCounts() {
		if c == 0 {
			continue
		}
		given := int64(b.GetOffset()) + int64(i)
		if low := float64(given) * unit; low >= 1024 || low < -1075 {
			return nil, nil, fmt.Errorf("its bucket %d at scale %d is beyond all numbers", given, scale)
		}
		index := given>>by + 1
		if len(spans) > 0 && index == next-1 { // merged into the last one
			deltas[len(deltas)-1] += int64(c)
			before += int64(c)
			continue
		}
		gap := index - next
		if len(spans) == 0 || gap > fewGaps {
			spans = append(spans, histogram.Span{Offset: int32(gap)})
		} else {
			for range gap {
				deltas, before = append(deltas, -before), 0
				spans[len(spans)-1].Length++
			}
		}
		deltas, before = append(deltas, int64(c)-before), int64(c)
		spans[len(spans)-1].Length++
		next = index + 1
	}
	return spans, deltas, nil
}
