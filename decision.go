package grace

import "time"

// Proposal is a playbook picked for a diagnosis, before trust was asked.
type Proposal struct {
	ID          ProposalID     `json:"id"`
	Diagnosis   DiagnosisID    `json:"diagnosis"`
	Code        Code           `json:"code"`
	Kind        TriggerKind    `json:"kind"`
	Service     ServiceID      `json:"service" doc:"the target: the diagnosed cause"`
	Playbook    PlaybookID     `json:"playbook"`
	Parameters  map[string]any `json:"parameters"`
	Risk        Risk           `json:"risk"`
	Auto        bool           `json:"auto"`
	Impact      Impact         `json:"impact"`
	BlastRadius int            `json:"blast_radius" minimum:"0" maximum:"10"`
	Confidence  float64        `json:"confidence" minimum:"0" maximum:"1"`
	Score       float64        `json:"score" doc:"learned chance of success the playbook was ranked by"`
	Trials      float64        `json:"trials" doc:"decayed number of outcomes behind the score"`
	Criticality Criticality    `json:"criticality"`
	Cone        []ServiceID    `json:"cone" doc:"the target with everything that depends on it or that it depends on"`
	BreachAt    *time.Time     `json:"breach_at,omitempty"`
	At          time.Time      `json:"at"`
}

// Candidate is a playbook that was looked at for a diagnosis. Doing nothing is one,
// too, under its own name.
type Candidate struct {
	Playbook PlaybookID `json:"playbook"`
	Risk     Risk       `json:"risk,omitempty"`
	Score    float64    `json:"score" doc:"learned chance of success"`
	Trials   float64    `json:"trials" doc:"decayed number of outcomes behind the score"`
	Chosen   bool       `json:"chosen,omitempty"`
	Refused  *Reason    `json:"refused,omitempty" doc:"why it was not chosen, if not for its rank"`
}

// Verdict is what the trust core says.
type Verdict string

// Verdicts. The empty one is a deny.
const (
	VerdictDeny            Verdict = "deny"
	VerdictRequireApproval Verdict = "require_approval"
	VerdictAllow           Verdict = "allow"
	// VerdictObserve means: would have run, but the mode only observes.
	VerdictObserve Verdict = "observe"
	// VerdictNone means that nothing was proposed; the reasons say why.
	VerdictNone Verdict = "none"
)

// Decision is the recorded answer to a diagnosis: of the trust core, or, with
// VerdictNone, of the proposing stage that had nothing to ask.
type Decision struct {
	ID         DecisionID  `json:"id"`
	Verdict    Verdict     `json:"decision"`
	Policy     string      `json:"policy,omitempty" doc:"the policy that settled it"`
	Mode       Mode        `json:"mode"`
	Reasons    []Reason    `json:"reasons" doc:"every gate, passed or not"`
	Candidates []Candidate `json:"candidates,omitempty" doc:"what was looked at, by rank"`
	Service    ServiceID   `json:"service"`
	Triggers   []TriggerID `json:"triggers,omitempty" doc:"that it answers; it does not rest on them"`
	Diagnosis  Diagnosis   `json:"diagnosis"`
	Proposal   *Proposal   `json:"proposal,omitempty"`
	Run        RunID       `json:"run,omitempty"`
	At         time.Time   `json:"at"`
}

// Failed gives the reasons that said no.
func (d Decision) Failed() []Reason {
	var out []Reason
	for _, r := range d.Reasons {
		if !r.OK {
			out = append(out, r)
		}
	}
	return out
}

// Mode is how much GRACE may do by itself.
type Mode string

// Modes. The empty one is judged like ModeObserveOnly.
const (
	ModeAutonomous  Mode = "autonomous"
	ModeAskAlways   Mode = "ask_always"
	ModeObserveOnly Mode = "observe_only"
	ModeStopped     Mode = "stopped"
)

// ModeSetting is the mode in force, and who set it. It is kept in the store.
type ModeSetting struct {
	Mode     Mode       `json:"mode"`
	Reason   string     `json:"reason"`
	Actor    string     `json:"actor"`
	Since    time.Time  `json:"since"`
	Expires  *time.Time `json:"expires,omitempty" doc:"then Fallback is in force"`
	Fallback Mode       `json:"fallback,omitempty"`
	Revision int        `json:"revision"`
}

// At gives the mode in force at a time.
func (m ModeSetting) At(now time.Time) Mode {
	mode := m.Mode
	if m.Expires != nil && !now.Before(*m.Expires) {
		mode = m.Fallback
	}
	if mode == "" {
		return ModeObserveOnly
	}
	return mode
}

// ApprovalState follows an approval.
type ApprovalState string

// Approval states.
const (
	ApprovalPending   ApprovalState = "pending"
	ApprovalApproved  ApprovalState = "approved"
	ApprovalDenied    ApprovalState = "denied"
	ApprovalExpired   ApprovalState = "expired"
	ApprovalCancelled ApprovalState = "cancelled"
)

// Approval is a question to a person about one run. Its ID is the run's.
type Approval struct {
	ID        ApprovalID    `json:"id"`
	Run       RunID         `json:"run"`
	Service   ServiceID     `json:"service"`
	Playbook  PlaybookID    `json:"playbook"`
	State     ApprovalState `json:"state"`
	Revision  int           `json:"revision" doc:"rises with every change; a decision names the one it was made on"`
	Expires   time.Time     `json:"expires"`
	Actor     string        `json:"actor,omitempty" doc:"who decided"`
	Reason    string        `json:"reason,omitempty"`
	DecidedAt *time.Time    `json:"decided_at,omitempty"`
	At        time.Time     `json:"at"`
}
