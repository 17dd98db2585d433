package detect_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"grace/internal/detect"
)

const (
	minute = int64(60 * 1000)
	hour   = 60 * minute
	day    = 24 * hour
)

// sample is one value of a made series.
type sample struct {
	at int64
	v  float64
}

// series makes n samples, step apart.
func series(n int, step int64, value func(i int) float64) []sample {
	out := make([]sample, n)
	for i := range out {
		out[i] = sample{int64(i) * step, value(i)}
	}
	return out
}

// noise is normal, with unit variance, the same for every call.
func noise(n int) []float64 {
	random := rand.New(rand.NewPCG(7, 7))
	out := make([]float64, n)
	for i := range out {
		out[i] = random.NormFloat64()
	}
	return out
}

// fired gives the numbers of the samples that were detections.
func fired(use detect.Kind, samples []sample) []int {
	var s detect.State
	var out []int
	for i, x := range samples {
		if s.ObserveWith(use, x.at, x.v).Fired {
			out = append(out, i)
		}
	}
	return out
}

func within(fired []int, from, to int) int {
	n := 0
	for _, i := range fired {
		if i >= from && i < to {
			n++
		}
	}
	return n
}

// Each anomaly begins at sample 2900, after ten days of five minutes each.
func TestDetects(t *testing.T) {
	const from, to, n = 2900, 3188, 3200
	z := noise(n)
	daily := func(i int) float64 { return 10 * math.Sin(2*math.Pi*float64(i)/288) }
	tests := []struct {
		name  string
		use   detect.Kind
		value func(i int) float64
		by    detect.Kind
	}{
		{"a spike", detect.Default, func(i int) float64 {
			if i == from {
				return 100 + 20
			}
			return 100 + z[i]
		}, 0},
		{"a drop", detect.Default, func(i int) float64 {
			if i == from {
				return 80
			}
			return 100 + z[i]
		}, 0},
		{"a new level", detect.Default, func(i int) float64 {
			if i >= from {
				return 8 + z[i]
			}
			return z[i]
		}, 0},
		{"a day without its peak", detect.OddHour, func(i int) float64 {
			if i >= from {
				return -10 + z[i]
			}
			return daily(i) + z[i]
		}, detect.OddHour},
		{"a work that stopped", detect.Run, func(i int) float64 {
			if i < from && i%24 == 0 {
				return 50
			}
			return z[i] / 10
		}, detect.Run},
	}
	for _, tt := range tests {
		samples := series(n, 5*minute, tt.value)
		got := fired(tt.use, samples)
		if within(got, from, to) == 0 || within(got, 600, from) > 3 {
			t.Errorf("%s: detections at %v, want some from %d and few before", tt.name, got, from)
		}
		if tt.by == 0 {
			continue
		}
		var s detect.State
		for _, x := range samples {
			if v := s.ObserveWith(tt.use, x.at, x.v); v.Fired && v.By != tt.by {
				t.Errorf("%s: detected by %v, want %v", tt.name, v.By, tt.by)
			}
		}
	}
}

// What carries no news gives no detection.
func TestSilent(t *testing.T) {
	const n = 6000
	z := noise(n)
	tests := []struct {
		name  string
		value func(i int) float64
		most  int
	}{
		{"constant", func(int) float64 { return 3.3 }, 0},
		{"constant zero", func(int) float64 { return 0 }, 0},
		{"one change", func(i int) float64 { return float64(i / 3000) }, 1},
		{"rounding", func(i int) float64 { return 1e6 + float64(i%7)*1e-10 }, 0},
		{"a steady counter", func(i int) float64 { return 1e9 + 7*float64(i) }, 1},
		{"a counter with noise", func(i int) float64 { return 1e9 + 700*float64(i) + 50*z[i] }, 1},
		{"a daily rhythm", func(i int) float64 { return math.Sin(2 * math.Pi * float64(i) / 288) }, 1},
		{"normal noise", func(i int) float64 { return z[i] }, 5},
		{"too few", func(i int) float64 {
			if i < 140 {
				return z[i]
			}
			return math.NaN()
		}, 0},
	}
	for _, tt := range tests {
		if got := fired(detect.Default, series(n, 5*minute, tt.value)); len(got) > tt.most {
			t.Errorf("%s: detections at %v, want at most %d", tt.name, got, tt.most)
		}
	}
}

// Unit, level, sign and the start of the clock mean nothing.
func TestInvariant(t *testing.T) {
	z := noise(6000)
	base := series(len(z), 5*minute, func(i int) float64 {
		v := 10*math.Sin(2*math.Pi*float64(i)/288) + z[i]*z[i]*z[i]
		if i > 4000 && i < 4040 {
			v += 40
		}
		return v
	})
	want := fired(detect.Default, base)
	if len(want) < 2 {
		t.Fatalf("detections at %v, want some to compare", want)
	}
	for name, change := range map[string]func(x sample) sample{
		"scale":      func(x sample) sample { return sample{x.at, x.v * 4096} },
		"tiny scale": func(x sample) sample { return sample{x.at, x.v / (1 << 30)} },
		"level":      func(x sample) sample { return sample{x.at, x.v + 1<<16} },
		"sign":       func(x sample) sample { return sample{x.at, -x.v} },
		"years ago":  func(x sample) sample { return sample{x.at - 70*365*day, x.v} },
	} {
		changed := make([]sample, len(base))
		for i, x := range base {
			changed[i] = change(x)
		}
		got := fired(detect.Default, changed)
		if len(got) != len(want) {
			t.Errorf("%s: detections at %v, want %v", name, got, want)
			continue
		}
		for i := range got {
			if got[i] != want[i] {
				t.Errorf("%s: detections at %v, want %v", name, got, want)
				break
			}
		}
	}
}

func TestIgnored(t *testing.T) {
	z := noise(1000)
	var clean, dirty detect.State
	for i, v := range z {
		at := int64(i) * 5 * minute
		want := clean.Observe(at, v)
		for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), 1e200} {
			if got := dirty.Observe(at, bad); !got.Ignored || got.Fired {
				t.Fatalf("Observe(%v) = %+v, want it ignored", bad, got)
			}
		}
		if got := dirty.Observe(at, v); got != want {
			t.Fatalf("sample %d among bad ones: %+v, want %+v", i, got, want)
		}
		for _, late := range []int64{at, at - minute, at - 40*day} {
			if got := dirty.Observe(late, 1e6); !got.Ignored {
				t.Fatalf("a late sample gives %+v, want it ignored", got)
			}
		}
	}
	if clean != dirty {
		t.Error("ignored samples changed the state")
	}
}

// One event is one detection: rest is counted in ticks, and so is at least as
// long as 72 samples.
func TestRest(t *testing.T) {
	for _, step := range []int64{15 * 1000, 5 * minute, hour} {
		n := 3000 * int(max(5*minute, step)/step)
		z := noise(n)
		samples := series(n, step, func(i int) float64 {
			if i >= n*9/10 {
				return 30 + 20*float64(i-n*9/10)/float64(n) + 5*z[i]
			}
			return z[i]
		})
		got := fired(detect.Default, samples)
		if within(got, n*9/10, n) == 0 {
			t.Errorf("step %d s: nothing detected", step/1000)
		}
		for i := 1; i < len(got); i++ {
			if between := samples[got[i]].at - samples[got[i-1]].at; between < 6*hour || between < 72*step {
				t.Errorf("step %d s: detections %d s apart", step/1000, between/1000)
			}
		}
	}
}

// After one absurd value the next anomaly is still seen.
func TestRecoversFromOneAbsurdValue(t *testing.T) {
	z := noise(4000)
	got := fired(detect.Default, series(len(z), 5*minute, func(i int) float64 {
		switch {
		case i == 1500:
			return 1e15
		case i >= 3000 && i < 3005:
			return 25
		}
		return z[i]
	}))
	if within(got, 1500, 1501) != 1 || within(got, 3000, 3005) != 1 {
		t.Errorf("detections at %v, want them at 1500 and 3000", got)
	}
}

func TestStartsAnewAfterLongSilence(t *testing.T) {
	var s detect.State
	at := int64(0)
	for i := range 1000 {
		at = int64(i) * 5 * minute
		s.Observe(at, float64(i%2))
	}
	at += 15 * day
	for i := range 140 { // half a day of warm-up, whatever comes
		if v := s.Observe(at+int64(i)*5*minute, 1000*float64(i%5)); v.Score != 0 {
			t.Fatalf("sample %d after 15 days of silence: %+v", i, v)
		}
	}
}

func TestExtremes(t *testing.T) {
	for _, scale := range []float64{5e-324, 1e-310, 1e149} {
		var s detect.State
		for i := range 3000 {
			v := scale * float64(i%3)
			switch i {
			case 2000:
				v = -1e150
			case 2500:
				v = 0
			}
			if got := s.Observe(int64(i)*5*minute, v); !(got.Score >= 0 && got.Score <= 1) {
				t.Fatalf("scale %g, sample %d: %+v", scale, i, got)
			}
		}
	}
	var s detect.State
	s.Observe(math.MinInt64, 1)
	if got := s.Observe(math.MaxInt64, 2); got.Ignored || got.Score != 0 {
		t.Errorf("a sample at the end of time: %+v, want a start anew", got)
	}
}

// Whatever comes, scores are within [0,1] and nothing becomes NaN.
func FuzzObserve(f *testing.F) {
	f.Add(uint64(1), 1e150, int64(300_000))
	f.Add(uint64(2), 0.0, int64(0))
	f.Add(uint64(3), -1e-300, int64(math.MaxInt64))
	f.Fuzz(func(t *testing.T, seed uint64, scale float64, step int64) {
		random := rand.New(rand.NewPCG(seed, 1))
		var s detect.State
		at := int64(0)
		for range 600 {
			v := s.Observe(at, scale*math.Pow(random.NormFloat64(), 3))
			if !(v.Score >= 0 && v.Score <= 1) || v.Fired != (v.Score >= detect.Threshold) {
				t.Fatalf("verdict %+v", v)
			}
			at += step // may overflow: then it is late
		}
	})
}

func TestSize(t *testing.T) {
	if size := unsafe.Sizeof(detect.State{}); size > 640 {
		t.Errorf("a State is %d bytes", size)
	}
	var s detect.State
	z := noise(5000)
	i := 0
	if n := testing.AllocsPerRun(4000, func() {
		s.Observe(int64(i)*5*minute, z[i%len(z)])
		i++
	}); n != 0 {
		t.Errorf("%v allocations a sample", n)
	}
}

func BenchmarkObserve(b *testing.B) {
	z := noise(1 << 12)
	var learned detect.State // past its warm-up
	at := int64(0)
	for i := range 2000 {
		at += 5 * minute
		learned.Observe(at, z[i])
	}
	b.Run("default", func(b *testing.B) {
		b.ReportAllocs()
		s, at, i := learned, at, 0
		for b.Loop() {
			at += 15 * 1000
			i++
			s.Observe(at, z[i%len(z)])
		}
	})
	// The state of every sample comes from memory, not from a cache.
	b.Run("default, 200000 series", func(b *testing.B) {
		b.ReportAllocs()
		states := slices.Repeat([]detect.State{learned}, 200_000)
		i, at := 0, at
		for b.Loop() {
			if i == len(states) {
				i, at = 0, at+15*1000
			}
			states[i].Observe(at+15*1000, z[i%len(z)])
			i++
		}
	})
}

// After the clock was set back the next sample counts.
func TestSetBack(t *testing.T) {
	var s detect.State
	s.Observe(1_000_000, 1)
	s.Observe(1_060_000, 1)
	if !s.Observe(500_000, 1).Ignored {
		t.Fatal("an old sample counts")
	}
	s.SetBack(400_000)
	if s.Observe(460_000, 1).Ignored || !s.Observe(400_000, 1).Ignored {
		t.Error("blind until the clock has caught up")
	}
}
