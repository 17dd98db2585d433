package series

import (
	"math"
	"slices"
	"sync"

	"github.com/prometheus/prometheus/model/labels"
)

// given is what came by a name that selectors name, since it is watched.
type given struct {
	mu      sync.Mutex
	came    bool
	refused bool            // something of it was not taken
	labels  map[string]bool // that its series have
}

// note takes what a series is that comes, whether or not it is picked.
func (w *selectors) note(of []label, reason Reason) {
	g := w.names[string(find(of, MetricLabel))]
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if reason.Refused() {
		g.refused = true
		return
	}
	g.came = true
	for _, l := range of {
		if !g.labels[string(l.name)] {
			if g.labels == nil {
				g.labels = map[string]bool{ServiceLabel: true} // which the rules may give it
			}
			g.labels[string(l.name)] = true
		}
	}
}

// Given notes that the source of an expression has what a selector names whose series would
// be of a metric here, see [Remote.Loose].
func (s *Set) Given(metric string) {
	s.db.opening.RLock()
	defer s.db.opening.RUnlock()
	s.db.watched.Load().note([]label{{[]byte(MetricLabel), []byte(metric)}}, Taken)
}

// asks tells whether a matcher wants a label to be there.
func asks(m *labels.Matcher) bool { return m.Name != MetricLabel && !m.Matches("") }

// came is what is known of what a selector names.
type came struct {
	ever   bool // it has picked a series, or may have for all that is known
	silent bool // one was forgotten that had not ended, or may have been
	named  bool // there is its metric, with the labels that it asks for
}

func (w *selectors) came(p *pick) (c came) {
	s, g := w.byText[p.text], w.names[nameOf(p.matchers)]
	if s == nil {
		return came{ever: true, silent: true}
	}
	c.ever, c.silent = s.past()
	if g == nil {
		return c
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	c.ever, c.silent = c.ever || g.refused, c.silent || g.refused
	c.named = g.came && !slices.ContainsFunc(p.matchers, func(m *labels.Matcher) bool { return asks(m) && !g.labels[m.Name] })
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

// noneYet tells whether nothing is found because something has not happened yet: of what is
// measured a selector finds nothing, since it was never there or all of it has ended, and all
// that others find is measured. What fell silent without an end is another matter, and so is
// what is wrong where there is little of it. ended tells that all that is not found was there.
func (db *DB) noneYet(e *Expr, ev *evidence) (yet, ended bool) {
	watched, some, none := db.watched.Load(), false, false
	ended = true
	for i := range e.picks {
		p := &e.picks[i]
		if p.says == "" {
			continue
		}
		if list := ev.picked[i].series; len(list) > 0 {
			if !slices.ContainsFunc(list, func(s timed) bool { return !s.lost }) {
				return false, false
			}
			some = true
			continue
		}
		c := watched.came(p)
		if c.silent || ev.picked[i].silent || !c.named || !p.rises {
			return false, false
		}
		none, ended = true, ended && c.ever
	}
	return some && none, some && none && ended
}

// Idle tells whether an element has no say because there is nothing to compare, though all of
// it was measured, as of the errors of no requests. What is no number because there is not one
// number to make it of, as of scalar(), is not all there.
func (e *Expr) Idle(one *Element) bool {
	return math.IsNaN(one.Value) && !e.scalar && !one.Newest.IsZero()
}
