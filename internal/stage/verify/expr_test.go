package verify

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"grace"
	"grace/internal/series"
)

// What an expression shows of what was measured 30 s before a step, and until a minute after it.
func TestRead(t *testing.T) {
	gone := math.Float64frombits(0x7ff0000000000002) // Prometheus' stale marker
	type line = map[string][]float64                 // by pod, a sample every 15 s; 0 s is the step
	for _, tt := range []struct {
		name, expr string
		typ        grace.CheckType
		queue      line
		ok         bool
		value      float64
		at         float64 // s after the step
		detail     string
	}{
		{"holds", `queue < 5`, "", line{"a": {9, 9, 3, 2, 1}}, true, 1, 30, `1 < 5 {pod="a"}`},
		{"does not hold", `queue < 5`, "", line{"a": {9, 9, 3, 2, 1234567}}, true, 0, 30, `1234567, not < 5 {pod="a"}`},
		{"one of two fails", `queue < 5`, "", line{"a": {1, 1, 1, 1, 1}, "b": {9, 9, 9, 9, 8.1234}}, true, 0, 30, `8.12, not < 5 {pod="b"}, 1 of 2 fail`},
		{"the worst that holds", `queue <= 5`, "", line{"a": {1, 1, 1, 1, 1}, "b": {9, 9, 9, 9, 4}}, true, 1, 30, `4 <= 5 {pod="b"}, the worst of 2`},
		{"the number first", `5 > queue`, "", line{"a": {1, 1, 1, 1, 1}, "b": {9, 9, 9, 9, 4}}, true, 1, 30, `4 < 5 {pod="b"}, the worst of 2`},
		{"above", `queue > 5`, "", line{"a": {9, 9, 9, 9, 9}, "b": {7, 7, 7, 7, 7}}, true, 1, 30, `7 > 5 {pod="b"}, the worst of 2`},
		{"equal", `queue == 1`, "", line{"a": {1, 1, 1, 1, 1}, "b": {0, 0, 0, 0, 0}}, true, 0, 30, `0, not == 1 {pod="b"}, 1 of 2 fail`},
		{"other than", `queue != 1`, "", line{"a": {2, 2, 2, 2, 2}, "b": {7, 7, 7, 7, 7}}, true, 1, 30, `2 != 1 {pod="a"}, the worst of 2`},
		{"a threshold of its own", `queue < on (service) group_left max by (service) (queue)`, "", line{"a": {2, 2, 2, 2, 2}, "b": {7, 7, 7, 7, 7}}, true, 0, 30, `7, not < 7 {pod="b"}, 1 of 2 fail`},

		{"measured before the step alone", `queue < 5`, "", line{"a": {3, 3}}, false, 0, 0, `no sample of queue since 09:31:00, the newest is from 09:30:45 {pod="a"}`},
		{"one pod measured before the step alone", `queue < 5`, "", line{"a": {3, 3, 3, 3, 3}, "b": {3, 3}}, false, 0, 0, `no sample of queue since 09:31:00, the newest is from 09:30:45 {pod="b"}`},
		{"one pod not measured, another fails", `queue < 5`, "", line{"a": {3, 3, 3, 3, 8}, "b": {3, 3}}, true, 0, 30, `8, not < 5 {pod="a"}, 1 of 2 fail`},
		{"the one measured least recently", `queue < 5`, "", line{"a": {3, 3, 3, 3, 3}, "b": {3, 3, 3}}, true, 1, 0, `3 < 5 {pod="a"}, the worst of 2`},
		{"as a sum", `sum(queue) < 5`, "", line{"a": {3, 3}}, false, 0, 0, `no sample of queue since 09:31:00, the newest is from 09:30:45`},
		{"a sum of which a part was measured before the step", `sum(queue) < 50`, "", line{"a": {3, 3, 3, 3, 3}, "b": {3, 3}}, false, 0, 0, `no sample of queue since 09:31:00, the newest is from 09:30:45`},
		{"a sum of which a part has ended", `sum(queue) < 50`, "", line{"a": {3, 3, 3, 3, 3}, "b": {3, gone}}, true, 1, 30, `3 < 50`},
		{"of two selectors", `sum(queue) + on () sum(errors) < 500`, "", line{"a": {3, 3, 3}}, false, 0, 0, `no sample of queue, errors since 09:31:00, the newest is from 09:30:45`},
		{"never measured", `lag < 5`, "", line{"a": {3, 3, 3}}, false, 0, 0, `no sample of lag since 09:31:00, or not for long enough`},
		{"ended", `queue < 5`, "", line{"a": {3, 3, 3, gone}}, false, 0, 0, `no sample of queue since 09:31:00, or not for long enough`},
		{"one pod ended", `queue < 5`, "", line{"a": {3, 3, 3, gone}, "b": {1, 1, 1, 1, 1}}, true, 1, 30, `1 < 5 {pod="b"}`},
		{"no number", `queue / (queue - queue) < 5`, "", line{"a": {0, 0, 0}}, false, 0, 0, `no number, or not measured for long enough {pod="a"}`},
		{"one pod is no number", `0 * queue / queue < 5`, "", line{"a": {1, 1, 1}, "b": {0, 0, 0}}, false, 0, 0, `no number, or not measured for long enough {pod="b"}`},
		{"NaN is measured", `queue < 5`, "", line{"a": {1, 1, math.NaN()}}, false, 0, 0, `no number, or not measured for long enough {pod="a"}`},
		{"NaN is not 5", `queue != 5`, "", line{"a": {1, 1, math.NaN()}}, false, 0, 0, `no number, or not measured for long enough {pod="a"}`},
		{"endless", `queue > 5`, "", line{"a": {1, 1, math.Inf(1)}}, false, 0, 0, `no number, or not measured for long enough {pod="a"}`},
		{"a window that has begun", `rate(queue[1h]) < 5`, "", line{"a": {1, 1, 1}}, false, 0, 0, `no number, or not measured for long enough {pod="a"}`},
		{"nothing to compare with", `queue < on (pod) errors`, "", line{"a": {1, 1, 1}}, false, 0, 0, `no sample of queue, errors since 09:31:00, the newest is from 09:30:45`},
		{"nothing matches", `queue < on (pod) spare`, "", line{"a": {1, 1, 1}}, false, 0, 0, `queue, spare was measured, but gives no value`},

		{"and", `queue < 5 and on () spare > 2`, "", line{"a": {1, 1, 1, 1}}, true, 1, 0, `it holds {pod="a"}`},
		{"and does not hold", `queue < 5 and on () spare > 3`, "", line{"a": {1, 1, 1, 1}}, true, 0, 0, `it does not hold`},
		{"and, of what is old", `queue < 5 and on () errors > 3`, "", line{"a": {1, 1, 1, 1}}, false, 0, 0, `no sample of queue, errors since 09:31:00, the newest is from 09:30:45 {pod="a"}`},
		{"absent", `absent(queue{service="shop"} == 0)`, "", line{"a": {0, 0, 1, 1}}, true, 1, 15, `it holds`},
		{"not absent", `absent(queue{service="shop"} == 0)`, "", line{"a": {0, 0, 1, 0}}, true, 0, 15, `it does not hold`},
		{"absent, but nothing shows it", `absent(lag{service="shop"} == 0)`, "", line{"a": {0, 0, 1}}, false, 0, 0, `no sample of lag since 09:31:00, or not for long enough`},
		{"absent, of what is old", `absent(queue{service="shop"} == 0)`, "", line{"a": {1, 1}}, false, 0, 0, `no sample of queue since 09:31:00, the newest is from 09:30:45`},

		{"a value", `sum(queue)`, grace.CheckCapacity, line{"a": {1, 1, 1}, "b": {2, 2, 2}}, true, 3, 0, ``},
		{"a value of a series", `queue`, grace.CheckTrend, line{"a": {1, 1, 7}}, true, 7, 0, ``},
		{"two values", `queue`, grace.CheckTrend, line{"a": {1, 1, 1}, "b": {2, 2, 2}}, false, 0, 0, `2 values, and it takes one: put sum() or max() around them`},
		{"a value from before", `queue`, grace.CheckTrend, line{"a": {1, 1}}, false, 0, 0, `no sample of queue since 09:31:00, the newest is from 09:30:45 {pod="a"}`},
		{"a value that is no number", `queue / 0`, grace.CheckCapacity, line{"a": {1, 1, 1}}, false, 0, 0, `no number, or not measured for long enough {pod="a"}`},
		{"no value", `queue > 9`, grace.CheckCapacity, line{"a": {1, 1, 1}}, false, 0, 0, `queue was measured, but gives no value`},
		{"no value at all", `sum(lag)`, grace.CheckCapacity, line{"a": {1, 1, 1}}, false, 0, 0, `no sample of lag since 09:31:00, or not for long enough`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, db := watched(t, tt.expr)
			put := func(metric, pod string, second float64, v float64) {
				s := grace.Sample{Service: "shop", Metric: metric, Kind: grace.SampleMetric, At: start.Add(time.Duration(second) * time.Second), Value: v}
				if pod != "" {
					s.Labels = map[string]string{"pod": pod}
				}
				db.Observe(s)
			}
			for pod, values := range tt.queue {
				for i, v := range values {
					put("queue", pod, float64(15*i-30), v)
				}
			}
			put("errors", "", -15, 100)
			put("spare", "", 0, 3)
			r, err := db.Evaluate(t.Context(), e, start.Add(time.Minute))
			if err != nil {
				t.Fatal(err)
			}
			c := grace.Check{Type: tt.typ, Expr: tt.expr}
			if c.Type == "" {
				c.Type = grace.CheckExpr
			}
			got := Read(c, e, &r, start)
			at := time.Time{}
			if tt.ok {
				at = start.Add(time.Duration(tt.at) * time.Second)
			}
			if got.OK != tt.ok || got.Value != tt.value || !got.At.Equal(at) || got.Detail != tt.detail {
				t.Errorf("%+v", got)
			}
			if tt.ok && tt.queue["a"][0] != 0 && len(tt.queue["a"]) > 1 && got.Every != 15*time.Second {
				t.Errorf("every %s", got.Every)
			}
		})
	}
}

// What a target said that does not answer any more shows nothing, whatever the others say.
func TestReadLost(t *testing.T) {
	for expr, want := range map[string]string{
		`queue < 5`:                         `queue{pod="b"} was measured last at 09:30:45`,
		`sum(queue) < 5`:                    `no sample of queue since 09:31:00, the newest is from 09:30:45`,
		`queue < 2`:                         `3, not < 2 {pod="a"}`,
		`absent(queue{service="shop"} > 5)`: `no sample of queue since 09:31:00, the newest is from 09:30:45`,
	} {
		e, db := watched(t, expr)
		b := db.NewSet(series.From{Sensor: "b", Source: "b"}, labels.FromStrings("pod", "b", series.ServiceLabel, "shop"))
		for second := -45; second <= 30; second += 15 {
			at := start.Add(time.Duration(second) * time.Second)
			db.Observe(grace.Sample{Service: "shop", Metric: "queue", Kind: grace.SampleMetric, At: at, Value: 3, Labels: map[string]string{"pod": "a"}})
			if second >= 0 {
				b.Lose(at)
				continue
			}
			b.Begin(at)
			b.Append("queue", labels.EmptyLabels(), series.Meta{}, series.Sample{At: at.UnixMilli(), Value: 1})
			b.End(false)
		}
		r, err := db.Evaluate(t.Context(), e, start.Add(30*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		got := Read(grace.Check{Type: grace.CheckExpr, Expr: expr}, e, &r, start)
		if fails := expr == `queue < 2`; got.Detail != want || got.OK != fails {
			t.Errorf("%s: %+v", expr, got)
		}
	}
}

func TestOutline(t *testing.T) {
	for expr, want := range map[string]string{
		`up{service="${service}"} == 1`:          `up{service="${service}"} == 1`,
		`up{service='${a}',x="\"${b}"} < ${max}`: `up{service='${a}',x="\"${b}"} < 000001`,
		"a{x=`\\`} < ${n}":                       "a{x=`\\`} < 0001",
		"a # it's\n < ${n}":                      "a # it's\n < 0001",
		`rate(a[${window}]) < 1`:                 `rate(a[000000001]) < 1`,
		`rate(a[${w}m]) < 1`:                     `rate(a[0001m]) < 1`,
		`a < ${b`:                                `a < ${b`,
	} {
		got := Outline(expr)
		if got != want {
			t.Errorf("%s became %s", expr, got)
		}
		if _, err := series.Compile(got); err != nil && !strings.HasSuffix(expr, "${b") {
			t.Errorf("%s: %v", got, err)
		}
	}
}

// watched gives an expression, and series that are kept for it.
func watched(t *testing.T, expr string) (*series.Expr, *series.DB) {
	t.Helper()
	e, err := series.Compile(expr)
	if err != nil {
		t.Fatal(err)
	}
	db, err := series.New(series.DefaultConfig(), series.Options{Now: func() time.Time { return start.Add(time.Minute) }})
	if err != nil {
		t.Fatal(err)
	}
	db.Watch([]*series.Expr{e})
	return e, db
}
