package series

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// What a source is asked, and what is made of it here.
func TestCompileAt(t *testing.T) {
	for text, want := range map[string]struct {
		query  string
		looks  []string
		op     string // of the comparison here; empty: presence
		absent bool   // it says something that there is no element
		unlike string
		name   string // what signals are called after
	}{
		`load1 > 5`: {`load1`, []string{`load1`}, ">", false, "", "load1"},
		`5 < sum by (job) (rate(errors_total{a="b"}[5m] offset 1h))`: {`sum by (job) (rate(errors_total{a="b"}[5m] offset 1h))`, []string{`errors_total{a="b"}`}, ">", false, "", ""},
		`x - last_seen > 0.5 * 3600`:                                 {`x - last_seen`, []string{`x`, `last_seen`}, ">", true, "", ""},
		`max(x) < time() - 60`:                                       {`max(x)`, []string{`x`}, "<", false, "", ""},
		`up == 0`:                                                    {`up`, []string{`up`}, "==", false, "it compares with ==: nothing comes closer to that", "up"},
		`(a > 5) > 3`:                                                {`(a > 5)`, []string{`a`}, ">", true, "", ""},
		`queue > room`:                                               {`queue > room`, []string{`queue`, `room`}, "", true, "both sides of the comparison are its source's", ""},
		`queue > scalar(room)`:                                       {`queue > scalar(room)`, []string{`queue`, `room`}, "", true, "both sides of the comparison are its source's", ""},
		`a > 1 and on (job)  b > 2`:                                  {`(a) and on (job) b > 2`, []string{`a`, `b`}, ">", true, "", ""},
		`a > 1 unless b`:                                             {`(a) unless b`, []string{`a`, `b`}, ">", true, "", ""},
		`a > b and c > 2`:                                            {`a > b and c > 2`, []string{`a`, `b`, `c`}, "", true, "both sides of the comparison are its source's", ""},
		`a == 1 and b > 2`:                                           {`a == 1 and b > 2`, []string{`a`, `b`}, "", true, "it compares with ==: nothing comes closer to that", ""},
		`a > 1 or b > 2`:                                             {`a > 1 or b > 2`, []string{`a`, `b`}, "", true, "its outermost operator is no comparison", ""},
		`absent(up{job="x"})`:                                        {`absent(up{job="x"})`, []string{`up{job="x"}`}, "", true, "its outermost operator is no comparison", ""},
		`count({__name__=~".+",job="x"}) > 9`:                        {`count({__name__=~".+",job="x"})`, []string{`up{job="x"}`}, ">", false, "", ""},
		`sum({__name__=~"a|b",job="x"}) > 9`:                         {`sum({__name__=~"a|b",job="x"})`, []string{`a{job="x"}`, `b{job="x"}`}, ">", true, "", ""},
		`sum({__name__=~"node_.+"}) > 9`:                             {`sum({__name__=~"node_.+"})`, []string{`{__name__=~"node_.+"}`}, ">", false, "", ""},
		`a / b > bool 3`:                                             {`a / b > bool 3`, []string{`a`, `b`}, "", true, "with bool it gives an element whatever the outcome", ""},
	} {
		e, err := CompileAt(text, "prom")
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		r := e.Remote()
		if r.Query != want.query || !slices.Equal(r.Looks, want.looks) || e.Op() != want.op || (r.Seen != nil) != want.absent || e.Unpredictable() != want.unlike || e.Measured() != want.name || e.Source() != "prom" || e.String() != text {
			t.Errorf("%s: %+v, %q, %q, %q, want %+v", text, r, e.Op(), e.Unpredictable(), e.Measured(), want)
		}
	}
	for _, text := range []string{`vector(1)`, `time() > 5`, `up >`, `up[5m]`} {
		if e, err := CompileAt(text, "prom"); err == nil {
			t.Errorf("%s: %+v", text, e.Remote())
		}
	}
	one, _ := CompileAt(`up  == 0`, "eu")
	same, _ := CompileAt(`up == 1`, "eu")
	other, _ := CompileAt(`up == 0`, "us")
	if one.Remote().Metric != same.Remote().Metric || one.Remote().Metric == other.Remote().Metric {
		t.Error("what is asked twice is not one, or two sources are")
	}
	if e, err := CompileAt(`up == 0`, ""); err != nil || e.Remote() != nil || e.Source() != "" {
		t.Errorf("%+v, %v", e, err)
	}
}

// An element is as new as what it rests on, of its own labels; that there is none is as new as
// what was found that bears on the labels that are asked of. An absent thing is no evidence.
func TestRemoteEvidence(t *testing.T) {
	r := newRig(t, nil)
	e, err := CompileAt(`sort(errors > 5 and on (job) traffic > 1)`, "prom")
	if err != nil {
		t.Fatal(err)
	}
	r.Watch([]*Expr{e})
	ask, set, seen := e.Remote(), r.NewSet(From{Sensor: "prom"}, labels.EmptyLabels()), r.NewSet(From{Sensor: "prom"}, labels.EmptyLabels())
	answer := func(sec float64, elements []labels.Labels, rows map[int]map[string]float64) Result {
		t.Helper()
		var basis Basis
		r.now = after(sec)
		seen.Begin(r.now)
		for selector, ages := range rows {
			for job, at := range ages {
				of := labels.FromStrings("job", job)
				basis.Add(selector, of, after(at))
				seen.Append(ask.Seen[selector], of, Meta{Measured: after(at).UnixMilli()}, Sample{At: r.now.UnixMilli()})
			}
		}
		seen.End(false)
		set.Begin(r.now)
		for _, ls := range elements {
			measured, oldest := basis.Measured(ls)
			set.Append(ask.Metric, ls, Meta{Measured: measured, Oldest: oldest}, Sample{At: r.now.UnixMilli(), Value: 7})
		}
		set.End(false)
		return evaluate(t, r.DB, e, r.now)
	}
	a := labels.FromStrings("__name__", "errors", "job", "a", "pod", "1")
	both := map[int]map[string]float64{0: {"a": 5, "b": 9}, 1: {"a": 3, "b": 8}}
	got := answer(10, []labels.Labels{a}, both)
	if len(got.Elements) != 1 || got.Elements[0].Value != 7 || !got.Elements[0].Holds || fmt.Sprint(got.Elements[0].Labels) != "map[job:a pod:1]" || !got.Elements[0].Newest.Equal(after(3)) || got.Compared {
		t.Errorf("%+v", got.Elements)
	}
	for job, want := range map[string]time.Time{"a": after(3), "b": after(8), "c": {}} {
		if at := got.Newest(map[string]string{"job": job}); !at.Equal(want) {
			t.Errorf("what bears on %s is of %s, want %s", job, at, want)
		}
	}
	got = answer(20, nil, map[int]map[string]float64{0: {"b": 19}, 1: {"b": 18}}) // the targets of a are gone
	if len(got.Elements) != 0 || !got.Newest(map[string]string{"job": "a"}).IsZero() || !got.Newest(nil).Equal(after(18)) {
		t.Errorf("%+v, of a %s, of all %s", got.Elements, got.Newest(map[string]string{"job": "a"}), got.Newest(nil))
	}
	got = answer(30, []labels.Labels{a}, nil) // a rate goes on for as long as its range
	if len(got.Elements) != 1 || !got.Elements[0].Newest.IsZero() {
		t.Errorf("it rests on nothing: %+v", got.Elements)
	}
}

// Of a source it is known how old the oldest is of what an answer is made of, and of what
// there is no element.
func TestRemoteLack(t *testing.T) {
	for text, parts := range map[string]bool{`load1 > 5`: false, `(load1) > 5`: false, `sum(load1) > 5`: true, `a unless b`: true} {
		e, err := CompileAt(text, "prom")
		check, _ := CompileCheck(text, "prom")
		if err != nil || e.Remote().Parts != parts || check.Remote().Parts || !check.Remote().Check || e.Remote().Check {
			t.Errorf("%s: %+v, %v", text, e.Remote(), err)
		}
	}
	var basis Basis
	basis.Asked = &Remote{Oldest: []bool{false, true}, Parts: true} // sum by (job) (a) unless sum by (job) (b)
	of := labels.FromStrings("job", "a")
	basis.Add(0, of, after(30))
	basis.AddOldest(0, of, after(20))
	basis.Add(1, of, after(25))
	basis.AddOldest(1, of, after(25))
	if measured, oldest := basis.Measured(of); measured != after(25).UnixMilli() || oldest != after(20).UnixMilli() {
		t.Errorf("measured %d, the oldest %d", measured, oldest)
	}
	r := newRig(t, nil)
	e, _ := CompileAt(`sum by (job) (a) > 5`, "prom")
	r.Watch([]*Expr{e})
	set := r.NewSet(From{Sensor: "prom"}, labels.EmptyLabels())
	for second := 0.0; second <= 60; second += 10 {
		r.now = after(second)
		set.Begin(r.now)
		set.Append(e.Remote().Metric, of, Meta{Measured: after(second).UnixMilli(), Oldest: after(min(second, 20)).UnixMilli()}, at(second, 3))
		set.End(false)
		want := map[bool]string{true: "a part of it was measured last at 09:30:20"}[second >= 30]
		if got := evaluate(t, r.DB, e, r.now); len(got.Elements) != 1 || got.Elements[0].Lacks || got.Lack(map[string]string{"job": "a"}, after(second-10)) != want {
			t.Errorf("after %v s: %q, %+v", second, got.Lack(map[string]string{"job": "a"}, after(second-10)), got.Elements)
		}
	}
}

// A set that cannot be told breaks what may look at its series, and nothing else, until it
// can be told again, or is no more.
func TestBroken(t *testing.T) {
	r := newRig(t, nil)
	exprs := r.watch(`m > 1`, `m{job="s"} > 1`, `m{job="other"} > 1`, `rate({__name__=~"m|n"}[5m]) > 1`, `n > 1`)
	s := r.NewSet(From{Sensor: "s"}, labels.FromStrings(JobLabel, "s"))
	broken := func() (out []string) {
		for _, e := range exprs {
			if why := r.Broken(e); why != "" {
				out = append(out, e.String()+": "+why)
			}
		}
		return out
	}
	s.Fail("m", "away")
	if got, want := broken(), []string{`m > 1: away`, `m{job="s"} > 1: away`, `rate({__name__=~"m|n"}[5m]) > 1: away`}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	s.Begin(start)
	s.End(false)
	if got := broken(); got != nil {
		t.Errorf("%q", got)
	}
	s.Fail("m", "away")
	s.Close(start)
	if got := broken(); got != nil {
		t.Errorf("%q", got)
	}
}
