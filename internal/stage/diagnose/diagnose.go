package diagnose

import (
	"cmp"
	"slices"
	"time"

	"grace"
	"grace/internal/content"
)

// maxLikelihood: nothing is certain.
const maxLikelihood = 0.99

// Graph says who depends on whom; healthgraph.Graph is one.
type Graph interface {
	DependsOn(a, b grace.ServiceID) bool
	// Suffers is DependsOn, but for groups that are whole enough without b.
	Suffers(a, b grace.ServiceID, ill func(grace.ServiceID) bool) bool
	Service(id grace.ServiceID) (grace.Service, bool)
}

// Input is what is known at a time.
type Input struct {
	Now         time.Time
	Signals     []grace.Signal // firing and stale ones, and those that fired within the window
	Predictions []grace.Prediction
}

// Agent diagnoses. It keeps no state between calls and may be used
// concurrently.
type Agent struct {
	cfg   Config
	graph Graph
	book  ruleSet
}

// New makes an agent. It expects a config that Validate passed.
func New(cfg Config, g Graph) *Agent {
	return &Agent{cfg: cfg, graph: g, book: newRuleSet(rules())}
}

// Diagnose gives one diagnosis for every sick cause, most urgent first:
// reactive before proactive, then by impact, likelihood and age.
func (a *Agent) Diagnose(in Input) []grace.Diagnosis {
	all := a.patients(in)
	a.inhibit(all)
	var out []grace.Diagnosis
	for _, p := range all {
		if p.victim || p.code == "" {
			continue
		}
		if d := a.diagnosis(p, in.Now); d.Likelihood >= a.cfg.MinLikelihood {
			out = append(out, d)
		}
	}
	slices.SortFunc(out, mostUrgentFirst)
	return out
}

func (a *Agent) diagnosis(p *suspect, now time.Time) grace.Diagnosis {
	likelihood, evidence := a.evidence(p, p.code)
	d := grace.Diagnosis{
		ID:       grace.DiagnosisID("d-" + content.ID(p.id, p.code, p.since)), // the same as long as the same condition lasts
		Code:     p.code,
		Cause:    p.id,
		Kind:     grace.TriggerReactive,
		Impact:   a.impact(p),
		Severity: p.severity(),
		Since:    p.since,
		At:       now,
		Evidence: evidence,
	}
	against := 1 - likelihood
	for _, v := range p.victims {
		if e, ok := a.victimEvidence(v, p); ok {
			d.Victims = append(d.Victims, v.id)
			d.Evidence = append(d.Evidence, e)
			against *= 1 - e.Weight
		}
	}
	d.Likelihood = min(1-against, maxLikelihood)
	if p.proactive() {
		d.Kind = grace.TriggerProactive
		d.BreachAt = p.breachAt()
	}
	return d
}

// evidence weighs the patient's own symptoms for a code and gives those that
// count, heaviest first.
func (a *Agent) evidence(p *suspect, code grace.Code) (float64, []grace.Evidence) {
	type witness struct {
		grace.Evidence
		metric  string
		symptom grace.Code
	}
	witnesses := make([]witness, 0, len(p.symptoms))
	for i := range p.symptoms {
		s := &p.symptoms[i]
		factor := a.book.factor(code, s.code)
		if w := s.weight * factor; w > 0 {
			witnesses = append(witnesses, witness{
				Evidence: grace.Evidence{
					Service: p.id, Code: evidenceCode(s), Signal: s.key, State: s.evidence.state(), Severity: s.severity, Weight: w, Text: s.text,
				},
				metric: s.metric, symptom: s.code,
			})
		}
	}
	slices.SortStableFunc(witnesses, func(x, y witness) int { return cmp.Compare(y.Weight, x.Weight) })
	against := 1.0
	out := make([]grace.Evidence, 0, len(witnesses))
	for i, w := range witnesses {
		echo := slices.ContainsFunc(witnesses[:i], func(earlier witness) bool {
			return earlier.metric == w.metric && earlier.symptom == w.symptom
		})
		if echo {
			w.Weight *= a.cfg.Echo
		}
		against *= 1 - w.Weight
		out = append(out, w.Evidence)
	}
	return 1 - against, out
}

// evidenceCode hides the inner name of missing data.
func evidenceCode(s *symptom) grace.Code {
	if s.code == codeStale {
		return grace.CodeDegradation
	}
	return s.code
}

// severity is the worst of the signals that fire.
func (p *suspect) severity() grace.Severity {
	worst := grace.Severity("")
	for i := range p.symptoms {
		s := &p.symptoms[i]
		if s.evidence == evidenceFiring && s.severity.Rank() > worst.Rank() {
			worst = s.severity
		}
	}
	return worst
}

// proactive: the code was predicted and does not fire.
func (p *suspect) proactive() bool {
	predicted := false
	for _, s := range p.symptoms {
		if s.code != p.code {
			continue
		}
		if s.evidence == evidenceFiring {
			return false
		}
		predicted = predicted || s.evidence == evidencePredicted
	}
	return predicted
}

func (p *suspect) breachAt() *time.Time {
	var first *time.Time
	for _, s := range p.symptoms {
		if s.breachAt != nil && s.code == p.code && (first == nil || s.breachAt.Before(*first)) {
			first = s.breachAt
		}
	}
	return first
}

func mostUrgentFirst(a, b grace.Diagnosis) int {
	return cmp.Or(
		cmp.Compare(kindRank(a.Kind), kindRank(b.Kind)),
		cmp.Compare(b.Impact.Rank(), a.Impact.Rank()),
		cmp.Compare(b.Likelihood, a.Likelihood),
		a.Since.Compare(b.Since),
		cmp.Compare(a.Cause, b.Cause),
	)
}

func kindRank(k grace.TriggerKind) int {
	if k == grace.TriggerProactive {
		return 1
	}
	return 0
}
