package gate

import "grace"

// EvidenceState says what the newest evidence says of a condition. The zero
// value is a "no".
type EvidenceState string

// Evidence states. Only what is fresh leads to an action.
const (
	EvidenceUnconfirmed EvidenceState = ""         // nothing has been seen since the start, or since the configuration of it changed
	EvidenceFresh       EvidenceState = "fresh"    // the newest sample shows the condition
	EvidenceCleared     EvidenceState = "cleared"  // it is gone
	EvidencePassing     EvidenceState = "passing"  // it is not over, but passed when last seen
	EvidenceNoData      EvidenceState = "no_data"  // its data stopped
	EvidenceSilenced    EvidenceState = "silenced" // a person or its source keeps it silent
)

// Evidence is what is known of the condition that a diagnosis names.
type Evidence struct {
	State  EvidenceState
	Text   string // what the signal, prediction or silence says
	Source string // which one, as kind/id; empty for none at all
}

// Waits tells whether time may make the evidence fresh.
func (e Evidence) Waits() bool { return e.State != EvidenceFresh && e.State != EvidenceCleared }

// Reason is the gate "evidence": no action without a fresh one.
func (e Evidence) Reason() grace.Reason {
	code := grace.ReasonUnconfirmed
	switch e.State {
	case EvidenceFresh, EvidenceUnconfirmed:
	case EvidenceCleared:
		code = grace.ReasonCleared
	case EvidencePassing:
		code = grace.ReasonUnstable
	case EvidenceNoData:
		code = grace.ReasonNoData
	case EvidenceSilenced:
		code = grace.ReasonSilenced
	}
	r := New("evidence", e.State == EvidenceFresh, code, nil, nil)
	if e.Text != "" {
		r.Actual = e.Text
	}
	r.Source = e.Source
	return r
}
