// Package store keeps everything GRACE knows in one SQL database: SQLite in a
// file by default, PostgreSQL for several replicas. The durable engine keeps
// its own tables in the same database and pool, so that a state change, its
// audit entry, its event and the engine's checkpoint commit together.
//
//	Do -> your reads -> Append(events) -> the engine's enqueue or send -> commit
//
// # Writing
//
// [Store.Append] is the only way in: it writes what [event.Derive] makes of events, in
// as few round trips as the transaction lets it. Runs, approvals and the mode carry a
// revision and are written only over the one before it; a writer that lost a race gets
// [ErrConflict] and its transaction is to be rolled back. All other rows are inserted,
// or replaced by id.
//
// Append ends by taking the lock on the head row, under which audit entries are
// linked to the chain and events are numbered. It is held until commit, so
// audit sequence and event ids are gapless and become visible in their order:
// a reader that has seen event n has seen everything below it. It also means
// that writers queue there: Append comes last in a transaction, and once.
//
// [Store.Do] runs a function again, a bounded number of times, when the
// database asks for it (serialization failure, deadlock, "database is
// locked"); the function must have no effect outside of its transaction, and
// read through it alone: a second connection taken meanwhile may have to wait
// for this very transaction. A transaction of the engine, as package flow
// hands it out, is as good as one of Do, but repeating it is the engine's business.
//
// What decisions rest on ([Store.Record]) is kept by digest, once for all that name it.
//
// # Reading
//
// Reads take a [Querier]: a transaction, or [Store.Q] outside of one. Lists
// are paged by opaque cursors, newest first.
//
// # The two databases
//
// The SQL is written once, for SQLite, and rewritten for PostgreSQL by rules
// that fit in a few lines (see dialect): tables grace_x become grace.x in a
// schema of our own. Documents are JSON text, times are epoch milliseconds.
// Parameters are numbered in the order of their first use, which is what
// SQLite counts by.
//
// # The audit log
//
// Entries are chained by keyed hashes (package audit); triggers in the
// database refuse to change or remove them. [Store.VerifyAudit] reads all of
// it and names the first row that is not what was written.
package store
