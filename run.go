package grace

import (
	"slices"
	"time"
)

// RunStatus is where a run is. docs/run-states.md draws the machine.
type RunStatus string

// Run states.
const (
	RunProposed         RunStatus = "proposed"
	RunAwaitingApproval RunStatus = "awaiting_approval"
	RunApproved         RunStatus = "approved"
	RunRunning          RunStatus = "running"
	RunVerifying        RunStatus = "verifying"
	RunRollingBack      RunStatus = "rolling_back"
	RunSucceeded        RunStatus = "succeeded"
	RunIneffective      RunStatus = "ineffective" // it acted, what began it is still there, and nothing could be undone
	RunRolledBack       RunStatus = "rolled_back"
	RunRollbackFailed   RunStatus = "rollback_failed"
	RunEscalated        RunStatus = "escalated"
	RunDenied           RunStatus = "denied"
	RunExpired          RunStatus = "expired"
	RunCancelled        RunStatus = "cancelled"
	RunAborted          RunStatus = "aborted"
	RunObservedOnly     RunStatus = "observed_only"
)

// RunStatuses lists them, in the order in which a run may come to them.
func RunStatuses() []RunStatus {
	return []RunStatus{
		RunProposed, RunAwaitingApproval, RunApproved, RunRunning, RunVerifying, RunRollingBack, RunSucceeded, RunIneffective,
		RunRolledBack, RunRollbackFailed, RunEscalated, RunDenied, RunExpired, RunCancelled, RunAborted, RunObservedOnly,
	}
}

// Terminal tells whether the run has ended.
func (s RunStatus) Terminal() bool {
	switch s {
	case RunSucceeded, RunIneffective, RunRolledBack, RunEscalated, RunDenied,
		RunExpired, RunCancelled, RunAborted, RunObservedOnly:
		return true
	case RunProposed, RunAwaitingApproval, RunApproved, RunRunning, RunVerifying,
		RunRollingBack, RunRollbackFailed:
		return false
	}
	return false
}

// Acting tells whether a run in this state has begun and has not ended.
func (s RunStatus) Acting() bool { return s.Mutating() && s != RunApproved }

// Mutating tells whether a run in this state may be changing its target, and
// so holds its dependency cone.
func (s RunStatus) Mutating() bool {
	switch s {
	case RunApproved, RunRunning, RunVerifying, RunRollingBack, RunRollbackFailed:
		return true
	case RunProposed, RunAwaitingApproval, RunSucceeded, RunIneffective, RunRolledBack, RunEscalated, RunDenied, RunExpired,
		RunCancelled, RunAborted, RunObservedOnly:
		return false
	}
	return false
}

// Run is one execution of a playbook on a service. The playbook is a snapshot
// taken when the run was decided: later edits do not reach an open run.
type Run struct {
	ID          RunID             `json:"id"`
	Status      RunStatus         `json:"status"`
	Service     ServiceID         `json:"service"`
	Code        Code              `json:"code"`
	Kind        TriggerKind       `json:"kind"`
	Asked       *Note             `json:"asked,omitempty" doc:"of a run by hand: who wants it, and why"`
	Playbook    Playbook          `json:"playbook"`
	Parameters  map[string]any    `json:"parameters"`
	Decision    DecisionID        `json:"decision"`
	Proposal    ProposalID        `json:"proposal"`
	Cone        []ServiceID       `json:"cone"`
	Condition   []SignalKey       `json:"condition,omitempty" doc:"the signals that began it: it succeeds only when they have cleared and stayed clear"`
	HoldDown    Duration          `json:"hold_down,omitempty" doc:"how long they must stay clear"`
	RecoverIn   Duration          `json:"recover_within,omitempty" doc:"how long after the last step they may take to clear"`
	Before      []Symptom         `json:"before,omitempty" doc:"what was wrong with the service before the first step"`
	Steps       []StepRecord      `json:"steps"`
	Checks      []CheckResult     `json:"checks,omitempty"`
	Reasons     []Reason          `json:"reasons,omitempty" doc:"why it ended without acting, or what it waits for before it starts"`
	Error       string            `json:"error,omitempty"`
	Auto        bool              `json:"auto" doc:"approved by the trust core, not by a person"`
	Baseline    map[string]string `json:"baseline,omitempty" doc:"serving capacity before the first step, by expression, after SOURCE: where it has one"`
	Abort       *AbortRequest     `json:"abort,omitempty"`
	Incident    IncidentID        `json:"incident,omitempty"`
	Owner       string            `json:"owner,omitempty" doc:"the process that drives it"`
	Revision    int               `json:"revision"`
	SickSince   time.Time         `json:"sick_since" doc:"the oldest symptom: time to recover counts from here"`
	CreatedAt   time.Time         `json:"created_at"`
	ApprovedAt  *time.Time        `json:"approved_at,omitempty" doc:"when a person approved it"`
	StartedAt   *time.Time        `json:"started_at,omitempty" doc:"first step"`
	EndedAt     *time.Time        `json:"ended_at,omitempty"`
	RecoveredIn Duration          `json:"recovered_in,omitempty" doc:"of a succeeded run: from sick_since to the check that passed; none where nothing had been wrong, or what healed it cannot be told"`
}

// Symptom is one thing that is wrong with a service at a time.
type Symptom struct {
	Signal   SignalKey `json:"signal"`
	Code     Code      `json:"code"`
	Severity Severity  `json:"severity"`
}

// WorseThan tells whether a signal says that its service is worse off than the
// symptoms of before do: another thing is wrong, or the same more severely, or a
// service that answered is down.
func (s *Signal) WorseThan(before []Symptom) bool {
	i := slices.IndexFunc(before, func(b Symptom) bool { return b.Signal == s.Key })
	return i < 0 || s.Severity.Rank() > before[i].Severity.Rank() || s.Code == CodeServiceDown && before[i].Code != CodeServiceDown
}

// AdmissionPatience is how long an approved run waits for its change window or
// for its dependency cone before it expires.
const AdmissionPatience = 24 * time.Hour

// WaitsUntil is when a run that may begin is waited for no longer: it counts from when it
// was decided or, where a person was asked, from the answer.
func (r *Run) WaitsUntil() time.Time {
	from := r.CreatedAt
	if r.ApprovedAt != nil {
		from = *r.ApprovedAt
	}
	return from.Add(AdmissionPatience)
}

// Undone tells whether an undo was begun, however it ended.
func (r Run) Undone() bool {
	return slices.ContainsFunc(r.Steps, func(s StepRecord) bool {
		return s.Phase == PhaseUndo && s.State != StepPending && s.State != StepSkipped
	})
}

// FoundDone tells whether step i was left unfinished by a process that ended, no try
// of it is on record, and what it is for was found to hold.
func (r *Run) FoundDone(i int) bool {
	return i < len(r.Steps) && r.Steps[i].Resumed && r.Steps[i].Attempts == 0 && r.Steps[i].State == StepSucceeded
}

// Unsure tells whether it cannot be told if the run did what was found: one of its steps
// was found done, by nothing but that the service was well.
func (r *Run) Unsure() bool {
	for i, s := range r.Playbook.Steps {
		if !s.ReadOnly && s.Check == nil && r.FoundDone(i) {
			return true
		}
	}
	return false
}

// Phase of a step's record.
type Phase string

// Phases.
const (
	PhaseDo     Phase = "do"
	PhaseVerify Phase = "verify"
	PhaseUndo   Phase = "undo"
)

// StepState follows one step.
type StepState string

// Step states. Unknown is a step that was started and may or may not have
// taken effect.
const (
	StepPending   StepState = "pending"
	StepStarted   StepState = "started"
	StepSucceeded StepState = "succeeded"
	StepFailed    StepState = "failed"
	StepSkipped   StepState = "skipped"
	StepUnknown   StepState = "unknown"
)

// StepRecord is what became of one step, or of its undo.
type StepRecord struct {
	Name      string            `json:"name"`
	Phase     Phase             `json:"phase"`
	State     StepState         `json:"state"`
	Action    string            `json:"action"`
	Attempts  int               `json:"attempts"`
	Resumed   bool              `json:"resumed,omitempty" doc:"found started but unfinished by another process"`
	Output    string            `json:"output,omitempty"`
	Snapshot  map[string]string `json:"snapshot,omitempty"`
	Error     string            `json:"error,omitempty"`
	StartedAt *time.Time        `json:"started_at,omitempty"`
	EndedAt   *time.Time        `json:"ended_at,omitempty"`
}

// CheckResult is verification's word on one check.
type CheckResult struct {
	Name    string    `json:"name"`
	Type    CheckType `json:"type"`
	Passed  bool      `json:"passed"`
	Wanted  string    `json:"wanted"`
	Actual  string    `json:"actual"`
	Samples int       `json:"samples"`
	Failed  int       `json:"failed"`
}

// AbortRequest asks a run to stop and undo. The first one for a run counts.
type AbortRequest struct {
	Run    RunID     `json:"run"`
	Actor  string    `json:"actor"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// ControlKind is what a person or the platform says to a run.
type ControlKind string

// Control kinds.
const (
	ControlApprove ControlKind = "approve"
	ControlReject  ControlKind = "reject"
	ControlAbort   ControlKind = "abort"
	ControlLook    ControlKind = "look" // something has changed that a waiting run asks about
)

// ControlMessage is sent to a run on its one control topic.
type ControlMessage struct {
	Kind   ControlKind `json:"kind"`
	Actor  string      `json:"actor"`
	Reason string      `json:"reason"`
	At     time.Time   `json:"at"`
}
