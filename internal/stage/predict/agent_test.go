package predict

import (
	"fmt"
	"math"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"grace"
	"grace/internal/breach"
	"grace/internal/forecast"
)

// tape plays samples every 5 s into an agent that is asked every 30 s, from a
// start on, and gathers what it says.
type tape struct {
	a   *Agent
	now time.Time
	all Result
}

func (p *tape) play(n int, value func(i int) float64) {
	for i := range n {
		p.now = p.now.Add(5 * time.Second)
		p.a.Observe(Series{Service: "cart", Metric: "latency_ms"}, p.now, value(i))
		if p.now.Second()%30 == 0 {
			p.look()
		}
	}
}

func (p *tape) look() Result {
	r := p.a.Evaluate(p.now)
	p.all.Published = append(p.all.Published, r.Published...)
	p.all.Shadow = append(p.all.Shadow, r.Shadow...)
	p.all.Advice = append(p.all.Advice, r.Advice...)
	p.all.Withdrawn = append(p.all.Withdrawn, r.Withdrawn...)
	p.all.Lost = append(p.all.Lost, r.Lost...)
	p.all.Retracted = append(p.all.Retracted, r.Retracted...)
	p.all.Resolved = append(p.all.Resolved, r.Resolved...)
	p.all.Suspended = append(p.all.Suspended, r.Suspended...)
	return r
}

// outcomes of what was resolved, by rule.
func (p *tape) outcomes() []string {
	var out []string
	for _, r := range p.all.Resolved {
		out = append(out, r.Rule+" "+string(r.Outcome))
	}
	return out
}

// earned makes an agent whose gate has a record: trend was right twenty times, elsewhere.
func earned(cfg Config, targets []Target) *Agent {
	gate := NewGate(cfg.Gate, &sync.Mutex{})
	for i := range 20 {
		gate.learn(&Series{Service: "elsewhere", Metric: fmt.Sprint(i)}, verdict{rule: 0, score: 0.9, came: true, at: start.UnixMilli()})
	}
	return New(cfg, targets, gate)
}

// record of a rule on a service's series.
func (g *Gate) record(rule string, service grace.ServiceID) (t tally) {
	for k, one := range g.series {
		if k.service == service && int(k.rule) == ruleNumber(rule) {
			t.right, t.wrong = t.right+one.right, t.wrong+one.wrong
		}
	}
	return t
}

func flat(i int) float64 { return 200 + 4*noise(i) }

func rise(i int) float64 { return 200 + 3*float64(i) + 4*noise(i) }

func TestOutcomes(t *testing.T) {
	for _, tt := range []struct {
		name string
		play func(p *tape)
		want []string
	}{
		{"hit", func(p *tape) { p.play(130, rise) }, []string{"trend true_positive"}},
		{"false", func(p *tape) {
			p.play(60, rise)
			p.play(400, flat)
		}, []string{"trend false_positive"}},
		{"prevented", func(p *tape) {
			p.play(60, rise)
			p.a.Acted("cart", "r-1")
			p.play(400, flat)
		}, []string{"trend prevented"}},
		{"a run on another service", func(p *tape) {
			p.play(60, rise)
			p.a.Acted("web", "r-1")
			p.play(400, flat)
		}, []string{"trend false_positive"}},
		{"no data", func(p *tape) {
			p.play(60, rise)
			p.now = p.now.Add(time.Hour)
			p.look()
		}, []string{"trend unresolved"}},
		{"miss", func(p *tape) { p.play(10, func(int) float64 { return 700 }) }, []string{" false_negative"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &tape{a: earned(DefaultConfig(), []Target{target()}), now: start}
			p.play(60, flat)
			tt.play(p)
			if diff := cmp.Diff(tt.want, p.outcomes()); diff != "" {
				t.Fatal(diff)
			}
			r := p.all.Resolved[0]
			if r.Resolved == nil || r.ID == "" || (r.Outcome == grace.PredictionTruePositive) != (r.Lead > 0) {
				t.Errorf("%+v", r)
			}
			if r.Outcome == grace.PredictionPrevented && (r.Run != "r-1" || !r.WouldBreach) {
				t.Errorf("%+v", r)
			}
		})
	}
}

// A prediction that is said again is the same entry, whether it stands or has
// turned, until it is resolved.
func TestOneEntryAnEpisode(t *testing.T) {
	p := &tape{a: earned(DefaultConfig(), []Target{target()}), now: start}
	p.play(60, flat)
	p.play(60, rise)
	p.play(60, flat)
	if len(p.all.Published) < 3 || len(p.all.Retracted) != 1 {
		t.Fatalf("said %d times, turned %d times", len(p.all.Published), len(p.all.Retracted))
	}
	for _, s := range p.all.Published {
		if s.ID != p.all.Published[0].ID || s.Published == nil || s.Rule != "trend" || len(s.Evidence) != 2 {
			t.Errorf("%+v", s)
		}
	}
	if late := p.all.Published[0].At.Sub(start.Add(5 * time.Minute)); late > 2*time.Minute {
		t.Errorf("after a long calm the rise is seen %s late", late)
	}
}

// What was measured before the configuration changed, or the process woke, is no
// reason to speak, neither of a claim that was published nor of a new one; with the
// next point both are.
func TestSince(t *testing.T) {
	for name, before := range map[string]int{"published before": 70, "new": 0} {
		t.Run(name, func(t *testing.T) {
			p := &tape{a: earned(DefaultConfig(), []Target{target()}), now: start}
			p.play(60, flat)
			p.play(before, rise)
			if (len(p.all.Published) > 0) != (before > 0) {
				t.Fatalf("said %d times", len(p.all.Published))
			}
			for i := before; i < 71; i++ { // without a look
				p.now = p.now.Add(5 * time.Second)
				p.a.Observe(Series{Service: "cart", Metric: "latency_ms"}, p.now, rise(i))
			}
			p.a.Since(p.now.Add(20 * time.Second))
			p.now = p.now.Add(21 * time.Second)
			if r := p.look(); len(r.Published)+len(r.Retracted)+len(r.Lost) > 0 {
				t.Errorf("before a newer point: %+v", r)
			}
			p.a.Observe(Series{Service: "cart", Metric: "latency_ms"}, p.now, rise(75))
			if r := p.look(); len(r.Published) != 1 || r.Published[0].Published == nil {
				t.Errorf("with a newer point: %+v", r)
			}
		})
	}
}

// A claim whose series has no data any more has not turned: it is lost. Back again,
// it goes on.
func TestLost(t *testing.T) {
	p := &tape{a: earned(DefaultConfig(), []Target{target()}), now: start}
	of := Series{Service: "cart", Metric: "latency_ms"}
	p.play(60, flat)
	if p.a.Claimed(of) {
		t.Error("something is claimed of what is flat")
	}
	p.play(70, rise)
	if !p.a.Claimed(of) || p.a.Claimed(Series{Service: "cart", Metric: "errors"}) {
		t.Error("what is claimed is of another series")
	}
	p.now = p.now.Add(2 * time.Minute)
	if r := p.look(); len(r.Lost) != 1 || len(r.Retracted) != 0 || r.Lost[0].Key != p.all.Published[0].Key {
		t.Fatalf("without data: %+v", r)
	}
	if r := p.look(); !r.Empty() {
		t.Errorf("said twice: %+v", r)
	}
	p.a.Observe(Series{Service: "cart", Metric: "latency_ms"}, p.now, rise(94))
	if r := p.look(); len(r.Published) != 1 || r.Published[0].ID != p.all.Published[0].ID {
		t.Errorf("it is measured again: %+v", r)
	}
}

func TestSilence(t *testing.T) {
	p := &tape{a: earned(DefaultConfig(), []Target{target()}), now: start}
	p.a.Silence(true)
	p.play(60, flat)
	p.play(130, rise)
	if len(p.all.Published) == 0 || p.all.Published[0].Published != nil || !p.all.Published[0].Scored {
		t.Fatalf("%+v", p.all.Published)
	}
	if diff := cmp.Diff([]string{"trend true_positive", " false_negative"}, p.outcomes()); diff != "" {
		t.Error(diff)
	}
	if !p.all.Resolved[1].Foreseen {
		t.Error("a miss that was foreseen in shadow does not say so")
	}
	records, missed := p.a.Stats(p.now)
	if records[0].Abstained != 1 || records[0].Published != 0 || missed != 1 {
		t.Errorf("%+v, %d missed", records[0], missed)
	}
}

// The ledger is all that a restart needs.
func TestRestore(t *testing.T) {
	cfg := DefaultConfig()
	p := &tape{a: earned(cfg, []Target{target()}), now: start}
	for range 4 { // rises that end
		p.play(60, flat)
		p.play(60, rise)
		p.play(700, flat)
	}
	p.play(60, rise)
	entries := append([]grace.Prediction{}, p.all.Resolved...)
	open := p.all.Shadow[len(p.all.Shadow)-1]
	entries = append(entries, open)

	after := &tape{a: earned(cfg, []Target{target()}), now: p.now}
	after.a.Restore(entries)
	for _, e := range entries {
		after.a.gate.Learn(e)
	}
	after.play(60, flat)
	was, is := p.a.gate.record("trend", "cart"), after.a.gate.record("trend", "cart")
	if math.Abs(float64(was.wrong-is.wrong)) > 0.01 || is.wrong < 1 {
		t.Errorf("records %+v, restored %+v", was, is)
	}
	after.play(400, flat)
	if len(after.all.Resolved) != 1 || after.all.Resolved[0].ID != open.ID {
		t.Errorf("open %s, resolved %+v", open.ID, after.all.Resolved)
	}
}

func TestForetell(t *testing.T) {
	p := &tape{a: earned(DefaultConfig(), []Target{target()}), now: start}
	p.play(20, flat)
	said := grace.Prediction{
		Key: "cart/ann/latency_ms", Service: "cart", Metric: "latency_ms", Code: grace.CodeLatencySpike, Likelihood: 0.9,
		BreachAt: p.now.Add(5 * time.Minute), At: p.now,
	}
	entry, ok := p.a.Foretell(said, p.now)
	if !ok || entry.Rule != RuleExternal || entry.Published == nil || entry.Key != said.Key {
		t.Fatalf("%v %+v", ok, entry)
	}
	p.play(400, flat)
	if diff := cmp.Diff([]string{"external false_positive"}, p.outcomes()); diff != "" {
		t.Error(diff)
	}
	if _, ok := p.a.Foretell(grace.Prediction{Service: "cart", Metric: "unknown"}, p.now); ok {
		t.Error("held to account though nobody measures it")
	}
}

// A breach names the rules that look at the series: others have not missed it.
func TestLookers(t *testing.T) {
	p := &tape{a: earned(DefaultConfig(), []Target{target()}), now: start}
	p.play(20, flat)
	p.play(4, func(int) float64 { return 900 })
	if len(p.all.Resolved) == 0 {
		p.look()
	}
	if len(p.all.Resolved) != 1 {
		t.Fatalf("%+v", p.all.Resolved)
	}
	if diff := cmp.Diff([]string{"trend", "early"}, p.all.Resolved[0].Evaluated); diff != "" {
		t.Error(diff)
	}
	_, all := watched(t, false, 5*1440, 5*1440-100, func(i int) float64 { return rhythm(i) + float64(i/(5*1440-30))*500 })
	if n := len(all.Resolved); n == 0 {
		t.Fatal("no breach of what was learned")
	}
	for _, r := range all.Resolved {
		if diff := cmp.Diff([]string{"trend_learned", "anomaly"}, r.Evaluated); r.Breach != nil && diff != "" {
			t.Error(diff)
		}
	}
}

// A rule that is wrong on a series falls silent there.
func TestWrongSeriesFallsSilent(t *testing.T) {
	p := &tape{a: earned(DefaultConfig(), []Target{target()}), now: start}
	for range 8 {
		p.play(60, flat)
		p.play(60, rise)
		p.play(300, flat)
	}
	published := map[string]bool{}
	for _, s := range p.all.Published {
		published[s.ID] = true
	}
	if len(published) != 1 || len(p.all.Shadow) < 5 {
		t.Errorf("spoke %d times, %d times in shadow", len(published), len(p.all.Shadow))
	}
}

func TestHandles(t *testing.T) {
	a := earned(DefaultConfig(), []Target{target()})
	name := Series{Service: "cart", Metric: "latency_ms", Labels: `{route="/"}`, Role: grace.RoleLatency}
	h := a.Open(name)
	if a.Open(name) != h || a.Len() != 1 {
		t.Error("the same series has two handles")
	}
	at := start.UnixMilli()
	for i := range 60 {
		at += 5000
		a.Append(h, at, rise(i))
	}
	a.Append(h, at, 1e9)
	a.Append(h, at+1, math.Inf(1))
	r := a.Evaluate(time.UnixMilli(at))
	if len(r.Published) != 1 || r.Published[0].Series != name.Labels || r.Published[0].Role != grace.RoleLatency {
		t.Fatalf("%+v", r)
	}
	a.Close(h)
	a.Close(h)
	a.Append(h, at+5000, 1)
	if r := a.Evaluate(time.UnixMilli(at)); len(r.Resolved) != 1 || r.Resolved[0].Outcome != grace.PredictionUnresolved {
		t.Errorf("%+v", r)
	}
	if h2 := a.Open(Series{Service: "web", Metric: "x"}); h2 != h || a.Len() != 1 {
		t.Error("the place is not used again")
	}
}

func TestStep(t *testing.T) {
	a := earned(DefaultConfig(), []Target{target()})
	at := start.UnixMilli()
	const n = 1000
	for s := range n {
		h := a.Open(Series{Service: "cart", Metric: "latency_ms", Labels: fmt.Sprintf(`{n="%d"}`, s)})
		for i := range 40 {
			a.Append(h, at+int64(i)*5000, rise(i))
		}
	}
	said, steps := 0, 0
	for done := false; !done; steps++ {
		var r Result
		r, done = a.Step(time.UnixMilli(at+200000), 300)
		said += len(r.Published) + len(r.Shadow) + len(r.Advice)
	}
	if said != n || steps != 4 {
		t.Errorf("%d said in %d steps", said, steps)
	}
}

// Two weeks with a daily rhythm, then an evening far beyond it.
func TestLearnedThreshold(t *testing.T) {
	a := earned(DefaultConfig(), nil)
	h := a.Open(Series{Service: "cart", Metric: "p99", Labels: "{}", Role: grace.RoleLatency, Unit: "ms"})
	at := start.Truncate(24 * time.Hour)
	usual := func(i int) float64 {
		return 100 + 50*math.Sin(2*math.Pi*float64(i%1440)/1440) + 3*noise(i)
	}
	for i := range 14 * 1440 {
		a.Append(h, at.Add(time.Duration(i)*time.Minute).UnixMilli(), usual(i))
		if i%15 == 0 {
			a.Evaluate(at.Add(time.Duration(i) * time.Minute))
		}
	}
	s := a.at(h)
	if len(s.watches) != 1 || !s.watches[0].learned {
		t.Fatalf("%+v", s.watches)
	}
	w := &s.watches[0]
	if w.breach.ended != 0 {
		t.Error("the usual passed the threshold")
	}
	got, want := w.threshold, usual(14*1440)
	if got < want || got > want+60 {
		t.Errorf("threshold %v where %v is usual", got, want)
	}
	for i := range 10 {
		a.Append(h, at.Add(time.Duration(14*1440+i)*time.Minute).UnixMilli(), 400)
	}
	r := a.Evaluate(at.Add(14*24*time.Hour + 10*time.Minute))
	if len(r.Resolved) != 1 || r.Resolved[0].Outcome != grace.PredictionFalseNegative || !r.Resolved[0].Learned {
		t.Errorf("%+v", r)
	}
}

// A disk that fills, seen from its hours, is claimed days ahead.
func TestCapacity(t *testing.T) {
	limit := Target{Service: "db", Metric: "disk", Op: ">", Threshold: 90, Code: grace.CodeCapacity}
	a := earned(DefaultConfig(), []Target{limit})
	h := a.Open(Series{Service: "db", Metric: "disk", Role: grace.RoleCapacity})
	at := start
	for i := range 20 * 24 * 4 {
		at = at.Add(15 * time.Minute)
		a.Append(h, at.UnixMilli(), 10+0.04*float64(i)+0.5*noise(i))
	}
	var refit Refit
	var w forecast.Workspace
	if !a.NextRefit(&refit, 10) {
		t.Fatal("there is nothing to forecast")
	}
	refit.Run(&w, forecast.Default())
	a.Refitted(&refit)
	if a.NextRefit(&refit, 10) {
		t.Error("forecast twice in an hour")
	}
	r := a.Evaluate(at)
	found := false
	for _, p := range append(append(r.Published, r.Shadow...), r.Advice...) {
		found = found || p.Rule == "capacity" && p.BreachAt.After(at) && p.BreachAt.Before(at.Add(50*time.Hour))
	}
	if !found {
		t.Errorf("%+v", r)
	}
}

func TestRing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base := rapid.Float64Range(-1e9, 1e9).Draw(t, "base")
		n := rapid.IntRange(1, 300).Draw(t, "n")
		var r ring
		var values []float64
		var times []int64
		at := int64(1_700_000_000_000)
		for range n {
			at += rapid.Int64Range(1, 100_000).Draw(t, "step")
			v := base + rapid.Float64Range(-1000, 1000).Draw(t, "v")
			r.append(at, v)
			values, times = append(values, v), append(times, at)
		}
		var work scratch
		gotT, gotV := r.unpack(finePoints, work.times[:], work.values[:])
		from := max(n-finePoints, 0)
		for i := range gotV {
			if math.Abs(gotV[i]-values[from+i]) > 1e-3 || math.Abs(gotT[i]-float64(times[from+i]-at)/1000) > 1e-6 {
				t.Fatalf("point %d: (%v, %v), want (%v, %v)", i, gotT[i], gotV[i], times[from+i]-at, values[from+i])
			}
		}
	})
}

func TestHours(t *testing.T) {
	var h hours
	at := int64(1_700_000_400_000)
	value := func(hour int) float64 { return 1e6 + 100*float64(hour) }
	for hour := range 800 {
		if hour%50 == 7 {
			continue
		}
		for i := range int64(4) {
			h.append(at+int64(hour)*hourLength+i*600_000, value(hour)+float64(i)-1.5)
		}
	}
	got, first := h.history(make([]float64, hourlyPoints))
	if len(got) != hourlyPoints-1 {
		t.Fatalf("%d hours", len(got))
	}
	begin := int((first - at + hourLength/2) / hourLength)
	for i, v := range got {
		hour := begin + i
		switch {
		case hour%50 == 7:
			if !math.IsNaN(v) {
				t.Errorf("hour %d has no sample and is %v", hour, v)
			}
		case math.Abs(v-value(hour)) > 5:
			t.Errorf("hour %d is %v, want %v", hour, v, value(hour))
		}
	}
}

// Nothing that comes from outside may harm: whatever is appended, what is said
// has finite numbers.
func TestAnythingGoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := earned(DefaultConfig(), []Target{target()})
		at := start
		for range rapid.IntRange(1, 200).Draw(t, "n") {
			at = at.Add(time.Duration(rapid.Int64Range(-1000, 1e13).Draw(t, "step")))
			v := rapid.OneOf(rapid.Float64(), rapid.Float64Range(0, 1000), rapid.Just(math.NaN()), rapid.Just(math.MaxFloat64)).Draw(t, "v")
			a.Observe(Series{Service: "cart", Metric: "latency_ms"}, at, v)
			r := a.Evaluate(at)
			for _, p := range append(append(r.Published, r.Shadow...), r.Advice...) {
				for _, f := range []float64{p.Likelihood, p.Low, p.High, p.Value} {
					if math.IsNaN(f) || math.IsInf(f, 0) {
						t.Fatalf("%+v", p)
					}
				}
			}
		}
	})
}

func TestSize(t *testing.T) {
	both := unsafe.Sizeof(series{}) + unsafe.Sizeof(watch{})
	for _, of := range []struct {
		threshold string
		size      uintptr
	}{
		{"set", both + unsafe.Sizeof(breach.State{}) + unsafe.Sizeof(outlook{})},
		{"learned", both + unsafe.Sizeof(oddness{})},
	} {
		t.Logf("a series with a threshold that is %s: %d bytes", of.threshold, of.size)
		if of.size > 2750 {
			t.Errorf("a series with a threshold that is %s takes %d bytes, more than 2,750", of.threshold, of.size)
		}
	}
	const page = 8192
	if size := unsafe.Sizeof([slab]series{}); (page-size%page)%page > size/100 {
		t.Errorf("%d series take %d bytes, which leave the last of their pages empty", slab, size)
	}
	if detection := unsafe.Sizeof(oddness{}); detection > 1024 {
		t.Errorf("detection takes %d bytes, more than 1 KiB", detection)
	}
}

func TestAppendDoesNotAllocate(t *testing.T) {
	for _, targets := range [][]Target{{target()}, nil} {
		a := earned(DefaultConfig(), targets)
		h := a.Open(Series{Service: "cart", Metric: "latency_ms", Role: grace.RoleLatency})
		at := start.UnixMilli()
		if n := testing.AllocsPerRun(10_000, func() {
			at += 60_000
			a.Append(h, at, 200+float64(at%50))
		}); n != 0 {
			t.Errorf("%v allocations a sample", n)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	for name, targets := range map[string][]Target{"set": {target()}, "learned": nil} {
		b.Run(name, func(b *testing.B) {
			a := earned(DefaultConfig(), targets)
			h := a.Open(Series{Service: "cart", Metric: "latency_ms", Role: grace.RoleLatency})
			at := start.UnixMilli()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				at += 5000
				a.Append(h, at, 200+float64(i%50))
			}
		})
	}
}

func BenchmarkStepOfCalmSeries(b *testing.B) {
	a := earned(DefaultConfig(), []Target{target()})
	at := start.UnixMilli()
	h := a.Open(Series{Service: "cart", Metric: "latency_ms"})
	for i := range 64 {
		a.Append(h, at+int64(i)*5000, 200-float64(i%7))
	}
	b.ReportAllocs()
	for i := int64(64); b.Loop(); i++ {
		a.Append(h, at+i*5000, 200-float64(i%7))
		a.Step(time.UnixMilli(at+i*5000), 1)
	}
}

// A gap, of a minute to days, is no trend and no breach, whatever level the series comes back
// on below its threshold, and what rises afterwards is foreseen.
func TestGaps(t *testing.T) {
	for _, gap := range []time.Duration{time.Minute, time.Hour, 7 * time.Hour, 3 * 24 * time.Hour} {
		for _, level := range []float64{0, 100, 280} {
			p := &tape{a: earned(DefaultConfig(), []Target{target()}), now: start}
			p.play(100, flat)
			p.now = p.now.Add(gap)
			p.play(150, func(i int) float64 { return flat(i) + level })
			if n := len(p.all.Published) + len(p.all.Shadow) + len(p.all.Advice) + len(p.all.Resolved); n != 0 {
				t.Errorf("%d said after a gap of %s and a step of %v: %+v", n, gap, level, p.all)
			}
			p.play(60, func(i int) float64 { return rise(i) - 100 })
			p.play(60, func(i int) float64 { return rise(60+i) - 100 })
			if len(p.all.Published) == 0 {
				t.Errorf("silent after a gap of %s and a step of %v", gap, level)
			}
		}
	}
}
