package series

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// Remote is what a source is asked for an expression whose series it has. The elements of its
// answers are series here, at which the expression looks instead.
type Remote struct {
	Source string // its name
	Query  string
	Metric string // of the series that the elements are, with the labels that they have
	// Looks are the selectors of the query, as of now: how new what they find is says how new
	// the answer is.
	Looks []string
	// Check: an element is as new as all of it, see [CompileCheck].
	Check bool
	// Oldest tells of each of Looks whether all counts that it finds, and not the newest alone:
	// of a check, but not where it looks at a range of samples; and on the right of unless.
	Oldest []bool
	// Parts: elements may be made of several series. That of each of Looks the oldest is asked
	// besides says whether what does not fail any more was seen in whole.
	Parts bool
	// Seen are the metrics of what each of Looks finds, where it says something that there is
	// no element: that shows nothing when nothing was found, and where one of several finds
	// nothing may show that it has not happened yet. Else none.
	Seen []string
	// Loose are selectors of what each of Looks names, and empty where it names nothing, or nobody
	// asks: what finds nothing may not have happened yet.
	Loose []string
}

// Finds gives the metric here of what one of Looks finds.
func (r *Remote) Finds(selector int) string {
	if r.Seen == nil {
		return r.Metric
	}
	return r.Seen[selector]
}

// CompileAt reads an expression that says what is wrong, and looks at the series of a source, if
// it has one. Of a comparison that and and unless narrow down, what they leave is compared: what
// passes of that is seen, and forecast. A source is asked for it where it is compared with a
// number, else for the whole, and what that gives is what holds.
func CompileAt(text, source string) (*Expr, error) { return compileAt(text, source, false) }

// CompileCheck is Compile at a source, as CompileAt is, for what shows whether a remedy has
// helped: an element is as new as the oldest of what stands for now in it. A sum of which a
// part was measured before the remedy shows nothing of it.
func CompileCheck(text, source string) (*Expr, error) { return compileAt(text, source, true) }

func compileAt(text, source string, check bool) (*Expr, error) {
	apart := (*Expr).narrow
	if check {
		apart = (*Expr).compare
	}
	e, err := read(text, apart)
	if err != nil || source == "" {
		return e, err
	}
	if len(e.picks) == 0 {
		return nil, errors.New("it looks at no series, so there is nothing to ask its source for")
	}
	r := &Remote{Source: source, Query: e.value, Check: check}
	if limit, err := Compile(e.limit); err != nil || len(limit.picks) > 0 {
		whole, _ := Parser().ParseExpr(text) // has been read above
		r.Query = whole.String()
		if e.op != 0 {
			e.unlike = "both sides of the comparison are its source's"
		}
		e.op, e.limit, e.each, e.constant = 0, "", "", false
	}
	asked, err := Compile(r.Query)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.Query, err)
	}
	for i := range asked.picks {
		for _, selector := range asked.picks[i].looks() {
			if !slices.Contains(r.Looks, selector) {
				r.Looks = append(r.Looks, selector)
			}
		}
	}
	for _, selector := range r.Looks {
		r.Oldest = append(r.Oldest, slices.ContainsFunc(asked.picks, func(p pick) bool {
			return slices.Contains(p.looks(), selector) && (p.vetoes || check && p.reach == 0)
		}))
	}
	query, _ := Parser().ParseExpr(r.Query) // has been read above
	_, bare := unwrap(query).(*parser.VectorSelector)
	r.Parts = !check && !bare
	absence := e.Presence() || !check && len(r.Looks) > 1
	h := fnv.New64a()
	_, _ = fmt.Fprint(h, r.Query, absence, check)
	r.Metric = fmt.Sprintf("source:%s:%016x", source, h.Sum64())
	e.measured = e.Measured()
	own := e.picks
	e.remote, e.value, e.picks = r, fmt.Sprintf("{__name__=%q}", r.Metric), []pick{named(r.Metric)}
	for i, selector := range r.Looks {
		p := &e.picks[0]
		if absence {
			r.Seen = append(r.Seen, fmt.Sprintf("%s:%d", r.Metric, i))
			e.picks = append(e.picks, named(r.Seen[i]))
			p = &e.picks[i+1]
		}
		r.Loose = append(r.Loose, p.stands(selector, own))
	}
	e.plain = e.constant && !math.IsNaN(e.bound) && r.Seen == nil
	return e, nil
}

// looks gives the selectors by which the times are asked of what is picked. Of several metrics
// at once they cannot be: without the name their labels are the same. So each is asked that is
// listed, or up for all, where it is one of them.
func (p *pick) looks() []string {
	if nameOf(p.matchers) != "" {
		return []string{p.selector()}
	}
	names, rest := []string{"up"}, []*labels.Matcher{}
	for _, m := range p.matchers {
		switch {
		case m.Name != MetricLabel:
			rest = append(rest, m)
		case m.Type == labels.MatchRegexp && len(m.SetMatches()) > 0:
			names = m.SetMatches()
		}
	}
	var out []string
	for _, name := range names {
		if p.may(name, labels.EmptyLabels()) {
			one := pick{matchers: append([]*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, MetricLabel, name)}, rest...)}
			out = append(out, one.selector())
		}
	}
	if len(out) == 0 {
		return []string{p.selector()}
	}
	return out
}

// named picks the series of a metric as they are now.
func named(metric string) pick {
	m := []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, MetricLabel, metric)}
	return pick{matchers: m, text: matchersText(m), named: m, back: Lookback.Milliseconds()}
}

// stands has a pick of what a source finds stand for one of its selectors, and gives what
// picks what that names; empty when it names no metric.
func (p *pick) stands(selector string, asked []pick) (loose string) {
	p.says, p.spare, p.rises = selector, true, true
	for i := range asked {
		if a := &asked[i]; a.says == selector {
			p.needed, p.spare, p.rises = p.needed || a.needed, p.spare && a.spare, p.rises && a.rises
			if a.named != nil {
				loose = (&pick{matchers: a.named, text: matchersText(a.named)}).selector()
			}
		}
	}
	return loose
}

// Remote gives what the source of the expression is asked; nil when it has none.
func (e *Expr) Remote() *Remote { return e.remote }

// Source names whose series the expression looks at; empty for those that are kept here.
func (e *Expr) Source() string {
	if e.remote == nil {
		return ""
	}
	return e.remote.Source
}

// Basis tells how new an answer is: when what its elements rest on was measured, by the rules
// that hold for series that are kept here.
type Basis struct {
	Asked *Remote // nil where no expression asks
	ev    evidence
	parts evidence // by the oldest of the series, see [Remote.Parts]
}

// Add notes when the newest sample was measured of some series that a selector finds, or the
// oldest that stands for now (see [Remote.Oldest]), by the labels that they have in common.
func (b *Basis) Add(selector int, of labels.Labels, at time.Time) {
	m := b.ev.add(selector, of, at)
	if b.Asked != nil {
		m.ranged, m.vetoes = b.Asked.Check && !b.Asked.Oldest[selector], !b.Asked.Check && b.Asked.Oldest[selector]
	}
}

// AddOldest notes when the oldest of some series was measured, of an expression with parts.
func (b *Basis) AddOldest(selector int, of labels.Labels, at time.Time) {
	b.parts.add(selector, of, at)
}

func (ev *evidence) add(selector int, of labels.Labels, at time.Time) *measured {
	for len(ev.picked) <= selector {
		ev.picked = append(ev.picked, measured{})
	}
	m := &ev.picked[selector]
	m.series = append(m.series, timed{labels: of, measured: at.UnixMilli(), oldest: at.UnixMilli()})
	return m
}

// Measured gives what Meta says of when an element was measured.
func (b *Basis) Measured(element labels.Labels) (measured, oldest int64) {
	n, _ := b.ev.newest(element)
	if b.Asked != nil && b.Asked.Check {
		n.newest = n.whole
	}
	if n.newest.IsZero() {
		return never, 0
	}
	if of, _ := b.parts.newest(element); !of.oldest.IsZero() {
		oldest = of.oldest.UnixMilli()
	}
	return n.newest.UnixMilli(), oldest
}

// fault is why a set cannot be told, or only in part.
type fault struct {
	metric, why string
	part        bool
}

// Fail notes why the series of the set, which are of a metric, cannot be told now. Its next
// round takes that back.
func (s *Set) Fail(metric, why string) { s.note(fault{metric, why, false}) }

// Lack notes, before a round that is partial, why: of what its series are made something may
// be missing. The next round that is whole takes that back. Without a metric that is of any but
// [UpMetric].
func (s *Set) Lack(metric, why string) { s.note(fault{metric, why, true}) }

func (s *Set) note(f fault) {
	s.db.tallies.Lock()
	defer s.db.tallies.Unlock()
	if f.why == "" {
		delete(s.db.faults, s)
	} else {
		s.db.faults[s] = f
	}
}

// Broken tells why series that an expression may look at cannot be told now; empty when they
// can.
func (db *DB) Broken(e *Expr) (why string) { return db.fault(e, false) }

// Lacking tells why they cannot be told, or only in part, so that a sum of them may be less
// than it is; empty when neither is known.
func (db *DB) Lacking(e *Expr) (why string) { return db.fault(e, true) }

func (db *DB) fault(e *Expr, part bool) (why string) {
	db.tallies.Lock()
	defer db.tallies.Unlock()
	for s, f := range db.faults {
		if f.metric == "" && e.remote != nil {
			continue // it looks at what its source gave alone
		}
		if (part || !f.part) && slices.ContainsFunc(e.picks, func(p pick) bool { return p.may(f.metric, s.own) }) && (why == "" || f.why < why) {
			why = f.why
		}
	}
	return why
}

// may tells whether a selector may pick series of a metric, or of any but [UpMetric], with some
// labels.
func (p *pick) may(metric string, own labels.Labels) bool {
	if metric == "" && nameOf(p.matchers) == UpMetric {
		return false
	}
	return !slices.ContainsFunc(p.matchers, func(m *labels.Matcher) bool {
		return m.Name == MetricLabel && metric != "" && !m.Matches(metric) || own.Has(m.Name) && !m.Matches(own.Get(m.Name))
	})
}
