package series

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/annotations"
)

// Querier reads the samples that are kept, within two times in Unix ms.
func (db *DB) Querier(mint, maxt int64) (storage.Querier, error) {
	return &querier{db: db, mint: mint, maxt: maxt}, nil
}

var _ storage.Queryable = (*DB)(nil)

type querier struct {
	db         *DB
	mint, maxt int64
}

// Select gives the series that match.
func (q *querier) Select(_ context.Context, _ bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	mint, maxt := q.mint, q.maxt
	if hints != nil {
		mint, maxt = hints.Start, hints.End
	}
	set := &found{}
	for _, k := range q.db.find(matchers) {
		if chunks := k.within(mint, maxt); len(chunks) > 0 {
			set.series = append(set.series, one{k.labels, chunks})
		}
	}
	return set
}

// find gives the series that matchers pick, sorted by their labels.
func (db *DB) find(matchers []*labels.Matcher) []*kept {
	return db.picked(matchersText(matchers), matchers)
}

// picked is find of matchers whose text is known. Where no expression has the same
// matchers, all series are looked through of which samples are kept.
func (db *DB) picked(text string, matchers []*labels.Matcher) []*kept {
	if s := db.watched.Load().byText[text]; s != nil {
		return s.list()
	}
	var out []*kept
	for i := range db.shards {
		out = db.shards[i].matching(matchers, out)
	}
	slices.SortFunc(out, func(a, b *kept) int { return labels.Compare(a.labels, b.labels) })
	return out
}

func (sh *shard) matching(matchers []*labels.Matcher, out []*kept) []*kept {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for _, e := range sh.list {
		if e.kept != nil && matches(matchers, e.kept.labels) {
			out = append(out, e.kept)
		}
	}
	return out
}

// within gives the samples of a series within two times.
func (k *kept) within(mint, maxt int64) []chunk {
	sh := k.shard
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return k.samples.within(mint, maxt)
}

// LabelValues gives the values that a label has in series of which samples are kept.
func (q *querier) LabelValues(_ context.Context, name string, _ *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return q.distinct(matchers, func(ls labels.Labels, add func(string)) {
		if v := ls.Get(name); v != "" {
			add(v)
		}
	}), nil, nil
}

// LabelNames gives the names that labels have in series of which samples are kept.
func (q *querier) LabelNames(_ context.Context, _ *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return q.distinct(matchers, func(ls labels.Labels, add func(string)) {
		ls.Range(func(l labels.Label) { add(l.Name) })
	}), nil, nil
}

func (q *querier) distinct(matchers []*labels.Matcher, of func(ls labels.Labels, add func(string))) []string {
	var out []string
	for _, k := range q.db.find(matchers) {
		of(k.labels, func(text string) { out = append(out, text) })
	}
	slices.SortFunc(out, cmp.Compare[string])
	return slices.Compact(out)
}

// Close does nothing: a querier holds nothing.
func (*querier) Close() error { return nil }

// found are the series that a selector picks.
type found struct {
	series []one
	next   int
}

// Next goes to the next one.
func (f *found) Next() bool {
	f.next++
	return f.next <= len(f.series)
}

// At gives it.
func (f *found) At() storage.Series { return &f.series[f.next-1] }

// Err is nil: nothing can fail in memory.
func (*found) Err() error { return nil }

// Warnings is nil too.
func (*found) Warnings() annotations.Annotations { return nil }

// one is a series with its samples.
type one struct {
	labels labels.Labels
	chunks []chunk
}

// Labels gives its labels.
func (o *one) Labels() labels.Labels { return o.labels }

// Iterator walks over its samples.
func (o *one) Iterator(used chunkenc.Iterator) chunkenc.Iterator { return over(o.chunks, used) }

// Newest is when the newest sample of a metric is of that is kept; zero where there is none.
func (db *DB) Newest(metric string) (at time.Time) {
	p := named(metric)
	for _, k := range db.picked(p.text, p.matchers) {
		if s, ok := k.newest(); ok && time.UnixMilli(s.at).After(at) {
			at = time.UnixMilli(s.at)
		}
	}
	return at
}

// Selected is how many series a selector of an expression picks.
type Selected struct {
	Selector string
	Metric   string // that it names, if it does
	Series   int
}

// Selected gives what each selector of an expression picks of the series that are kept.
func (db *DB) Selected(e *Expr) []Selected {
	out := make([]Selected, len(e.picks))
	for i, p := range e.picks {
		out[i] = Selected{p.selector(), nameOf(p.matchers), len(db.picked(p.text, p.matchers))}
	}
	return out
}
