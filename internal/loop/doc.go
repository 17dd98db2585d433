// Package loop is the agent core: the only place that knows the order
// sample -> signal -> trigger -> diagnosis -> proposal -> decision -> run.
//
//	Observe --> sense ----> signals, triggers (one transaction, then 2xx)
//	              |
//	predict ------+           wake
//	                            v
//	              diagnose -> propose -> govern   (pure: [stages.decide])
//	                            |
//	          one transaction: decision, run, approval, audit, events, enqueue
//	                            v
//	                       heal on flow  -> learning entry, incident
//
// Its rooms have their own state, goroutines, Start and Stop, and know the rooms below
// them alone, see [Loop].
//
// Contract:
//
//   - Observe returns nil only when every signal change that the samples caused
//     is durable. What could not be written is kept and written with the next.
//   - A trigger that was accepted is decided: the decision that names it is on
//     record, be it "nothing was proposed, because ...".
//   - The deciding transaction takes the store's deciding lock before it reads
//     what limits look at, so any number of replicas decide one at a time.
//   - A "no" is recorded when it is new for its diagnosis, not every time it is
//     said again.
//   - Reconfigure builds everything first and then swaps; open runs keep the
//     playbook they were decided with. What was seen is evidence no more where the
//     change touches it, and there alone.
package loop
