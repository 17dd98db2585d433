package propose

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"

	"grace"
	"grace/internal/gate"
)

// candidate is a bound playbook with what was learned about it.
type candidate struct {
	playbook   grace.Playbook
	score      float64
	trials     float64
	parameters map[string]any
}

// choose gives the best playbook for the diagnosis, nil for none; the candidates
// by rank; and the reasons: of the chosen one, or else why each was refused.
func (a *Agent) choose(in Input, service grace.Service) (best *candidate, candidates []grace.Candidate, reasons []grace.Reason) {
	d := in.Diagnosis
	var ranked []candidate
	triggered := 0
	for _, p := range in.Playbooks {
		if !slices.Contains(p.Triggers, d.Code) || len(p.Services) > 0 && !slices.Contains(p.Services, service.ID) {
			continue // it is for something else, or for others
		}
		triggered++
		bound, ok := p.Bind(service)
		if !ok {
			r := ofPlaybook(p.ID, grace.ReasonNoBinding, string(service.ID), nil)
			candidates = append(candidates, grace.Candidate{Playbook: p.ID, Risk: p.Risk, Refused: &r})
			continue
		}
		if len(in.Arguments) > 0 {
			bound.Arguments = maps.Clone(bound.Arguments)
			if bound.Arguments == nil {
				bound.Arguments = map[string]any{}
			}
			maps.Copy(bound.Arguments, in.Arguments)
		}
		score, trials := in.rank(p.ID)
		ranked = append(ranked, candidate{playbook: bound, score: score, trials: trials})
	}
	slices.SortFunc(ranked, a.compare)
	slices.SortFunc(candidates, func(x, y grace.Candidate) int { return cmp.Compare(x.Playbook, y.Playbook) })
	looked := make([]grace.Candidate, 0, len(ranked)+len(candidates))
	for i := range ranked {
		c := &ranked[i]
		one := grace.Candidate{Playbook: c.playbook.ID, Risk: c.playbook.Risk, Score: c.score, Trials: c.trials}
		if r := in.override(a.refuse(in, c)); !r.OK {
			one.Refused = &r
		} else if best == nil {
			best, one.Chosen = c, true
			if r.Code == grace.ReasonOverridden {
				reasons = append(reasons, r)
			}
		}
		looked = append(looked, one)
	}
	score, trials := a.doNothing(in)
	candidates = append(append(looked, candidates...), grace.Candidate{Playbook: DoNothing, Score: score, Trials: trials})
	if best != nil {
		return best, candidates, append(reasons, gate.New("playbook", true, "", string(best.playbook.ID), nil))
	}
	for _, c := range candidates {
		if c.Refused != nil {
			reasons = append(reasons, *c.Refused)
		}
	}
	if triggered == 0 {
		r := gate.New("playbook", false, grace.ReasonNoPlaybook, float64(len(in.Playbooks)), nil)
		r.Source = "code/" + string(d.Code)
		reasons = append(reasons, r)
	}
	return nil, candidates, reasons
}

// ofPlaybook is a "no" to one playbook.
func ofPlaybook(id grace.PlaybookID, code grace.ReasonCode, actual, required any) grace.Reason {
	r := gate.New("playbook", false, code, actual, required)
	r.Source = "playbook/" + string(id)
	return r
}

// refuse looks whether one candidate may be proposed, and fills its parameters
// in when it may.
func (a *Agent) refuse(in Input, c *candidate) grace.Reason {
	id := c.playbook.ID
	parameters, err := ResolveParameters(c.playbook)
	if err != nil {
		return ofPlaybook(id, grace.ReasonBadParameters, strings.Split(err.Error(), "\n"), nil)
	}
	c.parameters = parameters
	if floor, _ := a.doNothing(in); c.trials >= a.cfg.MinTrials && c.score < floor {
		return ofPlaybook(id, grace.ReasonDoNothing, grace.Numbers{"score": c.score, "outcomes": c.trials}, grace.Numbers{"score": floor})
	}
	if r := a.backoff(in, id); !r.OK {
		return r
	}
	// What crashes is named now this way, now that: the remedy is the same.
	again := func(p grace.PastRun) bool {
		return p.Service == in.Diagnosis.Cause && p.Playbook == id && !in.personal(p)
	}
	if r := a.crashLoop(in, again); !r.OK {
		r.Source = "playbook/" + string(id)
		return r
	}
	if last, found := in.proposed(id); found {
		from := last.At
		if last.Status == grace.RunDenied { // a person's "no" is worth as much as another answer
			from = last.End()
		}
		if until := from.Add(a.cfg.DuplicateWindow.D()); until.After(in.Now) {
			r := ofPlaybook(id, grace.ReasonDuplicate, string(last.Status), nil)
			r.Until = &until
			return r
		}
	}
	return grace.Reason{OK: true}
}

// proposed gives the newest run of a playbook that was about what is looked at, and
// stands in the way of another one.
func (in Input) proposed(id grace.PlaybookID) (last grace.PastRun, found bool) {
	for _, p := range in.State.Past {
		switch {
		case p.Playbook != id || !in.again(p) || in.settled(p) || p.At.After(in.Now.Add(Ahead)):
		case in.personal(p) && p.Status != grace.RunSucceeded: // of one that helped this may be what is left
		case !found || p.At.After(last.At) || p.At.Equal(last.At) && p.Status < last.Status:
			last, found = p, true
		}
	}
	return last, found
}

// rank gives the learned chance of success of a playbook, and the outcomes behind it.
func (in Input) rank(id grace.PlaybookID) (score, trials float64) {
	for _, p := range in.Posteriors {
		if p.Playbook == id && p.Code == in.Diagnosis.Code {
			return p.Score, p.Trials
		}
	}
	return untried, 0
}

// untried is the score of what nothing is known of.
const untried = 0.5

// doNothing is the chance that the condition passes by itself, and the outcomes
// behind it: none while it is assumed.
func (a *Agent) doNothing(in Input) (score, trials float64) {
	score, trials = in.rank(DoNothing)
	if trials >= a.cfg.MinTrials {
		return score, trials
	}
	return a.cfg.DoNothing, 0
}

// compare puts the better candidate first.
func (a *Agent) compare(x, y candidate) int {
	return cmp.Or(
		cmp.Compare(a.tier(x), a.tier(y)),
		cmp.Compare(a.learned(y), a.learned(x)),
		cmp.Compare(unknownLast(x.playbook.Risk.Rank()), unknownLast(y.playbook.Risk.Rank())),
		cmp.Compare(unknownLast(x.playbook.Impact.Rank()), unknownLast(y.playbook.Impact.Rank())),
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
		return untried
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

// unknownLast orders what is not known behind all that is.
func unknownLast(rank int) int {
	if rank == 0 {
		return math.MaxInt
	}
	return rank
}
