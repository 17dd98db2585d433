package sense

import (
	"testing"
	"time"

	"grace"
)

// round delivers words to all agents, and what they say to them, until all is
// said; then time passes for each.
func round(agents []*Agent, words []grace.Signal, now time.Time) (all []grace.Signal) {
	say := func(words []grace.Signal) {
		for len(words) > 0 && len(all) < 10000 {
			all = append(all, words[0])
			var more []grace.Signal
			for _, a := range agents {
				more = append(more, a.Heard(words[0])...)
			}
			words = append(words[1:], more...)
		}
	}
	say(words)
	for _, a := range agents {
		say(a.Tick(now))
		keys := a.Ask(now)
		for _, other := range agents {
			if other != a {
				other.Asked(keys)
			}
		}
	}
	return all
}

// TestSenderMoves: what was sent to one replica and is sent to another now is not
// forgotten while that one is sent it, nor taken for stale; whatever it was when
// it moved.
func TestSenderMoves(t *testing.T) {
	for _, resolved := range []bool{false, true} {
		agents := []*Agent{New(DefaultConfig(), nil), New(DefaultConfig(), nil), New(DefaultConfig(), nil)}
		words := round(agents, agents[0].Observe(alertAt(0, "f1", false)), at(0))
		key := words[0].Key
		if resolved {
			round(agents, agents[0].Observe(alertAt(10, "f1", true)), at(10))
		}
		for s := 60; s < 12*3600; s += 30 {
			for _, word := range round(agents, agents[1].Observe(alertAt(s, "f1", false)), at(s)) {
				if word.Gone || word.State != grace.SignalFiring {
					t.Fatalf("resolved: %t, at %d: %+v", resolved, s, word)
				}
			}
		}
		if got, known := agents[0].Signal(key); !known || got.State != grace.SignalFiring {
			t.Errorf("resolved: %t: the one that was sent it first knows %+v, %t", resolved, got, known)
		}
		agents = []*Agent{agents[0]} // the others end
		for s := 12 * 3600; s < 20*3600; s += 30 {
			if words := round(agents, nil, at(s)); len(words) > 0 {
				if words[0].State != grace.SignalStale {
					t.Errorf("nobody is sent it any more: %+v", words[0])
				}
				agents = nil
				break
			}
		}
		if agents != nil {
			t.Error("nobody is sent it any more, and nobody says so")
		}
	}
}

// TestSentRarely: what only another replica is sent, more rarely than would be
// patience enough here, is taken for stale until that is known, and then no more.
func TestSentRarely(t *testing.T) {
	agents := []*Agent{New(DefaultConfig(), nil), New(DefaultConfig(), nil)}
	stale := 0
	for s := range 7200 {
		var words []grace.Signal
		if s%130 == 0 {
			words = agents[0].Observe(probeAt(s, 0))
		}
		for _, word := range round(agents, words, at(s)) {
			if word.State == grace.SignalStale {
				stale++
			}
		}
	}
	if stale > 2 {
		t.Errorf("taken for stale %d times", stale)
	}
}

// TestAskedRarely: an alert that is repeated all the time costs the replicas that
// are not sent it few questions.
func TestAskedRarely(t *testing.T) {
	agents := []*Agent{New(DefaultConfig(), nil), New(DefaultConfig(), nil), New(DefaultConfig(), nil)}
	words := 0
	for s := 0; s < 3600; s += 10 {
		sample := alertAt(s, "f1", false)
		sample.Expires = at(s + 240) // as Prometheus has it
		words += len(round(agents, agents[0].Observe(sample), at(s)))
	}
	if words > 40 {
		t.Errorf("%d words in an hour", words)
	}
}

// TestFailsAfterSilence: a first sample that fails after a time without data is
// nowhere taken for a pass.
func TestFailsAfterSilence(t *testing.T) {
	agents := []*Agent{New(DefaultConfig(), nil), New(DefaultConfig(), nil)}
	for s := range 400 {
		var words []grace.Signal
		switch s {
		case 0, 10:
			words = agents[0].Observe(probeAt(s, 1))
		case 200:
			words = agents[0].Observe(probeAt(s, 0))
		}
		for _, word := range round(agents, words, at(s)) {
			if s >= 200 && word.State == grace.SignalOK {
				t.Fatalf("at %d: %+v", s, word)
			}
		}
	}
}

// TestForgottenSick: an alert that was firing when last seen is forgotten as lost.
func TestForgottenSick(t *testing.T) {
	a := New(DefaultConfig(), nil)
	a.Observe(alertAt(0, "f1", false))
	for s := 0; s < 24*3600; s += 60 {
		for _, word := range a.Tick(at(s)) {
			if word.Gone {
				if !word.Lost {
					t.Errorf("%+v", word)
				}
				return
			}
		}
	}
	t.Error("never forgotten")
}

// TestCutOff: what one replica alone sees fail is never said to fail without a
// pass; it is said that it keeps changing when that lasts. Once nobody sees it pass
// any more it fails; once nobody sees it fail any more it is well.
func TestCutOff(t *testing.T) {
	probe := Probe{Service: "cart", Sensor: "http", Metric: "http_health", Interval: 3 * time.Second}
	for name, end := range map[string]struct {
		values []float64 // of each replica from then on; below 0: it is gone
		want   grace.SignalState
	}{
		"it is down":                 {[]float64{0, 0, 0}, grace.SignalFiring},
		"who saw it pass are gone":   {[]float64{0, -1, -1}, grace.SignalFiring},
		"who saw it fail is gone":    {[]float64{-1, 1, 1}, grace.SignalOK},
		"who saw it fail is back":    {[]float64{1, 1, 1}, grace.SignalOK},
		"it is down, one sees it no": {[]float64{0, 0, -1}, grace.SignalFiring},
	} {
		t.Run(name, func(t *testing.T) {
			agents := []*Agent{New(DefaultConfig(), nil), New(DefaultConfig(), nil), New(DefaultConfig(), nil)}
			for _, a := range agents {
				a.Expect([]Probe{probe})
			}
			var row grace.Signal
			values, words, told, acted := []float64{0, 1, 1}, 0, false, 0
			for s := range 900 {
				if s == 600 {
					values = end.values
				}
				var living []*Agent
				var said []grace.Signal
				for i, a := range agents {
					if values[i] < 0 {
						continue
					}
					living = append(living, a)
					if (s+i)%3 == 0 {
						sample := probeAt(s, values[i])
						sample.At = sample.At.Add(time.Duration(i) * time.Millisecond)
						said = append(said, a.Observe(sample)...)
					}
				}
				for _, word := range round(living, said, at(s)) {
					row = word
					if words++; s < 600 && word.State == grace.SignalFiring && !word.Passing {
						acted++
					}
				}
				told = told || s < 600 && row.Flapping && row.Passing
			}
			if acted > 1 || !told || words > 150 {
				t.Errorf("said to fail %d times, that replicas do not agree: %t, %d words", acted, told, words)
			}
			if row.State != end.want || row.Passing {
				t.Errorf("in the end %+v", row)
			}
		})
	}
}
