package series

import (
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
		}, false, Unmeasured{}},
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
			if got.NoneYet != tt.yet || r.Unmeasured(e) != tt.want {
				t.Errorf("%t, %+v", got.NoneYet, r.Unmeasured(e))
			}
		})
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
