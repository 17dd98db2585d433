package sense

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"grace"
)

// TestSplitSamples: replicas that each get a part of the samples agree on what
// the newest one says, whoever got it: a pass is known to all, and so is that it
// fails again.
func TestSplitSamples(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom([]grace.SampleKind{grace.SampleProbe, grace.SampleAlert}).Draw(t, "kind")
		agents := []*house{newHouse(DefaultConfig(), nil), newHouse(DefaultConfig(), nil), newHouse(DefaultConfig(), nil)}
		key := grace.SignalKey("cart/http/http_health")
		var row grace.Signal // as published last
		say := func(words []word) {
			for len(words) > 0 {
				row = words[0].Signal
				words = append(words[1:], deliver(agents, words[0])...)
			}
		}
		for i := range rapid.IntRange(2, 60).Draw(t, "samples") {
			s := probeAt(i*5, float64(rapid.IntRange(0, 1).Draw(t, "value")))
			if s.Kind = kind; kind == grace.SampleAlert {
				s.Resolved = s.Value == 1
			}
			to := rapid.IntRange(0, len(agents)-1).Draw(t, "to")
			say(by(agents[to], agents[to].Observe(s)))
			mine, _ := agents[to].Signal(key)
			asFiring := row.State == grace.SignalFiring && !row.Passing
			switch {
			case s.Value == 1 && asFiring:
				t.Fatalf("sample %d passed, and all are told that it fires: %+v", i, row)
			case s.Value == 0 && mine.State == grace.SignalFiring && !asFiring:
				t.Fatalf("sample %d failed and it fires at the one that got it; all are told %+v", i, row)
			}
		}
	})
}

// TestLostElsewhere: what one replica saw fire and sees no more, while another one saw
// nothing, has been firing since then for the other, too, when that sees it fail again.
func TestLostElsewhere(t *testing.T) {
	for name, silent := range map[string]bool{"its sensor is broken": false, "it gets no samples": true} {
		t.Run(name, func(t *testing.T) {
			far, near := newHouse(DefaultConfig(), nil), newHouse(DefaultConfig(), nil)
			agents := []*house{far, near}
			say := func(words []word) {
				for len(words) > 0 {
					words = append(words[1:], deliver(agents, words[0])...)
				}
			}
			broken := func(n int) grace.Sample {
				s := probeAt(n, 0)
				s.Kind, s.Message = grace.SampleSensorError, "too many open files"
				return s
			}
			for _, a := range agents {
				a.Expect([]Probe{{Service: "cart", Sensor: "http", Metric: "http_health"}})
			}
			observe := func(a *house, samples ...grace.Sample) {
				for _, s := range samples {
					say(by(a, a.Observe(s)))
				}
			}
			observe(near, probeAt(0, 1), probeAt(5, 1))
			observe(far, probeAt(0, 1), probeAt(5, 1))
			if !silent {
				observe(near, broken(10))
			}
			observe(far, probeAt(10, 0), probeAt(15, 0), probeAt(20, 0), broken(25))
			for n := 26; n < 75; n++ {
				say(by(far, far.Tick(at(n))))
				say(by(near, near.Tick(at(n))))
			}
			observe(near, probeAt(75, 0))
			if got, _ := near.Signal("cart/http/http_health"); got.State != grace.SignalFiring || !got.Since.Equal(at(15)) {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestAdopt: what only another replica was told goes stale although that one is
// gone, and is taken for its own when it is sent here.
func TestAdopt(t *testing.T) {
	far, near := newHouse(DefaultConfig(), nil), newHouse(DefaultConfig(), nil)
	word := far.Observe(alertAt(0, "f1", false))[0]
	near.Heard(word)
	if got, _ := near.Signal(word.Key); got.State != grace.SignalFiring || got.Unconfirmed {
		t.Fatalf("adopted: %+v", got)
	}
	if changed := near.Tick(at(60)); len(changed) != 0 {
		t.Errorf("a minute later: %+v", changed)
	}
	gone := near.Tick(word.At.Add(DefaultConfig().AlertStaleAfter.D() + time.Second))
	if len(gone) != 1 || gone[0].State != grace.SignalStale {
		t.Errorf("nobody repeats it: %+v", gone)
	}
	near.Heard(word)
	if changed := near.Observe(alertAt(6*3600, "f1", true)); len(changed) != 1 || changed[0].State != grace.SignalOK {
		t.Errorf("resolved here: %+v", changed)
	}

	near.Heard(far.Observe(alertAt(7, "f2", false))[0])
	was, _ := far.Forget("cart/alertmanager/HighLatency/f2")
	near.Heard(was)
	if _, known := near.Signal(was.Key); known {
		t.Error("what the other forgot is still known")
	}
}

// TestSeenLater: what another replica has seen later than this one stands when this
// one has no data any more, until it is as old itself; then that is what was seen last.
func TestSeenLater(t *testing.T) {
	cfg := DefaultConfig()
	far, near := newHouse(cfg, nil), newHouse(cfg, nil)
	up := []Probe{{Service: "cart", Sensor: "http", Metric: "up"}}
	far.Expect(up)
	near.Expect(up)
	look := func(a *house, sec int, value float64) []grace.Signal {
		return a.Observe(grace.Sample{Service: "cart", Sensor: "http", Metric: "up", Kind: grace.SampleProbe, Value: value, Severity: grace.SeverityCritical, At: at(sec)})
	}
	look(near, 0, 1)
	look(near, 5, 1)
	var word grace.Signal
	for sec := 10; word.State != grace.SignalFiring; sec += 5 {
		for _, s := range look(far, sec, 0) {
			word = s
		}
	}
	near.Heard(word)
	patience := cfg.StaleAfter.D()
	for now := at(5); !now.After(word.At.Add(patience)); now = now.Add(time.Second) {
		if changed := near.Tick(now); len(changed) != 0 {
			t.Fatalf("%s after the other saw it: %+v", now.Sub(word.At), changed)
		}
	}
	changed := near.Tick(word.At.Add(patience + time.Second))
	if len(changed) != 1 || changed[0].State != grace.SignalStale || !changed[0].At.Equal(word.At) || !changed[0].Fired.Equal(word.At) {
		t.Errorf("when nobody sees it any more: %+v, want stale since %s, sick when last seen", changed, word.At)
	}
}

// TestAdoptedExpires: what only another replica is sent, and its sender would have
// repeated by now, goes stale though that replica is gone. It has been asked
// before, and what it says of a repeat keeps it.
func TestAdoptedExpires(t *testing.T) {
	far, near := newHouse(DefaultConfig(), nil), newHouse(DefaultConfig(), nil)
	say := func(sec int) {
		s := alertAt(sec, "f1", false)
		s.Expires = at(sec + 240)
		for _, word := range far.Observe(s) {
			near.Heard(word)
		}
	}
	say(0)
	key := near.Signals()[0].Key
	if changed := near.Tick(at(239)); len(changed) != 0 {
		t.Fatalf("in time: %+v", changed)
	}
	if asked := near.Ask(at(240)); len(asked) != 1 || asked[0] != key {
		t.Fatalf("asks for %v", asked)
	}
	far.Asked([]grace.SignalKey{key})
	say(241)
	if changed := near.Tick(at(300)); len(changed) != 0 {
		t.Fatalf("repeated there: %+v", changed)
	}
	gone := near.Tick(at(241 + 240 + 41))
	if len(gone) != 1 || gone[0].State != grace.SignalStale {
		t.Errorf("not repeated: %+v", gone)
	}
}

// TestAskAfterRestart: what is sent to other replicas alone confirms what a
// replica knew before it was started anew, once a sample has come after it asked;
// nothing confirms it before.
func TestAskAfterRestart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom([]grace.SampleKind{grace.SampleProbe, grace.SampleAlert}).Draw(t, "kind")
		key := grace.SignalKey("cart/http/http_health")
		configured := rapid.Bool().Draw(t, "configured")
		fresh := func() *house {
			a := newHouse(DefaultConfig(), nil)
			if configured && kind == grace.SampleProbe {
				a.Expect([]Probe{{Service: "cart", Sensor: "http", Metric: "http_health"}})
			}
			return a
		}
		agents := []*house{fresh(), fresh(), fresh()}
		waits, asked := make([]bool, len(agents)), make([]bool, len(agents)) // for a sample after its restart; it has asked since
		var row grace.Signal
		now := 0
		say := func(words []word) {
			for len(words) > 0 {
				row = words[0].Signal
				words = append(words[1:], deliver(agents, words[0])...)
			}
		}
		for range rapid.IntRange(2, 60).Draw(t, "steps") {
			now += 5
			i := rapid.IntRange(0, len(agents)-1).Draw(t, "agent")
			switch rapid.IntRange(0, 4).Draw(t, "what") {
			case 4: // heard late
				if row.Key != "" {
					agents[i].Heard(row)
				}
			case 0:
				agents[i] = fresh()
				if row.Key != "" {
					agents[i].Restore([]grace.Signal{row}, at(now))
				}
				waits[i], asked[i] = true, false
			case 1:
				for _, k := range agents[i].Ask(at(now)) {
					asked[i] = true
					for _, a := range agents {
						a.Asked([]grace.SignalKey{k})
					}
				}
			default:
				s := probeAt(now, float64(rapid.IntRange(0, 1).Draw(t, "value")))
				if s.Kind = kind; kind == grace.SampleAlert {
					s.Resolved = s.Value == 1
				}
				say(by(agents[i], agents[i].Observe(s)))
				mine, _ := agents[i].Signal(key)
				clear(waits)
				for j := range agents {
					if mine.State == grace.SignalUnknown || mine.State == grace.SignalOK && s.Value == 0 {
						continue // one that fails is not told of: the next one decides
					}
					if own, _ := agents[j].Signal(key); asked[j] && own.Unconfirmed && row.At.Before(s.At) {
						t.Fatalf("agent %d has asked, and of the sample at %s only %d heard", j, s.At, i)
					}
					asked[j] = false
				}
			}
			for j, a := range agents {
				if got, known := a.Signal(key); waits[j] && known && got.State != grace.SignalUnknown && !got.Unconfirmed {
					t.Fatalf("agent %d takes for confirmed what no sample has shown since its start: %+v", j, got)
				}
			}
		}
	})
}

// TestAskIsRare: what is asked of nobody who could answer is asked ever more
// rarely, and not at all once a sample has come.
func TestAskIsRare(t *testing.T) {
	a := newHouse(DefaultConfig(), nil)
	a.Restore([]grace.Signal{{Key: "cart/http/http_health", Service: "cart", Sensor: "http", Metric: "http_health", State: grace.SignalFiring, At: at(0), Since: at(0)}}, at(10))
	asked := 0
	for s := range 3600 {
		asked += len(a.Ask(at(10 + s)))
	}
	if asked < 5 || asked > 25 {
		t.Errorf("asked %d times in an hour", asked)
	}
	a.Observe(probeAt(3700, 0))
	if keys := a.Ask(at(4000)); len(keys) != 0 {
		t.Errorf("asked what has been seen: %v", keys)
	}
}

// TestNobodySeesIt: what one replica cannot look at, and another sees, is known as
// that one sees it, for as long as it is heard; then nobody sees it.
func TestNobodySeesIt(t *testing.T) {
	blind, seeing := newHouse(DefaultConfig(), nil), newHouse(DefaultConfig(), nil)
	key := grace.SignalKey("cart/http/http_health")
	blind.Expect([]Probe{{Service: "cart", Sensor: "http", Metric: "http_health"}})
	for s := range 3 {
		blind.Observe(probeAt(s, 1))
	}
	cannot := probeAt(3, 0)
	cannot.Kind, cannot.Message = grace.SampleSensorError, "too many open files"
	seeing.Heard(blind.Observe(cannot)[0])
	last := 0
	for s := 4; s < 600; s += 4 {
		if keys := blind.Ask(at(s)); len(keys) > 0 {
			seeing.Asked(keys)
		}
		for _, word := range seeing.Observe(probeAt(s, 1)) {
			blind.Heard(word)
			last = s
		}
		if changed := blind.Tick(at(s)); len(changed) > 0 {
			t.Fatalf("at %d, while another sees it, %+v", s, changed)
		}
	}
	if 600-last > 60 {
		t.Fatalf("the last answer was at %d", last)
	}
	for s := 600; s < 700; s++ {
		if changed := blind.Tick(at(s)); len(changed) > 0 {
			if got := changed[0]; got.Key != key || got.State != grace.SignalStale || !got.At.Equal(at(last)) || !got.Since.Equal(at(s)) {
				t.Errorf("%+v", got)
			}
			return
		}
	}
	t.Error("nobody sees it any more, and nobody says so")
}
