// Package sense turns samples into signals: it judges every probe, objective
// and alert, and says when its word changes.
//
//	           first pass                 FailAfter failures, For elapsed
//	unknown ───────────────▶ ok ───────────────────────────────────▶ firing
//	   │                     ▲                                         │
//	   │                     └─────────────────────────────────────────┘
//	   │                                RecoverAfter passes
//	   └────────────────────────── enough failures ───────────────────▶ firing
//
//	ok, firing ── no data for StaleAfter ──▶ stale ── data ──▶ judged anew
//
// What is judged:
//
//   - A probe sample passes (value > 0) or fails. Its signal is
//     service/sensor/metric.
//   - An [Objective] is an expression of PromQL; [Agent.Judge] takes what it gives.
//     Its signal is service/objective/name, one for each service, whatever other
//     labels its elements have: it fires while some element fails that has done so
//     FailAfter times in a row, each time by a newer sample, and for as long as For.
//     It tells of the worst of them. An objective that says whose it is has a signal
//     from the start, unknown until data comes; of one that names services by a label
//     they come, and are forgotten, with the data.
//   - Evidence of an element is the newest sample that it is made of: who evaluates an
//     expression again without one has learned nothing, and what nobody measures any
//     more has no say. That something is absent is no evidence: it fires, unconfirmed.
//   - An alert was judged by its source: it fires and resolves at once. Its
//     signal is service/sensor/metric/fingerprint, so the same fingerprint is
//     the same signal however often it is sent.
//
// Rules that hold for all:
//
//   - No data is never ok. A signal that had none is unknown; one whose data
//     stopped is stale. After stale, ok must be earned by a pass, and firing
//     needs RecoverAfter passes to end.
//   - A sensor error makes stale at once and is no verdict: what fails, or passes,
//     before and after it does so in a row, unless data was missing for so long
//     that the signal would be stale without it.
//   - Staleness allows for slow sensors: it takes longer than StaleAfter and
//     than twice the interval at which samples came, or should come.
//   - The same (service, sensor, metric, time) is one sample. A late sample never
//     moves a state backwards.
//   - A signal that changed FlapTransitions times within FlapWindow is
//     flapping until at most half as many changes are left in the window. A
//     probe that failed and passed again before it fired counts as one change.
//     While it is, it is unstable instead of ok. Unstable is for people: it is
//     shown and told, and nothing is done about it.
//   - A signal has the labels of its newest sample, or of the element that it tells of,
//     as it has the value. Both alone are no change: they are published with the next one.
//   - Firing ends after RecoverAfter passes, but a firing signal whose newest
//     sample passed says so (Passing).
//   - What Restore took over, what Unconfirm named, and all when the process stood
//     still, is unconfirmed until the next sample that can be judged. That is this
//     process' own knowledge: it is not published.
//   - Memory is bounded by MaxSeries; what nobody configured is forgotten some time
//     after its data stopped.
//
// Time is the samples' own and the argument of Tick; callers refuse samples
// from the future before they get here. An [Agent] is a plain value without
// locks: the caller serialises the calls.
package sense
