package sense

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"grace"
)

// What waits for a newer sample already waits for one that is newer still, and that
// is said: whoever mirrors it must not take one from between for evidence.
func TestUnconfirmAgain(t *testing.T) {
	a := newHouse(DefaultConfig(), []Objective{slow()})
	a.Observe(probeAt(0, 0))
	a.Observe(probeAt(1, 0))
	all := func(grace.Signal, []string) bool { return true }
	for _, sec := range []int{10, 20} {
		if got := a.Unconfirm(all, at(sec)); len(got) != 2 || !got[0].Unconfirmed || !got[1].Unconfirmed {
			t.Errorf("at %d: %+v", sec, got)
		}
	}
	if got := a.Unconfirm(all, at(20)); len(got) != 0 {
		t.Errorf("nothing has changed: %+v", got)
	}
	if got := a.Observe(probeAt(15, 0)); len(got) != 0 {
		t.Errorf("from between: %+v", got)
	}
	if got := a.Observe(probeAt(21, 0)); len(got) != 1 || got[0].Unconfirmed {
		t.Errorf("newer: %+v", got)
	}
}

// What was seen before the start, or the newest change of the configuration, is no
// evidence, also of a signal that had no data; the first sample that was judged and
// is newer is, at once. What is told is what is known.
func TestLateIsNoEvidence(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lasting := slow()
		lasting.Name, lasting.For = "lasting", seconds(20)
		objectives := []Objective{slow(), lasting}
		configured := rapid.Bool().Draw(t, "configured")
		a := newHouse(DefaultConfig(), objectives)
		if configured {
			a.Expect([]Probe{{Service: "cart", Sensor: "http", Metric: "http_health"}})
		}
		began, now := 100, 100
		a.Restore(nil, at(began))
		told := map[grace.SignalKey]bool{}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			now += rapid.IntRange(1, 20).Draw(t, "pause")
			seen := now - rapid.SampledFrom([]int{0, 0, 5, 30, 90}).Draw(t, "late")
			var changed []grace.Signal
			switch rapid.IntRange(0, 5).Draw(t, "kind") {
			case 0:
				changed, began = a.Unconfirm(func(grace.Signal, []string) bool { return true }, at(now)), now
			case 1:
				changed = a.Observe(probeAt(seen, float64(rapid.IntRange(0, 1).Draw(t, "pass"))))
			case 2:
				changed = a.Observe(metricAt(seen, rapid.SampledFrom([]float64{100, 900}).Draw(t, "v")))
			case 3:
				changed = a.Observe(alertAt(seen, rapid.SampledFrom([]string{"f1", "f2"}).Draw(t, "alert"), rapid.Bool().Draw(t, "resolved")))
			case 4:
				if other := newHouse(DefaultConfig(), objectives); len(other.Observe(alertAt(seen, "f3", false))) == 1 {
					changed = a.Heard(other.Signals()[0])
				}
			default:
				changed = a.Tick(at(now))
			}
			for _, s := range changed {
				told[s.Key] = s.Unconfirmed
			}
			for _, s := range a.Signals() {
				seen := s.At.After(at(began))
				switch shown := s.State == grace.SignalOK || s.State == grace.SignalFiring; {
				case shown && !s.Unconfirmed && !seen:
					t.Fatalf("confirmed by what was seen before %s: %+v", at(began), s)
				case s.Kind == grace.SignalAlert && s.Unconfirmed && seen:
					t.Fatalf("seen since %s, and unconfirmed: %+v", at(began), s)
				case shown && !strings.HasSuffix(string(s.Key), "/f3") && told[s.Key] != s.Unconfirmed:
					t.Fatalf("told was unconfirmed: %t, of %+v", told[s.Key], s)
				}
			}
		}
	})
}

// What was judged before the start fires when its time is over without a newer
// sample: that is no evidence. What was judged since is.
func TestFiresByTimeUnconfirmed(t *testing.T) {
	for first, unconfirmed := range map[int]bool{-15: true, 1: false} {
		o := slow()
		o.For = seconds(15)
		a := newHouse(DefaultConfig(), []Objective{o})
		a.Restore(nil, at(0))
		a.Observe(metricAt(first, 900))
		a.Observe(metricAt(first+10, 900))
		got := a.Tick(at(first + 16))
		if len(got) != 1 || got[0].State != grace.SignalFiring || got[0].Unconfirmed != unconfirmed {
			t.Errorf("seen from %d s on, want it to fire, unconfirmed: %t; got %+v", first, unconfirmed, got)
		}
	}
}

// Another replica's word of after the start confirms what is known; what was seen
// here before the start, and comes after that word, does not.
func TestLateAfterAnothersWord(t *testing.T) {
	a, other := newHouse(DefaultConfig(), nil), newHouse(DefaultConfig(), nil)
	for _, agent := range []*house{a, other} {
		agent.Expect([]Probe{{Service: "cart", Sensor: "http", Metric: "http_health"}})
	}
	a.Restore(nil, at(100))
	a.Heard(other.Observe(probeAt(105, 1))[0])
	a.Observe(probeAt(90, 0))
	a.Observe(probeAt(95, 0))
	if s, _ := a.Signal("cart/http/http_health"); s.State == grace.SignalFiring && !s.Passing && !s.Unconfirmed {
		t.Errorf("seen to fail before the start, and to pass since: %+v", s)
	}
	a.Observe(probeAt(110, 0))
	if s, _ := a.Signal("cart/http/http_health"); s.State != grace.SignalFiring || s.Unconfirmed {
		t.Errorf("seen to fail since: %+v", s)
	}
}

// Where several sensors measure the same, what one of them saw fail before a change
// of the configuration is not confirmed by what another sees, unless that fails too;
// nor is it over before it has looked again, or is taken for gone.
func TestConfirmedBySeveralSensors(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := slow()
		upward := rapid.Bool().Draw(t, "upward")
		if !upward {
			o.Expr = `latency_p99_ms < 500`
		}
		a := newHouse(DefaultConfig(), []Objective{o})
		type look struct {
			at  int
			bad bool
		}
		newest := map[string]look{}
		now, began := 0, -1
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now += rapid.IntRange(1, 10).Draw(t, "pause")
			if rapid.IntRange(0, 9).Draw(t, "what") == 0 {
				a.Unconfirm(func(grace.Signal, []string) bool { return true }, at(now))
				began = now
				continue
			}
			s := metricAt(now, rapid.SampledFrom([]float64{100, 200, 800, 900}).Draw(t, "v"))
			s.Sensor = rapid.SampledFrom([]string{"one", "two", "three"}).Draw(t, "sensor")
			newest[s.Sensor] = look{now, (s.Value > 500) == upward}
			was := a.Signals()[0].State
			a.Observe(s)
			a.Tick(at(now))
			fails, failed := false, false
			for _, l := range newest {
				fails = fails || l.bad && l.at > began
				failed = failed || l.bad && now-l.at <= 60
			}
			got := a.Signals()[0]
			if got.State == grace.SignalFiring && !got.Passing && !got.Unconfirmed && !fails {
				t.Fatalf("none has seen it fail since %d: %v, %+v", began, newest, got)
			}
			if failed && was == grace.SignalFiring && got.State == grace.SignalOK {
				t.Fatalf("one has seen it fail, and no better since: %v, %+v", newest, got)
			}
			if !failed && got.Unconfirmed && got.State == grace.SignalOK {
				t.Fatalf("nothing says otherwise: %v, %+v", newest, got)
			}
		}
	})
}
