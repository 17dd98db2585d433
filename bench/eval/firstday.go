package main

import (
	"context"
	"sort"
	"sync"
	"time"
)

// start is a moment at which the agent begins to watch, or has watched for so long.
type start struct {
	name    string
	after   time.Duration // the first row of a series
	history bool          // what came before is given as history; else the agent watched it, from a cold start
}

const day = 24 * time.Hour

func starts() []start {
	out := []start{{"a cold start", 0, false}}
	for _, s := range []struct {
		name  string
		after time.Duration
	}{{"1 h", time.Hour}, {"1 day", day}, {"3 days", 3 * day}, {"1 week", 7 * day}, {"2 weeks", 14 * day}, {"4 weeks", 28 * day}} {
		out = append(out, start{s.name + " of history", s.after, true}, start{"watching for " + s.name, s.after, false})
	}
	return out
}

// fewestRows that the day after a start must have.
const fewestRows = 20

// stretchOf gives the day after a start, and false where the series has none.
func (st start) stretchOf(s *series) (stretch, bool) {
	rowAt := func(after time.Duration) int {
		return sort.Search(len(s.at), func(i int) bool { return s.at[i] >= s.at[0]+after.Milliseconds() })
	}
	out := stretch{s: s, live: rowAt(st.after), end: rowAt(st.after + day)}
	return out, out.end-out.live >= fewestRows
}

// firstDays is what was said on the day after each start, by grain of the series.
type firstDays struct {
	start   start
	series  map[bool]int // by whether they are hourly
	advice  map[bool]scored
	acts    map[bool]scored
	another map[bool]scored // predict_linear[1h]
}

// add judges the day after the start.
func (f *firstDays) add(p *player) {
	advice, _ := p.at(advised, "")
	acted, _ := p.at(acts, "")
	linear := linearHour()
	for i, st := range p.stretches {
		d, ok := f.start.stretchOf(st.s)
		if !ok {
			continue
		}
		j := part{s: st.s, live: d.live, end: len(st.s.at), stop: d.end, spells: spells(st.s.at, st.s.values, st.s.limit)}
		h := st.s.hourly()
		f.series[h]++
		f.advice[h].add(&j, advice[i])
		f.acts[h].add(&j, acted[i])
		f.another[h].add(&j, linear.warnings(&j))
	}
}

func newFirstDays(s start) *firstDays {
	empty := func() map[bool]scored { return map[bool]scored{false: {}, true: {}} }
	return &firstDays{start: s, series: map[bool]int{}, advice: empty(), acts: empty(), another: empty()}
}

// runFirstDays lets an agent begin at each start, and one that began cold go on.
func runFirstDays(ctx context.Context, runs []*run) (out []*firstDays, cold []*player, err error) {
	out = make([]*firstDays, len(starts()))
	for i, s := range starts() {
		out[i] = newFirstDays(s)
	}
	var jobs []func() error
	var mu sync.Mutex
	for _, r := range runs {
		all := inOrder(r.all)
		jobs = append(jobs, func() error {
			p, err := play(ctx, coldly(all), false)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			cold = append(cold, p)
			for i, s := range starts() {
				if !s.history {
					out[i].add(p)
				}
			}
			return nil
		})
		for i, s := range starts() {
			if !s.history {
				continue
			}
			jobs = append(jobs, func() error {
				var stretches []stretch
				for _, one := range all {
					if st, ok := s.stretchOf(one); ok {
						stretches = append(stretches, st)
					}
				}
				p, err := play(ctx, stretches, false)
				if err != nil {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				out[i].add(p)
				return nil
			})
		}
	}
	return out, cold, together(jobs)
}

// coldly shows series from their first row, up to the day after the last start.
func coldly(all []*series) []stretch {
	last := starts()[len(starts())-1]
	var out []stretch
	for _, s := range all {
		st, _ := last.stretchOf(s)
		out = append(out, stretch{s: s, end: st.end})
	}
	return out
}

func firstDayTables(h half, days []*firstDays) []Table {
	var out []Table
	for _, hourly := range []bool{false, true} {
		t := Table{
			Title:   h.title("The first day, series of minutes"),
			What:    "What was said on the day after a start, with the past given as history, or without: then the agent has watched since its cold start. All sources, the series that have that much; else as above. An hour of history is what a daemon gets that asks for no more; a day is nothing for what needs a rhythm.",
			Columns: []string{"series", "breaches", "advice or action: warnings", "precision", "recall", "lead, min", "acts: warnings", "precision", "recall", "predict_linear[1h]: warnings", "precision", "recall"},
		}
		if hourly {
			t.Title, t.What = h.title("The first day, series of hours"), "The same for series of hours; an hour of history is one row."
		}
		for _, d := range days {
			if d.series[hourly] == 0 {
				continue
			}
			advice, acted, other := figuresOf(d.advice[hourly]), figuresOf(d.acts[hourly]), figuresOf(d.another[hourly])
			t.Rows = append(t.Rows, Row{Name: d.start.name, Ours: true, Cells: []Value{
				figure(float64(d.series[hourly]), 0), figure(float64(advice.sum.breaches), 0),
				advice.warnings(), advice.precision, advice.recall, advice.lead,
				acted.warnings(), acted.precision, acted.recall,
				other.warnings(), other.precision, other.recall,
			}})
		}
		out = append(out, t)
	}
	return out
}

// together does jobs, some at a time, and gives the first error.
func together(jobs []func() error) error {
	errs := make([]error, len(jobs))
	var running sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i, job := range jobs {
		running.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			errs[i] = job()
		})
	}
	running.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
