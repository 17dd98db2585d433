package govern

import (
	"math"
	"slices"

	"grace"
)

// Policy is one rule of an operator: for an action, when all its conditions
// hold, its decision counts.
type Policy struct {
	Name       string     `yaml:"name" json:"name" doc:"unique; a decision names the policy that settled it"`
	Action     string     `yaml:"action" json:"action" enum:"self_heal_execute,self_heal_execute_proactive" doc:"what is asked for; proactive rests on a prediction"`
	Decision   string     `yaml:"decision" json:"decision" enum:"allow,deny,require_approval" doc:"what counts when all conditions hold"`
	Conditions Conditions `yaml:"conditions" json:"conditions" doc:"what is not given is not asked; within a list one value must fit"`
}

// Conditions narrow a policy. What is not given is not asked; a policy without
// any matches every proposal of its action. Within a list one value must fit.
type Conditions struct {
	Impact       OneOrMany[grace.Impact]      `yaml:"impact,omitempty" json:"impact,omitempty" doc:"of the playbook; one value or a list"`
	Risk         OneOrMany[grace.Risk]        `yaml:"risk,omitempty" json:"risk,omitempty" doc:"of the playbook; one value or a list"`
	BlastRadius  *Bound                       `yaml:"blast_radius,omitempty" json:"blast_radius,omitempty" doc:"number of dependent services"`
	Confidence   *Bound                       `yaml:"confidence,omitempty" json:"confidence,omitempty" doc:"of the proposal, 0 to 1"`
	ChangeWindow *bool                        `yaml:"change_window,omitempty" json:"change_window,omitempty" doc:"true: only inside a change window; false: only outside"`
	Service      OneOrMany[grace.ServiceID]   `yaml:"service,omitempty" json:"service,omitempty" doc:"the target"`
	Playbook     OneOrMany[grace.PlaybookID]  `yaml:"playbook,omitempty" json:"playbook,omitempty" doc:"the playbook's id"`
	Code         OneOrMany[grace.Code]        `yaml:"code,omitempty" json:"code,omitempty" doc:"the diagnosis"`
	Criticality  OneOrMany[grace.Criticality] `yaml:"criticality,omitempty" json:"criticality,omitempty" doc:"of the target"`
}

// Bound is a condition on a number; everything that is given must hold.
type Bound struct {
	LTE *float64 `yaml:"lte,omitempty" json:"lte,omitempty" doc:"at most"`
	GTE *float64 `yaml:"gte,omitempty" json:"gte,omitempty" doc:"at least"`
	LT  *float64 `yaml:"lt,omitempty" json:"lt,omitempty" doc:"less than"`
	GT  *float64 `yaml:"gt,omitempty" json:"gt,omitempty" doc:"greater than"`
}

// Holds tells whether v is within the bound. NaN never is.
func (b Bound) Holds(v float64) bool {
	return !math.IsNaN(v) &&
		(b.LTE == nil || v <= *b.LTE) && (b.GTE == nil || v >= *b.GTE) &&
		(b.LT == nil || v < *b.LT) && (b.GT == nil || v > *b.GT)
}

func (p Policy) validate(fault faultFunc) {
	if p.Name == "" {
		fault("name", "missing; a decision names the policy that settled it")
	}
	if p.Action != ActionSelfHeal && p.Action != ActionSelfHealProactive {
		fault("action", "%q: want %s or %s", p.Action, ActionSelfHeal, ActionSelfHealProactive)
	}
	if strength(grace.Verdict(p.Decision)) == 0 {
		fault("decision", "%q: want allow, deny or require_approval", p.Decision)
	}
	c := p.Conditions
	checkEnum(fault, "conditions.impact", c.Impact, impacts(), same[grace.Impact])
	checkEnum(fault, "conditions.risk", c.Risk, risks(), normalRisk)
	checkEnum(fault, "conditions.criticality", c.Criticality, levels(), same[grace.Criticality])
	c.BlastRadius.validate("conditions.blast_radius", 10, true, fault)
	c.Confidence.validate("conditions.confidence", 1, false, fault)
}

// validate looks at a bound of numbers from 0 to most, whole ones or any.
func (b *Bound) validate(key string, most float64, whole bool, fault faultFunc) {
	if b == nil {
		return
	}
	given, numbers := 0, true
	for _, v := range []*float64{b.LTE, b.GTE, b.LT, b.GT} {
		if v == nil {
			continue
		}
		given++
		if math.IsNaN(*v) || math.IsInf(*v, 0) {
			fault(key, "%v is not a number to compare with", *v)
			numbers = false
		}
	}
	switch {
	case given == 0:
		fault(key, "empty: want lte, gte, lt or gt with a number")
	case numbers && !b.canHold(most, whole):
		fault(key, "holds for no number from 0 to %g, so that the policy never matches; change it, or remove the policy", most)
	}
}

// canHold tells whether the bound holds for any number that there is. One that
// holds for some holds for an end of all of them, for a limit of its own, or next
// to one.
func (b *Bound) canHold(most float64, whole bool) bool {
	tries := []float64{0, most}
	for _, v := range []*float64{b.LTE, b.GTE, b.LT, b.GT} {
		if v != nil {
			tries = append(tries, *v, math.Nextafter(*v, math.Inf(1)), math.Nextafter(*v, math.Inf(-1)))
		}
	}
	for v := 0.0; whole && v <= most; v++ {
		tries = append(tries, v)
	}
	return slices.ContainsFunc(tries, func(v float64) bool {
		return v >= 0 && v <= most && (!whole || v == math.Trunc(v)) && b.Holds(v)
	})
}

func (c Conditions) hold(p grace.Proposal, inWindow bool) bool {
	return fits(c.Impact, p.Impact) && fits(c.Risk, p.Risk) &&
		fits(c.Service, p.Service) && fits(c.Playbook, p.Playbook) &&
		fits(c.Code, p.Code) && fits(c.Criticality, p.Criticality) &&
		(c.BlastRadius == nil || c.BlastRadius.Holds(float64(p.BlastRadius))) &&
		(c.Confidence == nil || c.Confidence.Holds(p.Confidence)) &&
		(c.ChangeWindow == nil || *c.ChangeWindow == inWindow)
}

func fits[T ~string](wanted []T, v T) bool {
	return len(wanted) == 0 || slices.Contains(wanted, v)
}

// strength orders the decisions of policies: the strongest that matches wins.
func strength(decision grace.Verdict) int {
	switch decision {
	case grace.VerdictDeny:
		return 3
	case grace.VerdictRequireApproval:
		return 2
	case grace.VerdictAllow:
		return 1
	case grace.VerdictObserve, grace.VerdictNone:
		return 0
	}
	return 0
}

// settle finds the strongest policy that matches; the first of equals.
func (a *Agent) settle(p grace.Proposal, action string, inWindow bool) (Policy, bool) {
	var best Policy
	for _, policy := range a.cfg.Policies {
		if policy.Action == action && strength(grace.Verdict(policy.Decision)) > strength(grace.Verdict(best.Decision)) &&
			policy.Conditions.hold(p, inWindow) {
			best = policy
		}
	}
	return best, best.Action != ""
}

func policyReason(policy Policy, found bool, action string, considered int) grace.Reason {
	r := grace.Reason{Gate: "policy", Required: string(grace.VerdictAllow)}
	if !found {
		r.Code, r.Actual, r.Source = grace.ReasonNoPolicy, float64(considered), "action/"+action
		return r
	}
	r.Actual, r.Source = policy.Decision, "policy/"+policy.Name
	switch grace.Verdict(policy.Decision) {
	case grace.VerdictAllow:
		r.OK, r.Code = true, grace.ReasonPassed
	case grace.VerdictRequireApproval:
		r.Code = grace.ReasonPolicyApproval
	case grace.VerdictDeny, grace.VerdictObserve, grace.VerdictNone:
		r.Code = grace.ReasonPolicyDeny
	}
	return r
}
