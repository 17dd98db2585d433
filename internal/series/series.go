package series

import (
	"github.com/prometheus/prometheus/model/histogram"

	"grace"
)

// Kind is how the numbers of a series are to be read.
type Kind string

// Kinds. An edge that does not know leaves it out; then a rule says, or the
// ending of the name (_total, _count, _sum, _bucket: counter).
const (
	KindUnknown   Kind = ""
	KindGauge     Kind = "gauge"
	KindCounter   Kind = "counter"   // only rises, from a start
	KindDelta     Kind = "delta"     // what was added since the sample before; it is kept as a counter
	KindHistogram Kind = "histogram" // observations in buckets, all in one sample
)

// Direction says which way a series gets worse.
type Direction string

// Directions.
const (
	DirectionNone Direction = ""
	DirectionUp   Direction = "up"
	DirectionDown Direction = "down"
)

// Series is one whose numbers are forecast by themselves, because of what a rule says
// of it. A counter comes as a rate per second, its Unit ends in "/s".
type Series struct {
	Service   grace.ServiceID
	Role      grace.Role
	Metric    string // http_requests_rate
	Labels    string // the other labels, {method="GET",route="/"}; "" for none
	Unit      string
	Kind      Kind // of the source
	Direction Direction
}

// Sink takes the series of one shard. It is called under the lock of the shard,
// so it neither waits nor calls the DB.
type Sink interface {
	Open(s Series) uint32
	Append(h uint32, atMillis int64, v float64)
	Close(h uint32)
}

// discard is the sink of a shard that has none.
type discard struct{}

func (discard) Open(Series) uint32            { return 0 }
func (discard) Append(uint32, int64, float64) {}
func (discard) Close(uint32)                  {}

// Sample is one of a series: a number, or one of the two histograms, which are kept
// and must not change any more.
type Sample struct {
	At        int64 // Unix milliseconds
	Value     float64
	Histogram *histogram.Histogram
	Float     *histogram.FloatHistogram
}

// Meta is what an edge knows of a series besides its labels.
type Meta struct {
	Kind  Kind
	Unit  string // as the source has it, for example "s" or "By"
	Start int64  // Unix milliseconds at which a counter began, 0 if unknown
	// Measured is when that was measured which a recording is made of, in Unix
	// milliseconds. 0: when the sample is from.
	Measured int64
	// Oldest is when the oldest of that was measured, where Measured is of the newest. 0: the
	// same.
	Oldest int64
	// Lacks: a part of what a recording is made of was missing then.
	Lacks bool
}
