// Package flow is the durable engine under a run: a thin, typed shell around
// DBOS Transact on the same database, and in the same transactions, as our own
// tables.
//
// A run function is replayed from its start after a crash. What it may rely on:
//
//   - [Tx] runs its function once. The function's rows and the fact that it ran
//     commit together; a replay returns what was recorded then.
//   - [Step] does something outside (at least once) and then records it by a
//     function like Tx's. A step whose record committed is never done again. A
//     step that was interrupted before its record is done again by the next
//     process: the caller tells by its own records whether it had been started.
//   - [Look] is a Step that changes nothing outside, such as a verification.
//   - [Run.Control] waits for one message; messages are kept until taken.
//
// Names of Tx and Step must be unique within a run, and the same code must
// meet them in the same order on every replay. Branch on recorded values only.
//
//	Enqueue (caller's tx) -> ENQUEUED -> function starts -> Tx, Step, Control ... -> ended
//	                                        ^                       |
//	                                        +---- process dies <----+
//
// Ownership. On SQLite there is one process, and it recovers its own runs when
// it starts. On PostgreSQL every process holds a lease (10 s, renewed every
// 3 s, on the database's clock); the others adopt the runs of one whose lease
// has ended, after they have marked the lease as taken. A process that finds
// its lease taken is told by Config.Lost and must end. What it still writes, a
// record or the end of the run, is refused: each is in one transaction with a
// check, under a lock, that this execution still owns the run. Where the other
// has recorded a step first, the one that lost the run does not go on from that
// record. One that could not renew its lease (it stood
// still, or the database was away) begins no Step and no Look until it has: a
// lease that ended and was not taken is renewed. When the database was away for
// everybody, everybody gets the time to renew before anything is taken.
//
// Stopping. [Engine.Stop] lets a Step under way end and be recorded, breaks
// off Look and Control, and leaves the runs to the next process.
//
// Errors. An error from a run function that is not the engine's own ends the
// run in the engine without any further step: return one only for what makes
// going on impossible. [Stopped] tells whether the error just means that this
// process is going away; the run function then returns it at once.
package flow
