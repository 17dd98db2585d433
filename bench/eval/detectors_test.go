package main

import (
	"math"
	"slices"
	"testing"
)

// rhythm is 14 days with a day's rhythm, and 12 h of another level in the window.
func rhythm() *series {
	s := &series{source: "nab", name: "realKnownCause/a", windows: []window{{2990, 3190}}}
	for i := range 4032 {
		v := math.Sin(2*math.Pi*float64(i)/288) + 0.1*math.Sin(float64(i*i))
		if i >= 3000 && i < 3144 {
			v += 4
		}
		s.at, s.values = append(s.at, int64(i)*5*minute), append(s.values, v)
	}
	return s
}

// The default finds what is there to be found, and says it once.
func TestDefaultDetector(t *testing.T) {
	ours := nabOurs()
	r := ours.results([]*series{rhythm()})[0]
	if r.hit != 1 || r.wrong != 0 || !r.ops || math.Abs(r.days-(4031-604)/288.0) > 1e-9 {
		t.Errorf("%+v", r)
	}
}

func TestJudgeNAB(t *testing.T) {
	s := &series{source: "nab", name: "realAWSCloudwatch/a", at: make([]int64, 100), values: make([]float64, 100), windows: []window{{40, 49}, {70, 79}}}
	scores := make([]float64, 100)
	for _, row := range []int{3, 30, 42, 44, 90} { // 3 is not scored
		scores[row] = 0.5
	}
	got := judgeNAB(s, 0.5, scores)
	if got.windows != 2 || got.hit != 1 || got.right != 2 || got.wrong != 2 || got.base != -2 || !got.ops {
		t.Errorf("%+v; want 1 of 2 windows hit, 2 detections right, 2 wrong, base -2, ops", got)
	}
}

// What a detector says of a row may not depend on what comes later.
func TestDetectorsAreCausal(t *testing.T) {
	s := rhythm()
	const cut = 3050
	for _, d := range nabDetectors() {
		whole, part := d.scores(s.at, s.values), d.scores(s.at[:cut], s.values[:cut])
		if !slices.Equal(whole[:cut], part) {
			t.Errorf("%s scores otherwise when nothing follows row %d", d.name, cut)
		}
	}
}

func TestDisturb(t *testing.T) {
	s := &series{at: make([]int64, 1000), values: make([]float64, 1000), windows: []window{{400, 499}}}
	for i := range s.at {
		s.at[i], s.values[i] = int64(i)*300_000, float64(i)
	}
	got := disturbance{shift: 7, skip: 0.2, every: 2}.apply(s) // 30 rows are cut
	if len(got.at) != 485 || got.at[0] != 30*300_000+7 || got.values[1] != 32 || got.windows[0] != (window{185, 235}) {
		t.Errorf("%d rows, the first at %d, the second %v, windows %v", len(got.at), got.at[0], got.values[1], got.windows)
	}
}
