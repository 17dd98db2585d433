package grace

import (
	"encoding/json"
	"time"
)

// IncidentState follows an incident.
type IncidentState string

// Incident states.
const (
	IncidentOpen     IncidentState = "open"
	IncidentResolved IncidentState = "resolved"
)

// Incident is trouble that needs a person: a failed remedy or a storm.
type Incident struct {
	ID         IncidentID    `json:"id"`
	State      IncidentState `json:"state"`
	Title      string        `json:"title"`
	Service    ServiceID     `json:"service,omitempty"`
	Services   []ServiceID   `json:"services,omitempty"`
	Run        RunID         `json:"run,omitempty"`
	Severity   Severity      `json:"severity"`
	Detail     string        `json:"detail,omitempty"`
	OpenedAt   time.Time     `json:"opened_at"`
	ResolvedAt *time.Time    `json:"resolved_at,omitempty"`
}

// Result of a run as the learning log counts it.
type Result string

// Results. Only success and failure move the success rate.
const (
	ResultSuccess Result = "success"
	ResultFailure Result = "failure"
	ResultNeutral Result = "neutral" // ended without telling whether the remedy works
)

// LearningEntry is one outcome in the learning log.
type LearningEntry struct {
	ID            string            `json:"id"`
	Service       ServiceID         `json:"service"`
	Diagnosis     Code              `json:"diagnosis"`
	Playbook      PlaybookID        `json:"playbook"`
	Kind          TriggerKind       `json:"kind"`
	Run           RunID             `json:"run"`
	Result        Result            `json:"result"`
	State         RunState          `json:"state"`
	TimeToRecover Duration          `json:"time_to_recover,omitempty"`
	Auto          bool              `json:"auto" doc:"approved by the trust core, not by a person"`
	Context       map[string]string `json:"context,omitempty"`
	At            time.Time         `json:"at"`
}

// AuditEntry is one state change in the append-only log. Seq, PrevHash and
// Hash are given by the store when the entry is appended.
type AuditEntry struct {
	Seq      int64           `json:"seq"`
	At       time.Time       `json:"at"`
	Actor    string          `json:"actor" doc:"grace, or token:NAME"`
	Action   string          `json:"action" doc:"for example run.verifying"`
	Object   string          `json:"object" doc:"kind/id, for example run/r-42"`
	Service  ServiceID       `json:"service,omitempty"`
	Reason   string          `json:"reason,omitempty"`
	Detail   json.RawMessage `json:"detail,omitempty"`
	PrevHash string          `json:"prev_hash"`
	Hash     string          `json:"hash"`
}

// Event is what goes over the mesh, in the seed's shape. ID is given by the
// store; it rises and is the SSE event id.
type Event struct {
	ID        int64           `json:"id"`
	Type      string          `json:"event_type"`
	Source    string          `json:"source"`
	Actor     string          `json:"actor,omitempty"`
	Resource  string          `json:"resource,omitempty"`
	Payload   json.RawMessage `json:"payload,omitempty"`
	Timestamp time.Time       `json:"timestamp"`
}

// Change is one state change with everything that must commit with it. The
// store applies it whole in one transaction or not at all; rows are inserted,
// or replaced by id. A Run is written only over the revision before its own.
type Change struct {
	Signals    []Signal
	Triggers   []Trigger
	Decisions  []Decision
	Runs       []Run
	Approvals  []Approval
	Incidents  []Incident
	Learning   []LearningEntry
	Prediction []Prediction
	Aborts     []AbortRequest
	Mode       *ModeSetting
	Audit      []AuditEntry
	Events     []Event
}
