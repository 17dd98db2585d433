// Package detect finds what is odd in one stream of values, as they come.
//
// It knows neither services nor thresholds: a State is given the values of one
// series in the order of their times, and says of each how odd it is, from 0 to
// 1. It is pure: the clock is the samples' own, and the same samples give the
// same verdicts. A State is a value of fixed size, its zero value is ready, and
// Observe allocates nothing.
//
// # One idea
//
// A limit in units of the series has to be known, and one in standard
// deviations is wrong where tails are heavy, so neither is used. Every detector
// reduces the series to a statistic and asks whether the statistic leaves the
// envelope of what it has been on this very series: beyond everything seen by a
// share of all that was seen. See Envelope. That makes every verdict free of
// unit, level and sign, and lets one threshold do for all series.
//
//	sample ─ clip ─┬─ Record   smoothed over 2 and 12 ticks ────────┐
//	               ├─ OddHour  less the hour's mean, over 1, 6, 36 ──┼ the largest ─ Verdict
//	               └─ Run      ticks on one side of the centre ──────┘ excess, then
//	                                                                   rest
//
// The evaluation asks others beside them, see Statistic.
//
// # Ticks
//
// Time is counted in samples: a tick is the usual time between two of the series, but
// no less than a minute and no more than five, and a sample is worth the ticks since the one
// before it, one at most. So samples every minute, five minutes or hour count for one
// each, and those of every 15 s for a quarter: memory, smoothing and rest are at least as
// long in time as they are in samples.
//
// # Silence
//
// There is no verdict (score 0) for the first 144 ticks; a value that
// is not finite, larger than 1e150, or not newer than the newest is Ignored and
// changes nothing. After a detection the series rests: for 72 ticks
// the score stays below Threshold, so that one event is one detection. A series
// that was silent for two weeks starts anew. Constant series have no scale and
// give no verdict. A counter that grows steadily leaves its envelope by little
// each time, and is silent.
package detect
