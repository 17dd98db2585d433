package diagnose

import (
	"cmp"
	"slices"

	"grace"
)

// inhibit finds the victims: it fills causes and victims of all patients. A
// victim may be attributed to another victim as well, whose list nobody reads;
// there is always a cause at the bottom, because mayCause has no cycle and p
// depends on what its causes depend on.
func (a *Agent) inhibit(all []*suspect) {
	suspects := make([]*suspect, 0, len(all))
	ill := func(id grace.ServiceID) bool {
		i, found := slices.BinarySearchFunc(all, id, func(p *suspect, id grace.ServiceID) int { return cmp.Compare(p.id, id) })
		return found && (all[i].condition >= conditionPredicted || all[i].recovering)
	}
	for _, p := range all {
		suspects = suspects[:0]
		for _, other := range all {
			if other != p && a.mayCause(other, p, ill) {
				suspects = append(suspects, other)
			}
		}
		if len(suspects) == 0 || !a.explained(p, suspects) {
			continue
		}
		p.victim = true
		for _, s := range suspects {
			s.victims = append(s.victims, p)
		}
	}
}

// mayCause says whether a service is sick in a way that entitles it to explain
// symptoms of another. Over a cycle only one of two may: the sicker, then the
// likelier, then the earlier.
func (a *Agent) mayCause(cause, victim *suspect, ill func(grace.ServiceID) bool) bool {
	switch {
	case cause.condition == conditionSick, cause.recovering:
	case cause.condition == conditionPredicted && victim.condition == conditionPredicted:
	default:
		return false
	}
	if !a.graph.Suffers(victim.id, cause.id, ill) {
		return false
	}
	if !a.graph.DependsOn(cause.id, victim.id) {
		return true
	}
	return cmp.Or(
		cmp.Compare(cause.condition, victim.condition),
		cmp.Compare(cause.likelihood, victim.likelihood),
		victim.since.Compare(cause.since),
		cmp.Compare(victim.id, cause.id),
	) > 0
}

// explained says whether the suspects account for everything that makes p sick.
func (a *Agent) explained(p *suspect, suspects []*suspect) bool {
	down := slices.ContainsFunc(suspects, func(s *suspect) bool { return s.down })
	for i := range p.symptoms {
		s := &p.symptoms[i]
		if p.mustExplain(s) && !down && !a.book.spreads(s.code) && s.code != codeStale {
			return false
		}
	}
	return true
}

// mustExplain symptoms are the ones that a suspect must explain: of a sick service
// the serious ones, of another what there is.
func (p *suspect) mustExplain(s *symptom) bool {
	switch p.condition {
	case conditionSick:
		return s.serious()
	case conditionPredicted:
		return s.evidence == evidencePredicted
	case conditionVague:
		return s.evidence == evidenceFiring || s.evidence == evidenceStale
	}
	return true
}

// victimEvidence is what a victim's symptoms say about its cause: its heaviest
// one, once. A victim without data says nothing.
func (a *Agent) victimEvidence(victim, cause *suspect) (grace.Evidence, bool) {
	var heaviest *symptom
	for i := range victim.symptoms {
		s := &victim.symptoms[i]
		if victim.mustExplain(s) && s.evidence != evidenceStale && (heaviest == nil || s.weight > heaviest.weight) {
			heaviest = s
		}
	}
	if heaviest == nil {
		return grace.Evidence{}, false
	}
	return grace.Evidence{
		Service: victim.id, Code: heaviest.code, Signal: heaviest.key, State: heaviest.evidence.state(), Severity: heaviest.severity,
		Weight: heaviest.weight * a.cfg.Victim,
		Text:   "depends on " + string(cause.id) + ": " + heaviest.text,
	}, true
}

// impact weighs how bad it is against how much the service matters.
//
//	criticality          | hint, no data | one warning | warnings | critical | down
//	low                  | low           | low         | low      | medium   | medium
//	medium, high         | low           | medium      | medium   | medium   | medium
//	critical, unknown    | medium        | medium      | high     | high     | critical
//
// What is only predicted has the prediction's impact, or the first column's.
func (a *Agent) impact(p *suspect) grace.Impact {
	criticality := grace.CriticalityUnknown
	if s, known := a.graph.Service(p.id); known {
		criticality = s.Criticality
	}
	if p.condition == conditionPredicted {
		worst := grace.ImpactUnknown
		for _, s := range p.symptoms {
			if s.impact.Rank() > worst.Rank() {
				worst = s.impact
			}
		}
		if worst != grace.ImpactUnknown {
			return worst
		}
	}
	return impactAt(criticality, p.impactColumn())
}

// The columns of the table of impacts.
const (
	columnHint = iota
	columnWarning
	columnWarnings
	columnCritical
	columnDown
)

func impactAt(criticality grace.Criticality, column int) grace.Impact {
	const low, medium, high, critical = grace.ImpactLow, grace.ImpactMedium, grace.ImpactHigh, grace.ImpactCritical
	row := [...]grace.Impact{medium, medium, high, high, critical}
	switch criticality {
	case grace.CriticalityLow:
		row = [...]grace.Impact{low, low, low, medium, medium}
	case grace.CriticalityMedium, grace.CriticalityHigh:
		row = [...]grace.Impact{low, medium, medium, medium, medium}
	case grace.CriticalityUnknown, grace.CriticalityCritical:
	}
	return row[column]
}

// ForeseenImpact is how bad it would be if one thing of a severity came: the columns hint
// (info), one warning (also of what says nothing else) and critical of the table of impacts.
func ForeseenImpact(severity grace.Severity, criticality grace.Criticality) grace.Impact {
	switch severity {
	case grace.SeverityInfo:
		return impactAt(criticality, columnHint)
	case grace.SeverityCritical:
		return impactAt(criticality, columnCritical)
	case grace.SeverityWarning:
	}
	return impactAt(criticality, columnWarning)
}

// impactColumn is the column of the table of impacts.
func (p *suspect) impactColumn() int {
	warnings, worst := columnHint, columnHint
	for i := range p.symptoms {
		s := &p.symptoms[i]
		switch {
		case !s.serious():
		case s.severity == grace.SeverityCritical && p.code == grace.CodeServiceDown && s.code == p.code:
			worst = max(worst, columnDown)
		case s.severity == grace.SeverityCritical:
			worst = max(worst, columnCritical)
		default:
			warnings++
		}
	}
	return max(worst, min(warnings, columnWarnings))
}
