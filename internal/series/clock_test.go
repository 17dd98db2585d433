package series

import (
	"math"
	"testing"
	"time"
)

// When the clock was set back, what came after that is gone, and new samples are taken.
func TestClockSetBack(t *testing.T) {
	r := newRig(t, nil)
	exprs := r.watch(`http_requests_total > 5`, `rate(http_requests_total[2m]) > 1`, `count_over_time(jobs_pending[10m]) > 0`)
	value := func(i int, second, want float64) {
		t.Helper()
		got := evaluate(t, r.DB, exprs[i], after(second))
		if len(got.Elements) != 1 || math.Abs(got.Elements[0].Value-want) > 1e-9 {
			t.Errorf("%s at %v: %v, want %v", exprs[i], second, got.Elements, want)
		}
	}
	for i := range 20 { // 10 a second; from 100 on the clock is wrong
		second := float64(10 * i)
		r.send(counter, Meta{}, at(second, 1000+10*second))
		r.send(gauge, Meta{}, at(second, float64(i)))
	}
	r.ClockSetBack(after(95))
	value(0, 95, 1900)
	value(2, 95, 10)
	if report := r.send(gauge, Meta{}, at(94, 1)); report.Count(OutOfOrder) != 1 {
		t.Errorf("older than the clock: %s", reasonsOf(&report))
	}
	n := len(r.values[name(r.series[0])])
	for i := range 13 { // the counter went on, as if it had all been within 5 s
		second := float64(100 + 10*i)
		report := r.send(counter, Meta{}, at(second, 2900+10*(second-95)))
		if report.Count(Taken) != 1 || report.Count(Reset) != 0 {
			t.Errorf("at %v: %s", second, reasonsOf(&report))
		}
		if report := r.send(gauge, Meta{}, at(second, 7)); report.Count(Taken) != 1 {
			t.Errorf("at %v: %s", second, reasonsOf(&report))
		}
	}
	rates := r.values[name(r.series[0])]
	if len(rates) != n+12 {
		t.Errorf("%d rates after, want one less than samples: the first is a base", len(rates)-n)
	}
	for _, p := range rates {
		if math.Abs(p.v-10) > 1e-9 {
			t.Errorf("a rate of %v at %v, want no spike", p.v, float64(p.at-start.UnixMilli())/1000)
		}
	}
	value(0, 220, 2900+10*125)
	value(1, 220, 10)
	value(2, 220, 23)
	if got := evaluate(t, r.DB, exprs[0], after(220)); !got.Elements[0].Newest.Equal(after(220)) {
		t.Errorf("newest %s", got.Elements[0].Newest)
	}
}

// What all came after it has nothing left, and begins anew.
func TestClockSetBackBeforeAll(t *testing.T) {
	r := newRig(t, nil)
	e := r.watch(`count_over_time(jobs_pending[10m]) > 0`, `jobs_pending >= 0`)
	r.send(gauge, Meta{}, at(100, 1), at(110, 1))
	r.ClockSetBack(after(50))
	for _, e := range e {
		if got := evaluate(t, r.DB, e, after(120)); len(got.Elements) != 0 || !got.Newest(nil).IsZero() {
			t.Errorf("%s: %v, newest %s", e, got.Elements, got.Newest(nil))
		}
	}
	if report := r.send(gauge, Meta{}, at(60, 3)); report.Count(Taken) != 1 {
		t.Error(reasonsOf(&report))
	}
	if got := evaluate(t, r.DB, e[0], after(120)); len(got.Elements) != 1 || got.Elements[0].Value != 1 {
		t.Errorf("%v, want one sample", got.Elements)
	}
}

// A series whose end was after it lives: with the engine and without.
func TestClockSetBackBeforeTheEnd(t *testing.T) {
	r := newRig(t, nil)
	list := r.watch(`jobs_pending > 0`, `jobs_pending + 0 > 0`)
	r.send(gauge, Meta{}, at(0, 1), at(10, 2), at(20, stale))
	r.ClockSetBack(after(15))
	for _, e := range list {
		if got := inWords(evaluate(t, r.DB, e, after(16)).Elements); got != `{job="cart", service="cart"} 2/0 true 09:30:10.000` {
			t.Errorf("%s: %s", e, got)
		}
	}
}

// Deltas are added up as before: what was added stays added.
func TestClockSetBackDelta(t *testing.T) {
	r := newRig(t, nil)
	delta := Meta{Kind: KindDelta}
	e := r.watch(`http_requests_total > 0`)[0]
	r.send(counter, delta, at(0, 10), at(10, 20), at(20, 30))
	r.ClockSetBack(after(15))
	r.send(counter, delta, at(20, 40), at(30, 50))
	if got := text(r.values[name(r.series[0])]); got != "10:2 20:3 30:5" {
		t.Errorf("came out %s", got)
	}
	if got := evaluate(t, r.DB, e, after(30)); len(got.Elements) != 1 || got.Elements[0].Value != 150 {
		t.Errorf("%v, want the sum", got.Elements)
	}
}

// The replica that was listened to in the future does not keep the other one out.
func TestClockSetBackReplica(t *testing.T) {
	r := newRig(t, nil)
	send := func(replica string, second float64, want Reason) {
		t.Helper()
		r.now = after(second)
		report := r.send("jobs_pending{job=cart,prometheus_replica="+replica+"}", Meta{}, at(second, 1))
		if report.Count(want) != 1 {
			t.Errorf("%s at %v: %s", replica, second, reasonsOf(&report))
		}
	}
	send("a", 3600, Taken)
	r.ClockSetBack(after(0))
	send("b", 20, Duplicate)
	send("b", 31, Taken)
}

// What was forgotten or gave its place is in no result any more.
func TestGone(t *testing.T) {
	r := newRig(t, nil)
	list := r.watch(`jobs_pending > 0`, `jobs_pending + 0 > 0`)
	r.send(gauge, Meta{}, at(0, 1))
	for _, e := range list {
		if got := evaluate(t, r.DB, e, after(1)); len(got.Elements) != 1 {
			t.Errorf("%s: %v", e, got.Elements)
		}
	}
	r.now = start.Add(25 * time.Hour)
	r.Sweep()
	for _, e := range list {
		if got := evaluate(t, r.DB, e, after(1)); len(got.Elements) != 0 || !got.Newest(nil).IsZero() {
			t.Errorf("%s: %v, newest %s", e, got.Elements, got.Newest(nil))
		}
	}
	r.everyOneOnce(t)
}
