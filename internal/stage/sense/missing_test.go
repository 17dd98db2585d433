package sense

import (
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"grace"
	"grace/internal/series"
)

// target is one whose page is scraped.
type target struct {
	*series.Set

	house *house
}

func (h *house) target(pod string) *target {
	return &target{h.db.NewSet(series.From{Sensor: pod, Source: pod, History: true}, labels.FromStrings("pod", pod, series.ServiceLabel, "web")), h}
}

// page has a queue of some length.
func (t *target) page(sec int, queue float64) {
	t.Begin(at(sec))
	t.Append("queue", labels.EmptyLabels(), series.Meta{}, series.Sample{At: at(sec).UnixMilli(), Value: queue})
	t.End(false)
}

// up says whether it answers.
func (t *target) up(sec int, up float64) {
	t.Begin(at(sec))
	t.Append("up", labels.EmptyLabels(), series.Meta{}, series.Sample{At: at(sec).UnixMilli(), Value: up})
	t.End(false)
}

// empty is a page without one: it is no more.
func (t *target) empty(sec int) {
	t.Begin(at(sec))
	t.End(false)
}

// A sum that fires is not over because some of what it is made of is not measured any more.
// That is told, and nothing is done about it, until nobody waits for what is missing.
func TestPartOfASumIsMissing(t *testing.T) {
	const held, ranged = `sum by (service) (queue) > 10`, `sum by (service) (max_over_time(queue[30s])) > 10`
	for name, tt := range map[string]struct {
		expr string
		does func(a, b *target, sec int) // from second 40 on
		over int
		says string // once it is stale
	}{
		"it is measured":             {held, func(a, b *target, sec int) { a.page(sec, 4); b.page(sec, 4) }, 50, ""},
		"it has ended":               {held, func(a, b *target, sec int) { a.page(sec, 4); b.empty(sec) }, 50, ""},
		"its target does not answer": {held, func(a, b *target, sec int) { a.page(sec, 4); b.Lose(at(sec)) }, 350, `queue{pod="b"} was measured last at 14:15:30`},
		"nothing comes of it, of which a range is looked at": {
			ranged, func(a, _ *target, sec int) { a.page(sec, 4) }, 340, `queue{pod="b"} was measured last at 14:15:30`,
		},
		"its target does not answer for a while": {held, func(a, b *target, sec int) {
			if a.page(sec, 4); sec < 200 {
				b.Lose(at(sec))
			} else {
				b.page(sec, 4)
			}
		}, 210, `queue{pod="b"} was measured last at 14:15:30`},
		"its target is back, and begins without it": {held, func(a, b *target, sec int) {
			if a.page(sec, 4); sec < 60 {
				b.Lose(at(sec))
			} else {
				b.empty(sec)
			}
		}, 70, ""},
		"its target is scraped no more": {held, func(a, b *target, sec int) {
			if a.page(sec, 4); sec < 60 {
				b.Lose(at(sec))
			} else {
				b.Close(at(sec))
			}
		}, 70, ""},
		"its source answers in part": {held, func(a, b *target, sec int) {
			if sec < 400 {
				b.Lack("queue", "source eu: a store is away")
			}
			a.page(sec, 4)
			b.Begin(at(sec))
			b.Append("queue", labels.EmptyLabels(), series.Meta{}, series.Sample{At: at(sec).UnixMilli(), Value: 4})
			b.End(sec < 400)
		}, 410, "source eu: a store is away"},
		"it is not there, on the right of and": {
			`sum by (service) (queue{pod="a"}) > 1 and on (service) sum by (service) (queue{pod="b"}) > 10`,
			func(a, b *target, sec int) { a.page(sec, 4); b.Lose(at(sec)) }, 350, `queue{pod="b"} was measured last at 14:15:30`,
		},
		"it is not there, on the right of or": {
			`sum by (service) (queue{pod="a"}) > 10 or sum by (service) (queue{pod="b"}) > 10`,
			func(a, b *target, sec int) { a.page(sec, 4); b.Lose(at(sec)) }, 350, `queue{pod="b"} was measured last at 14:15:30`,
		},
		"it comes more rarely": {held, func(a, b *target, sec int) {
			if a.page(sec, 4); sec%20 == 0 {
				b.page(sec, 4)
			}
		}, 50, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(DefaultConfig(), []Objective{{Name: "queue", Expr: tt.expr, Code: grace.CodeCapacity}})
			a, b := h.target("a"), h.target("b")
			for sec := 0; sec <= 30; sec += 10 {
				a.page(sec, 4)
				b.page(sec, 20)
				h.judge(at(sec))
				h.Tick(at(sec))
			}
			if got := states(h); got != "web=firing" {
				t.Fatal(got)
			}
			over := 0
			for sec := 40; over == 0 && sec < 700; sec += 10 {
				tt.does(a, b, sec)
				h.judge(at(sec))
				h.Tick(at(sec))
				switch s := h.Signals()[0]; {
				case s.State == grace.SignalOK:
					over = sec
				case s.Passing: // the first of two
				case sec > 130 && (s.State != grace.SignalStale || tt.says == "" || !strings.HasSuffix(s.Message, tt.says)):
					t.Errorf("after %d s: %s, %s", sec, s.State, s.Message)
				case sec > 70 && s.State == grace.SignalFiring && !s.Unconfirmed:
					t.Errorf("after %d s it is a reason to act: %s", sec, s.Message)
				}
			}
			if over != tt.over {
				t.Errorf("over after %d s, want %d", over, tt.over)
			}
		})
	}
}

// A change of the threshold while a part is missing does not clear what fires.
func TestPartIsMissingOverAReload(t *testing.T) {
	for _, lost := range []bool{true, false} {
		o := Objective{Name: "queue", Expr: `sum by (service) (queue) > 10`, Code: grace.CodeCapacity}
		h := newHouse(DefaultConfig(), []Objective{o})
		a, b := h.target("a"), h.target("b")
		for sec := 0; sec <= 80; sec += 10 {
			switch a.page(sec, 4); {
			case sec <= 30:
				b.page(sec, 20)
			case lost:
				b.Lose(at(sec))
			default:
				b.empty(sec)
			}
			if sec == 50 {
				o.Expr = `sum by (service) (queue) > 9`
				h.Reconfigure(DefaultConfig(), []Objective{o})
			}
			h.judge(at(sec))
			h.Tick(at(sec))
		}
		if got, want := states(h), map[bool]string{true: "web=firing", false: "web=ok"}[lost]; got != want {
			t.Errorf("lost %t: %s", lost, got)
		}
	}
}

// It goes on firing where what is seen of it is enough to fail.
func TestPartOfASumFails(t *testing.T) {
	h := newHouse(DefaultConfig(), []Objective{{Name: "queue", Expr: `sum by (service) (queue) > 10`, Code: grace.CodeCapacity}})
	a, b := h.target("a"), h.target("b")
	for sec := 0; sec <= 200; sec += 10 {
		if a.page(sec, 40); sec <= 30 {
			b.page(sec, 20)
		} else {
			b.Lose(at(sec))
		}
		h.judge(at(sec))
		h.Tick(at(sec))
	}
	if s := h.Signals()[0]; s.State != grace.SignalFiring || s.Unconfirmed || !s.At.Equal(at(200)) {
		t.Errorf("%+v", s)
	}
}

// What may be too low, or too few, only because a part of it is not measured is told, and is no
// reason to act until that is measured, or is gone.
func TestFallsForWantOfAPart(t *testing.T) {
	const sum = `sum by (service) (queue) < 10`
	back := func(b *target, sec int) {
		if sec < 120 {
			b.Lose(at(sec))
		} else {
			b.page(sec, 1)
		}
	}
	lose := func(b *target, sec int) { b.Lose(at(sec)) }
	for name, tt := range map[string]struct {
		expr  string
		does  func(b *target, sec int) // from second 40 on
		fires int                      // 0: not within seven minutes
		shown int                      // when it is a reason to act
	}{
		"it is measured":                    {sum, func(b *target, sec int) { b.page(sec, 1) }, 40, 40},
		"it has ended":                      {sum, func(b *target, sec int) { b.empty(sec) }, 40, 40},
		"its target does not answer":        {sum, lose, 40, 340},
		"its target does not answer awhile": {sum, back, 40, 120},
		"the other way round":               {`10 > sum by (service) (queue)`, lose, 40, 340},
		"an average":                        {`avg by (service) (queue) < 5`, lose, 40, 340},
		"the highest":                       {`max by (service) (queue) < 5`, lose, 40, 340},
		"a count":                           {`count by (service) (queue) < 2`, lose, 40, 340},
		"a count that is another":           {`count by (service) (queue) != 2`, lose, 40, 340},
		"with another condition":            {sum + ` and on (service) sum by (service) (queue{pod="a"}) > 1`, lose, 40, 340},
		"on the side that is higher":        {`sum by (service) (queue{pod="a"}) > on (service) sum by (service) (queue{pod="b"}) or ` + sum, back, 40, 120},
		"subtracted":                        {`2 - count by (service) (queue) > 0`, lose, 40, 340},
		"the negative":                      {`-sum by (service) (queue) > -10`, lose, 40, 340},
		"0 instead":                         {`(min(queue{pod="b"}) or 0 * sum(up)) < 5`, lose, 40, 340},
		"0 filled in":                       {`queue{pod="a"} + on (service) fill (0) queue{pod="b"} < 10`, lose, 40, 340},
		"what is missing makes it higher":   {`min by (service) (queue) < 5`, lose, 40, 40},
		"each by itself":                    {`queue < 5`, lose, 40, 40},
		"its range has what was":            {`sum by (service) (max_over_time(queue[30s])) < 10`, lose, 60, 340},
		"up is measured":                    {`count by (service) (up == 1) < 2`, lose, 40, 40},
		"the sum of up is":                  {`sum by (service) (up) < 2`, lose, 40, 40},
		"its source answers in part": {sum, func(b *target, sec int) {
			if sec < 200 {
				b.Lack("queue", "source eu: a store is away")
			}
			b.Begin(at(sec))
			b.Append("queue", labels.EmptyLabels(), series.Meta{}, series.Sample{At: at(sec).UnixMilli(), Value: 1})
			b.End(sec < 200)
		}, 40, 200},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := DefaultConfig()
			cfg.FailAfter = 1
			h := newHouse(cfg, []Objective{{Name: "queue", Service: "web", Expr: tt.expr, Code: grace.CodeCapacity}})
			a, b := h.target("a"), h.target("b")
			upA, upB := h.target("a"), h.target("b")
			fires, shown := 0, 0
			for sec := 0; sec < 420; sec += 10 {
				up := 1.0
				if sec < 40 {
					a.page(sec, 8)
					b.page(sec, 8)
				} else {
					a.page(sec, 4)
					tt.does(b, sec)
					up = 0
				}
				upA.up(sec, 1)
				upB.up(sec, up)
				h.judge(at(sec))
				h.Tick(at(sec))
				s := h.Signals()[0]
				if fires == 0 && s.State == grace.SignalFiring {
					fires = sec
				}
				if shown == 0 && s.State == grace.SignalFiring && !s.Unconfirmed {
					shown = sec
				}
			}
			if fires != tt.fires || shown != tt.shown {
				t.Errorf("fires after %d s, a reason to act after %d s; want %d, %d", fires, shown, tt.fires, tt.shown)
			}
		})
	}
}

// What is counted in a range is low where not all of the range was seen, since the start or
// while its target did not answer: that is told, and is no reason to act.
func TestRangeIsNotSeenWhole(t *testing.T) {
	for expr, want := range map[string]string{
		`sum(rate(requests[5m])) < 1`:                        "40-140: unconfirmed, 1210-1220: unconfirmed",
		`-sum(increase(requests{code="200"}[5m])) > -300`:    "40-140: unconfirmed, 1210-1220: unconfirmed",
		`sum(count_over_time(requests[5m])) < 20`:            "40-180: unconfirmed, 1080-1260: unconfirmed",
		`sum(rate(requests[5m])) < 3`:                        "40-270: unconfirmed, 280-900: shown, 1080-1350: unconfirmed, 1360-1500: shown",
		`sum(rate(requests[5m])) / sum(rate(other[5m])) < 3`: "40-900: shown, 1080-1500: shown",
		`sum(rate(requests[5m])) > 0.1`:                      "40-900: shown, 1080-1500: shown",
		`sum(max_over_time(requests[5m])) < 1e6`:             "40-900: shown, 1080-1500: shown",
	} {
		h := newHouse(DefaultConfig(), []Objective{{Name: "traffic", Service: "web", Expr: expr, Code: grace.CodeCapacity}})
		p := h.target("a")
		var spans []string
		from, was := 0, ""
		for sec := 0; sec <= 1510; sec += 10 {
			if sec > 900 && sec < 1080 {
				p.Lose(at(sec))
			} else {
				p.counters(sec, map[string]float64{"requests 200": float64(2 * sec), "other": float64(sec)})
			}
			h.judge(at(sec))
			h.Tick(at(sec))
			is := ""
			switch s := h.Signals()[0]; {
			case s.State != grace.SignalFiring || s.Passing || sec > 1500:
			case s.Unconfirmed && sec > 900 && sec < 1080:
			case s.Unconfirmed:
				is = "unconfirmed"
			default:
				is = "shown"
			}
			if is != was && was != "" {
				spans = append(spans, strconv.Itoa(from)+"-"+strconv.Itoa(sec-10)+": "+was)
			}
			if is != was {
				from, was = sec, is
			}
		}
		if got := strings.Join(spans, ", "); got != want {
			t.Errorf("%s: %s, want %s", expr, got, want)
		}
	}
}

// What is missing on the right of unless is no reason to fire: it may be what keeps it silent.
func TestVetoIsMissing(t *testing.T) {
	for name, tt := range map[string]struct {
		b     func(b, c *target, sec int)
		fires int // 0: not within five minutes
	}{
		"it is there":                {func(b, c *target, sec int) { b.page(sec, 200); c.page(sec, 1) }, 0},
		"it has ended":               {func(b, c *target, sec int) { b.empty(sec); c.page(sec, 1) }, 110},
		"its target does not answer": {func(b, c *target, sec int) { b.Lose(at(sec)); c.page(sec, 1) }, 0},
		"nothing comes of it":        {func(_, c *target, sec int) { c.page(sec, 1) }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(DefaultConfig(), []Objective{{
				Name: "queue", Service: "web", Expr: `sum(queue{pod="a"}) > 10 unless sum(queue{pod=~"b|c"}) > 100`, Code: grace.CodeCapacity,
			}})
			a, b, c := h.target("a"), h.target("b"), h.target("c")
			fires := 0
			for sec := 0; sec <= 390; sec += 10 {
				a.page(sec, 20)
				if sec < 100 {
					b.page(sec, 200)
					c.page(sec, 1)
				} else {
					tt.b(b, c, sec)
				}
				h.judge(at(sec))
				h.Tick(at(sec))
				if s := h.Signals()[0]; fires == 0 && s.State == grace.SignalFiring {
					fires = sec
				}
			}
			if fires != tt.fires {
				t.Errorf("it fires after %d s, want %d", fires, tt.fires)
			}
		})
	}
}

// What comes too late to have a say teaches how rarely it comes; where that is not enough
// people are told what to write.
func TestLateIsTold(t *testing.T) {
	for _, tt := range []struct {
		every, late int
		state       grace.SignalState
		says        string
	}{
		{300, 200, grace.SignalOK, "lag 1 s <= 10 s"},
		{20, 90, grace.SignalUnknown, "lag: no data yet; its samples are 1m30s old when they come, too old to count: raise sense.stale_after"},
	} {
		a := lagging(func(o *Objective) { o.Service = "web" })
		a.judge(at(0))
		told := 0
		for sec := 0; sec <= 3000; sec += 10 {
			if sec%tt.every == 0 {
				s := of("web", "w-1", sec, 1)
				a.Agent.Observe(s)
				a.db.Observe(s)
				for _, changed := range a.judge(at(sec + tt.late)) {
					if changed.Message == tt.says {
						told++
					}
				}
			}
			a.Tick(at(sec + tt.late))
		}
		if s := a.Signals()[0]; s.State != tt.state || s.Message != tt.says || told != 1 {
			t.Errorf("told %d times, %+v", told, s)
		}
	}
	a := lagging(func(o *Objective) { o.Service = "web" })
	a.db.Observe(of("web", "w-1", -100, 1))
	a.judge(at(0)) // what was there before
	if s := a.Signals()[0]; s.Message != "lag: no data yet" {
		t.Errorf("%+v", s)
	}
}

// What fires for thousands of series is judged in a moment, also while none of them answers.
func BenchmarkMissing(b *testing.B) {
	h := newHouse(DefaultConfig(), []Objective{{Name: "queue", Service: "web", Expr: `queue > 1 and queue > 10`, Code: grace.CodeCapacity}})
	all := h.target("a")
	sec := 0
	for ; sec <= 30; sec += 10 {
		all.Begin(at(sec))
		for i := range 5000 {
			all.Append("queue", labels.FromStrings("shard", strconv.Itoa(i)), series.Meta{}, series.Sample{At: at(sec).UnixMilli(), Value: 20})
		}
		all.End(false)
		h.judge(at(sec))
	}
	all.Lose(at(sec))
	for b.Loop() {
		h.judge(at(sec))
	}
	if got := states(h); got != "web=firing" {
		b.Fatal(got)
	}
}
