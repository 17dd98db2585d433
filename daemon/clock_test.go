package daemon

import (
	"strings"
	"testing"
	"time"
)

// TestClockStep: a clock that is set keeps records from being pruned, forwards
// because they look old, backwards because it may be set forwards again.
func TestClockStep(t *testing.T) {
	wall := time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC)
	for name, step := range map[string]time.Duration{"forward": 100 * 24 * time.Hour, "back": -5 * time.Minute} {
		var c clock
		mono := time.Duration(0)
		pass := func(d, set time.Duration) time.Duration {
			wall, mono = wall.Add(d+set), mono+d
			return c.look(wall, mono)
		}
		pass(0, 0)
		for range 100 {
			if got := pass(clockInterval, 50*time.Millisecond); got != 0 { // adjusted slowly
				t.Fatalf("%s: %s", name, got)
			}
		}
		if ok, _ := c.mayPrune(mono); !ok {
			t.Errorf("%s: held without a step", name)
		}
		if got := pass(clockInterval, step); got != step {
			t.Errorf("%s: found %s", name, got)
		}
		if ok, why := c.mayPrune(mono); ok || !strings.Contains(why, "the clock was set") {
			t.Errorf("%s: pruned after the clock was set (%s)", name, why)
		}
		if got := pass(clockHold, 0); got != 0 {
			t.Errorf("%s: found again: %s", name, got)
		}
		if ok, _ := c.mayPrune(mono); !ok {
			t.Errorf("%s: held for ever", name)
		}
		if n, last := c.stepped(); n != 1 || last != step {
			t.Errorf("%s: %d steps, the last of %s", name, n, last)
		}
	}
}

// TestClockOverARestart: nobody can say whether GRACE was off or the clock was
// set, so nothing is removed at once.
func TestClockOverARestart(t *testing.T) {
	wall := time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		newest time.Time
		ok     bool
	}{
		"a first start":          {time.Time{}, true},
		"a restart":              {wall.Add(-time.Minute), true},
		"after a weekend":        {wall.Add(-70 * time.Hour), true},
		"a hundred days forward": {wall.Add(-100 * 24 * time.Hour), false},
		"an hour back":           {wall.Add(time.Hour), false},
	} {
		var c clock
		c.begin(wall, 0, tt.newest)
		if ok, why := c.mayPrune(0); ok != tt.ok {
			t.Errorf("%s: pruned %v (%s)", name, ok, why)
		}
		if ok, _ := c.mayPrune(clockHold); !ok {
			t.Errorf("%s: held for ever", name)
		}
	}
}
