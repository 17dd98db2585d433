package series

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	prom "github.com/prometheus/prometheus/model/value"
)

// exported is what the name of a label begins with that a series had itself and a sensor
// gives it, too, as Prometheus has it.
const exported = "exported_"

// Set is series that come together, round by round: those of a page, of a recording, of the
// answer to a query. What a round has is appended; what the one before had and this one has
// not ends, with Prometheus' stale marker. It is not safe for concurrent use.
type Set struct {
	db   *DB
	from From
	own  labels.Labels     // that every series gets
	open map[string]uint64 // the newest round of the series that have not ended, by their keys; 0 of what is lost, or silent

	round uint64
	at    time.Time // of the round
	last  time.Time // of the one before
	batch *Batch    // of the round
	list  []labels.Label
	key   []byte
}

// NewSet gives a set without series. Each gets the labels own; one of these names that it has
// itself is kept with the prefix exported_.
func (db *DB) NewSet(from From, own labels.Labels) *Set {
	return &Set{db: db, from: from, own: own, open: map[string]uint64{}}
}

// Begin opens a round, which is to be ended.
func (s *Set) Begin(at time.Time) {
	s.round++
	s.last, s.at, s.batch = s.at, at, s.db.Begin(s.from)
}

// Append takes a sample of a series of the round; a name replaces that of its metric. One
// that is not of the time of the round ends by itself, as with Prometheus.
func (s *Set) Append(name string, of labels.Labels, meta Meta, sample Sample) {
	s.list = s.list[:0]
	s.own.Range(func(l labels.Label) { s.list = append(s.list, l) })
	if name != "" {
		s.list = append(s.list, labels.Label{Name: MetricLabel, Value: name})
	}
	given := len(s.list)
	of.Range(func(l labels.Label) {
		clash := func(g labels.Label) bool { return g.Name == l.Name }
		switch taken := slices.ContainsFunc(s.list[:given], clash); {
		case taken && l.Name == MetricLabel:
			return
		case taken:
			for l.Name = exported + l.Name; of.Has(l.Name) || slices.ContainsFunc(s.list[:given], clash); {
				l.Name = exported + l.Name
			}
		}
		s.list = append(s.list, l)
	})
	slices.SortFunc(s.list, func(a, b labels.Label) int { return cmp.Compare(a.Name, b.Name) })
	s.key = s.key[:0]
	for _, l := range s.list {
		s.key = AppendLabel(s.key, l.Name, l.Value)
	}
	if s.batch.Append(s.key, meta, sample) && sample.At == s.at.UnixMilli() {
		s.open[string(s.key)] = s.round
	}
}

// End closes the round, and says what became of its samples. What it does not have ends; of a
// round that is partial, or too large to be taken whole, that is not known, and goes on, as
// does what [Set.Lack] says.
func (s *Set) End(partial bool) Report {
	r := s.batch.End()
	s.batch = nil
	if !partial && r.Count(RequestFull) == 0 {
		s.Fail("", "")
		s.end(s.at, s.round, Meta{})
	}
	return r
}

// EndLost is End of a whole round of which it is not known whether what it does not have is no
// more: that is lost, see [Set.Lose].
func (s *Set) EndLost() Report {
	r := s.End(true)
	s.Fail("", "")
	s.lose(s.at, s.round, s.last)
	return r
}

// EndSilent is End of a whole round of which what it does not have may have fallen silent: that
// ends, and has ended properly once a whole round does not have it.
func (s *Set) EndSilent() Report {
	r := s.End(true)
	s.Fail("", "")
	s.end(s.at, s.round, Meta{Measured: s.at.UnixMilli()})
	return r
}

// Close ends all series.
func (s *Set) Close(at time.Time) {
	s.Fail("", "")
	s.end(at, math.MaxUint64, Meta{})
}

// ErrReplaced is the cause of the end of a sensor whose like begins at once.
var ErrReplaced = errors.New("replaced by another one of its name")

// Leave ends all series when a sensor's Run with ctx does: they have ended where it was told to
// end for good; else it broke, or is replaced, and they are lost.
func (s *Set) Leave(ctx context.Context, at time.Time) {
	if after := s.at.Add(time.Millisecond); at.Before(after) { // of its newest samples
		at = after
	}
	if ctx.Err() != nil && !errors.Is(context.Cause(ctx), ErrReplaced) {
		s.Close(at)
		return
	}
	s.Fail("", "")
	s.Lose(at)
}

// Lose ends all series, because nobody tells any more what they are, not because they are no
// more: a sum of them is less than it may be, for as long as a sample stands for now, or until
// a round that is whole does not have them.
func (s *Set) Lose(at time.Time) { s.lose(at, math.MaxUint64, s.at) }

// lose ends the series that were last in a round before one, measured last then or before.
func (s *Set) lose(at time.Time, before uint64, measured time.Time) {
	s.end(at, before, Meta{Measured: min(measured.UnixMilli(), at.UnixMilli()-1)})
}

// end ends the series that were last in a round before one. What is lost is so once.
func (s *Set) end(at time.Time, before uint64, meta Meta) {
	var gone []string
	for key, round := range s.open {
		switch lost := meta.Measured != 0; {
		case round >= before, lost && round == 0:
			continue
		case lost:
			s.open[key] = 0
		default:
			delete(s.open, key)
		}
		gone = append(gone, key)
	}
	if gone == nil {
		return
	}
	slices.Sort(gone)
	b := s.db.Begin(s.from) // of which no limit of a round takes anything
	defer b.End()
	for _, key := range gone {
		b.Append([]byte(key), meta, Sample{At: at.UnixMilli(), Value: math.Float64frombits(prom.StaleNaN)})
	}
}
