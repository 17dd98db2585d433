package predict

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"time"

	"grace/internal/breach"
	"grace/internal/explain"
)

const (
	// maxLikelihood: the future is never certain.
	maxLikelihood = 0.95
	// band80 standard deviations about the line hold 80 %.
	band80 = 1.2816
	// wouldBreach: the whole 80 % interval is past the threshold.
	wouldBreach = 0.9
)

// rule is a named producer of claims: it looks at one series and one threshold
// and says how likely a breach begins within its horizon. What it says is
// neither trusted nor published before the gate has judged it.
type rule struct {
	name  string
	prior Prior
	// learned: the rule is for thresholds that were learned, the others are for
	// those that somebody set.
	learned bool
	// joint: the rule is for joint series (Drifts), the others are for those that are measured.
	joint bool
	// dense: what it says of each block of hours is held to what came, and teaches; of
	// its claims only that they were published does.
	dense bool
	// needs tells whether the rule has what it needs to say anything of a
	// series; nil: it always has.
	needs func(*Agent, *series, *watch) bool
	look  func(*view) (raw, bool)
}

// raw is what a rule says.
type raw struct {
	score     float64       // within 0 and 1; higher is likelier
	until     time.Duration // from now: by then the breach has begun
	breach    time.Duration // from now
	low, high float64       // the 80 % interval of the value then
	would     bool          // without a remedy it breaches, with 90 % or more
	n         int           // points behind it
	slope     float64       // per second, 0 if it is no trend
	fit       float64
	note      string   // for people, what else it rests on
	also      []string // more of that
	title     string   // for people, if it is not of a series and a threshold
	old       bool     // another series that it rests on has no point from after Since
	lost      bool     // nothing is said for lack of data of another series
}

// RuleExternal stands for what other systems predict: it is held to account like
// the rules, and published in any case.
const RuleExternal = "external"

// Places of rules that others know of.
const (
	external = 2
	capacity = 4
)

// rules is the table. A rule's place in it is its number; rules are appended.
//
// All begin in shadow: a prior believes no rule right in more than half of the cases, and is
// worth two claims; the past that is rehearsed at the start (Rehearse) is a record at once.
//
// trend follows a line towards the threshold. early knows what precedes a breach on this series (package breach), capacity
// what the forecast of the next 48 hours says (package forecast), fill when what
// is used up steadily is used up (the same). anomaly says of a series with a
// learned threshold that it is odd (package detect), drift of a service that several of
// its metrics go towards their thresholds together, lead what the series say that lead it.
func rules() []rule {
	return []rule{
		{name: "trend", prior: Prior{Precision: 0.5, Strength: 2, Probability: true}, look: lookTrend},
		{name: "trend_learned", prior: Untried(), learned: true, look: lookTrend},
		{name: RuleExternal, prior: Untried(), needs: wasForetold, look: func(*view) (raw, bool) { return raw{}, false }},
		{name: "early", prior: Prior{Precision: 0.5, Strength: 2, Probability: true, Own: true}, needs: hasPast, look: lookEarly},
		{name: "capacity", prior: Prior{Precision: 0.5, Strength: 2, Probability: true, Own: true}, dense: true, needs: isForecast, look: lookCapacity},
		{name: "anomaly", prior: Untried(), learned: true, look: lookAnomaly},
		{name: "fill", prior: Prior{Precision: 0.5, Strength: 2, Probability: true}, needs: mayFill, look: lookFill},
		{name: "drift", prior: Untried(), joint: true, look: lookDrift},
		{name: "lead", prior: Prior{Precision: 0.5, Strength: 2, Probability: true}, needs: hasLeaders, look: lookLead},
	}
}

// ruleNumber gives the place of a rule; -1 if there is none of that name.
func ruleNumber(name string) int {
	return slices.IndexFunc(rules(), func(r rule) bool { return r.name == name })
}

func wasForetold(a *Agent, s *series, w *watch) bool {
	name := s.name()
	return w.claim(external) != nil || a.gate.knows(external, &name)
}

func hasPast(_ *Agent, _ *series, w *watch) bool { return w.early != nil }

func isForecast(_ *Agent, s *series, w *watch) bool {
	return w.outlook != nil && s.hours.known >= refitAfter
}

func mayFill(_ *Agent, s *series, w *watch) bool { return w.outlook != nil && fills(s, w) }

func hasLeaders(a *Agent, s *series, _ *watch) bool { return a.leads.followers[s] != nil }

// view is what a rule sees.
type view struct {
	cfg       *Config
	ring      *ring
	hours     *hours
	early     *breach.State
	model     *breach.Model
	outlook   *outlook
	odd       *oddness
	joined    *condition
	follower  *follower
	target    *Target
	threshold float64
	value     float64 // newest
	now       int64   // unix ms
	since     int64   // see Agent.Since
	work      *scratch
}

func (v *view) toward() float64 {
	if v.target.upward() {
		return 1
	}
	return -1
}

// age is the seconds since the newest point.
func (v *view) age() float64 { return float64(v.now-v.ring.last()) / 1000 }

// lookEarly asks what the series did before its earlier breaches. What is worth
// a warning is a claim; the gate speaks the likely ones, and learns from all.
func lookEarly(v *view) (raw, bool) {
	if v.early == nil {
		return raw{}, false
	}
	o := v.model.Outlook(v.early)
	if o.Breached || o.Worth < breach.Balanced {
		return raw{}, false
	}
	reach := 2 * v.cfg.Horizon.D()
	expected := time.Duration(o.Expected-v.now) * time.Millisecond
	n := v.ring.len()
	_, values := v.ring.unpack(n, v.work.times[:], v.work.values[:])
	slices.Sort(values)
	return raw{
		score: min(o.Likelihood, maxLikelihood), until: reach, breach: min(max(expected, 0), reach),
		low: values[n/10], high: values[n-1-n/10], would: o.Likelihood >= wouldBreach, n: n,
	}, true
}

func title(metric string, t *Target, threshold, value float64) string {
	direction := "rising"
	if !t.upward() {
		direction = "falling"
	}
	return cmp.Or(t.Text, metric) + " " + explain.Quantity(value, t.Unit) + ", " + direction + " towards " + explain.Quantity(threshold, t.Unit)
}

// evidence says in words what a rule saw.
func (r *raw) evidence(rule string, t *Target, j Judgement) []string {
	number := func(v float64) string { return strconv.FormatFloat(v, 'g', 3, 64) }
	out := make([]string, 0, 3)
	if r.slope != 0 {
		out = append(out, "changes by "+explain.Quantity(60*r.slope, t.Unit)+" a minute over "+strconv.Itoa(r.n)+
			" points; the line accounts for "+number(100*r.fit)+" % of their spread")
	}
	if r.note != "" {
		out = append(out, r.note)
	}
	out = append(out, r.also...)
	return append(out, "rule "+rule+": score "+number(r.score)+", right on this series "+
		number(math.Round(100*j.Precision))+" % of the time")
}
