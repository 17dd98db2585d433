package predict

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"time"

	"grace"
	"grace/internal/explain"
)

// key identifies what is predicted, whichever rule says it.
func (a *Agent) key(s *series, w *watch) grace.SignalKey {
	return grace.SignalKey(string(s.name().Service) + "/predict/" + s.name().Metric + s.name().Labels + "/" + string(code(w.target)))
}

func code(t *Target) grace.Code { return cmp.Or(t.Code, grace.CodeDegradation) }

// entryID identifies an entry of the ledger. By time and threshold it is the
// same wherever it is made.
func (a *Agent) entryID(s *series, w *watch, rule string, at int64) string {
	limit := "learned"
	if !w.learned {
		limit = w.target.Op + strconv.FormatFloat(w.threshold, 'g', -1, 64)
	}
	return string(a.key(s, w)) + "/" + limit + "/" + rule + "@" + strconv.FormatInt(at, 10)
}

// published is a claim as it is said now.
func (a *Agent) published(s *series, w *watch, rule int, c *Claim) grace.Prediction {
	p := grace.Prediction{
		ID: c.id, Key: a.key(s, w), Service: s.name().Service, Metric: s.name().Metric, Code: code(w.target), Title: c.title,
		Likelihood: c.Likelihood, Value: c.value, Threshold: w.threshold,
		BreachAt: instant(c.BreachAt), Low: c.Low, High: c.High, Impact: w.target.impact(s.name().Service),
		At: instant(c.Renewed), Made: instant(c.Made),
		Series: s.name().Labels, Role: s.name().Role, Rule: a.rules[rule].name, Score: c.Score,
		Until: instant(c.Until), Learned: w.learned, Evidence: c.proof,
		Outcome: grace.PredictionOpen, Run: c.Run, WouldBreach: c.WouldBreach, Scored: c.Scored, Likely: c.Likely != 0 || c.Scored,
	}
	if !c.Silent {
		p.Published = instantOrNil(c.Published)
	}
	p.Advised, p.Ended = instantOrNil(c.Advised), instantOrNil(c.Ended)
	return p
}

// entry is a resolved claim, or a miss.
func (a *Agent) entry(s *series, w *watch, res resolved) grace.Prediction {
	var p grace.Prediction
	if res.rule >= 0 {
		p = a.published(s, w, res.rule, &res.claim)
	} else {
		foreseen := " unforeseen"
		if res.shadow {
			foreseen = ", foreseen in shadow alone"
		}
		p = grace.Prediction{
			ID: a.entryID(s, w, "miss", res.began), Key: a.key(s, w), Service: s.name().Service, Metric: s.name().Metric,
			Code: code(w.target), Title: s.name().Metric + " passed " + explain.Quantity(w.threshold, w.target.Unit) + foreseen,
			Value: s.ring.newest(), Threshold: w.threshold, BreachAt: instant(res.began), Impact: w.target.impact(s.name().Service),
			At: instant(res.at), Made: instant(res.began), Series: s.name().Labels, Role: s.name().Role, Learned: w.learned,
			Foreseen: res.shadow,
		}
	}
	p.Outcome = res.outcome
	at := instant(res.at)
	p.Resolved = &at
	if res.began != 0 {
		began := instant(res.began)
		p.Breach, p.Evaluated = &began, a.lookers(s, w)
	}
	if res.outcome == grace.PredictionTruePositive {
		p.Lead = grace.Duration(res.leadTime())
	}
	return p
}

// lookers names the rules that look at a watch: a breach of it is foreseen or
// missed by them, and by no other.
func (a *Agent) lookers(s *series, w *watch) []string {
	var out []string
	for i := range a.rules {
		if r := &a.rules[i]; r.learned == w.learned && r.joint == s.joint && (r.needs == nil || r.needs(a, s, w)) {
			out = append(out, r.name)
		}
	}
	return out
}

func instant(millis int64) time.Time { return time.UnixMilli(millis).UTC() }

func instantOrNil(millis int64) *time.Time {
	if millis == 0 {
		return nil
	}
	at := instant(millis)
	return &at
}

func millisOrZero(at *time.Time) int64 {
	if at == nil {
		return 0
	}
	return at.UnixMilli()
}

// meant finds the series that another system's prediction is about, and how far
// that is from its threshold, below 0 when it is beyond. Where no labels are
// named and there are several, it is the one that is nearest to it: the breach of
// any would make the prediction come true. Where no metric is named, it is any that is held
// against a threshold of that code.
func (a *Agent) meant(p grace.Prediction) (*series, float64) {
	var nearest *series
	least := math.Inf(1)
	for h := range Handle(a.places) {
		s := a.at(h)
		if s == nil || s.joint || s.name().Service != p.Service || p.Metric != "" && !s.measures(p.Metric) || p.Series != "" && s.name().Labels != p.Series {
			continue
		}
		if far, ok := s.distance(p.Code); ok && (nearest == nil || far < least) {
			nearest, least = s, far
		}
	}
	return nearest, least
}

// measures tells whether a series is, or is made of, what another system calls so.
func (s *series) measures(metric string) bool {
	return s.name().Metric == metric || slices.ContainsFunc(s.watches, func(w watch) bool { return slices.Contains(w.target.Metrics, metric) })
}

// distance from the newest value to the threshold of a code, in the unit of the
// series.
func (s *series) distance(of grace.Code) (far float64, ok bool) {
	for i := range s.watches {
		w := &s.watches[i]
		if code(w.target) != of || s.ring.count == 0 {
			continue
		}
		if far = w.threshold - s.ring.newest(); !w.target.upward() {
			far = -far
		}
		return far, true
	}
	return 0, false
}

// Distance tells how far the series that another system's prediction is about is
// from its threshold, and false where nobody measures it. Of several agents the
// one with the least is to be told (Foretell).
func (a *Agent) Distance(p grace.Prediction) (float64, bool) {
	s, far := a.meant(p)
	return far, s != nil
}

// Foretell takes what another system predicts of a series, to hold it to
// account. It gives the entry of the ledger, or false where nobody measures
// the series against a threshold of that code.
func (a *Agent) Foretell(p grace.Prediction, now time.Time) (grace.Prediction, bool) {
	s, _ := a.meant(p)
	if s == nil {
		return p, false
	}
	rule := external
	for i := range s.watches {
		w := &s.watches[i]
		if code(w.target) != p.Code || w.breach.lasts(s.ring.last(), a.merge) {
			continue
		}
		c := w.claim(rule)
		at := now.UnixMilli()
		if c == nil {
			w.open = append(w.open, open{rule, Claim{
				Made: at, Published: at, Silent: a.silent, Score: p.Likelihood, samples: w.breach.count,
				Until: max(p.BreachAt.UnixMilli(), at+a.cfg.Horizon.D().Milliseconds()), id: a.entryID(s, w, RuleExternal, at),
			}})
			c = &w.open[len(w.open)-1].Claim
			a.stats[rule].Made++
			if !a.silent {
				a.stats[rule].Published++
			}
		}
		c.Renewed, c.Stands, c.Likelihood, c.BreachAt = at, true, p.Likelihood, p.BreachAt.UnixMilli()
		c.Low, c.High, c.value, c.title, c.proof = p.Low, p.High, s.ring.newest(), p.Title, p.Evidence
		said := a.published(s, w, rule, c)
		said.Key = p.Key // as its source names it
		said.Impact, said.Suggest = p.Impact, p.Suggest
		return said, true
	}
	return p, false
}

// Restore takes the ledger from before a restart, oldest first: what is open goes on as
// soon as its series comes, and what the ledger knows, a breach or what became of a
// claim, is not found anew in the history of its series. With what the gate learns of it
// (Gate.Learn) the ledger is all that needs keeping.
func (a *Agent) Restore(entries []grace.Prediction) {
	for i := range entries {
		p := &entries[i]
		switch p.Outcome {
		case grace.PredictionTruePositive, grace.PredictionFalsePositive:
			id := identityOf(p)
			a.taught[id] = max(a.taught[id], p.Resolved.UnixMilli())
			a.rememberBreach(p)
		case grace.PredictionFalseNegative:
			a.rememberBreach(p)
		case grace.PredictionOpen:
			id := identityOf(p)
			a.pending[id] = append(a.pending[id], *p)
			if h, ok := a.find(id); ok {
				a.reopen(a.at(h))
			}
		case grace.PredictionPrevented, grace.PredictionUnresolved:
		}
	}
}

// rememberBreach keeps the newest breach of a threshold, for its series.
func (a *Agent) rememberBreach(p *grace.Prediction) {
	if p.Breach == nil {
		return
	}
	k := breached{identity: identityOf(p), code: p.Code, learned: p.Learned}
	if !p.Learned {
		k.threshold = p.Threshold
	}
	a.breaches[k] = max(a.breaches[k], p.Breach.UnixMilli())
	if h, ok := a.find(k.identity); ok {
		a.recallBreaches(a.at(h))
	}
}

// recallBreaches tells a series what the ledger knows of its breaches.
func (a *Agent) recallBreaches(s *series) {
	for i := range s.watches {
		w := &s.watches[i]
		k := breached{identity: s.name().identity(), code: code(w.target), learned: w.learned}
		if !w.learned {
			k.threshold = w.threshold
		}
		if at, ok := a.breaches[k]; ok {
			delete(a.breaches, k)
			w.breach.began, w.breach.ended = max(w.breach.began, at), max(w.breach.ended, at)
		}
	}
}

// identityOf gives the series that an entry of the ledger is about.
func identityOf(p *grace.Prediction) identity {
	return identity{seriesID{p.Service, p.Metric}, p.Series}
}

// reopen puts the open claims from before a restart to their series.
func (a *Agent) reopen(s *series) {
	id := s.name().identity()
	waiting := a.pending[id]
	if len(waiting) == 0 {
		return
	}
	left := waiting[:0] // such as that of a threshold which is still to be learned
	for _, p := range waiting {
		rule, placed := ruleNumber(p.Rule), false
		for i := range s.watches {
			w := &s.watches[i]
			if rule < 0 || code(w.target) != p.Code || w.learned != p.Learned || w.claim(rule) != nil ||
				!w.learned && w.threshold != p.Threshold {
				continue
			}
			c := Claim{
				Made: p.Made.UnixMilli(), Renewed: p.At.UnixMilli(), Until: p.Until.UnixMilli(), BreachAt: p.BreachAt.UnixMilli(),
				Score: p.Score, Likelihood: p.Likelihood, Low: p.Low, High: p.High, WouldBreach: p.WouldBreach, Run: p.Run, Acted: p.Run != "",
				Published: millisOrZero(p.Published), Advised: millisOrZero(p.Advised), Ended: millisOrZero(p.Ended),
				Scored: p.Scored, samples: w.breach.count, id: p.ID, title: p.Title, value: p.Value, proof: p.Evidence,
			}
			if w.learned {
				w.threshold = p.Threshold // it is held to that one
			}
			w.breach.calm = max(w.breach.calm, c.Made)
			w.open = append(w.open, open{rule, c})
			placed = true
			break
		}
		if !placed {
			left = append(left, p)
		}
	}
	if a.pending[id] = left; len(left) == 0 {
		delete(a.pending, id)
	}
}
