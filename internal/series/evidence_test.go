package series

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	promvalue "github.com/prometheus/prometheus/model/value"
	"pgregory.net/rapid"
)

// agrees tells whether labels are the same wherever both have them.
func agrees(a, b labels.Labels) bool {
	ok := true
	a.Range(func(l labels.Label) { ok = ok && (l.Name == MetricLabel || !b.Has(l.Name) || b.Get(l.Name) == l.Value) })
	return ok
}

// newestOfLine gives its newest sample up to a time, if it has not ended then.
func newestOfLine(l line, now int64) (at int64, ok bool) {
	for _, s := range l.samples {
		if s.At > now {
			break
		}
		at, ok = s.At, s.Histogram != nil || !promvalue.IsStaleNaN(s.Value)
	}
	return at, ok
}

// naive is the definition of evidence; zero where a range has only begun.
func (w *world) naive(e *Expr, when time.Time, back time.Duration, of labels.Labels) time.Time {
	now, oldest := when.UnixMilli(), int64(math.MaxInt64)
	for _, p := range e.picks {
		newest := int64(math.MinInt64)
		for _, l := range w.lines {
			at, ok := newestOfLine(l, now)
			if ok && matches(p.matchers, l.labels) && agrees(l.labels, of) && now-at < p.back+(back-Lookback).Milliseconds() {
				if p.reach > 0 && now-w.oldest(l) < p.reach/thinShare {
					at = -1
				}
				newest = max(newest, at)
			}
		}
		if newest != math.MinInt64 {
			oldest = min(oldest, newest)
		}
	}
	if oldest == math.MaxInt64 || oldest < 0 {
		return time.Time{}
	}
	return time.UnixMilli(oldest).UTC()
}

// lookback is how far back a sample of an instant selector may be, by definition: 5
// minutes, or twice the time between the two newest samples of a series that it picks that
// came one after the other, and of which neither is an end.
func (w *world) lookback(e *Expr, when time.Time) time.Duration {
	back := Lookback
	for _, p := range e.picks {
		for _, l := range w.lines {
			if _, ok := newestOfLine(l, when.UnixMilli()); ok && matches(p.matchers, l.labels) {
				n := len(l.samples) - 1
				for n > 0 && (l.samples[n].stale() || l.samples[n-1].stale()) {
					n--
				}
				if n > 0 {
					back = max(back, min(2*time.Duration(l.samples[n].At-l.samples[n-1].At)*time.Millisecond, 2*time.Hour))
				}
			}
		}
	}
	return back
}

// When what an element rests on was measured is what the definition says.
func TestEvidence(t *testing.T) {
	for _, text := range []string{
		`a + 0 > 5`, `sum by (service) (rate(a[1m])) > 0`, `sum by (service) (a) > 1`, `sum(a) > 1`, `max by (zone, inst) (a)`,
		`a / on (service) group_left sum by (service) (b) > 1`, `a > on (service) group_left () max by (service) (b)`,
		`a or sum by (zone) (b)`, `a or sum by (zone) (b) or max by (service, inst) (c)`, `label_replace(a, "service", "s1", "", "") > 2`,
		`absent(a)`, `sum(a offset 1m) > scalar(sum(b))`, `max_over_time(a[5m]) > 2`, `{__name__=~"a|b"} or c`, `a{zone="x"} or a{zone!="x"}`,
		`max_over_time(a[2m:30s]) > 2`,
	} {
		t.Run(text, func(t *testing.T) {
			e := compiled(t, text)
			w := newWorld(t, e)
			w.fill(t, false)
			r := evaluate(t, w.DB, e, after(110))
			if w.hasEvidence(t, e, &r); len(r.Elements) == 0 && text != `absent(a)` {
				t.Error("no element where there is everything")
			}
			rapid.Check(t, func(t *rapid.T) {
				w := newWorld(t, e, compiled(t, `max_over_time({__name__!=""}[12h])`)) // so that all is there
				w.draw(t, rapid.Bool().Draw(t, "alike"), "a", "b", "c")
				for range 3 {
					when := w.when(t)
					r, err := w.Evaluate(context.Background(), e, when)
					if err != nil {
						continue // of what does not match
					}
					w.hasEvidence(t, e, &r)
				}
			})
		})
	}
}

func (w *world) hasEvidence(t fataler, e *Expr, r *Result) {
	t.Helper()
	back := w.lookback(e, r.At)
	if got := w.lookAt(e, r.At, &evidence{}); got != back {
		t.Fatalf("%s at %s looks back %s, want %s", e, r.At, got, back)
	}
	for _, one := range r.Elements {
		want := w.naive(e, r.At, back, labels.FromMap(one.Labels))
		if !one.Newest.Equal(want) || !r.Newest(one.Labels).Equal(want) {
			t.Fatalf("%s at %s: %v rests on %s, %s; want %s", e, r.At, one.Labels, one.Newest, r.Newest(one.Labels), want)
		}
	}
	for _, of := range []map[string]string{nil, {"service": "s1"}, {"service": "s2", "zone": "x"}, {"inst": "1", "other": "y"}, {"service": "none"}} {
		if got, want := r.Newest(of), w.naive(e, r.At, back, labels.FromMap(of)); !got.Equal(want) {
			t.Fatalf("%s at %s: %v rests on %s, want %s", e, r.At, of, got, want)
		}
	}
}

// Without the engine an element rests on its own series.
func TestEvidenceOfPlain(t *testing.T) {
	e := compiled(t, `a > 5`)
	w := newWorld(t, e)
	w.add(t, map[string]string{MetricLabel: "a", "inst": "1"}, []Sample{at(0, 6), at(15, 6)})
	w.add(t, map[string]string{MetricLabel: "a", "inst": "2"}, []Sample{at(0, 6), at(20, 6), at(30, stale)})
	w.add(t, map[string]string{MetricLabel: "a", "inst": "3"}, []Sample{at(0, 6), at(25, 1)})
	want := `{inst="1"} 6/5 true 09:30:15.000
{inst="3"} 1/5 false 09:30:25.000`
	r := evaluate(t, w.DB, e, after(40))
	if got := inWords(r.Elements); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if got := r.Newest(map[string]string{"inst": "2"}); !got.IsZero() {
		t.Errorf("a series that ended is evidence of %s", got)
	}
	// Before the series ended it was evidence.
	r = evaluate(t, w.DB, e, after(22))
	if got := r.Newest(map[string]string{"inst": "2"}); !got.Equal(after(20)) {
		t.Errorf("before it ended: %s", got)
	}
	if got := r.Newest(map[string]string{"inst": "3"}); !got.Equal(after(0)) {
		t.Errorf("what was measured later is evidence of %s", got)
	}
}

// Where samples come rarely, one stands for longer; up to 2 h.
func TestRareSamples(t *testing.T) {
	for _, tt := range []struct {
		every, age float64
		want       int
	}{{60, 299, 1}, {60, 301, 0}, {600, 1199, 1}, {600, 1201, 0}, {86400, 7199, 1}, {86400, 7201, 0}} {
		for _, text := range []string{`a > 5`, `a + 0 > 5`} {
			e := compiled(t, text)
			w := newWorld(t, e)
			w.add(t, map[string]string{MetricLabel: "a"}, []Sample{at(0, 6), at(tt.every, 6)})
			r := evaluate(t, w.DB, e, after(tt.every+tt.age))
			if len(r.Elements) != tt.want || r.Newest(nil).IsZero() != (tt.want == 0) {
				t.Errorf("%s, every %v s, after %v s: %v, newest %s", text, tt.every, tt.age, r.Elements, r.Newest(nil))
			}
		}
	}
}

func TestSensors(t *testing.T) {
	e := compiled(t, `a + on (service) b > 5`)
	r := newRig(t, nil)
	r.Watch([]*Expr{e})
	for i, sensor := range []string{"z", "a", "m", "a"} {
		b := r.Begin(From{Source: "x", Sensor: sensor, History: true})
		b.Append(key([]string{"a{i=1}", "a{i=2}", "b", "c"}[i]), Meta{}, at(0, 1))
		b.End()
	}
	result := evaluateAny(t, r.DB, e, after(0))
	if got := result.Sensors(); len(got) != 3 || got[0] != "a" || got[1] != "m" || got[2] != "z" {
		t.Errorf("%v", got)
	}
}

// evaluateAny is for expressions that the engine may refuse.
func evaluateAny(t *testing.T, db *DB, e *Expr, when time.Time) Result {
	t.Helper()
	r, _ := db.Evaluate(t.Context(), e, when)
	return r
}
