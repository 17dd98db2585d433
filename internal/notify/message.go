package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"grace"
	"grace/internal/event"
	"grace/internal/store"
)

// Kind is what happened, as routes name it.
type Kind string

// Kinds of messages.
const (
	Asked          Kind = "asked"           // a run waits for a person's approval
	Acted          Kind = "acted"           // a run began
	Helped         Kind = "helped"          // the service recovered
	Ineffective    Kind = "ineffective"     // the remedy ran, the condition stayed
	Undone         Kind = "undone"          // a run was rolled back or aborted
	Unhealed       Kind = "unhealed"        // an incident was opened
	Escalated      Kind = "escalated"       // GRACE gave up, or nobody came
	Acknowledged   Kind = "acknowledged"    // somebody looks after an incident
	Resolved       Kind = "resolved"        // an incident ended, a question was answered, a run changed nothing after all
	ModeChanged    Kind = "mode_changed"    // how much GRACE may do by itself
	CircuitBreaker Kind = "circuit_breaker" // too much is sick at once, or no longer
	Test           Kind = "test"            // somebody tries a receiver; no route names it
)

// needsPerson tells whether it is a silence when nobody is told.
func (k Kind) needsPerson() bool {
	return k == Asked || k == Unhealed || k == Escalated || k == CircuitBreaker
}

// Events of the ladder, written by this package.
const (
	eventLadder     = "self_heal.notify.escalated"
	eventReminder   = "self_heal.notify.reminder"
	eventPassedOn   = "self_heal.notify.passed_on"  // what a receiver does not take, for others
	eventHeld       = "self_heal.notify.held"       // what a receiver is not told while it is silenced
	eventUnsilenced = "self_heal.notify.unsilenced" // what was silenced and still is open, for whom the routes say

	stormPrefix = "incident/storm-"
)

// kinds says what an event of the outbox is to people.
func kinds() map[string]Kind {
	return map[string]Kind{
		"self_heal.run.awaiting_approval": Asked,
		"self_heal.run.running":           Acted,
		"self_heal.run.succeeded":         Helped,
		"self_heal.run.ineffective":       Ineffective,
		"self_heal.run.rolled_back":       Undone,
		"self_heal.run.aborted":           Undone,
		"self_heal.run.escalated":         Escalated,
		"self_heal.run.cancelled":         Resolved, // this and the next three of a run that a person had approved, or was told of as acted
		"self_heal.run.denied":            Resolved,
		"self_heal.run.expired":           Resolved,
		"self_heal.run.observed_only":     Resolved,
		"self_heal.approval.approved":     Resolved,
		"self_heal.approval.denied":       Resolved,
		"self_heal.approval.expired":      Resolved,
		"self_heal.approval.cancelled":    Resolved,
		event.IncidentOpened:              Unhealed,
		event.IncidentUpdated:             Unhealed,
		event.IncidentAcknowledged:        Acknowledged,
		event.IncidentResolved:            Resolved,
		"incident.escalated":              Escalated,
		"self_heal.mode":                  ModeChanged,
		"self_heal.storm.opened":          CircuitBreaker,
		"self_heal.storm.widened":         CircuitBreaker,
		"self_heal.storm.closed":          CircuitBreaker,
	}
}

// patterns are the event types that can become messages.
func patterns() []string {
	out := []string{eventLadder, eventReminder, eventPassedOn, eventUnsilenced}
	for t := range kinds() {
		out = append(out, t)
	}
	slices.Sort(out)
	return out
}

// ladderOf reads what one of this package's events is about.
func ladderOf(e grace.Event) (p ladderPayload, ok bool) {
	return p, own(e) && json.Unmarshal(e.Payload, &p) == nil && !own(p.Event)
}

// own tells whether an event is this package's, about another one.
func own(e grace.Event) bool {
	return slices.Contains([]string{eventLadder, eventReminder, eventPassedOn, eventHeld, eventUnsilenced}, e.Type)
}

// Message is what people are told, in words and in fields.
type Message struct {
	Key      string            `json:"key"` // idempotency: the receiver's name and the event's id
	Kind     Kind              `json:"kind"`
	Type     string            `json:"event_type"`
	EventID  int64             `json:"event_id"`
	Title    string            `json:"title"`
	Where    string            `json:"where,omitempty"` // the service and its team
	Since    string            `json:"since,omitempty"` // when the condition began
	What     string            `json:"what,omitempty"`  // more about what happened
	Doing    string            `json:"doing,omitempty"` // what GRACE does about it
	Do       string            `json:"do,omitempty"`    // what the reader can do
	Severity grace.Severity    `json:"severity"`
	Services []grace.ServiceID `json:"services,omitempty"`
	Teams    []string          `json:"teams,omitempty"`
	Thread   string            `json:"thread"`  // messages of one run and its incident share it
	Subject  string            `json:"subject"` // what is open until it is answered or resolved
	Run      grace.RunID       `json:"run,omitempty"`
	Incident grace.IncidentID  `json:"incident,omitempty"`
	Link     string            `json:"link,omitempty"`
	At       time.Time         `json:"at"`
	Began    time.Time         `json:"began,omitzero"` // of the question or incident
	Ended    bool              `json:"ended,omitempty"`
	Question *Question         `json:"question,omitempty"` // that is open

	also []Kind   // a route that wants one of these wants this too
	to   []string // the ladder's choice of receivers
	twin bool     // an incident tells the same
	// stale: it was answered or resolved before the message could be sent
	stale bool
	held  bool     // all that it is about is silenced
	had   []string // who of the receiver got it before, when others did not
	// ran: of a run that was to be told as acted, and has ended before that was sent
	ran *grace.Run
	// superseded: this receiver is told of that end anyway
	superseded bool
	letter     bool // it was given up before
	// recovered are those of the services that have been well since
	recovered []grace.ServiceID
}

// Question is an approval that waits for an answer.
type Question struct {
	Approval grace.ApprovalID `json:"approval"`
	Revision int              `json:"revision"`
	Expires  time.Time        `json:"expires"`
}

// over tells whether it is about the end of what was told before.
func (m *Message) over() bool {
	return m.Kind == Resolved || m.Kind == Acknowledged || m.Kind == CircuitBreaker && m.Ended
}

// open tells whether it is about a question or an incident that is open: who is
// told of it is told of what becomes of it, too.
func (m *Message) open() bool {
	return m.Kind == Asked || m.Kind.needsPerson() && !m.over() && strings.HasPrefix(m.Subject, "incident/")
}

// Text is the message in plain text, without its title.
func (m *Message) Text() string {
	var b strings.Builder
	for _, p := range m.parts() {
		if b.Len() > 0 {
			b.WriteString("\n")
		}
		b.WriteString(p.label + ": " + p.text)
	}
	if m.Link != "" {
		b.WriteString("\n" + m.Link)
	}
	return b.String()
}

type part struct{ label, text string }

// parts are the answers to what a reader asks, in that order.
func (m *Message) parts() []part {
	all := []part{{"What", m.What}, {"Where", m.Where}, {"Since", m.Since}, {"GRACE", m.Doing}, {"You", m.Do}}
	return slices.DeleteFunc(all, func(p part) bool { return p.text == "" })
}

// facts are what a message is made of besides its event.
type facts struct {
	run      *grace.Run
	approval *grace.Approval
	decision *grace.Decision
	incident *grace.Incident
}

// wasApproved tells whether a person had approved the run.
func (f facts) wasApproved() bool {
	return f.run != nil && f.approval != nil && f.approval.State == grace.ApprovalApproved
}

// began tells whether the run began, which was told as acted.
func (f facts) began() bool { return f.run != nil && f.run.StartedAt != nil }

// runPayload is what the events of a run carry.
type runPayload struct {
	Service  grace.ServiceID  `json:"service"`
	Playbook grace.PlaybookID `json:"playbook"`
	Code     grace.Code       `json:"code"`
	Reason   string           `json:"reason"`
	Incident grace.IncidentID `json:"incident"`
}

// ladderPayload is what the ladder's own events carry.
type ladderPayload struct {
	Event     grace.Event    `json:"event"` // what nobody has answered
	After     grace.Duration `json:"after"`
	Receivers []string       `json:"receivers"`
	Failed    string         `json:"failed,omitempty"` // the receiver that does not take it
}

// message makes the message of an event; nil when there is nothing to tell. With
// asIsNow an incident is told as it is now, not as it was then.
func (n *Notifier) message(ctx context.Context, e grace.Event, asIsNow bool) (*Message, error) {
	if !own(e) {
		return n.about(ctx, e, asIsNow)
	}
	p, ok := ladderOf(e)
	if !ok {
		return nil, nil //nolint:nilnil // nothing to tell, and no error
	}
	m, err := n.about(ctx, p.Event, true)
	if m == nil || m.stale || err != nil {
		return nil, err // that it is over was told before, or follows
	}
	m.EventID, m.Type, m.to = e.ID, e.Type, p.Receivers
	age := span(p.After.D() + max(0, n.Now().Sub(e.Timestamp)))
	switch e.Type {
	case eventLadder:
		m.Title = fmt.Sprintf("Nobody has answered for %s: %s", age, m.Title)
	case eventPassedOn:
		m.Title = fmt.Sprintf("%s cannot be told: %s", p.Failed, m.Title)
	case eventUnsilenced:
		m.Title, m.At = "Not silenced any more: "+m.Title, e.Timestamp
	default:
		m.Title = fmt.Sprintf("Still open after %s: %s", age, m.Title)
	}
	return m, nil
}

// about makes the message of an event that is not this package's. With asIsNow an
// incident is told as it is now, not as it was then.
func (n *Notifier) about(ctx context.Context, e grace.Event, asIsNow bool) (*Message, error) {
	kind, known := kinds()[e.Type]
	if !known || strings.HasPrefix(e.Resource, stormPrefix) && strings.HasPrefix(e.Type, "incident.") && kind != Acknowledged {
		return nil, nil //nolint:nilnil // the circuit breaker's own events tell of its incident
	}
	f, err := n.facts(ctx, e, asIsNow)
	if err != nil {
		return nil, err
	}
	m := &Message{Kind: kind, Type: e.Type, EventID: e.ID, Thread: e.Resource, Subject: e.Resource, At: e.Timestamp, Severity: grace.SeverityInfo}
	w := n.writer()
	if kind == Resolved && strings.HasPrefix(e.Type, "self_heal.run.") && !f.wasApproved() && !f.began() {
		return nil, nil //nolint:nilnil // what nobody had approved, nor was told of as acted, nobody waits for
	}
	switch {
	case kind == ModeChanged:
		w.mode(m, e)
	case f.incident != nil:
		w.incident(m, e, f.incident)
	case strings.HasPrefix(e.Type, "self_heal.approval."):
		w.answer(m, e, f)
	default:
		w.run(m, e, f)
	}
	if m.Title == "" {
		return nil, nil //nolint:nilnil // a payload of another version
	}
	w.finish(m)
	return m, nil
}

// facts reads what the event is about as it is now: a message that comes late
// must not ask what was answered meanwhile. An incident is as the event says,
// unless asIsNow.
func (n *Notifier) facts(ctx context.Context, e grace.Event, asIsNow bool) (facts, error) {
	var f facts
	kind, id, _ := strings.Cut(e.Resource, "/")
	q := n.Store.Q()
	var run grace.RunID
	switch kind {
	case "incident":
		inc, err := optional(n.Store.Incident(ctx, q, grace.IncidentID(id)))
		if err != nil {
			return f, err
		}
		var told grace.Incident
		if (inc == nil || !asIsNow) && json.Unmarshal(e.Payload, &told) == nil && told.ID != "" {
			inc = &told
		}
		if f.incident = inc; inc != nil {
			run = inc.Run
		}
	case "run", "approval":
		run = grace.RunID(id)
		var err error
		if f.approval, err = optional(n.Store.Approval(ctx, q, grace.ApprovalID(id))); err != nil {
			return f, err
		}
	}
	if run == "" {
		return f, nil
	}
	var err error
	if f.run, err = optional(n.Store.Run(ctx, q, run)); err != nil || f.run == nil {
		return f, err
	}
	f.decision, err = optional(n.Store.Decision(ctx, q, f.run.Decision))
	return f, err
}

// optional makes a row that is not there a nil, and one that somebody forged: a
// message without it is better than none, to everybody, ever again.
func optional[T any](v T, err error) (*T, error) {
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrForged) {
		return nil, nil //nolint:nilnil // absent is an answer
	}
	if err != nil {
		return nil, err
	}
	return &v, nil
}
