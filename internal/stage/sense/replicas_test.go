package sense

import (
	"fmt"
	"testing"
	"time"

	"grace"
)

// word is what one of several agents says.
type word struct {
	by *house
	grace.Signal
}

func by(a *house, signals []grace.Signal) (words []word) {
	for _, s := range signals {
		words = append(words, word{a, s})
	}
	return words
}

// deliver gives a word to all agents, and what they say to it.
func deliver(agents []*house, w word) (more []word) {
	for _, a := range agents {
		if a == w.by {
			a.Echoed(w.Signal)
		} else {
			more = append(more, by(a, a.Heard(w.Signal))...)
		}
	}
	return more
}

// round delivers words to all agents, and what they say to them, until all is
// said; then time passes for each.
func round(agents []*house, words []word, now time.Time) (all []grace.Signal) {
	say := func(words []word) {
		for len(words) > 0 && len(all) < 10000 {
			all = append(all, words[0].Signal)
			words = append(words[1:], deliver(agents, words[0])...)
		}
	}
	say(words)
	for _, a := range agents {
		say(by(a, a.Tick(now)))
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
		agents := []*house{newHouse(DefaultConfig(), nil), newHouse(DefaultConfig(), nil), newHouse(DefaultConfig(), nil)}
		words := round(agents, by(agents[0], agents[0].Observe(alertAt(0, "f1", false))), at(0))
		key := words[0].Key
		if resolved {
			round(agents, by(agents[0], agents[0].Observe(alertAt(10, "f1", true))), at(10))
		}
		for s := 60; s < 12*3600; s += 30 {
			for _, word := range round(agents, by(agents[1], agents[1].Observe(alertAt(s, "f1", false))), at(s)) {
				if word.Gone || word.State != grace.SignalFiring {
					t.Fatalf("resolved: %t, at %d: %+v", resolved, s, word)
				}
			}
		}
		if got, known := agents[0].Signal(key); !known || got.State != grace.SignalFiring {
			t.Errorf("resolved: %t: the one that was sent it first knows %+v, %t", resolved, got, known)
		}
		agents = []*house{agents[0]} // the others end
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
// patience enough here, is taken for stale until that is known, and then no more,
// nor by a replica that starts later.
func TestSentRarely(t *testing.T) {
	agents := []*house{newHouse(DefaultConfig(), nil), newHouse(DefaultConfig(), nil)}
	var row grace.Signal
	stale := 0
	for s := range 7200 {
		if s == 3600 {
			if stale > 2 {
				t.Errorf("taken for stale %d times", stale)
			}
			agents[1], stale = newHouse(DefaultConfig(), nil), 0
			agents[1].Restore([]grace.Signal{row}, at(s))
		}
		var words []word
		if s%130 == 0 {
			words = by(agents[0], agents[0].Observe(probeAt(s, 0)))
		}
		for _, word := range round(agents, words, at(s)) {
			if row = word; word.State == grace.SignalStale {
				stale++
			}
		}
	}
	if stale > 0 {
		t.Errorf("taken for stale %d times after another start", stale)
	}
}

// TestAskedRarely: an alert that is repeated all the time costs the replicas that
// are not sent it few questions.
func TestAskedRarely(t *testing.T) {
	agents := []*house{newHouse(DefaultConfig(), nil), newHouse(DefaultConfig(), nil), newHouse(DefaultConfig(), nil)}
	words := 0
	for s := 0; s < 3600; s += 10 {
		sample := alertAt(s, "f1", false)
		sample.Expires = at(s + 240) // as Prometheus has it
		words += len(round(agents, by(agents[0], agents[0].Observe(sample)), at(s)))
	}
	if words > 40 {
		t.Errorf("%d words in an hour", words)
	}
}

// TestFailsAfterSilence: a first sample that fails after a time without data is
// nowhere taken for a pass.
func TestFailsAfterSilence(t *testing.T) {
	agents := []*house{newHouse(DefaultConfig(), nil), newHouse(DefaultConfig(), nil)}
	for s := range 400 {
		var words []word
		switch s {
		case 0, 10:
			words = by(agents[0], agents[0].Observe(probeAt(s, 1)))
		case 200:
			words = by(agents[0], agents[0].Observe(probeAt(s, 0)))
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
	a := newHouse(DefaultConfig(), nil)
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

// TestCutOff: what some replicas see fail and others pass is never said to fail
// without a pass, also where they look rarely; that it lasts is said. Once nobody sees it pass
// any more it fails; once nobody sees it fail any more it is well.
func TestCutOff(t *testing.T) {
	const gone, restarts = -1, -2
	for name, story := range map[string]struct {
		first, then []float64 // what each replica sees until 600 s, and from then on
		want        grace.SignalState
		disputed    bool // in the end
	}{
		"it is down":                     {[]float64{0, 1, 1}, []float64{0, 0, 0}, grace.SignalFiring, false},
		"who saw it pass are gone":       {[]float64{0, 1, 1}, []float64{0, gone, gone}, grace.SignalFiring, false},
		"two saw it fail, one is gone":   {[]float64{0, 0, 1}, []float64{0, 0, gone}, grace.SignalFiring, false},
		"who saw it fail is gone":        {[]float64{0, 1, 1}, []float64{gone, 1, 1}, grace.SignalOK, false},
		"who saw it fail is back":        {[]float64{0, 1, 1}, []float64{1, 1, 1}, grace.SignalOK, false},
		"it heals for one":               {[]float64{0, 0, 1}, []float64{0, 1, 1}, grace.SignalFiring, true},
		"who saw it pass starts again":   {[]float64{0, 1, 1}, []float64{0, restarts, 1}, grace.SignalFiring, true},
		"who saw it fail starts again":   {[]float64{0, 1, 1}, []float64{restarts, 1, 1}, grace.SignalOK, false},
		"it is down for all but the one": {[]float64{0, 1, 1}, []float64{0, 0, 1}, grace.SignalFiring, true},
	} {
		for i, kind := range []grace.SampleKind{grace.SampleProbe, grace.SampleMetric, grace.SampleProbe, grace.SampleMetric} {
			every := []int{3, 3, 30, 30}[i]
			t.Run(fmt.Sprintf("%s, %s every %d s", name, kind, every), func(t *testing.T) {
				fresh := func() *house {
					a := newHouse(DefaultConfig(), []Objective{{
						Service: "cart", Name: "down", Expr: `up{service="cart"} < 1`, Severity: grace.SeverityCritical, Code: grace.CodeServiceDown,
						Interval: time.Duration(every) * time.Second,
					}})
					a.Expect([]Probe{{Service: "cart", Sensor: "http", Metric: "http_health", Interval: time.Duration(every) * time.Second}})
					return a
				}
				agents := []*house{fresh(), fresh(), fresh()}
				var row grace.Signal
				sees, words, told, wrong := story.first, 0, false, 0
				for s := range 1200 {
					if s == 600 {
						sees = append([]float64{}, story.then...)
						for i, v := range sees {
							if v == restarts {
								agents[i], sees[i] = fresh(), 1
								agents[i].Restore([]grace.Signal{row}, at(s))
							}
						}
					}
					var living []*house
					var said []word
					for i, a := range agents {
						if sees[i] == gone {
							continue
						}
						living = append(living, a)
						if (s+i*every/3)%every == 0 {
							sample := probeAt(s, sees[i])
							sample.At = sample.At.Add(time.Duration(i) * time.Millisecond)
							if sample.Kind = kind; kind == grace.SampleMetric {
								sample.Metric = "up"
							}
							said = append(said, by(a, a.Observe(sample))...)
						}
					}
					for _, word := range round(living, said, at(s)) {
						if word.Severity != grace.SeverityCritical || kind == grace.SampleMetric != (word.Kind == grace.SignalObjective) {
							continue
						}
						row = word
						words++
					}
					if s < 600 && row.State == grace.SignalFiring && !row.Passing {
						wrong++ // seconds
					}
					told = told || s < 600 && row.Flapping && row.Passing
				}
				if wrong > 0 || !told || words > 300 {
					t.Errorf("said to fail for %d s, that replicas do not agree: %t, %d words", wrong, told, words)
				}
				if row.State != story.want || row.Passing != story.disputed || story.disputed && !row.Flapping {
					t.Errorf("in the end %+v", row)
				}
			})
		}
	}
}

// TestClockAheadWhileOneIsBlind: what only one replica sees does not become stale
// because all clocks are set ahead.
func TestClockAheadWhileOneIsBlind(t *testing.T) {
	blind, seeing := newHouse(DefaultConfig(), nil), newHouse(DefaultConfig(), nil)
	agents := []*house{blind, seeing}
	for _, a := range agents {
		a.Expect([]Probe{{Service: "cart", Sensor: "http", Metric: "http_health", Interval: 5 * time.Second}})
	}
	const step = 274
	var row grace.Signal
	ahead := 0
	for s := range 600 {
		if s == 302 {
			ahead = step
			for _, a := range agents {
				a.ClockStepped(at(s+ahead), step*time.Second)
			}
		}
		var words []word
		if s%5 == 0 {
			words = by(seeing, seeing.Observe(probeAt(s+ahead, 0)))
			if s < 100 {
				words = append(words, by(blind, blind.Observe(probeAt(s+ahead, 0)))...)
			}
		}
		for _, word := range round(agents, words, at(s+ahead)) {
			if row = word; s > 300 && row.State != grace.SignalFiring {
				t.Fatalf("at %d: %+v", s, row)
			}
		}
	}
	if row.State != grace.SignalFiring {
		t.Errorf("in the end: %+v", row)
	}
}

// TestBlindAtTheSameSample: a replica that took its word from another one, and says
// that nothing is seen any more, is contradicted by that one with its next sample.
func TestBlindAtTheSameSample(t *testing.T) {
	a := newHouse(DefaultConfig(), nil)
	a.Expect([]Probe{{Service: "cart", Sensor: "http", Metric: "http_health", Interval: 5 * time.Second}})
	for s := 0; s <= 30; s += 5 {
		a.Observe(probeAt(s, 0))
	}
	word, _ := a.Signal("cart/http/http_health")
	word.State = grace.SignalStale
	if said := a.Heard(word); len(said) > 0 {
		t.Errorf("without a newer sample: %+v", said)
	}
	if said := a.Observe(probeAt(35, 0)); len(said) != 1 || said[0].State != grace.SignalFiring {
		t.Errorf("%+v", said)
	}
}

// TestSeesAgain: a replica that could not look, and can again, goes on with what
// another one has seen meanwhile: since when it fails, and that it does.
func TestSeesAgain(t *testing.T) {
	t.Parallel()
	for _, value := range []float64{0, 1} {
		agents := []*house{newHouse(DefaultConfig(), nil), newHouse(DefaultConfig(), nil)}
		for _, a := range agents {
			a.Expect([]Probe{{Service: "cart", Sensor: "http", Metric: "http_health", Interval: 10 * time.Second}})
		}
		look := func(sec int, samples ...grace.Sample) (all []grace.Signal) {
			var words []word
			for i, s := range samples {
				words = append(words, by(agents[i], agents[i].Observe(s))...)
			}
			return round(agents, words, at(sec))
		}
		cannot := probeAt(20, 0)
		cannot.Kind, cannot.Message = grace.SampleSensorError, "too many open files"
		look(0, probeAt(0, 1), probeAt(0, 1))
		look(10, probeAt(10, 1), probeAt(10, 1))
		look(20, probeAt(20, 1), cannot)
		for sec := 30; sec <= 60; sec += 10 {
			look(sec, probeAt(sec, 0))
		}
		since, _ := agents[0].Signal("cart/http/http_health")
		if since.State != grace.SignalFiring {
			t.Fatalf("one sees it %s, want firing", since.State)
		}
		for _, s := range look(70, probeAt(70, 0), probeAt(70, value)) {
			if s.State != grace.SignalFiring || !s.Since.Equal(since.Since) {
				t.Errorf("the other sees %v: %q is %q since %s, want firing since %s", value, s.Message, s.State, s.Since, since.Since)
			}
		}
		if s, _ := agents[1].Signal("cart/http/http_health"); s.State != grace.SignalFiring || s.Passing != (value == 1) {
			t.Errorf("the other sees %v: it holds %q, passing: %t", value, s.State, s.Passing)
		}
	}
}

// TestAdoptedFromBefore: what another replica saw before this one began, or its
// configuration changed, is no evidence until it is seen again.
func TestAdoptedFromBefore(t *testing.T) {
	alert := func(sec int) grace.Signal {
		return grace.Signal{
			Key: "cart/alerts/down/f1", Service: "cart", Sensor: "alerts", Metric: "down", Kind: grace.SignalAlert, State: grace.SignalFiring,
			Severity: grace.SeverityCritical, At: at(sec), Since: at(10), Fired: at(sec),
		}
	}
	for name, begin := range map[string]func(*house){
		"start":         func(a *house) { a.Restore(nil, at(20)) },
		"configuration": func(a *house) { a.Unconfirm(func(grace.Signal, []string) bool { return true }, at(20)) },
	} {
		a := newHouse(DefaultConfig(), nil)
		begin(a)
		for _, step := range []struct {
			seen        int
			unconfirmed bool
		}{{10, true}, {30, false}} {
			a.Heard(alert(step.seen))
			if s, _ := a.Signal("cart/alerts/down/f1"); s.Unconfirmed != step.unconfirmed {
				t.Errorf("%s: seen at %d s it is unconfirmed: %t, want %t", name, step.seen, s.Unconfirmed, step.unconfirmed)
			}
		}
	}
}
