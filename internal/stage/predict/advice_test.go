package predict

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grace"
)

// advised plays a rise to an agent whose gate lets nothing pass, and then what comes.
func advised(t *testing.T, least float64, play func(p *tape)) *tape {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Gate.Precision, cfg.Gate.Advise = 0.99, least
	p := &tape{a: earned(cfg, []Target{target()}), now: start}
	p.play(60, flat)
	play(p)
	if n := len(p.all.Published) + len(p.all.Retracted) + len(p.all.Lost); n != 0 {
		t.Fatalf("%d were published, retracted or lost", n)
	}
	return p
}

// TestAdvice: what the gate does not let pass is told, now and then while it stands, and
// once when it has turned, or nobody knows any more; and is judged like all.
func TestAdvice(t *testing.T) {
	for name, tt := range map[string]struct {
		least    float64
		play     func(p *tape)
		told     int // at least
		ended    int
		outcomes []string
	}{
		"comes":     {0.6, func(p *tape) { p.play(130, rise) }, 1, 0, []string{"trend true_positive"}},
		"turns":     {0.6, func(p *tape) { p.play(60, rise); p.play(400, flat) }, 1, 1, []string{"trend false_positive"}},
		"no data":   {0.6, func(p *tape) { p.play(60, rise); p.now = p.now.Add(5 * time.Minute); p.look() }, 1, 1, nil},
		"unlikely":  {0.99, func(p *tape) { p.play(130, rise) }, 0, 0, []string{"trend true_positive"}},
		"off":       {0, func(p *tape) { p.play(130, rise) }, 0, 0, []string{"trend true_positive"}},
		"two rises": {0.6, func(p *tape) { p.play(60, rise); p.play(60, flat); p.play(60, rise); p.play(60, flat) }, 2, 2, nil},
	} {
		t.Run(name, func(t *testing.T) {
			p := advised(t, tt.least, tt.play)
			if n := len(p.all.Advice); (n >= tt.told) != true || tt.told == 0 && n != 0 {
				t.Errorf("told %d times", n)
			}
			if n := len(p.all.Withdrawn); n != tt.ended {
				t.Errorf("withdrawn %d times", n)
			}
			if diff := cmp.Diff(tt.outcomes, p.outcomes()[:min(len(tt.outcomes), len(p.outcomes()))]); tt.outcomes != nil && diff != "" {
				t.Error(diff)
			}
			for _, a := range p.all.Advice {
				if a.Advised == nil || a.Published != nil || a.Ended != nil || a.Title == "" || len(a.Evidence) == 0 {
					t.Errorf("%+v", a)
				}
			}
			for _, a := range p.all.Withdrawn {
				if a.Advised == nil || a.Ended == nil {
					t.Errorf("%+v", a)
				}
			}
		})
	}
}

// TestAdviceIsNotRepeated: it is told again after minutes, or when it is more or less likely.
func TestAdviceIsNotRepeated(t *testing.T) {
	c := Claim{Likelihood: 0.7}
	minute := int64(time.Minute / time.Millisecond)
	for _, step := range []struct {
		at         int64
		likelihood float64
		told, ends bool
	}{
		{1, 0.7, true, false},
		{1 + minute, 0.75, false, false},
		{1 + 2*minute, 0.81, true, false},
		{1 + 7*minute, 0.81, true, false},
		{1 + 8*minute, 0.55, false, false},
		{1 + 9*minute, 0.45, false, true},
		{1 + 10*minute, 0.4, false, false},
		{1 + 11*minute, 0.62, true, false},
	} {
		c.Likelihood = step.likelihood
		if told, ends := c.advises(0.6, step.at), c.withdraws(0.6, step.at); told != step.told || ends != step.ends {
			t.Errorf("at %d with %v: told %v, ends %v", step.at, step.likelihood, told, ends)
		}
	}
	if c.Advised != 1 || c.Ended != 0 {
		t.Errorf("%+v", c)
	}
}

// TestPublishedEnds: what was published and has turned says so, until it is said again.
func TestPublishedEnds(t *testing.T) {
	p := &tape{a: earned(DefaultConfig(), []Target{target()}), now: start}
	p.play(60, flat)
	p.play(60, rise)
	p.play(30, flat)
	if len(p.all.Retracted) != 1 || p.all.Retracted[0].Ended == nil || p.all.Retracted[0].Published == nil {
		t.Fatalf("%+v", p.all.Retracted)
	}
	n := len(p.all.Published)
	p.play(60, rise)
	if len(p.all.Published) == n || p.all.Published[len(p.all.Published)-1].Ended != nil {
		t.Errorf("%d of %d published: %+v", n, len(p.all.Published), p.all.Published[len(p.all.Published)-1])
	}
}

// TestAllIsAdviceInShadow: what would be published, were not all kept silent, is advice,
// and goes on as that after a restart.
func TestAllIsAdviceInShadow(t *testing.T) {
	p := &tape{a: earned(DefaultConfig(), []Target{target()}), now: start}
	p.a.Silence(true)
	p.play(60, flat)
	p.play(60, rise)
	said := p.all.Published
	if len(said) == 0 || said[0].Advised == nil || said[0].Published != nil {
		t.Fatalf("%+v", said)
	}
	again := &tape{a: earned(DefaultConfig(), []Target{target()}), now: p.now}
	again.a.Restore([]grace.Prediction{said[len(said)-1]})
	again.a.Silence(true)
	again.play(1, func(int) float64 { return 380 })
	if c := again.a.at(0).watches[0].claim(0); c == nil || c.Advised != said[0].Advised.UnixMilli() {
		t.Errorf("after a restart: %+v", c)
	}
}
