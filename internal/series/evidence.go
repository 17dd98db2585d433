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
	every  int32      // ms between the newest samples of that whose samples come most rarely
	// names and key are memory for those of an element's labels.
	names []string
	key   []byte
}

// measured are the series that a selector picks.
type measured struct {
	series []timed
	ranged bool // the expression makes something of a range of it
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
}

// shared are series which have the same of an element's names.
type shared struct {
	names []string
	times map[uint64]span // by the values of these labels
}

// span are the times of the newest samples of several series: of the newest of them, and
// of the oldest.
type span struct{ newest, oldest int64 }

// A window that has only begun says little: two errors in the first three requests after
// a start are no outage. What an expression makes of a range counts once a twelfth of it
// has been seen, as the short one of an error budget's two windows is of the long one.
const thinShare = 12

// thin stands for the time of what has not been seen for long enough.
const thin = -1

// longestLookback bounds how old a sample may be that stands for now, where samples
// come rarely.
const longestLookback = 2 * time.Hour

// lookAt finds what an expression's selectors pick, and how far back a sample may be
// that stands for now: 5 minutes, or longer where samples come more rarely. A series
// that ended is none.
func (db *DB) lookAt(e *Expr, at time.Time, ev *evidence) time.Duration {
	back := Lookback
	now := at.UnixMilli()
	for _, p := range e.picks {
		m := measured{ranged: p.reach > 0}
		var newest int64
		var gap int32
		for _, k := range db.picked(p.text, p.matchers) {
			s, ok := k.newestUntil(now)
			if !ok || s.stale() {
				continue
			}
			back = max(back, min(2*time.Duration(s.gap)*time.Millisecond, longestLookback))
			m.series = append(m.series, timed{k.labels, k.sensor, s.at, s.first, s.measured})
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
		m.series = slices.DeleteFunc(m.series, func(s timed) bool { return s.at <= oldest })
		for j := range m.series {
			if s := &m.series[j]; p.reach > 0 && now-s.first < p.reach/thinShare {
				s.measured = thin
			}
		}
	}
	return back
}

// newest gives the oldest, over the selectors, of the newest samples that bear on
// labels; false when some of them have not been seen for long enough. whole is the same
// where each series counts that stands for now: a sum is made of all.
func (ev *evidence) newest(ls labels.Labels) (at, whole time.Time, enough bool) {
	ev.names, ev.key = ev.names[:0], ev.key[:0]
	ls.Range(func(l labels.Label) {
		if l.Name != MetricLabel {
			ev.names = append(ev.names, l.Name)
			ev.key = append(append(ev.key, l.Name...), 0)
		}
	})
	least := span{math.MaxInt64, math.MaxInt64}
	for i := range ev.picked {
		m := &ev.picked[i]
		t, ok := m.times(ls, ev.names, ev.key)
		if !ok {
			continue
		}
		least.newest = min(least.newest, t.newest)
		if m.ranged {
			t.oldest = t.newest
		}
		least.oldest = min(least.oldest, t.oldest)
	}
	switch least.newest {
	case math.MaxInt64:
		return time.Time{}, time.Time{}, true
	case thin:
		return time.Time{}, time.Time{}, false
	}
	return time.UnixMilli(least.newest).UTC(), time.UnixMilli(least.oldest).UTC(), true
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
	t = span{math.MinInt64, math.MaxInt64}
	for _, s := range by {
		if found, is := s.times[hashOf(ls, s.names)]; is {
			t, ok = span{max(t.newest, found.newest), min(t.oldest, found.oldest)}, true
		}
	}
	return t, ok
}

// share sorts the series by which of the names they have, and their values.
func (m *measured) share(names []string) (out []shared) {
	places := map[string]int{}
	has := make([]byte, len(names))
	for _, s := range m.series {
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
			t = span{s.measured, s.measured}
		}
		out[place].times[h] = span{max(t.newest, s.measured), min(t.oldest, s.measured)}
	}
	return out
}

func hashOf(ls labels.Labels, names []string) uint64 {
	h, _ := ls.HashForLabels(nil, names...)
	return h
}
