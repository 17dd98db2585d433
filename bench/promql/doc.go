// Command promql compares what GRACE says of expressions with what Debian's Prometheus
// says of them, over the same samples (make compare-promql).
//
// The samples are made once: gauges, counters with resets, a histogram and series that
// begin late, end early or have holes, every 15 s for three hours, 7 s off the minute:
// no evaluation has a sample on the edge of a range, where Prometheus 3 and 2 differ. They
// go into Prometheus as OpenMetrics by promtool, and into GRACE's series as any edge
// appends them. Each expression of expressions.txt is evaluated at several times; labels
// and values must be the same, values to within a billionth. The last line counts.
package main
