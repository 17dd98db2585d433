package sense

import (
	"testing"
	"time"

	"grace"
)

// A source that is looked at rarely, and whose data is old when it comes, is known for that
// after a while: it is not silent.
func TestRareAndLateIsNotSilent(t *testing.T) {
	a := newHouse(DefaultConfig(), nil)
	var state grace.SignalState
	for sec := 0; sec <= 6000; sec += 10 {
		if sec%600 == 0 {
			a.Observe(probeAt(sec, 1)) // pushed five minutes later
		}
		a.Tick(at(sec + 300))
		state = a.Signals()[0].State
		if sec >= 1800 && state != grace.SignalOK {
			t.Fatalf("%d s: %s", sec, state)
		}
	}
}

// An alert is repeated in a minute by the new time when the clock is set ahead.
func TestAlertExpiresOverALeap(t *testing.T) {
	for _, c := range []struct{ until, tick, left int }{
		{until: 240, tick: 100, left: 60},
		{until: 9000, tick: 100, left: 9000 - 3700},
		{until: 60, tick: 50, left: 60},
		{until: 60, tick: 70, left: -1}, // it had expired
	} {
		a := newHouse(DefaultConfig(), nil)
		s := alertAt(0, "a", false)
		s.Expires = at(c.until)
		a.Observe(s)
		a.Tick(at(c.tick))
		now := c.tick + 3600
		a.ClockStepped(at(now), time.Hour)
		for sec := now; sec <= now+c.left; sec += 10 {
			if got := a.Tick(at(sec)); len(got) != 0 {
				t.Errorf("%+v: %d s later: %+v", c, sec-now, got)
			}
		}
		a.Tick(at(now + c.left + 1))
		if got := a.Signals()[0].State; got != grace.SignalStale {
			t.Errorf("%+v: once it has expired: %s", c, got)
		}
	}
}

// What passed here after another replica saw it fire did so too where the clock was set back
// since: it fires anew.
func TestFiresAnewOverASetBack(t *testing.T) {
	cfg := DefaultConfig()
	cfg.FailAfter = 1
	a, other := newHouse(cfg, nil), newHouse(cfg, nil)
	a.Observe(probeAt(1000, 1))
	other.Observe(probeAt(1000, 1))
	theirs := other.Observe(probeAt(1005, 0))
	for sec := 1010; sec <= 1050; sec += 5 {
		theirs = append(theirs, other.Observe(probeAt(sec, 0))...)
	}
	a.Observe(probeAt(1030, 1))
	for _, s := range theirs {
		a.Heard(s)
	}
	a.Tick(at(1050))
	a.ClockStepped(at(1020), -30*time.Second)
	for _, s := range a.Observe(probeAt(1025, 0)) {
		if s.State == grace.SignalFiring && !s.Since.Equal(at(1025)) {
			t.Errorf("it passed at second 1000, and fires since second %d", int(s.Since.Sub(at(0)).Seconds()))
		}
	}
}
