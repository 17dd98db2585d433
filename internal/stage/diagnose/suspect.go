package diagnose

import (
	"cmp"
	"slices"
	"time"

	"grace"
)

// evidenceState of a piece of evidence, the weakest first.
type evidenceState int

const (
	evidenceStale evidenceState = iota
	evidenceRecovered
	evidencePredicted
	evidenceFiring
)

// state is the signal's; a prediction has none.
func (s evidenceState) state() grace.SignalState {
	switch s {
	case evidenceFiring:
		return grace.SignalFiring
	case evidenceRecovered:
		return grace.SignalOK
	case evidenceStale:
		return grace.SignalStale
	case evidencePredicted:
	}
	return grace.SignalUnknown
}

// symptom is one signal or prediction, weighed.
type symptom struct {
	evidence evidenceState
	code     grace.Code
	metric   string
	severity grace.Severity
	weight   float64 // before the rule's factor
	key      grace.SignalKey
	text     string
	since    time.Time
	fired    time.Time  // of a recovered signal
	breachAt *time.Time // of a prediction
	impact   grace.Impact
}

// serious symptoms make a service sick; the others are hints.
func (s *symptom) serious() bool {
	return s.evidence == evidenceFiring && s.severity.Serious()
}

// condition of a service: how much it is entitled to explain the symptoms of
// others.
type condition int

const (
	conditionVague     condition = iota // hints or missing data only
	conditionPredicted                  // going to be sick
	conditionSick                       // a serious symptom fires
)

// suspect is a service with symptoms.
type suspect struct {
	id         grace.ServiceID
	symptoms   []symptom
	condition  condition
	down       bool // by a serious symptom of its own, or was a moment ago
	recovering bool // something serious fired a moment ago

	code       grace.Code // the best fit, by its own symptoms
	likelihood float64
	since      time.Time

	victim  bool // its symptoms are attributed to others
	victims []*suspect
}

// patients sorts symptoms by service and finds what fits each best.
func (a *Agent) patients(in Input) []*suspect {
	byID := map[grace.ServiceID]*suspect{}
	add := func(id grace.ServiceID, s symptom) {
		p := byID[id]
		if p == nil {
			p = &suspect{id: id}
			byID[id] = p
		}
		p.symptoms = append(p.symptoms, s)
	}
	for _, s := range newestOfEach(in.Signals) {
		if sym, ok := a.weigh(s, in.Now); ok {
			add(s.Service, sym)
		}
	}
	for _, p := range in.Predictions {
		if p.Service != "" && p.Likelihood > 0 {
			add(p.Service, foresee(p))
		}
	}
	out := make([]*suspect, 0, len(byID))
	for _, p := range byID {
		slices.SortFunc(p.symptoms, func(a, b symptom) int {
			return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.evidence, b.evidence), cmp.Compare(a.code, b.code))
		})
		a.score(p, in.Now)
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b *suspect) int { return cmp.Compare(a.id, b.id) })
	return out
}

// newestOfEach drops older words of the same signal.
func newestOfEach(signals []grace.Signal) []grace.Signal {
	newest := make(map[grace.SignalKey]int, len(signals))
	out := make([]grace.Signal, 0, len(signals))
	for _, s := range signals {
		i, seen := newest[s.Key]
		switch {
		case s.Service == "":
		case !seen || s.Key == "":
			newest[s.Key] = len(out)
			out = append(out, s)
		case s.Since.After(out[i].Since):
			out[i] = s
		}
	}
	return out
}

func (a *Agent) weigh(s grace.Signal, now time.Time) (symptom, bool) {
	out := symptom{
		code: cmp.Or(s.Code, grace.CodeDegradation), metric: s.Metric, severity: s.Severity,
		weight: a.cfg.severity(s.Severity), key: s.Key, since: s.Since,
		text: cmp.Or(s.Message, s.Metric+" "+string(s.State)),
	}
	switch s.State {
	case grace.SignalFiring:
		if s.Flapping && s.Passing || s.Silenced != "" {
			return out, false // for people to look at: it weighs nothing and makes no victims
		}
		out.evidence = evidenceFiring
		return out, true
	case grace.SignalStale:
		out.evidence, out.code, out.weight = evidenceStale, codeStale, a.cfg.Stale
		return out, true
	case grace.SignalOK:
		age, window := now.Sub(s.Fired), a.cfg.Window.D()
		// What fired at a time to come did so before the clock was set back.
		if s.Fired.IsZero() || age >= window || age < -a.cfg.Aftermath.D() {
			return out, false
		}
		age = max(age, 0)
		out.evidence, out.fired = evidenceRecovered, s.Fired
		out.weight *= a.cfg.Recovered * (1 - float64(age)/float64(window))
		out.text = "recovered " + age.Truncate(time.Second).String() + " ago: " + out.text
		return out, true
	case grace.SignalUnknown, grace.SignalUnstable:
	}
	return out, false
}

func foresee(p grace.Prediction) symptom {
	breachAt := p.BreachAt
	// At is renewed by every look. Waiting for other symptoms from it would wait
	// for as long as the looks are no further apart than the wait.
	since := p.At
	if p.Published != nil {
		since = *p.Published
	}
	return symptom{
		evidence: evidencePredicted, code: cmp.Or(p.Code, grace.CodeDegradation), metric: p.Metric,
		weight: min(p.Likelihood, 1), key: p.Key, since: since, breachAt: &breachAt, impact: p.Impact,
		text: cmp.Or(p.Title, p.Metric) + ", expected at " + breachAt.UTC().Format("15:04:05 MST"),
	}
}

// score finds the patient's condition and the code that fits best.
func (a *Agent) score(p *suspect, now time.Time) {
	for i := range p.symptoms {
		s := &p.symptoms[i]
		switch {
		case s.serious():
			p.condition = conditionSick
			p.down = p.down || s.code == grace.CodeServiceDown
		case s.evidence == evidencePredicted:
			p.condition = max(p.condition, conditionPredicted)
		case s.evidence == evidenceRecovered:
			if s.severity.Serious() && now.Sub(s.fired) <= a.cfg.Aftermath.D() {
				p.recovering = true
				p.down = p.down || s.code == grace.CodeServiceDown
			}
		}
	}
	best := -1.0
	for _, code := range a.candidates(p) {
		likelihood, _ := a.evidence(p, code)
		// The margin keeps rounding from deciding what the order should.
		if likelihood > best+1e-9 {
			best, p.code = likelihood, code
		}
	}
	p.likelihood = max(best, 0)
	p.since = oldest(p)
}

// candidates gives the codes that may be the answer, specific ones first:
// those that fire, or that are predicted where nothing serious fires. Where
// data only stopped there is none: that GRACE does not see a service is told to
// people, and is no reason to do anything to it.
func (a *Agent) candidates(p *suspect) []grace.Code {
	var codes []grace.Code
	for i := range p.symptoms {
		s := &p.symptoms[i]
		named := s.evidence == evidenceFiring || (s.evidence == evidencePredicted && p.condition != conditionSick)
		if named && !slices.Contains(codes, s.code) {
			codes = append(codes, s.code)
		}
	}
	slices.SortFunc(codes, func(x, y grace.Code) int {
		return cmp.Or(cmp.Compare(a.book.rank(x), a.book.rank(y)), cmp.Compare(x, y))
	})
	return codes
}

// oldest gives the time of the oldest symptom of the highest standing.
func oldest(p *suspect) time.Time {
	var since time.Time
	best := evidenceStale
	for _, s := range p.symptoms {
		switch {
		case s.evidence == evidenceRecovered:
		case s.evidence > best || since.IsZero() || (s.evidence == best && s.since.Before(since)):
			best, since = max(best, s.evidence), s.since
		}
	}
	return since
}
