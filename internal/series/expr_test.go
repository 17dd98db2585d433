package series

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// What a comparison is taken apart into.
func TestCompile(t *testing.T) {
	for text, want := range map[string]string{
		`a > 5`:                             "> 5 | a",
		`a >= -5`:                           ">= -5 | a",
		`a < -(5)`:                          "< -5 | a",
		`a < (-(5))`:                        "< -5 | a",
		`5 < a`:                             "> 5 | a",
		`5 <= a`:                            ">= 5 | a",
		`5 > a`:                             "< 5 | a",
		`5 >= a`:                            "<= 5 | a",
		`((a{x="y"}) > (5))`:                `> 5 | (a{x="y"})`,
		`a > 2 + 3`:                         "> [2 + 3] | a",
		`a > Inf`:                           "> +Inf | a",
		`-a > 5`:                            "> 5 | -a",
		`a > scalar(b)`:                     "> [scalar(b)] | a",
		`scalar(b) > a`:                     "< [scalar(b)] | a",
		`time() - a > 60`:                   "> 60 | time() - a",
		`time() > a`:                        "< [time()] | a",
		`a > 5 > 3`:                         "> 3 | a > 5",
		`sum(rate(a[5m])) / sum(b) > 0.01`:  "> 0.01 | sum(rate(a[5m])) / sum(b)",
		`a > b`:                             "> {(a > bool +Inf) + (b)} | (a) + (b > bool +Inf)",
		`a <= on (x) b`:                     "<= {(a > bool +Inf) + on (x) (b)} | (a) + on (x) (b > bool +Inf)",
		`a < ignoring (x) group_left (y) b`: "< {(a > bool +Inf) + ignoring (x) group_left (y) (b)} | (a) + ignoring (x) group_left (y) (b > bool +Inf)",
		`a + c > b`:                         "> {(a + c > bool +Inf) + (b)} | (a + c) + (b > bool +Inf)",
		`a > 5 and b`:                       "its outermost operator is no comparison",
		`a > 5 or b > 5`:                    "its outermost operator is no comparison",
		`a unless b`:                        "its outermost operator is no comparison",
		`a`:                                 "its outermost operator is no comparison",
		`absent(a > 5)`:                     "its outermost operator is no comparison",
		`-(a > 5)`:                          "its outermost operator is no comparison",
		`5`:                                 "its outermost operator is no comparison",
		`a == 5`:                            "== 5 | a: it compares with ==: nothing comes closer to that",
		`a != b`:                            "!= {(a > bool +Inf) + (b)} | (a) + (b > bool +Inf): it compares with !=: nothing comes closer to that",
		`a > bool 5`:                        "with bool it gives an element whatever the outcome",
		`1 > bool 5`:                        "with bool it gives an element whatever the outcome",
	} {
		e := compiled(t, text)
		if got := apart(e); got != want {
			t.Errorf("%s: %s\nwant %s", text, got, want)
		}
		if e.String() != text {
			t.Errorf("%s: written as %s", text, e)
		}
		if falls := strings.HasPrefix(want, "<"); e.Falls() != falls {
			t.Errorf("%s: falls %v", text, e.Falls())
		}
		if threshold, ok := e.Threshold(); ok != e.constant || threshold != e.bound {
			t.Errorf("%s: threshold %v, %v", text, threshold, ok)
		}
		// What it was taken apart into can be read again.
		for _, part := range []string{e.value, e.limit, e.each} {
			if part != "" {
				compiled(t, part)
			}
		}
	}
}

// Of what says what is wrong a comparison is taken apart also where and and unless narrow it down;
// not of a check.
func TestNarrowed(t *testing.T) {
	for text, want := range map[string]string{
		`a > 5 and b`:                            "> 5 | (a) and b",
		`(5 > (a)) and on (x) (b > 1)`:           "< 5 | ((a)) and on (x) (b > 1)",
		`a / c * 100 < 10 unless on () b == 1`:   "< 10 | (a / c * 100) unless on () b == 1",
		`((a >= 1 and b) unless ignoring (x) c)`: ">= 1 | ((a) and b) unless ignoring (x) c",
		`a > scalar(b) and c or d`:               "its outermost operator is no comparison",
		`a > scalar(b) and (c or d)`:             "> [scalar(b)] | (a) and (c or d)",
		`a > on (x) b and c`:                     "> {(a > bool +Inf) + on (x) (b)} | ((a) + on (x) (b > bool +Inf)) and c",
		`a unless b > 1`:                         "its outermost operator is no comparison",
		`a == 1 and b > 1`:                       "it compares with ==: nothing comes closer to that",
		`a > bool 1 and b`:                       "with bool it gives an element whatever the outcome",
	} {
		e := wrongIf(t, text)
		if got := apart(e); got != want {
			t.Errorf("%s: %s\nwant %s", text, got, want)
		}
		if e.sparse != (e.Op() != "") || e.String() != text || e.plain {
			t.Errorf("%s: %+v", text, e)
		}
		compiled(t, e.Value())
		if check, err := CompileCheck(text, ""); err != nil || check.Op() != "" {
			t.Errorf("%s: %q, %v", text, check.Op(), err)
		}
	}
}

// apart writes an expression as op, threshold and value, or why it cannot be foretold.
func apart(e *Expr) string {
	switch {
	case e.Op() == "":
		if e.value != e.text {
			return "value " + e.value
		}
		return e.Unpredictable()
	case e.Unpredictable() != "":
		one := *e
		one.unlike = ""
		return apart(&one) + ": " + e.Unpredictable()
	case e.constant:
		return fmt.Sprintf("%s %v | %s", e.Op(), e.bound, e.value)
	case e.limit != "":
		return fmt.Sprintf("%s [%s] | %s", e.Op(), e.limit, e.value)
	}
	return fmt.Sprintf("%s {%s} | %s", e.Op(), e.each, e.value)
}

func TestCompileErrors(t *testing.T) {
	for text, want := range map[string]string{
		``: "not PromQL, at ", `a >`: "not PromQL, at 1:4", `sum(`: "not PromQL, at ", `a > "x"`: "not PromQL, at ",
		`"x"`: "a text: want numbers", `a[5m]`: "a range of samples: want numbers", `a[5m:1m]`: "a range of samples: want numbers",
		`1 > 2`: "not PromQL, at ", `{}`: "not PromQL, at ", `nofunction(a)`: "not PromQL, at ",
		`holt_winters(a[5m], 0.5, 0.5) > 1`: "; it is called double_exponential_smoothing since Prometheus 3",
	} {
		if e, err := Compile(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v does not say %q", text, e, err, want)
		}
	}
}

func TestMetrics(t *testing.T) {
	for text, want := range map[string][]string{
		`a > 5`:                            {"a"},
		`rate(a[5m]) > on () b and c`:      {"a", "b", "c"},
		`a / a{x="y"}`:                     {"a"},
		`{"my.metric"} > 5`:                {"my.metric"},
		`{__name__=~"a|b"} or {x="y"}`:     nil,
		`absent(a) or vector(1)`:           {"a"},
		`max_over_time(a[5m:1m]) > time()`: {"a"},
		`1`:                                nil,
	} {
		if got := compiled(t, text).Metrics(); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}

// How far back the samples are kept.
func TestReach(t *testing.T) {
	for text, want := range map[string][]float64{ // minutes
		`a > 5`:                   {5},
		`rate(a[10m]) > b`:        {15, 5},
		`a offset 1h`:             {65},
		`rate(a[10m] offset 1h)`:  {75},
		`a offset -1h`:            {5},
		`max_over_time(a[1h:1m])`: {65},
		`max_over_time(rate(a[10m])[1h:1m] offset 30m)`:                          {105},
		`min_over_time(max_over_time(rate(a[10m] offset 1m)[1h:1m])[2h:1m]) > b`: {196, 5},
	} {
		var got []float64
		for _, p := range compiled(t, text).picks {
			got = append(got, float64(p.back)/60_000)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: kept for %v min, want %v", text, got, want)
		}
	}
}

func FuzzCompile(f *testing.F) {
	for _, form := range forms() {
		f.Add(strings.ReplaceAll(form, "OP", ">="))
	}
	f.Fuzz(func(t *testing.T, text string) {
		e, err := Compile(text)
		if err != nil {
			return
		}
		for _, part := range []string{e.value, e.limit, e.each} {
			if part == "" {
				continue
			}
			if _, err := Compile(part); err != nil {
				t.Errorf("%q has a part %q: %v", text, part, err)
			}
		}
		if e.plain && (!e.constant || len(e.picks) != 1 || math.IsNaN(e.bound)) {
			t.Errorf("%q is plain", text)
		}
	})
}

// What gives an element only of what holds, and what looks at now.
func TestFilters(t *testing.T) {
	for text, want := range map[string]string{
		`a > 3`: "filters now", `a == 3`: "filters now", `-(a > 3)`: "filters now", `a > 3 and b`: "filters now", `a and b`: "now", `a unless b`: "filters now",
		`a > 3 or b < 2`: "filters now", `a > 3 or b`: "now", `count(a > 3) or vector(0)`: "now", `count(a > 3)`: "filters now", `absent(a > 3)`: "filters now",
		`absent_over_time(a[5m])`: "filters now", `a > bool 3`: "now", `(a > 3) > bool 2`: "now", `scalar(a > 3)`: "now", `vector(scalar(a > 3))`: "now", `a`: "now",
		`sum(rate(a[5m]))`: "now", `a + (b > 3)`: "filters now", `(a > 3) + fill(0) b`: "now", `label_replace(a > 3, "x", "y", "z", "")`: "filters now", `time()`: "",
		`vector(1) > 0`: "filters", `a offset 1h > 3`: "filters", `a @ 5 > 3`: "filters", `max_over_time(a[1h:] offset 1h) > 3`: "filters", `a > b offset 1h`: "filters now",
		`max_over_time(a[1h:]) > 3`: "filters now", `a offset -1m > 3`: "filters now", `a @ end() > 3`: "filters now",
	} {
		e := compiled(t, text)
		var got []string
		if e.Filters() {
			got = append(got, "filters")
		}
		if e.Now() {
			got = append(got, "now")
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
