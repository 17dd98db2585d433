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
		agents := []*Agent{New(DefaultConfig(), nil), New(DefaultConfig(), nil), New(DefaultConfig(), nil)}
		key := grace.SignalKey("cart/http/http_health")
		var row grace.Signal // as published last
		say := func(from int, words []grace.Signal) {
			for len(words) > 0 {
				row = words[0]
				var more []grace.Signal
				for i, a := range agents {
					said := a.Heard(row)
					if i == from && len(said) > 0 {
						t.Fatalf("contradicts its own word: %+v", said)
					}
					more = append(more, said...)
				}
				words, from = append(words[1:], more...), -1
			}
		}
		for i := range rapid.IntRange(2, 60).Draw(t, "samples") {
			s := probeAt(i*5, float64(rapid.IntRange(0, 1).Draw(t, "value")))
			if s.Kind = kind; kind == grace.SampleAlert {
				s.Resolved = s.Value == 1
			}
			to := rapid.IntRange(0, len(agents)-1).Draw(t, "to")
			say(to, agents[to].Observe(s))
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

// TestAdopt: what only another replica was told goes stale although that one is
// gone, and is taken for its own when it is sent here.
func TestAdopt(t *testing.T) {
	far, near := New(DefaultConfig(), nil), New(DefaultConfig(), nil)
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
