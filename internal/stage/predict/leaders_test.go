package predict

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"time"
	"unsafe"

	"grace"
	"grace/internal/forecast"
)

// many makes an agent of series with limits, opened in the order of their names or against it.
func many(names []Series, near func(grace.ServiceID) []grace.ServiceID, backwards bool) *Agent {
	var targets []Target
	for _, n := range names {
		t := Target{Service: n.Service, Metric: n.Metric, Op: ">", Threshold: 100, Code: grace.CodeCapacity}
		if !slices.ContainsFunc(targets, func(o Target) bool { return o.Service == t.Service && o.Metric == t.Metric }) {
			targets = append(targets, t)
		}
	}
	cfg := DefaultConfig()
	a := New(cfg, targets, NewGate(cfg.Gate, &sync.Mutex{}))
	a.Depend(near)
	for i := range names {
		if backwards {
			i = len(names) - 1 - i
		}
		a.judged(names[i])
	}
	a.relate()
	return a
}

// leadersOfService names the leaders of a service's first series.
func (a *Agent) leadersOfService(id grace.ServiceID) (out []string) {
	followers, _ := a.related()
	for _, s := range followers {
		if f := a.leads.followers[s]; s.name().Service == id && f != nil {
			for _, l := range f.leaders {
				out = append(out, string(l.series.name().Service)+" "+l.series.name().Metric+l.series.name().Labels)
			}
			return out
		}
	}
	return nil
}

// The leaders are the same whichever series came first: those of the nearest services, of
// every metric one before a second, and in turn with them those of the service itself.
func TestLeadersInOrder(t *testing.T) {
	var names []Series
	for i := range 9 {
		names = append(names, Series{Service: "api", Metric: fmt.Sprint("m", i)})
	}
	for _, labels := range []string{"a", "b", "c"} {
		names = append(names, Series{Service: "db", Metric: "io", Labels: labels}, Series{Service: "disk", Metric: "full", Labels: labels})
	}
	names = append(names, Series{Service: "db", Metric: "locks"}, Series{Service: "stranger", Metric: "x"})
	near := func(id grace.ServiceID) []grace.ServiceID {
		if id == "api" {
			return []grace.ServiceID{"db", "unmeasured", "disk"}
		}
		return nil
	}
	for _, backwards := range []bool{false, true} {
		a := many(names, near, backwards)
		for id, want := range map[grace.ServiceID][]string{
			"api":      {"db ioa", "api m1", "db locks", "api m2", "disk fulla", "api m3", "db iob", "api m4"},
			"db":       {"db locks", "db iob", "db ioc"}, // and not itself
			"stranger": nil,
		} {
			if got := a.leadersOfService(id); !slices.Equal(got, want) {
				t.Errorf("%s: %q, want %q", id, got, want)
			}
		}
	}
}

// However many series there are, the pairs are bounded, and shared evenly.
func TestLeadersAreBounded(t *testing.T) {
	var names []Series
	for i := range 1000 {
		for m := range 10 {
			names = append(names, Series{Service: grace.ServiceID(fmt.Sprint("s", i)), Metric: fmt.Sprint("m", m)})
		}
	}
	a := many(names, func(id grace.ServiceID) []grace.ServiceID { return []grace.ServiceID{"s0", "s1", "s2"} }, false)
	pairs := 0
	for _, f := range a.leads.followers {
		if pairs += len(f.leaders); len(f.leaders) == 0 || len(f.leaders) > 1 {
			t.Errorf("%d leaders, though others have none", len(f.leaders))
		}
	}
	if pairs != mostRelated {
		t.Errorf("%d pairs", pairs)
	}
}

// A pair of series takes less than a kilobyte, and one without leaders nothing.
func TestSizeOfLeaders(t *testing.T) {
	t.Logf("a pair takes %d bytes, a series of one %d", unsafe.Sizeof(leader{}), unsafe.Sizeof(peer{})+unsafe.Sizeof(follower{}))
	if unsafe.Sizeof(leader{}) > 1024 || unsafe.Sizeof(peer{})+unsafe.Sizeof(follower{}) > 1024 {
		t.Error("that is too much")
	}
	a := earned(DefaultConfig(), []Target{target()})
	a.Depend(dependsOn("broker"))
	a.Evaluate(feed(a, 60, flat))
	if len(a.leads.followers)+len(a.leads.peers) != 0 {
		t.Error("it has no leaders, but takes room")
	}
}

// What was then is not what came later, nor what was long before.
func TestRecent(t *testing.T) {
	m := peer{series: &series{}, clock: &clock{zone: time.UTC}, width: 1e9}
	at := start.UnixMilli()
	for _, p := range []struct {
		after int64 // s
		v     float64
	}{{0, 1}, {15, 2}, {30, 900}, {45, 3}, {300, 4}, {315, 5}, {330, 6}} {
		m.series.ring.append(at+p.after*1000, p.v)
	}
	for after, want := range map[int64]float64{
		-1: math.NaN(), 15: math.NaN(), // fewer than three
		30: 2, 44: 2, 45: 3, 60: 3, // the middle of three
		150: math.NaN(),                  // too old
		300: math.NaN(), 329: math.NaN(), // the oldest of three is
		330: 5, 360: 5,
	} {
		if got := m.recent(at+after*1000, 60_000); got != want && !(math.IsNaN(got) && math.IsNaN(want)) {
			t.Errorf("%d s: %v, want %v", after, got, want)
		}
	}
}

// What is usual is that of the hour by the clock of the service, also when it is changed, of
// working days and of others.
func TestUsualOfTheDay(t *testing.T) {
	for _, name := range []string{"UTC", "Asia/Tokyo", "America/New_York"} { // New York changes it on the 8th
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		p := peer{series: &series{}, clock: &clock{zone: zone}}
		value := func(at time.Time) float64 {
			at = at.In(zone)
			v := float64(at.Hour())
			if day := at.Weekday(); day == time.Saturday || day == time.Sunday {
				v += 100
			}
			return v
		}
		for i := range 10 * 24 {
			at := monday.Add(time.Duration(i) * time.Hour)
			p.series.hours.append(at.UnixMilli(), value(at))
		}
		p.learnUsual(&scratch{})
		for i := range 7 * 24 {
			middle := monday.Add(time.Duration(14*24+i)*time.Hour + 30*time.Minute)
			if got := p.usualAt(middle.UnixMilli()); !(math.Abs(got-value(middle)) <= 0.01) {
				t.Errorf("%s: %v: %v", name, middle, got)
			}
		}
		noon := time.Date(2026, 3, 18, 12, 0, 0, 0, zone)
		if got := p.usualAt(noon.UnixMilli()); !(math.Abs(got-11.5) <= 0.01) {
			t.Errorf("%s: between two hours: %v", name, got)
		}
		if !(math.Abs(p.swing-123) <= 0.01) {
			t.Errorf("%s: swing %v", name, p.swing)
		}
	}
}

// The backtest lives through all series together, so it learns what leads.
func TestBacktestOfLeads(t *testing.T) {
	var w forecast.Workspace
	b := NewBacktest(DefaultConfig(), leadTargets(), Zones{}, dependsOn("broker"), &sync.Mutex{}, func(r *Refit) { r.Run(&w, forecast.Default()) })
	q, at := newQueueing(1), monday
	for range 28 * day15 {
		at = at.Add(15 * time.Second)
		depth, late := q.next()
		b.Take(queue, at, depth)
		b.Take(latency, at, late)
	}
	for _, r := range b.Report().Rules {
		if r.Rule == "lead" {
			if r.Foreseen < r.Breaches/2 || r.Foreseen < 5 || r.MedianLead.D() < 3*time.Minute || r.FalsePositives > r.TruePositives/2 || len(r.Services) != 1 {
				t.Errorf("%+v", r)
			}
			return
		}
	}
	t.Error("lead says nothing")
}

// A dependency that is there no more, by a reload, is nothing to go by from then on: what was
// said of it ends, and nothing of it is kept.
func TestLeadWithoutTheEdge(t *testing.T) {
	p := newLeadTape(1, dependsOn("broker"))
	p.play(learned15)
	for p.all = (Result{}); !claimed(slices.Concat(p.all.Advice, p.all.Published)); {
		p.play(2)
	}
	before := p.lineOf(t)
	p.a.Reconfigure(DefaultConfig(), leadTargets()) // of something else
	p.look()
	if got := p.lineOf(t); got != before {
		t.Errorf("%+v, before the reload %+v", got, before)
	}
	p.a.Depend(dependsOn())
	r := p.look()
	if len(p.a.leads.followers)+len(p.a.leads.peers) != 0 || !claimed(slices.Concat(r.Retracted, r.Withdrawn)) {
		t.Errorf("%d followers, %d members are left; %+v", len(p.a.leads.followers), len(p.a.leads.peers), r)
	}
	p.all = Result{}
	p.play(day15)
	if claimed(slices.Concat(p.all.Shadow, p.all.Advice, p.all.Published)) {
		t.Error("it is claimed without the dependency")
	}
	p.a.Depend(dependsOn("broker"))
	p.look()
	if len(p.a.leads.followers) != 1 {
		t.Errorf("%d followers", len(p.a.leads.followers))
	}
	for _, f := range p.a.leads.followers {
		for _, l := range f.leaders {
			if l.relations != [leadLags]relation{} {
				t.Errorf("what was known is known again: %+v", l.relations[0])
			}
		}
	}
}

// A leader that is closed leaves nothing, also when another series takes its place.
func TestClosedLeader(t *testing.T) {
	p := newLeadTape(1, dependsOn("broker"))
	p.play(learned15)
	p.lineOf(t)
	h, _ := p.a.find(queue.identity())
	old := p.a.at(h)
	p.a.Close(h)
	for _, f := range p.a.leads.followers {
		if len(f.leaders) != 0 {
			t.Errorf("it leads on: %+v", f.leaders)
		}
	}
	other := queue
	other.Labels = `{queue="sms"}`
	if again, ok := p.a.judged(other); !ok || p.a.at(again) != old {
		t.Fatal("it has another place")
	}
	for i := range 60 {
		p.now = p.now.Add(15 * time.Second)
		p.a.Observe(other, p.now, float64(i))
		p.a.Observe(latency, p.now, flat(i))
		p.look()
	}
	for _, f := range p.a.leads.followers {
		for _, l := range f.leaders {
			if l.relations[3].n > 60 || l.series.name().Labels != other.Labels {
				t.Errorf("a ghost: %s, %+v", l.series.name().Labels, l.relations[3])
			}
		}
	}
	p.a.Depend(nil)
	if len(p.a.leads.followers)+len(p.a.leads.peers) != 0 {
		t.Error("nothing is known of dependencies, but there are followers")
	}
	p.a.Depend(dependsOn("broker"))
	p.a.Reconfigure(DefaultConfig(), nil)
	if len(p.a.leads.followers)+len(p.a.leads.peers) != 0 {
		t.Error("there are no series any more, but followers")
	}
}

// eight gives an agent of a series with eight leaders, and what plays the next sample of each.
func eight() (*Agent, func() time.Time) {
	names := []Series{{Service: "cart", Metric: "latency_ms"}}
	for i := range mostLeaders {
		names = append(names, Series{Service: "broker", Metric: fmt.Sprint("m", i)})
	}
	a := many(names, dependsOn("broker"), false)
	i, at := 0, monday
	return a, func() time.Time {
		at = at.Add(30 * time.Second)
		for k, n := range names {
			i++
			a.Observe(n, at, 50+noise(i+k))
		}
		return at
	}
}

func TestLookOfLeadersDoesNotAllocate(t *testing.T) {
	a, next := eight()
	for range 2 * 2880 {
		a.Evaluate(next())
	}
	f := a.leads.followers[seriesOf(a, latency)]
	if f == nil || len(f.leaders) != mostLeaders || f.leaders[7].relations[4].n < 1000 {
		t.Fatalf("%+v", f)
	}
	v := view{cfg: &a.cfg, ring: &f.series.ring, follower: f, target: f.series.watches[0].target, threshold: 100}
	n := testing.AllocsPerRun(500, func() { // over four hours, so that what is usual is learned anew
		v.now = next().UnixMilli()
		a.learnLeads(f)
		lookLead(&v)
	})
	if n != 0 {
		t.Errorf("%v allocations a look", n)
	}
}

// BenchmarkLookOfLeaders is what eight leaders add to a look at a series.
func BenchmarkLookOfLeaders(b *testing.B) {
	a, next := eight()
	for range 2 * 2880 {
		a.Evaluate(next())
	}
	f := a.leads.followers[seriesOf(a, latency)]
	v := view{cfg: &a.cfg, ring: &f.series.ring, follower: f, target: f.series.watches[0].target, threshold: 100}
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		v.now = next().UnixMilli()
		b.StartTimer()
		a.learnLeads(f)
		lookLead(&v)
	}
}
