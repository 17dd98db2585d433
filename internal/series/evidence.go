package series

import (
	"math"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// evidence tells when what an element of a result rests on was measured last. An
// element rests on those of a selector's series that have the element's labels, as far
// as they have labels of these names at all: sum by (service) of a service's own.
type evidence struct {
	picked []measured // by each of the expression's selectors
	came   []came     // what is known of what each names; nil where nobody asks
	every  int32      // ms between the newest samples of that whose samples come most rarely
	// names and key are memory for those of an element's labels.
	names []string
	key   []byte
}

// measured are the series that a selector picks.
type measured struct {
	series []timed
	ranged bool // the expression makes something of a range of it
	vetoes bool // what it finds takes elements away, see pick
	wants  bool // elements may be there for want of what it does not find, see pick
	silent bool // one that it picked has not ended, and is not found any more
	low    bool // elements may be there because what it finds is low, see pick
	// of has them by the names of an element's labels: most elements of a result have
	// the same.
	of map[string][]shared
}

type timed struct {
	labels labels.Labels
	sensor string
	at     int64 // Unix ms, of the newest sample
	first  int64 // Unix ms, of the oldest that is kept
	// measured is when what the newest sample rests on was measured: of a recording
	// before it was made.
	measured int64
	oldest   int64 // when the oldest of that was, see Meta
	gap      int32 // ms between the two newest samples; 0 where that is not how often it is measured
	lost     bool  // its target does not answer, see [Set.Lose]
	behind   bool  // its next sample is overdue, beside those of others
	part     bool  // it is a recording of a part, see Meta
	unseen   bool  // not all of the range was seen in which it is counted
	gone     bool  // it has been silent for so long that nobody waits for it any more
	ended    bool  // as of [kept]
}

// lacks tells whether a sum of the series may be less than it is.
func (s *timed) lacks() bool { return s.lost || s.behind }

// overdue tells whether its next sample should have been measured by a time, where it is known
// how often it is.
func (s *timed) overdue(at int64) bool { return s.gap > 0 && at-s.measured > int64(s.gap)*3/2 }

// shared are series which have the same of an element's names.
type shared struct {
	names []string
	times map[uint64]span // by the values of these labels
}

// span are the times of the newest samples of several series: of the newest of them that is
// not lost, of the oldest that has not gone, and of the oldest that stands for now, or is lost.
type span struct {
	newest, oldest, whole int64
	// Of those that have not gone: the one measured the longest ago of those that lack, and of
	// those that are waited for; nil for none.
	lacking, awaited *timed
	part, unseen     bool // see timed; of some
}

func (t span) with(o span) span {
	return span{max(t.newest, o.newest), min(t.oldest, o.oldest), min(t.whole, o.whole), older(t.lacking, o.lacking), older(t.awaited, o.awaited), t.part || o.part, t.unseen || o.unseen}
}

// older gives the one that was measured the longest ago, the first of equals; nil is none.
func older(a, b *timed) *timed {
	if a == nil || b != nil && b.oldest < a.oldest {
		return b
	}
	return a
}

// noSpan is that of no series.
func noSpan() span { return span{newest: math.MinInt64, oldest: math.MaxInt64, whole: math.MaxInt64} }

// A window that has only begun says little: two errors in the first three requests after
// a start are no outage. What an expression makes of a range counts once a twelfth of it
// has been seen, as the short one of an error budget's two windows is of the long one.
const thinShare = 12

// thin stands for the time of what has not been seen for long enough.
const thin = -1

// longestLookback bounds how old a sample may be that stands for now, where samples
// come rarely.
const longestLookback = 2 * time.Hour

// stands is for how long a sample stands for now, of a series whose samples are so many ms apart.
func stands(gap int32) time.Duration {
	return max(Lookback, min(2*time.Duration(gap)*time.Millisecond, longestLookback))
}

// lookAt finds what an expression's selectors pick, and how far back a sample may be
// that stands for now: 5 minutes, or longer where samples come more rarely. A series
// that ended is none; one that is lost bears evidence of when it was not.
func (db *DB) lookAt(e *Expr, at time.Time, ev *evidence) time.Duration {
	back := Lookback
	now := at.UnixMilli()
	for _, p := range e.picks {
		m := measured{ranged: p.reach > 0 && !p.vetoes, vetoes: p.vetoes, wants: p.wants, low: p.low}
		var newest int64
		var gap int32
		for _, k := range db.picked(p.text, p.matchers) {
			s, ok := k.newestUntil(now)
			lost := ok && s.lost()
			if !ok || s.stale() && !lost {
				m.silent = m.silent || !s.ended
				continue
			}
			m.series = append(m.series, timed{
				labels: k.labels, sensor: k.sensor, at: s.at, first: s.first, measured: s.measured, oldest: s.oldest, gap: s.rhythm(), lost: lost, part: s.lacks, ended: s.ended, unseen: p.counts && db.unseen(&p, &s, now),
			})
			if lost {
				continue
			}
			back = max(back, stands(s.gap))
			if s.measured > newest {
				newest, gap = s.measured, s.gap
			}
		}
		ev.every = max(ev.every, gap)
		ev.picked = append(ev.picked, m)
	}
	for i, p := range e.picks { // what is older than all that the engine sees bears on nothing
		oldest := now - p.back - (back - Lookback).Milliseconds()
		m := &ev.picked[i]
		gone := now - back.Milliseconds()
		m.series = slices.DeleteFunc(m.series, func(s timed) bool {
			old := s.at <= oldest || s.lost && s.at <= now-stands(s.gap).Milliseconds()
			m.silent = m.silent || old && !s.ended
			return old
		})
		m.compare(gone)
		for j := range m.series {
			if s := &m.series[j]; p.reach > 0 && !s.lost && now-s.first < p.reach/thinShare {
				s.measured = thin
			}
		}
	}
	return back
}

// unseen tells whether more of the range of a selector than what is thin was not seen of a series:
// before the selector picked any, or while the series was lost.
func (db *DB) unseen(p *pick, s *seen, now int64) bool {
	first, from, least := int64(0), now-p.reach, p.reach/thinShare
	if of := db.watched.Load().byText[p.text]; of != nil {
		first = of.first.Load()
	}
	return first-from > least || s.away < now && s.back-max(s.away, from) > least
}

// compare finds the series whose next sample is overdue when the others' have come, and those
// that have gone, with none after a time.
func (m *measured) compare(gone int64) {
	newest := int64(math.MinInt64)
	for i := range m.series {
		newest = max(newest, m.series[i].measured)
	}
	for i := range m.series {
		s := &m.series[i]
		s.gone = s.at <= gone
		s.behind = !s.gone && s.overdue(newest)
	}
}

// lacks tells whether a series that bears on something lacks.
func (ev *evidence) lacks() bool {
	return slices.ContainsFunc(ev.picked, func(m measured) bool {
		return slices.ContainsFunc(m.series, func(s timed) bool { return s.lacks() })
	})
}

// silent tells whether something that is not found any more has not ended, or may not be found
// because its next sample is overdue at a time.
func (ev *evidence) silent(at int64) bool {
	return slices.ContainsFunc(ev.picked, func(m measured) bool {
		return m.silent || slices.ContainsFunc(m.series, func(s timed) bool { return s.overdue(at) })
	})
}

// newness is when what an element rests on was measured: the oldest, over the selectors, of
// the newest samples that bear on it. whole is the same where each series counts that stands
// for now, or is lost: a sum is made of all. oldest is the same of all, also of those of which
// a range is looked at.
type newness struct {
	newest, whole, oldest time.Time
	lacks                 bool // of some series more should have been measured by now
	unseen                bool // not all was seen of the range in which some are counted
	wanting               bool // so that it may be there only for that
}

// newest gives that of an element with labels; false when some of it has not been seen for
// long enough.
func (ev *evidence) newest(ls labels.Labels) (n newness, enough bool) {
	ev.name(ls)
	least := noSpan()
	least.newest = math.MaxInt64
	for i := range ev.picked {
		m := &ev.picked[i]
		t, ok := m.times(ls, ev.names, ev.key)
		if !ok {
			continue
		}
		if m.vetoes && t.newest != thin && t.oldest != math.MaxInt64 {
			t.newest = t.oldest
		}
		if t.newest == math.MinInt64 { // all are lost
			t.newest = math.MaxInt64
		}
		n.wanting = n.wanting || m.wants && t.lacking != nil || m.low && (t.part || t.unseen)
		newest := min(least.newest, t.newest)
		least = least.with(t)
		least.newest, least.whole = newest, min(least.whole, newest)
	}
	n.lacks, n.unseen = least.lacking != nil || least.part, least.unseen
	switch least.newest {
	case math.MaxInt64:
		return n, true
	case thin:
		return newness{}, false
	}
	n.newest, n.whole, n.oldest = time.UnixMilli(least.newest).UTC(), time.UnixMilli(least.whole).UTC(), time.UnixMilli(least.oldest).UTC()
	return n, true
}

// name notes the names of an element's labels.
func (ev *evidence) name(ls labels.Labels) {
	ev.names, ev.key = ev.names[:0], ev.key[:0]
	ls.Range(func(l labels.Label) {
		if l.Name != MetricLabel {
			ev.names = append(ev.names, l.Name)
			ev.key = append(append(ev.key, l.Name...), 0)
		}
	})
}

// lack gives the series that was measured the longest ago of those that bear on labels and
// lack, or were not measured after a time though they are waited for; nil for none.
func (ev *evidence) lack(ls labels.Labels, since int64) *timed {
	ev.name(ls)
	var out *timed
	for i := range ev.picked {
		t, _ := ev.picked[i].times(ls, ev.names, ev.key)
		if out = older(out, t.lacking); t.awaited != nil && t.awaited.oldest <= since {
			out = older(out, t.awaited)
		}
	}
	return out
}

// times gives those of the newest samples of the series that agree with labels, which
// have these names.
func (m *measured) times(ls labels.Labels, names []string, key []byte) (t span, ok bool) {
	by, known := m.of[string(key)]
	if !known {
		by = m.share(names)
		if m.of == nil {
			m.of = map[string][]shared{}
		}
		m.of[string(key)] = by
	}
	t = noSpan()
	for _, s := range by {
		if found, is := s.times[hashOf(ls, s.names)]; is {
			t, ok = t.with(found), true
		}
	}
	return t, ok
}

// share sorts the series by which of the names they have, and their values.
func (m *measured) share(names []string) (out []shared) {
	places := map[string]int{}
	has := make([]byte, len(names))
	for i := range m.series {
		s := &m.series[i]
		if s.measured == never {
			continue // it bears no evidence
		}
		for i, name := range names {
			has[i] = '0'
			if s.labels.Has(name) {
				has[i] = '1'
			}
		}
		place, known := places[string(has)]
		if !known {
			place = len(out)
			places[string(has)] = place
			out = append(out, shared{times: map[uint64]span{}})
			for i, name := range names {
				if has[i] == '1' {
					out[place].names = append(out[place].names, name)
				}
			}
		}
		h := hashOf(s.labels, out[place].names)
		t, known := out[place].times[h]
		if !known {
			t = noSpan()
		}
		own := span{newest: s.measured, oldest: s.oldest, whole: s.measured, part: s.part, unseen: s.unseen}
		if s.lacks() {
			own.lacking = s
		}
		if !s.gone && time.Duration(s.gap)*time.Millisecond <= rarely {
			own.awaited = s
		}
		switch {
		case s.lost:
			own.newest = math.MinInt64
		case m.ranged:
			own.whole = math.MaxInt64
		}
		if s.gone {
			own.oldest = math.MaxInt64
		}
		out[place].times[h] = t.with(own)
	}
	return out
}

func hashOf(ls labels.Labels, names []string) uint64 {
	h, _ := ls.HashForLabels(nil, names...)
	return h
}
