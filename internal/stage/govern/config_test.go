package govern

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"grace"
)

func TestValidate(t *testing.T) {
	nan, one, two := math.NaN(), 1.0, 2.0
	tests := []struct {
		key  string
		edit func(*Config)
	}{
		{"max_blast_radius", func(c *Config) { c.MaxBlastRadius = 11 }},
		{"min_confidence", func(c *Config) { c.MinConfidence = nan }},
		{"min_confidence_proactive", func(c *Config) { c.MinConfidenceProactive = 1.1 }},
		{"auto_risks", func(c *Config) { c.AutoRisks = append(c.AutoRisks, "") }},
		{"auto_impacts", func(c *Config) { c.AutoImpacts = append(c.AutoImpacts, "tiny") }},
		{"policies[1].name", func(c *Config) { c.Policies[1].Name = c.Policies[0].Name }},
		{"policies[0].name", func(c *Config) { c.Policies[0].Name = "" }},
		{"policies[0].action", func(c *Config) { c.Policies[0].Action = "heal" }},
		{"policies[1].decision", func(c *Config) { c.Policies[1].Decision = "" }},
		{"policies[1].decision", func(c *Config) { c.Policies[1].Decision = "observe" }},
		{"policies[0].conditions.impact", func(c *Config) { c.Policies[0].Conditions.Impact = OneOrMany[grace.Impact]{"low|medium"} }},
		{"policies[0].conditions.risk", func(c *Config) { c.Policies[0].Conditions.Risk = OneOrMany[grace.Risk]{"x"} }},
		{"policies[0].conditions.criticality", func(c *Config) { c.Policies[0].Conditions.Criticality = OneOrMany[grace.Criticality]{"x"} }},
		{"policies[0].conditions.blast_radius", func(c *Config) { c.Policies[0].Conditions.BlastRadius = &Bound{} }},
		{"policies[0].conditions.confidence", func(c *Config) { c.Policies[0].Conditions.Confidence = &Bound{GT: &one, LT: &nan} }},
		{"policies[0].conditions.confidence", func(c *Config) { c.Policies[0].Conditions.Confidence = &Bound{GT: &one} }},
		{"policies[0].conditions.blast_radius", func(c *Config) { c.Policies[0].Conditions.BlastRadius = &Bound{GT: &one, LT: &two} }},
	}
	for _, tt := range tests {
		cfg := DefaultConfig()
		tt.edit(&cfg)
		errs := grace.FieldErrors(cfg.Validate())
		if len(errs) != 1 || errs[0].Path != tt.key {
			t.Errorf("%s: got %v", tt.key, errs)
			continue
		}
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), errs[0].Error()) {
			t.Errorf("%s: New gave %v", tt.key, err)
		}
	}
	if err := DefaultConfig().Validate(); err != nil {
		t.Errorf("the default configuration: %v", err)
	}
}

// TestBoundCanHold: a bound is refused when no number there is fits it, and only
// then. Every limit is a multiple of a quarter, so that eighths are tries enough.
func TestBoundCanHold(t *testing.T) {
	limits := []*float64{nil}
	for _, v := range []float64{-1, 0, 0.25, 0.75, 1, 1.25, 9, 9.5, 10, 11} {
		limits = append(limits, &v)
	}
	fits := func(b Bound, most, step float64) bool {
		for v := 0.0; v <= most; v += step {
			if b.Holds(v) {
				return true
			}
		}
		return false
	}
	for _, lte := range limits {
		for _, gte := range limits {
			for _, lt := range limits {
				for _, gt := range limits {
					b := Bound{LTE: lte, GTE: gte, LT: lt, GT: gt}
					if got, want := b.canHold(10, true), fits(b, 10, 1); got != want {
						t.Fatalf("%+v: a blast radius fits: %v, want %v", b, got, want)
					}
					if got, want := b.canHold(1, false), fits(b, 1, 0.125); got != want {
						t.Fatalf("%+v: a confidence fits: %v, want %v", b, got, want)
					}
				}
			}
		}
	}
}

func TestSeedForm(t *testing.T) {
	const seed = `{"name": "x", "action": "self_heal_execute", "decision": "allow",
		"conditions": {"impact": "low", "blast_radius": {"lte": 2}, "confidence": {"gte": 0.7}, "change_window": true}}`
	var p Policy
	if err := json.Unmarshal([]byte(seed), &p); err != nil {
		t.Fatal(err)
	}
	want := defaultPolicies()[0]
	want.Name = "x"
	want.Conditions.Impact = OneOrMany[grace.Impact]{grace.ImpactLow}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func FuzzConditions(f *testing.F) {
	for _, s := range []string{
		`{"impact": "low"}`, `{"impact": ["low", "medium"]}`, `{"impact": null}`, `{"impact": []}`, `{"impact": [null]}`,
		`{"impact": {"low": 1}}`, `{"impact": 3}`, `{"blast_radius": {"lte": 1e999}}`, `{"change_window": "yes"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var c Conditions
		if err := json.Unmarshal(data, &c); err != nil {
			return
		}
		c.hold(proposal(), true)
		p := Policy{Name: "p", Action: ActionSelfHeal, Decision: "allow", Conditions: c}
		p.validate(func(string, string, ...any) {})
		written, err := json.Marshal(c)
		if err != nil {
			t.Fatalf("read but not written: %v", err)
		}
		var again Conditions
		if err := json.Unmarshal(written, &again); err != nil {
			t.Fatalf("written but not read: %v", err)
		}
		rewritten, err := json.Marshal(again)
		if err != nil || string(rewritten) != string(written) {
			t.Fatalf("%s became %s (%v)", written, rewritten, err)
		}
	})
}

// The form of UnmarshalYAML in which the decoder hands itself in.
func TestOneOrManyYAML(t *testing.T) {
	decoder := func(doc string) func(any) error {
		return func(v any) error { return json.Unmarshal([]byte(doc), v) }
	}
	for doc, want := range map[string]OneOrMany[grace.Impact]{
		`"low"`:             {grace.ImpactLow},
		`["low", "medium"]`: {grace.ImpactLow, grace.ImpactMedium},
		`[]`:                {},
	} {
		var got OneOrMany[grace.Impact]
		if err := got.UnmarshalYAML(decoder(doc)); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %v, %v", doc, got, err)
		}
	}
	var got OneOrMany[grace.Impact]
	if err := got.UnmarshalYAML(decoder(`{"lte": 2}`)); err == nil {
		t.Errorf("a mapping was read as %v", got)
	}
}
