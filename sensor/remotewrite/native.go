package remotewrite

import (
	"errors"
	"fmt"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/value"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"grace/internal/series"
)

// errUnsupported is about a native histogram that is one; other errors are about bytes
// that are none.
var errUnsupported = errors.New("the native histogram is not supported")

const (
	// maxNative bounds each list of a histogram: buckets, spans, bounds.
	maxNative = 4096
	// maxNativeBytes is what a histogram of as many has as sent, and room to spare. It
	// bounds the memory that decoding takes before the lists are counted.
	maxNativeBytes = 256 << 10
)

// nativeSample reads a native histogram; both versions have the same message. Start is
// when it began, 0 if that is not said.
func nativeSample(r reader) (s series.Sample, start int64, err error) {
	if n := r.end - r.pos; n > maxNativeBytes {
		return s, 0, fmt.Errorf("%w: it has %d bytes, the limit is %d", errUnsupported, n, maxNativeBytes)
	}
	var m writev2.Histogram
	if err := m.Unmarshal(r.body[r.pos:r.end]); err != nil {
		return s, 0, fmt.Errorf("read the message: %w", err)
	}
	s.At = m.Timestamp
	if value.IsStaleNaN(m.Sum) {
		s.Histogram = &histogram.Histogram{Sum: m.Sum} // whatever else it says is of no observation
		return s, 0, nil
	}
	if most := max(
		len(m.PositiveSpans), len(m.NegativeSpans), len(m.PositiveDeltas), len(m.NegativeDeltas),
		len(m.PositiveCounts), len(m.NegativeCounts), len(m.CustomValues),
	); most > maxNative {
		return s, 0, fmt.Errorf("%w: it has %d buckets, spans or bounds, the limit is %d", errUnsupported, most, maxNative)
	}
	if !histogram.IsValidSchema(m.Schema) {
		return s, 0, fmt.Errorf("%w: schema %d, want %d to %d or %d", errUnsupported, m.Schema,
			histogram.ExponentialSchemaMin, histogram.ExponentialSchemaMax, histogram.CustomBucketsSchema)
	}
	if m.ResetHint < 0 || m.ResetHint > writev2.Histogram_RESET_HINT_GAUGE {
		m.ResetHint = writev2.Histogram_RESET_HINT_UNSPECIFIED // as one that is not said
	}
	if m.IsFloatHistogram() {
		s.Float = m.ToFloatHistogram()
	} else {
		s.Histogram = m.ToIntHistogram()
	}
	return s, m.StartTimestamp, nil
}
