package series

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
)

// RecordingSensor is the sensor whose series recordings are; no sensor of a configuration
// can be called so.
const RecordingSensor = "recording rules"

// Recording is an expression whose result is appended as a series.
type Recording struct {
	Name   string // of the series
	Expr   string
	Labels map[string]string // that its elements get, over their own
}

// Group is recordings that are made one after the other, each seeing what those before
// it gave.
type Group struct {
	Name     string // unique
	Interval time.Duration
	Offset   time.Duration // how far in the past they are evaluated
	Limit    int           // elements that a recording may have; 0: any number
	Rules    []Recording
}

// Recorder makes recordings as Prometheus does: their samples have the time at which they
// were evaluated, and what an element no longer gives ends with a stale marker. But they
// know when that was measured which they rest on, so that evidence is no fresher for
// having been recorded. It is not safe for concurrent use.
type Recorder struct {
	db     *DB
	groups []*recordingGroup
}

type recordingGroup struct {
	Group

	phase time.Duration // of its evaluations: not all at once
	at    time.Time     // of the newest one
	rules []*recording
}

type recording struct {
	Recording

	expr  *Expr
	set   *Set
	wrong string // why it could not be evaluated the last time
}

// NewRecorder gives a recorder without recordings.
func (db *DB) NewRecorder() *Recorder { return &Recorder{db: db} }

// Configure changes what is recorded to what of some groups the expressions in force
// look at, directly or by way of other recordings, and gives the expressions of those.
// Recordings that were there before go on; the series of others end.
func (r *Recorder) Configure(groups []Group, watched []*Expr) []*Expr {
	before, ends := map[string]*recording{}, map[string]time.Time{}
	times := map[string]time.Time{}
	for _, g := range r.groups {
		times[g.Name] = g.at
		for _, rec := range g.rules {
			id := g.Name + "\x00" + rec.id()
			before[id], ends[id] = rec, g.at.Add(-g.Offset).Add(time.Millisecond) // after its newest sample
		}
	}
	r.groups = r.groups[:0:0]
	for _, g := range groups {
		made := &recordingGroup{Group: g, phase: phaseOf(g.Name, g.Interval), at: times[g.Name]}
		for _, one := range g.Rules {
			expr, err := Compile(one.Expr)
			if err != nil {
				continue // whoever reads the configuration refuses it
			}
			made.rules = append(made.rules, &recording{Recording: one, expr: expr, set: r.db.NewSet(From{Sensor: RecordingSensor, Source: RecordingSensor, History: true}, labels.FromMap(one.Labels))})
		}
		r.groups = append(r.groups, made)
	}
	used := r.used(watched)
	for _, g := range r.groups {
		g.rules = slices.DeleteFunc(g.rules, func(rec *recording) bool { return !slices.Contains(used, rec.expr) })
		for i, rec := range g.rules {
			id := g.Name + "\x00" + rec.id()
			if was := before[id]; was != nil {
				g.rules[i] = was
				delete(before, id)
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(before)) {
		before[id].set.Close(ends[id])
	}
	return used
}

func (rec *recording) id() string { return fmt.Sprintf("%q %q %q", rec.Name, rec.Expr, rec.Labels) }

// phaseOf spreads groups over their interval.
func phaseOf(name string, interval time.Duration) time.Duration {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name))
	seconds := max(uint64(interval/time.Second), 1)
	return time.Duration(h.Sum64()%seconds) * time.Second
}

// used gives the expressions of the recordings that some expressions look at.
func (r *Recorder) used(watched []*Expr) (out []*Expr) {
	for queue := slices.Clone(watched); len(queue) > 0; queue = queue[1:] {
		for _, g := range r.groups {
			for _, rec := range g.rules {
				if queue[0].looksAt(rec.Name) && !slices.Contains(out, rec.expr) {
					out, queue = append(out, rec.expr), append(queue, rec.expr)
				}
			}
		}
	}
	return out
}

// looksAt tells whether a selector may pick series of a metric.
func (e *Expr) looksAt(metric string) bool {
	return slices.ContainsFunc(e.picks, func(p pick) bool { return p.may(metric, labels.EmptyLabels()) })
}

// RecordingState says that a recording cannot be evaluated any more, or can again.
type RecordingState struct {
	Group, Name string
	Wrong       string // empty: it can again
}

// Step makes the recordings that are due, and gives those whose state has changed.
func (r *Recorder) Step(ctx context.Context, now time.Time) (changed []RecordingState) {
	for _, g := range r.groups {
		at := now.Add(-g.phase).Truncate(g.Interval).Add(g.phase)
		if at.Equal(g.at) {
			continue
		}
		g.at = at
		for _, rec := range g.rules {
			wrong := ""
			if err := r.record(ctx, rec, at.Add(-g.Offset), g.Limit); err != nil {
				if ctx.Err() != nil {
					return changed
				}
				wrong = err.Error()
				rec.set.Fail(rec.Name, "the recording "+rec.Name+": "+wrong)
			}
			if (wrong == "") != (rec.wrong == "") {
				changed = append(changed, RecordingState{g.Name, rec.Name, wrong})
			}
			rec.wrong = wrong
		}
	}
	return changed
}

// Failing counts the recordings that could not be evaluated the last time.
func (r *Recorder) Failing() (n int) {
	for _, g := range r.groups {
		for _, rec := range g.rules {
			if rec.wrong != "" {
				n++
			}
		}
	}
	return n
}

// never stands for the time of what rests on nothing that was measured.
const never = math.MinInt64

// record evaluates a recording and appends what it gives.
func (r *Recorder) record(ctx context.Context, rec *recording, at time.Time, limit int) error {
	var ev evidence
	back := r.db.lookAt(rec.expr, at, &ev)
	part := r.db.Lacking(rec.expr) != ""
	values, err := r.db.query(ctx, promql.NewPrometheusQueryOpts(false, back, nil), rec.expr.text, at)
	if err != nil {
		return err
	}
	if limit > 0 && len(values) > limit {
		return fmt.Errorf("it gives %d elements, and the limit of its group is %d", len(values), limit)
	}
	type row struct {
		labels labels.Labels
		meta   Meta
		sample Sample
	}
	rows, seen := make([]row, 0, len(values)), make(map[uint64]bool, len(values))
	for _, s := range values {
		n, enough := ev.newest(s.Metric.DropReserved(func(name string) bool { return name == MetricLabel }))
		if !enough {
			continue
		}
		one := row{labels: rec.labels(s.Metric), meta: Meta{Measured: never, Lacks: part || n.lacks || n.unseen}, sample: Sample{At: at.UnixMilli(), Value: s.F}}
		if !n.newest.IsZero() {
			one.meta.Measured = min(n.newest.UnixMilli(), one.sample.At)
			one.meta.Oldest = min(n.oldest.UnixMilli(), one.meta.Measured)
		}
		if s.H != nil {
			one.sample.Float = s.H.Copy()
		}
		h := one.labels.Hash()
		if seen[h] {
			return errors.New("with the labels of the rule, two of its elements have the same labels")
		}
		seen[h], rows = true, append(rows, one)
	}
	rec.set.Begin(at)
	for i := range rows {
		rec.set.Append(rec.Name, rows[i].labels, rows[i].meta, rows[i].sample)
	}
	end := func() Report { return rec.set.End(false) }
	switch {
	case ev.lacks():
		end = rec.set.EndLost
	case ev.silent(at.UnixMilli()):
		end = rec.set.EndSilent
	}
	if report := end(); report.Refused() > 0 {
		return report.Err()
	}
	return nil
}

// labels gives those of the series that an element is recorded in, besides the rule's.
func (rec *recording) labels(element labels.Labels) labels.Labels {
	b := labels.NewBuilder(element).Del(MetricLabel)
	for name := range rec.Labels {
		b.Del(name)
	}
	return b.Labels()
}
