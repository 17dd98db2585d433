package telemetry

import "grace"

// Kind is how the numbers of a series are to be read.
type Kind string

// Kinds. An edge that does not know leaves it out; then a rule says, or the
// ending of the name (_total, _count, _sum: counter; _bucket: histogram).
const (
	KindUnknown   Kind = ""
	KindGauge     Kind = "gauge"
	KindCounter   Kind = "counter"   // only rises, from a start
	KindDelta     Kind = "delta"     // what was added since the point before
	KindHistogram Kind = "histogram" // observations in buckets
)

// Direction says which way a series gets worse.
type Direction string

// Directions.
const (
	DirectionNone Direction = ""
	DirectionUp   Direction = "up"
	DirectionDown Direction = "down"
)

// Series is what comes out: one series of numbers about a service. A counter
// is a rate per second by then, its Unit ends in "/s".
type Series struct {
	Service   grace.ServiceID
	Role      grace.Role
	Metric    string // http_requests_rate, http_request_duration_seconds_p99
	Labels    string // the other labels, {method="GET",route="/"}; "" for none
	Unit      string
	Kind      Kind // of the source
	Direction Direction
}

// Sink takes the series of one shard. It is called under the lock of the shard,
// so it neither waits nor calls the intake.
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

// Point is one value of a series.
type Point struct {
	At    int64 // Unix milliseconds
	Value float64
}

// Meta is what an edge knows of a series besides its labels.
type Meta struct {
	Kind  Kind
	Unit  string // as the source has it, for example "s" or "By"
	Start int64  // Unix milliseconds at which a counter began, 0 if unknown
}

// Histogram is one point of a histogram: observations up to each bound, and
// beyond the last.
type Histogram struct {
	At     int64     // Unix milliseconds
	Start  int64     // when it began, 0 if unknown
	Delta  bool      // what was added since the point before, not the whole
	Bounds []float64 // upper bounds, rising
	Counts []float64 // of each bucket alone; one more than bounds
}
