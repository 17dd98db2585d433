package loop

import (
	"testing"
	"time"

	"grace"
	"grace/internal/stage/sense"
)

// A source that is frozen, and says the same with the same time for ever, is silent, however
// far ahead of the clock here that time is: also when the clock was set back, and when it
// gets there again.
func TestFrozenAheadIsSilent(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ itsClock, setBack time.Duration }{
		"both clocks are set back":           {setBack: 5 * time.Minute},
		"both clocks are set back by little": {setBack: 20 * time.Second},
		"its clock is ahead":                 {itsClock: time.Hour},
		"its clock is ahead by little":       {itsClock: 2 * time.Minute},
		"its clock is ahead, both set back":  {itsClock: 10 * time.Minute, setBack: 5 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			service := benchService(1)
			key := grace.SignalKey(service) + "/objective/slow"
			l, tick := watching(t, sense.Objective{Name: "slow", Service: service, Expr: `latency_ms > 500`, Code: grace.CodeLatencySpike})
			right, began, step := l.Now, l.Now(), time.Duration(0)
			l.Elapsed = func() time.Duration { return right().Sub(began) }
			l.Now = func() time.Time { return right().Add(step) }
			said := grace.Sample{Service: service, Sensor: "push", Metric: "latency_ms", Kind: grace.SampleMetric, Value: 100}
			play := func(seconds int, frozen bool) (states map[grace.SignalState]bool) {
				states = map[grace.SignalState]bool{}
				for i := range seconds {
					tick()
					if i%5 == 4 {
						if !frozen {
							said.At = l.Now().Add(c.itsClock)
						}
						if err := l.Observe(t.Context(), said); err != nil {
							t.Fatal(err)
						}
						tick()
					}
					states[stateOf(l, key)] = true
				}
				return states
			}
			if got := play(120, false); !got[grace.SignalOK] || got[grace.SignalStale] {
				t.Fatalf("live: %v", got)
			}
			play(40, true)
			step = -c.setBack
			if got := play(180, true); !got[grace.SignalStale] {
				t.Errorf("frozen for three minutes: %v", got)
			}
			if s, _ := l.sense.Signal(key); c.itsClock == 0 && s.At.After(said.At.Add(-c.setBack)) {
				t.Errorf("what was measured before the clock was set back is dated later by %s", s.At.Sub(said.At.Add(-c.setBack)))
			}
			if got := play(600, true); len(got) != 1 || !got[grace.SignalStale] {
				t.Errorf("frozen for longer: %v", got)
			}
			if got := play(60, false); !got[grace.SignalOK] {
				t.Errorf("live again: %v", got)
			}
			if got := play(300, false); len(got) != 1 || !got[grace.SignalOK] {
				t.Errorf("live again for longer: %v", got)
			}
			if got := len(l.ahead); c.itsClock == 0 && got != 0 {
				t.Errorf("%d dates ahead are kept", got)
			}
		})
	}
}
