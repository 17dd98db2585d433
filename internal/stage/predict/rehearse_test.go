package predict

import (
	"sync"
	"testing"
	"time"

	"grace"
	"grace/internal/forecast"
)

// rehearsed shows an agent leaks that end in a breach, one every three hours with a sample
// every 15 s, as the past of a series.
func rehearsed(a *Agent, from time.Time, leaks int) (all Result, end time.Time) {
	var w forecast.Workspace
	end = from
	for range leaks {
		for i := range 3 * 240 {
			end = end.Add(15 * time.Second)
			r := a.Rehearse(Series{Service: "cart", Metric: "latency_ms"}, end, leak(i), func(r *Refit) { r.Run(&w, forecast.Default()) })
			all.Resolved = append(all.Resolved, r.Resolved...)
			all.Published = append(all.Published, r.Published...)
			all.Advice = append(all.Advice, r.Advice...)
			all.Shadow = append(all.Shadow, r.Shadow...)
		}
	}
	return all, end
}

// leak rises for 20 minutes in the third hour, and is mended then.
func leak(i int) float64 {
	if i -= 480; i < 0 || i > 90 {
		return 200 + 4*noise(i)
	}
	return 200 + 4*float64(i) + 4*noise(i)
}

// A past that is rehearsed is a record: what acts has earned it when the watch begins, and
// nothing of the past is said.
func TestRehearse(t *testing.T) {
	cfg := DefaultConfig()
	a := New(cfg, []Target{target()}, NewGate(cfg.Gate, &sync.Mutex{}))
	past, now := rehearsed(a, start, 12)
	if n := len(past.Published) + len(past.Advice) + len(past.Shadow); n != 0 {
		t.Errorf("%d were said of the past", n)
	}
	hits := 0
	for _, p := range past.Resolved {
		if !p.Rehearsed || p.Published != nil || p.Advised != nil {
			t.Errorf("%+v", p)
		}
		if p.Rule == "trend" && p.Outcome == grace.PredictionTruePositive {
			hits++
		}
	}
	if hits != 12 {
		t.Errorf("%d of 12 leaks were foreseen", hits)
	}
	if records, missed := a.Stats(now); records[0].Made != 0 || missed != 0 || records[0].Precision < 0.8 {
		t.Errorf("%+v, %d missed", records[0], missed)
	}
	p := &tape{a: a, now: now}
	for i := range 3 * 240 {
		p.now = p.now.Add(15 * time.Second)
		a.Observe(Series{Service: "cart", Metric: "latency_ms"}, p.now, leak(i))
		p.look()
	}
	if len(p.all.Published) == 0 || p.all.Published[0].Published == nil {
		t.Errorf("what was right twelve times is not said: %+v", p.all)
	}
}

// After a restart the ledger knows what was rehearsed: nothing is counted twice, and what
// was made since goes on.
func TestRehearseAfterARestart(t *testing.T) {
	cfg := DefaultConfig()
	before := New(cfg, []Target{target()}, NewGate(cfg.Gate, &sync.Mutex{}))
	past, _ := rehearsed(before, start, 4)
	after := New(cfg, []Target{target()}, NewGate(cfg.Gate, &sync.Mutex{}))
	for _, p := range past.Resolved {
		after.gate.Learn(p)
	}
	after.Restore(past.Resolved)
	again, now := rehearsed(after, start, 5)
	if len(again.Resolved) == 0 || !again.Resolved[0].Made.After(start.Add(12*time.Hour)) {
		t.Errorf("of the fifth leak, which the ledger does not know: %+v", again.Resolved)
	}
	if was, is := before.gate.record("trend", "cart"), after.gate.record("trend", "cart"); is.right > was.right+1.01 {
		t.Errorf("%v right before, %v after the fifth", was.right, is.right)
	}
	after.Prune(now.Add(time.Hour), now)
	if len(after.taught) != 0 || len(after.breaches) != 0 {
		t.Errorf("%d and %d are kept", len(after.taught), len(after.breaches))
	}
	open := grace.Prediction{
		Service: "cart", Metric: "latency_ms", Code: grace.CodeLatencySpike, Rule: "trend", Threshold: 500, Outcome: grace.PredictionOpen,
		Made: now.Add(time.Minute), At: now.Add(time.Minute), Until: now.Add(10 * time.Minute),
	}
	third := New(cfg, []Target{target()}, NewGate(cfg.Gate, &sync.Mutex{}))
	third.Restore([]grace.Prediction{open})
	if r, _ := rehearsed(third, start, 2); len(r.Resolved) != 0 {
		t.Errorf("a claim that stands is held to what was before: %+v", r.Resolved)
	}
}

// What is rehearsed aside while the series is watched becomes its past.
func TestRehearseAside(t *testing.T) {
	cfg := DefaultConfig()
	a := New(cfg, []Target{target()}, NewGate(cfg.Gate, &sync.Mutex{}))
	aside := a.Aside()
	_, now := rehearsed(aside, start, 12)
	p := &tape{a: a, now: now}
	watch := func(from, to int) {
		for i := from; i < to; i++ {
			p.now = p.now.Add(15 * time.Second)
			a.Observe(Series{Service: "cart", Metric: "latency_ms"}, p.now, leak(i))
			p.look()
		}
	}
	watch(0, 50)
	a.Adopt(aside)
	s := a.at(0)
	if a.Len() != 1 || s.hours.known < 30 || s.ring.last() != p.now.UnixMilli() || s.ring.newest() != aside.at(0).ring.newest() {
		t.Errorf("%d series, %d hours, newest %v", a.Len(), s.hours.known, s.ring.newest())
	}
	watch(50, 3*240)
	if len(p.all.Published) == 0 {
		t.Error("what was right twelve times is not said")
	}
	hits := 0
	for _, r := range p.all.Resolved {
		if r.Rule == "trend" && r.Outcome == grace.PredictionTruePositive && !r.Rehearsed {
			hits++
		}
	}
	if hits != 1 {
		t.Errorf("the leak was foreseen %d times", hits)
	}
}

// A claim that was published before a restart, and whose breach came while nobody watched,
// came true: the past that is adopted says so, once.
func TestAdoptKeepsItsWord(t *testing.T) {
	cfg := DefaultConfig()
	made := start.Add(3 * time.Hour)
	said := grace.Prediction{
		ID: "x", Service: "cart", Metric: "latency_ms", Code: grace.CodeLatencySpike, Rule: "trend", Threshold: 500, Outcome: grace.PredictionOpen,
		Made: made, Published: &made, At: made, Until: made.Add(30 * time.Minute), Score: 0.9, Likelihood: 0.9, Scored: true,
	}
	a := New(cfg, []Target{target()}, NewGate(cfg.Gate, noLock{}))
	a.Restore([]grace.Prediction{said})
	a.Observe(Series{Service: "cart", Metric: "latency_ms"}, made.Add(20*time.Minute), 600)
	aside := a.Aside()
	now := start
	for now.Before(made.Add(19 * time.Minute)) {
		now = now.Add(15 * time.Second)
		v := 200.0
		if now.After(made.Add(10 * time.Minute)) {
			v = 600
		}
		aside.Rehearse(Series{Service: "cart", Metric: "latency_ms"}, now, v, func(*Refit) {})
	}
	a.Adopt(aside)
	p := &tape{a: a, now: made.Add(20 * time.Minute)}
	for range 400 {
		p.now = p.now.Add(15 * time.Second)
		a.Observe(Series{Service: "cart", Metric: "latency_ms"}, p.now, 200)
		p.look()
	}
	if got := p.outcomes(); len(got) != 1 || got[0] != "trend true_positive" {
		t.Errorf("%q", got)
	}
	// What is gone through again teaches nothing more.
	again := a.Aside()
	if again.taught[identity{seriesID{"cart", "latency_ms"}, ""}] != aside.lately[identity{seriesID{"cart", "latency_ms"}, ""}] {
		t.Error("what was rehearsed is forgotten")
	}
}

// A series of the past is looked at as of then, and one that has ended is closed.
func TestThePastIsNotLookedAtAsOfNow(t *testing.T) {
	cfg := DefaultConfig()
	a := New(cfg, []Target{target()}, NewGate(cfg.Gate, noLock{}))
	_, end := rehearsed(a, start, 1)
	if r := a.Evaluate(end.Add(30 * 24 * time.Hour)); !r.Empty() {
		t.Errorf("%+v", r)
	}
	now := end.Add(30 * 24 * time.Hour)
	for i := range 200 { // by its handle: it is watched again
		now = now.Add(15 * time.Second)
		a.Append(0, now.UnixMilli(), 200+1.5*float64(i))
	}
	if r := a.Evaluate(now); len(r.Shadow)+len(r.Advice)+len(r.Published) == 0 {
		t.Error("what is watched again is not looked at")
	}
	a.at(0).watches[0].open = nil
	a.Prune(end, now.Add(25*time.Hour))
	if a.Len() != 0 {
		t.Errorf("%d series are open", a.Len())
	}
}
