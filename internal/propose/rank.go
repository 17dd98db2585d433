package propose

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"grace"
)

// candidate is a bound playbook with what was learned about it.
type candidate struct {
	playbook   grace.Playbook
	score      float64
	trials     float64
	parameters map[string]any
}

// choose gives the best playbook for the diagnosis. Without one, reasons hold
// a "no" for each that was looked at.
func (a *Agent) choose(in Input, service grace.Service) (best candidate, reasons []grace.Reason, found bool) {
	d := in.Diagnosis
	var ranked []candidate
	var refused []grace.Reason
	triggered := 0
	for _, p := range in.Playbooks {
		if !slices.Contains(p.Triggers, d.Code) {
			continue
		}
		triggered++
		bound, ok := p.Bind(service)
		if !ok {
			refused = append(refused, gate("playbook", false, grace.ReasonNoBinding,
				string(p.ID)+" has no steps for "+string(service.ID), "a binding of the playbook to the service",
				fmt.Sprintf("say what %s means for %s under services.bindings", p.ID, service.ID)))
			continue
		}
		if len(in.Arguments) > 0 {
			bound.Arguments = maps.Clone(bound.Arguments)
			if bound.Arguments == nil {
				bound.Arguments = map[string]any{}
			}
			maps.Copy(bound.Arguments, in.Arguments)
		}
		score, trials := a.ranker.Rank(service.ID, d.Code, p.ID, in.Now)
		ranked = append(ranked, candidate{playbook: bound, score: score, trials: trials})
	}
	slices.SortFunc(ranked, a.compare)
	slices.SortFunc(refused, func(x, y grace.Reason) int { return strings.Compare(x.Actual, y.Actual) })
	for _, c := range ranked {
		if r := in.override(a.refuse(in, &c)); !r.OK {
			refused = append(refused, r)
			continue
		}
		if !found {
			best, found = c, true
		}
	}
	if found {
		return best, []grace.Reason{a.chosen(best, ranked, refused)}, true
	}
	if triggered == 0 {
		refused = append(refused, gate("playbook", false, grace.ReasonNoPlaybook,
			fmt.Sprintf("none of %d playbooks is triggered by %s", len(in.Playbooks), d.Code),
			"a playbook with this trigger", "add "+string(d.Code)+" to the triggers of a playbook that helps"))
	}
	return best, refused, false
}

// refuse looks whether one candidate may be proposed, and fills its parameters
// in when it may.
func (a *Agent) refuse(in Input, c *candidate) grace.Reason {
	id := string(c.playbook.ID)
	parameters, err := ResolveParameters(c.playbook)
	if err != nil {
		return gate("playbook", false, grace.ReasonBadParameters, id+": "+strings.ReplaceAll(err.Error(), "\n", "; "),
			"arguments within the bounds of their parameters", "mend the arguments in the playbook or in its binding")
	}
	c.parameters = parameters
	if floor := a.doNothing(in); c.trials >= a.cfg.MinTrials && c.score < floor {
		return gate("playbook", false, grace.ReasonDoNothing,
			fmt.Sprintf("%s succeeds with %.2f (%.1f outcomes)", id, c.score, c.trials), fmt.Sprintf(">= %.2f, what doing nothing achieves", floor),
			"the playbook does not help here: mend it, or let its outcomes age; propose.do_nothing is the limit")
	}
	if r := a.backoff(in, c.playbook.ID); !r.OK {
		return r
	}
	// What crashes is named now this way, now that: the remedy is the same.
	again := func(p Past) bool {
		return p.Service == in.Diagnosis.Cause && p.Playbook == c.playbook.ID && !in.personal(p)
	}
	if r := a.crashLoop(in, again); !r.OK {
		return r
	}
	for _, p := range in.State.Past {
		if in.settled(p) || p.At.After(in.Now.Add(Ahead)) {
			continue
		}
		if in.personal(p) && p.State != grace.RunSucceeded {
			continue // of one that helped this may be what is left
		}
		if in.again(p) && p.Playbook == c.playbook.ID && p.At.After(in.Now.Add(-a.cfg.DuplicateWindow.D())) {
			return gate("playbook", false, grace.ReasonDuplicate,
				fmt.Sprintf("%s was proposed at %s and is %s", id, p.At.UTC().Format(time.RFC3339), p.State),
				"none within "+a.cfg.DuplicateWindow.String(), "it is tried again after that; propose.duplicate_window is the limit")
		}
	}
	return grace.Reason{OK: true}
}

// chosen is the reason of a proposal: who won, against whom.
func (a *Agent) chosen(best candidate, ranked []candidate, refused []grace.Reason) grace.Reason {
	describe := func(c candidate) string {
		if c.trials < a.cfg.MinTrials {
			return fmt.Sprintf("%s (%s risk, %.1f outcomes)", c.playbook.ID, orUnknown(c.playbook.Risk), c.trials)
		}
		return fmt.Sprintf("%s (succeeds with %.2f in %.1f outcomes)", c.playbook.ID, c.score, c.trials)
	}
	var actual strings.Builder
	actual.WriteString(describe(best))
	var others []string
	for _, c := range ranked {
		if c.playbook.ID != best.playbook.ID {
			others = append(others, describe(c))
		}
	}
	if len(others) > 0 {
		actual.WriteString(" chosen; also there: " + strings.Join(others, ", "))
	}
	for _, r := range refused {
		actual.WriteString("; " + string(r.Code) + ": " + r.Actual)
	}
	return gate("playbook", true, "", actual.String(), "a playbook that is triggered, bound and not tried just now",
		"proven ones come first, then those of lower risk")
}

func orUnknown(r grace.Risk) grace.Risk { return cmp.Or(r, "unknown") }

// doNothing is the chance that the trouble passes by itself.
func (a *Agent) doNothing(in Input) float64 {
	score, trials := a.ranker.Rank(in.Diagnosis.Cause, in.Diagnosis.Code, DoNothing, in.Now)
	if trials >= a.cfg.MinTrials {
		return score
	}
	return a.cfg.DoNothing
}

// compare puts the better candidate first.
func (a *Agent) compare(x, y candidate) int {
	return cmp.Or(
		cmp.Compare(a.tier(x), a.tier(y)),
		cmp.Compare(a.learned(y), a.learned(x)),
		cmp.Compare(riskOrder(x.playbook.Risk), riskOrder(y.playbook.Risk)),
		cmp.Compare(impactOrder(x.playbook.Impact), impactOrder(y.playbook.Impact)),
		cmp.Compare(x.playbook.ID, y.playbook.ID),
	)
}

func (a *Agent) tier(c candidate) int {
	switch {
	case c.trials < a.cfg.MinTrials:
		return 1
	case c.score >= a.cfg.ProvenScore:
		return 0
	}
	return 2
}

// learned is the score as far as it counts.
func (a *Agent) learned(c candidate) float64 {
	if c.trials < a.cfg.MinTrials {
		return 0.5
	}
	return c.score
}

func (a *Agent) confidence(likelihood float64, c candidate) float64 {
	v := likelihood
	if c.trials >= a.cfg.MinTrials && a.cfg.ProvenScore > 0 {
		v *= 0.5 + 0.5*min(1, c.score/a.cfg.ProvenScore)
	}
	if math.IsNaN(v) {
		return 0
	}
	const places = 1e4
	// The nudge keeps 0.7, which is a little less in binary, at 0.7.
	return math.Floor(min(max(v, 0), 1)*places+1e-9) / places
}

func riskOrder(r grace.Risk) int {
	switch r {
	case grace.RiskLow:
		return 0
	case grace.RiskMedium:
		return 1
	case grace.RiskHigh:
		return 2
	case grace.RiskUnknown:
		return 3
	}
	return 3
}

func impactOrder(i grace.Impact) int {
	switch i {
	case grace.ImpactLow:
		return 0
	case grace.ImpactMedium:
		return 1
	case grace.ImpactHigh:
		return 2
	case grace.ImpactCritical:
		return 3
	case grace.ImpactUnknown:
		return 4
	}
	return 4
}

// proposalID is the same for the same diagnosis, playbook and millisecond.
func proposalID(d grace.DiagnosisID, p grace.PlaybookID, now time.Time) grace.ProposalID {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d", d, p, now.UnixMilli()))
	return grace.ProposalID("p-" + hex.EncodeToString(sum[:8]))
}
