package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// run is what the agent and the others did on one half of a source, with history.
type run struct {
	source  string
	all     []*series // as read
	set     *player   // limits are set
	learned *player   // limits are learned
}

// runSource gives the agent the history of each series of a source, and then the rest
// as it comes.
func runSource(ctx context.Context, data string, src source, h half) (*run, error) {
	all, err := src.load(data, h)
	if err != nil {
		return nil, err
	}
	r := &run{source: src.name, all: all}
	var stretches []stretch
	for _, s := range inOrder(all) {
		stretches = append(stretches, stretch{s: s, live: s.history, end: len(s.at)})
	}
	if r.set, err = play(ctx, stretches, false); err != nil {
		return nil, err
	}
	r.learned, err = play(ctx, stretches, true)
	return r, err
}

// scored are a method's results by group: what is drawn anew for an interval.
type scored map[string]*result

func (g scored) add(p *part, claims []claim) {
	key := p.s.source + "/" + p.s.group
	if g[key] == nil {
		g[key] = &result{}
	}
	g[key].add(p.judge(claims))
}

func (g scored) merge(o scored) {
	for key, r := range o {
		if g[key] == nil {
			g[key] = &result{}
		}
		g[key].add(*r)
	}
}

func (g scored) list() []result {
	var out []result
	for _, name := range slices.Sorted(maps.Keys(g)) {
		out = append(out, *g[name])
	}
	return out
}

func total(results []result, drawn []int) result {
	var r result
	for _, i := range drawn {
		r.add(results[i])
	}
	return r
}

// method is one row of the headline tables.
type method struct {
	name  string
	ours  bool
	score func(runs []*run, sure bool) scored
}

// limitRules are the agent's rules for limits that somebody set. What other systems
// foretell has a rule as well, and nobody does here.
func limitRules() []string { return []string{"trend", "early", "capacity", "fill", "lead"} }

func methods() []method {
	var out []method
	add := func(name, rule string, l level, learned bool) {
		out = append(out, method{name, true, func(runs []*run, sure bool) scored { return scoreAgent(runs, rule, l, learned, sure) }})
	}
	for _, rule := range limitRules() {
		for _, l := range []level{claimed, advised, acts} {
			add(rule+", "+l.String(), rule, l, false)
		}
	}
	add("agent, advice or action", "", advised, false)
	add("agent, acts", "", acts, false)
	for _, b := range baselines() {
		out = append(out, method{b.name, false, func(runs []*run, sure bool) scored { return scoreBaseline(runs, &b, sure) }})
	}
	for _, rule := range []string{"trend_learned", "anomaly"} {
		for _, l := range []level{claimed, advised, acts} {
			add(rule+" (learned limits), "+l.String(), rule, l, true)
		}
	}
	for _, l := range []level{claimed, advised, acts} {
		out = append(out, method{"drift (services), " + l.String(), true, func(runs []*run, sure bool) scored { return scoreJoints(runs, l, sure) }})
	}
	out = append(out, method{"services: at any time", false, alwaysOfServices})
	return out
}

func scoreAgent(runs []*run, rule string, l level, learned, sure bool) scored {
	out := scored{}
	for _, r := range runs {
		p := r.set
		if learned {
			p = r.learned
		}
		claims, _ := p.at(l, rule)
		for i, part := range p.parts(sure) {
			out.add(&part, claims[i])
		}
	}
	return out
}

func scoreBaseline(runs []*run, b *baseline, sure bool) scored {
	out := scored{}
	for _, r := range runs {
		for _, part := range r.set.parts(sure) {
			out.add(&part, b.warnings(&part))
		}
	}
	return out
}

// figures are those of one row, with their intervals.
type figures struct {
	precision, recall, lead, falseADay Value
	sum                                result
}

func (f *figures) warnings() Value { return figure(float64(f.sum.warnings), 0) }

func figuresOf(g scored) figures {
	results := g.list()
	of := func(digits int, f func(r *result) float64) Value {
		return bootstrap(len(results), digits, func(drawn []int) float64 {
			r := total(results, drawn)
			return f(&r)
		})
	}
	return figures{
		of(2, (*result).precision), of(2, (*result).recall), of(0, (*result).lead), of(3, (*result).falseADay),
		total(results, all(len(results))),
	}
}

// row gives the figures of a method; silent is true when it said nothing at all.
func (m *method) row(runs []*run) (row Row, silent bool) {
	f := figuresOf(m.score(runs, false))
	return Row{Name: m.name, Ours: m.ours, Cells: []Value{
		f.precision, f.recall, f.lead, f.warnings(), figure(float64(f.sum.late), 0), figure(float64(f.sum.breaches), 0), f.falseADay,
	}}, f.sum.warnings+f.sum.late == 0
}

func headlineColumns() []string {
	return []string{"precision", "recall", "median lead, min", "warnings", "late", "breaches", "false a day and series"}
}

// headline is one table of all methods.
func headline(title, what string, runs []*run) Table {
	t := Table{Title: title, What: what, Columns: headlineColumns()}
	var silent []string
	for _, m := range methods() {
		row, quiet := m.row(runs)
		if quiet {
			silent = append(silent, m.name)
			continue
		}
		t.Rows = append(t.Rows, row)
	}
	if len(silent) > 0 {
		t.Notes = append(t.Notes, "Silent: "+strings.Join(silent, "; ")+".")
	}
	return t
}

// headlines are the tables over all sources, and one for each.
func headlines(h half, runs []*run) []Table {
	n := 0
	for _, r := range runs {
		n += len(r.set.stretches)
	}
	out := []Table{headline(
		h.title("Predictions with history, all sources"),
		fmt.Sprintf("%d series. ", n)+headlineWords, runs,
	)}
	for _, r := range runs {
		out = append(out, headline(
			h.title("Predictions with history, "+r.source), fmt.Sprintf("%d series.", len(r.set.stretches)), []*run{r}))
	}
	return append(out, fromThird(h, runs))
}

// fromThird shows what the way of counting does.
func fromThird(h half, runs []*run) Table {
	t := Table{
		Title: h.title("What counting from the third value would show"),
		What: "A breach is one with the third of four values above. Counted from that one, a warning that comes with the first looks foreseen: so methods that foresee nothing have a recall. " +
			"The agent says nothing while one of the newest three values is above, so it gains little.",
		Columns: []string{"precision", "recall", "median lead, min", "from the third: precision", "recall", "median lead, min"},
	}
	for _, m := range methods() {
		if m.ours && !strings.HasPrefix(m.name, "agent") {
			continue
		}
		first, third := figuresOf(m.score(runs, false)), figuresOf(m.score(runs, true))
		t.Rows = append(t.Rows, Row{Name: m.name, Ours: m.ours, Cells: []Value{
			first.precision, first.recall, first.lead, third.precision, third.recall, third.lead,
		}})
	}
	return t
}

const headlineWords = "Limit: the 0.95 quantile of the first 40 % of a series (M4 Hourly: the 0.98 quantile of its first four weeks); that part is history, the rest is judged as it comes. " +
	"A breach is three of four values above the limit, and begins with the first of these; one that begins less than an hour after another ended is the same. " +
	"A warning is right if a breach begins after it and before the time that it says; those of other methods stand for 20 minutes, on series of hours for two days. One that comes in a breach, within the hour after it, or while any of the newest three values, but those of a breach that is over, is above the limit, is late: neither right nor wrong. " +
	"Warnings whose time is not over when the series ends are left out. Recall: breaches with a right warning. Lead: from the earliest right warning to the breach. " +
	"Rules: all that they claim, in shadow too; what is likely enough to be told; what the gate lets pass. Learned limits: series of which the agent learned the limit itself; breaches are those of that limit. Services: those with three series or more, a breach is one of any of them; at any time is how often one comes by itself."
