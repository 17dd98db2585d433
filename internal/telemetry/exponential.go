package telemetry

import "math"

// finest is the schema that exponential buckets are merged to: four buckets for
// every doubling, so that a quantile is off by less than a tenth.
const finest = 2

// Exponential makes a histogram of exponential buckets: those of OpenTelemetry
// and the native ones of Prometheus. The zero value is ready; Begin again to use
// its memory for the next one.
type Exponential struct {
	schema int32 // of the source
	bounds []float64
	counts []float64
	last   int32 // index of the newest bound
	beyond float64
	any    bool
}

// Begin starts a histogram: a schema (or scale) s has buckets that grow by
// 2^(2^-s). Counts in the zero bucket, and of negative values, which quantiles
// of durations and sizes have none of, are below its threshold.
func (x *Exponential) Begin(schema int32, zero, threshold float64) {
	*x = Exponential{schema: schema, bounds: x.bounds[:0], counts: x.counts[:0]}
	if zero > 0 {
		x.bounds = append(x.bounds, max(threshold, 0))
		x.counts = append(x.counts, zero)
	}
}

// Add counts a bucket by the index of its upper bound, base^index; indices
// rise. (The bucket i of OpenTelemetry has the upper bound base^(i+1).)
func (x *Exponential) Add(index int32, count float64) {
	if count == 0 {
		return
	}
	schema := min(x.schema, finest)
	index = int32((int64(index)-1)>>(x.schema-schema)) + 1
	if x.any && index == x.last {
		if x.beyond > 0 {
			x.beyond += count
			return
		}
		x.counts[len(x.counts)-1] += count
		return
	}
	step := math.Exp2(-float64(schema))
	low, high := math.Exp2(float64(index-1)*step), math.Exp2(float64(index)*step)
	x.any, x.last = true, index
	n := len(x.bounds)
	switch {
	case math.IsInf(high, 1):
		x.beyond += count
		return
	case n > 0 && high <= x.bounds[n-1]: // within the zero bucket
		x.counts[n-1] += count
		return
	case n == 0 && low > 0, n > 0 && low > x.bounds[n-1]:
		x.bounds, x.counts = append(x.bounds, low), append(x.counts, 0)
	}
	x.bounds, x.counts = append(x.bounds, high), append(x.counts, count)
}

// Buckets gives the bounds and counts for a Histogram, until the next Begin.
func (x *Exponential) Buckets() (bounds, counts []float64) {
	x.counts = append(x.counts[:len(x.bounds)], x.beyond)
	return x.bounds, x.counts
}
