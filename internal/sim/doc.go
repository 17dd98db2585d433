// Package sim lets GRACE live through thousands of hours in a world that is
// made up: the production loop, stages, runner and store, in virtual time.
//
//	story --> world (services, load, faults) --> samples --> loop.Observe
//	             ^                                              |
//	             +-- actions <-- heal.Runner on a simulated Flow+- loop.Step
//	                                    |
//	                     store (SQLite in memory), audit log --> checkers
//
// Contract:
//
//   - A story, and so a seed, gives the same history always: one goroutine runs
//     at a time, handed over to by the scheduler; chance is drawn from the seed
//     by name; no map is walked; no clock is read.
//   - Nothing of production code is replaced but what touches the outside: the
//     clock, the engine behind heal.Flow, sensors, actions and people. The
//     engine keeps checkpoints as JSON and hands a dead process's runs on.
//   - A process ends at any boundary of a step: before it, between what it did
//     and the record of it, after the record. What it had in memory is gone.
//   - The checkers ask no stage. They compute from the story's edges and times,
//     the calls that the world saw, and the audit log.
//   - A replica may stand still and lose its runs. When it wakes up, the action
//     that it was at takes effect; it begins nothing and writes nothing more.
//   - At the end of a story the faults stop and everything is mended; then all
//     must come to rest within 20 minutes of virtual time.
//   - Mutations plant bugs. Production code never sees one.
package sim
