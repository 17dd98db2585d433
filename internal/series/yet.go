package series

import (
	"math"
	"slices"
	"sync/atomic"

	"github.com/prometheus/prometheus/model/labels"

	"grace"
)

// given is what came, since it is watched, of what a selector names, see pick.
type given struct {
	matchers []*labels.Matcher
	came     atomic.Bool
	refused  atomic.Bool // something of its metric was not taken
}

// note takes what a series is that comes, whether or not it is picked. The service is the one
// that the rules give it.
func (w *selectors) note(of []label, service grace.ServiceID, reason Reason) {
	list := w.names[string(find(of, MetricLabel))]
	if len(list) == 0 {
		return
	}
	ls := labelsOf(of, service)
	for _, g := range list {
		switch {
		case reason.Refused(): // and what it is may not be known
			g.refused.Store(true)
		case matches(g.matchers, ls):
			g.came.Store(true)
		}
	}
}

// given finds what came of what a selector names; nil where it names no metric.
func (w *selectors) given(p *pick) *given {
	for _, g := range w.names[nameOf(p.matchers)] {
		if slices.EqualFunc(g.matchers, p.named, func(a, b *labels.Matcher) bool { return a.String() == b.String() }) {
			return g
		}
	}
	return nil
}

// Given notes that the source of an expression has what a selector names whose series would
// be of a metric here, see [Remote.Loose].
func (s *Set) Given(metric string) {
	s.db.opening.RLock()
	defer s.db.opening.RUnlock()
	s.db.watched.Load().note([]label{{[]byte(MetricLabel), []byte(metric)}}, "", Taken)
}

// names finds what each selector names: its metric, and the labels that it asks for, of any
// value; but of the value that another one of the same metric asks for, which picks more.
func (e *Expr) names() {
	for i := range e.picks {
		p := &e.picks[i]
		if nameOf(p.matchers) == "" {
			continue
		}
		for _, m := range p.matchers {
			switch {
			case m.Name == MetricLabel, e.widely(m, p):
				p.named = append(p.named, m)
			case !m.Matches(""):
				p.named = append(p.named, labels.MustNewMatcher(labels.MatchNotEqual, m.Name, ""))
			}
		}
	}
}

// widely tells whether a matcher of a pick is of another one, too, that has only such.
func (e *Expr) widely(m *labels.Matcher, p *pick) bool {
	in := func(m *labels.Matcher, list []*labels.Matcher) bool {
		return slices.ContainsFunc(list, func(o *labels.Matcher) bool { return o.String() == m.String() })
	}
	return slices.ContainsFunc(e.picks, func(q pick) bool {
		return len(q.matchers) < len(p.matchers) && in(m, q.matchers) && nameOf(q.matchers) != "" &&
			!slices.ContainsFunc(q.matchers, func(o *labels.Matcher) bool { return !in(o, p.matchers) })
	})
}

// came is what is known of what a selector names.
type came struct {
	ever   bool // it has picked a series, or may have for all that is known
	silent bool // one was forgotten that had not ended, or may have been
	named  bool // there is its metric, with the labels that it asks for
	rises  bool // see pick
	// elements: it picks those of a source's answer, beside which it is known what else is found.
	elements bool
}

func (w *selectors) came(p *pick) (c came) {
	s, g := w.byText[p.text], w.given(p)
	c.elements, c.rises = p.says == "", p.rises
	if s == nil {
		c.ever, c.silent = true, true
		return c
	}
	c.ever, c.silent = s.past()
	if g == nil {
		return c
	}
	refused := g.refused.Load()
	c.ever, c.silent, c.named = c.ever || refused, c.silent || refused, g.came.Load()
	return c
}

// Unmeasured is what an expression looks at and never found, since it is watched.
type Unmeasured struct {
	Selector string // empty where there is none
	// Named: its metric is measured, with the labels that it asks for. What it picks may not
	// have happened yet.
	Named bool
}

// Unmeasured names a selector without which an expression finds nothing, and what it names
// nobody gives; or one of those of which none has ever found anything; or one that found
// nothing where little of it is wrong.
func (db *DB) Unmeasured(e *Expr) Unmeasured {
	watched, none := db.watched.Load(), true
	var first, wrong Unmeasured
	for i := range e.picks {
		p := &e.picks[i]
		if p.says == "" || p.spare {
			continue
		}
		c := watched.came(p)
		switch {
		case c.ever:
			none = false
		case p.needed && !c.named:
			return Unmeasured{Selector: p.says}
		default:
			if first.Selector == "" {
				first = Unmeasured{p.says, c.named}
			}
			if p.needed && !p.rises && wrong.Selector == "" {
				wrong = Unmeasured{p.says, c.named}
			}
		}
	}
	if none {
		return first
	}
	return wrong
}

// NoneYet tells whether a comparison finds nothing that agrees with labels because something has
// not happened yet: of what is measured a selector finds nothing, since it was never there or all
// of it has ended, and all that others find is measured. So it is where all is well. What fell
// silent without an end is another matter, and so is what is wrong where there is little of it.
// ended tells that all that is not found was there.
func (r *Result) NoneYet(of map[string]string) (yet, ended bool) {
	ls, ev := labels.FromMap(of), &r.evidence
	its := func(e Element) bool { return agree(e.Labels, of) }
	if ev.came == nil || r.Lacking != "" || slices.ContainsFunc(r.Elements, its) || slices.ContainsFunc(r.Undefined, its) {
		return false, false
	}
	ev.name(ls)
	some, none := false, false
	ended = true
	for i, c := range ev.came {
		m := &ev.picked[i]
		t, found := m.times(ls, ev.names, ev.key)
		switch {
		case c.elements:
		case found && t.newest == math.MinInt64: // all are lost
			return false, false
		case found:
			some = true
		case c.silent || m.silent || !c.named || !c.rises || slices.ContainsFunc(m.series, func(s timed) bool { return s.measured == never }):
			return false, false
		default:
			none, ended = true, ended && c.ever
		}
	}
	return some && none, some && none && ended
}

// Idle tells whether an element has no say because there is nothing to compare, though all of
// it was measured, as of the errors of no requests. What is no number because there is not one
// number to make it of, as of scalar(), is not all there.
func (e *Expr) Idle(one *Element) bool {
	return math.IsNaN(one.Value) && !e.scalar && !one.Newest.IsZero()
}

// agree tells whether no label is another one.
func agree(ls, of map[string]string) bool {
	for name, value := range of {
		if was, has := ls[name]; has && was != value {
			return false
		}
	}
	return true
}

// Await has it not told that something has not happened yet, or is not measured: it may come.
func (r *Result) Await() { r.evidence.came, r.Unmeasured = nil, Unmeasured{} }
