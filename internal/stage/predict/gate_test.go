package predict

import (
	"math"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"grace"
)

// The bands of shares whose quantiles have a closed form.
func TestShare(t *testing.T) {
	for _, tt := range []struct {
		right, wrong     int
		share, low, high float64
	}{
		{0, 0, 0, 0, 1},
		{9, 0, 1, math.Pow(0.1, 1.0/10), math.Pow(0.9, 1.0/10)},
		{0, 99, 0, 1 - math.Pow(0.9, 1.0/100), 1 - math.Pow(0.1, 1.0/100)},
		{1, 1, 0.5, 0.5 - math.Sin(math.Asin(0.8)/3), 0.5 + math.Sin(math.Asin(0.8)/3)}, // 3x²-2x³
		{100000, 0, 1, math.Pow(0.1, 1.0/100001), math.Pow(0.9, 1.0/100001)},
	} {
		share, low, high := Share(tt.right, tt.wrong)
		if share != tt.share || math.Abs(low-tt.low) > 1e-9 || math.Abs(high-tt.high) > 1e-9 {
			t.Errorf("%d right, %d wrong: %v in %v to %v, want %v in %v to %v", tt.right, tt.wrong, share, low, high, tt.share, tt.low, tt.high)
		}
	}
}

const hourMillis = int64(time.Hour / time.Millisecond)

// of names a series of a service.
func of(service grace.ServiceID, n int) *Series {
	return &Series{Service: service, Metric: "m", Labels: strconv.Itoa(n)}
}

// told is a claim of the rule at place 0 that came true, or not.
func told(score float64, came, likely, counts bool, at int64) verdict {
	return verdict{score: score, came: came, likely: likely, counts: counts, at: at}
}

func TestUntriedRuleBeginsInShadowAndASureOneSpeaks(t *testing.T) {
	g := newGate(DefaultGateConfig(), []Prior{Untried()}, &sync.Mutex{})
	spoke := -1
	for i := range 60 {
		now := int64(i) * hourMillis
		if j := g.Judge(0, of("cart", 0), 0.7, now); j.Speaks {
			spoke = i
			break
		}
		g.learn(of("cart", 0), told(0.7, true, true, false, now))
	}
	if spoke < 5 || spoke > 20 {
		t.Errorf("spoke after %d claims that came true", spoke)
	}
}

// Where no other series speaks for it, a rule is not held down by more than its
// prior is worth.
func TestALoneSeriesThatIsRightSpeaks(t *testing.T) {
	own := Prior{Precision: 0.5, Strength: 2, Probability: true, Own: true}
	g := newGate(DefaultGateConfig(), []Prior{own}, &sync.Mutex{})
	g.learn(of("web", 0), told(0.9, false, true, false, 0))
	for i := range int64(12) {
		g.learn(of("cart", 0), told(0.9, true, true, false, i*hourMillis))
	}
	if j := g.Judge(0, of("cart", 0), 0.9, 13*hourMillis); !j.Speaks {
		t.Errorf("twelve claims came true: %+v", j)
	}
	if j := g.Judge(0, of("web", 0), 0.9, 13*hourMillis); j.Speaks {
		t.Errorf("the other's were wrong: %+v", j)
	}
	if j := newGate(DefaultGateConfig(), []Prior{own}, &sync.Mutex{}).Judge(0, of("cart", 0), 0.78, 13*hourMillis); j.Likely || j.Speaks {
		t.Errorf("likely enough in shadow: %+v", j)
	}
}

// No rule speaks before it has a record.
func TestAllBeginInShadow(t *testing.T) {
	g := NewGate(DefaultGateConfig(), &sync.Mutex{})
	for i, r := range rules() {
		if j := g.Judge(i, of("cart", 0), 0.95, 0); j.Speaks {
			t.Errorf("%s speaks: %+v", r.name, j)
		}
	}
}

func TestNewSeriesBorrowsFromSimilarOnes(t *testing.T) {
	g := newGate(DefaultGateConfig(), []Prior{Untried()}, &sync.Mutex{})
	for i := range 40 {
		g.learn(of("cart", i), told(0.7, true, true, false, int64(i)*hourMillis))
	}
	now := 41 * hourMillis
	if j := g.Judge(0, of("cart", 100), 0.7, now); !j.Speaks {
		t.Errorf("a new series of a good group is silent: %+v", j)
	}
	if j := g.Judge(0, of("web", 0), 0.7, now); !j.Speaks {
		t.Errorf("a new service is silent: %+v", j)
	}
	// One bad series does not profit from the others for long.
	n := 0
	for ; n < 20; n++ {
		if !g.Judge(0, of("cart", 100), 0.7, now).Speaks {
			break
		}
		g.learn(of("cart", 100), told(0.7, false, true, false, now))
	}
	if n == 0 || n > 3 {
		t.Errorf("silent after %d false claims", n)
	}
}

// Whatever is believed and was seen before, a rule that is always wrong falls
// silent, everywhere, within a bounded number of claims.
func TestAlwaysWrongFallsSilent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		prior := Prior{
			Precision: rapid.Float64Range(0.1, 0.99).Draw(t, "precision"), Strength: rapid.Float64Range(1, 40).Draw(t, "strength"),
			Probability: rapid.Bool().Draw(t, "probability"),
		}
		g := newGate(DefaultGateConfig(), []Prior{prior}, &sync.Mutex{})
		series := rapid.IntRange(1, 20).Draw(t, "series")
		good := rapid.IntRange(0, 100).Draw(t, "good")
		now := int64(0)
		for i := range good {
			now += hourMillis
			g.learn(of("cart", i%series), told(0.9, true, true, true, now))
		}
		published := 0
		for i := range 400 {
			now += hourMillis
			s := of("cart", i%series)
			score := rapid.Float64Range(0.5, 1).Draw(t, "score")
			j := g.Judge(0, s, score, now)
			if j.Speaks {
				published++
			}
			g.learn(s, told(score, false, true, j.Speaks || j.Suspended, now))
		}
		if published > 5 { // after twenty right ones the fifth false one suspends it, and nothing lets it out
			t.Fatalf("spoke %d times", published)
		}
	})
}

// A rule that has a long record, and is wrong on one service more often than chance
// explains, is suspended there and nowhere else; and comes back when it is right again.
func TestSuspensionAndTheWayBack(t *testing.T) {
	g := newGate(DefaultGateConfig(), []Prior{Untried()}, &sync.Mutex{})
	var all []Suspension
	spoke := map[grace.ServiceID]int{}
	for i := range 600 {
		now := int64(i) * hourMillis
		for _, service := range []grace.ServiceID{"bad", "good"} {
			s := of(service, 0)
			j := g.Judge(0, s, 0.9, now)
			if j.Speaks {
				spoke[service]++
			}
			wrong := i%20 == 3 || service == "bad" && i > 300 && i < 320 && i%3 == 0
			if d, ok := g.learn(s, told(0.9, !wrong, true, j.Speaks || j.Suspended, now)); ok {
				all = append(all, d)
			}
		}
	}
	if len(all) != 2 || all[0].Back || !all[1].Back || all[0].Service != "bad" || all[1].Service != "bad" || all[0].False != 5 {
		t.Errorf("told %+v", all)
	}
	if spoke["good"] < 550 || spoke["bad"] < 500 || spoke["bad"] > spoke["good"]-10 {
		t.Errorf("spoke %v", spoke)
	}
}

// What time has faded is forgotten, but not that a rule is suspended.
func TestPrune(t *testing.T) {
	g := newGate(DefaultGateConfig(), []Prior{{Precision: 0.95, Strength: 400}}, &sync.Mutex{})
	for range 4 {
		g.learn(of("bad", 0), told(0.9, false, true, true, 0))
	}
	g.learn(of("good", 0), told(0.9, true, true, true, 0))
	g.Prune(time.UnixMilli(24 * hourMillis))
	if len(g.series) != 2 || len(g.groups) != 2 {
		t.Errorf("%d series and %d groups after a day", len(g.series), len(g.groups))
	}
	g.Prune(time.UnixMilli(365 * 24 * hourMillis))
	if _, _, _, suspended := g.overall(0, 0); len(g.series) != 0 || len(g.groups) != 1 || suspended != 1 {
		t.Errorf("%d series and %d groups after a year, %d suspended", len(g.series), len(g.groups), suspended)
	}
}

// Of many series with a precision of their own, what is published comes true as
// often as is asked for, a rule that is right 95 % of the time speaks mostly,
// and 0.8 means four times in five.
func TestPublishedPrecisionAndReliability(t *testing.T) {
	for _, tt := range []struct {
		name        string
		low, high   float64 // precisions of the series
		least, most float64 // share of claims that is published
	}{
		{"right 95 %", 0.95, 0.95, 0.75, 1},
		{"right 90 %", 0.9, 0.9, 0.3, 1},
		{"right 60 %", 0.6, 0.6, 0, 0.03},
		{"mixed", 0.3, 1, 0.05, 0.6},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a test's stream
			cfg := DefaultGateConfig()
			cfg.FalseShare = 1 // suspension is another test's
			g := newGate(cfg, []Prior{Untried()}, &sync.Mutex{})
			const n = 40
			var precision [n]float64
			for i := range precision {
				precision[i] = tt.low + (tt.high-tt.low)*float64(i)/(n-1)
			}
			claims, published, right, sum := 0, 0, 0, 0.0
			for i := range 20000 {
				s := rng.IntN(n)
				// The score says something: +-0.1 about the series' precision.
				score := rng.Float64()
				p := min(max(precision[s]+0.2*(score-0.5), 0), 1)
				came := rng.Float64() < p
				now := int64(i) * hourMillis / 20
				series := of(grace.ServiceID(strconv.Itoa(s%4)), s)
				j := g.Judge(0, series, score, now)
				claims++
				if j.Speaks {
					published++
					sum += j.Likelihood
					if came {
						right++
					}
				}
				g.learn(series, told(score, came, true, j.Speaks, now))
			}
			share := float64(published) / float64(claims)
			if share < tt.least || share > tt.most {
				t.Errorf("%.3f of the claims are published", share)
			}
			if published < 500 {
				return
			}
			got, said := float64(right)/float64(published), sum/float64(published)
			t.Logf("published %.3f, right %.3f, likelihood %.3f", share, got, said)
			if got < cfg.Precision || math.Abs(got-said) > 0.04 {
				t.Errorf("of what is published %.3f comes true, the mean likelihood is %.3f", got, said)
			}
		})
	}
}

// The curve rises with the score and ends where the hit rates are.
func TestCurve(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4)) //nolint:gosec // a test's stream
	var c curve
	half := 1e9
	for range 20000 {
		score := rng.Float64()
		c.add(score, rng.Float64() < score*score, 1000, half)
	}
	before := 0.0
	for s := 0.0; s <= 1; s += 0.01 {
		got := c.at(s, 0.33, 1000, half)
		if got < before-1e-9 {
			t.Fatalf("falls at %v", s)
		}
		before = got
		if math.Abs(got-s*s) > 0.05 {
			t.Errorf("%v gives %v, want %v", s, got, s*s)
		}
	}
	fresh := curve{probability: true}
	for s := 0.0; s <= 1; s += 0.05 {
		if got := fresh.at(s, 0.9, 1000, half); math.Abs(got-s) > 1e-9 {
			t.Errorf("untouched, %v gives %v", s, got)
		}
	}
}

func TestOldClaimsFade(t *testing.T) {
	cfg := DefaultGateConfig()
	half := cfg.HalfLife.D().Seconds()
	var c tally
	c.add(true, 1000, half)
	if right, _ := c.at(1000+uint32(half), half); math.Abs(right-0.5) > 1e-6 {
		t.Errorf("after a half-life %v is left", right)
	}
	c.add(false, 1000+uint32(half), half)
	c.add(true, 1000, half) // told late
	right, wrong := c.at(1000+uint32(half), half)
	if math.Abs(right-1) > 1e-6 || math.Abs(wrong-1) > 1e-6 {
		t.Errorf("got %v right, %v wrong", right, wrong)
	}
}

func TestGateConfig(t *testing.T) {
	if err := DefaultGateConfig().Validate(); err != nil {
		t.Error(err)
	}
	if err := DefaultLedgerConfig().Validate(); err != nil {
		t.Error(err)
	}
	if (GateConfig{Precision: math.NaN()}).Validate() == nil || (LedgerConfig{Merge: -1}).Validate() == nil {
		t.Error("nonsense passes")
	}
}

func BenchmarkJudge(b *testing.B) {
	g := newGate(DefaultGateConfig(), []Prior{{Precision: 0.95, Strength: 20, Probability: true}}, &sync.Mutex{})
	s := of("cart", 0)
	b.ReportAllocs()
	for b.Loop() {
		g.Judge(0, s, 0.9, hourMillis)
	}
}

// A rule whose score knows the series is calibrated by all of its claims, and
// judged by those that are likely enough to be published.
func TestOwnScores(t *testing.T) {
	cfg := DefaultGateConfig()
	g := newGate(cfg, []Prior{{Precision: 0.5, Strength: 2, Probability: true, Own: true}}, &sync.Mutex{})
	s := of("cart", 0)
	for i := range int64(200) {
		g.learn(s, told(0.95, true, true, false, i*60000))
		g.learn(s, told(0.3, i%3 == 0, false, false, i*60000))
	}
	if j := g.Judge(0, s, 0.95, 200*60000); !j.Speaks || j.Likelihood < 0.9 {
		t.Errorf("a likely claim: %+v", j)
	}
	if j := g.Judge(0, s, 0.3, 200*60000); j.Speaks || j.Likelihood < 0.25 || j.Likelihood > 0.4 {
		t.Errorf("an unlikely claim: %+v", j)
	}
}
