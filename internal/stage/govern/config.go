package govern

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"grace"
)

// The two actions a policy can be about.
const (
	// ActionSelfHeal is asked for reactive and manual proposals.
	ActionSelfHeal = "self_heal_execute"
	// ActionSelfHealProactive is asked for proposals that rest on a prediction.
	ActionSelfHealProactive = "self_heal_execute_proactive"
)

// Config is everything the trust core is told by an operator.
type Config struct {
	Policies []Policy `yaml:"policies" json:"policies" doc:"deny beats require_approval beats allow; when none matches, a person is asked"`
	// Windows are the change windows. Without any, every time is inside.
	Windows                []Window                `yaml:"-" json:"windows"`
	MaxBlastRadius         int                     `yaml:"max_blast_radius" json:"max_blast_radius" doc:"largest number of dependent services that is acted on without a person"`
	MinConfidence          float64                 `yaml:"min_confidence" json:"min_confidence" doc:"smallest confidence, of a reactive or manual proposal"`
	MinConfidenceProactive float64                 `yaml:"min_confidence_proactive" json:"min_confidence_proactive" doc:"smallest confidence, of a proposal that rests on a prediction"`
	AutoRisks              OneOrMany[grace.Risk]   `yaml:"auto_risks" json:"auto_risks" doc:"risks of playbooks that may run without a person"`
	AutoImpacts            OneOrMany[grace.Impact] `yaml:"auto_impacts" json:"auto_impacts" doc:"impacts of playbooks that may run without a person"`
	AutoproveLowRisk       bool                    `yaml:"autoprove_low_risk" json:"autoprove_low_risk" doc:"off: a person is asked even for a playbook of low risk, and so for all"`
	Execute                bool                    `yaml:"execute" json:"execute" doc:"off: everything is decided and recorded, nothing is done"`
	ObserveOnly            bool                    `yaml:"observe_only" json:"observe_only" doc:"on: as if the mode were never more than observe_only"`
	PredictiveShadow       bool                    `yaml:"predictive_shadow" json:"predictive_shadow" doc:"on: what predictions propose is recorded and not done"`
}

// DefaultConfig gives the guardrails that hold when nothing is said. They
// permit what the default policies allow; that GRACE at first only observes is
// a matter of the mode, which is an input of Decide.
func DefaultConfig() Config {
	return Config{
		Policies:               defaultPolicies(),
		MaxBlastRadius:         2,
		MinConfidence:          0.7,
		MinConfidenceProactive: 0.8,
		AutoRisks:              OneOrMany[grace.Risk]{grace.RiskLow, grace.RiskMedium},
		AutoImpacts:            OneOrMany[grace.Impact]{grace.ImpactLow, grace.ImpactMedium},
		AutoproveLowRisk:       true,
		Execute:                true,
		PredictiveShadow:       true,
	}
}

func defaultPolicies() []Policy {
	conditions := func(confidence float64) Conditions {
		radius, inside := 2.0, true
		return Conditions{
			Impact:       OneOrMany[grace.Impact]{grace.ImpactLow, grace.ImpactMedium},
			BlastRadius:  &Bound{LTE: &radius},
			Confidence:   &Bound{GTE: &confidence},
			ChangeWindow: &inside,
		}
	}
	return []Policy{
		{Name: "self_heal", Action: ActionSelfHeal, Decision: string(grace.VerdictAllow), Conditions: conditions(0.7)},
		{Name: "self_heal_proactive", Action: ActionSelfHealProactive, Decision: string(grace.VerdictAllow), Conditions: conditions(0.8)},
	}
}

// Validate joins every fault; each is a [grace.FieldError], of
// policies[1].decision for example.
func (c Config) Validate() error {
	var errs []error
	fault := func(key, format string, args ...any) {
		errs = append(errs, grace.Field(key, format, args...))
	}
	if c.MaxBlastRadius < 0 || c.MaxBlastRadius > 10 {
		fault("max_blast_radius", "%d: want 0 to 10", c.MaxBlastRadius)
	}
	confidence := func(key string, v float64) {
		if !(v >= 0 && v <= 1) { // so that NaN fails too
			fault(key, "%v: want 0 to 1", v)
		}
	}
	confidence("min_confidence", c.MinConfidence)
	confidence("min_confidence_proactive", c.MinConfidenceProactive)
	checkEnum(fault, "auto_risks", c.AutoRisks, risks(), normalRisk)
	checkEnum(fault, "auto_impacts", c.AutoImpacts, impacts(), same[grace.Impact])

	names := make(map[string]int)
	for i, p := range c.Policies {
		key := fmt.Sprintf("policies[%d]", i)
		if first, taken := names[p.Name]; taken && p.Name != "" {
			fault(key+".name", "%q is also the name of policies[%d]; names are how a decision refers to its policy", p.Name, first)
		}
		names[p.Name] = i
		p.validate(func(sub, format string, args ...any) { fault(key+"."+sub, format, args...) })
	}
	_, err := NewSchedule(c.Windows)
	return errors.Join(append(errs, grace.Under("change_windows", err))...)
}

type faultFunc func(key, format string, args ...any)

func risks() []grace.Risk { return []grace.Risk{grace.RiskLow, grace.RiskMedium, grace.RiskHigh} }

func impacts() []grace.Impact {
	return []grace.Impact{grace.ImpactLow, grace.ImpactMedium, grace.ImpactHigh, grace.ImpactCritical}
}

func levels() []grace.Criticality {
	return []grace.Criticality{grace.CriticalityLow, grace.CriticalityMedium, grace.CriticalityHigh, grace.CriticalityCritical}
}

func checkEnum[T ~string](fault faultFunc, key string, got, known []T, read func(T) T) {
	for _, v := range got {
		if !slices.Contains(known, read(v)) {
			fault(key, "%q: want one of %v", v, known)
		}
	}
}

func same[T any](v T) T { return v }

// normalRisk reads the seed's word for a medium risk.
func normalRisk(r grace.Risk) grace.Risk {
	if r == "moderate" {
		return grace.RiskMedium
	}
	return r
}

// OneOrMany is a list that may be written as its single value: "low" is
// ["low"].
type OneOrMany[T ~string] []T

// UnmarshalYAML reads a list or one value.
func (l *OneOrMany[T]) UnmarshalYAML(unmarshal func(any) error) error { return l.decode(unmarshal) }

// UnmarshalJSON reads a list or one value.
func (l *OneOrMany[T]) UnmarshalJSON(data []byte) error {
	return l.decode(func(v any) error { return json.Unmarshal(data, v) })
}

func (l *OneOrMany[T]) decode(unmarshal func(any) error) error {
	var many []T
	if err := unmarshal(&many); err == nil {
		*l = many
		return nil
	}
	var one T
	if err := unmarshal(&one); err != nil {
		return fmt.Errorf("want one value or a list of values: %w", err)
	}
	*l = OneOrMany[T]{one}
	return nil
}
