package series

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"pgregory.net/rapid"
)

// forms are expressions of all kinds; OP is one of the four that put in order.
func forms() []string {
	return []string{
		`a OP 3`, `3 OP a`, `(a OP 3)`, `-a OP -(3)`, `a + 0 OP 1 + 2`, `a OP (2 + 1)`, `a offset 30s OP 3`,
		`a OP scalar(sum(b))`, `scalar(max(b)) OP a`, `a OP scalar(b)`, `time() - timestamp(a) OP 60`, `time() OP a * 1e9`,
		`a OP b`, `a OP (b)`, `a OP on (service, inst, zone) b`, `a OP ignoring (zone) b`, `a OP on (service) sum by (service) (b)`,
		`a OP on (service) group_left sum by (service) (b)`, `a OP ignoring (inst, zone) group_left () sum by (service) (b)`,
		`a OP on (service) group_left (zone) max by (service, zone) (b)`, `sum by (service) (b) OP on (service) group_right a`,
		`sum by (service) (a) OP sum by (service) (b)`, `sum without (inst) (a) OP ignoring (zone) sum by (service) (b)`,
		`a OP fill (2) b`, `a OP fill_right (5) b`, `a OP fill_left (-3) b`, `a OP fill_left (1) fill_right (Inf) b`,
		`sum(rate(a[1m])) / sum(rate(b[1m])) OP 0.5`, `max_over_time(a[2m]) OP b`, `a / b OP 2`, `a OP b / c`, `a OP b OP 1`,
		`histogram_count(a) OP 2`, `quantile(0.5, a) OP 2`,
		`a OP 3 and b`, `a unless b OP 3`, `(a OP 3 and on () b)`, `a OP 3 unless on (service) c OP 2`, `3 OP a and b unless on (inst) c OP 2`,
		`a OP b and ignoring (zone) c OP 2`, `a OP scalar(sum(b)) unless c`, `(a OP 3 and b) and (c OP 2 or b OP 2)`,
		`a == 3`, `a != 3`, `3 != a`, `count(a) == count(b)`, `a != b`,
		// of these only what fails is known
		`a OP bool 3`, `a OP 3 or b OP 2`, `absent(a)`, `a OP bool 3 and b`, `a == 3 and on () b OP 2`, `absent(a OP 3)`, `vector(1)`, `a`,
		`1 OP bool 2`, `scalar(a)`,
	}
}

// wrongIf reads an expression that says what is wrong.
func wrongIf(t fataler, text string) *Expr {
	t.Helper()
	e, err := CompileAt(text, "")
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return e
}

// What fails is what the engine gives for the whole expression.
func TestFailsAsPromQL(t *testing.T) {
	for _, form := range forms() {
		t.Run(form, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				op := rapid.SampledFrom([]string{">", ">=", "<", "<="}).Draw(t, "op")
				e := wrongIf(t, strings.ReplaceAll(form, "OP", op))
				w := newWorld(t, e)
				w.draw(t, rapid.Bool().Draw(t, "alike"), "a", "b", "c")
				for range 2 {
					failsAsPromQL(t, w, e, w.when(t))
				}
			})
		})
	}
}

// Of what there is everything, each form gives something, by every comparison.
func TestFormsGiveSomething(t *testing.T) {
	for _, form := range forms() {
		for _, op := range []string{">", ">=", "<", "<="} {
			e := wrongIf(t, strings.ReplaceAll(form, "OP", op))
			w := newWorld(t, e)
			w.fill(t, strings.Contains(form, "histogram"))
			n := failsAsPromQL(t, w, e, after(120))
			if none := strings.Contains(form, "absent") || strings.Contains(form, "unless") || form == `a OP scalar(b)`; n == 0 && !none {
				t.Errorf("%s gives nothing", e)
			}
		}
	}
}

// histograms tells whether one side of a comparison has no numbers.
func (w *world) histograms(ctx context.Context, e *Expr, back time.Duration, when time.Time) bool {
	parsed, _ := Parser().ParseExpr(e.text)
	outer, ok := parsed.(*parser.BinaryExpr)
	if !ok {
		return false
	}
	for _, side := range []parser.Expr{outer.LHS, outer.RHS} {
		all, err := w.query(ctx, promql.NewPrometheusQueryOpts(false, back, nil), side.String(), when)
		if err == nil && !slices.ContainsFunc(all, func(s promql.Sample) bool { return s.H == nil }) {
			return true
		}
	}
	return false
}

// failsAsPromQL compares at one time, and counts elements.
func failsAsPromQL(t fataler, w *world, e *Expr, when time.Time) int {
	t.Helper()
	if slices.ContainsFunc(w.lines, func(l line) bool { return l.samples[0].At <= when.UnixMilli() && w.oldest(l) > when.UnixMilli() }) {
		return 0 // what was there then is not kept any more
	}
	ctx := context.Background()
	back := w.lookAt(e, when, &evidence{})
	whole, wrong := w.query(ctx, promql.NewPrometheusQueryOpts(false, back, nil), e.text, when)
	r, err := w.Evaluate(ctx, e, when)
	if err != nil {
		// The engine finds out that series do not match one to one when both fail. Here they need not.
		if wrong == nil && !strings.Contains(err.Error(), "multiple matches") {
			t.Fatalf("%s: %v", e, err)
		}
		return 0
	}
	if wrong != nil {
		// Of histograms alone, which no comparison takes, none is looked at here.
		if len(r.Elements) > 0 || !w.histograms(ctx, e, back, when) {
			t.Fatalf("%s: no error, want %v", e, wrong)
		}
		return 0
	}
	var want, got []string
	for _, s := range whole {
		ls := s.Metric.DropReserved(func(name string) bool { return name == MetricLabel })
		if s.H == nil && !w.begun(e, when, back, ls) {
			want = append(want, fmt.Sprintf("%s %v", ls, s.F))
		}
	}
	for _, one := range r.Elements {
		if one.Holds {
			got = append(got, fmt.Sprintf("%s %v", labels.FromMap(one.Labels), one.Value))
		}
		if e.op != 0 && (e.undefined(one.Threshold) || e.undefined(one.Value) || one.Holds != holds(e.op, one.Value, one.Threshold)) {
			t.Fatalf("%s: %+v", e, one)
		}
		if e.op == 0 && (!one.Holds || !math.IsNaN(one.Threshold)) {
			t.Fatalf("%s: %+v", e, one)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Fatalf("%s at %s fails for\n%s\nwant\n%s", e, when, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	return len(r.Elements)
}

// What passes is known as well, with its own threshold.
func TestPasses(t *testing.T) {
	for text, want := range map[string]string{
		`a > 3`:                                 "{inst=1} 5/3 true, {inst=2} 1/3 false",
		`3 >= a`:                                "{inst=1} 5/3 false, {inst=2} 1/3 true",
		`a > b`:                                 "{inst=1} 5/0.1 true, {inst=2} 1/0.3 true",
		`a < on (inst) group_left c`:            "{inst=1} 5/+Inf true, {inst=2} 1/-Inf false",
		`a < fill (7) d`:                        "{inst=1} 5/7 true, {inst=2} 1/8 true, {inst=3} 7/9 true",
		`a <= fill_right (-7) d`:                "{inst=1} 5/-7 false, {inst=2} 1/8 true",
		`a > scalar(d{inst="2"})`:               "{inst=1} 5/8 false, {inst=2} 1/8 false",
		`a > scalar(d)`:                         "",
		`a + b < 0.1 + a`:                       "{inst=1} 5.1/5.1 false, {inst=2} 1.3/1.1 false",
		`a < sum by (inst) (d) > 1`:             "{inst=2} 1/1 false",
		`d > on () group_left () sum(a) - 1000`: "{inst=2} 8/-994 true, {inst=3} 9/-994 true",
		`a > 3 and b > 0.2`:                     "{inst=2} 1/3 false",
		`a > 3 unless b > 0.2`:                  "{inst=1} 5/3 true",
		`a < 3 and b and on () d > 8`:           "{inst=1} 5/3 false, {inst=2} 1/3 true",
		`a < 3 and b and on () d > 9`:           "",
		`a > b unless on (inst) d`:              "{inst=1} 5/0.1 true",
		`a > 3 or b > 0.2`:                      "{inst=1} 5/NaN true, {inst=2} 0.3/NaN true",
	} {
		e := wrongIf(t, text)
		w := newWorld(t, e)
		for key, v := range map[string]float64{"a1": 5, "a2": 1, "b1": 0.1, "b2": 0.3, "c1": math.Inf(1), "c2": math.Inf(-1), "d2": 8, "d3": 9} {
			w.add(t, map[string]string{MetricLabel: key[:1], "inst": key[1:]}, []Sample{at(0, v)})
		}
		var got []string
		for _, one := range evaluate(t, w.DB, e, after(1)).Elements {
			got = append(got, fmt.Sprintf("{inst=%s} %.6g/%v %v", one.Labels["inst"], one.Value, one.Threshold, one.Holds))
		}
		slices.Sort(got)
		if strings.Join(got, ", ") != want {
			t.Errorf("%s: %s\nwant %s", text, strings.Join(got, ", "), want)
		}
	}
}

// begun tells whether an element rests on a range of which too little was seen.
func (w *world) begun(e *Expr, when time.Time, back time.Duration, of labels.Labels) bool {
	for _, p := range e.picks {
		newest := int64(math.MinInt64)
		for _, l := range w.lines {
			at, ok := newestOfLine(l, when.UnixMilli())
			if !ok || !matches(p.matchers, l.labels) || !agrees(l.labels, of) || when.UnixMilli()-at >= p.back+(back-Lookback).Milliseconds() {
				continue
			}
			if p.reach > 0 && when.UnixMilli()-w.oldest(l) < p.reach/thinShare {
				at = -1
			}
			newest = max(newest, at)
		}
		if newest == -1 {
			return true
		}
	}
	return false
}

// oldest gives the time of the oldest sample that is kept of a line.
func (w *world) oldest(l line) int64 {
	for i := range w.shards {
		for _, e := range w.shards[i].list {
			if e.kept != nil && labels.Equal(e.kept.labels, l.labels) && len(e.kept.samples.chunks) > 0 {
				return e.kept.samples.chunks[0].first
			}
		}
	}
	return 0
}
