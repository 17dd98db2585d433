package series

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// recording is a rig with recordings, each "name{label=value} = expression", and the
// expressions in force.
func recordingRig(t *testing.T, watched string, rules ...string) (*rig, *Recorder, *Expr) {
	t.Helper()
	r := newRig(t, nil)
	rec := r.NewRecorder()
	e, err := Compile(watched)
	if err != nil {
		t.Fatal(err)
	}
	configure(r, rec, e, rules...)
	return r, rec, e
}

func configure(r *rig, rec *Recorder, e *Expr, rules ...string) {
	g := Group{Name: "g", Interval: 15 * time.Second}
	for _, text := range rules {
		head, expr, _ := strings.Cut(text, " = ")
		name, rest, _ := strings.Cut(strings.TrimSuffix(head, "}"), "{")
		one := Recording{Name: name, Expr: expr, Labels: map[string]string{}}
		if label, value, ok := strings.Cut(rest, "="); ok {
			one.Labels[label] = value
		}
		g.Rules = append(g.Rules, one)
	}
	r.Watch(append(rec.Configure([]Group{g}, []*Expr{e}), e))
}

func (r *rig) step(t *testing.T, rec *Recorder, e *Expr, seconds float64) Result {
	t.Helper()
	r.now = after(seconds)
	for _, s := range rec.Step(t.Context(), r.now) {
		if s.Wrong != "" {
			t.Fatal(s.Wrong)
		}
	}
	res, err := r.Evaluate(t.Context(), e, r.now)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// A recording is looked at as what it is made of: it is as old as that, ends with it, and
// a recording of a recording is too.
func TestRecordingIsNoFresherThanItsSource(t *testing.T) {
	for _, watched := range []string{`job:b > 1`, `job:b + 0 > 1`, `max by (job) (max_over_time(job:b[30s])) > 1`} {
		r, rec, e := recordingRig(t, watched, `job:a{team=x} = sum by (job) (a)`, `job:b = job:a * 2`)
		var res Result
		for s := 0.0; s <= 60; s += 5 {
			r.send("a{job=j,pod=p}", Meta{}, at(s, 3))
			res = r.step(t, rec, e, s)
		}
		if len(res.Elements) != 1 || res.Elements[0].Value != 6 || !res.Elements[0].Holds || res.Elements[0].Newest.Before(after(45)) {
			t.Fatalf("%s: %+v", watched, res.Elements)
		}
		for s := 65.0; s <= 200; s += 5 { // nothing is measured any more
			res = r.step(t, rec, e, s)
		}
		if len(res.Elements) != 1 || res.Elements[0].Newest.After(after(60)) {
			t.Fatalf("%s, the source is silent: %+v", watched, res.Elements)
		}
		if newest := res.Newest(nil); newest.After(after(60)) {
			t.Errorf("%s: the newest is from %s", watched, newest)
		}
		r.send("a{job=j,pod=p}", Meta{}, at(205, stale))
		for s := 205.0; s <= 240; s += 5 {
			res = r.step(t, rec, e, s)
		}
		if len(res.Elements) != 0 && !strings.Contains(watched, "over_time") {
			t.Errorf("%s, the source has ended: %+v", watched, res.Elements)
		}
	}
}

// What rests on nothing that was measured does not become evidence by being recorded.
func TestRecordingOfNothing(t *testing.T) {
	r, rec, e := recordingRig(t, `gone == 1`, `gone = absent(a)`)
	res := r.step(t, rec, e, 60)
	if len(res.Elements) != 1 || !res.Elements[0].Newest.IsZero() {
		t.Fatalf("%+v", res.Elements)
	}
	e2, _ := Compile(`gone > 0`) // the newest samples, without the engine
	res, _ = r.Evaluate(context.Background(), e2, r.now)
	if len(res.Elements) != 1 || !res.Elements[0].Newest.IsZero() {
		t.Fatalf("%+v", res.Elements)
	}
}

// Only what is looked at is recorded; labels of rules win; a rule that goes ends its series.
func TestRecordingIsConfigured(t *testing.T) {
	r, rec, e := recordingRig(t, `x > 1`, `x{job=other} = a`, `unused = a`)
	r.send("a{job=j}", Meta{}, at(10, 5))
	res := r.step(t, rec, e, 15)
	if len(res.Elements) != 1 || res.Elements[0].Labels["job"] != "other" || r.open("unused{job=j}") != nil {
		t.Fatalf("%+v", res.Elements)
	}
	configure(r, rec, e, `y = a`, `x{job=other} = a`)
	if res = r.step(t, rec, e, 20); len(res.Elements) != 1 {
		t.Fatalf("the same rule at another place: %+v", res.Elements)
	}
	configure(r, rec, e, `x{job=third} = a`)
	res = r.step(t, rec, e, 45)
	if len(res.Elements) != 1 || res.Elements[0].Labels["job"] != "third" {
		t.Fatalf("%+v", res.Elements)
	}
}

// A rule that cannot be evaluated is told of once, and when it can again.
func TestRecordingFails(t *testing.T) {
	r, rec, _ := recordingRig(t, `x > 1`, `x = a * on (job) b`)
	var said []string
	for s := 15.0; s <= 90; s += 15 {
		r.send("a{job=j}", Meta{}, at(s, 5))
		for _, pod := range []string{"1", "2"} {
			if s < 60 || pod == "1" {
				r.send("b{job=j,pod="+pod+"}", Meta{}, at(s, 5))
			} else if s == 60 {
				r.send("b{job=j,pod="+pod+"}", Meta{}, at(s, stale))
			}
		}
		r.now = after(s)
		for _, c := range rec.Step(t.Context(), r.now) {
			said = append(said, c.Wrong)
		}
	}
	if len(said) != 2 || !strings.Contains(said[0], "many-to-many") && !strings.Contains(said[0], "duplicate") || said[1] != "" || rec.Failing() != 0 {
		t.Errorf("%q", said)
	}
	r, rec, e := recordingRig(t, `x > 1`, `x{pod=same} = a`)
	r.send("a{pod=1}", Meta{}, at(15, 5))
	r.send("a{pod=2}", Meta{}, at(15, 5))
	r.now = after(30)
	if c := rec.Step(t.Context(), r.now); len(c) != 1 || !strings.Contains(c[0].Wrong, "same labels") {
		t.Errorf("%+v", c)
	}
	if res, _ := r.Evaluate(t.Context(), e, r.now); len(res.Elements) != 0 {
		t.Errorf("%+v", res.Elements)
	}
}

// Groups are evaluated at times of their own, each once in its interval.
func TestRecordingInterval(t *testing.T) {
	r, rec, e := recordingRig(t, `count_over_time(x[10m]) > 0`, `x = vector(1)`)
	for s := 0.0; s < 300; s++ {
		r.step(t, rec, e, s)
	}
	res := r.step(t, rec, e, 300)
	if len(res.Elements) != 1 || math.Abs(res.Elements[0].Value-20) > 1 {
		t.Errorf("%+v", res.Elements)
	}
	phases := []time.Duration{}
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		phases = append(phases, phaseOf(name, time.Minute))
	}
	slices.Sort(phases)
	if len(slices.Compact(phases)) < 3 || phases[4] >= time.Minute {
		t.Errorf("%v", phases)
	}
}
