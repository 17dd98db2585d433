// Command compare breaks the shop of examples/shop in the same way for several
// healers and measures what its customers noticed.
//
// # What runs
//
// Every healer gets a shop of its own, as real processes, and the same faults
// in the same order:
//
//	healer ──> control proxy (records every action) ──> platform of the shop
//	  │                                                      │
//	  └── scrapes, probes ──────────────────────> services <─┘
//	                                                 ↑
//	                                  customers (the load generator) ──> judge
//
// The healers are GRACE with examples/shop/grace.yaml, Debian's Prometheus and
// Alertmanager with usual settings and with fast ones, and Debian's monit. They
// act only through the proxy, so that all are measured by the same record. A
// healer must be calm, and customers content, before the next fault comes; what
// a healer has not healed in its time is mended by hand and counts as not
// recovered.
//
// # The judge
//
// A second is a breach when the customers of any service got more than 5 %
// errors, a p95 over 400 ms, or no answer at all. A fault is recovered at the
// beginning of the first five seconds in a row without a breach, not earlier
// than the platform says that the fault is cured or relieved: a fault that does
// not show yet, or not for the moment, is not recovered.
//
// An action is right when by it the fault that is on was cured or relieved.
// Every other action that the platform carried out is wrong: on another service,
// without effect on the fault, or when there was none any more. This is asked of
// the platform after each action, not looked up in a table of remedies.
//
// # Failure
//
// A healer that cannot be started or that ends ends the whole run: half a
// comparison would be read as one. Everything that was started is ended by its
// process id.
package main
