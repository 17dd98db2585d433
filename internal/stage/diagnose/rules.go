package diagnose

import "grace"

// codeStale is the symptom of a signal without data. It is not a diagnosis.
const codeStale grace.Code = "stale"

// How much of a symptom's weight counts for a code.
const (
	explains = 1.0 // the code is the reason of the symptom
	agrees   = 0.4 // both are often seen together
	hints    = 0.2
)

// rule says what is evidence for a code besides its own symptom: the factor
// that a symptom's weight is taken by.
type rule struct {
	code     grace.Code
	evidence map[grace.Code]float64
	// spreads: a sick dependency causes this symptom in its dependents.
	// Otherwise only a dependency that is down does.
	spreads bool
}

// rules is the table, the more specific code first: that is who wins a tie.
//
// What a code explains must itself be taken by at least the factors of the
// explained code (a test holds this). So the explaining code is at least as
// likely as the explained one, and a new symptom never makes the answer less
// likely.
func rules() []rule {
	return []rule{
		{code: grace.CodeServiceDown, evidence: map[grace.Code]float64{
			grace.CodeFlagIssue:          explains,
			grace.CodeCircuitBreakerOpen: explains,
			grace.CodeCacheCold:          explains,
			grace.CodeCapacity:           explains,
			grace.CodeElevatedErrors:     explains,
			grace.CodeLatencySpike:       explains,
			grace.CodeDegradation:        explains,
			grace.CodeInvestigation:      explains,
			codeStale:                    agrees,
		}},
		{code: grace.CodeFlagIssue, evidence: map[grace.Code]float64{
			grace.CodeCircuitBreakerOpen: explains,
			grace.CodeElevatedErrors:     explains,
			grace.CodeLatencySpike:       explains,
			grace.CodeDegradation:        explains,
			grace.CodeInvestigation:      explains,
			codeStale:                    hints,
		}},
		{code: grace.CodeCircuitBreakerOpen, spreads: true, evidence: map[grace.Code]float64{
			grace.CodeElevatedErrors: explains,
			grace.CodeLatencySpike:   agrees,
			grace.CodeDegradation:    explains,
			grace.CodeInvestigation:  explains,
			codeStale:                hints,
		}},
		{code: grace.CodeCacheCold, evidence: map[grace.Code]float64{
			grace.CodeLatencySpike:   explains,
			grace.CodeElevatedErrors: agrees,
			grace.CodeDegradation:    explains,
			grace.CodeInvestigation:  explains,
			codeStale:                hints,
		}},
		{code: grace.CodeCapacity, evidence: map[grace.Code]float64{
			grace.CodeLatencySpike:   explains,
			grace.CodeElevatedErrors: agrees,
			grace.CodeDegradation:    explains,
			grace.CodeInvestigation:  explains,
			codeStale:                hints,
		}},
		{code: grace.CodeElevatedErrors, spreads: true, evidence: map[grace.Code]float64{
			grace.CodeLatencySpike:  agrees,
			grace.CodeDegradation:   explains,
			grace.CodeInvestigation: explains,
			codeStale:               hints,
		}},
		{code: grace.CodeLatencySpike, spreads: true, evidence: map[grace.Code]float64{
			grace.CodeElevatedErrors: agrees,
			grace.CodeDegradation:    explains,
			grace.CodeInvestigation:  explains,
			codeStale:                hints,
		}},
		// Here stand the codes that configuration brings; see customRule.
		{code: grace.CodeDegradation, spreads: true, evidence: map[grace.Code]float64{
			grace.CodeInvestigation: explains,
			codeStale:               hints,
		}},
		{code: grace.CodeInvestigation, spreads: true, evidence: map[grace.Code]float64{
			codeStale: hints,
		}},
	}
}

// customRule is the rule of a code that the table does not know: as specific
// as its author made it, so it explains only a vague degradation.
func customRule(code grace.Code) rule {
	return rule{code: code, evidence: map[grace.Code]float64{
		grace.CodeDegradation:   explains,
		grace.CodeInvestigation: explains,
		codeStale:               hints,
	}}
}

// ruleSet is the table made ready for look-up.
type ruleSet struct {
	rules map[grace.Code]rule
	order map[grace.Code]int
}

func newRuleSet(table []rule) ruleSet {
	b := ruleSet{rules: make(map[grace.Code]rule, len(table)), order: make(map[grace.Code]int, len(table))}
	for i, r := range table {
		b.rules[r.code] = r
		b.order[r.code] = 2 * i
	}
	return b
}

func (b ruleSet) factor(code, symptom grace.Code) float64 {
	if code == symptom {
		return 1
	}
	r, known := b.rules[code]
	if !known {
		r = customRule(code)
	}
	if _, known := b.rules[symptom]; !known && symptom != codeStale && code == grace.CodeServiceDown {
		return explains // whatever else is wrong, down explains it
	}
	return r.evidence[symptom]
}

// rank orders codes from specific to general; a custom one stands just before
// the vague ones.
func (b ruleSet) rank(code grace.Code) int {
	if i, known := b.order[code]; known {
		return i
	}
	return b.order[grace.CodeDegradation] - 1
}

func (b ruleSet) spreads(code grace.Code) bool { return b.rules[code].spreads }
