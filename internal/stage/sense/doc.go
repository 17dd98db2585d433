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
//   - An [Objective] aggregates the samples of (service, metric), of all
//     sensors together, and compares with a threshold. Its signal is
//     service/objective/metric/name; it exists from the start, unknown until
//     data comes. It takes FailAfter breaching samples and For to fire.
//   - An error budget is an objective whose aggregation is burn_rate: bad events
//     over all events, over the budget, over a long and a short window at once.
//     It is kept in buckets, so that days need no points; a late sample is not
//     counted, and after a restart it is not judged before a short window is
//     full again.
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
//   - The same (service, sensor, metric, time) is one sample. A late sample is
//     kept among the points and never moves a state backwards. A value that
//     is not a finite number is no sample.
//   - A signal that changed FlapTransitions times within FlapWindow is
//     flapping until at most half as many changes are left in the window. A
//     probe that failed and passed again before it fired counts as one change.
//     While it is, it is unstable instead of ok. Unstable is for people: it is
//     shown and told, and nothing is done about it.
//   - A signal has the labels of its newest sample, as it has the value. Both alone are
//     no change: they are published with the next one.
//   - Firing ends after RecoverAfter passes, but a firing signal whose newest
//     sample passed says so (Passing).
//   - What Restore took over, what Unconfirm named, and all when the process stood
//     still, is unconfirmed until the next sample that can be judged. That is this
//     process' own knowledge: it is not published.
//   - Memory is bounded by MaxSeries series of at most MaxPoints points; what
//     nobody configured is forgotten some time after its data stopped.
//
// Time is the samples' own and the argument of Tick; callers refuse samples
// from the future before they get here. An [Agent] is a plain value without
// locks: the caller serialises the calls.
package sense
