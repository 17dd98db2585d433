package predict

import (
	"cmp"
	"slices"
	"time"

	"grace"
	"grace/internal/breach"
)

// slab is how many series are allocated together: as many as fill pages of memory.
const slab = 37

// Agent predicts. It is not safe for concurrent use: whoever has many series
// has several agents, each behind a lock, and one gate for all.
type Agent struct {
	cfg     Config
	merge   int64 // ms
	targets []Target
	byID    map[seriesID][]int // places in targets
	learned map[kindOfLearned]*Target
	rules   []rule
	gate    *Gate // of all agents
	model   *breach.Model
	zones   Zones
	clocks  map[*time.Location]*clock
	silent  bool
	since   int64 // unix ms; nothing is published of a series that has no point from after it
	// remodelled: the horizon was changed by the configuration just taken.
	remodelled bool

	series []*[slab]series
	places int
	open   int
	free   []Handle
	index  index

	leads leads

	rehearsal  Refit
	lately     map[identity]int64 // unix ms of what was resolved last in a rehearsal
	rehearsing bool               // the series is looked at as it was in the past
	taught     map[identity]int64 // unix ms, until when the ledger knows what became of a series' claims

	pending  map[identity][]grace.Prediction // open claims from before a restart, whose series have not come yet
	breaches map[breached]int64              // unix ms, from before a restart, whose series have not come yet
	left     []grace.Prediction              // resolved without a look
	cursor   Handle                          // where Step goes on
	refit    Handle                          // where NextRefit goes on
	work     scratch
	view     view       // by the rule that looks now
	joined   *condition // of the service whose joint series is looked at
	out      []resolved
	stats    []RuleStats
	missed   int64
}

// breached is a threshold that the ledger knows a breach of.
type breached struct {
	identity

	code      grace.Code
	threshold float64 // 0 if it was learned
	learned   bool
}

// RuleStats counts what became of a rule's claims since the agent was made.
type RuleStats struct {
	Rule           string
	Made           int64 // claims, published or not
	Published      int64
	TruePositives  int64 // of those that were published, as are the next three
	FalsePositives int64
	Prevented      int64
	Unresolved     int64
	Abstained      int64 // claims that were resolved and never published
	Suspended      int   // for so many groups of series
	Precision      float64
	Low, High      float64 // 10 % and 90 % bounds of it
}

// New makes an agent. It expects what Validate passed, which it keeps, and the gate of all
// agents.
func New(cfg Config, targets []Target, gate *Gate) *Agent {
	a := &Agent{
		rules: rules(), gate: gate, index: newIndex(), clocks: map[*time.Location]*clock{},
		pending: map[identity][]grace.Prediction{}, breaches: map[breached]int64{}, taught: map[identity]int64{}, lately: map[identity]int64{},
	}
	a.stats = make([]RuleStats, len(a.rules))
	for i, r := range a.rules {
		a.stats[i].Rule = r.name
	}
	a.Reconfigure(cfg, targets)
	return a
}

// Reconfigure changes limits and targets, which are kept and must not change. The points of open series are kept; of those
// that are there for a target alone, and have none any more, the series is closed.
func (a *Agent) Reconfigure(cfg Config, targets []Target) {
	// What a series taught about one horizon says nothing about another.
	a.remodelled = a.cfg.Horizon != cfg.Horizon
	a.cfg, a.merge = cfg, cfg.Ledger.Merge.D().Milliseconds()
	a.model = breach.New(cfg.Horizon.D())
	a.targets = targets
	a.learned = map[kindOfLearned]*Target{} // those in use stay
	a.byID = make(map[seriesID][]int, len(targets))
	a.leads.changed = true
	for i := range a.targets {
		id := seriesID{targets[i].Service, targets[i].Metric}
		a.byID[id] = append(a.byID[id], i)
	}
	for h := range Handle(a.places) {
		s := a.at(h)
		if s == nil {
			continue
		}
		s.watches = a.watchesOf(s, s.watches)
		a.attend(s)
		s.looked = s.ring.count - 1 // to be looked at anew
		if len(s.watches) == 0 && s.name().Judged {
			a.Close(h)
		}
	}
}

// Silence keeps everything in shadow, or no longer. Predictions are made,
// judged and resolved all the same.
func (a *Agent) Silence(on bool) { a.silent = on }

// Since tells that the process was reconfigured, or woke: what was measured until
// then is no reason to speak. What stands is said, or said again, once the series
// has a newer point.
func (a *Agent) Since(t time.Time) { a.since = t.UnixMilli() }

// Len counts the open series.
func (a *Agent) Len() int { return a.open }

// Observe takes one value of a series that is there for its targets alone: without one
// it is passed over.
func (a *Agent) Observe(name Series, at time.Time, value float64) {
	if h, ok := a.judged(name); ok {
		a.Append(h, at.UnixMilli(), value)
	}
}

// Claimed tells whether something is claimed of a series, and not resolved yet.
func (a *Agent) Claimed(name Series) bool {
	h, ok := a.find(name.identity())
	return ok && slices.ContainsFunc(a.at(h).watches, func(w watch) bool { return len(w.open) > 0 })
}

// judged gives a series that is there for its targets alone; false where there is none.
func (a *Agent) judged(name Series) (Handle, bool) {
	h, ok := a.find(name.identity())
	if !ok {
		if len(a.targetsOf(name)) == 0 {
			return 0, false
		}
		name.Judged = true
		h = a.Open(name)
	}
	return h, true
}

// Result is what looking at series brought.
type Result struct {
	// Published are the claims that the gate lets pass and that stand now, the
	// likeliest first: new ones and those that are said again. Where everything
	// is kept silent, they have no Published time.
	Published []grace.Prediction
	// Shadow are the claims that were first made now, and neither let pass nor advice.
	Shadow []grace.Prediction
	// Advice are the claims that are not let pass and likely enough to be told: when they
	// become so, when their likelihood changes, and again while they stand.
	Advice []grace.Prediction
	// Withdrawn were advice at the last look, and are it no more.
	Withdrawn []grace.Prediction
	// Retracted are those that stood at the last look, were let pass, and do not
	// stand any more. They are resolved later, by what the series does.
	Retracted []grace.Prediction
	// Lost are those of which the same is true for lack of data: nobody knows
	// whether they have turned.
	Lost []grace.Prediction
	// Resolved are claims with their outcome, and misses.
	Resolved []grace.Prediction
	// Suspended are rules that speak no more, or again.
	Suspended []Suspension

	notes []note // for Drifts
}

// Empty tells whether there is nothing in it.
func (r *Result) Empty() bool {
	return len(r.Published)+len(r.Shadow)+len(r.Advice)+len(r.Withdrawn)+len(r.Retracted)+len(r.Lost)+len(r.Resolved)+len(r.Suspended) == 0
}

// Places is how many series Step passes by in one round, closed ones included.
func (a *Agent) Places() int { return a.places }

// Evaluate looks at every series.
func (a *Agent) Evaluate(now time.Time) Result {
	a.cursor = 0
	r, _ := a.Step(now, a.places)
	return r
}

// Step looks at the next series, at most budget of them, and tells whether that
// was the last one. A look costs some microseconds where the series moves
// towards its threshold, and nearly nothing else.
func (a *Agent) Step(now time.Time, budget int) (r Result, done bool) {
	r.Resolved = a.left
	a.left = nil
	for ; budget > 0 && int(a.cursor) < a.places; budget-- {
		if s := a.at(a.cursor); s != nil && !s.past && !s.joint {
			a.look(s, now.UnixMilli(), &r)
		}
		a.cursor++
	}
	if done = int(a.cursor) >= a.places; done {
		a.cursor = 0
	}
	sortPublished(&r)
	return r, done
}

func sortPublished(r *Result) {
	slices.SortStableFunc(r.Published, func(x, y grace.Prediction) int {
		return cmp.Or(cmp.Compare(y.Likelihood, x.Likelihood), x.BreachAt.Compare(y.BreachAt), cmp.Compare(x.Key, y.Key))
	})
}

// look resolves what is claimed of a series and asks the rules anew.
func (a *Agent) look(s *series, now int64, r *Result) {
	fresh := s.looked != s.ring.count
	s.looked = s.ring.count
	if fresh && a.cfg.Learn {
		a.learnThreshold(s)
	}
	a.follow(s, fresh)
	var n note
	looked := false
	for i := range s.watches {
		w := &s.watches[i]
		if w.open == nil && !fresh {
			continue
		}
		a.settleBlocks(s, w, r)
		a.out = w.resolve(now, s.ring.last(), int64(s.ring.step), a.cfg.Ledger, a.out[:0])
		for _, res := range a.out {
			if res.rule < 0 && s.joint {
				continue // it is missed of the series that was breached
			}
			r.Resolved = append(r.Resolved, a.settle(s, w, res, r))
		}
		n.noteWatch(s, w, a.ask(s, w, now, r))
		looked = true
	}
	if looked {
		a.noteSeries(s, now, &n, r)
	}
}

// seen tells whether a series has enough data, and it is recent.
func (a *Agent) seen(s *series, now int64) bool {
	if s.joint {
		return now <= a.joined.until && !a.joined.lost
	}
	return s.ring.len() >= a.cfg.MinSamples && now-s.ring.last() <= a.cfg.stale(&s.ring)
}

// ask lets every rule look at a watch. It gives the line on which the series goes towards
// the threshold, nil if there is none.
func (a *Agent) ask(s *series, w *watch, now int64, r *Result) *line {
	a.work.towards = nil
	seen := a.seen(s, now)
	usable := seen && !w.breach.lasts(s.ring.last(), a.merge) && !w.breach.near()
	follower := a.leads.followers[s]
	for i := range a.rules {
		rule := &a.rules[i]
		c := w.claim(i)
		var said raw
		ok := false
		if usable && rule.learned == w.learned && rule.joint == s.joint {
			a.view = view{
				cfg: &a.cfg, ring: &s.ring, hours: &s.hours, early: w.early, model: a.model, outlook: w.outlook, odd: s.odd, joined: a.joined,
				follower: follower, target: w.target, threshold: w.threshold,
				value: s.ring.newest(), now: now, since: a.since, work: &a.work,
			}
			said, ok = rule.look(&a.view)
		}
		switch {
		case ok:
			a.claim(s, w, i, said, now, r)
		// What is beyond the threshold has not turned away from it.
		case c != nil && c.Stands && i != external && !w.breach.near():
			c.Stands = false
			a.ended(s, w, i, c, seen && !said.lost, now, r)
		}
	}
	return a.work.towards
}

// claim takes what a rule says.
func (a *Agent) claim(s *series, w *watch, rule int, said raw, now int64, r *Result) {
	name := s.name()
	j := a.gate.Judge(rule, &name, said.score, now)
	fresh := s.ring.last() > a.since && !said.old && !a.rehearsing
	until := now + said.until.Milliseconds()
	c := w.claim(rule)
	made := c == nil
	if made {
		w.open = append(w.open, open{rule, Claim{
			Made: now, Until: until, firstUntil: until, First: said.score, Score: said.score, samples: w.breach.count,
			id: a.entryID(s, w, a.rules[rule].name, now),
		}})
		c = &w.open[len(w.open)-1].Claim
		if !a.rehearsing {
			a.stats[rule].Made++
		}
	}
	c.Renewed, c.Stands, c.Likelihood = now, true, j.Likelihood
	if c.Published != 0 {
		c.Ended = 0
	}
	c.BreachAt, c.Low, c.High = now+said.breach.Milliseconds(), said.low, said.high
	c.value = s.ring.newest()
	if !c.Acted {
		c.WouldBreach = c.WouldBreach || said.would
	}
	c.Scored = c.Scored || j.Speaks || j.Suspended
	if j.Likely && c.Likely == 0 && c.Published == 0 {
		c.Likely, c.Score, c.Until = now, said.score, until
	}
	if j.Speaks && fresh && c.Published == 0 {
		c.Published, c.Score, c.Until, c.Silent = now, said.score, until, a.silent
		if !a.silent {
			a.stats[rule].Published++
		}
	}
	if c.Silent && fresh && !a.silent { // from now on it is published
		c.Silent, c.Published, c.Until = false, now, until
		a.stats[rule].Published++
	}
	advised := fresh && c.advises(a.cfg.Gate.Advise, now)
	if made || c.Published != 0 || advised {
		c.title = cmp.Or(said.title, title(s.name().Metric, w.target, w.threshold, c.value))
		c.proof = said.evidence(a.rules[rule].name, w.target, j)
	}
	switch {
	case c.Published != 0 && fresh:
		r.Published = append(r.Published, a.published(s, w, rule, c))
	case advised:
		r.Advice = append(r.Advice, a.published(s, w, rule, c))
	case c.withdraws(a.cfg.Gate.Advise, now):
		r.Withdrawn = append(r.Withdrawn, a.published(s, w, rule, c))
	case made:
		r.Shadow = append(r.Shadow, a.published(s, w, rule, c))
	}
}

// settle lets the gate learn from an outcome.
func (a *Agent) settle(s *series, w *watch, res resolved, r *Result) grace.Prediction {
	if res.rule < 0 {
		if !a.rehearsing {
			a.missed++
		}
	} else {
		if !a.rehearsing {
			a.count(&a.stats[res.rule], &res)
		}
		came := res.outcome == grace.PredictionTruePositive
		if came || res.outcome == grace.PredictionFalsePositive {
			c := &res.claim
			if c.First != 0 && c.From() != c.Made && !a.rules[res.rule].dense {
				a.gate.calibrate(res.rule, c.First, came && res.began <= c.firstUntil, res.at)
			}
			name := s.name()
			a.teach(&name, verdict{
				rule: res.rule, score: c.Score, came: came, likely: c.Likely != 0 || c.Scored, counts: c.Scored,
				dense: a.rules[res.rule].dense, at: res.at,
			}, r)
		}
	}
	return a.entry(s, w, res)
}

// teach has the gate learn, and tells when that suspends a rule.
func (a *Agent) teach(of *Series, v verdict, r *Result) {
	if s, ok := a.gate.learn(of, v); ok {
		s.Rule = a.rules[v.rule].name
		r.Suspended = append(r.Suspended, s)
	}
}

func (a *Agent) count(t *RuleStats, res *resolved) {
	if res.claim.Published == 0 || res.claim.Silent {
		t.Abstained++
		return
	}
	switch res.outcome {
	case grace.PredictionTruePositive:
		t.TruePositives++
	case grace.PredictionFalsePositive:
		t.FalsePositives++
	case grace.PredictionPrevented:
		t.Prevented++
	case grace.PredictionUnresolved:
		t.Unresolved++
	case grace.PredictionOpen, grace.PredictionFalseNegative:
	}
}

// Acted takes that a run acted on a service: what was published of it and does not
// come true may have been prevented.
func (a *Agent) Acted(service grace.ServiceID, run grace.RunID) {
	for h := range Handle(a.places) {
		s := a.at(h)
		if s == nil || s.name().Service != service {
			continue
		}
		for i := range s.watches {
			w := &s.watches[i]
			for j := range w.open {
				if c := &w.open[j].Claim; !c.Acted {
					c.Acted, c.Run = true, run
				}
			}
		}
	}
}

// Stats gives every rule's record, and the breaches that no published claim
// foresaw.
func (a *Agent) Stats(now time.Time) (records []RuleStats, missed int64) {
	out := slices.Clone(a.stats)
	for i := range out {
		out[i].Precision, out[i].Low, out[i].High, out[i].Suspended = a.gate.overall(i, now.UnixMilli())
	}
	return out, a.missed
}

// Add counts what another agent's record says too. The rule's precision is the gate's,
// which they share.
func (r *RuleStats) Add(other RuleStats) {
	r.Made += other.Made
	r.Published += other.Published
	r.TruePositives += other.TruePositives
	r.FalsePositives += other.FalsePositives
	r.Prevented += other.Prevented
	r.Unresolved += other.Unresolved
	r.Abstained += other.Abstained
}
