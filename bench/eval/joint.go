package main

import (
	"cmp"
	"maps"
	"slices"
	"sort"

	"grace"
	"grace/internal/stage/predict"
)

// joint is what is said of all series of a service together, and held to the breaches of
// any. Times are the agent's.
type joint struct {
	s      *series // 1 while a newest value is above its limit
	spells []spell
	claims []*said
}

// jointly makes the joint series of the services that have as many series as the rule asks for.
func (p *player) jointly() {
	p.joints = map[grace.ServiceID]*joint{}
	of := map[string][]int{}
	for i, st := range p.stretches {
		of[st.s.service] = append(of[st.s.service], i)
	}
	for service, members := range of {
		if len(members) >= 3 && !p.learned {
			p.joints[grace.ServiceID(service)] = p.joinOf(members)
		}
	}
}

func (p *player) joinOf(members []int) *joint {
	first := p.stretches[members[0]].s
	j := &joint{s: &series{source: first.source, name: first.service, group: first.group, service: first.service, limit: 0}}
	above := map[int64]map[int]bool{} // by time and member
	type era struct{ onset, sure, ended int64 }
	var eras []era
	for _, i := range members {
		st, shift := p.stretches[i], p.shifts[i]
		for row := st.live; row < st.end; row++ {
			at := st.s.at[row] + shift
			if above[at] == nil {
				above[at] = map[int]bool{}
			}
			above[at][i] = st.s.values[row] > st.s.limit
		}
		for _, sp := range spells(st.s.at[:st.end], st.s.values[:st.end], st.s.limit) {
			eras = append(eras, era{st.s.at[sp.onset] + shift, st.s.at[sp.sure] + shift, st.s.at[sp.ended] + shift})
		}
	}
	newest := map[int]bool{}
	for _, at := range slices.Sorted(maps.Keys(above)) {
		maps.Copy(newest, above[at])
		value := 0.0
		for _, is := range newest {
			if is {
				value = 1
			}
		}
		j.s.at, j.s.values = append(j.s.at, at), append(j.s.values, value)
	}
	rowAt := func(at int64) int {
		return min(sort.Search(len(j.s.at), func(i int) bool { return j.s.at[i] >= at }), len(j.s.at)-1)
	}
	slices.SortFunc(eras, func(a, b era) int { return cmp.Or(cmp.Compare(a.onset, b.onset), cmp.Compare(a.sure, b.sure)) })
	for _, e := range eras {
		if last := len(j.spells) - 1; last >= 0 && e.onset-j.s.at[j.spells[last].ended] < merge {
			j.spells[last].ended = max(j.spells[last].ended, rowAt(e.ended))
			continue
		}
		j.spells = append(j.spells, spell{rowAt(e.onset), rowAt(e.sure), rowAt(e.ended)})
	}
	return j
}

func (j *joint) part(sure bool) *part {
	return &part{s: j.s, end: len(j.s.at), stop: len(j.s.at), spells: j.spells, sure: sure}
}

// scoreJoints judges what the rule drift said of services.
func scoreJoints(runs []*run, l level, sure bool) scored {
	out := scored{}
	for _, r := range runs {
		for _, j := range r.set.joints {
			var claims []claim
			for _, c := range j.claims {
				if at := c.reached[l]; at.at != 0 {
					claims = append(claims, claim{from: at.at, until: at.until, limit: c.limit})
				}
			}
			out.add(j.part(sure), claims)
		}
	}
	return out
}

// alwaysOfServices says at any time that a series of the service will breach: how often that
// is right by itself.
func alwaysOfServices(runs []*run, sure bool) scored {
	always := baseline{claims: func(p *part) []bool { return slices.Repeat([]bool{true}, p.end) }}
	out := scored{}
	for _, r := range runs {
		for _, j := range r.set.joints {
			p := j.part(sure)
			out.add(p, always.warnings(p))
		}
	}
	return out
}

// reachJointly notes that a claim about a service is on a level now.
func (p *player) reachJointly(now int64, e *grace.Prediction, l level) {
	j := p.joints[e.Service]
	if j == nil {
		return
	}
	c := p.byID[e.ID]
	if c == nil {
		c = &said{rule: e.Rule, id: e.ID, score: e.Score, likelihood: e.Likelihood, limit: e.Threshold}
		p.byID[e.ID] = c
		j.claims = append(j.claims, c)
	}
	c.reach(now, 0, e, l)
}

func isJoint(e *grace.Prediction) bool { return e.Metric == predict.Joint }
