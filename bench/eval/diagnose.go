package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// diagnosis shows, of the half on which constants are chosen, which claims of `trend`
// come true. It is no table of results, and the other half has none.
func diagnosis(ctx context.Context, e *evaluation) ([]Table, error) {
	if e.half != choose {
		return nil, nil
	}
	if _, err := e.firstDays(ctx); err != nil {
		return nil, err
	}
	var warm []*player
	for _, r := range e.runs {
		warm = append(warm, r.set)
	}
	return []Table{
		diagnosed("with history", "trend", warm), diagnosed("from a cold start", "trend", e.cold),
		diagnosed("with history", "early", warm), diagnosed("from a cold start", "early", e.cold),
	}, nil
}

// tallied are claims of one kind.
type tallied struct{ right, wrong int }

func diagnosed(how, rule string, players []*player) Table {
	t := Table{Title: fmt.Sprintf("Claims of %s, %s, to choose by", rule, how), Columns: []string{"claims", "precision"}}
	kinds := map[string]*tallied{}
	for _, p := range players {
		claims, back := p.at(claimed, rule)
		for i, j := range p.parts(false) {
			j.judge(claims[i])
			for k, c := range claims[i] {
				if c.was != right && c.was != wrong {
					continue
				}
				for _, kind := range kindsOf(j.s, back[i][k]) {
					for _, name := range []string{kind, kind + ", " + j.s.source} {
						if kinds[name] == nil {
							kinds[name] = &tallied{}
						}
						if c.was == right {
							kinds[name].right++
						} else {
							kinds[name].wrong++
						}
					}
				}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		n := kinds[name]
		t.Rows = append(t.Rows, Row{Name: name, Ours: true, Cells: []Value{
			figure(float64(n.right+n.wrong), 0), figure(float64(n.right)/float64(n.right+n.wrong), 2),
		}})
	}
	return t
}

// kindsOf is what a claim is sorted by.
func kindsOf(s *series, c *said) []string {
	binOf := func(v float64, edges ...float64) string {
		for i, e := range edges {
			if v < e {
				if i == 0 {
					return fmt.Sprintf("below %v", e)
				}
				return fmt.Sprintf("%v to %v", edges[i-1], e)
			}
		}
		return fmt.Sprintf("%v or more", edges[len(edges)-1])
	}
	interval := "hourly"
	switch step := s.step(); {
	case step <= time.Minute:
		interval = "up to 1 min"
	case step <= 5*time.Minute:
		interval = "1 to 5 min"
	case step < time.Hour:
		interval = "5 min to 1 h"
	}
	role := string(s.role)
	if role == "" {
		role = "none"
	}
	return []string{
		"all",
		"samples " + binOf(float64(c.samples), 20, 40, 60, 120, 300),
		"interval " + interval,
		"role " + role,
		"score " + binOf(c.score, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95),
		"likelihood " + binOf(c.likelihood, 0.2, 0.4, 0.6, 0.8),
	}
}
