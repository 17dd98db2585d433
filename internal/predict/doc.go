// Package predict tells which series will pass their thresholds, and when.
//
// An [Agent] keeps the newest points of every series that a [Target] names.
// Evaluate draws a robust line through them (Theil-Sen: the median of the
// slopes of all pairs of points, which a third of outliers does not bend), and
// asks how likely the series is beyond the threshold at the end of the
// horizon:
//
//	value      ·  ·/ ┄┄┄┄┄ High (80 % band)
//	 threshold ──/────────────
//	        ·/ ┄┄┄┄┄┄┄┄┄┄┄┄ Low
//	     ·/ ·
//	   now    BreachAt   horizon        likelihood = Φ((line - threshold) / spread)
//
// The spread is that of the points about the line (MAD), and grows with the
// distance, because the slope itself is uncertain. A line is not trusted
// further ahead than Reach times the span of its points.
//
// It rather says nothing than something wrong. Silent are series that are
// beyond the threshold already (that is sense's to tell), that have too few or
// too old points, whose trend may be chance (Mann-Kendall), that fit the line
// badly, or whose newest third does not go on rising: a step up is no trend.
//
// The package is pure. A prediction is made anew with every Evaluate; telling
// a new one from one told before is the caller's, by its key.
package predict
