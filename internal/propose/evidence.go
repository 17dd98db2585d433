package propose

import "grace"

// EvidenceState says what the newest evidence says of a condition. The zero
// value is a "no".
type EvidenceState string

// Evidence states. Only what is fresh leads to an action.
const (
	EvidenceUnconfirmed EvidenceState = ""         // nothing has been seen since the start, or since the configuration changed
	EvidenceFresh       EvidenceState = "fresh"    // the newest sample shows the condition
	EvidenceCleared     EvidenceState = "cleared"  // it is gone
	EvidencePassing     EvidenceState = "passing"  // it is not over, but passed when last seen
	EvidenceNoData      EvidenceState = "no_data"  // its data stopped
	EvidenceSilenced    EvidenceState = "silenced" // a person or its source keeps it silent
)

// Evidence is what is known of the condition that a diagnosis names.
type Evidence struct {
	State EvidenceState
	Text  string // for people: which signal, and what it says
}

// Waits tells whether time may make the evidence fresh.
func (e Evidence) Waits() bool { return e.State != EvidenceFresh && e.State != EvidenceCleared }

// Reason is the gate "evidence": no action without a fresh one.
func (e Evidence) Reason() grace.Reason {
	const required = "fresh evidence that the condition is there"
	code, hint := grace.ReasonUnconfirmed, "the next sample decides"
	switch e.State {
	case EvidenceFresh, EvidenceUnconfirmed:
	case EvidenceCleared:
		code, hint = grace.ReasonCleared, "nothing to do: what has passed needs no remedy"
	case EvidencePassing:
		code, hint = grace.ReasonUnstable, "nothing is done to a service while it passes; if it goes on changing a person is told"
	case EvidenceNoData:
		code, hint = grace.ReasonNoData, "find out why its data stopped: grace sensors"
	case EvidenceSilenced:
		code, hint = grace.ReasonSilenced, "grace silence list shows who silenced what; a silence of the alert's source ends there"
	}
	text := e.Text
	if text == "" {
		text = "nothing was seen yet"
	}
	return gate("evidence", e.State == EvidenceFresh, code, text, required, hint)
}
