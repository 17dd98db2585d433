// Command field is a campaign on real programs: HAProxy in front of two nginx,
// two small apps, Redis, PostgreSQL, a folder with a limit, Prometheus, and
// GRACE as its operator would configure it.
//
// It breaks them one after the other, restarts and kills GRACE meanwhile, and
// looks at everything with its own eyes:
//
//	faults --> programs <-- looks (truth.go)
//	              ^              |
//	              |              v
//	supervisor (unit.go) <-- GRACE     judge (judge.go): table, and what must be 0
//
// Contract:
//
//   - Only processes that it started itself are ended, by their id.
//   - It prints a line for every fault: when it was acted on, asked about, told
//     and over, all since it was injected; then actions on services that were
//     well, silences, and successes without recovery. It exits 1 when one of these
//     is not 0, or a fault did not end as its story says.
//   - Without a program that it needs it exits 1 and says what to install.
package main
