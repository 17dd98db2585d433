package grace

import (
	"encoding/json"
	"slices"
	"time"
)

// IncidentState follows an incident.
type IncidentState string

// Incident states.
const (
	IncidentOpen     IncidentState = "open"
	IncidentResolved IncidentState = "resolved"
)

// IncidentKind says why somebody is told.
type IncidentKind string

// Incident kinds.
const (
	IncidentRun      IncidentKind = "run"             // a run did not help, or could not go on
	IncidentUnhealed IncidentKind = "unhealed"        // a condition lasts and nothing that helps is being done
	IncidentBlind    IncidentKind = "blind"           // GRACE does not see what it should see
	IncidentStorm    IncidentKind = "circuit_breaker" // too much is sick at once
)

// Incident is a condition that needs a person. It is open until it is resolved,
// by a person or because what it is about has been well for the hold-down;
// an acknowledged one is open still.
type Incident struct {
	ID           IncidentID    `json:"id"`
	Kind         IncidentKind  `json:"kind" enum:"run,unhealed,blind,circuit_breaker"`
	State        IncidentState `json:"state"`
	Title        string        `json:"title"`
	Service      ServiceID     `json:"service,omitempty"`
	Services     []ServiceID   `json:"services,omitempty" doc:"others that it covers: victims, or what a sensor does not see"`
	Recovered    []ServiceID   `json:"recovered,omitempty" doc:"those of its services that have been well since, while others have not; sick again, they are told again"`
	Sensor       string        `json:"sensor,omitempty" doc:"of a blind one: the sensor or source without data"`
	Run          RunID         `json:"run,omitempty"`
	Faults       []string      `json:"faults,omitempty" doc:"what is wrong with its service, as far as people were told: codes, and of an investigation the rule or alert"`
	Severity     Severity      `json:"severity"`
	Detail       string        `json:"detail,omitempty" doc:"what is wrong, and why GRACE does not act"`
	News         string        `json:"news,omitempty" doc:"what the last update added"`
	Since        time.Time     `json:"since,omitzero" doc:"when the condition began"`
	OpenedAt     time.Time     `json:"opened_at"`
	Acknowledged *Note         `json:"acknowledged,omitempty" doc:"who looks after it"`
	Notes        []Note        `json:"notes,omitempty"`
	Manual       bool          `json:"manual,omitempty" doc:"something may have been left half done: only a person resolves it"`
	Stopped      []SignalKey   `json:"stopped,omitempty" doc:"what a run was for that a person has aborted, as far as it is not over: until then GRACE does nothing more by itself"`
	Unseen       []string      `json:"unseen,omitempty" doc:"services and signals of it that nothing watches any more: only a person resolves it, unless something does again"`
	ResolvedAt   *time.Time    `json:"resolved_at,omitempty"`
	ResolvedBy   string        `json:"resolved_by,omitempty" doc:"the person who resolved it; none when it resolved itself"`
	Resolution   string        `json:"resolution,omitempty" doc:"who or what healed it"`
}

// Covers tells whether the incident is about a service as it is now.
func (i *Incident) Covers(id ServiceID) bool {
	return (i.Service == id || slices.Contains(i.Services, id)) && !slices.Contains(i.Recovered, id)
}

// NeedsPerson tells whether only a person can tell that it is over.
func (i *Incident) NeedsPerson() bool { return i.Manual || len(i.Unseen) > 0 }

// Note is what a person says of an incident.
type Note struct {
	Actor string    `json:"actor"`
	Text  string    `json:"text"`
	At    time.Time `json:"at"`
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
	State         RunStatus         `json:"status"`
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
	Actor    string          `json:"actor" doc:"self_heal for GRACE itself, or token:NAME"`
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

// Self is the actor of what GRACE does by itself, in the audit log and in events.
const Self = "self_heal"
