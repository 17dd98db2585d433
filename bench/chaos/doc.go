// Command chaos kills GRACE again and again under load, and then looks for
// anything that was lost or done twice.
//
//	load ──triggers──> replicas (processes of this program) ──steps──> target
//	                      ↑ kill -9, SIGSTOP, SIGCONT              (records)
//	disturb ──────────────┘──stops and starts──> PostgreSQL
//
// On SQLite one process at a time is killed and started again. On PostgreSQL
// three replicas serve; whichever is struck is started again at once, as its
// supervisor would, and the database goes away now and then.
//
// Every service gets one trigger, posted until it is accepted, sometimes to
// several replicas at once, and so must have one run. The target does not
// absorb repeated calls: it counts the effects of every idempotency key.
//
// # What is checked when it is calm again
//
//   - every trigger that is on record, and every service whose trigger was
//     accepted (2xx), has a decision and a run (else it counts as lost);
//   - every run has ended;
//   - no service has two runs, no step is recorded twice, no idempotency key
//     has had its effect twice (else it counts as doubled);
//   - the audit log verifies;
//   - no process ended by itself, unless it had been stopped for so long that
//     another one could take its runs.
//
// # Failure
//
// A violation is printed and makes the exit code 1; so does a run that takes
// longer than its bound. The seed decides what is struck when; the scheduling
// of processes is the machine's, so a seed repeats the plan, not the run.
package main
