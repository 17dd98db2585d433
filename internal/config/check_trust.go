package config

import (
	"fmt"
	"slices"
	"strings"

	"grace"
	"grace/internal/stage/govern"
)

// guardrail is a limit of the trust core that policies repeat: what it lets
// through runs without a person only when a policy lets it through as well.
type guardrail struct {
	key     string
	actions []string
	value   string
	fits    func(govern.Conditions) bool
}

func guardrails(t govern.Config) []guardrail {
	both := []string{govern.ActionSelfHeal, govern.ActionSelfHealProactive}
	holds := func(b *govern.Bound, v float64) bool { return b == nil || b.Holds(v) }
	out := []guardrail{
		{"max_blast_radius", both, fmt.Sprintf("a blast radius of %d", t.MaxBlastRadius), func(c govern.Conditions) bool { return holds(c.BlastRadius, float64(t.MaxBlastRadius)) }},
		{"min_confidence", both[:1], fmt.Sprintf("a confidence of %g", t.MinConfidence), func(c govern.Conditions) bool { return holds(c.Confidence, t.MinConfidence) }},
		{"min_confidence_proactive", both[1:], fmt.Sprintf("a confidence of %g", t.MinConfidenceProactive), func(c govern.Conditions) bool { return holds(c.Confidence, t.MinConfidenceProactive) }},
	}
	for _, i := range t.AutoImpacts {
		out = append(out, guardrail{"auto_impacts", both, "impact " + string(i), func(c govern.Conditions) bool {
			return len(c.Impact) == 0 || slices.Contains(c.Impact, i)
		}})
	}
	for _, r := range t.AutoRisks {
		out = append(out, guardrail{"auto_risks", both, "risk " + string(r), func(c govern.Conditions) bool {
			return len(c.Risk) == 0 || slices.Contains(c.Risk, r)
		}})
	}
	return out
}

// checkTrap warns of a guardrail that was loosened while every policy still
// holds to the old value: nothing would change, and nothing would say why.
func (c *checker) checkTrap() {
	t, at := c.file.Trust.Config, c.root.key("trust")
	if at.failed() {
		return
	}
	for _, g := range guardrails(t) {
		if !at.key(g.key).given() {
			continue
		}
		for _, action := range g.actions {
			var names []string
			passes := false
			for _, p := range t.Policies {
				if p.Action == action && p.Decision == string(grace.VerdictAllow) {
					names = append(names, p.Name)
					passes = passes || g.fits(p.Conditions)
				}
			}
			if !passes && len(names) > 0 {
				at.key(g.key).warn(policyHint(t, at.key("policies").given()), "%s is allowed here, but the policy %s does not let it through: a person is asked all the same",
					g.value, strings.Join(names, ", "))
				break // the other action's policies say the same
			}
		}
	}
	c.checkTightPolicies(at, t)
}

// policyHint gives policies that follow the guardrails.
func policyHint(t govern.Config, own bool) string {
	if own {
		return "change the policy's conditions as well"
	}
	one := func(name, action string, confidence float64) string {
		return fmt.Sprintf("{name: %s, action: %s, decision: allow, conditions: {impact: [%s], blast_radius: {lte: %d}, confidence: {gte: %g}, change_window: true}}",
			name, action, strings.Join(texts(t.AutoImpacts...), ", "), t.MaxBlastRadius, confidence)
	}
	return "the default policies repeat the number; give them anew, under trust: policies: [" +
		one("self_heal", govern.ActionSelfHeal, t.MinConfidence) + ", " + one("self_heal_proactive", govern.ActionSelfHealProactive, t.MinConfidenceProactive) + "]"
}

// checkTightPolicies warns of the reverse: a policy that allows what a
// guardrail holds back.
func (c *checker) checkTightPolicies(at spot, t govern.Config) {
	for i, p := range t.Policies {
		conditions := at.key("policies").item(i).key("conditions")
		if !conditions.given() || p.Decision != string(grace.VerdictAllow) {
			continue
		}
		if b := p.Conditions.BlastRadius; b != nil && b.LTE != nil && *b.LTE > float64(t.MaxBlastRadius) {
			conditions.key("blast_radius").warn(fmt.Sprintf("raise trust.max_blast_radius to %g, or lower lte", *b.LTE),
				"trust.max_blast_radius is %d: above it a person is asked all the same", t.MaxBlastRadius)
		}
		floor := t.MinConfidence
		if p.Action == govern.ActionSelfHealProactive {
			floor = t.MinConfidenceProactive
		}
		if b := p.Conditions.Confidence; b != nil && b.GTE != nil && *b.GTE < floor {
			conditions.key("confidence").warn("lower the guardrail under trust, or raise gte", "the guardrail's confidence is %g: below it a person is asked all the same", floor)
		}
	}
}
