// Package govern is the trust core: it judges a proposal and says whether
// GRACE may act by herself, must ask a person, may only look on, or must not.
//
// # Verdicts
//
// A verdict is the strictest that any gate asks for, in this order:
//
//	deny              the mode is stopped, or a policy denies
//	observe           the mode only observes, execution is off, or the
//	                  proposal rests on a prediction and those are in shadow
//	require_approval  any other gate failed, or no policy allows
//	allow             every gate passed
//
// # Gates
//
// [Agent.Decide] judges all gates every time, whatever the first ones say, and
// returns one [grace.Reason] for each, in this order: mode, execute,
// playbook_auto, autoprove_low_risk, risk, impact, blast_radius, confidence,
// change_window, critical_target, predictive_shadow, policy. A passed one has
// the code "passed". What is not known (a risk, an impact, a criticality, a
// kind of trigger, a mode) is judged as the value that permits least.
//
// A manual proposal, one a person asked for, is judged like a reactive one:
// who may ask is not yet who may approve.
//
// Tightening any guardrail never turns a verdict into allow; a property test
// holds this.
//
// # Purity
//
// An Agent never changes: a new configuration is a new Agent. It may be used
// by several goroutines at once. Same configuration and input, same verdict.
// Only [New] and [Config.Validate] look up time zones.
package govern

import (
	"fmt"
	"slices"
	"time"

	"grace"
	"grace/internal/gate"
)

// Agent judges proposals by one configuration.
type Agent struct {
	cfg     Config
	windows []window
}

// New reads a configuration. The error joins everything Validate finds.
func New(cfg Config) (*Agent, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("trust core configuration: %w", err)
	}
	a := &Agent{cfg: cfg}
	a.cfg.AutoRisks = normalRisks(cfg.AutoRisks)
	a.cfg.Policies = slices.Clone(cfg.Policies)
	for i := range a.cfg.Policies {
		c := &a.cfg.Policies[i].Conditions
		c.Risk = normalRisks(c.Risk)
	}
	open, err := NewSchedule(cfg.Windows)
	if err != nil {
		return nil, fmt.Errorf("change windows: %w", err)
	}
	a.windows = open.windows
	return a, nil
}

func normalRisks(in []grace.Risk) []grace.Risk {
	out := make([]grace.Risk, len(in))
	for i, r := range in {
		out[i] = normalRisk(r)
	}
	return out
}

// InWindow tells whether changes are welcome now. When not, opens is the next
// time a window opens; it is zero when open, and when no window opens within
// three weeks. Without windows every time is inside.
func (a *Agent) InWindow(now time.Time) (open bool, opens time.Time) {
	if len(a.windows) == 0 {
		return true, time.Time{}
	}
	for _, w := range a.windows {
		in, next := w.at(now)
		if in {
			return true, time.Time{}
		}
		if !next.IsZero() && (opens.IsZero() || next.Before(opens)) {
			opens = next
		}
	}
	return false, opens
}

// Input is one question to the trust core. Mode is the mode in force.
type Input struct {
	Now      time.Time
	Mode     grace.Mode
	Proposal grace.Proposal
}

// Decide judges a proposal. policy is the name of the policy that settled the
// verdict, empty when a gate did or none matched. reasons hold every gate.
func (a *Agent) Decide(in Input) (v grace.Verdict, policy string, reasons []grace.Reason) {
	p := in.Proposal
	p.Risk = normalRisk(p.Risk)
	open, opens := a.InWindow(in.Now)

	v = grace.VerdictAllow
	add := func(r grace.Reason, otherwise grace.Verdict) {
		reasons = append(reasons, r)
		if !r.OK {
			v = stricter(v, otherwise)
		}
	}
	modeReason, modeVerdict := a.mode(in.Mode)
	add(modeReason, modeVerdict)
	add(a.execute(), grace.VerdictObserve)
	for _, r := range a.limits(p) {
		add(r, grace.VerdictRequireApproval)
	}
	add(a.changeWindow(open, opens), grace.VerdictRequireApproval)
	add(criticalTarget(p), grace.VerdictRequireApproval)
	add(a.shadow(p.Kind), grace.VerdictObserve)

	action := policyAction(p.Kind)
	matched, found := a.settle(p, action, open)
	r := policyReason(matched, found, action, len(a.cfg.Policies))
	if found {
		add(r, grace.Verdict(matched.Decision))
	} else {
		add(r, grace.VerdictRequireApproval)
	}
	if found && grace.Verdict(matched.Decision) == v {
		policy = matched.Name
	}
	return v, policy, reasons
}

// stricter gives the verdict that permits less.
func stricter(a, b grace.Verdict) grace.Verdict {
	order := []grace.Verdict{grace.VerdictDeny, grace.VerdictObserve, grace.VerdictRequireApproval, grace.VerdictAllow}
	i, j := slices.Index(order, a), slices.Index(order, b)
	if i < 0 || j < 0 {
		return grace.VerdictDeny
	}
	return order[min(i, j)]
}

func policyAction(kind grace.TriggerKind) string {
	switch kind {
	case grace.TriggerReactive, grace.TriggerManual:
		return ActionSelfHeal
	case grace.TriggerProactive:
		return ActionSelfHealProactive
	}
	return "" // of no policy
}

func (a *Agent) mode(mode grace.Mode) (grace.Reason, grace.Verdict) {
	code, verdict := grace.ReasonModeObserve, grace.VerdictObserve
	switch mode {
	case grace.ModeStopped:
		code, verdict = grace.ReasonModeStopped, grace.VerdictDeny
	case grace.ModeAskAlways:
		code, verdict = grace.ReasonModeAsk, grace.VerdictRequireApproval
	case grace.ModeAutonomous:
		verdict = grace.VerdictAllow
	case grace.ModeObserveOnly:
	}
	source := ""
	if a.cfg.ObserveOnly && verdict != grace.VerdictDeny {
		source = "configuration"
		code, verdict = grace.ReasonModeObserve, grace.VerdictObserve
	}
	r := gate.New("mode", verdict == grace.VerdictAllow, code, named(mode), string(grace.ModeAutonomous))
	r.Source = source
	return r, verdict
}

func (a *Agent) execute() grace.Reason {
	return gate.New("execute", a.cfg.Execute, grace.ReasonExecuteOff, a.cfg.Execute, true)
}

// limits are the guardrails on the proposal itself.
func (a *Agent) limits(p grace.Proposal) []grace.Reason {
	c := a.cfg
	minimum := c.MinConfidence
	if p.Kind == grace.TriggerProactive {
		minimum = c.MinConfidenceProactive
	} else if policyAction(p.Kind) == "" {
		minimum = max(c.MinConfidence, c.MinConfidenceProactive)
	}
	auto := gate.New("playbook_auto", p.Auto, grace.ReasonNotAuto, p.Auto, true)
	auto.Source = "playbook/" + string(p.Playbook)
	confidence := gate.New("confidence", p.Confidence >= minimum && p.Confidence <= 1, grace.ReasonLowConfidence, p.Confidence, minimum)
	confidence.Source = "kind/" + string(p.Kind)
	return []grace.Reason{
		auto,
		gate.New("autoprove_low_risk", c.AutoproveLowRisk, grace.ReasonLowRiskOff, c.AutoproveLowRisk, true),
		gate.New("risk", p.Risk != grace.RiskUnknown && slices.Contains(c.AutoRisks, p.Risk), grace.ReasonRisk, named(p.Risk), wordsOf(c.AutoRisks)),
		gate.New("impact", p.Impact != grace.ImpactUnknown && slices.Contains(c.AutoImpacts, p.Impact), grace.ReasonImpact, named(p.Impact), wordsOf(c.AutoImpacts)),
		gate.New("blast_radius", p.BlastRadius >= 0 && p.BlastRadius <= c.MaxBlastRadius, grace.ReasonBlastRadius,
			float64(p.BlastRadius), float64(c.MaxBlastRadius)),
		confidence,
	}
}

// Window is the gate of the change windows at a time.
func (a *Agent) Window(now time.Time) grace.Reason {
	open, opens := a.InWindow(now)
	return a.changeWindow(open, opens)
}

func (a *Agent) changeWindow(open bool, opens time.Time) grace.Reason {
	actual := "inside"
	switch {
	case len(a.windows) == 0:
		actual = "no windows"
	case !open:
		actual = "outside"
	}
	r := gate.New("change_window", open, grace.ReasonOutsideWindow, actual, nil)
	if !opens.IsZero() {
		r.Until = &opens
	}
	return r
}

func criticalTarget(p grace.Proposal) grace.Reason {
	ok := p.Criticality != grace.CriticalityUnknown && p.Criticality != grace.CriticalityCritical
	return gate.New("critical_target", ok, grace.ReasonCriticalTarget, named(p.Criticality),
		wordsOf([]grace.Criticality{grace.CriticalityLow, grace.CriticalityMedium, grace.CriticalityHigh}))
}

func (a *Agent) shadow(kind grace.TriggerKind) grace.Reason {
	proactive := kind != grace.TriggerReactive && kind != grace.TriggerManual
	r := gate.New("predictive_shadow", !proactive || !a.cfg.PredictiveShadow, grace.ReasonShadow, a.cfg.PredictiveShadow, false)
	r.Source = "kind/" + named(kind)
	return r
}

func named[T ~string](v T) string {
	if v == "" {
		return "unknown"
	}
	return string(v)
}

func wordsOf[T ~string](list []T) []string {
	words := make([]string, len(list))
	for i, v := range list {
		words[i] = string(v)
	}
	return words
}
