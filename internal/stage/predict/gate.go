package predict

import (
	"errors"
	"math"
	"math/bits"
	"time"

	"gonum.org/v1/gonum/mathext"

	"grace"
)

// GateConfig says how often right a rule must be to speak.
type GateConfig struct {
	Precision  float64        `json:"precision" doc:"share of its predictions that must come true"`
	Doubt      float64        `json:"doubt" doc:"accepted chance that a rule that speaks is less precise than that"`
	HalfLife   grace.Duration `json:"half_life" doc:"age at which a resolved prediction counts half"`
	Borrowed   float64        `json:"borrowed" doc:"resolved predictions that what is known of similar series is worth on a new one"`
	Advise     float64        `json:"advise" doc:"likelihood from which what may not be published is shown as advice, which nothing acts on; 0: never"`
	FalseShare float64        `json:"false_share" doc:"above this share of false ones among its last 20 published predictions a rule is put back into shadow"`
}

// DefaultGateConfig is right at least four times in five on every series with
// 80 % certainty, and nine times in ten over all.
func DefaultGateConfig() GateConfig {
	return GateConfig{
		Precision:  0.8,
		Doubt:      0.2,
		HalfLife:   grace.Duration(30 * 24 * 3600e9),
		Borrowed:   8,
		Advise:     0.6,
		FalseShare: 0.1,
	}
}

// Validate names every setting that cannot work.
func (c GateConfig) Validate() error {
	var errs []error
	for _, f := range []struct {
		key       string
		value     float64
		low, high float64
	}{
		{"precision", c.Precision, 0.05, 0.99},
		{"doubt", c.Doubt, 0.001, 0.5},
		{"borrowed", c.Borrowed, 1, 1000},
		{"false_share", c.FalseShare, 0, 1},
		{"advise", c.Advise, 0, 0.99},
	} {
		if !(f.value >= f.low && f.value <= f.high) { // also refuses NaN
			errs = append(errs, grace.Field(f.key, "%v is not between %v and %v", f.value, f.low, f.high))
		}
	}
	if c.HalfLife <= 0 {
		errs = append(errs, grace.Field("half_life", "%s is not a positive duration", c.HalfLife))
	}
	return errors.Join(errs...)
}

// Prior is what is believed of a rule before any of its claims was resolved.
type Prior struct {
	Precision float64 // share of its claims that come true
	Strength  float64 // how many resolved claims that belief is worth
	// Probability: the rule's raw score is meant as a probability. If not, only
	// that a higher score is likelier is believed of it.
	Probability bool
	// Own: the raw score knows the series already, so that what the rule's other
	// claims on it came to says nothing more about the likelihood of this one.
	Own bool
}

// proven is the likelihood that a rule needs to be published which is not believed
// from the start. What is at least so likely should be right nine times in ten on
// the average (67 of 74 early warnings on NAB are), so that the rule is not put
// back into shadow by chance again and again: that happens at one false one in ten.
const proven = 0.85

// least gives how likely a rule's claims must be to be published.
func (g *Gate) least(rule int) float64 {
	if g.rules[rule].prior.Precision >= proven {
		return g.cfg.Precision
	}
	return max(g.cfg.Precision, proven)
}

// Untried is the prior of a rule of which nothing is known: it begins in
// shadow.
func Untried() Prior { return Prior{Precision: 0.5, Strength: 2} }

// tally counts what came true and what did not, both decayed.
type tally struct {
	right, wrong float32
	seconds      uint32 // since 1970, of the decay
}

// Record is what the gate knows of one series, or of a service and role. The
// zero value is one of which nothing is known.
type Record = tally

// PriorOf gives what is believed of the agent's own rule of that name.
func PriorOf(name string) (Prior, bool) {
	for _, r := range rules() {
		if r.name == name {
			return r.prior, true
		}
	}
	return Prior{}, false
}

func seconds(millis int64) uint32 {
	return uint32(min(max(millis/1000, 0), math.MaxUint32))
}

func (t *tally) at(now uint32, halfLife float64) (right, wrong float64) {
	if t.right == 0 && t.wrong == 0 {
		return 0, 0
	}
	keep := 1.0
	if now > t.seconds {
		keep = math.Exp2(-float64(now-t.seconds) / halfLife)
	}
	return float64(t.right) * keep, float64(t.wrong) * keep
}

func (t *tally) add(came bool, weight float64, now uint32, halfLife float64) {
	right, wrong := t.at(now, halfLife)
	if t.seconds > now { // told late: it has decayed already
		weight *= math.Exp2(-float64(t.seconds-now) / halfLife)
	}
	t.seconds = max(t.seconds, now)
	if came {
		right += weight
	} else {
		wrong += weight
	}
	t.right, t.wrong = float32(right), float32(wrong)
}

// lastPublished claims of a rule decide whether it may go on speaking.
const lastPublished = 20

// streak remembers of the last claims which were false, the newest in bit 0.
type streak struct {
	wrong uint32
	n     uint8
}

func (s *streak) add(wrong bool) {
	s.wrong <<= 1
	if wrong {
		s.wrong |= 1
	}
	s.wrong &= 1<<lastPublished - 1
	s.n = min(s.n+1, lastPublished)
}

func (s *streak) falses() int { return bits.OnesCount32(s.wrong) }

// ruleRecord is what the gate knows of one rule.
type ruleRecord struct {
	prior     Prior
	tally     tally
	curve     curve
	suspended bool
	// last holds the newest published claims; of a suspended rule the newest that
	// would have been published.
	last streak
}

// Gate holds, for every rule, how often its claims come true: over all, by
// service and role, and by series. What is known of few claims is pooled with
// what is known of similar ones:
//
//	rule    (prior + claims)     -> mean
//	group   (n × mean + claims)  -> mean      a service and role
//	series  (n × mean + claims)  -> Beta, its lower bound
//
// with n = Borrowed, but no more than what the rule's mean itself rests on: else
// a doubt worth two claims would weigh like eight wrong ones. What a series
// borrows leaves its own claims out, so that they count once. The tallies of
// groups and series live with their owners, 12 bytes each.
type Gate struct {
	cfg   GateConfig
	rules []ruleRecord
}

// NewGate makes a gate for rules, which are known by their place.
func NewGate(cfg GateConfig, priors []Prior) *Gate {
	g := &Gate{cfg: cfg, rules: make([]ruleRecord, len(priors))}
	for i, p := range priors {
		g.rules[i] = ruleRecord{prior: p, curve: curve{probability: p.Probability}}
	}
	return g
}

// Judgement is the gate's word on a claim.
type Judgement struct {
	Speaks     bool
	Likely     bool    // the claim is likely enough to be published, whatever its rule may
	Likelihood float64 // that it comes true: 0.8 means four times in five
	Precision  float64 // of the rule on this series
	Bound      float64 // lower bound of it
	Suspended  bool    // it would speak, were the rule not back in shadow
}

// levels gives the precision of a rule over all other series, and the Beta of
// this one.
func (g *Gate) levels(rule int, group, own *tally, now uint32) (overall, a, b float64) {
	r := &g.rules[rule]
	half := g.cfg.HalfLife.D().Seconds()
	allRight, allWrong := r.tally.at(now, half)
	groupRight, groupWrong := group.at(now, half)
	ownRight, ownWrong := own.at(now, half)
	rest := func(x, y float64) float64 { return max(x-y, 0) } // float32: may fall below 0
	allRight, allWrong = rest(allRight, ownRight), rest(allWrong, ownWrong)
	groupRight, groupWrong = rest(groupRight, ownRight), rest(groupWrong, ownWrong)
	known := r.prior.Strength + allRight + allWrong
	overall = (r.prior.Precision*r.prior.Strength + allRight) / known
	pool := min(g.cfg.Borrowed, known)
	similar := (pool*overall + groupRight) / (pool + groupRight + groupWrong)
	return overall, pool*similar + ownRight, pool*(1-similar) + ownWrong
}

// Judge tells whether a claim may be published, and how likely it is.
func (g *Gate) Judge(rule int, group, own *tally, score float64, nowMillis int64) Judgement {
	now := seconds(nowMillis)
	overall, a, b := g.levels(rule, group, own, now)
	r := &g.rules[rule]
	j := Judgement{Precision: a / (a + b)}
	// The rule's calibration, moved by what this series does otherwise.
	expected := r.curve.at(score, overall, now, g.cfg.HalfLife.D().Seconds())
	j.Likelihood = expected
	if shift := logit(j.Precision) - logit(overall); !r.prior.Own && math.Abs(shift) > 1e-9 {
		j.Likelihood = logistic(logit(expected) + shift)
	}
	j.Likelihood = min(j.Likelihood, maxLikelihood)
	if j.Likely = j.Likelihood >= g.least(rule); !j.Likely {
		return j
	}
	j.Bound = mathext.InvRegIncBeta(a, b, g.cfg.Doubt)
	j.Speaks = j.Bound >= g.cfg.Precision && !r.suspended
	j.Suspended = j.Bound >= g.cfg.Precision && r.suspended
	return j
}

// Suspension says that a rule was put back into shadow, or let out again.
type Suspension struct {
	Rule  string    `json:"rule"`
	Back  bool      `json:"back"`  // it may speak again
	False int       `json:"false"` // of its newest claims
	Of    int       `json:"of"`
	At    time.Time `json:"at"`
}

// Likely tells whether a likelihood that Judge gave is enough to be published.
func (g *Gate) Likely(rule int, likelihood float64) bool { return likelihood >= g.least(rule) }

// Calibrate takes what a score came to that a rule gave, beside the one that
// Learn is told of: a claim is judged anew when it becomes likely.
func (g *Gate) Calibrate(rule int, score float64, came bool, nowMillis int64) {
	g.rules[rule].curve.add(score, came, 1, seconds(nowMillis), g.cfg.HalfLife.D().Seconds())
}

// Learn takes a claim that came true or not, and whether it was likely enough to
// be published. Published claims decide whether a rule is suspended; while it is, those
// that would have been published decide whether it comes back: these are the ones
// that count. It gives a Suspension, without a name, when one of these happens.
func (g *Gate) Learn(rule int, group, own *tally, score float64, came, likely, counts bool, nowMillis int64) (Suspension, bool) {
	now := seconds(nowMillis)
	half := g.cfg.HalfLife.D().Seconds()
	r := &g.rules[rule]
	// A rule that knows the series is judged by what is likely enough to be
	// published; its other claims only calibrate it.
	if !r.prior.Own || likely {
		r.tally.add(came, 1, now, half)
		group.add(came, 1, now, half)
		own.add(came, 1, now, half)
	}
	r.curve.add(score, came, 1, now, half)
	if !counts {
		return Suspension{}, false
	}
	r.last.add(!came)
	d := Suspension{False: r.last.falses(), Of: int(r.last.n)}
	tooMany := float64(d.False) > g.cfg.FalseShare*lastPublished+1e-9
	switch {
	case !r.suspended && tooMany:
		r.suspended, r.last = true, streak{}
		return d, true
	// Surer than to stay: else a rule at the edge would come and go.
	case r.suspended && r.last.n == lastPublished && float64(d.False) <= g.cfg.FalseShare*lastPublished/2:
		r.suspended, r.last, d.Back = false, streak{}, true
		return d, true
	}
	return Suspension{}, false
}

// Shadowed tells whether a rule is back in shadow as a whole.
func (g *Gate) Shadowed(rule int) bool { return g.rules[rule].suspended }

// Overall gives a rule's precision over all series, with its 10 % and 90 %
// bounds.
func (g *Gate) Overall(rule int, nowMillis int64) (mean, low, high float64) {
	r := &g.rules[rule]
	right, wrong := r.tally.at(seconds(nowMillis), g.cfg.HalfLife.D().Seconds())
	a, b := r.prior.Precision*r.prior.Strength+right, (1-r.prior.Precision)*r.prior.Strength+wrong
	return a / (a + b), mathext.InvRegIncBeta(a, b, 0.1), mathext.InvRegIncBeta(a, b, 0.9)
}

// Share gives the share of right ones and its 80 % interval (Beta with a uniform
// prior); 0, 0 and 1 where there are none.
func Share(right, wrong int) (share, low, high float64) {
	if right+wrong == 0 {
		return 0, 0, 1
	}
	a, b := float64(right)+1, float64(wrong)+1
	return float64(right) / float64(right+wrong), mathext.InvRegIncBeta(a, b, 0.1), mathext.InvRegIncBeta(a, b, 0.9)
}
