// Package series keeps what is measured as Prometheus does: labelled series of typed
// samples, over which Prometheus' own engine evaluates expressions.
//
//	edge ─ Begin ─> Batch ─ Append ─> shard ─ hygiene ─┬─> chunks, of what some expression picks
//	                  │                 │              └─> Sink, of what a rule gives a role
//	                  └ End: Report     └ open: labels -> rules, selectors
//
//	[Compile] text ─> Expr ─ Watch ─> selectors        Evaluate ─> Result{Elements}
//	Group ─> [Recorder] ─ Step ─> [Set]                what rules record is a series too
//	[CompileAt] ─> [Remote]: asked elsewhere ─> [Set]  as is what a source answers
//
// # Series
//
// A series is known by its key, the bytes of its labels (see [AppendLabel]). The first
// sample of a key decides: the [Rule]s say of what service it tells, and in which role;
// the selectors of the expressions in force ([DB.Watch]) whether its samples are kept,
// in the XOR and histogram chunks of Prometheus' own storage, for as long as the longest
// range looks back. A series that is neither picked nor has a role is passed over, and
// remembered as such. Where no label service names the service that the rules find, the
// kept labels have one. Later samples find the series by a 64-bit hash, verified against
// the key, and allocate nothing but chunks.
//
// # Hygiene
//
// Every sample ends in exactly one [Reason], and all are counted. A second sample of the
// same time is a duplicate, an older one is out of order (late, when it is older than
// Config.OutOfOrder); both are dropped. A time further off the clock than
// Config.MaxAhead or MaxAge is refused. NaN and infinities are samples of an expression,
// and none of a forecast. The stale marker of Prometheus ends a series until its next
// sample. What was added since the sample before (delta) is added up: it is kept as a
// counter. Forecasts get counters as rates per second; a value below the one before is a
// reset, and counts from zero.
//
// # Expressions
//
// They are evaluated as Prometheus does: a sample stands for now for 5 minutes, or for
// twice the interval at which the series comes, if that is longer. Of an expression whose
// outermost operator compares ([CompileAt]: or that and and unless narrow down) the [Result] has
// what does not hold, too, and what it is compared with. Each [Element] knows when the newest
// sample was measured that it rests on; what was made of a range is given once a twelfth of it
// has been seen. Of what bears on an element [Result.Lack] says what was not measured since a
// time, for as long as a sample stands for now: it may be less than it is.
//
// Those of a source ([CompileAt]) look at what it answered, which is appended as series of
// their own: its elements, and, where it matters that there are none, what its selectors found.
//
// # Sets
//
// What comes round by round, a page, a recording, an answer, is a [Set]: what is there no more
// ends with a stale marker, what nobody answers for is lost, and one that cannot be told breaks
// the expressions that may look at it ([DB.Broken]) and ends nothing.
//
// # Recordings
//
// A [Recorder] evaluates recording rules, group by group, and appends what they give. Only
// those are made that some expression looks at, directly or by way of others. Their samples
// have the time of the evaluation, as in Prometheus, but count as evidence from when that
// was measured which they rest on; what rests on nothing, such as absent(x), is none.
//
// # Limits
//
// Series of a source, of a service and altogether, labels and their length, and samples
// of a request are limited. Over a limit the series (not the request) is refused with the
// limit, what was found, and the key to raise. When all places are taken, the least
// useful series gives its place: one that no expression looks at and that was silent for
// Config.IdleAfter, or has not changed for hours. Evictions are counted and told
// ([Options].Evicted).
//
// # Concurrency
//
// Series are spread over shards by their hash, a lock each, which no function holds when
// it returns. A Sink is called under the lock of its shard; [DB.Do] runs other work on it
// under the same lock. A Batch belongs to one goroutine.
package series
