package predict

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"grace"
)

// monday is when series of these tests begin: what is usual is known a day later, and of
// weekends a week later.
var monday = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

var (
	queue   = Series{Service: "broker", Metric: "queue_depth", Labels: `{queue="mail"}`}
	latency = Series{Service: "cart", Metric: "latency_ms"}
)

func leadTargets() []Target {
	return []Target{target(), {Service: "broker", Metric: "queue_depth", Op: ">", Threshold: 1e12, Code: grace.CodeCapacity}}
}

// dependsOn gives the dependencies of cart.
func dependsOn(services ...grace.ServiceID) func(grace.ServiceID) []grace.ServiceID {
	return func(id grace.ServiceID) []grace.ServiceID {
		if id == "cart" {
			return services
		}
		return nil
	}
}

// queueing is a queue that surges every two hours or so, and a latency that follows it by four
// minutes: a sample of each every 15 s, both noisy and alike from one sample to the next.
type queueing struct {
	rand  *rand.Rand
	depth []float64
	surge int // samples that are left of it
	extra float64
	calm  func() float64
	noise func() float64
}

func newQueueing(seed uint64) *queueing {
	r := rand.New(rand.NewPCG(seed, 1))
	return &queueing{rand: r, calm: alike(r, 20), noise: alike(r, 8)}
}

// alike gives normal values of which those up to so many samples apart are alike.
func alike(r *rand.Rand, samples float64) func() float64 {
	carried, v := math.Exp(-1/samples), 0.0
	return func() float64 {
		v = carried*v + math.Sqrt(1-carried*carried)*r.NormFloat64()
		return v
	}
}

func (q *queueing) next() (depth, latency float64) {
	if q.surge == 0 && q.rand.IntN(480) == 0 {
		q.surge = 60
	}
	q.extra *= 0.9
	if q.surge > 0 {
		q.surge--
		q.extra += 20
	}
	q.depth = append(q.depth, 50+q.extra+10*q.calm())
	before := q.depth[max(len(q.depth)-1-16, 0)]
	return q.depth[len(q.depth)-1], 100 + 2*before + 10*q.noise()
}

// leadTape plays a queue and the latency that follows it.
type leadTape struct {
	tape
	*queueing

	absurd func(i int) (depth, latency float64) // instead; NaN: not
	i      int
}

func newLeadTape(seed uint64, near func(grace.ServiceID) []grace.ServiceID) *leadTape {
	cfg := DefaultConfig()
	a := New(cfg, leadTargets(), NewGate(cfg.Gate, &sync.Mutex{}))
	a.Depend(near)
	return &leadTape{tape: tape{a: a, now: monday}, queueing: newQueueing(seed)}
}

func (p *leadTape) play(n int) {
	for range n {
		p.now = p.now.Add(15 * time.Second)
		depth, late := p.next()
		if p.absurd != nil {
			if d, l := p.absurd(p.i); !math.IsNaN(d) {
				depth, late = d, l
			}
		}
		p.i++
		p.a.Observe(queue, p.now, depth)
		p.a.Observe(latency, p.now, late)
		if p.now.Second()%30 == 0 {
			p.look()
		}
	}
}

// of gives what was resolved of a rule.
func (p *tape) of(rule string) (out []grace.Prediction) {
	for _, r := range p.all.Resolved {
		if r.Rule == rule {
			out = append(out, r)
		}
	}
	return out
}

const (
	day15     = 24 * 3600 / 15 // samples of a day
	learned15 = 11 * day15     // after so many it is known what leads
)

// A queue that surges foretells the latency that follows it by four minutes, which no trend
// shows; and what comes true opens the gate.
func TestLeadForesees(t *testing.T) {
	p := newLeadTape(1, dependsOn("broker"))
	p.play(14 * day15)
	leads := map[string][]time.Duration{}
	falses := 0
	for _, r := range p.all.Resolved {
		if r.Outcome == grace.PredictionTruePositive {
			leads[r.Rule] = append(leads[r.Rule], r.Lead.D())
		}
		if r.Outcome == grace.PredictionFalsePositive && r.Rule == "lead" {
			falses++
		}
	}
	for _, of := range leads {
		slices.Sort(of)
	}
	of := leads["lead"]
	t.Logf("lead %v, %d false; trend %v", of, falses, leads["trend"])
	if len(of) < 15 || of[len(of)/4] < 3*time.Minute || falses > len(of)/5 {
		t.Errorf("foreseen %d, %d false, leads %v", len(of), falses, of)
	}
	if trend := leads["trend"]; len(trend) > 0 && trend[len(trend)-1] >= 3*time.Minute {
		t.Errorf("trend foresees it as well: %v", trend)
	}
	first, last := p.of("lead")[0], p.of("lead")[len(p.of("lead"))-1]
	if first.Published != nil || last.Published == nil {
		t.Errorf("the first was published %v, the last %v", first.Published, last.Published)
	}
	want := `queue_depth{queue="mail"} of broker leads by 4 min: r = 0.`
	if len(last.Evidence) != 2 || !strings.HasPrefix(last.Evidence[0], want) || last.Service != "cart" || last.Metric != "latency_ms" {
		t.Errorf("%+v", last)
	}
	if last.Low >= last.High || last.Until.Sub(*last.Published) > 5*time.Minute {
		t.Errorf("%+v", last)
	}
	for _, r := range p.all.Resolved {
		if r.Breach != nil && r.Service == "cart" && !slices.Contains(r.Evaluated, "lead") {
			t.Errorf("a breach that lead looked at: %v", r.Evaluated)
		}
	}
}

// The latency goes on to follow a queue that nobody says it depends on: nothing is said.
func TestNoLeadOfAStranger(t *testing.T) {
	p := newLeadTape(1, dependsOn("elsewhere"))
	p.play(14 * day15)
	if n := len(p.of("lead")); n != 0 || len(p.a.leads.followers) != 0 {
		t.Errorf("%d resolved, %d followers", n, len(p.a.leads.followers))
	}
}

// claimed tells whether there is one of the rule.
func claimed(list []grace.Prediction) bool {
	return slices.ContainsFunc(list, func(r grace.Prediction) bool { return r.Rule == "lead" })
}

// lineOf gives what is known at four minutes of the queue and the latency.
func (p *leadTape) lineOf(t *testing.T) relationLine {
	t.Helper()
	for _, f := range p.a.leads.followers {
		if f.series.name() == (Series{Service: "cart", Metric: "latency_ms", Judged: true}) {
			line, ok := f.leaders[0].relations[3].counts(leadLags)
			if !ok {
				t.Fatalf("nothing is known: %+v", f.leaders[0].relations[3])
			}
			return line
		}
	}
	t.Fatal("no follower")
	return relationLine{}
}

// Absurd values, values that are none, a day without any and times that do not go on leave
// what is known as it was.
func TestLeadAfterAbsurdValues(t *testing.T) {
	base := newLeadTape(1, dependsOn("broker"))
	base.play(14 * day15)
	want := base.lineOf(t)
	nan := math.NaN()
	for name, absurd := range map[string]func(i int) (depth, latency float64){
		"spikes of the leader": func(i int) (float64, float64) {
			if i%17500 == 1000 && i > day15 {
				return 1e9, flat(i)
			}
			return nan, nan
		},
		"spikes of both": func(i int) (float64, float64) {
			if i%17500 == 1000 && i > day15 {
				return -1e300, 1e300
			}
			return nan, nan
		},
		"no numbers": func(i int) (float64, float64) {
			if i%100 == 50 {
				return math.Inf(1), math.Inf(-1)
			}
			return nan, nan
		},
	} {
		p := newLeadTape(1, dependsOn("broker"))
		p.absurd = absurd
		p.play(14 * day15)
		if got := p.lineOf(t); !(math.Abs(got.slope/want.slope-1) <= 0.15 && got.r >= 0.8*want.r) {
			t.Errorf("%s: slope %v, r %v; without %v, %v", name, got.slope, got.r, want.slope, want.r)
		}
	}
	// One of the first day, of which the hours know no better, makes them coarse.
	p := newLeadTape(1, dependsOn("broker"))
	p.absurd = func(i int) (depth, latency float64) {
		if i == day15-10 {
			return 1e9, 1e9
		}
		return nan, nan
	}
	p.play(14 * day15)
	if got := p.lineOf(t); !(math.Abs(got.slope/want.slope-1) <= 0.4 && got.r >= 0.8*want.r) {
		t.Errorf("one of the first day: slope %v, r %v; without %v, %v", got.slope, got.r, want.slope, want.r)
	}

	p = newLeadTape(1, dependsOn("broker"))
	p.play(learned15)
	before := p.lineOf(t)
	p.now = p.now.Add(24 * time.Hour)
	p.look()
	p.now = p.now.Add(-25 * time.Hour) // the clock was set back: nothing is newer
	p.play(day15 / 48)
	if got := p.lineOf(t); got != before {
		t.Errorf("%+v, before a day without values %+v", got, before)
	}
	p.now = p.now.Add(25 * time.Hour)
	p.play(day15)
	if got := p.lineOf(t); !(math.Abs(got.slope/before.slope-1) <= 0.15) {
		t.Errorf("slope %v, before a day without values %v", got.slope, before.slope)
	}
}

// Whatever comes, what is said has finite numbers.
func TestAnythingLeads(t *testing.T) {
	said := 0
	for seed := range uint64(12) {
		p := newLeadTape(seed, dependsOn("broker"))
		p.play(learned15)
		r := rand.New(rand.NewPCG(seed, 4))
		anything := func() float64 {
			odd := []float64{math.NaN(), math.Inf(1), math.MaxFloat64, -math.MaxFloat64, math.SmallestNonzeroFloat64, 0}
			if i := r.IntN(20); i < len(odd) {
				return odd[i]
			}
			return 400 * r.Float64()
		}
		p.all = Result{}
		for range 500 {
			p.now = p.now.Add(time.Duration(r.Int64N(40)-1) * time.Second)
			if r.IntN(100) == 0 {
				p.now = p.now.Add(time.Duration(r.Int64N(int64(3 * 24 * time.Hour))))
			}
			p.a.Observe(queue, p.now, anything())
			p.a.Observe(latency, p.now, anything())
			p.look()
		}
		for _, r := range slices.Concat(p.all.Shadow, p.all.Advice, p.all.Published) {
			for _, f := range []float64{r.Likelihood, r.Low, r.High, r.Value} {
				if math.IsNaN(f) || math.IsInf(f, 0) {
					t.Fatalf("%+v", r)
				}
			}
			if r.Rule == "lead" {
				said++
			}
		}
	}
	if said == 0 {
		t.Error("nothing was said")
	}
}

// A clock that is set back does not stop what is learned until it has caught up.
func TestLeadAfterClockSetBack(t *testing.T) {
	p := newLeadTape(1, dependsOn("broker"))
	p.play(learned15)
	before := p.lineOf(t)
	p.now = p.now.Add(-30 * time.Hour)
	p.a.ClockSetBack(p.now)
	p.play(day15)
	if got := p.lineOf(t); !(math.Abs(got.slope/before.slope-1) <= 0.15 && got.r >= 0.8*before.r) {
		t.Errorf("slope %v, r %v; before %v, %v", got.slope, got.r, before.slope, before.r)
	}
	for _, f := range p.a.leads.followers {
		for _, l := range f.leaders {
			for i, r := range l.relations {
				if ago := p.now.UnixMilli() - r.at; i >= 1 && (ago < 0 || ago > time.Minute.Milliseconds()) {
					t.Errorf("lag %d learned nothing for %v", i, time.Duration(ago)*time.Millisecond)
				}
			}
		}
	}
}

// What is claimed is published again after a reload or a wake once the leader was measured
// anew too, and stands until then.
func TestLeadNeedsAFreshLeader(t *testing.T) {
	p := newLeadTape(1, dependsOn("broker"))
	p.play(learned15)
	for p.all = (Result{}); !claimed(p.all.Published); {
		p.play(2)
	}
	p.a.Since(p.now)
	depth, late := p.next()
	p.now = p.now.Add(15 * time.Second)
	p.a.Observe(latency, p.now, late)
	if r := p.look(); claimed(slices.Concat(r.Published, r.Retracted, r.Lost)) {
		t.Errorf("the leader is as it was: %+v", r)
	}
	p.a.Observe(queue, p.now, depth)
	p.now = p.now.Add(15 * time.Second)
	_, late = p.next()
	p.a.Observe(latency, p.now, late)
	if r := p.look(); !claimed(r.Published) {
		t.Errorf("%+v", r)
	}
}

// A leader that is not measured any more has not turned.
func TestLostLeader(t *testing.T) {
	p := newLeadTape(1, dependsOn("broker"))
	p.play(learned15)
	for p.all = (Result{}); !claimed(p.all.Published); {
		p.play(2)
	}
	for p.all = (Result{}); !claimed(p.all.Lost); {
		_, late := p.next()
		p.now = p.now.Add(15 * time.Second)
		p.a.Observe(latency, p.now, late)
		p.look()
		if claimed(p.all.Retracted) || claimed(p.all.Resolved) {
			t.Fatalf("%+v", p.all)
		}
	}
}
