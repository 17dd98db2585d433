package series

import (
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
)

// What is known of what an expression looks at stays known whatever else is looked at, and
// what is not taken is not taken for what has not happened.
func TestNoneYet(t *testing.T) {
	const ratio = `sum(errors{code="5"}) / sum(requests) > 1`
	for name, tt := range map[string]struct {
		do   func(r *rig, e *Expr)
		yet  bool
		want Unmeasured
	}{
		"nothing":                {func(*rig, *Expr) {}, false, Unmeasured{`errors{code="5"}`, false}},
		"one side":               {func(r *rig, _ *Expr) { r.put("requests", at(0, 1)) }, false, Unmeasured{`errors{code="5"}`, false}},
		"the other side":         {func(r *rig, _ *Expr) { r.put("errors{code=5}", at(0, 1)) }, false, Unmeasured{`requests`, false}},
		"the name elsewhere":     {func(r *rig, _ *Expr) { r.put("requests", at(0, 1)); r.send("errors{code=4}", Meta{}, at(0, 1)) }, true, Unmeasured{}},
		"without the label":      {func(r *rig, _ *Expr) { r.put("requests", at(0, 1)); r.send("errors{kod=5}", Meta{}, at(0, 1)) }, false, Unmeasured{`errors{code="5"}`, false}},
		"both":                   {func(r *rig, _ *Expr) { r.put("requests", at(0, 1)); r.put("errors{code=5}", at(0, 1)) }, false, Unmeasured{}},
		"elsewhere, and nothing": {func(r *rig, _ *Expr) { r.send("errors{code=4}", Meta{}, at(0, 1)) }, false, Unmeasured{`requests`, false}},
		"it was there, and other things are looked at since": {func(r *rig, e *Expr) {
			r.put("requests", at(0, 1))
			r.put("errors{code=5}", at(0, 1))
			r.put("errors{code=5}", at(1, stale))
			r.put("errors{code=4}", at(1, 1))
			r.Watch([]*Expr{compiled(r.t, `requests`), e})
			r.Watch([]*Expr{e})
		}, true, Unmeasured{}},
		"known before other things are looked at": {func(r *rig, e *Expr) {
			r.put("requests", at(0, 1))
			r.send("errors{code=4}", Meta{}, at(0, 1))
			r.Watch([]*Expr{e})
		}, true, Unmeasured{}},
		"there is no room": {func(r *rig, _ *Expr) {
			r.put("requests{pod=a}", at(0, 1))
			r.put("requests{pod=b}", at(0, 1))
			r.send("errors{code=4}", Meta{}, at(0, 1))
			if report := r.send("errors{code=5}", Meta{}, at(0, 1)); report.Count(SourceFull) != 1 {
				r.t.Errorf("%+v", report)
			}
		}, false, Unmeasured{}},
		"a target of it does not answer": {func(r *rig, _ *Expr) {
			r.send("errors{code=4}", Meta{}, at(0, 1))
			s := r.NewSet(From{Sensor: "s", History: true}, labels.EmptyLabels())
			s.Begin(after(0))
			s.Append("requests", labels.EmptyLabels(), Meta{}, at(0, 1))
			s.End(false)
			s.Lose(after(1))
		}, false, Unmeasured{}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(c *Config, _ *Options) { c.Limits.SeriesPerSource = 2 })
			e := r.watch(ratio)[0]
			tt.do(r, e)
			got := evaluate(t, r.DB, e, after(2))
			if yet, _ := got.NoneYet(nil); yet != tt.yet || r.Unmeasured(e) != tt.want {
				t.Errorf("%t, %+v", yet, r.Unmeasured(e))
			}
		})
	}
}

// What was there and has ended is as what has not happened yet, whatever becomes of what is
// known of it; what fell silent without an end is not.
func TestEnded(t *testing.T) {
	const ratio = `sum(errors) / sum(requests) > 1`
	type target = func(r *rig, s *Set)
	page := func(s *Set, second float64, names ...string) {
		s.Begin(after(second))
		for _, name := range names {
			s.Append(name, labels.EmptyLabels(), Meta{}, at(second, 1))
		}
		s.End(false)
	}
	silent := func(*rig, *Set) {}
	end := func(_ *rig, s *Set) { page(s, 15) }
	lose := func(_ *rig, s *Set) { s.Lose(after(15)) }
	both := func(list ...target) target {
		return func(r *rig, s *Set) {
			for _, do := range list {
				do(r, s)
			}
		}
	}
	forget := func(r *rig, _ *Set) {
		r.now = after(25 * 3600)
		r.put("requests", at(25*3600-10, 1))
		r.Sweep()
		if n := r.Stats().Forgotten; n != 1 {
			r.t.Errorf("%d were forgotten", n)
		}
	}
	back := func(r *rig, _ *Set) { r.ClockSetBack(after(5)) }
	again := func(_ *rig, s *Set) { page(s, 400, "errors") }
	for name, tt := range map[string]struct {
		do     target
		second float64
		ended  bool
	}{
		"ended":                             {end, 15, true},
		"ended long ago":                    {end, 3600, true},
		"its target is scraped no more":     {func(_ *rig, s *Set) { s.Close(after(15)) }, 15, true},
		"silent":                            {silent, 320, false},
		"its target does not answer":        {lose, 15, false},
		"for long":                          {lose, 3600, false},
		"and then it has no such series":    {both(lose, func(_ *rig, s *Set) { page(s, 900) }), 900, true},
		"ended and forgotten":               {both(end, forget), 25 * 3600, true},
		"silent and forgotten":              {forget, 25 * 3600, false},
		"lost and forgotten":                {both(lose, forget), 25 * 3600, false},
		"ended, then the clock is set back": {both(end, back), 320, true},
		"ended, and back, and silent":       {both(end, again), 720, false},
		"one of two ended":                  {both(end, func(r *rig, _ *Set) { r.put("errors{pod=b}", at(0, 1)) }), 320, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			e := r.watch(ratio)[0]
			s := r.NewSet(From{Sensor: "s", History: true}, labels.FromStrings("pod", "a"))
			page(s, 0, "errors")
			r.now = after(tt.second)
			tt.do(r, s)
			r.put("requests", at(tt.second-1, 1))
			got := evaluate(t, r.DB, e, after(tt.second))
			if yet, ended := got.NoneYet(nil); yet != tt.ended || ended != tt.ended {
				t.Errorf("%t, %t: %+v", yet, ended, got)
			}
		})
	}
}

// A recording has ended where what it is made of has, and is silent where that fell silent, until
// that has ended.
func TestRecordingEnds(t *testing.T) {
	for text, rule := range map[string]string{
		`failed / requests > 1`:           `failed = sum(errors)`,
		`failed / requests > 2`:           `failed = sum(rate(errors[1m]))`,
		`failed / requests > 3`:           `failed = sum(rate(errors[10m]))`,
		`sum(failed) / sum(requests) > 1`: `failed = errors`,
	} {
		for name, tt := range map[string]struct {
			then  func(s *Set, second float64)
			ended bool
		}{
			"ended":  {func(s *Set, second float64) { s.Begin(after(second)); s.End(false) }, true},
			"silent": {func(*Set, float64) {}, false},
			"lost":   {func(s *Set, second float64) { s.Lose(after(second)) }, false},
			"lost, then ended": {func(s *Set, second float64) {
				if second < 1300 {
					s.Lose(after(second))
				} else {
					s.Begin(after(second))
					s.End(false)
				}
			}, true},
		} {
			r, rec, e := recordingRig(t, text, rule)
			s := r.NewSet(From{Sensor: "s", History: true}, labels.EmptyLabels())
			var got Result
			for second := 0.0; second <= 1500; second += 15 {
				r.now = after(second)
				r.put("requests", at(second, 1))
				if second <= 120 {
					s.Begin(r.now)
					s.Append("errors", labels.EmptyLabels(), Meta{}, at(second, second))
					s.End(false)
				} else {
					tt.then(s, second)
				}
				got = r.step(t, rec, e, second)
			}
			if yet, ended := got.NoneYet(nil); len(got.Elements) != 0 || yet != tt.ended || ended != tt.ended {
				t.Errorf("%s of %s: %+v", name, rule, got)
			}
		}
	}
}

// Without what it may do without, an expression is measured; not when it finds nothing else
// either.
func TestUnmeasured(t *testing.T) {
	for text, want := range map[string]string{
		`a > 1 and b > 2`:                    "b",
		`a > 1 unless b`:                     "",
		`a or b`:                             "",
		`b or c`:                             "b",
		`absent(b)`:                          "",
		`a + absent(b)`:                      "",
		`a + fill (0) b`:                     "",
		`sum(b) or vector(0)`:                "b",
		`a > scalar(b{x="1"})`:               `b{x="1"}`,
		`a / ignoring (x) b{x!="1"} > 5`:     `b{x!="1"}`,
		`histogram_quantile(0.9, b{le="1"})`: `b{le="1"}`,
	} {
		r := newRig(t, nil)
		e := r.watch(text)[0]
		r.put("a", at(0, 1))
		if got := r.Unmeasured(e); got.Selector != want || got.Named {
			t.Errorf("%s: %+v, want %q", text, got, want)
		}
		there, err := CompileAt(text, "prom")
		if err != nil {
			t.Fatal(err)
		}
		r.Watch([]*Expr{there})
		if ask := there.Remote(); ask.Seen != nil {
			set := r.NewSet(From{Sensor: "prom"}, labels.EmptyLabels())
			set.Begin(start)
			for i, selector := range ask.Looks {
				if selector == "a" {
					set.Append(ask.Seen[i], labels.EmptyLabels(), Meta{}, at(0, 1))
				}
			}
			set.End(false)
		}
		if got := r.Unmeasured(there); got.Selector != want || got.Named {
			t.Errorf("at a source, %s: %+v, want %q", text, got, want)
		}
	}
}

// What has not happened yet is well only where there would have to be much of it for the
// comparison to hold.
func TestNoneYetIsNotWrong(t *testing.T) {
	for text, want := range map[string]bool{
		`sum(b{x="1"}) / sum(a) > 1`:                   true,
		`1 < sum(b{x="1"}) / sum(a)`:                   true,
		`1 - sum(b{x="1"}) / sum(a) < 1`:               true,
		`-(sum(b{x="1"}) / sum(a)) < -1`:               true,
		`sum(a) / sum(b{x="1"}) < 1`:                   true,
		`sum(b{x="1"}) / sum(a) < 1`:                   false,
		`1 - sum(b{x="1"}) / sum(a) > 1`:               false,
		`sum(a) / sum(b{x="1"}) > 1`:                   false,
		`sum(a) - sum(b{x="1"}) > 1`:                   false,
		`sum(b{x="1"}) / sum(a) == 0`:                  false,
		`sum(b{x="1"}) / sum(a) != 1`:                  false,
		`abs(sum(b{x="1"}) - sum(a)) > 1`:              false,
		`sum(a * on () group_left (y) b{x="1"}) > 1`:   false,
		`sum(b{x="1"} * on () group_right () a) > 1`:   false,
		`sum(b{x="1"} / on () group_left () a) > 1`:    true,
		`sum(b{x="1"}) / (sum(a) - sum(b{x="1"})) > 1`: true,
	} {
		r := newRig(t, nil)
		e := r.watch(text)[0]
		r.put("a", at(0, 1))
		r.send("b{x=2}", Meta{}, at(0, 1))
		there, err := CompileAt(text, "prom")
		if err != nil {
			t.Fatal(err)
		}
		r.Watch([]*Expr{e, there})
		ask := there.Remote()
		set := r.NewSet(From{Sensor: "prom"}, labels.EmptyLabels())
		set.Begin(start)
		set.Append(ask.Finds(slices.Index(ask.Looks, "a")), labels.EmptyLabels(), Meta{}, at(0, 1))
		set.End(false)
		set.Given(ask.Finds(slices.Index(ask.Looks, `b{x="1"}`)))
		for _, e := range []*Expr{e, there} {
			got := evaluate(t, r.DB, e, after(1))
			switch yet, _ := got.NoneYet(nil); {
			case len(got.Elements) > 0 || yet != want:
				t.Errorf("%s, source %q: %t, %+v", text, e.Source(), yet, got.Elements)
			case !want && got.Unmeasured != Unmeasured{`b{x="1"}`, true}:
				t.Errorf("%s, source %q: %+v", text, e.Source(), got.Unmeasured)
			}
		}
	}
}

// What a selector names has all its labels, and the values that another selector wants of its
// metric, too.
func TestNames(t *testing.T) {
	for text, want := range map[string]string{
		`sum(x{code="5"}) / sum(y) > 1`:                                 `x{code!=""}`,
		`sum(x{code=~"5..",service="web"}) / sum(x) > 1`:                `x{code!="",service!=""}`,
		`sum(x{code=~"5..",service="web"}) / sum(x{service="web"}) > 1`: `x{code!="",service="web"}`,
		`sum(x{code=~"5..",service="web"}) / sum(y{service="web"}) > 1`: `x{code!="",service!=""}`,
		`sum(x{code!="200",service="web"}) / sum(x{code="2"}) > 1`:      `x{service!=""}`,
	} {
		e, err := CompileAt(text, "prom")
		if err != nil {
			t.Fatal(err)
		}
		if got := e.Remote().Loose[0]; got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	r := newRig(t, nil)
	e := r.watch(`sum(errors{service="cart",code="5"}) / sum(errors{service="cart"}) > 1`)[0]
	r.put("errors{job=cart}", at(0, 1))
	r.send("errors{job=other,code=4}", Meta{}, at(0, 1))
	got := evaluate(t, r.DB, e, after(0))
	if yet, _ := got.NoneYet(nil); yet {
		t.Error("another service has the label")
	}
	r.send("errors{job=cart,code=4}", Meta{}, at(0, 1))
	got = evaluate(t, r.DB, e, after(0))
	if yet, _ := got.NoneYet(nil); !yet {
		t.Error("it is named by the service that the rules give")
	}
}
