package series

import (
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// What is missing of a sum is known for as long as a sample stands for now: not what has
// ended, and not what comes rarely.
func TestLack(t *testing.T) {
	const held, ranged = `sum(queue)`, `sum(rate(queue[1m]))`
	type target = func(r *rig, s *Set, second float64)
	page := func(r *rig, s *Set, second float64) {
		s.Begin(after(second))
		s.Append("queue", labels.EmptyLabels(), Meta{}, at(second, second))
		s.End(false)
	}
	until := func(end float64, then target) target {
		return func(r *rig, s *Set, second float64) {
			if second <= end {
				page(r, s, second)
			} else {
				then(r, s, second)
			}
		}
	}
	silent := func(*rig, *Set, float64) {}
	lose := func(_ *rig, s *Set, second float64) { s.Lose(after(second)) }
	empty := func(_ *rig, s *Set, second float64) {
		s.Begin(after(second))
		s.End(false)
	}
	b := func(at string) string { return `queue{pod="b"} was measured last at ` + at }
	for name, tt := range map[string]struct {
		expr      string
		b         target
		end       float64 // the second of the look
		lacks     bool
		whole     float64
		early, of string // what is lacking since the failure 30 s before the look, and since 2 minutes before
	}{
		"measured":                    {held, page, 300, false, 300, "", ""},
		"ended":                       {held, until(200, empty), 300, false, 300, "", ""},
		"one sample late":             {held, until(285, silent), 300, false, 285, "", ""},
		"silent":                      {held, until(255, silent), 300, true, 255, b("09:34:15"), b("09:34:15")},
		"silent, of a range":          {ranged, until(255, silent), 300, true, 300, b("09:34:15"), b("09:34:15")},
		"lost":                        {held, until(285, lose), 300, true, 285, b("09:34:45"), b("09:34:45")},
		"lost, of a range":            {ranged, until(285, lose), 300, true, 285, b("09:34:45"), b("09:34:45")},
		"silent, and about to go":     {held, until(15, silent), 300, true, 15, b("09:30:15"), b("09:30:15")},
		"silent for too long":         {held, until(15, silent), 315, false, 315, "", ""},
		"silent for too long a range": {ranged, until(15, silent), 315, false, 315, "", ""},
		"lost for too long":           {held, until(15, lose), 330, false, 330, "", ""},
		"back": {held, until(200, func(r *rig, s *Set, second float64) {
			if second < 250 {
				s.Lose(after(second))
			} else {
				page(r, s, second)
			}
		}), 300, false, 300, "", ""},
		"rare": {held, func(r *rig, s *Set, second float64) {
			if int(second)%90 == 0 {
				page(r, s, second)
			}
		}, 330, false, 270, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			e := r.watch(tt.expr)[0]
			own := func(pod string) labels.Labels { return labels.FromStrings("pod", pod) }
			one, other := r.NewSet(From{Sensor: "s", History: true}, own("a")), r.NewSet(From{Sensor: "s", History: true}, own("b"))
			for second := 0.0; second <= tt.end; second += 15 {
				page(r, one, second)
				tt.b(r, other, second)
			}
			got := evaluate(t, r.DB, e, after(tt.end))
			el := got.Elements[0]
			if el.Lacks != tt.lacks || !el.Whole.Equal(after(tt.whole)) || !el.Newest.Equal(after(tt.end)) {
				t.Errorf("%+v", el)
			}
			if text := got.Lack(nil, after(tt.end-30)); text != tt.early {
				t.Errorf("lacking: %q", text)
			}
			if text := got.Lack(map[string]string{"pod": "b", "other": "x"}, after(tt.end-120)); text != tt.of {
				t.Errorf("lacking for two minutes: %q", text)
			}
			if text := got.Lack(map[string]string{"pod": "a"}, after(tt.end-30)); text != "" {
				t.Errorf("of another: %q", text)
			}
		})
	}
}

// A recording knows of which part of what it is made of nothing was measured.
func TestRecordingLacks(t *testing.T) {
	r, rec, e := recordingRig(t, `depth`, `depth = sum(rate(queue[1m]))`)
	for second := 0.0; second <= 120; second += 10 {
		r.now = after(second)
		r.put("queue{pod=a}", at(second, second))
		if second <= 60 {
			r.put("queue{pod=b}", at(second, second))
		}
		got := r.step(t, rec, e, second)
		if want := map[bool]string{true: "a part of it was measured last at 09:31:00"}[second > 90]; second > 40 && got.Lack(nil, after(second-40)) != want {
			t.Errorf("after %v s: %q", second, got.Lack(nil, after(second-40)))
		}
	}
}

// What is low only for want of a part is so when it is recorded before it is compared, too.
func TestRecordingWants(t *testing.T) {
	for watched, want := range map[string]bool{
		`depth < 10`: true, `depth + 0 < 10`: true, `twice < 20`: true, `20 - depth > 10`: true, `max_over_time(depth[10s]) < 10`: true,
		`depth > 1`: false, `alone < 10`: false,
	} {
		r, rec, e := recordingRig(t, watched, `depth = sum(queue)`, `alone = sum(queue{pod="a"})`, `twice = 2 * sum(depth)`)
		a, b := r.NewSet(From{Sensor: "s", History: true}, labels.FromStrings("pod", "a")), r.NewSet(From{Sensor: "s", History: true}, labels.FromStrings("pod", "b"))
		for second := 0.0; second <= 450; second += 15 {
			r.now = after(second)
			for _, s := range []*Set{a, b} {
				if s == b && second > 60 {
					s.Lose(r.now)
					continue
				}
				s.Begin(r.now)
				s.Append("queue", labels.EmptyLabels(), Meta{}, at(second, 8))
				s.End(false)
			}
			got := r.step(t, rec, e, second)
			if second <= 75 || second == 375 { // the recording is made at another second
				continue
			}
			if len(got.Elements) != 1 || got.Elements[0].Wanting != (want && second < 375) {
				t.Errorf("%s after %v s: %+v", watched, second, got.Elements)
			}
		}
	}
}

// What is counted in a range that was not seen whole is not whole when it is recorded either, but
// of a series that is new beside others.
func TestRecordingOfARange(t *testing.T) {
	r, rec, e := recordingRig(t, `rate < 10`, `rate = sum(rate(queue[5m]))`)
	for second := 0.0; second <= 450; second += 15 {
		r.now = after(second)
		r.put("queue{pod=a}", at(second, second))
		if second >= 330 {
			r.put("queue{pod=b}", at(second, second))
		}
		got := r.step(t, rec, e, second)
		if second < 45 || second > 270 && second < 300 { // the recording is made at another second
			continue
		}
		if len(got.Elements) != 1 || got.Elements[0].Wanting != (second < 285) {
			t.Errorf("after %v s: %+v", second, got.Elements)
		}
	}
}

// What a recording does not give any more because a target does not answer has not ended.
func TestRecordingIsLost(t *testing.T) {
	for _, lost := range []bool{true, false} {
		r, rec, e := recordingRig(t, `sum(depth)`, `depth = rate(queue[30s])`)
		b := r.NewSet(From{Sensor: "s", History: true}, labels.FromStrings("pod", "b"))
		for second := 0.0; second <= 180; second += 15 {
			r.now = after(second)
			r.put("queue{pod=a}", at(second, second))
			switch {
			case second <= 60:
				b.Begin(r.now)
				b.Append("queue", labels.EmptyLabels(), Meta{}, at(second, second))
				b.End(false)
			case lost:
				b.Lose(r.now)
			default:
				b.Begin(r.now)
				b.End(false)
			}
			got := r.step(t, rec, e, second)
			if why := got.Lack(nil, after(second-30)); second >= 120 && (why != "") != lost {
				t.Errorf("lost %t, after %v s: %q", lost, second, why)
			}
		}
		last := r.step(t, rec, e, 181)
		if got := last.Lost(); lost && got != `depth{pod="b"} was measured last at 09:31:14` || !lost && got != "" {
			t.Errorf("lost %t: %q", lost, got)
		}
	}
}

// What is on the right of unless rests on all that was measured there.
func TestVetoes(t *testing.T) {
	for text, want := range map[string][]bool{
		`a unless b`:                         {false, true},
		`(a or c) unless on () sum(b)`:       {false, false, true},
		`a unless (b unless c)`:              {false, true, true},
		`(a unless b) / c`:                   {false, true, false},
		`sum(a unless rate(b[5m])) or c > 1`: {false, true, false},
		`a and b`:                            {false, false},
	} {
		e := compiled(t, text)
		for i, p := range e.picks {
			if p.vetoes != want[i] {
				t.Errorf("%s: %s: %t", text, p.selector(), p.vetoes)
			}
		}
	}
	for _, text := range []string{`a unless on () sum(b) > 9`, `a unless on () sum(rate(b[1m])) > 9`} {
		r := newRig(t, nil)
		e := r.watch(text)[0]
		r.put("a", at(0, 1), at(15, 1), at(30, 1), at(45, 1))
		r.put("b{pod=x}", at(0, 1), at(15, 1))
		r.put("b{pod=y}", at(0, 1), at(15, 1), at(30, 1), at(45, 1))
		if got := evaluate(t, r.DB, e, after(45)).Elements; len(got) != 1 || !got[0].Newest.Equal(after(15)) {
			t.Errorf("%s: %+v", text, got)
		}
		for second := 60.0; second <= 330; second += 15 {
			r.put("a", at(second, 1))
			r.put("b{pod=y}", at(second, 1))
		}
		if got := evaluate(t, r.DB, e, after(330)).Elements; len(got) != 1 || !got[0].Newest.Equal(after(330)) {
			t.Errorf("%s waits for what has gone: %+v", text, got)
		}
	}
}

// A series that is lost is so once, and has ended once its set says so: in a round without it,
// or by its own end.
func TestLostOnce(t *testing.T) {
	for name, end := range map[string]func(s *Set, second float64){
		"": func(s *Set, second float64) { s.Lose(after(second)) },
		"its target begins without it": func(s *Set, second float64) {
			s.Begin(after(second))
			s.End(false)
		},
		"it is scraped no more": func(s *Set, second float64) { s.Close(after(second)) },
		"in part, then not": func(s *Set, second float64) {
			for i, end := range []func() Report{s.EndLost, func() Report { return s.End(true) }, func() Report { return s.End(false) }} {
				s.Begin(after(second + float64(i)))
				end()
			}
		},
	} {
		r := newRig(t, nil)
		e := r.watch(`queue`)[0]
		s := r.NewSet(From{Sensor: "s", History: true}, labels.EmptyLabels())
		s.Lose(after(0)) // before the first round
		for _, second := range []float64{15, 30} {
			s.Begin(after(second))
			s.Append("queue", labels.EmptyLabels(), Meta{}, at(second, 1))
			s.End(false)
			s.Lose(after(second + 5))
		}
		end(s, 36)
		want := ""
		if name == "" {
			want = "queue was measured last at 09:30:30"
		}
		got := evaluate(t, r.DB, e, after(40))
		if len(got.Elements) != 0 || !got.Newest(nil).IsZero() || got.Lack(nil, after(35)) != want || got.Lost() != want {
			t.Errorf("%s: %+v, %q", name, got.Elements, got.Lack(nil, after(35)))
		}
	}
}

// For how long a target did not answer is not how rarely its series come: that lets nothing
// stand for now that has been silent for long.
func TestOutageIsNoRhythm(t *testing.T) {
	r := newRig(t, nil)
	e := r.watch(`queue`)[0]
	s := r.NewSet(From{Sensor: "s", History: true}, labels.FromStrings("pod", "b"))
	page := func(second float64) {
		s.Begin(after(second))
		s.Append("queue", labels.EmptyLabels(), Meta{}, at(second, 1))
		s.End(false)
	}
	r.put("queue{pod=a}", at(0, 1))
	for second := 0.0; second <= 600; second += 15 {
		switch {
		case second < 60 || second > 480:
			page(second)
		case second == 60:
			s.Lose(after(second))
		}
		got := evaluate(t, r.DB, e, after(second))
		if n := len(got.Elements); second > 300 && n != map[bool]int{true: 1}[second > 480] || got.Every() > 15*time.Second {
			t.Errorf("after %v s: %d elements, every %s", second, n, got.Every())
		}
	}
	s.Close(after(600.005))
	r.now = after(700)
	page(700)
	r.put("queue{pod=a}", at(700.01, 1))
	if got := evaluate(t, r.DB, e, after(701)); got.Lack(nil, after(650)) != "" {
		t.Errorf("begun anew: %s", got.Lack(nil, after(650)))
	}
}

// What is lost is so also when the clock was set back since it was measured.
func TestLostOfAClockSetBack(t *testing.T) {
	r := newRig(t, nil)
	e := r.watch(`queue`)[0]
	s := r.NewSet(From{Sensor: "s", History: true}, labels.EmptyLabels())
	for _, second := range []float64{15, 30, 45} {
		s.Begin(after(second))
		s.Append("queue", labels.EmptyLabels(), Meta{}, at(second, 1))
		s.End(false)
	}
	r.ClockSetBack(after(20))
	s.Lose(after(25))
	if got := evaluate(t, r.DB, e, after(30)); got.Lost() == "" {
		t.Error("it has ended")
	}
}

// For how long what is lost is waited for is a matter of its own interval.
func TestLostBesideRare(t *testing.T) {
	r := newRig(t, nil)
	e := r.watch(`sum(queue)`)[0]
	r.now = after(2400)
	r.put("queue{pod=rare}", at(0, 1), at(1000, 1), at(2000, 1))
	s := r.NewSet(From{Sensor: "s", History: true}, labels.FromStrings("pod", "b"))
	for _, second := range []float64{1985, 2000} {
		s.Begin(after(second))
		s.Append("queue", labels.EmptyLabels(), Meta{}, at(second, 1))
		s.End(false)
	}
	s.Lose(after(2015))
	for second, lost := range map[float64]bool{2314: true, 2316: false} {
		if got := evaluate(t, r.DB, e, after(second)); got.Elements[0].Lacks != lost || (got.Lost() != "") != lost {
			t.Errorf("after %v s: %+v, %s", second, got.Elements, got.Lost())
		}
	}
}
