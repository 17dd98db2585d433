package govern

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"grace"
	"grace/internal/explain"
)

var now = time.Date(2026, 3, 2, 9, 31, 0, 0, time.UTC) // a Monday

func proposal() grace.Proposal {
	return grace.Proposal{
		ID: "p-1", Code: grace.CodeLatencySpike, Kind: grace.TriggerReactive, Service: "api", Playbook: "scale_up_instances",
		Risk: grace.RiskLow, Auto: true, Impact: grace.ImpactLow, BlastRadius: 1, Confidence: 0.85,
		Criticality: grace.CriticalityHigh,
	}
}

var gateOrder = []string{
	"mode", "execute", "playbook_auto", "autoprove_low_risk", "risk", "impact", "blast_radius", "confidence",
	"change_window", "critical_target", "predictive_shadow", "policy",
}

func TestDecide(t *testing.T) {
	type in = Input
	policy := func(name, decision string, c Conditions) Policy {
		return Policy{Name: name, Action: ActionSelfHeal, Decision: decision, Conditions: c}
	}
	yes, no, three := true, false, 3.0
	tests := []struct {
		name   string
		edit   func(*Config, *in)
		want   grace.Verdict
		policy string
		failed map[string]grace.ReasonCode
	}{
		{"all gates pass", func(*Config, *in) {}, grace.VerdictAllow, "self_heal", nil},
		{"manual is judged like reactive", func(_ *Config, i *in) { i.Proposal.Kind = grace.TriggerManual }, grace.VerdictAllow, "self_heal", nil},
		{"moderate is medium", func(_ *Config, i *in) { i.Proposal.Risk = "moderate" }, grace.VerdictAllow, "self_heal", nil},

		{"stopped", func(_ *Config, i *in) { i.Mode = grace.ModeStopped }, grace.VerdictDeny, "", map[string]grace.ReasonCode{"mode": grace.ReasonModeStopped}},
		{"ask always", func(_ *Config, i *in) { i.Mode = grace.ModeAskAlways }, grace.VerdictRequireApproval, "", map[string]grace.ReasonCode{"mode": grace.ReasonModeAsk}},
		{"observe only", func(_ *Config, i *in) { i.Mode = grace.ModeObserveOnly }, grace.VerdictObserve, "", map[string]grace.ReasonCode{"mode": grace.ReasonModeObserve}},
		{"no mode observes", func(_ *Config, i *in) { i.Mode = "" }, grace.VerdictObserve, "", map[string]grace.ReasonCode{"mode": grace.ReasonModeObserve}},
		{"unknown mode observes", func(_ *Config, i *in) { i.Mode = "turbo" }, grace.VerdictObserve, "", map[string]grace.ReasonCode{"mode": grace.ReasonModeObserve}},
		{"observe by configuration", func(c *Config, _ *in) { c.ObserveOnly = true }, grace.VerdictObserve, "", map[string]grace.ReasonCode{"mode": grace.ReasonModeObserve}},
		{"observe by configuration, asking", func(c *Config, i *in) { c.ObserveOnly = true; i.Mode = grace.ModeAskAlways }, grace.VerdictObserve, "", map[string]grace.ReasonCode{"mode": grace.ReasonModeObserve}},
		{"stopped beats observe by configuration", func(c *Config, i *in) { c.ObserveOnly = true; i.Mode = grace.ModeStopped }, grace.VerdictDeny, "", map[string]grace.ReasonCode{"mode": grace.ReasonModeStopped}},
		{"execute off", func(c *Config, _ *in) { c.Execute = false }, grace.VerdictObserve, "", map[string]grace.ReasonCode{"execute": grace.ReasonExecuteOff}},

		{"not auto", func(_ *Config, i *in) { i.Proposal.Auto = false }, grace.VerdictRequireApproval, "", map[string]grace.ReasonCode{"playbook_auto": grace.ReasonNotAuto}},
		{"autoprove off", func(c *Config, _ *in) { c.AutoproveLowRisk = false }, grace.VerdictRequireApproval, "", map[string]grace.ReasonCode{"autoprove_low_risk": grace.ReasonLowRiskOff}},
		{"high risk", func(_ *Config, i *in) { i.Proposal.Risk = grace.RiskHigh }, grace.VerdictRequireApproval, "", map[string]grace.ReasonCode{"risk": grace.ReasonRisk}},
		{"unknown risk", func(_ *Config, i *in) { i.Proposal.Risk = "" }, grace.VerdictRequireApproval, "", map[string]grace.ReasonCode{"risk": grace.ReasonRisk}},
		{"high impact", func(_ *Config, i *in) { i.Proposal.Impact = grace.ImpactHigh }, grace.VerdictRequireApproval, "", map[string]grace.ReasonCode{"impact": grace.ReasonImpact, "policy": grace.ReasonNoPolicy}},
		{"blast radius at the limit", func(_ *Config, i *in) { i.Proposal.BlastRadius = 2 }, grace.VerdictAllow, "self_heal", nil},
		{"blast radius over it", func(_ *Config, i *in) { i.Proposal.BlastRadius = 3 }, grace.VerdictRequireApproval, "", map[string]grace.ReasonCode{"blast_radius": grace.ReasonBlastRadius, "policy": grace.ReasonNoPolicy}},
		{"confidence at the limit", func(_ *Config, i *in) { i.Proposal.Confidence = 0.7 }, grace.VerdictAllow, "self_heal", nil},
		{"confidence under it", func(_ *Config, i *in) { i.Proposal.Confidence = 0.69999 }, grace.VerdictRequireApproval, "", map[string]grace.ReasonCode{"confidence": grace.ReasonLowConfidence, "policy": grace.ReasonNoPolicy}},
		{"confidence is no number", func(_ *Config, i *in) { i.Proposal.Confidence = math.NaN() }, grace.VerdictRequireApproval, "", map[string]grace.ReasonCode{"confidence": grace.ReasonLowConfidence, "policy": grace.ReasonNoPolicy}},
		{"outside the window", func(c *Config, _ *in) { c.Windows = []Window{{Start: "22:00", End: "06:00"}} }, grace.VerdictRequireApproval, "", map[string]grace.ReasonCode{"change_window": grace.ReasonOutsideWindow, "policy": grace.ReasonNoPolicy}},
		{"critical target", func(_ *Config, i *in) { i.Proposal.Criticality = grace.CriticalityCritical }, grace.VerdictRequireApproval, "", map[string]grace.ReasonCode{"critical_target": grace.ReasonCriticalTarget}},
		{"unknown target", func(_ *Config, i *in) { i.Proposal.Criticality = "" }, grace.VerdictRequireApproval, "", map[string]grace.ReasonCode{"critical_target": grace.ReasonCriticalTarget}},

		{"proactive in shadow", func(_ *Config, i *in) { i.Proposal.Kind = grace.TriggerProactive }, grace.VerdictObserve, "", map[string]grace.ReasonCode{"predictive_shadow": grace.ReasonShadow}},
		{"proactive", func(c *Config, i *in) { c.PredictiveShadow = false; i.Proposal.Kind = grace.TriggerProactive }, grace.VerdictAllow, "self_heal_proactive", nil},
		{"proactive wants more confidence", func(c *Config, i *in) {
			c.PredictiveShadow = false
			i.Proposal.Kind, i.Proposal.Confidence = grace.TriggerProactive, 0.79
		}, grace.VerdictRequireApproval, "", map[string]grace.ReasonCode{"confidence": grace.ReasonLowConfidence, "policy": grace.ReasonNoPolicy}},
		{"unknown kind", func(c *Config, i *in) { c.PredictiveShadow = false; i.Proposal.Kind = "" }, grace.VerdictRequireApproval, "", map[string]grace.ReasonCode{"policy": grace.ReasonNoPolicy}},

		{"no policies", func(c *Config, _ *in) { c.Policies = nil }, grace.VerdictRequireApproval, "", map[string]grace.ReasonCode{"policy": grace.ReasonNoPolicy}},
		{"deny beats approval beats allow", func(c *Config, _ *in) {
			c.Policies = append(c.Policies, policy("ask", "require_approval", Conditions{}), policy("no_api", "deny", Conditions{Service: OneOrMany[grace.ServiceID]{"db", "api"}}))
		}, grace.VerdictDeny, "no_api", map[string]grace.ReasonCode{"policy": grace.ReasonPolicyDeny}},
		{"approval beats allow", func(c *Config, _ *in) {
			c.Policies = append(c.Policies, policy("ask", "require_approval", Conditions{}))
		}, grace.VerdictRequireApproval, "ask", map[string]grace.ReasonCode{"policy": grace.ReasonPolicyApproval}},
		{"deny beats observing", func(c *Config, i *in) {
			i.Mode = grace.ModeObserveOnly
			c.Policies = []Policy{policy("never", "deny", Conditions{})}
		}, grace.VerdictDeny, "never", map[string]grace.ReasonCode{"mode": grace.ReasonModeObserve, "policy": grace.ReasonPolicyDeny}},
		{"a policy of other proposals", func(c *Config, _ *in) {
			c.Policies = append(c.Policies,
				policy("a", "deny", Conditions{Playbook: OneOrMany[grace.PlaybookID]{"restart_service"}}),
				policy("b", "deny", Conditions{Code: OneOrMany[grace.Code]{"capacity"}}),
				policy("c", "deny", Conditions{Criticality: OneOrMany[grace.Criticality]{"low"}}),
				policy("d", "deny", Conditions{Risk: OneOrMany[grace.Risk]{"moderate"}}),
				policy("e", "deny", Conditions{ChangeWindow: &no}),
				policy("f", "deny", Conditions{BlastRadius: &Bound{GTE: &three}}),
				Policy{Name: "g", Action: ActionSelfHealProactive, Decision: "deny"})
		}, grace.VerdictAllow, "self_heal", nil},
		{"a moderate risk in a policy is medium", func(c *Config, i *in) {
			i.Proposal.Risk = grace.RiskMedium
			c.Policies = append(c.Policies, policy("d", "deny", Conditions{Risk: OneOrMany[grace.Risk]{"moderate"}, ChangeWindow: &yes}))
		}, grace.VerdictDeny, "d", map[string]grace.ReasonCode{"policy": grace.ReasonPolicyDeny}},
		{"a policy cannot lift a gate", func(c *Config, i *in) {
			i.Proposal.BlastRadius = 3
			c.Policies = []Policy{policy("all", "allow", Conditions{})}
		}, grace.VerdictRequireApproval, "", map[string]grace.ReasonCode{"blast_radius": grace.ReasonBlastRadius}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg, input := DefaultConfig(), Input{Now: now, Mode: grace.ModeAutonomous, Proposal: proposal()}
			tt.edit(&cfg, &input)
			a, err := New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			verdict, policy, reasons := a.Decide(input)
			if verdict != tt.want || policy != tt.policy {
				t.Errorf("got %s by %q, want %s by %q\n%v", verdict, policy, tt.want, tt.policy, reasons)
			}
			checkReasons(t, reasons, tt.failed)
		})
	}
}

func checkReasons(t *testing.T, reasons []grace.Reason, failed map[string]grace.ReasonCode) {
	t.Helper()
	var gates []string
	got := map[string]grace.ReasonCode{}
	for _, r := range reasons {
		gates = append(gates, r.Gate)
		if explain.Actual(r) == "" || explain.Required(r) == "" || !r.OK && explain.Hint(r) == "" {
			t.Errorf("incomplete reason %+v", r)
		}
		if r.OK != (r.Code == grace.ReasonPassed) {
			t.Errorf("ok and code disagree: %+v", r)
		}
		if !r.OK {
			got[r.Gate] = r.Code
		}
	}
	if diff := cmp.Diff(gateOrder, gates); diff != "" {
		t.Errorf("gates (-want +got):\n%s", diff)
	}
	if failed == nil {
		failed = map[string]grace.ReasonCode{}
	}
	if diff := cmp.Diff(failed, got); diff != "" {
		t.Errorf("failed gates (-want +got):\n%s", diff)
	}
}

func TestReasonSaysWhenTheWindowOpens(t *testing.T) {
	a := windows(t, Window{Start: "22:00", End: "06:00"})
	_, _, reasons := a.Decide(Input{Now: now, Mode: grace.ModeAutonomous, Proposal: proposal()})
	i := slices.IndexFunc(reasons, func(r grace.Reason) bool { return r.Gate == "change_window" })
	if !strings.Contains(explain.Required(reasons[i]), "2026-03-02T22:00:00Z") {
		t.Errorf("%q does not tell the next opening", explain.Required(reasons[i]))
	}
}

func TestAgentKeepsItsConfiguration(t *testing.T) {
	cfg := DefaultConfig()
	a, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Policies[0].Decision = "deny"
	if v, _, _ := a.Decide(Input{Now: now, Mode: grace.ModeAutonomous, Proposal: proposal()}); v != grace.VerdictAllow {
		t.Errorf("got %s after the caller's configuration changed", v)
	}
}

// mostly draws a value that passes its gate, and sometimes any other: when all
// gates were drawn evenly, hardly a proposal would get past all of them.
func mostly[T any](t *rapid.T, what string, good T, other *rapid.Generator[T]) T {
	if rapid.IntRange(0, 7).Draw(t, what+" is good") > 0 {
		return good
	}
	return other.Draw(t, what)
}

func drawConfig(t *rapid.T) Config {
	cfg := DefaultConfig()
	confidence := rapid.Float64Range(0, 1)
	cfg.MaxBlastRadius = rapid.IntRange(1, 4).Draw(t, "max_blast_radius")
	cfg.MinConfidence = mostly(t, "min_confidence", 0.7, confidence)
	cfg.MinConfidenceProactive = mostly(t, "min_confidence_proactive", 0.8, confidence)
	cfg.AutoRisks = rapid.SliceOfNDistinct(rapid.SampledFrom(risks()), 2, 3, rapid.ID).Draw(t, "auto_risks")
	cfg.AutoImpacts = rapid.SliceOfNDistinct(rapid.SampledFrom(impacts()), 3, 4, rapid.ID).Draw(t, "auto_impacts")
	cfg.AutoproveLowRisk = mostly(t, "autoprove", true, rapid.Bool())
	cfg.Execute = mostly(t, "execute", true, rapid.Bool())
	cfg.ObserveOnly = mostly(t, "observe", false, rapid.Bool())
	cfg.PredictiveShadow = mostly(t, "shadow", false, rapid.Bool())
	cfg.Policies = []Policy{{Name: "all", Action: ActionSelfHeal, Decision: "allow"}, {Name: "all too", Action: ActionSelfHealProactive, Decision: "allow"}}
	if rapid.Bool().Draw(t, "another policy") {
		cfg.Policies = append(cfg.Policies, drawPolicy(t))
	}
	for range rapid.IntRange(0, 2).Draw(t, "windows") {
		cfg.Windows = append(cfg.Windows, drawWindow(t))
	}
	return cfg
}

func drawPolicy(t *rapid.T) Policy {
	p := Policy{
		Name:     rapid.StringMatching(`[a-z]{12}`).Draw(t, "name"),
		Action:   rapid.SampledFrom([]string{ActionSelfHeal, ActionSelfHealProactive}).Draw(t, "action"),
		Decision: rapid.SampledFrom([]string{"allow", "deny", "require_approval"}).Draw(t, "decision"),
	}
	if rapid.Bool().Draw(t, "by confidence") {
		v := rapid.Float64Range(0, 1).Draw(t, "gte")
		p.Conditions.Confidence = &Bound{GTE: &v}
	}
	if rapid.Bool().Draw(t, "by window") {
		v := rapid.Bool().Draw(t, "inside")
		p.Conditions.ChangeWindow = &v
	}
	return p
}

func drawInput(t *rapid.T) Input {
	p := proposal()
	p.Kind = rapid.SampledFrom([]grace.TriggerKind{grace.TriggerReactive, grace.TriggerProactive, grace.TriggerManual}).Draw(t, "kind")
	p.Risk = rapid.SampledFrom(risks()).Draw(t, "risk")
	p.Impact = rapid.SampledFrom(impacts()).Draw(t, "impact")
	p.BlastRadius = rapid.IntRange(0, 4).Draw(t, "blast_radius")
	p.Confidence = mostly(t, "confidence", 0.9, rapid.Float64Range(0, 1))
	p.Criticality = mostly(t, "criticality", grace.CriticalityLow, rapid.SampledFrom(levels()))
	p.Auto = mostly(t, "auto", true, rapid.Bool())
	modes := []grace.Mode{grace.ModeAskAlways, grace.ModeObserveOnly, grace.ModeStopped, ""}
	return Input{
		Now:      time.Unix(rapid.Int64Range(1_750_000_000, 1_850_000_000).Draw(t, "now"), 0),
		Mode:     mostly(t, "mode", grace.ModeAutonomous, rapid.SampledFrom(modes)),
		Proposal: p,
	}
}

const guardrails = 14

// tighten gives a configuration and input in which one guardrail permits less.
func tighten(t *rapid.T, which int, cfg Config, in Input) (Config, Input) {
	cfg.Policies = slices.Clone(cfg.Policies)
	switch which {
	case 0:
		cfg.MaxBlastRadius = rapid.IntRange(0, cfg.MaxBlastRadius).Draw(t, "lower")
	case 1:
		cfg.MinConfidence = rapid.Float64Range(cfg.MinConfidence, 1).Draw(t, "higher")
	case 2:
		cfg.MinConfidenceProactive = rapid.Float64Range(cfg.MinConfidenceProactive, 1).Draw(t, "higher")
	case 3:
		cfg.AutoRisks = cfg.AutoRisks[1:]
	case 4:
		cfg.AutoImpacts = cfg.AutoImpacts[1:]
	case 5:
		cfg.AutoproveLowRisk = false
	case 6:
		cfg.Execute = false
	case 7:
		cfg.ObserveOnly = true
	case 8:
		cfg.PredictiveShadow = true
	case 9: // another policy that says no
		p := drawPolicy(t)
		p.Decision = rapid.SampledFrom([]string{"deny", "require_approval"}).Draw(t, "no")
		cfg.Policies = slices.Insert(cfg.Policies, rapid.IntRange(0, len(cfg.Policies)).Draw(t, "place"), p)
	case 10: // one policy less that says yes
		i := slices.IndexFunc(cfg.Policies, func(p Policy) bool { return p.Decision == "allow" })
		cfg.Policies = slices.Delete(cfg.Policies, i, i+1)
	case 11: // the first window, or one less of several
		switch len(cfg.Windows) {
		case 0:
			cfg.Windows = []Window{drawWindow(t)}
		case 1:
		default:
			cfg.Windows = cfg.Windows[1:]
		}
	case 12:
		in.Mode = rapid.SampledFrom([]grace.Mode{grace.ModeAskAlways, grace.ModeObserveOnly, grace.ModeStopped, ""}).Draw(t, "mode")
	case 13:
		in.Proposal.Auto = false
	}
	return cfg, in
}

func TestTighteningNeverAllows(t *testing.T) {
	verdicts := map[grace.Verdict]int{}
	rapid.Check(t, func(t *rapid.T) {
		cfg, in := drawConfig(t), drawInput(t)
		loose, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		before, _, _ := loose.Decide(in)
		verdicts[before]++
		for which := range guardrails {
			tightCfg, tightIn := tighten(t, which, cfg, in)
			tight, err := New(tightCfg)
			if err != nil {
				t.Fatal(err)
			}
			after, _, reasons := tight.Decide(tightIn)
			if before != grace.VerdictAllow && after == grace.VerdictAllow {
				t.Fatalf("%s became allow: %v", before, reasons)
			}
		}
	})
	if verdicts[grace.VerdictAllow] == 0 || len(verdicts) < 4 {
		t.Errorf("the draws got %v: too one-sided to show anything", verdicts)
	}
}

func TestVerdictFollowsFromReasons(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, err := New(drawConfig(t))
		if err != nil {
			t.Fatal(err)
		}
		in := drawInput(t)
		verdict, policy, reasons := a.Decide(in)
		passed := !slices.ContainsFunc(reasons, func(r grace.Reason) bool { return !r.OK })
		if passed != (verdict == grace.VerdictAllow) {
			t.Fatalf("%s with reasons %v", verdict, reasons)
		}
		again, policyAgain, reasonsAgain := a.Decide(in)
		if again != verdict || policyAgain != policy || !cmp.Equal(reasons, reasonsAgain) {
			t.Fatal("the same question got two answers")
		}
	})
}

func BenchmarkDecide(b *testing.B) {
	a := windows(b, Window{Start: "22:00", End: "06:00", TimeZone: "Europe/Berlin"})
	in := Input{Now: now, Mode: grace.ModeAutonomous, Proposal: proposal()}
	b.ReportAllocs()
	for b.Loop() {
		a.Decide(in)
	}
}
