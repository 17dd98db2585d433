package sense

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"grace"
)

const listedKey = "cart/alertmanager/HighLatency/f1"

// listAt is that the list of alerts was read, and shows something for 100 s; or, with
// a fault, that it could not be.
func listAt(sec int, fault string) grace.Sample {
	s := grace.Sample{Service: grace.CoreService, Sensor: "alertmanager", Metric: "alertmanager_alerts", Kind: grace.SampleMetric, At: at(sec), Listed: true, Expires: at(sec + 100)}
	if fault != "" {
		s.Kind, s.Message, s.Expires = grace.SampleSensorError, fault, time.Time{}
	}
	return s
}

func listedAt(sec int, over bool) grace.Sample {
	s := alertAt(sec, "f1", over)
	if s.Listed = !over; s.Listed {
		s.Expires = at(sec + 100)
	}
	return s
}

// wasListed gives an agent with an alert that the list held, and is over at 30.
func wasListed(cfg Config) *house {
	a := newHouse(cfg, nil)
	for _, s := range []grace.Sample{listedAt(0, false), listAt(0, ""), listedAt(30, true), listAt(30, "")} {
		a.Observe(s)
	}
	return a
}

// through lets seconds pass, with a reading every 30, which fails with a fault.
func through(a *house, from, to int, fault string) (changed []grace.Signal) {
	for sec := from; sec < to; sec++ {
		if sec%30 == 0 {
			changed = append(changed, a.Observe(listAt(sec, fault))...)
		}
		changed = append(changed, a.Tick(at(sec))...)
	}
	return changed
}

// TestListedIsNotRepeated: that a list holds an alert confirms nothing of which its sender
// has said nothing since the start, or since it was silent; the sender's next word does.
func TestListedIsNotRepeated(t *testing.T) {
	held := func(sec, repeated int, silenced string) grace.Sample {
		s := listedAt(sec, false)
		s.Repeated, s.Silenced = at(repeated), silenced
		return s
	}
	a := newHouse(DefaultConfig(), nil)
	a.Restore([]grace.Signal{{Key: listedKey, Service: "cart", Sensor: "alertmanager", Metric: "HighLatency", Kind: grace.SignalAlert, State: grace.SignalFiring, At: at(-20)}}, at(0))
	for _, step := range []struct {
		sample      grace.Sample
		unconfirmed bool
	}{
		{held(10, -10, ""), true},
		{held(40, -10, ""), true},
		{held(70, 50, ""), false},
		{held(100, 50, ""), false},
		{held(130, 110, "silence 1"), false},
		{held(160, 140, ""), true},
		{held(190, 140, ""), true},
		{held(220, 200, ""), false},
	} {
		a.Observe(step.sample)
		if s, _ := a.Signal(listedKey); s.Unconfirmed != step.unconfirmed || s.State != grace.SignalFiring {
			t.Errorf("read at %s, sent at %s: %s, unconfirmed %v", step.sample.At, step.sample.Repeated, s.State, s.Unconfirmed)
		}
	}
}

// TestNotifiedIsNotRepeated: that Alertmanager notifies of an alert that began before this
// process did confirms it only where the list that is read next does not hold it, for it
// came from elsewhere then, or cannot be read.
func TestNotifiedIsNotRepeated(t *testing.T) {
	for name, tc := range map[string]struct {
		began       int
		next        []grace.Sample
		unconfirmed bool
	}{
		"and began since":                  {5, nil, false},
		"and nothing is read yet":          {-20, nil, true},
		"and the list holds it, unsent":    {-20, []grace.Sample{func() grace.Sample { s := listedAt(11, false); s.Repeated = at(-10); return s }(), listAt(11, "")}, true},
		"and the list holds it, sent anew": {-20, []grace.Sample{func() grace.Sample { s := listedAt(11, false); s.Repeated = at(8); return s }(), listAt(11, "")}, false},
		"and the list does not hold it":    {-20, []grace.Sample{listAt(11, "")}, false},
		"and was read before":              {-20, []grace.Sample{listAt(9, "")}, true},
		"and the list cannot be read":      {-20, []grace.Sample{listAt(11, "refused")}, false},
	} {
		t.Run(name, func(t *testing.T) {
			a := newHouse(DefaultConfig(), nil)
			a.Restore(nil, at(0))
			a.Unconfirm(func(grace.Signal, []string) bool { return true }, at(0))
			word := alertAt(10, "f1", false)
			word.StartsAt, word.Repeated = at(tc.began), at(tc.began)
			for _, s := range append([]grace.Sample{word}, tc.next...) {
				a.Observe(s)
			}
			if s, _ := a.Signal(listedKey); s.Unconfirmed != tc.unconfirmed || s.State != grace.SignalFiring {
				t.Errorf("%s, unconfirmed %v", s.State, s.Unconfirmed)
			}
		})
	}
}

// TestOverByTheList: that an alert is over is shown by every reading of the list that
// held it, and by nothing while that cannot be read.
func TestOverByTheList(t *testing.T) {
	a := wasListed(DefaultConfig())
	if got := through(a, 31, 600, ""); len(got) != 0 {
		t.Errorf("while it is read: %+v", got)
	}
	if s, _ := a.Signal(listedKey); s.State != grace.SignalOK || !s.At.Equal(at(570)) || !s.Listed {
		t.Errorf("after a reading: %+v", s)
	}
	if got := through(a, 600, 671, "connection refused"); len(got) != 0 {
		t.Errorf("two readings failed: %+v", got)
	}
	got := through(a, 671, 1800, "connection refused")
	if len(got) != 1 || got[0].State != grace.SignalStale || !got[0].Since.Equal(at(671)) || !strings.Contains(got[0].Message, "connection refused") || wasFiring(got[0]) {
		t.Errorf("all failed: %+v", got)
	}
	if got := a.Observe(listAt(1800, "")); len(got) != 1 || got[0].State != grace.SignalOK || got[0].Flapping {
		t.Errorf("it is read again: %+v", got)
	}
	if got := through(a, 1801, 2699, ""); len(got) != 0 {
		t.Errorf("later: %+v", got)
	}
	if got := through(a, 2699, 2790, ""); len(got) != 1 || !got[0].Gone || got[0].Lost {
		t.Errorf("over for 15 min: %+v", got)
	}
}

// TestUnreadForLong: what its list does not show for many hours is not forgotten: it
// may have come back. It is when nobody asks for the list any more.
func TestUnreadForLong(t *testing.T) {
	cfg := DefaultConfig()
	cfg.AlertStaleAfter = seconds(3600)
	a := wasListed(cfg)
	if got := through(a, 31, 6*3600, "connection refused"); len(got) != 1 || got[0].State != grace.SignalStale {
		t.Errorf("six hours: %+v", got)
	}
	var got []grace.Signal
	for sec := 6 * 3600; sec < 6*3600+300; sec++ {
		got = append(got, a.Tick(at(sec))...)
	}
	if len(got) != 1 || !got[0].Gone {
		t.Errorf("nobody asks any more: %+v", got)
	}
}

func wasFiring(s grace.Signal) bool { return s.Fired.Equal(s.At) }

// TestOverWithoutAList: who sends alerts does not repeat that one is over. It does not
// go stale, and is forgotten in time.
func TestOverWithoutAList(t *testing.T) {
	cfg := DefaultConfig()
	cfg.AlertStaleAfter = seconds(180)
	a := newHouse(cfg, nil)
	a.Observe(alertAt(0, "f1", false))
	a.Observe(alertAt(30, "f1", true))
	var got []grace.Signal
	for sec := 31; sec < 1000; sec++ {
		got = append(got, a.Tick(at(sec))...)
	}
	if len(got) != 1 || !got[0].Gone || !strings.HasSuffix(got[0].Message, ": resolved") {
		t.Errorf("%+v", got)
	}
}

// TestFiresWithoutItsList: an alert that a webhook brought fires on, though the list
// cannot be read; one that the list held is stale as soon as it always was.
func TestFiresWithoutItsList(t *testing.T) {
	a := newHouse(DefaultConfig(), nil)
	a.Observe(listedAt(0, false))
	a.Observe(alertAt(0, "f2", false))
	a.Observe(listAt(0, ""))
	if got := through(a, 1, 3600, "timeout"); len(got) != 1 || got[0].Key != listedKey || got[0].State != grace.SignalStale || !got[0].Since.Equal(at(101)) {
		t.Errorf("%+v", got)
	}
	if got := through(a, 3600, 3700, ""); len(got) != 0 { // its reader says when one is over
		t.Errorf("a list without them: %+v", got)
	}
}

// TestOverAndFiresAnew: the list that held an alert before it was over need not hold
// the next one of the name.
func TestOverAndFiresAnew(t *testing.T) {
	a := wasListed(DefaultConfig())
	if got := a.Observe(alertAt(40, "f1", false)); len(got) != 1 || got[0].State != grace.SignalFiring || got[0].Listed {
		t.Errorf("%+v", got)
	}
	if got := through(a, 41, 600, ""); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

// TestOverAfterARestart: what was over before a start is confirmed by the first
// reading, and what was stale stays so until then.
func TestOverAfterARestart(t *testing.T) {
	for name, tt := range map[string]struct {
		away int // before the start
		want grace.SignalState
	}{"read until the start": {0, grace.SignalOK}, "away at the start": {200, grace.SignalStale}} {
		t.Run(name, func(t *testing.T) {
			before := wasListed(DefaultConfig())
			through(before, 31, 31+tt.away, "refused")
			a, start := newHouse(DefaultConfig(), nil), 40+tt.away
			a.Restore(before.Signals(), at(start))
			for range 2 { // a change of the configuration shows nothing
				through(a, start, start+50, "refused")
				if s, _ := a.Signal(listedKey); s.State != tt.want || !s.Unconfirmed {
					t.Errorf("before a reading: %+v", s)
				}
				a.Reconfigure(DefaultConfig(), nil)
				a.ForgetLists()
				start += 50
			}
			got := a.Observe(listAt(start, ""))
			if len(got) != 1 || got[0].State != grace.SignalOK || got[0].Unconfirmed {
				t.Errorf("the first reading: %+v", got)
			}
			through(a, start+1, start+300, "refused")
			if s, _ := a.Signal(listedKey); s.State != grace.SignalStale {
				t.Errorf("away again: %+v", s)
			}
		})
	}
}

// TestOverAndTheClock: that the clock was set, or the process stood still, is no time in
// which the list could not be read, and keeps no later reading out.
func TestOverAndTheClock(t *testing.T) {
	for name, step := range map[string]func(a *house) (now int){
		"ahead": func(a *house) int { a.ClockStepped(at(3700), time.Hour); return 3700 },
		"back":  func(a *house) int { a.ClockStepped(at(-3500), -time.Hour); return -3500 },
		"stood": func(a *house) int { a.Woke(at(3700), time.Hour); return 3700 },
		"stood, and read since": func(a *house) int {
			a.Observe(listAt(3700, ""))
			a.Woke(at(3700), time.Hour)
			return 3700
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := wasListed(DefaultConfig())
			through(a, 31, 100, "")
			now := step(a)
			if got := through(a, now, now+60, "refused"); len(got) != 0 {
				t.Errorf("a minute later: %+v", got)
			}
			through(a, now+60, now+600, "refused")
			if s, _ := a.Signal(listedKey); s.State != grace.SignalStale {
				t.Errorf("all readings failed: %+v", s)
			}
			a.Observe(listAt(now+600, ""))
			if s, _ := a.Signal(listedKey); s.State != grace.SignalOK || s.Unconfirmed {
				t.Errorf("read again: %+v", s)
			}
		})
	}
}

// TestOneReplicaReadsTheList: what one replica reads is known to both; it is stale when
// none does.
func TestOneReplicaReadsTheList(t *testing.T) {
	a, b := wasListed(DefaultConfig()), wasListed(DefaultConfig())
	agents := []*house{a, b}
	mirror := map[grace.SignalKey]grace.Signal{}
	pass := func(from, to int, faults ...string) {
		for sec := from; sec < to; sec++ {
			var words []word
			for i, agent := range agents {
				if sec%30 == 10*i {
					words = append(words, by(agent, agent.Observe(listAt(sec, faults[i])))...)
				}
			}
			for _, s := range round(agents, words, at(sec)) {
				mirror[s.Key] = s
			}
		}
	}
	pass(31, 600, "refused", "")
	if s := mirror[listedKey]; s.State != grace.SignalOK && s.State != "" {
		t.Errorf("one reads it: %+v", s)
	}
	pass(600, 800, "refused", "refused")
	if s := mirror[listedKey]; s.State != grace.SignalStale {
		t.Errorf("none reads it: %+v", s)
	}
	pass(800, 860, "", "refused")
	if s := mirror[listedKey]; s.State != grace.SignalOK {
		t.Errorf("one reads it again: %+v", s)
	}
}

// TestOKNeedsAReading: whatever happens, an alert of a list is not ok for longer than
// a reading lasts that a reading, or its sender, has not shown it.
func TestOKNeedsAReading(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := DefaultConfig()
		a := newHouse(cfg, nil)
		var shown time.Time // by a reading, the alert itself, or not denied for long since a start
		now := 0
		observe := func(s grace.Sample) {
			a.Observe(s)
			if s.Kind != grace.SampleSensorError {
				shown = at(now)
			}
		}
		observe(listedAt(0, false))
		observe(listAt(0, ""))
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			switch rapid.IntRange(0, 6).Draw(t, "what") {
			case 0:
				observe(listedAt(now, rapid.Bool().Draw(t, "over")))
			case 1:
				observe(listAt(now, ""))
			case 2:
				observe(alertAt(now, "f1", rapid.Bool().Draw(t, "over")))
			case 3, 4:
				if rapid.Bool().Draw(t, "start") {
					known := a.Signals()
					a = newHouse(cfg, nil)
					a.Restore(known, at(now))
				} else {
					a.Reconfigure(cfg, nil)
					a.ForgetLists()
				}
				well := []grace.SignalState{grace.SignalOK, grace.SignalUnstable}
				if slices.ContainsFunc(a.Signals(), func(s grace.Signal) bool { return slices.Contains(well, s.State) }) {
					shown = at(now)
				}
				observe(listAt(now, "refused"))
			default:
				observe(listAt(now, "refused"))
			}
			for range rapid.IntRange(1, 150).Draw(t, "pause") {
				now++
				a.Tick(at(now))
				s, _ := a.Signal(listedKey)
				if s.State == grace.SignalOK && at(now).Sub(shown) > 100*time.Second {
					t.Fatalf("ok at %d, shown at %s: %+v", now, shown, s)
				}
			}
		}
	})
}
