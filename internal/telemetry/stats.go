package telemetry

import (
	"fmt"
	"sync/atomic"
)

// Reason says what became of a sample.
type Reason uint8

// Reasons. Those that end in a refusal are for the sender to know; the others
// are as things should be, or nothing it can do anything about.
const (
	Taken          Reason = iota // passed on, or counted into a rate or a histogram
	Unmapped                     // no rule gives the series a role
	UnknownService               // no service is declared or stated by a label
	Duplicate                    // the second of a time
	OutOfOrder                   // a little older than the newest
	Late                         // older than that
	NotANumber                   // NaN or infinite
	Stale                        // the marker that ends a series
	Reset                        // a counter that began anew; taken as well
	Incomplete                   // a histogram of which a bucket is missing
	TooFarAhead                  // the time is in the future
	TooOld                       // the time is long past
	BadLabels                    // no name, not UTF-8, doubled
	BadHistogram                 // bounds and counts that do not go together
	TooManyLabels                // limits.labels
	LongLabel                    // limits.label_length
	RequestFull                  // limits.samples_per_request
	SourceFull                   // limits.series_per_source
	ServiceFull                  // limits.series_per_service
	Full                         // limits.series
	reasons
)

// names gives the reasons as metrics have them.
func (Reason) names() [reasons]string {
	return [reasons]string{
		"taken", "unmapped", "unknown_service", "duplicate", "out_of_order", "late", "not_a_number", "stale_marker",
		"counter_reset", "incomplete_histogram", "too_far_ahead", "too_old", "bad_labels", "bad_histogram",
		"too_many_labels", "long_label", "samples_per_request", "series_per_source", "series_per_service", "series",
	}
}

func (r Reason) String() string {
	if r < reasons {
		return r.names()[r]
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

// Refused tells whether the sender should be told.
func (r Reason) Refused() bool {
	return r == OutOfOrder || r == Late || r >= TooFarAhead
}

// ReasonCount counts samples by what became of them.
type ReasonCount struct {
	Reason Reason
	Count  uint64
}

// Stats are figures since the start, for metrics.
type Stats struct {
	Samples   []ReasonCount // every reason, also those with none; a Reset is a Taken as well
	Series    int           // open now
	Ignored   int           // keys that are remembered as passed over
	Sources   int
	Opened    uint64
	Evicted   uint64 // gave their place to others
	Forgotten uint64 // silent for too long
	Forwarded uint64 // samples given to Forward
	Unsent    uint64 // samples lost because Forward failed for too long
}

type counters struct {
	samples                                       [reasons]atomic.Uint64
	opened, evicted, forgotten, forwarded, unsent atomic.Uint64
	series                                        atomic.Int64
}

// Stats reads the figures.
func (in *Intake) Stats() Stats {
	c := &in.counters
	s := Stats{
		Series: int(c.series.Load()), Opened: c.opened.Load(), Evicted: c.evicted.Load(),
		Forgotten: c.forgotten.Load(), Forwarded: c.forwarded.Load(), Unsent: c.unsent.Load(),
	}
	for r := range reasons {
		s.Samples = append(s.Samples, ReasonCount{r, c.samples[r].Load()})
	}
	for i := range in.shards {
		sh := &in.shards[i]
		sh.mu.Lock()
		s.Ignored += len(sh.ignored)
		sh.mu.Unlock()
	}
	in.tallies.Lock()
	s.Sources = len(in.sources)
	in.tallies.Unlock()
	return s
}
