package sense

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"grace"
)

// replica is one of several that look at the same service, each at its own time.
type replica struct {
	agent    *house
	skew     time.Duration
	waiting  []grace.Signal // said when a word was heard: written with the next tick
	looked   int            // when it looked last, as it knows; -1 before
	passed   bool           // what it saw
	failedAt int            // its first failure since it was last ok, -1 when it is
	passes   int
}

// world is a log of words, written and heard in one order, some seconds late.
type world struct {
	every, lag int
	objective  bool
	patience   grace.Duration // For
	replicas   []*replica     // nil: it has ended
	row        grace.Signal
	log        []word
	heard      int
	late       []int // when each word of the log is heard
	told       []string
}

func (w *world) fresh() *house {
	every := time.Duration(w.every) * time.Second
	if w.objective {
		return newHouse(DefaultConfig(), []Objective{{
			Service: "cart", Name: "down", Expr: `up{service="cart"} < 1`, Severity: grace.SeverityCritical, Code: grace.CodeServiceDown,
			Interval: every, For: w.patience,
		}})
	}
	a := newHouse(DefaultConfig(), nil)
	a.Expect([]Probe{{Service: "cart", Sensor: "http", Metric: "http_health", Interval: every}})
	return a
}

func newWorld(every, lag int, skews ...int) *world {
	w := &world{every: every, lag: lag}
	for i, skew := range skews {
		w.replicas = append(w.replicas, &replica{
			skew: time.Duration(skew)*time.Second + time.Duration(i)*137*time.Microsecond, looked: -1, failedAt: -1,
		})
	}
	return w
}

func (w *world) start(i, now int) {
	r := w.replicas[i]
	r.agent, r.waiting, r.looked = w.fresh(), nil, -1
	if w.row.Key != "" {
		r.agent.Restore([]grace.Signal{w.row}, at(now).Add(r.skew))
	}
}

func (w *world) write(now, by int, words []grace.Signal) {
	for _, s := range words {
		w.row = s
		w.log, w.late = append(w.log, word{w.replicas[by].agent, s}), append(w.late, now+w.lag)
		w.told = append(w.told, fmt.Sprintf("%d by %d: %s passing %t flapping %t at %s", now, by, s.State, s.Passing, s.Flapping, s.At.Format("15:04:05.000")))
	}
}

// second lets one pass.
func (w *world) second(now int, sees func(i int) bool) {
	for i, r := range w.replicas {
		if r.agent == nil || (now+i*w.every/len(w.replicas))%w.every != 0 {
			continue
		}
		s := probeAt(now, 0)
		s.At = s.At.Add(r.skew)
		if w.objective {
			s.Kind, s.Metric = grace.SampleMetric, "up"
		}
		r.looked, r.passed = now, sees(i)
		if r.passed {
			s.Value, s.Message = 1, ""
			if r.passes++; r.passes >= 2 {
				r.failedAt = -1
			}
		} else if r.passes = 0; r.failedAt < 0 {
			r.failedAt = now
		}
		r.waiting = append(r.waiting, r.agent.Observe(s)...)
		w.write(now, i, r.waiting)
		r.waiting = nil
	}
	for i, r := range w.replicas {
		if r.agent == nil {
			continue
		}
		clock := at(now).Add(r.skew + 500*time.Millisecond)
		w.write(now, i, append(r.waiting, r.agent.Tick(clock)...))
		r.waiting = nil
		keys := r.agent.Ask(clock)
		for _, other := range w.replicas {
			if other != r && other.agent != nil {
				other.agent.Asked(keys)
			}
		}
	}
	for ; w.heard < len(w.log) && w.late[w.heard] <= now; w.heard++ {
		for _, r := range w.replicas {
			switch said := w.log[w.heard]; r.agent {
			case nil:
			case said.by:
				r.agent.Echoed(said.Signal)
			default:
				r.waiting = append(r.waiting, r.agent.Heard(said.Signal)...)
			}
		}
	}
}

func (w *world) acts() bool { return w.row.State == grace.SignalFiring && !w.row.Passing }

// alone tells whether a replica has seen it pass some seconds after it began to fail
// for one that sees it fail.
func (w *world) alone() bool {
	for _, r := range w.replicas {
		if r.agent != nil && r.looked >= 0 && r.passed && slices.ContainsFunc(w.replicas, func(o *replica) bool {
			return o.agent != nil && o.failedAt >= 0 && !o.passed && r.looked > o.failedAt+10
		}) {
			return true
		}
	}
	return false
}

func (w *world) end() string { return strings.Join(w.told[max(0, len(w.told)-30):], "\n") }

// TestDispute: what one replica alone sees fail is at no moment said to fail without
// a pass, whatever else happens; and it is told.
func TestDispute(t *testing.T) {
	fails := func(i, _ int) bool { return i > 0 }
	for name, story := range map[string]struct {
		world    *world
		sees     func(i, now int) bool
		restarts int // replica 0, at a time
		calm     int // seconds in which it may be said, until it is answered
	}{
		"it starts again":          {newWorld(60, 1, 0, 0), fails, 900, 2},
		"it starts again, skewed":  {newWorld(120, 2, 4, 0, -4), fails, 1800, 4},
		"sometimes it passes":      {newWorld(30, 1, 0, 0), func(i, now int) bool { return i > 0 || now%150 == 0 }, 0, 2},
		"who passes lags behind":   {newWorld(10, 0, -5, -1, 1), func(i, _ int) bool { return i == 0 }, 0, 12},
		"answers come out of turn": {newWorld(3, 2, 3, 0, 0), fails, 0, 5},
	} {
		t.Run(name, func(t *testing.T) {
			w := story.world
			for i := range w.replicas {
				w.start(i, 0)
			}
			wrong, told := 0, 0
			for now := range 3600 {
				if now == story.restarts {
					w.start(0, now)
				}
				w.second(now, func(i int) bool { return now < 300 || story.sees(i, now) })
				if w.acts() {
					wrong++
				}
				if now >= 3000 && w.row.State == grace.SignalFiring && w.row.Passing && w.row.Flapping {
					told++
				}
			}
			if wrong > story.calm || told < 300 || len(w.log) > 1500 {
				t.Errorf("said to fail for %d s, told in %d s of 600, %d words:\n%s", wrong, told, len(w.log), w.end())
			}
		})
	}
}

// TestDisputeStories: replicas whose clocks differ start, end, are cut off and are
// heard late, and the service goes down and flaps. In the end what they see is what
// is said.
func TestDisputeStories(t *testing.T) {
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 0))
		w := newWorld([]int{3, 3, 10, 30, 60, 120, 300}[r.IntN(7)], r.IntN(3), make([]int, 2+r.IntN(2))...)
		if w.objective = r.IntN(3) == 0; w.objective {
			w.patience = seconds([]int{0, 0, 30, 200}[r.IntN(4)])
		}
		for i, one := range w.replicas {
			if r.IntN(2) == 0 {
				one.skew += time.Duration(r.IntN(11)-5) * time.Second
			}
			w.start(i, 0)
		}
		now, wrong := 0, 0
		sees := make([]bool, len(w.replicas))
		for left := 2 + r.IntN(4); left >= 0; left-- {
			all, flaps := r.IntN(4), r.IntN(6) == 0 && left > 0
			for i := range sees {
				sees[i] = all == 0 || all > 1 && r.IntN(2) == 0 || now == 0
			}
			length := []int{3 * w.every, 5 + r.IntN(4*w.every), 6*w.every + 60}[r.IntN(3)]
			restart, who := now+r.IntN(length), r.IntN(len(sees))
			if left == 0 {
				length = 800 + 16*w.every + 2*int(w.patience.D().Seconds())
				restart = now + r.IntN(3*w.every)
			}
			if r.IntN(3) > 0 || now == 0 {
				restart = -1
			}
			if i := r.IntN(len(sees)); r.IntN(4) == 0 && slices.ContainsFunc(w.replicas, func(o *replica) bool { return o != w.replicas[i] && o.agent != nil }) {
				w.replicas[i].agent = nil
			}
			for end := now + length; now < end; now++ {
				if now == restart {
					w.start(who, now)
				}
				w.second(now, func(i int) bool { return sees[i] != (flaps && r.IntN(2) == 0) })
				if wrong++; !w.acts() || !w.alone() {
					wrong = 0
				}
				if wrong > 10 {
					t.Fatalf("seed %d: at %d it is said to fail, and another sees it pass:\n%s", seed, now, w.end())
				}
			}
		}
		var up, down int
		for i, one := range w.replicas {
			switch {
			case one.agent == nil:
			case sees[i]:
				up++
			default:
				down++
			}
		}
		settled := w.row.State == grace.SignalFiring && w.row.Passing && w.row.Flapping
		if up == 0 {
			settled = w.acts()
		} else if down == 0 {
			settled = w.row.State == grace.SignalOK || w.row.State == grace.SignalUnstable
		}
		if !settled {
			t.Fatalf("seed %d: %d see it pass and %d fail, and in the end it is %+v\n%s", seed, up, down, w.row, w.end())
		}
	}
}

// looks shows an agent what its probe saw, every 10 s from a time on: 1 a pass, 0 a
// failure. It gives what was said last.
func looks(a *house, from int, saw string) (last grace.Signal) {
	for i, c := range saw {
		for _, word := range a.Observe(probeAt(from+10*i, float64(c-'0'))) {
			last = word
		}
	}
	return last
}

func expecting() *house {
	a := newHouse(DefaultConfig(), nil)
	a.Expect([]Probe{{Service: "cart", Sensor: "http", Metric: "http_health", Interval: 10 * time.Second}})
	return a
}

// TestDisputeOrder: whose word it is, and which came last, is told apart also where
// words are heard late.
func TestDisputeOrder(t *testing.T) {
	acts := func(s grace.Signal) bool { return s.State == grace.SignalFiring && !s.Passing }
	t.Run("its own pass is no other's", func(t *testing.T) {
		a := expecting()
		looks(a, 0, "00")
		pass := looks(a, 20, "1")
		again := looks(a, 30, "0")
		a.Echoed(pass)
		a.Echoed(again)
		if words := append(a.Observe(probeAt(40, 0)), looks(a, 50, "10")); !acts(again) || !acts(words[len(words)-1]) || len(words) > 1 {
			t.Errorf("%+v", words)
		}
	})
	t.Run("its own answer is no other's", func(t *testing.T) {
		a, b := expecting(), expecting()
		looks(a, 0, "00")
		looks(a, 20, "1")
		for _, word := range a.Heard(looks(b, 15, "00")) {
			a.Echoed(word)
		}
		if again := looks(a, 30, "0"); !acts(again) {
			t.Errorf("%+v", again)
		}
	})
	t.Run("a first pass counts", func(t *testing.T) {
		a, b := expecting(), expecting()
		looks(a, 0, "00")
		looks(b, 5, "00")
		a.Heard(looks(b, 25, "1"))
		if words := a.Observe(probeAt(30, 0)); len(words) > 0 {
			t.Errorf("%+v", words)
		}
	})
	t.Run("its own word was written last", func(t *testing.T) {
		a, b := expecting(), expecting()
		firing := looks(a, 0, "00")
		pass := firing
		pass.Passing, pass.At = true, pass.At.Add(time.Millisecond)
		a.Heard(pass)
		a.Asked([]grace.SignalKey{firing.Key})
		argued := looks(a, 20, "0")
		a.Heard(looks(b, 5, "00")) // written before, heard after it was said
		a.Echoed(argued)
		if !argued.Passing {
			t.Fatalf("%+v", argued)
		}
		if last := looks(a, 30, "0000000000"); !acts(last) {
			t.Errorf("%+v", last)
		}
	})
	t.Run("what is not seen does not pass", func(t *testing.T) {
		a, b := expecting(), expecting()
		looks(a, 0, "00")
		a.Tick(at(100))
		looks(b, 90, "00")
		a.Heard(looks(b, 110, "1"))
		for now := 120; now < 400; now++ {
			for _, word := range a.Tick(at(now)) {
				if word.State != grace.SignalStale || word.Passing {
					t.Errorf("%+v", word)
				}
			}
		}
	})
}

// TestPassedBetween: where it passed between two of the failures that another replica
// speaks of, nothing is done, before that is written.
func TestPassedBetween(t *testing.T) {
	a, b := expecting(), expecting()
	looks(a, 5, "1")
	firing := looks(b, 0, "00")
	if !a.PassedSince(firing) || b.PassedSince(firing) {
		t.Errorf("%+v", firing)
	}
	looks(a, 15, "0")
	if a.PassedSince(firing) {
		t.Error("its newest sample failed")
	}
}
