package main

import (
	"math"
	"testing"
	"time"

	"grace/examples/shop"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// seen makes seconds of which x is a breach, . is good and _ was not reported;
// the first ends one second after start.
func seen(pattern string) []second {
	var out []second
	for i, c := range pattern {
		s := second{At: start.Add(time.Duration(i+1) * time.Second)}
		if c == 'x' {
			s.Breach = "broken"
		}
		if c != '_' {
			out = append(out, s)
		}
	}
	return out
}

func TestRecovery(t *testing.T) {
	for _, c := range []struct {
		name, seconds string
		over          time.Duration // after start
		want          time.Duration // below 0 is not recovered
	}{
		{"after the breach", "xxx.....", 2 * time.Second, 3 * time.Second},
		{"four good seconds are too few", "xxx....", 2 * time.Second, -1},
		{"a relapse starts anew", "xx....x.....", time.Second, 7 * time.Second},
		{"a fault that does not show yet is not recovered", "......xxx.....", 8 * time.Second, 9 * time.Second},
		{"cured before it showed", ".........", 2500 * time.Millisecond, 2500 * time.Millisecond},
		{"cured within the first good second", "xx.....", 2200 * time.Millisecond, 2200 * time.Millisecond},
		{"cured exactly at the end of a second", "xx......", 3 * time.Second, 3 * time.Second},
		{"a lost report is not good", "xx..._.....", time.Second, 6 * time.Second},
		{"nothing was seen", "", 0, -1},
		{"never good", "xxxxxxxxx", time.Second, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ok := recovery(seen(c.seconds), start.Add(c.over))
			if ok != (c.want >= 0) || ok && got.Sub(start) != c.want {
				t.Errorf("recovery(%s) = %s, %t, want %s", c.seconds, got.Sub(start), ok, c.want)
			}
		})
	}
}

func TestBreaches(t *testing.T) {
	s := seen("xx.x.x")
	if got := breaches(s, start, start.Add(6*time.Second)); got != 4 {
		t.Errorf("breaches of all = %d, want 4", got)
	}
	if got := breaches(s, start.Add(time.Second), start.Add(4*time.Second)); got != 2 {
		t.Errorf("breaches of (1 s, 4 s] = %d, want 2", got)
	}
}

func TestContent(t *testing.T) {
	s := seen("x...")
	now := start.Add(4 * time.Second)
	if !content(s, 3, now) || content(s, 4, now) || content(s, 5, now) {
		t.Error("content does not look at the last seconds")
	}
	if content(s, 3, now.Add(time.Minute)) {
		t.Error("content though the customers were not heard for a minute")
	}
}

func TestJudgeSecond(t *testing.T) {
	for _, c := range []struct {
		name string
		svc  shop.LoadSecond
		bad  bool
	}{
		{"good", shop.LoadSecond{OK: 10, P95: .1}, false},
		{"slow", shop.LoadSecond{OK: 10, P95: .401}, true},
		{"errors", shop.LoadSecond{OK: 18, Errors: 2, P95: .1}, true},
		{"few errors", shop.LoadSecond{OK: 19, Errors: 1, P95: .1}, false},
		{"no answer", shop.LoadSecond{}, true},
	} {
		r := shop.LoadReport{At: start, Services: []shop.LoadSecond{{Service: "other", OK: 1}, c.svc}}
		if got := judgeSecond(r); (got.Breach != "") != c.bad || !got.At.Equal(start) {
			t.Errorf("%s: breach %q, want one: %t", c.name, got.Breach, c.bad)
		}
	}
}

func TestQuantile(t *testing.T) {
	ten := []float64{10, 9, 8, 7, 6, 5, 4, 3, 2, 1}
	if p50, p95 := quantile(ten, .5), quantile(ten, .95); p50 != 5 || p95 != 10 {
		t.Errorf("p50 %v, p95 %v, want 5 and 10", p50, p95)
	}
	if got := quantile([]float64{3}, .95); got != 3 {
		t.Errorf("of one value %v, want 3", got)
	}
	if !math.IsNaN(quantile(nil, .5)) {
		t.Error("of nothing there is a quantile")
	}
	if ten[0] != 10 {
		t.Error("the values were reordered")
	}
}
