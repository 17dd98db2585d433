// Command ingest sends the same remote-write requests to Debian's Prometheus
// and to GRACE's receiver, and compares the processor time that each spends on
// a sample.
//
//	payload, encoded once ──> prometheus --web.enable-remote-write-receiver
//	                      └─> GRACE: sensor/remotewrite, internal/series,
//	                          internal/stage/predict, in a process of its own
//
// The series are what applications, hosts and Kubernetes export: half of them
// buckets of histograms, a quarter counters, a quarter gauges, with nine or ten
// labels each, all of services that GRACE takes. They come in requests of 2,000
// series, time by time, over two connections. The first times, in which series
// are made, are not measured.
//
// The measure is user and system time of the process as the kernel counts it,
// from the first measured request to the last answer; so it is per core by
// itself, and another load on the machine disturbs it little. Both processes
// run with their defaults, in turn, with fresh ones for every round.
//
// What is not the same: Prometheus writes a log ahead to disk, and keeps every
// sample. GRACE keeps the samples of the buckets, which an expression looks at, and of
// other series what its models need, with rates of counters; once in 30 seconds of the
// load's time, as in production, it evaluates the expression (a quantile of every
// service) and looks at every series for what it will do. So this
// does not say that one stores faster than the other; it says what taking the
// samples of a Prometheus costs on the machine that GRACE runs on.
package main
