package series

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"

	"grace"
)

const (
	evaluationTimeout = 30 * time.Second
	// maxSamples of one evaluation in memory, as Prometheus has it.
	maxSamples = 50_000_000
)

func newEngine() *promql.Engine {
	return promql.NewEngine(promql.EngineOpts{
		MaxSamples: maxSamples, Timeout: evaluationTimeout, LookbackDelta: Lookback,
		EnableAtModifier: true, EnableNegativeOffset: true, UseStartTimestamps: true, Parser: Parser(),
		NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() },
	})
}

// Result is what an expression gives at a time.
type Result struct {
	At       time.Time
	Elements []Element
	// Compared tells whether Elements are of what does not hold, too.
	Compared bool
	// Undefined is what has no say: what is no number, where it is compared (no requests, no
	// share of them that failed), and, without Newest, what has not been seen for long enough.
	Undefined []Element
	// Lacking says why of what the expression looks at something may be missing, see
	// [DB.Lacking].
	Lacking string
	// Unmeasured, of one that finds nothing, is what nothing has been measured of.
	Unmeasured Unmeasured
	evidence   evidence
}

// Element is one of a result.
type Element struct {
	Labels map[string]string // without the metric's name
	// Service is whose it is, where somebody has found that out.
	Service grace.ServiceID
	Value   float64
	// Threshold is what Value is compared with; NaN where nothing is.
	Threshold float64
	// Holds tells that the comparison does; true where there is none. Of an objective
	// that is what fails.
	Holds bool
	// Newest is when the newest sample was measured that the element rests on: of
	// what it is made of, the oldest of those. Zero where nothing was found.
	Newest time.Time
	// Whole is the same where each series counts that stands for now: a sum is made of all.
	Whole time.Time
	// Lacks tells that more of it should have been measured by now: it may be less than it is.
	Lacks bool
	// Wanting tells that it may hold only for that: of a sum that is too low some of what is
	// missing may be what makes it so.
	Wanting bool
}

// Newest tells when the newest sample was measured of what bears on labels, as it does
// for Element.Newest. It is zero when there is none.
func (r *Result) Newest(of map[string]string) time.Time {
	n, _ := r.evidence.newest(labels.FromMap(of))
	return n.newest
}

// Lack says what was not measured after a time of all that bears on labels; empty when all
// was, or has ended. A series whose samples are further apart than that matters has its time.
func (r *Result) Lack(of map[string]string, since time.Time) string {
	if r.Lacking != "" {
		return r.Lacking
	}
	if s := r.evidence.lack(labels.FromMap(of), since.UnixMilli()); s != nil {
		return s.last()
	}
	return ""
}

// Lost names a series that the expression looks at and whose target does not answer; empty
// when there is none.
func (r *Result) Lost() string {
	for _, m := range r.evidence.picked {
		for i := range m.series {
			if m.series[i].lost {
				return m.series[i].last()
			}
		}
	}
	return ""
}

// last tells people when a series was measured last.
func (s *timed) last() string {
	at := " was measured last at " + time.UnixMilli(s.oldest).UTC().Format(time.TimeOnly)
	if s.gap == 0 && !s.lost {
		return "a part of it" + at
	}
	return s.labels.Get(MetricLabel) + Distinct(s.labels.DropReserved(func(name string) bool { return name == MetricLabel }).Map()) + at
}

// rarely is how far apart samples are that nobody waits for.
const rarely = time.Minute

// Every tells how far the newest samples that the expression looks at are from those
// before, of the selector whose samples come most rarely; 0 where that is not known.
func (r *Result) Every() time.Duration { return time.Duration(r.evidence.every) * time.Millisecond }

// Sensors names whose series the expression looks at, sorted.
func (r *Result) Sensors() []string {
	var out []string
	for _, m := range r.evidence.picked {
		for _, s := range m.series {
			if i, known := slices.BinarySearch(out, s.sensor); !known {
				out = slices.Insert(out, i, s.sensor)
			}
		}
	}
	return out
}

// Evaluate gives what an expression says at a time.
func (db *DB) Evaluate(ctx context.Context, e *Expr, at time.Time) (Result, error) {
	r, err := db.evaluate(ctx, e, at)
	if err != nil || !r.Compared {
		return r, err
	}
	if len(r.Elements) == 0 {
		r.Unmeasured = db.Unmeasured(e)
	}
	watched := db.watched.Load()
	for i := range e.picks {
		r.evidence.came = append(r.evidence.came, watched.came(&e.picks[i]))
	}
	return r, nil
}

func (db *DB) evaluate(ctx context.Context, e *Expr, at time.Time) (Result, error) {
	r := Result{At: at, Compared: e.op != 0}
	// First what there is, then what it says: of a sample that comes in between nobody
	// shall think that it was looked at.
	back := db.lookAt(e, at, &r.evidence)
	r.Lacking = db.Lacking(e)
	if e.plain && db.newestOf(e, at, back, &r) {
		return r, nil
	}
	opts := promql.NewPrometheusQueryOpts(false, back, nil)
	values, err := db.query(ctx, opts, e.value, at)
	if err != nil {
		return r, err
	}
	limit := math.NaN()
	bounds := map[uint64]float64{}
	switch {
	case e.constant:
		limit = e.bound
	case e.limit != "":
		bound, err := db.query(ctx, opts, e.limit, at)
		if err != nil {
			return r, err
		}
		if len(bound) == 1 {
			limit = bound[0].F
		}
	case e.each != "":
		each, err := db.query(ctx, opts, e.each, at)
		if err != nil {
			return r, err
		}
		for _, s := range each {
			bounds[s.Metric.Hash()] = s.F
		}
	}
	for _, s := range values {
		if s.H != nil {
			continue // a histogram is no number
		}
		ls := s.Metric.DropReserved(func(name string) bool { return name == MetricLabel })
		one := Element{Value: s.F, Threshold: limit, Holds: true}
		switch {
		case e.each != "":
			bound, ok := bounds[s.Metric.Hash()]
			if !ok {
				continue
			}
			one.Threshold, one.Holds = bound, holds(e.op, s.F, bound)
		case e.op != 0:
			one.Holds = holds(e.op, s.F, limit)
		}
		one.Labels = ls.Map()
		n, enough := r.evidence.newest(ls)
		if enough {
			one.Newest, one.Whole, one.Lacks = n.newest, n.whole, n.lacks
		}
		if !enough || e.undefined(one.Value) || e.undefined(one.Threshold) {
			r.Undefined = append(r.Undefined, one)
			continue
		}
		one.Wanting = n.wanting || e.wants && r.Lacking != ""
		r.Elements = append(r.Elements, one)
	}
	return r, nil
}

// newestOf gives what a selector picks, as it is now, without the engine: as long as
// nothing was measured later than that.
func (db *DB) newestOf(e *Expr, at time.Time, back time.Duration, r *Result) bool {
	now := at.UnixMilli()
	var out, undefined []Element
	for _, k := range db.picked(e.picks[0].text, e.picks[0].matchers) {
		s, ok := k.newest()
		switch {
		case !ok:
			continue
		case s.at > now || s.histogram():
			return false
		case s.stale() || s.at <= now-back.Milliseconds():
			continue
		}
		ls := k.labels.DropReserved(func(name string) bool { return name == MetricLabel })
		one := Element{
			Labels: ls.Map(), Value: s.float, Threshold: e.bound, Holds: holds(e.op, s.float, e.bound), Newest: s.evidence(), Whole: s.evidence(),
		}
		if e.undefined(s.float) {
			undefined = append(undefined, one)
			continue
		}
		one.Lacks, one.Wanting = s.lacks, e.wants && r.Lacking != "" || e.picks[0].low && s.lacks
		out = append(out, one)
	}
	r.Elements, r.Undefined = out, undefined
	return true
}

// undefined tells whether a number says nothing where it is compared. To be another is
// all that holds of it.
func (e *Expr) undefined(v float64) bool { return math.IsNaN(v) && e.op != 0 && e.op != parser.NEQ }

func holds(op parser.ItemType, a, b float64) bool {
	switch op {
	case parser.LSS:
		return a < b
	case parser.LTE:
		return a <= b
	case parser.GTR:
		return a > b
	case parser.GTE:
		return a >= b
	case parser.EQLC:
		return a == b
	case parser.NEQ:
		return a != b
	}
	return false
}

// Value is one of an answer.
type Value struct {
	Labels map[string]string
	Value  float64
}

// Query gives what an expression says at a time of what is kept. Of a number that is one
// value without labels; histograms are left out.
func (db *DB) Query(ctx context.Context, text string, at time.Time) ([]Value, error) {
	found, err := db.query(ctx, promql.NewPrometheusQueryOpts(false, Lookback, nil), text, at)
	out := make([]Value, 0, len(found))
	for _, s := range found {
		if s.H == nil {
			out = append(out, Value{s.Metric.Map(), s.F})
		}
	}
	return out, err
}

// query gives what PromQL says: a vector, of a number its only element.
func (db *DB) query(ctx context.Context, opts promql.QueryOpts, text string, at time.Time) (promql.Vector, error) {
	q, err := db.engine.NewInstantQuery(ctx, db, opts, text, at)
	if err != nil {
		return nil, fmt.Errorf("evaluate %s: %w", text, err)
	}
	defer q.Close()
	res := q.Exec(ctx)
	if res.Err != nil {
		return nil, fmt.Errorf("evaluate %s: %w", text, res.Err)
	}
	switch v := res.Value.(type) {
	case promql.Vector:
		return append(promql.Vector(nil), v...), nil // its memory is used again
	case promql.Scalar:
		return promql.Vector{{T: v.T, F: v.V}}, nil
	default:
		return nil, fmt.Errorf("evaluate %s: it yields a %s", text, v.Type())
	}
}

// Watches tells whether the samples are kept of what an expression looks at.
func (db *DB) Watches(e *Expr) bool {
	watched := db.watched.Load()
	return !slices.ContainsFunc(e.picks, func(p pick) bool { s := watched.byText[p.text]; return s == nil || s.keep < p.back })
}

// Appended counts the samples that came of what an expression looks at, since the
// expressions were changed last, and tells how far the newest of them was from the one
// before.
func (db *DB) Appended(e *Expr) (n uint64, gap time.Duration) {
	watched := db.watched.Load()
	gap = math.MaxInt64
	for _, p := range e.picks {
		if s := watched.byText[p.text]; s != nil {
			n += s.appended.Load()
			gap = min(gap, time.Duration(s.gap.Load())*time.Millisecond)
		}
	}
	return n, gap
}
