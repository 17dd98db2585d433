// Package healthgraph answers what depends on what, and how well a service is.
//
// A [Graph] is built once from the known services and never changes; a reload
// builds a new one and swaps it, so reads need no lock. An edge points from a
// service to what it needs:
//
//	frontend ──depends on──> catalog ──depends on──> store
//	 dependent of store       dependent of store      dependency of both
//
// Cycles are allowed everywhere: a service in a cycle is its own dependent in
// theory, but it is never listed or counted among its own. [New] never fails:
// it leaves out what [Validate] names (an empty id, the second service of the
// same id, an edge to a service nobody described), because a graph with one
// edge less is of more use than none. Answers are sorted by id.
//
// A service that is not in the graph has no relatives and a blast radius of
// [UnknownRadius]: nobody said how much hangs on it, so it is not zero.
//
// [Assess] judges one service by its signals. No data is unknown, never
// healthy; see its table.
//
// The package is pure: no clock, no I/O, no goroutines.
package healthgraph
