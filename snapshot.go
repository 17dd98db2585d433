package grace

import (
	"encoding/json"
	"time"
)

// Snapshot is all that one decision, or one admission, looks at. What many of them
// have in common is named by its digest.
type Snapshot struct {
	At      time.Time `json:"at"`
	Seen    time.Time `json:"seen" doc:"when signals and predictions were looked at"`
	Service ServiceID `json:"service" doc:"what it is about"`
	Mode    Mode      `json:"mode"`
	// Since is when evidence began to count: the start of the process, the last
	// change of its configuration, or when it woke.
	Since       time.Time `json:"since"`
	Config      Digest    `json:"config" doc:"services, playbooks, limits, trust"`
	Signals     Digest    `json:"signals,omitempty" doc:"map of a service to its signals"`
	Predictions Digest    `json:"predictions,omitempty" doc:"map of a series to its prediction"`
	Open        Digest    `json:"open,omitempty" doc:"map of a run that has not ended to what it is about"`
	Silences    Digest    `json:"silences,omitempty" doc:"list of those that have not ended"`
	Unseen      Digest    `json:"unseen,omitempty" doc:"list of the services of a storm that were sick when they were seen last"`
	// Own are the signals of the service as the deciding transaction read them, with
	// what this process has seen since.
	Own        Digest      `json:"own,omitempty" doc:"list"`
	Storm      *Reason     `json:"storm,omitempty" doc:"of an admission: the circuit breaker, while it is open"`
	Manual     IncidentID  `json:"manual,omitempty" doc:"open incident of the service: something may have been left half done"`
	Stopped    IncidentID  `json:"stopped,omitempty" doc:"open incident of the service: what a person has stopped the run for lasts"`
	Past       []PastRun   `json:"past,omitempty" doc:"runs of the last day, of the service"`
	Posteriors []Posterior `json:"posteriors,omitempty"`
	Trigger    *Trigger    `json:"trigger,omitempty" doc:"of a decision that no diagnosis leads to: the oldest"`
	Wanted     *Wanted     `json:"wanted,omitempty" doc:"by a person"`
	Run        *Run        `json:"run,omitempty" doc:"of an admission: the run that is about to begin"`
	Decision   DecisionID  `json:"decision,omitempty" doc:"of an admission: what is asked again"`
}

// Recorded is a snapshot as it is stored, with the answer that it led to.
type Recorded struct {
	ID       string          `json:"id" doc:"of the decision, or the admission's own"`
	Kind     RecordKind      `json:"kind" enum:"decision,admission"`
	Service  ServiceID       `json:"service"`
	At       time.Time       `json:"at"`
	Snapshot json.RawMessage `json:"snapshot"`
	Answer   json.RawMessage `json:"answer,omitempty" doc:"of an admission; a decision is stored by itself"`
}

// RecordKind says what a snapshot was taken for.
type RecordKind string

// Kinds of records.
const (
	RecordDecision  RecordKind = "decision"
	RecordAdmission RecordKind = "admission"
)

// OpenRun is a run that has not ended.
type OpenRun struct {
	Run       RunID       `json:"run"`
	Service   ServiceID   `json:"service"`
	Status    RunStatus   `json:"status"`
	Cone      []ServiceID `json:"cone,omitempty"`
	CreatedAt time.Time   `json:"created_at"`
}

// PastRun is a run of the last 24 hours, ended or not, as the limits count it.
type PastRun struct {
	Run      RunID       `json:"run"`
	Service  ServiceID   `json:"service"`
	Code     Code        `json:"code"`
	Kind     TriggerKind `json:"kind"`
	Playbook PlaybookID  `json:"playbook"`
	Status   RunStatus   `json:"status"`
	Since    time.Time   `json:"since" doc:"when what it was about began"`
	At       time.Time   `json:"at" doc:"when it was proposed"`
	EndedAt  *time.Time  `json:"ended_at,omitempty"`
	Result   Result      `json:"result,omitempty" doc:"of an ended run, as the learning log has it"`
	Aborted  bool        `json:"aborted,omitempty" doc:"a person asked it to stop"`
}

// End is when a run ended, or, of one that has not, when it was proposed.
func (p PastRun) End() time.Time {
	if p.EndedAt != nil {
		return *p.EndedAt
	}
	return p.At
}

// Posterior is how well a playbook, or doing nothing, has done for a code: the
// learned chance of success and the decayed number of outcomes behind it.
type Posterior struct {
	Code     Code       `json:"code"`
	Playbook PlaybookID `json:"playbook"`
	Score    float64    `json:"score"`
	Trials   float64    `json:"trials"`
}

// Wanted is a run that a person wants.
type Wanted struct {
	Actor      string         `json:"actor"`
	Playbook   PlaybookID     `json:"playbook"`
	Parameters map[string]any `json:"parameters,omitempty"`
	Reason     string         `json:"reason,omitempty"`
	// Override lets the limits of time pass: rate, backoff, duplicate, circuit
	// breaker. Guardrails and policies hold.
	Override bool `json:"override,omitempty"`
}
