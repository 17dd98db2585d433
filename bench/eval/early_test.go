package main

import (
	"math"
	"os"
	"slices"
	"testing"
	"time"

	"grace/internal/breach"
)

// rows makes a series of a value every five minutes; x is above the limit of 1.
func earlyRows(marks string) nabFile {
	f := nabFile{}
	for i, c := range marks {
		v := 0.0
		if c == 'x' {
			v = 2
		}
		f.at = append(f.at, int64(i)*(5*time.Minute).Milliseconds())
		f.values = append(f.values, v)
	}
	return f
}

func TestEarlyBreaches(t *testing.T) {
	// The first 40 %, 40 rows, are calm.
	calm := "........................................"
	marks := calm + "..x.x.xx.x........xxx..................xxx.................."
	s := newEarly(earlyRows(marks), false)
	if want := []int{47, 81}; !slices.Equal(s.begins, want) {
		t.Errorf("breaches begin at %v, want %v", s.begins, want)
	}
	if s := newEarly(earlyRows(marks), true); !slices.Equal(s.begins, []int{44, 79}) {
		t.Errorf("breaches begin with the first value at %v", s.begins)
	}
	if !s.in[47] || !s.in[52] || s.in[70] || !s.in[81] {
		t.Error("rows in a breach are wrong")
	}
}

func TestEarlyJudge(t *testing.T) {
	calm := "........................................"
	s := newEarly(earlyRows(calm+"....................xxxx...................................."), false)
	if !slices.Equal(s.begins, []int{62}) {
		t.Fatalf("breaches begin at %v", s.begins)
	}
	for name, c := range map[string]struct {
		rows            []int
		warnings, right int
		lead, stood     float64
	}{
		"none":                     {nil, 0, 0, 0, 0},
		"in time":                  {[]int{55}, 1, 1, 35, 35},
		"an hour before":           {[]int{50}, 1, 1, 60, 60},
		"too early":                {[]int{49}, 1, 0, 0, 0},
		"one warning, two claims":  {[]int{52, 58}, 1, 1, 50, 50},
		"too early, then again":    {[]int{45, 57}, 2, 1, 25, 85},
		"a gap":                    {[]int{43, 57}, 2, 1, 25, 25},
		"too late":                 {[]int{62, 63}, 0, 0, 0, 0},
		"in the part that teaches": {[]int{30}, 0, 0, 0, 0},
		"after it":                 {[]int{70}, 1, 0, 0, 0},
	} {
		r := s.judge(func(row int) bool { return slices.Contains(c.rows, row) })
		if r.warnings != c.warnings || r.right != c.right || r.foreseen != c.right || r.breaches != 1 {
			t.Errorf("%s: %+v", name, r)
		}
		if c.right > 0 && (r.leads[0] != c.lead || r.stood[0] != c.stood) {
			t.Errorf("%s: lead %v, stood %v", name, r.leads, r.stood)
		}
	}
}

// No claim may depend on what comes later.
func TestEarlyIsCausal(t *testing.T) {
	marks := ""
	for range 30 {
		marks += "....x.xx.x......x...........................xxxx.x......"
	}
	whole := newEarly(earlyRows(marks), false)
	cut := len(whole.at) * 3 / 4
	part := whole
	part.at, part.values = whole.at[:cut], whole.values[:cut]
	part.in = whole.in[:cut]
	for _, m := range earlyMethods() {
		if a, b := m.claims(whole)[:cut], m.claims(part); !slices.Equal(a, b) {
			t.Errorf("%s claims otherwise when the end is cut off", m.name)
		}
	}
}

// All series begin in one week, at their own hour of it, and come in the order of
// time.
func TestEarlyOrder(t *testing.T) {
	const hour = int64(time.Hour / time.Millisecond)
	late := earlyRows("....")
	for i := range late.at {
		late.at[i] += 500*168*hour + 3*hour
	}
	series := []earlySeries{{at: earlyRows("....").at}, {at: late.at, from: 1}}
	looks := earlyOrder(series)
	if len(looks) != 4+3 {
		t.Fatalf("%d looks", len(looks))
	}
	last := int64(0)
	for _, l := range looks {
		at := series[l.series].at[l.row] + l.shift
		if at < last || l.shift%(168*hour) != 0 || at/(168*hour) != 2300 {
			t.Errorf("%+v at %d after %d", l, at, last)
		}
		last = at
	}
}

func TestReliability(t *testing.T) {
	var honest, boastful []prediction
	for i := range 4000 {
		honest = append(honest, prediction{0.25, 0.5, i%4 == 0})
		boastful = append(boastful, prediction{0.85, 0.5, i%4 == 0})
	}
	rows, worst, raw := reliabilityRows("x", [][]prediction{honest})
	if len(rows) != 2 || worst > 1e-9 || math.Abs(raw-25) > 1e-9 { // a row for what was said, one for the score
		t.Errorf("honest: %v, %.1f points apart, by score %.1f", rows, worst, raw)
	}
	if _, worst, _ := reliabilityRows("x", [][]prediction{boastful}); math.Abs(worst-60) > 1e-9 {
		t.Errorf("boastful: %.1f points apart", worst)
	}
	if many, few := reliableByChance([][]prediction{honest}), reliableByChance([][]prediction{honest[:40]}); many < 0.99 || few > 0.7 {
		t.Errorf("by chance within 5 points: %.2f of many, %.2f of few", many, few)
	}
}

// The prior weights in internal/breach are those that the fit gives on the open
// data; skipped without them.
func TestEarlyPriorIsTheFit(t *testing.T) {
	data := os.Getenv("GRACE_EVAL_DATA")
	if data == "" {
		t.Skip("GRACE_EVAL_DATA is not set")
	}
	files, err := readNAB(data)
	if err != nil {
		t.Fatal(err)
	}
	var cases [][]earlyCase
	for _, f := range files {
		cases = append(cases, newEarly(f, false).cases())
	}
	prior := breach.Prior()
	for k, w := range fitEarly(cases) {
		if math.Abs(w-prior[k]) > 0.011 {
			t.Errorf("weight %d: %.2f by the fit, %.2f in the package", k, w, prior[k])
		}
	}
}
