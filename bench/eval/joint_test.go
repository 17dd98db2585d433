package main

import (
	"fmt"
	"testing"
)

// Three series of a service that rise together are foretold together, and what is said is
// held to the first breach of any; of two nothing is said.
func TestJointly(t *testing.T) {
	for n, want := range map[int]result{2: {}, 3: {warnings: 1, right: 1, breaches: 1, foreseen: 1}} {
		var stretches []stretch
		for i := range n {
			s := rising(260, 140)
			s.name = fmt.Sprint(s.name, i)
			for row := range s.values {
				s.values[row] += float64(i)
			}
			for row := 140; row < len(s.values); row++ { // too far away for each of them
				s.values[row] = 50 + float64(row*row*7%5)/50 + 0.2*float64(row-140)
			}
			if i == 0 {
				for row := 180; row < len(s.values); row++ {
					s.values[row] = 150
				}
			}
			stretches = append(stretches, stretch{s, 0, 100, 260})
		}
		p, err := play(t.Context(), stretches, false)
		if err != nil {
			t.Fatal(err)
		}
		got := total(scoreJoints([]*run{{set: p}}, claimed, false).list(), []int{0}[:min(1, len(p.joints))])
		if got.warnings != want.warnings || got.right != want.right || got.breaches != want.breaches || got.foreseen != want.foreseen {
			t.Errorf("%d series: %+v, want %+v", n, got, want)
		}
	}
}
