// Package notify tells people: of questions, of what GRACE did, and of what it
// could not heal.
//
//	outbox -> message (words) -> routes -> one worker a receiver -> Slack, mail, ...
//	             ^                              |
//	             '---- ladder (unanswered) <----' dead letters, refs of threads
//
// The contract:
//
//   - Each receiver has a cursor of its own in the store. Its messages go out in
//     the order of the events, one at a time; a receiver that fails holds up
//     nobody else. A new receiver begins with what is new.
//   - At least once: the cursor moves in the transaction that records the
//     delivery, so a message may come twice after a crash, with the same
//     idempotency key (the receiver's name and the event's id).
//   - A connection that fails, 429 and 5xx are tried again, with growing waits
//     that are kept in the store, or after the time that the receiver names, at
//     most 5 minutes.
//   - What needs a person and is not taken for 30 s is told to others, also while an
//     attempt is under way: its receiver fails, does not answer, or takes slowly what
//     is before it. The receiver gets it in its turn all the same. Of an incident or a
//     question others are told once, and then what becomes of it, as all who were told.
//   - That a receiver has not answered for a second is in its row before the attempt
//     ends: it is failing over reloads, restarts and for all replicas, unless nobody
//     has tried it for 30 s since.
//   - Any other refusal is final. The message then is a dead letter: kept, listed,
//     and sent again when somebody asks.
//   - Bad messages do not silence a receiver. When one was refused 6 times, those
//     behind it are tried; when one passes and it does not, it is a dead letter. Any
//     number in a row ends, and what is behind them comes through: within a minute
//     and 40 s for each that is bad, and 5 minutes more for every 50 events. Where all
//     of a thread are bad and one message alone is there to tell, it is 11 minutes for
//     each. A receiver that is down costs none: then nothing passes. That it is busy
//     (429) counts as a refusal once nothing was taken for 5 minutes; the message waits
//     for as long as it says, and each such one costs at most an hour.
//   - Messages of one thread stay in order: what a later one of its thread has passed
//     is a dead letter. Those of different threads may pass each other.
//   - A dead letter that is sent again comes after new messages, has waits of its
//     own, and holds up nothing. Refused as often while others pass, it is a dead
//     letter as before, with its newest error.
//   - Whoever of a receiver is not told (a mailbox that is refused) keeps nothing
//     from the others of it. The message is a dead letter for that one alone, and
//     is sent again by itself unless the refusal is final.
//   - Of several replicas one serves a receiver: whoever holds its claim, which
//     ends 12 s after the holder's death.
//   - What needs a person and is taken by no route goes to every receiver.
//   - Who was told of a question or an incident is a ref of its subject, written
//     with the delivery: that receiver gets its updates and its end, whatever the
//     routes say by then. Routes decide who is new.
//   - A worker holds back what asks for attention to services that are all
//     silenced now, and says so in the outbox. The ladder, which reads that, tells
//     what is open still when they are not silenced any more.
//   - Memory is bounded by the batch that a worker reads, and by what was tried behind
//     a message that is refused.
//   - A secret is expanded at the moment of sending, and is in no error.
package notify
