package loop

import (
	"fmt"
	"testing"
	"time"

	"grace"
	"grace/internal/stage/sense"
)

// aheadRig is an objective and who measures what it looks at, by clocks that can be set.
type aheadRig struct {
	t     *testing.T
	l     *Loop
	key   grace.SignalKey
	tick  func()
	step  time.Duration
	said  grace.Sample
	right func() time.Time
}

func newAheadRig(t *testing.T) *aheadRig {
	t.Helper()
	service := benchService(1)
	r := &aheadRig{t: t, key: grace.SignalKey(service) + "/objective/slow"}
	r.l, r.tick = watching(t, sense.Objective{Name: "slow", Service: service, Expr: `latency_ms > 500`, Code: grace.CodeLatencySpike})
	r.right = r.l.Now
	began := r.right()
	r.l.Elapsed = func() time.Duration { return r.right().Sub(began) }
	r.l.Now = func() time.Time { return r.right().Add(r.step) }
	r.said = grace.Sample{Service: service, Sensor: "push", Metric: "latency_ms", Kind: grace.SampleMetric, Value: 100}
	return r
}

// play lets seconds pass, of which every fifth says the next date, and gives how many of them
// the signal was in each state.
func (r *aheadRig) play(seconds int, date func(i int) time.Time) map[grace.SignalState]int {
	r.t.Helper()
	states := map[grace.SignalState]int{}
	for i := range seconds {
		r.tick()
		if i%5 == 4 {
			r.said.At = date(i / 5)
			if err := r.l.Observe(r.t.Context(), r.said); err != nil {
				r.t.Fatal(err)
			}
		}
		states[stateOf(r.l, r.key)]++
	}
	return states
}

func (r *aheadRig) ahead(by time.Duration) func(int) time.Time {
	return func(int) time.Time { return r.l.Now().Add(by) }
}

// A source that is alive is not silent for that its clock is ahead, nor for that clocks
// are set.
func TestLiveAheadIsNotSilent(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ ahead, then, back time.Duration }{
		"ahead by less than the clocks are set back": {ahead: 2 * time.Minute, then: 2 * time.Minute, back: time.Hour},
		"ahead once the clocks are set back":         {then: time.Minute, back: 5 * time.Minute},
		"the clock here is set back alone":           {then: 5 * time.Minute, back: 5 * time.Minute},
		"its clock is corrected":                     {ahead: time.Hour},
		"its clock is corrected in part":             {ahead: time.Hour, then: time.Minute},
		"its clock is ahead by more":                 {ahead: time.Minute, then: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newAheadRig(t)
			if got := r.play(120, r.ahead(c.ahead)); got[grace.SignalStale] > 0 || got[grace.SignalOK] == 0 {
				t.Fatalf("before: %v", got)
			}
			r.step = -c.back
			if got := r.play(600, r.ahead(c.then)); len(got) != 1 || got[grace.SignalOK] == 0 {
				t.Errorf("after: %v", got)
			}
		})
	}
}

// A clock that leapt ahead for a while leaves no trace: who is ahead of it is heard.
func TestLiveAheadAfterALeap(t *testing.T) {
	t.Parallel()
	r := newAheadRig(t)
	r.play(60, r.ahead(2*time.Minute))
	r.step = time.Hour
	r.play(30, r.ahead(2*time.Minute))
	r.step = 0
	if got := r.play(600, r.ahead(2*time.Minute)); len(got) != 1 || got[grace.SignalOK] == 0 {
		t.Errorf("after: %v", got)
	}
}

// What two sources say by one name, and both say for ever, shows nothing new; nor does what
// one says for ever beside one that was alive.
func TestFrozenAheadByTurns(t *testing.T) {
	t.Parallel()
	r := newAheadRig(t)
	r.play(60, r.ahead(time.Hour))
	a, b := r.l.Now().Add(time.Hour), r.l.Now().Add(time.Hour+3*time.Second)
	turns := func(i int) time.Time {
		if i%2 == 0 {
			return a
		}
		return b
	}
	r.play(90, turns)
	if got := r.play(300, turns); len(got) != 1 || got[grace.SignalStale] == 0 {
		t.Errorf("two are frozen: %v", got)
	}
	r = newAheadRig(t)
	r.play(60, r.ahead(0))
	far, right := r.l.Now().Add(time.Hour), r.l.Now()
	turns = func(i int) time.Time {
		if i%2 == 0 {
			return far
		}
		return right
	}
	r.play(90, turns)
	if got := r.play(300, turns); len(got) != 1 || got[grace.SignalStale] == 0 {
		t.Errorf("two are frozen, of which one is ahead: %v", got)
	}
}

// What is dated ahead is known again when the clock was set ahead by more than it is kept for.
func TestFrozenAheadOverALeap(t *testing.T) {
	t.Parallel()
	r := newAheadRig(t)
	r.play(60, r.ahead(3*time.Hour))
	at := r.said.At
	frozen := func(int) time.Time { return at }
	r.play(90, frozen)
	r.step = 90 * time.Minute
	if got := r.play(120, frozen); len(got) != 1 || got[grace.SignalStale] == 0 {
		t.Errorf("frozen: %v", got)
	}
}

// What a source that is frozen ahead of the clock says after a start may have been said before
// it, and shows nothing.
func TestFrozenAheadConfirmsNothing(t *testing.T) {
	t.Parallel()
	r := newAheadRig(t)
	at := r.l.Now().Add(time.Hour)
	r.play(30, func(int) time.Time { return at })
	if s, _ := r.l.sense.Signal(r.key); !s.Unconfirmed {
		t.Errorf("frozen: %s, unconfirmed %v", s.State, s.Unconfirmed)
	}
	r.play(30, r.ahead(2*time.Hour))
	if s, _ := r.l.sense.Signal(r.key); s.Unconfirmed || s.State != grace.SignalOK {
		t.Errorf("alive: %s, unconfirmed %v", s.State, s.Unconfirmed)
	}
}

// What is kept of what is ahead is bounded.
func TestAheadIsBounded(t *testing.T) {
	t.Parallel()
	r := newAheadRig(t)
	r.tick()
	var batch []grace.Sample
	for i := range 20000 {
		s := r.said
		s.Labels, s.At = map[string]string{"request": fmt.Sprint(i)}, r.l.Now().Add(time.Hour)
		batch = append(batch, s)
	}
	if err := r.l.Observe(t.Context(), batch...); err != nil {
		t.Fatal(err)
	}
	if n := len(r.l.ahead); n > 1<<14 {
		t.Errorf("%d are kept", n)
	}
}
