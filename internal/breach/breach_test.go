package breach

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
	"unsafe"
)

const fiveMinutes = int64(5 * time.Minute / time.Millisecond)

// A Monday, midnight.
const monday = int64(1_704_067_200_000)

// workdays breaches 10 from nine to ten o'clock from Monday to Friday, with
// noise well below it otherwise.
func workdays(at int64, random *rand.Rand) float64 {
	h := (at - monday) / int64(hourMillis)
	v := 4 + random.Float64()
	if h%24 == 9 && h/24%7 < 5 {
		v += 10
	}
	return v
}

func TestLearnsThePatternOfTheWeek(t *testing.T) {
	m, s := New(30*time.Minute), State{}
	random := rand.New(rand.NewPCG(1, 1))
	var published, wrong, breaches int
	foreseen := map[int64]bool{}
	for at := monday; at < monday+28*int64(dayMillis); at += fiveMinutes {
		m.Append(&s, at, workdays(at, random), 10, false)
		day, h := (at-monday)/int64(dayMillis), (at-monday)/int64(hourMillis)%24
		if day < 14 {
			continue
		}
		if h == 9 && (at-monday)%int64(hourMillis) == 0 && day%7 < 5 {
			breaches++
		}
		if m.Outlook(&s).Worth < Balanced {
			continue
		}
		published++
		foreseen[day] = true
		if day%7 >= 5 || h != 8 && h != 9 {
			wrong++
		}
	}
	if len(foreseen) < breaches || breaches != 10 {
		t.Errorf("foreseen on %d days of %d", len(foreseen), breaches)
	}
	if wrong > published/10 {
		t.Errorf("%d of %d steps spoke at the wrong time", wrong, published)
	}
}

// Two steps beyond that never become a breach are believed less and less.
func TestUnlearnsFalseStarts(t *testing.T) {
	m, s := New(30*time.Minute), State{}
	random := rand.New(rand.NewPCG(1, 1))
	var first, last float64
	for i := range 4000 {
		v := 5 + random.Float64()
		if i%50 == 48 || i%50 == 49 {
			v = 11
		}
		m.Append(&s, monday+int64(i)*fiveMinutes, v, 10, false)
		if i%50 == 49 {
			last = m.Outlook(&s).Likelihood
			if first == 0 {
				first = last
			}
		}
	}
	if !(first > 0 && last < first/3) {
		t.Errorf("likelihood after a false start: %.3f at first, %.3f at last", first, last)
	}
}

func TestBreach(t *testing.T) {
	m, s := New(30*time.Minute), State{}
	for i, c := range []struct {
		value    float64
		breached bool
		earliest int64 // steps
	}{
		{1, false, -1},
		{1, false, -1},
		{1, false, -1},
		{1, false, 3},
		{3, false, 2},
		{1, false, 2},
		{3, false, 1},
		{3, true, 1},
		{3, true, 1},
		{1, true, 1},
		{1, false, 3},
	} {
		at := monday + int64(i)*fiveMinutes
		m.Append(&s, at, c.value, 2, false)
		o := m.Outlook(&s)
		if o.Breached != c.breached {
			t.Errorf("step %d: breached %v", i, o.Breached)
		}
		if want := at + c.earliest*fiveMinutes; c.earliest >= 0 && !c.breached && o.Earliest != want {
			t.Errorf("step %d: earliest in %d min, want %d", i, (o.Earliest-at)/60000, (want-at)/60000)
		}
		if c.breached && (o.Likelihood != 0 || o.Worth != 0) {
			t.Errorf("step %d: likelihood %v in a breach", i, o.Likelihood)
		}
		if o.Worth > o.Likelihood || o.Expected < o.Earliest {
			t.Errorf("step %d: %+v", i, o)
		}
	}
}

// A value an hour with none beyond: three hours have to pass, so nothing begins
// within one.
func TestCannotBeginInTime(t *testing.T) {
	m, s := New(30*time.Minute), State{}
	for i := range 500 {
		v := 1.0
		if i%24 > 20 {
			v = 3
		}
		m.Append(&s, monday+int64(i)*int64(hourMillis), v, 2, false)
		if o := m.Outlook(&s); s.beyond&0b111 == 0 && o.Likelihood != 0 {
			t.Fatalf("hour %d: likelihood %v", i, o.Likelihood)
		}
	}
}

// Neither unit nor level nor direction nor week of a series matters.
func TestWithoutScale(t *testing.T) {
	like := func(scale, shift float64, later int64, below bool) []float64 {
		m, s := New(30*time.Minute), State{}
		random := rand.New(rand.NewPCG(3, 3))
		var out []float64
		for i := range 3000 {
			at := monday + int64(i)*fiveMinutes
			v, limit := workdays(at, random)*scale+shift, 10*scale+shift
			m.Append(&s, at+later, v, limit, below)
			out = append(out, m.Outlook(&s).Likelihood)
		}
		return out
	}
	want := like(1, 0, 0, false)
	for name, got := range map[string][]float64{
		"scaled":  like(1e9, 0, 0, false),
		"small":   like(1e-9, 0, 0, false),
		"shifted": like(1, -512, 0, false),
		"below":   like(-1, 0, 0, true),
		"later":   like(1, 0, 52*int64(weekMillis), false),
	} {
		for i := range want {
			if math.Abs(got[i]-want[i]) > 0.01 {
				t.Errorf("%s, step %d: %v, want %v", name, i, got[i], want[i])
				break
			}
		}
	}
}

// Samples every 15 seconds are as good as steps of five minutes.
func TestFastSamples(t *testing.T) {
	m := New(30 * time.Minute)
	spoke := func(gap int64) (before, wrong int) {
		var s State
		random := rand.New(rand.NewPCG(4, 4))
		var last int64
		for at := monday; at < monday+28*int64(dayMillis); at += gap {
			m.Append(&s, at, workdays(at, random), 10, false)
			h := (at - monday) / int64(hourMillis)
			if m.Outlook(&s).Worth < Balanced || h == last {
				continue
			}
			switch last = h; h % 24 {
			case 8:
				before++
			case 9:
			default:
				wrong++
			}
		}
		return before, wrong
	}
	slow, _ := spoke(fiveMinutes)
	fast, wrong := spoke(fiveMinutes / 20)
	if fast < slow-2 || slow < 8 || wrong > 5 {
		t.Errorf("spoke in the hour before on %d days with steps, on %d with fast samples; %d hours wrong", slow, fast, wrong)
	}
}

func TestBadInput(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 5))
	values := []float64{0, -1, 1, 1e300, -1e300, 1e149, -1e149, math.NaN(), math.Inf(1), math.Inf(-1), math.SmallestNonzeroFloat64, 5e-324}
	steps := []int64{0, 1, -1000, 15000, fiveMinutes, int64(hourMillis), int64(dayMillis), 400 * int64(dayMillis)}
	for range 50 {
		m, s := New(time.Duration(random.Int64N(int64(3*time.Hour)))), State{}
		at, few := random.Int64N(2e12)-1e12, 1+random.IntN(len(values))
		for range 2000 {
			at += steps[random.IntN(len(steps))]
			m.Append(&s, at, values[random.IntN(few)], values[random.IntN(few)], random.IntN(2) == 0)
			if o := m.Outlook(&s); !(o.Likelihood >= 0 && o.Likelihood <= 1 && o.Worth >= 0 && o.Worth <= o.Likelihood) {
				t.Fatalf("%+v", o)
			}
		}
	}
}

// What is not a sample leaves the state as it is.
func TestIgnored(t *testing.T) {
	m, s := New(30*time.Minute), State{}
	m.Append(&s, monday, 1, 2, false)
	before := s
	m.Append(&s, monday, 3, 2, false)
	m.Append(&s, monday-fiveMinutes, 3, 2, false)
	m.Append(&s, monday+fiveMinutes, math.NaN(), 2, false)
	m.Append(&s, monday+fiveMinutes, 3, math.Inf(1), false)
	if s != before {
		t.Error("the state changed")
	}
}

func TestStateIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(State{}); size > 640 {
		t.Errorf("a state has %d bytes", size)
	}
	t.Logf("%d bytes", unsafe.Sizeof(State{}))
}

func TestNoAllocations(t *testing.T) {
	m, s := New(30*time.Minute), new(State)
	at := monday
	if n := testing.AllocsPerRun(1000, func() {
		at += fiveMinutes
		m.Append(s, at, float64(at%7), 5, false)
		m.Outlook(s)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, c := range []struct {
		name string
		gap  int64
	}{{"every 5m", fiveMinutes}, {"every 15s", 15000}} {
		b.Run(c.name, func(b *testing.B) {
			m, s := New(30*time.Minute), new(State)
			random := rand.New(rand.NewPCG(1, 1))
			var values [4096]float64
			for i := range values {
				values[i] = random.NormFloat64()
			}
			b.ReportAllocs()
			at, i := monday, 0
			for b.Loop() {
				at += c.gap
				i++
				m.Append(s, at, values[i%4096], 1, false)
			}
		})
	}
}

// After the clock was set back the series goes on to learn, and knows what it knew.
func TestSetBack(t *testing.T) {
	m := New(10 * time.Minute)
	var s State
	at := int64(1_800_000_000_000)
	for range 100 {
		at += 120_000
		m.Append(&s, at, 1, 10, false)
	}
	steps, profile := s.steps, s.profile
	at -= 3_600_000
	s.SetBack(at)
	for range 4 {
		at += 120_000
		m.Append(&s, at, 20, 10, false)
	}
	if s.steps != steps+4 || !m.Outlook(&s).Breached || s.began > at || s.profile == ([168]uint8{}) || profile == ([168]uint8{}) {
		t.Errorf("%d steps, %d before", s.steps, steps)
	}
}

// One sample of 1e9 takes nothing of what a series has taught.
func TestSpikeTeachesNothing(t *testing.T) {
	foreseen := func(spike float64) (days int) {
		m, s := New(30*time.Minute), State{}
		random := rand.New(rand.NewPCG(1, 1))
		for at := monday; at < monday+28*int64(dayMillis); at += fiveMinutes {
			v := workdays(at, random)
			if at == monday+15*int64(dayMillis)+3*int64(hourMillis) {
				v = max(v, spike)
			}
			m.Append(&s, at, v, 10, false)
			if day := (at - monday) / int64(dayMillis); day >= 14 && (at-monday)%int64(dayMillis) == 9*int64(hourMillis)-fiveMinutes && m.Outlook(&s).Worth >= Balanced {
				days++
			}
		}
		return days
	}
	if with, without := foreseen(1e9), foreseen(0); with < without || without < 10 {
		t.Errorf("foreseen on %d days after a spike, on %d without", with, without)
	}
}
