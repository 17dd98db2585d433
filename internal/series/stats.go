package series

import (
	"fmt"
	"strings"
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
		"counter_reset", "too_far_ahead", "too_old", "bad_labels", "bad_histogram",
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
	Kept      int           // series of which samples are kept
	Sources   int
	Opened    uint64
	Evicted   uint64 // gave their place to others
	Forgotten uint64 // silent for too long
}

type counters struct {
	samples                    [reasons]atomic.Uint64
	opened, evicted, forgotten atomic.Uint64
	series                     atomic.Int64
}

// Stats reads the figures.
func (db *DB) Stats() Stats {
	c := &db.counters
	s := Stats{
		Series: int(c.series.Load()), Opened: c.opened.Load(), Evicted: c.evicted.Load(), Forgotten: c.forgotten.Load(),
	}
	for r := range reasons {
		s.Samples = append(s.Samples, ReasonCount{r, c.samples[r].Load()})
	}
	for i := range db.shards {
		db.shards[i].count(&s)
	}
	db.tallies.Lock()
	s.Sources = len(db.sources)
	db.tallies.Unlock()
	return s
}

func (sh *shard) count(s *Stats) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	s.Ignored += len(sh.passed) + len(sh.passedBefore)
	for _, e := range sh.list {
		if e.kept != nil {
			s.Kept++
		}
	}
}

// Report says what became of the samples of a batch. A histogram is one sample.
type Report struct {
	Samples    int // handed over
	histograms int
	counts     [reasons]int
	first      [reasons]string
}

// Count gives the samples with a reason.
func (r *Report) Count(reason Reason) int { return r.counts[reason] }

// Refused counts the samples that the sender should know were not taken.
func (r *Report) Refused() int {
	n := 0
	for reason, c := range r.counts {
		if Reason(reason).Refused() {
			n += c
		}
	}
	return n
}

// Full counts the samples for which there was no room.
func (r *Report) Full() (n int) {
	for _, c := range r.counts[RequestFull:] {
		n += c
	}
	return n
}

// RefusedHistograms counts those of Refused that were histograms.
func (r *Report) RefusedHistograms() int { return r.histograms }

// Err names every reason of a refusal with what was found first; nil if nothing
// was refused.
func (r *Report) Err() error {
	var parts []string
	for reason, c := range r.counts {
		if Reason(reason).Refused() && c > 0 {
			parts = append(parts, fmt.Sprintf("%d of %d samples refused (%s): %s", c, r.Samples, Reason(reason), r.first[reason]))
		}
	}
	if parts == nil {
		return nil
	}
	return fmt.Errorf("telemetry: %s", strings.Join(parts, "; "))
}
