package main

import (
	"slices"
	"testing"
)

// rising is a series of a value a minute that goes on at its level and then rises
// steadily past its limit.
func rising(rows, from int) *series {
	s := &series{source: "test", name: "rising", group: "g", service: "s"}
	for i := range rows {
		s.at = append(s.at, int64(i)*minute)
		s.values = append(s.values, 50+float64(i*i*7%5)/5+2*float64(max(0, i-from)))
	}
	s.history, s.limit = 100, 100
	return s
}

// What the agent says depends on nothing that comes later, and a steady rise is
// foreseen from the first value above.
func TestPlay(t *testing.T) {
	s := rising(200, 140)
	whole, err := play(t.Context(), []stretch{{s, 0, 100, 200}}, false)
	if err != nil {
		t.Fatal(err)
	}
	claims, back := whole.at(claimed, "")
	parts := whole.parts(false)
	r := parts[0].judge(claims[0])
	if r.breaches != 1 || r.foreseen != 1 || len(back[0]) != len(claims[0]) || back[0][0].rule != "trend" {
		t.Fatalf("%+v by %d claims", r, len(claims[0]))
	}
	cut, err := play(t.Context(), []stretch{{s, 0, 100, 165}}, false)
	if err != nil {
		t.Fatal(err)
	}
	early := func(p *player) (out []int64) {
		for _, c := range p.claims {
			if at := c.reached[claimed].at; at < 165*minute {
				out = append(out, at)
			}
		}
		return out
	}
	if a, b := early(whole), early(cut); len(b) == 0 || !slices.Equal(a, b) {
		t.Errorf("claims at %v, and %v when the end is cut off", a, b)
	}
}

// All series begin in one week, at their own hour of it, and come in the order of
// time.
func TestOrder(t *testing.T) {
	late := marked("....")
	for i := range late.at {
		late.at[i] += (500*168 + 3) * hourMillis
	}
	p := &player{stretches: []stretch{{marked("...."), 0, 0, 4}, {late, 0, 1, 4}}}
	rows := p.order()
	if len(rows) != 4+3 {
		t.Fatalf("%d rows", len(rows))
	}
	last := int64(0)
	for _, r := range rows {
		if r.at < last || r.at/(7*dayMillis) != 2300 || p.shifts[r.of]%(7*dayMillis) != 0 {
			t.Errorf("%+v after %d", r, last)
		}
		last = r.at
	}
}
