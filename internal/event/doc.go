// Package event is the closed set of what can happen in GRACE, and says what is
// written when it does.
//
// Every change of state is one of the types that implement [Event]. [Derive] is a
// pure function from events to [Rows]: the rows of the state, the entries of the
// permanent log and of the operational log, and the messages of the outbox. The store
// writes them in one transaction and offers no other way in, so there is no change
// without its entry, and no entry that a caller could forget or word differently.
//
// The permanent log (the audit log) has what GRACE and people did and decided: it is a
// chain of hashes and never pruned. The operational log has what happens all the time
// by itself: transitions of signals, predictions, retention, a row brought up to date.
// It is kept for as long as `retention.operations` says.
package event
