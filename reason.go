package grace

import (
	"encoding/json"
	"fmt"
	"time"
)

// Reason is one gate's verdict: what was found, what would have been needed, and
// who or what says so, as values. internal/explain words it for people.
//
// Actual and Required are nil, a string, a bool, a float64, a []string or
// [Numbers], so that a reason is the same before it was stored and after.
type Reason struct {
	Gate     string     `json:"gate" doc:"the gate or limit that spoke, for example blast_radius"`
	Code     ReasonCode `json:"code"`
	OK       bool       `json:"ok"`
	Actual   any        `json:"actual,omitempty" doc:"what was found: text, a number, a list of words, or named numbers"`
	Required any        `json:"required,omitempty" doc:"what would have been needed, in the same way"`
	Unit     string     `json:"unit,omitempty" doc:"of the numbers"`
	Until    *time.Time `json:"until,omitempty" doc:"from when on time alone lets it pass"`
	Source   string     `json:"source,omitempty" doc:"what says so, as kind/id: a signal, a run, a policy, a playbook, a silence"`
}

// Numbers are several numbers that were found or needed together, by name.
type Numbers map[string]float64

// UnmarshalJSON reads a reason into the types that its stages make.
func (r *Reason) UnmarshalJSON(data []byte) error {
	type plain Reason
	if err := json.Unmarshal(data, (*plain)(r)); err != nil {
		return err //nolint:wrapcheck // names the field
	}
	var err error
	if r.Actual, err = reasonValue(r.Actual); err != nil {
		return fmt.Errorf("actual: %w", err)
	}
	if r.Required, err = reasonValue(r.Required); err != nil {
		return fmt.Errorf("required: %w", err)
	}
	return nil
}

func reasonValue(v any) (any, error) {
	switch v := v.(type) {
	case []any:
		words := make([]string, len(v))
		for i, w := range v {
			word, ok := w.(string)
			if !ok {
				return nil, fmt.Errorf("%v is not a word", w)
			}
			words[i] = word
		}
		return words, nil
	case map[string]any:
		numbers := make(Numbers, len(v))
		for name, n := range v {
			number, ok := n.(float64)
			if !ok {
				return nil, fmt.Errorf("%s: %v is not a number", name, n)
			}
			numbers[name] = number
		}
		return numbers, nil
	}
	return v, nil
}

// ReasonCode says why a stage said no (or "passed"). The codes are stored:
// append-only.
type ReasonCode string

// The reasons of propose, govern and heal.
const (
	ReasonPassed          ReasonCode = "passed"
	ReasonOverridden      ReasonCode = "overridden" // a person lets it pass
	ReasonLowConfidence   ReasonCode = "low_confidence"
	ReasonDuplicate       ReasonCode = "duplicate"
	ReasonRateLimited     ReasonCode = "rate_limited"
	ReasonBackoff         ReasonCode = "backoff"
	ReasonStorm           ReasonCode = "storm_breaker"
	ReasonConeBusy        ReasonCode = "cone_busy"
	ReasonConcurrency     ReasonCode = "concurrency"
	ReasonNoPlaybook      ReasonCode = "no_playbook"
	ReasonNoBinding       ReasonCode = "no_binding"
	ReasonCleared         ReasonCode = "trigger_cleared"
	ReasonUnconfirmed     ReasonCode = "evidence_unconfirmed"
	ReasonUnstable        ReasonCode = "unstable"
	ReasonNoData          ReasonCode = "no_data"
	ReasonSilenced        ReasonCode = "silenced"
	ReasonUndeclared      ReasonCode = "undeclared_service"
	ReasonRedundancy      ReasonCode = "redundancy"
	ReasonHalfDone        ReasonCode = "left_half_done"
	ReasonAborted         ReasonCode = "aborted_by_person"
	ReasonInhibited       ReasonCode = "inhibited"
	ReasonBadParameters   ReasonCode = "bad_parameters"
	ReasonDoNothing       ReasonCode = "do_nothing_ranks_higher"
	ReasonShadow          ReasonCode = "predictive_shadow"
	ReasonNotAuto         ReasonCode = "playbook_not_auto"
	ReasonRisk            ReasonCode = "risk_too_high"
	ReasonImpact          ReasonCode = "impact_too_high"
	ReasonBlastRadius     ReasonCode = "blast_radius_too_large"
	ReasonOutsideWindow   ReasonCode = "outside_change_window"
	ReasonCriticalTarget  ReasonCode = "critical_target"
	ReasonModeAsk         ReasonCode = "mode_ask_always"
	ReasonModeObserve     ReasonCode = "mode_observe_only"
	ReasonModeStopped     ReasonCode = "mode_stopped"
	ReasonExecuteOff      ReasonCode = "execute_off"
	ReasonLowRiskOff      ReasonCode = "autoprove_low_risk_off"
	ReasonPolicyDeny      ReasonCode = "policy_deny"
	ReasonPolicyApproval  ReasonCode = "policy_requires_approval"
	ReasonNoPolicy        ReasonCode = "no_matching_policy"
	ReasonApprovalDenied  ReasonCode = "approval_denied"
	ReasonApprovalExpired ReasonCode = "approval_expired"
)
