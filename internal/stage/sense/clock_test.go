package sense

import (
	"testing"
	"time"

	"grace"
)

// What comes late, and would be stale by now, does not end that nothing is known.
func TestLateDataEndsNoSilence(t *testing.T) {
	for name, sample := range map[string]func(int, float64) grace.Sample{"probe": probeAt, "objective": metricAt} {
		t.Run(name, func(t *testing.T) {
			a := newHouse(DefaultConfig(), []Objective{slow()})
			observe := func(sec int, v float64) {
				a.Observe(sample(sec, v))
			}
			state := func() grace.SignalState {
				for _, s := range a.Signals() {
					if (s.Kind == grace.SignalProbe) == (name == "probe") {
						return s.State
					}
				}
				return ""
			}
			for sec := 0; sec <= 20; sec += 10 {
				observe(sec, 1)
				a.Tick(at(sec))
			}
			a.Tick(at(300))
			if got := state(); got != grace.SignalStale {
				t.Fatalf("without data: %s", got)
			}
			observe(60, 1)
			observe(100, 1)
			if got := state(); got != grace.SignalStale {
				t.Errorf("by what was measured 200 s ago: %s", got)
			}
			observe(290, 1)
			if got := state(); got != grace.SignalOK {
				t.Errorf("by what was measured 10 s ago: %s", got)
			}
		})
	}
}

// An alert expires also where the clock is set back by more than it lasts: no later than
// its source would have said it again by the new time.
func TestAlertExpiresOverASetBack(t *testing.T) {
	for _, c := range []struct{ until, back, left int }{
		{until: 240, back: 30, left: 140},
		{until: 240, back: 3600, left: 140},
		{until: 120, back: 30, left: 50},
		{until: 120, back: 3600, left: 60}, // one repeat
	} {
		a := newHouse(DefaultConfig(), nil)
		s := alertAt(0, "a", false)
		s.Expires = at(c.until)
		a.Observe(s)
		a.Tick(at(100))
		now := 100 - c.back
		a.ClockStepped(at(now), -time.Duration(c.back)*time.Second)
		for sec := now; sec <= now+c.left; sec += 10 {
			if got := a.Tick(at(sec)); len(got) != 0 {
				t.Errorf("%+v: %d s later: %+v", c, sec-now, got)
			}
		}
		if got := a.Tick(at(now + c.left + 1)); len(got) != 1 || got[0].State != grace.SignalStale {
			t.Errorf("%+v: once it has expired: %+v", c, got)
		}
	}
}

// What fires here later than another replica saw it fires since then, unless it passed here
// meanwhile.
func TestFiresSinceItWasSeenElsewhere(t *testing.T) {
	for name, c := range map[string]struct{ passed, since int }{
		"nothing was seen here": {passed: 10, since: 15},
		"it passed here":        {passed: 30, since: 60},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := DefaultConfig()
			cfg.FailAfter = 1
			a, other := newHouse(cfg, nil), newHouse(cfg, nil)
			var theirs []grace.Signal
			for _, h := range []*house{a, other} {
				h.Observe(probeAt(10, 1))
			}
			for sec := 15; sec <= 50; sec += 5 {
				theirs = append(theirs, other.Observe(probeAt(sec, 0))...)
			}
			if c.passed > 10 {
				a.Observe(probeAt(c.passed, 1))
			}
			for _, s := range theirs {
				a.Heard(s)
			}
			var fired []grace.Signal
			for _, s := range a.Observe(probeAt(60, 0)) {
				if s.State == grace.SignalFiring {
					fired = append(fired, s)
				}
			}
			if len(fired) != 1 || !fired[0].Since.Equal(at(c.since)) {
				t.Errorf("fires since second %d, wanted %d", int(fired[0].Since.Sub(at(0)).Seconds()), c.since)
			}
		})
	}
}
