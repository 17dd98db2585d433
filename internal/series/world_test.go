package series

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"pgregory.net/rapid"

	"grace"
)

// world is a DB of which it is known what went into it.
type world struct {
	*DB

	lines []line
}

// line is a series with its samples.
type line struct {
	labels  labels.Labels
	samples []Sample
}

// newWorld makes a DB in which labels are what they are.
func newWorld(t fataler, watched ...*Expr) *world {
	t.Helper()
	cfg := DefaultConfig()
	cfg.NoDefaultRules, cfg.ServiceLabels = true, nil
	db, err := New(cfg, Options{
		Now:   func() time.Time { return start.Add(24 * time.Hour) },
		Known: func(grace.ServiceID) bool { return false },
	})
	if err != nil {
		t.Fatalf("%v", err)
	}
	db.Watch(watched)
	return &world{DB: db}
}

// add appends samples of a series, and remembers them.
func (w *world) add(t fataler, of map[string]string, samples []Sample) {
	t.Helper()
	ls := labels.FromMap(of)
	var k []byte
	ls.Range(func(l labels.Label) { k = AppendLabel(k, l.Name, l.Value) })
	b := w.Begin(From{Source: "test", Sensor: "test", History: true})
	b.Append(k, Meta{}, samples...)
	if r := b.End(); r.Err() != nil {
		t.Fatalf("%v", r.Err())
	}
	w.lines = append(w.lines, line{ls, samples})
}

// draw adds series of metrics. With alike they have all labels, else some.
func (w *world) draw(t *rapid.T, alike bool, metrics ...string) {
	pool := map[string][]string{"service": {"", "s1", "s2"}, "inst": {"", "1", "2", "3"}, "zone": {"", "x"}}
	seen := map[string]bool{}
	for _, metric := range metrics {
		for range rapid.IntRange(0, 6).Draw(t, metric) {
			of := map[string]string{MetricLabel: metric}
			for _, name := range slices.Sorted(maps.Keys(pool)) {
				values := pool[name]
				if alike {
					values = values[1:]
				}
				if v := rapid.SampledFrom(values).Draw(t, name); v != "" {
					of[name] = v
				}
			}
			if id := fmt.Sprint(of); !seen[id] {
				seen[id] = true
				w.add(t, of, drawSamples(t))
			}
		}
	}
}

// fill adds series of a, b and c that match one to one, by service too; also histograms,
// if they are wanted.
func (w *world) fill(t fataler, histograms bool) {
	t.Helper()
	for i, metric := range []string{"a", "b", "c"} {
		for j, service := range []string{"s1", "s2", "s3"} {
			var samples, whole []Sample
			for k := range 8 {
				second := float64(15 * k)
				samples = append(samples, at(second, float64(1+(i+j+k+3)%4)))
				whole = append(whole, Sample{At: at(second, 0).At, Histogram: wholeOf(float64(k + 3))})
			}
			w.add(t, map[string]string{MetricLabel: metric, "service": service, "inst": service, "zone": "x"}, samples)
			if metric == "a" && histograms {
				w.add(t, map[string]string{MetricLabel: metric, "service": service + "h", "zone": "x"}, whole)
			}
		}
	}
}

func drawSamples(t *rapid.T) (out []Sample) {
	pool := []float64{0, 1, 2, 3, 4, 5, 6, -1, -5, 0.1, 1e9, math.NaN(), math.Inf(1), math.Inf(-1), stale, stale}
	second := float64(rapid.IntRange(0, 200).Draw(t, "from"))
	whole := rapid.IntRange(0, 9).Draw(t, "form") == 0
	for range rapid.IntRange(1, 12).Draw(t, "samples") {
		s := at(second, rapid.SampledFrom(pool).Draw(t, "v"))
		if whole && s.Value > 0 && s.Value < 10 {
			s.Histogram = wholeOf(s.Value)
		}
		out = append(out, s)
		second += rapid.SampledFrom([]float64{15, 15, 15, 17.5, 40, 200}).Draw(t, "step")
	}
	return out
}

// when draws a time: of a sample, close to one, or after the look-back.
func (w *world) when(t *rapid.T) time.Time {
	last := start.UnixMilli()
	if len(w.lines) > 0 {
		of := w.lines[rapid.IntRange(0, len(w.lines)-1).Draw(t, "line")].samples
		last = of[rapid.IntRange(0, len(of)-1).Draw(t, "sample")].At
	}
	lookback := Lookback.Milliseconds()
	more := rapid.SampledFrom([]int64{0, 0, 0, 1, -1, 5000, 60_000, lookback - 1, lookback, lookback + 1, 2 * lookback}).Draw(t, "more")
	return time.UnixMilli(last + more).UTC()
}

// inWords writes elements, sorted.
func inWords(list []Element) string {
	var out []string
	for _, e := range list {
		out = append(out, fmt.Sprintf("%s %v/%v %v %s", labels.FromMap(e.Labels), e.Value, e.Threshold, e.Holds, e.Newest.Format("15:04:05.000")))
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// What a selector picks now is the same with the engine and without.
func TestFastPath(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.SampledFrom([]string{"3", "-5", "-(1)", "0.1", "NaN", "Inf", "-Inf"}).Draw(t, "limit")
		op := rapid.SampledFrom([]string{">", ">=", "<", "<=", "==", "!="}).Draw(t, "op")
		selector := rapid.SampledFrom([]string{`a`, `a{service="s1"}`, `a{inst=~"1|2"}`, `{__name__="a",inst!="2"}`}).Draw(t, "selector")
		text := selector + op + limit
		if rapid.Bool().Draw(t, "mirrored") {
			text = limit + op + "(" + selector + ")"
		}
		e := compiled(t, text)
		if e.plain != (limit != "NaN") {
			t.Fatalf("%s is plain: %v", e, e.plain)
		}
		w := newWorld(t, e)
		w.draw(t, true, "a", "b")
		slow := *e
		slow.plain = false
		for range 4 {
			when := w.when(t)
			got, want := evaluate(t, w.DB, e, when), evaluate(t, w.DB, &slow, when)
			if inWords(got.Elements) != inWords(want.Elements) || inWords(got.Undefined) != inWords(want.Undefined) || !got.Compared {
				t.Fatalf("%s at %s:\n%s\nwant\n%s", e, when, inWords(got.Elements), inWords(want.Elements))
			}
		}
	})
}

// The engine is left out where it can be, and only there.
func TestFastPathIsTaken(t *testing.T) {
	for text, plain := range map[string]bool{
		`a > 5`: true, `5 < a`: true, `(a) >= (5)`: true, `a{x="y"} < -(5)`: true,
		`a offset 1m > 5`: false, `a @ 100 > 5`: false, `a @ end() > 5`: false, `a > time()`: false, `a > b`: false,
		`a == 5`: true, `rate(a[1m]) > 5`: false, `a > bool 5`: false, `-a > 5`: false, `a > 5 > 3`: false, `a`: false, `a > 2 + 3`: false,
	} {
		if e := compiled(t, text); e.plain != plain {
			t.Errorf("%s: plain %v, want %v", text, e.plain, plain)
		}
	}
	w := newWorld(t, compiled(t, `a > 5`))
	for i, v := range []float64{6, 7, 8} {
		w.add(t, map[string]string{MetricLabel: "a", "inst": fmt.Sprint(i)}, []Sample{at(0, v), at(float64(15*i), v)})
	}
	e := compiled(t, `a > 5`)
	var r Result
	if !w.newestOf(e, after(30), Lookback, &r) || len(r.Elements) != 3 {
		t.Errorf("%v", r.Elements)
	}
	r = Result{}
	if w.newestOf(e, after(20), Lookback, &r) || r.Elements != nil {
		t.Errorf("before the newest sample: %v", r.Elements)
	}
	if r := evaluate(t, w.DB, e, after(20)); len(r.Elements) != 3 {
		t.Errorf("%d elements of 3 series", len(r.Elements))
	}
}
