package predict

import (
	"math"
	"testing"
	"time"

	"grace"
)

// A clock that is ahead for a minute, in which a claim is made, and set back leaves nothing
// of the future and no blind agent: what rises then is foreseen as it is without.
func TestClockSetBack(t *testing.T) {
	for name, ahead := range map[string]time.Duration{"5 min": 5 * time.Minute, "1 h": time.Hour, "100 days": 100 * 24 * time.Hour} {
		said := func(ahead time.Duration) (n int) {
			p := &tape{a: earned(DefaultConfig(), []Target{target()}), now: start}
			p.play(60, flat)
			p.play(60, rise)
			p.now = p.now.Add(ahead)
			p.play(3, rise)
			p.a.Since(p.now)
			p.now = p.now.Add(-ahead)
			if ahead > 0 {
				p.a.ClockSetBack(p.now)
				p.a.gate.ClockSetBack(p.now)
			}
			for i := range p.a.at(0).watches[0].open {
				c := &p.a.at(0).watches[0].open[i].Claim
				if now := p.now.UnixMilli(); c.Made > now || c.Renewed > now || c.Published > now || c.Until > now+DefaultConfig().Horizon.D().Milliseconds() {
					t.Errorf("%s: a claim of the future: %+v", name, c)
				}
			}
			p.play(200, flat) // the claim is resolved
			p.all = Result{}
			p.play(130, rise)
			for _, r := range p.all.Resolved {
				if r.Outcome == grace.PredictionTruePositive || r.Resolved.After(p.now) {
					n++
				}
			}
			return n + len(p.all.Published) + len(p.all.Shadow) + len(p.all.Advice)
		}
		if with, without := said(ahead), said(0); with != without || with < 2 {
			t.Errorf("%s: %d said after the clock was set back, %d without", name, with, without)
		}
	}
}

// The hours that were dated ahead are gone, the others are not, and each is known once.
func TestHoursSetBack(t *testing.T) {
	for _, ahead := range []int64{0, 1, 5, 600} {
		var h hours
		first := start.UnixMilli() / hourLength
		for i := range int64(100) {
			h.append((first+i)*hourLength, float64(i))
		}
		h.append((first+99+ahead)*hourLength, 1000)
		h.append((first+100+ahead)*hourLength, 1000)
		h.setBack(first + 99)
		h.append((first+99)*hourLength, 99)
		h.append((first+100)*hourLength, 100)
		values, from := h.history(make([]float64, hourlyPoints))
		known := 0
		for i, v := range values {
			if !math.IsNaN(v) {
				known++
				if want := float64(from/hourLength - first + int64(i)); v < want-0.1 || v > want+0.1 {
					t.Errorf("ahead by %d: hour %v is %v", ahead, want, v)
				}
			}
		}
		if known != int(h.known) || known < 70 {
			t.Errorf("ahead by %d: %d hours known, says %d", ahead, known, h.known)
		}
	}
}

// What the gate learns after the clock was set back counts as what it learned before.
func TestGateSetBack(t *testing.T) {
	g := NewGate(DefaultGateConfig(), noLock{})
	of := Series{Service: "cart", Metric: "latency_ms"}
	learn := func(came bool, at time.Time) {
		g.learn(&of, verdict{rule: 0, score: 0.9, came: came, at: at.UnixMilli()})
	}
	learn(true, start.Add(100*24*time.Hour))
	g.ClockSetBack(start)
	learn(false, start)
	if r := g.record("trend", "cart"); r.right != 1 || r.wrong != 1 || r.right != g.rules[0].tally.right || g.rules[0].tally.wrong != 1 {
		t.Errorf("%+v, over all %+v", r, g.rules[0].tally)
	}
}
