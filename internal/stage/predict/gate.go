package predict

import (
	"errors"
	"maps"
	"math"
	"math/bits"
	"time"

	"gonum.org/v1/gonum/mathext"

	"grace"
)

// GateConfig says how often right a rule must be to speak.
type GateConfig struct {
	Precision  float64        `json:"precision" doc:"share of its predictions that must come true, and how likely each must be"`
	Doubt      float64        `json:"doubt" doc:"accepted chance that a rule that speaks is less precise than that"`
	HalfLife   grace.Duration `json:"half_life" doc:"age at which a resolved prediction counts half"`
	Borrowed   float64        `json:"borrowed" doc:"resolved predictions that what is known of similar series is worth on a new one"`
	Advise     float64        `json:"advise" doc:"likelihood from which what may not be published is shown as advice, which nothing acts on; 0: never"`
	FalseShare float64        `json:"false_share" doc:"share of false ones that is accepted: a rule is put back into shadow for the series of a service and role when more of its last 20 published predictions were false than chance explains (5 %)"`
}

// DefaultGateConfig is right at least four times in five on every series with
// 80 % certainty.
func DefaultGateConfig() GateConfig {
	return GateConfig{
		Precision:  0.8,
		Doubt:      0.2,
		HalfLife:   grace.Duration(30 * 24 * 3600e9),
		Borrowed:   8,
		Advise:     0.5,
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

// Untried is the prior of a rule of which nothing is known.
func Untried() Prior { return Prior{Precision: 0.5, Strength: 2} }

// tally counts what came true and what did not, both decayed.
type tally struct {
	right, wrong float32
	seconds      uint32 // since 1970, of the decay
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

func (t *tally) add(came bool, now uint32, halfLife float64) {
	right, wrong := t.at(now, halfLife)
	weight := 1.0
	if t.seconds > now { // told late: it has decayed already
		weight = math.Exp2(-float64(t.seconds-now) / halfLife)
	}
	t.seconds = max(t.seconds, now)
	if came {
		right += weight
	} else {
		wrong += weight
	}
	t.right, t.wrong = float32(right), float32(wrong)
}

// faded tells whether next to nothing is left of a tally.
func (t *tally) faded(now uint32, halfLife float64) bool {
	right, wrong := t.at(now, halfLife)
	return right+wrong < 0.25
}

const (
	// lastPublished claims of a rule decide whether it may go on speaking of a group.
	lastPublished = 20
	// evidence is the chance below which so many false ones are no bad luck any more.
	evidence = 0.05
)

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

// unlucky is the chance of at least so many false ones, were share of them false
// (binomial).
func (s *streak) unlucky(share float64) float64 {
	f := s.falses()
	if f == 0 {
		return 1
	}
	return mathext.RegIncBeta(float64(f), float64(int(s.n)-f+1), share)
}

// group is whom a series borrows from: those of the same role and service. A rule is
// suspended by group.
type group struct {
	service grace.ServiceID
	role    grace.Role
	rule    uint8
}

// groupRecord is what the gate knows of a rule on a group.
type groupRecord struct {
	tally

	suspended bool
	// last holds the newest published claims; of a suspended rule the newest that
	// would have been published.
	last streak
}

// ofSeries is a rule on a series.
type ofSeries struct {
	identity

	rule uint8
}

// ruleRecord is what the gate knows of one rule.
type ruleRecord struct {
	prior Prior
	tally tally
	curve curve
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
// borrows leaves its own claims out, so that they count once.
//
// All agents of a process share one gate, which locks itself with what its maker gives.
type Gate struct {
	mu     Locker
	cfg    GateConfig
	rules  []ruleRecord
	groups map[group]*groupRecord
	series map[ofSeries]*tally
}

// Locker is a mutex.
type Locker interface {
	Lock()
	Unlock()
}

// NewGate makes the gate of the agents' rules.
func NewGate(cfg GateConfig, lock Locker) *Gate {
	var priors []Prior
	for _, r := range rules() {
		priors = append(priors, r.prior)
	}
	return newGate(cfg, priors, lock)
}

// newGate makes a gate for rules, which are known by their place.
func newGate(cfg GateConfig, priors []Prior, lock Locker) *Gate {
	g := &Gate{mu: lock, cfg: cfg, rules: make([]ruleRecord, len(priors)), groups: map[group]*groupRecord{}, series: map[ofSeries]*tally{}}
	for i, p := range priors {
		g.rules[i] = ruleRecord{prior: p, curve: curve{probability: p.Probability}}
	}
	return g
}

// Reconfigure changes how often right a rule must be.
func (g *Gate) Reconfigure(cfg GateConfig) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cfg = cfg
}

// Judgement is the gate's word on a claim.
type Judgement struct {
	Speaks     bool
	Likely     bool    // the claim is likely enough to be published, whatever its rule may
	Likelihood float64 // that it comes true: 0.8 means four times in five
	Precision  float64 // of the rule on this series
	Bound      float64 // lower bound of it
	Suspended  bool    // it would speak, were the rule not back in shadow for this group
}

// levels gives the precision of a rule over all other series, and the Beta of
// this one.
func (g *Gate) levels(rule int, group, own tally, now uint32) (overall, a, b float64) {
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

// Judge tells whether a rule's claim about a series may be published, and how likely it
// is.
func (g *Gate) Judge(rule int, of *Series, score float64, nowMillis int64) Judgement {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := seconds(nowMillis)
	r := &g.rules[rule]
	var similar groupRecord
	if known := g.groups[group{of.Service, of.Role, uint8(rule)}]; known != nil {
		similar = *known
	}
	var own tally
	if known := g.series[ofSeries{of.identity(), uint8(rule)}]; known != nil {
		own = *known
	}
	overall, a, b := g.levels(rule, similar.tally, own, now)
	j := Judgement{Precision: a / (a + b)}
	// The rule's calibration, moved by what this series does otherwise.
	j.Likelihood = r.curve.at(score, overall, now, g.cfg.HalfLife.D().Seconds())
	if shift := logit(j.Precision) - logit(overall); !r.prior.Own && math.Abs(shift) > 1e-9 {
		j.Likelihood = logistic(logit(j.Likelihood) + shift)
	}
	j.Likelihood = min(j.Likelihood, maxLikelihood)
	if j.Likely = j.Likelihood >= g.cfg.Precision; !j.Likely {
		return j
	}
	j.Bound = mathext.InvRegIncBeta(a, b, g.cfg.Doubt)
	earned := j.Bound >= g.cfg.Precision
	j.Speaks, j.Suspended = earned && !similar.suspended, earned && similar.suspended
	return j
}

// sure is how likely a claim must be to be published.
func (g *Gate) sure() float64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.cfg.Precision
}

// Suspension says that a rule was put back into shadow for a service, or let out again.
type Suspension struct {
	Rule    string          `json:"rule"`
	Service grace.ServiceID `json:"service"`
	Role    grace.Role      `json:"role,omitempty"`
	Back    bool            `json:"back"`  // it may speak again
	False   int             `json:"false"` // of its newest claims
	Of      int             `json:"of"`
	At      time.Time       `json:"at"`
}

// verdict is what became of a claim.
type verdict struct {
	rule   int
	score  float64
	came   bool
	likely bool  // it was likely enough to be published
	counts bool  // it was published, or would have been were its rule not suspended
	dense  bool  // its score is judged elsewhere, block by block
	at     int64 // unix ms
}

// Calibrate takes what a score came to that a rule gave, beside the one that
// Learn is told of: a claim is judged anew when it becomes likely.
func (g *Gate) calibrate(rule int, score float64, came bool, nowMillis int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.rules[rule].curve.add(score, came, seconds(nowMillis), g.cfg.HalfLife.D().Seconds())
}

// learn takes what became of a claim about a series. Published claims decide whether a
// rule is suspended for the series' group; while it is, those that would have been
// published decide whether it comes back. It gives a Suspension, without the name of the
// rule, when one of these happens.
func (g *Gate) learn(of *Series, v verdict) (Suspension, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now, half := seconds(v.at), g.cfg.HalfLife.D().Seconds()
	r := &g.rules[v.rule]
	similar := entryOf(g.groups, group{of.Service, of.Role, uint8(v.rule)})
	if !v.dense {
		r.curve.add(v.score, v.came, now, half)
		// A rule that knows the series is judged by what is likely enough to be
		// published; its other claims only calibrate it.
		if !r.prior.Own || v.likely {
			r.tally.add(v.came, now, half)
			similar.add(v.came, now, half)
			entryOf(g.series, ofSeries{of.identity(), uint8(v.rule)}).add(v.came, now, half)
		}
	}
	if !v.counts {
		return Suspension{}, false
	}
	similar.last.add(!v.came)
	s := Suspension{Service: of.Service, Role: of.Role, False: similar.last.falses(), Of: int(similar.last.n), At: instant(v.at)}
	switch {
	case !similar.suspended && similar.last.unlucky(g.cfg.FalseShare) < evidence:
		similar.suspended, similar.last = true, streak{}
		return s, true
	// Surer than to stay: else a rule at the edge would come and go.
	case similar.suspended && s.Of >= lastPublished/2 && float64(s.False) <= g.cfg.FalseShare/2*float64(s.Of):
		similar.suspended, similar.last, s.Back = false, streak{}, true
		return s, true
	}
	return Suspension{}, false
}

// Learn takes what is in the ledger of a claim that was resolved: before a restart, or by
// another process.
func (g *Gate) Learn(p grace.Prediction) {
	rule := ruleNumber(p.Rule)
	if rule < 0 || p.Resolved == nil || p.Outcome != grace.PredictionTruePositive && p.Outcome != grace.PredictionFalsePositive {
		return
	}
	_, _ = g.learn(&Series{Service: p.Service, Metric: p.Metric, Labels: p.Series, Role: p.Role}, verdict{
		rule: rule, score: p.Score, came: p.Outcome == grace.PredictionTruePositive,
		likely: p.Likely, counts: p.Scored, at: p.Resolved.UnixMilli(),
		dense: rules()[rule].dense && !p.Block,
	})
}

func entryOf[K comparable, V any](m map[K]*V, key K) *V {
	v := m[key]
	if v == nil {
		v = new(V)
		m[key] = v
	}
	return v
}

// knows tells whether a rule has a record on a series.
func (g *Gate) knows(rule int, of *Series) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.series[ofSeries{of.identity(), uint8(rule)}] != nil
}

// Prune forgets records of which time has left next to nothing.
func (g *Gate) Prune(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	at, half := seconds(now.UnixMilli()), g.cfg.HalfLife.D().Seconds()
	maps.DeleteFunc(g.series, func(_ ofSeries, t *tally) bool { return t.faded(at, half) })
	maps.DeleteFunc(g.groups, func(_ group, r *groupRecord) bool { return !r.suspended && r.faded(at, half) })
}

// overall gives a rule's precision over all series, with its 10 % and 90 % bounds, and for
// how many groups it is suspended.
func (g *Gate) overall(rule int, nowMillis int64) (mean, low, high float64, suspended int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	r := &g.rules[rule]
	right, wrong := r.tally.at(seconds(nowMillis), g.cfg.HalfLife.D().Seconds())
	a, b := r.prior.Precision*r.prior.Strength+right, (1-r.prior.Precision)*r.prior.Strength+wrong
	for key, one := range g.groups {
		if int(key.rule) == rule && one.suspended {
			suspended++
		}
	}
	return a / (a + b), mathext.InvRegIncBeta(a, b, 0.1), mathext.InvRegIncBeta(a, b, 0.9), suspended
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
