package main

import (
	"slices"
	"testing"
	"time"
)

const minute = int64(time.Minute / time.Millisecond)

// marked makes a series of a value every five minutes; x is above the limit of 1, and
// a blank is a row that is missing.
func marked(marks string) *series {
	s := &series{source: "test", name: "s", group: "s", limit: 1}
	for i, c := range marks {
		v := 0.0
		if c == 'x' {
			v = 2
		}
		if c != ' ' {
			s.at, s.values = append(s.at, int64(i)*5*minute), append(s.values, v)
		}
	}
	return s
}

func partOf(s *series) part {
	return part{s: s, end: len(s.at), stop: len(s.at), spells: spells(s.at, s.values, s.limit)}
}

func TestSpells(t *testing.T) {
	for marks, want := range map[string][]spell{
		"..x.x.xx.x....":           {{4, 7, 9}},
		"xxx...":                   {{0, 2, 3}},
		"..xx.x............xxx.":   {{2, 5, 5}, {18, 20, 21}}, // 75 min after it
		"..xxx.......xxx....":      {{2, 4, 15}},              // 45 min after it: the same
		"..x.x.x.x.x.":             nil,
		"..xx               x....": {{2, 4, 5}}, // rows count, whatever lies between
	} {
		s := marked(marks)
		if got := spells(s.at, s.values, s.limit); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", marks, got, want)
		}
	}
}

// A breach whose first value above is at 100 min, and nothing else.
const oneBreach = "....................xxxx............................"

func TestJudge(t *testing.T) {
	for name, c := range map[string]struct {
		marks    string
		from     int64 // min; the claim stands for 20
		was      verdict
		foreseen int
		lead     float64
	}{
		"in time":                    {oneBreach, 90, right, 1, 10},
		"as early as may be":         {oneBreach, 80, right, 1, 20},
		"too early":                  {oneBreach, 79, wrong, 0, 0},
		"at the first value above":   {oneBreach, 100, late, 0, 0},
		"when it is a breach":        {oneBreach, 110, late, 0, 0},
		"within the hour after it":   {oneBreach, 150, late, 0, 0},
		"an hour after it":           {oneBreach, 190, wrong, 0, 0},
		"at a single value":          {"....x......" + oneBreach, 20, late, 0, 0},
		"two rows after it":          {"....x......" + oneBreach, 30, late, 0, 0},
		"three rows after it":        {"....x......" + oneBreach, 35, wrong, 0, 0},
		"before the end":             {"....................", 65, wrong, 0, 0},
		"nobody knows what comes":    {"....................", 80, unknown, 0, 0},
		"right, and the series ends": {"..........xxx", 40, unknown, 1, 10},
	} {
		p := partOf(marked(c.marks))
		claims := []claim{{from: c.from * minute, until: (c.from + 20) * minute, limit: 1}}
		r := p.judge(claims)
		if claims[0].was != c.was || r.foreseen != c.foreseen || c.foreseen > 0 && r.leads[0] != c.lead {
			t.Errorf("%s: %d, %+v", name, claims[0].was, r)
		}
	}
}

// On a series of hours the newest three values may be those of a breach that is over:
// that is history, and nothing to see of the next.
func TestLateOfHours(t *testing.T) {
	s := marked("....xxx.......")
	for i := range s.at {
		s.at[i] = int64(i) * 60 * minute
	}
	p := partOf(s)
	for row, want := range map[int]bool{3: false, 4: true, 6: true, 7: true, 8: false, 9: false} {
		if got := p.late(row, 1); got != want {
			t.Errorf("late at hour %d: %v", row, got)
		}
	}
}

// Two claims on one breach are two warnings, and the breach is foreseen once, with the
// longer lead.
func TestJudgeTwice(t *testing.T) {
	p := partOf(marked(oneBreach))
	r := p.judge([]claim{{85 * minute, 105 * minute, 1, 0}, {95 * minute, 115 * minute, 1, 0}, {0, 20 * minute, 1, 0}})
	if r.warnings != 3 || r.right != 2 || r.breaches != 1 || r.foreseen != 1 || !slices.Equal(r.leads, []float64{15}) {
		t.Errorf("%+v", r)
	}
}

// What begins with its first value is at the limit before it is a breach: the other
// count lets that pass.
func TestJudgeFromTheThirdValue(t *testing.T) {
	p := partOf(marked(oneBreach))
	p.sure = true
	claims := []claim{{100 * minute, 120 * minute, 1, 0}}
	if r := p.judge(claims); claims[0].was != right || r.leads[0] != 10 {
		t.Errorf("%d, %+v", claims[0].was, r)
	}
}

// A baseline's warning stands for its time; claims in it are part of it, and one at a
// value above hides none before the limit.
func TestWarnings(t *testing.T) {
	p := partOf(marked("..........x...................."))
	rows := []int{2, 3, 5, 10, 13, 14, 20}
	b := baseline{claims: func(*part) []bool {
		out := make([]bool, p.end)
		for _, r := range rows {
			out[r] = true
		}
		return out
	}}
	var from []int64
	for _, c := range b.warnings(&p) {
		from = append(from, c.from/minute/5)
	}
	if want := []int64{2, 10, 13, 20}; !slices.Equal(from, want) {
		t.Errorf("warnings at rows %v, want %v", from, want)
	}
}

// No baseline may depend on what comes later.
func TestBaselinesAreCausal(t *testing.T) {
	marks := ""
	for range 20 {
		marks += "....x.xx.x......x...........................xxxx.x......"
	}
	for _, every := range []int64{5 * minute, 60 * minute} {
		whole := marked(marks)
		for i := range whole.at {
			whole.at[i] = int64(i) * every
		}
		cut := *whole
		n := len(whole.at) * 3 / 4
		cut.at, cut.values = whole.at[:n], whole.values[:n]
		a, b := partOf(whole), partOf(&cut)
		for _, m := range baselines() {
			if x, y := m.claims(&a)[:n], m.claims(&b); !slices.Equal(x, y) {
				t.Errorf("%s claims otherwise when the end is cut off", m.name)
			}
		}
	}
}
