// Package telemetry takes in the series of every telemetry edge: remote write,
// OTLP, the range API of Prometheus. An edge decodes bytes and hands every
// series with its points to a [Batch]; what comes out is a clean series of
// numbers per (service, role, metric), at the [Sink]s of the prediction and,
// for metrics that an objective names, as samples for the loop.
//
//	edge ─ Begin ─> Batch ─ Points, Histogram ─> shard ─ hygiene ─> Sink.Append
//	                  │                            │
//	                  └ End: Report, Forward       └ open: labels -> rule -> Series
//
// # Series
//
// A series is known by its key, the bytes of its labels (see [AppendLabel]). The
// first point of a key decides: the [Rule]s lead the labels to a service, a role
// and a metric, or the series is passed over and remembered as such. Kept is
// what a rule gives a role (or an objective wants) and whose service is declared
// or stated by a label of its own (Config.ServiceLabels); a job name alone makes
// no new service. Later points find the series by a 64-bit hash, verified
// against the key, and allocate nothing.
//
// # Hygiene
//
// Every sample ends in exactly one [Reason], and all are counted. Values come
// out in the order of time: a second sample of the same time is a duplicate, an
// older one is out of order (late, when it is older than Config.OutOfOrder), and
// both are dropped. A time further off the clock than Config.MaxAhead or MaxAge
// is refused. Numbers that are none are dropped; the stale marker of Prometheus
// ends a series until its next sample. Counters come out as rates per second: a
// value below the one before is a reset, and counts from zero. Histograms come
// out as p50, p95 and p99 of the last minutes, weighted by age
// (Config.QuantileHalfLife).
//
// # Limits
//
// Series of a source, of a service and altogether, labels and their length, and
// samples of a request are limited. Over a limit the series (not the request) is
// refused with the limit, what was found, and the key to raise. When all places
// are taken, the least useful series gives its place: one that is not wanted and
// was silent for Config.IdleAfter, or has not changed for hours. Evictions are
// counted and told ([Options].Evicted).
//
// # Concurrency
//
// Series are spread over shards by their hash, a lock each. A Sink is called
// under the lock of its shard; [Intake.Do] runs other work on it under the same
// lock. A Batch belongs to one goroutine.
package telemetry
