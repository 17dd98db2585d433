package predict

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

const day300 = 24 * 3600 / 300 // samples of a day

// related plays two series that have nothing to do with each other, or no more than the time
// of the day, a sample every five minutes; the threshold is what they pass now and then. It
// gives how many claims there were, and whether one ever counted as the other's leader.
func related(days int, values func(i int) (leader, follower float64)) (claims int, counted bool) {
	type sample struct{ leader, follower float64 }
	samples := make([]sample, days*day300)
	limit := target()
	limit.Threshold = math.Inf(-1)
	for i := range samples {
		samples[i].leader, samples[i].follower = values(i)
		limit.Threshold = max(limit.Threshold, 0.8*samples[i].follower)
	}
	run := func(each func(a *Agent, at time.Time)) {
		cfg := DefaultConfig()
		a := New(cfg, []Target{limit, leadTargets()[1]}, NewGate(cfg.Gate, &sync.Mutex{}))
		a.Depend(dependsOn("broker"))
		for i, v := range samples {
			at := monday.Add(time.Duration(i) * 5 * time.Minute)
			a.Observe(queue, at, v.leader)
			a.Observe(latency, at, v.follower)
			each(a, at)
		}
	}
	run(func(a *Agent, _ time.Time) {
		a.follow(seriesOf(a, latency), true)
		for _, f := range a.leads.followers {
			_, _, ok := f.leaders[0].best(leadLags)
			counted = counted || ok
		}
	})
	if !counted {
		return 0, false // nothing is claimed then
	}
	run(func(a *Agent, at time.Time) {
		r := a.Evaluate(at)
		for _, p := range slices.Concat(r.Shadow, r.Advice, r.Published) {
			if p.Rule == "lead" && p.Made.Equal(p.At) {
				claims++
			}
		}
	})
	return claims, counted
}

// byChance plays pairs and tells how many counted, and how many claims there were.
func byChance(t *testing.T, pairs, most int, pair func(r *rand.Rand) func(i int) (leader, follower float64)) {
	t.Helper()
	claims, counted := 0, 0
	for seed := range uint64(pairs) {
		n, ok := related(21, pair(rand.New(rand.NewPCG(seed, 2))))
		if claims += n; ok {
			counted++
		}
	}
	t.Logf("of %d pairs %d counted, with %d claims", pairs, counted, claims)
	if claims > 0 || counted > most {
		t.Errorf("of %d pairs %d counted, with %d claims", pairs, counted, claims)
	}
}

// Two walks go up and down together by chance as often as not.
func TestWalksDoNotLead(t *testing.T) {
	byChance(t, 200, 1, func(r *rand.Rand) func(int) (float64, float64) {
		x, y := 0.0, 100.0
		return func(int) (float64, float64) {
			x, y = x+r.NormFloat64(), y+r.NormFloat64()
			return x, y
		}
	})
}

// What surges now and then does not foretell what surges at other times.
func TestSurgesDoNotLead(t *testing.T) {
	byChance(t, 100, 1, func(r *rand.Rand) func(int) (float64, float64) {
		p, q := newQueueing(r.Uint64()), newQueueing(r.Uint64())
		return func(int) (float64, float64) {
			depth, _ := p.next()
			_, late := q.next()
			return depth, late
		}
	})
}

// What follows the same day does not lead, though each has busier and calmer days.
func TestBusyDaysDoNotLead(t *testing.T) {
	for _, ahead := range []float64{0, 0.1} { // of a day
		byChance(t, 100, 1, func(r *rand.Rand) func(int) (float64, float64) {
			x, y := alike(r, 4), alike(r, 4)
			leads, follows := 1.0, 1.0
			return func(i int) (float64, float64) {
				if i%day300 == 0 {
					leads, follows = 1+0.3*r.NormFloat64(), 1+0.3*r.NormFloat64()
				}
				day := float64(i) / day300
				return 3 + leads*math.Sin(2*math.Pi*(day+ahead)) + 0.1*x(), 3 + follows*math.Sin(2*math.Pi*day) + 0.1*y()
			}
		})
	}
}

// What rises at the same time every day does not foretell each other, whichever is first.
func TestRhythmDoesNotLead(t *testing.T) {
	for _, noise := range []float64{0, 0.02, 0.5} {
		for _, ahead := range []float64{0, 0.1, 0.25} { // of a day
			r := rand.New(rand.NewPCG(1, 3))
			x, y := alike(r, 4), alike(r, 4)
			rhythm := func(i int, ahead float64) float64 {
				day := float64(i)/day300 + ahead
				if i/day300%7 >= 5 {
					return 1 + 0.3*math.Sin(2*math.Pi*day)
				}
				return 2 + math.Sin(2*math.Pi*day)
			}
			claims, counted := related(21, func(i int) (float64, float64) {
				return rhythm(i, ahead) + noise*x(), rhythm(i, 0) + noise*y()
			})
			if claims > 0 || counted && noise > 0 {
				t.Errorf("noise %v, %v of a day ahead: counted %v, %d claims", noise, ahead, counted, claims)
			}
		}
	}
}
