// Package heal is the run: the steps of a playbook on a service, their
// verification, and their undoing when they did not help.
//
//	awaiting_approval -> approved -> running -> verifying -> succeeded
//	       |                |           |           |
//	denied, expired,   cancelled,       +-----------+--> rolling_back -> rolled_back
//	cancelled          denied,                                |       -> aborted (watchdog)
//	                   observed_only                          +-> rollback_failed -> escalated
//
// [Runner.Run] reads top to bottom. It is driven by a [Flow], durable in
// production and simulated in tests, and so is written for replay: whatever
// decides its way is recorded in a [Checkpoint] or in an action's outcome.
//
// Contract:
//
//   - Every change of the run, its audit entry and its event commit together
//     with the flow's checkpoint, through [Journal.Save].
//   - A step is on record as started before it is done. A step that another
//     process left started is verified first (its Check, else the playbook's
//     own verification) and done again only when its effect is not there, with
//     the same idempotency key.
//   - A failure, an abort or the watchdog undoes the steps that took effect or
//     may have, in reverse order, and verifies each undo. What cannot be undone
//     escalates. Undoing is never interrupted.
//   - Unknown actions and checks fail closed, before anything starts.
//   - No data is not a pass.
//
// A run that fails opens an incident, whose event incident.opened carries it
// to people.
package heal
