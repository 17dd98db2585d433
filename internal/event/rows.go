package event

import (
	"cmp"
	"encoding/json"
	"strconv"
	"time"

	"grace"
)

// Event is something that has happened. The set is closed: only types of this
// package are events.
type Event interface{ derive(r *Rows) }

// Rows is what a transaction writes for its events: rows, which are inserted or
// replaced by id, entries of the two logs, and messages of the outbox. A run, an
// approval or a mode is written only over the revision before its own.
type Rows struct {
	Signals     []grace.Signal // at most one of each key
	Triggers    []grace.Trigger
	Decisions   []grace.Decision
	Snapshots   []grace.Recorded
	Runs        []grace.Run
	Approvals   []grace.Approval
	Incidents   []grace.Incident
	Learning    []grace.LearningEntry
	Predictions []grace.Prediction
	Aborts      []grace.AbortRequest
	Silences    []grace.Silence
	Letters     []DeadLetter
	Delivered   []string // ids of dead letters that are none any more
	Mode        *grace.ModeSetting
	Audit       []grace.AuditEntry // the permanent log
	Operations  []grace.AuditEntry // the operational log, with retention and outside of the chain
	Outbox      []grace.Event

	signals map[grace.SignalKey]int // place in Signals
}

// Derive gives what is written for events, in their order.
func Derive(events ...Event) Rows {
	var r Rows
	for _, e := range events {
		e.derive(&r)
	}
	return r
}

// signal has the row of a signal written: of several changes the last one's.
func (r *Rows) signal(s grace.Signal) {
	if i, ok := r.signals[s.Key]; ok {
		r.Signals[i] = s
		return
	}
	if r.signals == nil {
		r.signals = map[grace.SignalKey]int{}
	}
	r.signals[s.Key] = len(r.Signals)
	r.Signals = append(r.Signals, s)
}

// word is what an event is called in a log, and by whom and why it was done.
type word struct {
	at             time.Time
	actor          string
	action, object string
	service        grace.ServiceID
	reason         string
	detail         any
}

func (w word) entry() grace.AuditEntry {
	return grace.AuditEntry{
		At: w.at, Actor: cmp.Or(w.actor, grace.Self), Action: w.action, Object: w.object, Service: w.service, Reason: w.reason, Detail: Encode(w.detail),
	}
}

// record appends to the permanent log.
func (r *Rows) record(w word) { r.Audit = append(r.Audit, w.entry()) }

// operation appends to the operational log.
func (r *Rows) operation(w word) { r.Operations = append(r.Operations, w.entry()) }

// send puts a message into the outbox, from the one that a log calls w.
func (r *Rows) send(kind, source string, w word, payload any) {
	r.Outbox = append(r.Outbox, grace.Event{
		Type: kind, Source: source, Actor: cmp.Or(w.actor, grace.Self), Resource: w.object, Payload: Encode(payload), Timestamp: w.at,
	})
}

// Encode gives the JSON of a payload or a detail, nothing for nil. The values are our
// own maps and structs, so an error can only be a programming mistake: it is put where
// it will be read.
func Encode(v any) json.RawMessage {
	switch v := v.(type) {
	case nil:
		return nil
	case json.RawMessage:
		return v
	}
	b, err := json.Marshal(v)
	if err != nil {
		return json.RawMessage(strconv.Quote("not encodable: " + err.Error()))
	}
	return b
}
