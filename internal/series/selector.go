package series

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"

	"grace"
)

// kept is what a series has that expressions look at. But for its labels it is
// guarded by the lock of the series' shard.
type kept struct {
	labels    labels.Labels
	sensor    string // that its samples came from when it was opened
	entry     *entry
	shard     *shard
	gone      atomic.Bool
	ended     bool // its newest sample was an end, and says that it is no more, see ends
	selectors []*selector
	samples   samples
	latest    value                     // the newest of the samples
	measured  int64                     // when what it rests on was measured, see Meta
	oldest    int64                     // when the oldest of that was, see Meta
	lacks     bool                      // see Meta
	away      int64                     // when it was lost the last time, and
	back      int64                     // when it was back; 0 for never
	sums      *histogram.FloatHistogram // of a delta, so far
}

// unseen is how long a source may have had nothing new of a series that it then has no more:
// else it fell silent, which a source forgets after 5 minutes, as a rule.
const unseen = Lookback / 2

// ends tells whether an end says that the series is no more: not that nobody answers for it, nor
// that what it rests on fell silent. The caller holds the lock of the shard.
func (k *kept) ends(at int64, meta *Meta) bool {
	return meta.Measured == 0 && (k.latest.stale() || k.measured <= 0 || at-k.measured < unseen.Milliseconds())
}

// append keeps a sample.
func (k *kept) append(at int64, v value) error {
	keep := int64(0)
	for _, s := range k.selectors {
		s.appended.Add(1)
		if s.first.Load() == 0 {
			s.first.Store(at)
		}
		s.gap.Store(k.entry.gap)
		keep = max(keep, s.keep)
	}
	if was, _ := k.samples.newest(); k.latest.stale() && k.measured != 0 && k.measured != was {
		k.away, k.back = k.measured, at
	}
	k.latest = v
	return k.samples.append(at, v, keep)
}

// seen is the newest sample of a series.
type seen struct {
	value

	at    int64 // Unix ms
	gap   int32 // ms from the one before
	first int64 // Unix ms, of the oldest that is kept
	// measured is when what it rests on was measured; never: nothing was.
	measured int64
	oldest   int64 // when the oldest of that was
	derived  bool  // it is made of others
	ended    bool  // as of [kept]
	lacks    bool  // of which some were missing
	away     int64 // when it was lost the last time,
	back     int64 // and back
}

// lost tells of one that ended that its target did not answer then: what it rests on was
// measured before.
func (s *seen) lost() bool { return s.stale() && s.measured != s.at }

// rhythm is how far apart it is measured, in ms; 0 where that is not known.
func (s *seen) rhythm() int32 {
	if s.derived {
		return 0
	}
	return s.gap
}

// evidence is when that was measured, as a time; zero for never.
func (s *seen) evidence() time.Time {
	if s.measured == never {
		return time.Time{}
	}
	return time.UnixMilli(s.measured).UTC()
}

func (s *seen) histogram() bool { return s.integer != nil || s.decimal != nil }

// newest gives the newest sample, and whether there is one.
func (k *kept) newest() (seen, bool) {
	sh := k.shard
	sh.mu.Lock()
	defer sh.mu.Unlock()
	at, ok := k.samples.newest()
	s := seen{value: k.latest, at: at, gap: k.entry.gap, measured: at, derived: k.measured != 0, lacks: k.lacks, ended: k.ended, away: k.away, back: k.back}
	if s.derived {
		s.measured = min(k.measured, at)
	}
	s.oldest = s.measured
	if k.oldest != 0 {
		s.oldest = min(k.oldest, s.measured)
	}
	if ok {
		s.first = k.samples.chunks[0].first
	}
	return s, ok && !k.gone.Load()
}

// newestUntil gives the newest sample that is not later than a time.
func (k *kept) newestUntil(now int64) (seen, bool) {
	s, ok := k.newest()
	if !ok || s.at <= now {
		return s, ok
	}
	before := k.within(math.MinInt64, now)
	if len(before) == 0 {
		return s, false
	}
	newest, oldest := s.measured, s.oldest
	err := before[len(before)-1].until(now, func(at int64, v value) error {
		s.at, s.value, s.measured, s.oldest = at, v, min(newest, at), min(oldest, at)
		return nil
	})
	return s, err == nil && s.at <= now
}

// cutAfter lets go of what is later than a time.
func (k *kept) cutAfter(at int64) {
	var last value
	if err := k.samples.cutAfter(at, &last); err != nil {
		k.samples = samples{} // what cannot be read is not kept
	}
	k.latest, k.measured = last, min(k.measured, at)
}

// leave takes the series out of what picks it.
func (k *kept) leave() {
	k.gone.Store(true)
	for _, s := range k.selectors {
		s.leave(!k.ended)
	}
}

// selector is what picks series for expressions. Two expressions that pick the same
// series share it.
type selector struct {
	matchers []*labels.Matcher
	keep     int64         // ms: as far back as some expression looks
	appended atomic.Uint64 // samples of its series
	gap      atomic.Int32  // ms between the newest of them and the one before

	mu     sync.Mutex
	series []*kept
	untidy bool         // not sorted, or with series that are gone
	ever   bool         // it has picked one, now or before
	silent bool         // one was forgotten that had not ended
	first  atomic.Int64 // Unix ms, of the first sample that it ever picked
}

// join adds a series.
func (s *selector) join(k *kept) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.series, s.untidy, s.ever = append(s.series, k), true, true
}

// leave notes that a series is gone, and whether without an end.
func (s *selector) leave(silent bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.untidy, s.silent = true, s.silent || silent
}

// past tells whether it has ever picked a series, and whether one was forgotten that had not
// ended.
func (s *selector) past() (ever, silent bool) {
	if s == nil {
		return false, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ever, s.silent
}

// list gives the series that it picks, sorted by their labels: the sum of the same
// numbers in another order is another number. The list is not to be changed.
func (s *selector) list() []*kept {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.untidy {
		tidy := slices.DeleteFunc(slices.Clone(s.series), func(k *kept) bool { return k.gone.Load() })
		slices.SortFunc(tidy, func(a, b *kept) int { return labels.Compare(a.labels, b.labels) })
		s.series, s.untidy = tidy, false
	}
	return s.series
}

func (s *selector) picks(ls labels.Labels) bool { return matches(s.matchers, ls) }

func matches(matchers []*labels.Matcher, ls labels.Labels) bool {
	for _, m := range matchers {
		if !m.Matches(ls.Get(m.Name)) {
			return false
		}
	}
	return true
}

// selectors are all that expressions pick series by.
type selectors struct {
	byText map[string]*selector
	byName map[Named][]*selector // those that name one metric, and perhaps one service
	names  map[string][]*given   // that they name
	others []*selector
}

func newSelectors() *selectors {
	return &selectors{byText: map[string]*selector{}, byName: map[Named][]*selector{}, names: map[string][]*given{}}
}

// add takes a selector of an expression, with what was known of it before.
func (w *selectors) add(p pick, before *selectors) {
	s := w.byText[p.text]
	if s == nil {
		s = &selector{matchers: p.matchers}
		if was := before.byText[p.text]; was != nil {
			s.ever, s.silent = was.past()
			s.first.Store(was.first.Load())
		}
		w.byText[p.text] = s
		if name := nameOf(p.matchers); name != "" {
			of := Named{name, grace.ServiceID(equals(p.matchers, ServiceLabel))}
			w.byName[of] = append(w.byName[of], s)
		} else {
			w.others = append(w.others, s)
		}
	}
	s.keep = max(s.keep, p.back)
	if name := nameOf(p.matchers); name != "" && w.given(&p) == nil {
		w.names[name] = append(w.names[name], cmp.Or(before.given(&p), &given{matchers: p.named}))
	}
}

// nameOf gives the metric that matchers name, if they name one.
func nameOf(matchers []*labels.Matcher) string { return equals(matchers, MetricLabel) }

// equals gives what a label has to be, if matchers say so.
func equals(matchers []*labels.Matcher, name string) string {
	for _, m := range matchers {
		if m.Name == name && m.Type == labels.MatchEqual {
			return m.Value
		}
	}
	return ""
}

// of gives the selectors that pick a series.
func (w *selectors) of(ls labels.Labels) []*selector {
	var out []*selector
	name, service := ls.Get(MetricLabel), grace.ServiceID(ls.Get(ServiceLabel))
	lists := [...][]*selector{w.byName[Named{Metric: name}], nil, w.others}
	if service != "" {
		lists[1] = w.byName[Named{name, service}]
	}
	for _, list := range lists {
		for _, s := range list {
			if s.picks(ls) {
				out = append(out, s)
			}
		}
	}
	return out
}

// matchersText writes matchers in one way only.
func matchersText(matchers []*labels.Matcher) string {
	parts := make([]string, len(matchers))
	for i, m := range matchers {
		parts[i] = m.String()
	}
	slices.Sort(parts)
	return strings.Join(slices.Compact(parts), ",")
}
